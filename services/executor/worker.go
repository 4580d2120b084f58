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
	err = w.contained(t, func() error { return w.settle(w.work, t, invalid) })
	if err != nil && !errors.Is(err, errLater) {
		w.Log.Warn().Err(err).Str("request", t.ID).Str("user", t.UserID).Str("provider", t.Provider).
			Str("action", t.Action).Bool("redelivered", t.redelivered).Msg("request postponed")
	}
	return err
}

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
	claim, err := w.journal.load(w.work, t)
	if err != nil {
		return err
	}
	if claim != nil && !claim.SentAt.IsZero() {
		return w.conclude(w.work, t, t.lost(w.Now(), claim))
	}
	return w.conclude(w.work, t, t.failed(w.Now(), events.Errorf(events.CodeInternal, "executing the action failed inside PlugFn")))
}

// settle brings t to its one result, or to a time when it can have one.
func (w *worker) settle(ctx context.Context, t *task, invalid *events.Error) error {
	claim := &entry{Sequence: t.sequence, Fingerprint: t.fingerprint}
	if t.redelivered || t.explicitID {
		parked, done, err := w.before(ctx, t)
		if done || err != nil {
			return err
		}
		if parked != nil {
			claim = parked
		}
	}
	plan, failure := w.plan(t, invalid)
	if failure != nil {
		return w.conclude(ctx, t, t.failed(w.Now(), failure))
	}
	if t.NotBefore.After(w.Now()) {
		return w.park(ctx, t, claim)
	}
	credential, err := w.credential(ctx, t, plan.pack)
	if failure = final(err); failure != nil {
		return w.conclude(ctx, t, t.failed(w.Now(), failure))
	}
	if err != nil {
		return err
	}
	return w.perform(ctx, t, plan, credential, claim)
}

// before looks for what became of t in an earlier delivery, or in an earlier
// request with the same id, and settles t by it. done: that was all there is to
// do. parked is the claim of a request whose time has come, or comes again.
func (w *worker) before(ctx context.Context, t *task) (parked *entry, done bool, err error) {
	first, err := w.results.find(ctx, t)
	if err != nil {
		return nil, false, err
	}
	if first != nil {
		return nil, true, w.repeat(ctx, t, first)
	}
	claim, err := w.journal.load(ctx, t)
	switch {
	case claim == nil || err != nil:
		return nil, false, err
	case claim.Fingerprint != t.fingerprint:
		return nil, true, w.refuseReuse(ctx, t)
	case claim.SentAt.IsZero():
		claim.Sequence = t.sequence
		return claim, false, nil
	default:
		return nil, true, w.resume(ctx, t, claim)
	}
}

// maxAhead bounds Plugfn-Not-Before.
const maxAhead = 366 * 24 * time.Hour

// maxParams is how many bytes of parameters a request may have, so that it can
// be parked: a message of the bus has 1 MiB with its headers.
const maxParams = 900 << 10

// maxWait is how long trouble of ours may hold a request up: less than the bus
// keeps it, so that it does not vanish without a result.
const maxWait = 6 * 24 * time.Hour

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
	if len(t.Params) > maxParams {
		return plan{}, events.Errorf(events.CodeInvalidParams, "the parameters have %d bytes, at most %d are allowed", len(t.Params), maxParams)
	}
	if w.Now().Sub(t.storedAt) > maxWait {
		return plan{}, events.Errorf(events.CodeTimeout, "the request could not be executed for %s", maxWait)
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

// park hands t to the scheduler until its time has come. It claims the id, so
// that another request with the same one does not take its place.
func (w *worker) park(ctx context.Context, t *task, claim *entry) error {
	if err := w.journal.save(ctx, t, claim); err != nil {
		return err
	}
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

// attempt calls the provider, and once more where it has refused a credential
// that is not the newest any more: then it has done nothing. Whatever happens in it ends as a result,
// but for a shutdown: then the request is left to its next delivery.
func (w *worker) attempt(ctx context.Context, t *task, p plan, c providers.Credential) (*events.Result, error) {
	a := attempt{worker: w, task: t, plan: p, credential: c}
	result := a.run(ctx)
	if a.isRefused(result) {
		result = a.renewed(ctx, result)
	}
	if ctx.Err() != nil && result.Error != nil && (result.Outcome == events.Unknown || result.Error.Code == events.CodeCanceled) {
		return nil, fmt.Errorf("stopping: %w", ctx.Err())
	}
	return result, nil
}

// orphanAge is how old a claim is that nobody can be working on any more.
const orphanAge = maxTimeout + time.Minute

// resume goes on with a request that was sent and has no result yet.
func (w *worker) resume(ctx context.Context, t *task, e *entry) error {
	if e.Sequence == t.sequence || w.Now().Sub(e.SentAt) > orphanAge {
		return w.recover(ctx, t, e)
	}
	// The delivery that owns the claim answers for both.
	if t.Reply == "" {
		return nil
	}
	return errLater
}

// recover settles a request whose executor went away after it had claimed it.
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
	return w.conclude(ctx, t, t.lost(w.Now(), e))
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
