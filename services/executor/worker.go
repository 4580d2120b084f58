package executor

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/plugfn/plugfn/pkg/events"
	"github.com/plugfn/plugfn/pkg/providers"
)

// worker is a Service at work.
type worker struct {
	*Service
	journal journal
	results results
	waiting jetstream.KeyValue // who waits for which connection
	places  *places
	lanes   *lanes
	turns   *turns
	intake  context.Context // ends when no more requests are taken up
	work    context.Context // ends when the work in hand must stop
}

// errLater has a request delivered again after a while: its first delivery is
// still being worked on and the caller waits for the result.
var errLater = errors.New("the request is being executed by another delivery")

// contained runs work on t; a panic in it ends as the request's result.
func (w *worker) contained(t *task, work func() error) (err error) {
	defer func() {
		if v := recover(); v != nil {
			// The panic's text may quote a secret, so only its type is logged.
			w.Log.Error().Str("request", t.ID).Str("panic", fmt.Sprintf("%T", v)).Bytes("stack", debug.Stack()).Msg("request panicked")
			err = w.salvage(t)
		}
	}()
	return work()
}

// salvage concludes a request whose handling panicked: unknown if it was
// claimed, failed otherwise.
func (w *worker) salvage(t *task) error {
	e, err := w.journal.load(w.work, t)
	if err != nil {
		return err
	}
	if e != nil && (e.attempted() || e.Doubt) {
		return w.conclude(w.work, t, t.lost(w.Now(), e))
	}
	return w.conclude(w.work, t, t.failed(w.Now(), events.Errorf(events.CodeInternal, "executing the action failed inside PlugFn")))
}

// settle brings t to its one result, or to a time when it can have one. It is
// the order of work that doc.go tells.
func (w *worker) settle(ctx context.Context, t *task, invalid *events.Error) error {
	e, done, err := w.known(ctx, t)
	if done || err != nil {
		return err
	}
	if err := w.at(pointTaken, t); err != nil {
		return err
	}
	p, failure := w.plan(t, invalid)
	switch {
	case failure != nil && (e.Doubt || e.attempted()):
		e.Last = failure
		return w.giveUp(ctx, t, e, verdict{do: doUnknown})
	case failure != nil:
		return w.conclude(ctx, t, t.over(w.Now(), e, failure))
	case e.attempted():
		e.Sent++
		return w.follow(ctx, t, p, e, orphaned(t, e))
	}
	if held, err := w.held(ctx, t, e); held || err != nil {
		return err
	}
	if mine, err := w.turns.await(ctx, t, e); !mine || err != nil {
		return err
	}
	c, err := w.credential(ctx, t, p.pack, e)
	if failure = final(err); failure != nil {
		return w.follow(ctx, t, p, e, finding{failure: failure, class: classOf(failure, false, false)})
	}
	if err != nil {
		return err
	}
	if e.Looks > 0 {
		return w.look(ctx, t, p, c, e)
	}
	return w.try(ctx, t, p, c, e)
}

// try makes one attempt at t, if the provider is well enough for it.
func (w *worker) try(ctx context.Context, t *task, p plan, c providers.Credential, e *entry) error {
	base := w.Providers.BaseURL(t.Provider)
	var s *slot
	if w.health.resting(t.Provider, base) == 0 && !w.mayKnow(t, p, c) {
		var err error
		if s, err = w.slot(ctx, asker{t, e, p.action, c}); err != nil {
			return w.noSlot(ctx, t, e, err)
		}
	}
	if pause, why := w.health.admit(t.Provider, base, w.Now(), e.Attempts > 0 && !e.Orphaned); pause > 0 {
		if s != nil {
			s.cancel(ctx)
		}
		w.dropPermit(ctx, e)
		return w.follow(ctx, t, p, e, finding{class: classPaused, retryAfter: pause, failure: why})
	}
	f, err := w.admitted(ctx, t, p, c, e, s)
	switch {
	case errors.Is(err, errTaken):
		return w.overtaken(ctx, t)
	case err != nil:
		return err
	}
	if f.noSlot != nil {
		e.Attempts--
		return w.noSlot(ctx, t, e, f.noSlot)
	}
	w.dropPermit(ctx, e) // the answer was at hand
	if ctx.Err() != nil && f.interrupted {
		return fmt.Errorf("stopping: %w", ctx.Err()) // its next delivery finds the claim
	}
	e.Sent += f.sent
	if f.class == classThrottled || f.class == classReauth {
		e.Attempts-- // the provider did not even try
	}
	return w.follow(ctx, t, p, e, f)
}

