package ingress

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"maps"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/plugfn/plugfn/internal/bus"
	"github.com/plugfn/plugfn/internal/commit"
	"github.com/plugfn/plugfn/pkg/events"
	"github.com/plugfn/plugfn/pkg/providers"
)

// headerConflict is the extension attribute with the id of the event that has
// another body, and came before under the same id.
const headerConflict = "ce-conflict"

// recallShare is how much of the time that the bus has may go into looking for
// deliveries that came before.
const recallShare = 0.3

// publishMsg returns once the bus has msg, and before that its data where that is
// too long for a message. A repetition of what the bus has is a success. What has
// the id of an event and another body is stored as an event of its own, which
// says so.
func (s *Service) publishMsg(ctx context.Context, msg *nats.Msg) error {
	if strings.HasPrefix(msg.Subject, events.PrefixDead) {
		_, err := s.put(ctx, s.dead, msg)
		return err
	}
	w := s.webhooksOf(msg)
	before, err := s.publishOnce(ctx, w, msg)
	if err != nil || before == nil {
		return err
	}
	same, err := s.isSame(ctx, w, msg, before)
	if err != nil || same {
		return err
	}
	s.refused.Warn().Str("provider", msg.Header.Get("ce-provider")).Str("delivery", msg.Header.Get("ce-id")).
		Msg("another body under the id of an event: stored as an event of its own")
	_, err = s.publishOnce(ctx, w, conflicting(msg))
	return err
}

// publishOnce stores msg, or returns the event that was stored with its id
// before.
func (s *Service) publishOnce(ctx context.Context, w *providers.Webhooks, msg *nats.Msg) (before *nats.Msg, err error) {
	id := msg.Header.Get(jetstream.MsgIDHeader)
	if outlasts(w) {
		if before := s.recall(ctx, id); before != nil {
			return before, nil
		}
	}
	ack, err := s.put(ctx, s.events, msg)
	if err != nil {
		return nil, err
	}
	s.remember(w, id, ack.Sequence)
	if !ack.Duplicate {
		return nil, nil
	}
	return s.repeats.Event(ctx, ack.Sequence, id)
}

func (s *Service) put(ctx context.Context, to *commit.Store, msg *nats.Msg) (commit.Ack, error) {
	msg, err := s.payloads.Offload(ctx, msg)
	if err != nil {
		return commit.Ack{}, err
	}
	return to.Publish(ctx, msg)
}

// webhooksOf is the block that made the event in a message: that of its
// endpoint, or of its provider.
func (s *Service) webhooksOf(msg *nats.Msg) *providers.Webhooks {
	pack, ok := s.Providers.Pack(msg.Header.Get("ce-provider"))
	if !ok || pack.Webhooks == nil {
		return &providers.Webhooks{}
	}
	at := endpointOf(msg.Header.Get("ce-source"))
	if !pack.Webhooks.Parametrised || s.Endpoints == nil || at == appEndpoint {
		return pack.Webhooks
	}
	own, all := s.Endpoints.Webhooks(at)
	switch {
	case own != nil:
		return own
	case all:
		return pack.Webhooks
	default: // remembered for too long rather than too short
		return &providers.Webhooks{RetryHorizon: providers.LongestRetryHorizon, Varies: pack.Webhooks.Varies}
	}
}

// outlasts reports whether deliveries may come again after the stream has
// forgotten their ids.
func outlasts(w *providers.Webhooks) bool { return w.RetryHorizon > bus.DedupeWindow }

// remember notes where an event is, if the stream forgets its id too early.
func (s *Service) remember(w *providers.Webhooks, id string, sequence uint64) {
	if outlasts(w) {
		s.repeats.Add(id, sequence, w.RetryHorizon+bus.DedupeWindow)
	}
}

// rerouted remembers an event that was given to a connection later.
func (s *Service) rerouted(provider, id string, sequence uint64) {
	if pack, ok := s.Providers.Pack(provider); ok && pack.Webhooks != nil {
		s.remember(pack.Webhooks, id, sequence)
	}
}

// recall returns the event that was stored with an id, nil where none is known.
// To store an event twice is better than to lose it, so whatever fails here makes
// none known.
func (s *Service) recall(ctx context.Context, id string) *nats.Msg {
	if deadline, ok := ctx.Deadline(); ok {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, time.Duration(recallShare*float64(time.Until(deadline))))
		defer cancel()
	}
	sequence, err := s.repeats.Find(ctx, id)
	var before *nats.Msg
	if err == nil && sequence > 0 {
		before, err = s.repeats.Event(ctx, sequence, id)
	}
	if err != nil {
		s.refused.Warn().Err(err).Msg("it is not known whether a delivery came before")
	}
	return before
}

// isSame reports whether a stored event has the data of msg.
func (s *Service) isSame(ctx context.Context, w *providers.Webhooks, msg, before *nats.Msg) (bool, error) {
	if before.Header.Get("ce-dataref") == "" {
		return w.SameData(before.Data, msg.Data), nil
	}
	if sum := sha256.Sum256(msg.Data); before.Header.Get("ce-datasha256") == hex.EncodeToString(sum[:]) {
		return true, nil
	}
	e, err := events.ParseEvent(before.Header, nil)
	if err != nil {
		return false, nil //nolint:nilerr // nothing that an ingress stores: kept beside it
	}
	err = s.payloads.Resolve(ctx, &e, maxBody)
	if errors.Is(err, events.ErrPayloadGone) {
		return false, nil
	}
	return err == nil && w.SameData(e.Data, msg.Data), err
}

// conflicting is msg under an id of its own, which holds its body.
func conflicting(msg *nats.Msg) *nats.Msg {
	const added, length = 1, 8
	sum := sha256.Sum256(msg.Data)
	mark := hex.EncodeToString(sum[:length])
	h := make(nats.Header, len(msg.Header)+added)
	maps.Copy(h, msg.Header)
	h[headerConflict] = []string{msg.Header.Get("ce-id")}
	h["ce-id"] = []string{msg.Header.Get("ce-id") + ":" + mark}
	h[jetstream.MsgIDHeader] = []string{msg.Header.Get(jetstream.MsgIDHeader) + ":" + mark}
	return &nats.Msg{Subject: msg.Subject, Header: h, Data: msg.Data}
}
