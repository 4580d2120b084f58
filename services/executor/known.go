package executor

import (
	"context"
	"time"

	"github.com/plugfn/plugfn/pkg/events"
)

// orphanAge is how old a claim is that nobody can be working on any more.
const orphanAge = maxTimeout + time.Minute

// known looks for what became of t in an earlier delivery, or in an earlier
// request with the same id. done: that was all there is to do. Otherwise the
// entry is the one to go on with: a new one, that of a request whose time has
// come, or that of an attempt whose executor went away.
func (w *worker) known(ctx context.Context, t *task) (e *entry, done bool, err error) {
	fresh := &entry{Sequence: t.sequence, Lane: t.lane, Fingerprint: t.fingerprint, TakenUp: t.storedAt.UTC()}
	if !t.redelivered && !t.explicitID {
		return fresh, false, nil
	}
	first, err := w.results.find(ctx, t)
	if err != nil {
		return nil, false, err
	}
	if first != nil {
		return nil, true, w.repeat(ctx, t, first)
	}
	e, err = w.journal.load(ctx, t)
	switch {
	case err != nil:
		return nil, false, err
	case e == nil:
		return fresh, false, nil
	case e.Fingerprint != "" && e.Fingerprint != t.fingerprint:
		return nil, true, w.refuseReuse(ctx, t)
	case e.attempted() && !w.isOrphan(t, e):
		return nil, true, w.leave(t, e)
	case e.Canceled && !e.attempted():
		return nil, true, w.concludeCanceled(ctx, t, e)
	}
	e.Sequence, e.Lane, e.Fingerprint = t.sequence, t.lane, t.fingerprint
	if e.TakenUp.IsZero() {
		e.TakenUp = t.storedAt.UTC()
	}
	return e, false, nil
}

// isOrphan reports whether the attempt of e is nobody's any more: its message
// was delivered again by the same consumer, or it is too old.
func (w *worker) isOrphan(t *task, e *entry) bool {
	return e.Sequence == t.sequence && e.Lane == t.lane || w.Now().Sub(e.SentAt) > orphanAge
}

// leave leaves a request to the delivery that is at work on it, which answers
// for both; a caller who waits for this one is looked after later. What a lane
// has brought to somebody is not let go of elsewhere: a lane may end.
func (w *worker) leave(t *task, e *entry) error {
	if t.Reply == "" && (e.Lane == "" || e.Lane == t.lane) {
		return nil
	}
	return errLater
}

// orphaned is what an attempt came to whose executor went away.
func orphaned(t *task, e *entry) finding {
	e.Orphaned = true
	e.note(events.Attempt{At: e.SentAt, Class: string(classUncertain), Code: events.CodeOutcomeUnknown})
	return finding{
		class:   classUncertain,
		failure: events.Errorf(events.CodeOutcomeUnknown, "the executor stopped after it had begun to send the request and before it had the answer of %s", t.Provider),
	}
}