// admitted makes the attempt that w.health has let pass, and tells it what came
// of it. An attempt that breaks off, in a panic too, says nothing about the
// provider.
func (w *worker) admitted(ctx context.Context, t *task, p plan, c providers.Credential, e *entry, s *slot) (f finding, err error) {
	well := true
	defer func() { w.health.note(t.Provider, w.Providers.BaseURL(t.Provider), well) }()
	if err := w.at(pointAdmitted, t); err != nil {
		return f, err
	}
	e.Attempts++
	e.Orphaned = false
	if err := w.claim(ctx, t, p, e); err != nil {
		if s != nil {
			s.cancel(ctx)
		}
		return f, err
	}
	if err := w.at(pointClaimed, t); err != nil {
		return f, err
	}
	f = w.attempt(ctx, t, p, c, e, s)
	well = !f.ailing()
	return f, w.at(pointAnswered, t)
}

// mayKnow reports whether the answer may be at hand, so that a slot is got only
// when it turns out that it is not.
func (w *worker) mayKnow(t *task, p plan, c providers.Credential) bool {
	a := attempt{worker: w, task: t, plan: p, credential: c}
	_, ok := a.question()
	return ok
}

// noSlot is what happens to t when the limits do not let it pass.
func (w *worker) noSlot(ctx context.Context, t *task, e *entry, err error) error {
	var waits *pause
	if errors.As(err, &waits) {
		return w.putOff(ctx, t, e, waits)
	}
	if errors.As(err, &e.Last) {
		return w.giveUp(ctx, t, e, verdict{do: endOf(e)})
	}
	return fmt.Errorf("asking the limits: %w", err)
}

// endOf is how a request ends that cannot go on.
func endOf(e *entry) do {
	if e.Doubt {
		return doUnknown
	}
	return doFail
}

// claim notes that t is about to be sent, before the first byte. A read needs
// no claim: to repeat it does no harm, and only its first result counts.
func (w *worker) claim(ctx context.Context, t *task, p plan, e *entry) error {
	if p.action.Effect == providers.EffectRead {
		return nil
	}
	e.SentAt = w.Now().UTC()
	if e.FirstSent.IsZero() {
		e.FirstSent = e.SentAt
	}
	e.Wait, e.Connection = "", t.ConnectionID
	return w.journal.save(ctx, t, e)
}

// overtaken looks what became of a request that another delivery claimed first.
// Whoever did is at work on it, so without a result yet t comes again later.
func (w *worker) overtaken(ctx context.Context, t *task) error {
	first, err := w.results.find(ctx, t)
	if err != nil {
		return err
	}
	if first == nil {
		return errLater
	}
	return w.repeat(ctx, t, first)
}

func (w *worker) credential(ctx context.Context, t *task, pack *providers.Pack, e *entry) (providers.Credential, error) {
	if auth, ok := pack.AuthByID(""); ok && auth.Type == providers.AuthNone && t.ConnectionID == "" {
		return providers.Credential{Auth: auth.ID}, nil
	}
	id := t.ConnectionID
	if e.Doubt && e.Connection != "" {
		id = e.Connection // a repetition is one in the same account only
	}
	c, err := w.Credentials.Credential(ctx, t.UserID, t.Provider, id)
	if err != nil {
		return providers.Credential{}, fmt.Errorf("getting the credential: %w", err)
	}
	t.ConnectionID = c.ConnectionID
	return c, nil
}

// final returns err as the request's result, or nil for trouble of ours, which
// passes: the request is tried again.
func final(err error) *events.Error {
	var e *events.Error
	if !errors.As(err, &e) || e.Code == events.CodeInternal {
		return nil
	}
	return e
}

// asError returns err as the *events.Error that it is, or as one with code.
func asError(err error, code events.Code) *events.Error {
	var e *events.Error
	if errors.As(err, &e) {
		return e
	}
	return events.Errorf(code, "%v", err)
}
