package executor

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"

	"github.com/plugfn/plugfn/internal/bus"
	"github.com/plugfn/plugfn/pkg/events"
	"github.com/plugfn/plugfn/pkg/providers"
)

// worker is a Service at work.
type worker struct {
	*Service
	journal journal
	results results
	work    context.Context // ends when the work in hand must stop
}

// errLater has a request delivered again after a while: its first delivery is
// still being worked on and the caller waits for the result.
var errLater = errors.New("the request is being executed by another delivery")

// handle is the Watermill handler: nil acknowledges the request, an error has
// it delivered again.
func (w *worker) handle(msg *message.Message) error {
	t, err := newTask(msg, w.Now())
	var invalid *events.Error
	if err != nil && !errors.As(err, &invalid) {
		return err
	}
	err = w.settle(w.work, t, invalid)
	if err != nil && !errors.Is(err, errLater) {
		w.Log.Warn().Err(err).Str("request", t.ID).Str("user", t.UserID).Str("provider", t.Provider).
			Str("action", t.Action).Bool("redelivered", t.redelivered).Msg("request postponed")
	}
	return err
}

// settle brings t to its one result, or to a time when it can have one.
func (w *worker) settle(ctx context.Context, t *task, invalid *events.Error) error {
	if t.redelivered || t.explicitID {
		if done, err := w.before(ctx, t); done || err != nil {
			return err
		}
	}
	plan, failure := w.plan(t, invalid)
	if failure != nil {
		return w.conclude(ctx, t, t.failed(w.Now(), failure))
	}
	if t.NotBefore.After(w.Now()) {
		return w.park(ctx, t)
	}
	credential, err := w.credential(ctx, t, plan.pack)
	if failure = final(err); failure != nil {
		return w.conclude(ctx, t, t.failed(w.Now(), failure))
	}
	if err != nil {
		return err
	}
	return w.perform(ctx, t, plan, credential, &entry{Sequence: t.sequence, Fingerprint: t.fingerprint})
}

// before looks for what became of t in an earlier delivery, or in an earlier
// request with the same id, and settles t by it. done: there was something.
func (w *worker) before(ctx context.Context, t *task) (done bool, err error) {
	first, err := w.results.find(ctx, t)
	if err != nil {
		return false, err
	}
	if first != nil {
		return true, w.repeat(ctx, t, first)
	}
	claim, err := w.journal.load(ctx, t)
	if claim == nil || err != nil {
		return false, err
	}
	return true, w.resume(ctx, t, claim)
}

// maxAhead bounds Plugfn-Not-Before.
const maxAhead = 366 * 24 * time.Hour

// plan is what a request means.
type plan struct {
	pack   *providers.Pack
	action *providers.Action
}

// plan checks everything about t that needs no I/O.
func (w *worker) plan(t *task, invalid *events.Error) (plan, *events.Error) {
	if invalid != nil {
		return plan{}, invalid
	}
	pack, ok := w.Providers.Pack(t.Provider)
	if !ok {
		return plan{}, events.Errorf(events.CodeUnknownProvider, "no provider %q%s", t.Provider, meant(w.Providers.Nearest(t.Provider)))
	}
	action, ok := pack.Action(t.Action)
	if !ok {
		return plan{}, events.Errorf(events.CodeUnknownAction, "provider %s has no action %q%s", pack.Name, t.Action, meant(pack.NearestAction(t.Action)))
	}
	if err := action.Validate(t.Params); err != nil {
		return plan{}, asError(err, events.CodeInvalidParams)
	}
	now := w.Now()
	if t.NotBefore.After(now.Add(maxAhead)) {
		return plan{}, events.Errorf(events.CodeInvalidParams, "header %s: more than a year ahead", events.HeaderNotBefore)
	}
	if !t.Deadline.IsZero() && (now.After(t.Deadline) || t.NotBefore.After(t.Deadline)) {
		return plan{}, events.Errorf(events.CodeTimeout, "the deadline %s is before the first attempt", t.Deadline.UTC().Format(time.RFC3339))
	}
	return plan{pack, action}, nil
}

func meant(nearest string) string {
	if nearest == "" {
		return ""
	}
	return fmt.Sprintf("; did you mean %q?", nearest)
}

