package executor

import (
	"context"
	"errors"
	"fmt"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/plugfn/plugfn/internal/tracing"
	"github.com/plugfn/plugfn/pkg/events"
)

// conclude publishes the result of t. Where another delivery was first, its
// result stands and this one is dropped.
func (w *worker) conclude(ctx context.Context, t *task, r *events.Result) error {
	msg, err := r.Msg()
	if err != nil {
		return err
	}
	msg.Subject = t.resultSubject(r.Outcome)
	msg.Header.Set(headerFingerprint, t.fingerprint)
	if parent := tracing.Parent(ctx); parent != "" {
		msg.Header.Set(events.AttributeTraceParent, parent)
	}
	err = w.results.add(ctx, t, msg)
	if errors.Is(err, errTaken) {
		first, err := w.results.find(ctx, t)
		if err != nil {
			return err
		}
		if first == nil {
			return errTaken // being stored at this moment: look at the next delivery
		}
		return w.repeat(ctx, t, first)
	}
	if err != nil {
		return err
	}
	w.meter.concluded(w.Providers, r)
	if err := w.at(pointConcluded, t); err != nil {
		return err
	}
	if err := w.answer(t.Reply, msg); err != nil {
		return err
	}
	return w.turns.pass(ctx, t)
}

// concludeCanceled concludes a request that was canceled before its turn, or
// between two attempts.
func (w *worker) concludeCanceled(ctx context.Context, t *task, e *entry) error {
	w.dropPermit(ctx, e)
	if e.Doubt {
		e.Last = events.Errorf(events.CodeCanceled, "the request was canceled after an attempt whose outcome is not known")
		return w.giveUp(ctx, t, e, verdict{do: doUnknown})
	}
	return w.conclude(ctx, t, t.over(w.Now(), e, events.Errorf(events.CodeCanceled, "the request was canceled")))
}

// repeat answers t with the result that its id has had before.
func (w *worker) repeat(ctx context.Context, t *task, first *nats.Msg) error {
	if first.Header.Get(headerFingerprint) != t.fingerprint {
		return w.refuseReuse(ctx, t)
	}
	if err := w.answer(t.Reply, first); err != nil {
		return err
	}
	return w.turns.pass(ctx, t) // whoever concluded it may not have
}

// answer sends a copy of a result to an inbox, if there is one. Nobody may be
// there any more.
func (w *worker) answer(inbox string, result *nats.Msg) error {
	if inbox == "" {
		return nil
	}
	msg := &nats.Msg{Subject: inbox, Data: result.Data, Header: events.CarriedHeader(result.Header)}
	msg.Header.Del(headerFingerprint)
	if err := w.Conn.PublishMsg(msg); err != nil {
		return fmt.Errorf("answering the caller: %w", err)
	}
	return nil
}

// refuseReuse gives up a request whose id another request of the user had
// before: its result is taken, so the request is kept as a dead letter and only
// a waiting caller is told.
func (w *worker) refuseReuse(ctx context.Context, t *task) error {
	failure := events.Errorf(events.CodeInvalidParams, "header %s: %q was used before with another action or other parameters", events.HeaderID, t.ID)
	dead := w.deadLetter(t, failure.Error())
	dead.Header.Set(jetstream.MsgIDHeader, fmt.Sprintf("reuse:%d", t.sequence))
	if err := w.keep(ctx, dead); err != nil {
		return err
	}
	w.Log.Warn().Str("request", t.ID).Str("user", t.UserID).Uint64("sequence", t.sequence).Msg("request id reused")
	msg, err := t.failed(w.Now(), failure).Msg()
	if err != nil {
		return err
	}
	return w.answer(t.Reply, msg)
}
