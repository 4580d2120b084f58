package ingress

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/plugfn/plugfn/pkg/events"
	"github.com/plugfn/plugfn/services/ingress/spool"
)

const (
	// busShare is how much of the time that a sender gives us the bus has. The
	// rest is for the spool.
	busShare = 0.7
	// forwardTimeout bounds one attempt to store an event of the spool.
	forwardTimeout = 5 * time.Second
)

// store returns once msg is stored: by the bus, or in the spool while that is
// away; an error at the latest when the time is up. Messages of one key stay in
// order; an empty key stands for no order.
func (s *Service) store(ctx context.Context, until time.Time, key string, msg *nats.Msg) error {
	if s.spool == nil {
		return s.publishBy(ctx, until, msg)
	}
	if !s.spool.Takes(key) {
		now := time.Now()
		err := s.publishBy(ctx, now.Add(time.Duration(busShare*float64(until.Sub(now)))), msg)
		if err == nil || isRefused(err) {
			return err
		}
		s.spool.Away()
		s.refused.Warn().Err(err).Msg("bus does not store: the spool does")
	}
	ctx, cancel := context.WithDeadline(ctx, until)
	defer cancel()
	return s.spool.Keep(ctx, key, msg)
}

// publishBy is publishMsg with a time by which it has to be done.
func (s *Service) publishBy(ctx context.Context, until time.Time, msg *nats.Msg) error {
	ctx, cancel := context.WithDeadline(ctx, until)
	defer cancel()
	return s.publishMsg(ctx, msg)
}

// isRefused tells a message that the bus never takes from a bus that is away,
// full or busy.
func isRefused(err error) bool {
	var api *jetstream.APIError
	return errors.As(err, &api) && api.Code == http.StatusBadRequest && api.ErrorCode != errNoStorage
}

// errNoStorage is nats-server's JSAccountResourcesExceededErr.
const errNoStorage jetstream.ErrorCode = 10002

// forward stores a message of the spool on the bus. One that the bus refuses
// becomes a dead letter, so that it does not hold up the others.
func (s *Service) forward(ctx context.Context, msg *nats.Msg) error {
	if msg.Header.Get(headerUnaddressed) != "" {
		return s.forwardUnaddressed(ctx, msg)
	}
	return s.forwardTo(ctx, msg)
}

func (s *Service) forwardTo(ctx context.Context, msg *nats.Msg) error {
	ctx, cancel := context.WithTimeout(ctx, forwardTimeout)
	defer cancel()
	err := s.publishMsg(ctx, msg)
	if err == nil || !isRefused(err) || strings.HasPrefix(msg.Subject, events.PrefixDead) {
		return err
	}
	e, parseErr := events.ParseEvent(msg.Header, msg.Data)
	if parseErr != nil {
		return err
	}
	s.Log.Error().Err(err).Str("provider", e.Provider).Str("delivery", e.ID).Msg("event of the spool refused by the bus: kept as dead letter")
	dead := &nats.Msg{Subject: events.DeadSubject("event", e.UserID, e.Provider, e.EventName), Header: events.CarriedHeader(msg.Header), Data: msg.Data}
	dead.Header.Set(events.HeaderReason, err.Error())
	dead.Header.Set(jetstream.MsgIDHeader, msg.Header.Get(jetstream.MsgIDHeader))
	return s.publishMsg(ctx, dead)
}

// newSpool is nil without a place for one.
func (s *Service) newSpool() (*spool.Spool, error) {
	if s.Spool == nil {
		return nil, nil //nolint:nilnil // no spool is no error
	}
	return spool.New(spool.Config{Local: s.Spool, Forward: s.forward, Log: s.Log})
}

// runSpool forwards what the spool has until ctx ends.
func (s *Service) runSpool(ctx context.Context) {
	if s.spool == nil {
		return
	}
	if err := s.spool.Run(ctx); err != nil {
		s.Log.Error().Err(err).Msg("the spool does not work")
	}
}
