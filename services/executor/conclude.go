package executor

import (
	"context"
	"errors"
	"fmt"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/plugfn/plugfn/pkg/events"
)

// conclude notes the result in the journal and publishes it. e is the claimed
// entry; nil where nothing was claimed. Where another delivery was first, its
// result stands and this one is dropped.
func (w *worker) conclude(ctx context.Context, t *task, e *entry, r *events.Result) error {
	if e == nil {
		e = &entry{Sequence: t.sequence, Fingerprint: t.fingerprint}
	}
	e.Result = r
	err := w.journal.save(ctx, t, e)
	if errors.Is(err, errTaken) {
		return w.overtaken(ctx, t)
	}
	if err != nil {
		return err
	}
	return w.publish(ctx, t, r)
}

// publish puts the result on the bus, once, and sends it to the caller's inbox.
func (w *worker) publish(ctx context.Context, t *task, r *events.Result) error {
	msg, err := r.Msg()
	if err != nil {
		return err
	}
	// The subject holds user and request id, so "nothing there yet" is "once",
	// however long after the first time.
	_, err = w.JetStream.PublishMsg(ctx, msg, jetstream.WithExpectLastSequencePerSubject(0))
	if err != nil && !isConflict(err) {
		return fmt.Errorf("publishing the result: %w", err)
	}
	if t.Reply != "" {
		return w.answer(t.Reply, msg)
	}
	return nil
}

// answer sends a copy of msg to an inbox. Nobody may be there any more.
func (w *worker) answer(inbox string, msg *nats.Msg) error {
	msg.Subject = inbox
	msg.Header.Del(jetstream.ExpectedLastSubjSeqHeader)
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
	dead := nats.NewMsg(events.DeadSubject("action", t.UserID, t.Provider, t.Action))
	dead.Data = t.Params
	for name, values := range t.header {
		if name != jetstream.MsgIDHeader {
			dead.Header[name] = values
		}
	}
	dead.Header.Set(events.HeaderReason, failure.Error())
	dead.Header.Set(jetstream.MsgIDHeader, fmt.Sprintf("reuse:%d", t.sequence))
	if _, err := w.JetStream.PublishMsg(ctx, dead); err != nil {
		return fmt.Errorf("keeping the dead letter: %w", err)
	}
	w.Log.Warn().Str("request", t.ID).Str("user", t.UserID).Uint64("sequence", t.sequence).Msg("request id reused")
	if t.Reply == "" {
		return nil
	}
	msg, err := t.failed(w.Now(), failure).Msg()
	if err != nil {
		return err
	}
	return w.answer(t.Reply, msg)
}
