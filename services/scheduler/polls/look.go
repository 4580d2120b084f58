package polls

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/plugfn/plugfn/pkg/events"
	"github.com/plugfn/plugfn/pkg/providers"
	"github.com/plugfn/plugfn/services/scheduler/ask"
)

const (
	maxPages = 20  // of a list, that one look reads
	maxFresh = 500 // events of one look; what is more comes with the next
)

// look makes one look. After nil it is done, and what it came to is written down;
// after an error it has to be made again.
func (s *Service) look(ctx context.Context, t *Tick) error {
	store, err := openStore(ctx, s.JetStream)
	if err != nil {
		return err
	}
	for range maxTries {
		err := s.lookOnce(ctx, store, t)
		if !errors.Is(err, errTaken) {
			return err
		}
	}
	return errTaken
}

func (s *Service) lookOnce(ctx context.Context, store store, t *Tick) error {
	r, revision, err := store.read(ctx, t.UserID, t.Schedule)
	if err != nil || r.Tick == t.ID {
		return err
	}
	r.Tick, r.At, r.Error = t.ID, s.Now().UTC(), ""
	poll, items, err := s.list(ctx, t, &r)
	switch {
	case err != nil && ctx.Err() != nil:
		return ctx.Err()
	case err != nil:
		r.Error = err.Error()
		s.Log.Warn().Str("code", codeOf(err)).Str("schedule", t.Schedule).Str("provider", t.Provider).Str("trigger", t.Trigger).Msg("looked in vain")
	case !r.Begun && poll.First != providers.PollFirstAll:
		r.learn(items)
	default:
		if err := s.tell(ctx, t, &r, items); err != nil {
			return err
		}
	}
	r.Begun = r.Begun || err == nil
	return store.write(ctx, t.UserID, t.Schedule, &r, revision)
}

// tell publishes what is new of items, and notes it.
func (s *Service) tell(ctx context.Context, t *Tick, r *record, items []providers.PollItem) error {
	fresh := r.fresh(items)
	if err := s.publish(ctx, t, fresh); err != nil {
		return err
	}
	r.Events += uint64(len(fresh))
	r.learn(append(r.old(items), fresh...))
	s.Log.Debug().Str("schedule", t.Schedule).Int("items", len(items)).Int("events", len(fresh)).Msg("looked")
	if s.reached != nil {
		return s.reached("published")
	}
	return nil
}

// codeOf is what a log may say of an error.
func codeOf(err error) string {
	var e *events.Error
	if errors.As(err, &e) {
		return string(e.Code)
	}
	return "no answer"
}

// list asks the provider for what there is.
func (s *Service) list(ctx context.Context, t *Tick, r *record) (*providers.Poll, []providers.PollItem, error) {
	poll, err := t.Poll(s.Providers, "target.poll") // packs may be others by now
	if err != nil {
		return nil, nil, err
	}
	params, err := poll.Fill(t.Params, r.Since)
	if err != nil {
		return nil, nil, err
	}
	request := events.ActionRequest{
		ID: t.ID, UserID: t.UserID, Provider: t.Provider, Action: poll.Action, ConnectionID: t.ConnectionID, Params: params,
	}
	pack, _ := s.Providers.Pack(t.Provider)
	if pack.Actions[poll.Action].Paginate != nil {
		request.MaxPages = maxPages
	}
	result, err := ask.For(ctx, s.JetStream, request)
	if err != nil {
		return nil, nil, err
	}
	if t.ConnectionID == "" {
		t.ConnectionID = result.ConnectionID
	}
	items, err := poll.Read(result.Data)
	if err != nil {
		return nil, nil, err
	}
	if poll.Since == nil && len(items) > maxKnown {
		return nil, nil, fmt.Errorf("the list has %d items, more than the %d that can be known: choose parameters that make it shorter", len(items), maxKnown)
	}
	r.Items, r.Gap = len(items), result.More
	return poll, items, nil
}

// fresh are the items that are not known, the oldest first, at most maxFresh.
func (r *record) fresh(items []providers.PollItem) []providers.PollItem {
	seen := r.Known.set()
	var all []providers.PollItem
	for _, item := range items {
		if m := markOf(&item); !seen[m] {
			seen[m] = true
			all = append(all, item)
		}
	}
	slices.SortStableFunc(all, func(a, b providers.PollItem) int { return a.Time.Compare(b.Time) })
	return all[:min(len(all), maxFresh)]
}

// old are the items that are known.
func (r *record) old(items []providers.PollItem) (all []providers.PollItem) {
	seen := r.Known.set()
	for _, item := range items {
		if seen[markOf(&item)] {
			all = append(all, item)
		}
	}
	return all
}

// learn notes items as seen.
func (r *record) learn(items []providers.PollItem) {
	marks := make([]mark, len(items))
	for i := range items {
		marks[i] = markOf(&items[i])
		if items[i].Time.After(r.Since) {
			r.Since = items[i].Time
		}
	}
	r.Known = r.Known.with(marks)
}

// publish stores the events of items, in their order.
func (s *Service) publish(ctx context.Context, t *Tick, items []providers.PollItem) error {
	pack, _ := s.Providers.Pack(t.Provider)
	for i := range items {
		e := s.event(t, pack, &items[i])
		msg, err := events.Payloads{Conn: s.JetStream.Conn()}.Offload(ctx, e.Msg(events.EventSubject(t.UserID, t.Provider, t.Trigger)))
		if err != nil {
			return fmt.Errorf("storing the data of an event: %w", err)
		}
		msg.Header.Set(jetstream.MsgIDHeader, t.Nonce+e.ID)
		if _, err := s.JetStream.PublishMsg(ctx, msg, jetstream.WithExpectStream(events.StreamEvents)); err != nil {
			return fmt.Errorf("storing an event: %w", err)
		}
	}
	return nil
}

func (s *Service) event(t *Tick, pack *providers.Pack, item *providers.PollItem) events.Event {
	at := item.Time
	if at.IsZero() {
		at = s.Now().UTC().Truncate(time.Millisecond)
	}
	connection := t.ConnectionID
	if connection == "" {
		connection = events.NoUser
	}
	return events.Event{
		ID:     eventID(t, item),
		Source: "/plugfn/" + t.Provider + "/" + t.Schedule + "/" + connection,
		Type:   pack.EventPrefix + "." + t.Trigger,
		Time:   at, DataContentType: "application/json",
		UserID: t.UserID, ConnectionID: t.ConnectionID, Provider: t.Provider, EventName: t.Trigger,
		Verified: events.VerifiedBody, // the provider was asked
		Data:     item.Data,
	}
}

// eventID is the same for the same version of an item, whoever finds it.
func eventID(t *Tick, item *providers.PollItem) string {
	h := sha256.New()
	fmt.Fprintf(h, "%s\n%s\n%d\n%s\n%s", t.Schedule, t.Trigger, len(item.ID), item.ID, item.Version)
	return "poll-" + hex.EncodeToString(h.Sum(nil)[:16])
}
