package executor

import (
	"context"
	"errors"
	"strconv"
	"time"

	"github.com/plugfn/plugfn/internal/bus"
	"github.com/plugfn/plugfn/pkg/events"
)

// follow does what the classifier decides about t after an attempt at it.
func (w *worker) follow(ctx context.Context, t *task, p plan, e *entry, f finding) error {
	v := decide(w.circumstances(t, p, e, &f))
	e.Doubt = v.doubt
	if f.failure != nil {
		e.Last = f.failure
	}
	switch v.do {
	case doSucceed:
		return w.succeed(ctx, t, p, e, &f)
	case doRetry:
		return w.wait(ctx, t, e, waitRetry, v.at)
	case doPutOff:
		e.Deferrals++
		if f.class == classThrottled {
			e.hold(v.at.Sub(w.Now()))
		}
		return w.wait(ctx, t, e, waitSlot, v.at)
	case doLook:
		e.Looks = 1
		return w.wait(ctx, t, e, waitLook, v.at)
	case doPark:
		return w.parkForReauth(ctx, t, e, f.version)
	default:
		return w.giveUp(ctx, t, e, v)
	}
}

// giveUp concludes t without success. What could have been tried again is kept
// as a dead letter first.
func (w *worker) giveUp(ctx context.Context, t *task, e *entry, v verdict) error {
	w.dropPermit(ctx, e)
	failure := *e.Last
	r := t.over(w.Now(), e, &failure)
	if v.do == doUnknown {
		r.Outcome = events.Unknown
		failure.Code, failure.Retryable = events.CodeOutcomeUnknown, false
		failure.Message += "; it may have carried out the request: look there before sending it again"
	}
	if v.gaveUp != "" {
		if err := w.bury(ctx, t, e, v.gaveUp, r); err != nil {
			return err
		}
	}
	return w.conclude(ctx, t, r)
}

// held sees to a request that came before its time, or after its end.
func (w *worker) held(ctx context.Context, t *task, e *entry) (bool, error) {
	now := w.Now()
	switch {
	case t.NotBefore.After(now):
		return true, w.wait(ctx, t, e, waitTime, t.NotBefore)
	case e.Until.After(now) && e.Wait != waitReauth && e.Wait != waitTurn:
		// Delivered again before it was parked, or moved twice. Who waits for a
		// connection or his turn may come as soon as that has changed.
		return true, w.park(ctx, t, e.Until)
	case e.Looks > 0, e.Last == nil && t.Deadline.IsZero():
		return false, nil // a look is no attempt; and a first attempt comes late rather than never
	case e.Last == nil && t.limit(e).After(now), t.limit(e).Sub(now) >= shortest:
		return false, nil
	case e.Last == nil:
		return true, w.conclude(ctx, t, t.over(now, e, late(t)))
	}
	v := verdict{do: doFail, gaveUp: "the deadline passed while it waited for " + string(e.Wait)}
	if e.Doubt {
		v.do = doUnknown
	}
	return true, w.giveUp(ctx, t, e, v)
}

// wait notes what t waits for and hands it to the scheduler until then. It
// claims the id, so that another request with the same one does not take its
// place.
func (w *worker) wait(ctx context.Context, t *task, e *entry, what wait, until time.Time) error {
	e.Wait, e.Until, e.SentAt = what, until.UTC(), time.Time{}
	err := w.journal.save(ctx, t, e)
	if errors.Is(err, errTaken) {
		return w.overtaken(ctx, t)
	}
	if err != nil {
		return err
	}
	if err := w.at(pointWaiting, t); err != nil {
		return err
	}
	if err := w.park(ctx, t, e.Until); err != nil {
		return err
	}
	return w.at(pointParked, t)
}

// park has t delivered again at a time, or when something that it waits for
// happens before.
func (w *worker) park(ctx context.Context, t *task, until time.Time) error {
	t.header.Set(events.HeaderID, t.ID)
	t.header.Set(events.HeaderResumed, strconv.FormatUint(t.first(), 10))
	err := w.Parking.Park(ctx, bus.Later{
		Kind: bus.KindAction, User: t.UserID, ID: t.ID, At: until,
		Target: t.subject, Header: t.header, Data: t.Params,
	})
	if err != nil {
		return err
	}
	t.parkedUntil = until
	w.Log.Debug().Ctx(ctx).Str("request", t.ID).Time("until", until).Msg("request parked")
	return nil
}