// park hands t to the scheduler until its time has come.
func (w *worker) park(ctx context.Context, t *task) error {
	t.header.Set(events.HeaderID, t.ID)
	err := w.Parking.Park(ctx, bus.Later{
		Kind: bus.KindAction, User: t.UserID, ID: t.ID, At: t.NotBefore,
		Target: t.subject, Header: t.header, Data: t.Params,
	})
	if err != nil {
		return fmt.Errorf("parking the request: %w", err)
	}
	w.Log.Debug().Str("request", t.ID).Time("until", t.NotBefore).Msg("request parked")
	return nil
}

func (w *worker) credential(ctx context.Context, t *task, pack *providers.Pack) (providers.Credential, error) {
	if auth, ok := pack.AuthByID(""); ok && auth.Type == providers.AuthNone && t.ConnectionID == "" {
		return providers.Credential{Auth: auth.ID}, nil
	}
	c, err := w.Credentials.Credential(ctx, t.UserID, t.Provider, t.ConnectionID)
	if err != nil {
		return providers.Credential{}, fmt.Errorf("getting the credential: %w", err)
	}
	t.ConnectionID = c.ConnectionID
	return c, nil
}

// perform claims t, executes it and concludes. e is what to claim with: a new
// entry, or that of an execution that may be repeated.
func (w *worker) perform(ctx context.Context, t *task, p plan, c providers.Credential, e *entry) error {
	// A read needs no claim: to repeat it does no harm, and only its first
	// result counts.
	if p.action.Effect != providers.EffectRead {
		e.SentAt = w.Now().UTC()
		if err := w.journal.save(ctx, t, e); errors.Is(err, errTaken) {
			return w.overtaken(ctx, t)
		} else if err != nil {
			return err
		}
	}
	result, err := w.attempt(ctx, t, p, c)
	if err != nil {
		return err
	}
	return w.conclude(ctx, t, result)
}

// attempt calls the provider once. Whatever happens in it ends as a result,
// but for a shutdown: then the request is left to its next delivery.
func (w *worker) attempt(ctx context.Context, t *task, p plan, c providers.Credential) (result *events.Result, err error) {
	a := attempt{worker: w, task: t, plan: p, credential: c}
	defer func() {
		if v := recover(); v != nil {
			w.Log.Error().Str("request", t.ID).Str("panic", fmt.Sprintf("%T", v)).Bytes("stack", debug.Stack()).Msg("attempt panicked")
			result, err = a.result(nil, events.Errorf(events.CodeInternal, "executing the action failed inside PlugFn")), nil
		}
	}()
	result = a.run(ctx)
	if ctx.Err() != nil && result.Error != nil && (result.Outcome == events.Unknown || result.Error.Code == events.CodeCanceled) {
		return nil, fmt.Errorf("stopping: %w", ctx.Err())
	}
	return result, nil
}

// resume goes on with a request that was claimed and has no result yet.
func (w *worker) resume(ctx context.Context, t *task, e *entry) error {
	if e.Fingerprint != t.fingerprint {
		return w.refuseReuse(ctx, t)
	}
	if e.Sequence != t.sequence {
		// The delivery that owns the claim answers for both.
		if t.Reply == "" {
			return nil
		}
		return errLater
	}
	return w.recover(ctx, t, e)
}

// recover settles a request whose executor went away after it had noted "sent".
func (w *worker) recover(ctx context.Context, t *task, e *entry) error {
	plan, failure := w.plan(t, nil)
	if failure == nil && plan.action.Effect == providers.EffectIdempotent {
		c, err := w.credential(ctx, t, plan.pack)
		if err == nil {
			return w.perform(ctx, t, plan, c, e)
		}
		if failure = final(err); failure == nil {
			return err
		}
	}
	t.startedAt = e.SentAt
	r := t.result(w.Now(), events.Unknown)
	r.Attempts = 1
	r.Error = events.Errorf(events.CodeOutcomeUnknown, "the executor stopped after it had begun to send the request and before it had the answer; look at %s before sending it again", t.Provider)
	return w.conclude(ctx, t, r)
}

// overtaken looks what became of a request that another delivery claimed first.
func (w *worker) overtaken(ctx context.Context, t *task) error {
	done, err := w.before(ctx, t)
	if err == nil && !done {
		err = errTaken // gone again: look afresh at the next delivery
	}
	return err
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
