package executor

import (
	"errors"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"

	"github.com/plugfn/plugfn/internal/tracing"
	"github.com/plugfn/plugfn/pkg/events"
)

// handle is the Watermill handler of everybody's requests: nil acknowledges the
// request, an error has it delivered again.
func (w *worker) handle(msg *message.Message) error {
	t, invalid, err := w.taken(msg)
	if err != nil {
		return err
	}
	if done, err := w.passOver(t); done || err != nil {
		return err
	}
	return w.execute(t, invalid)
}

// handleLane is the same for what a lane brings. Whoever else has taken a request
// up is found out by its claim; what may well have been taken up is looked for
// before.
func (w *worker) handleLane(msg *message.Message, lane string) error {
	t, invalid, err := w.taken(msg)
	if err != nil {
		return err
	}
	t.lane = lane
	t.redelivered = t.redelivered || t.isExpress()
	return w.execute(t, invalid)
}

// taken reads a message. invalid is what is wrong with the request in it.
func (w *worker) taken(msg *message.Message) (t *task, invalid *events.Error, err error) {
	t, err = newTask(msg, w.Now())
	if err != nil && !errors.As(err, &invalid) {
		return nil, nil, err
	}
	return t, invalid, nil
}

// isExpress reports whether somebody waits for t, or it has waited itself until
// its turn came.
func (t *task) isExpress() bool { return t.Reply != "" || t.resumed > 0 }

// passOver leaves t to its user's lane, where he has one, and gives him one where
// too many of his requests wait here already. It reports whether t is the lane's
// now. What was delivered before may have been begun, and stays here.
func (w *worker) passOver(t *task) (bool, error) {
	if t.redelivered {
		return false, nil
	}
	crowded := w.places.isCrowded(t.user, t.isExpress())
	l := w.lanes.lookup(t.user)
	switch {
	case !crowded && (l == nil || t.isExpress()):
		return false, nil
	case l == nil:
		var err error
		l, err = w.lanes.make(w.intake, t.user, t.sequence)
		if errors.Is(err, errTooManyLanes) || errors.Is(err, errLaneClosed) {
			return false, nil
		}
		if err != nil {
			return false, err
		}
	}
	err := l.cover(w.intake, t.sequence)
	if errors.Is(err, errLaneClosed) {
		return false, nil
	}
	return err == nil, err
}

// execute works on t once there is a place for it.
func (w *worker) execute(t *task, invalid *events.Error) error {
	if !w.places.enter(w.intake, t.user, t.isExpress()) {
		return w.intake.Err()
	}
	defer w.places.leave(t.user)
	t.startedAt = w.Now()
	ctx, span := w.Tracer.From(w.work, tracing.Works, "action", t.Provider, t.TraceParent)
	defer span.End()
	t.describe(span)
	err := w.contained(t, func() error { return w.settle(ctx, t, invalid) })
	if err != nil {
		span.Fail("postponed")
	}
	if err != nil && !errors.Is(err, errLater) {
		w.Log.Warn().Ctx(ctx).Err(err).Str("request", t.ID).Str("user", t.UserID).Str("provider", t.Provider).
			Str("action", t.Action).Bool("redelivered", t.redelivered).Msg("request postponed")
	}
	if t.lane != "" && t.parkedUntil.After(w.Now().Add(farAhead)) {
		_ = rest(w.intake, lanePace)
	}
	return err
}

// What a lane brings only to be parked may come slowly: a place is free lanePace
// after a request was parked for longer than farAhead. To park is several writes,
// and a backlog of nothing else would keep the bus busy for all.
const (
	farAhead = 5 * time.Second
	lanePace = 250 * time.Millisecond
)
