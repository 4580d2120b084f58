package executor

import (
	"context"
	"fmt"
	"strconv"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/plugfn/plugfn/pkg/events"
)

// bury keeps a request that is given up as a dead letter, so that it can be
// sent again: its parameters and headers as they came, and why it was given up.
func (w *worker) bury(ctx context.Context, t *task, e *entry, reason string, r *events.Result) error {
	dead := w.deadLetter(t, reason)
	dead.Header.Set(events.HeaderAttempts, strconv.Itoa(e.Attempts))
	dead.Header.Set(events.HeaderOutcome, string(r.Outcome))
	dead.Header.Set(events.HeaderErrorCode, string(e.Last.Code))
	dead.Header.Set(jetstream.MsgIDHeader, "gave-up:"+events.Key(t.UserID, t.ID))
	if err := w.keep(ctx, dead); err != nil {
		return err
	}
	w.Log.Warn().Str("request", t.ID).Str("user", t.UserID).Str("provider", t.Provider).Str("action", t.Action).
		Int("attempts", e.Attempts).Str("code", string(e.Last.Code)).Str("reason", reason).Msg("request given up")
	return w.at(pointBuried, t)
}

// deadLetter is t with a reason.
func (w *worker) deadLetter(t *task, reason string) *nats.Msg {
	dead := nats.NewMsg(events.DeadSubject("action", t.UserID, t.Provider, t.Action))
	dead.Data = t.Params
	dead.Header = events.CarriedHeader(t.header)
	dead.Header.Set(events.HeaderID, t.ID)
	dead.Header.Set(events.HeaderReason, reason)
	return dead
}

func (w *worker) keep(ctx context.Context, dead *nats.Msg) error {
	if _, err := w.JetStream.PublishMsg(ctx, dead); err != nil {
		return fmt.Errorf("keeping the dead letter: %w", err)
	}
	return nil
}
