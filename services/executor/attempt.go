package executor

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptrace"
	"sync/atomic"
	"time"

	"github.com/google/uuid"

	"github.com/plugfn/plugfn/internal/tracing"
	"github.com/plugfn/plugfn/pkg/events"
	"github.com/plugfn/plugfn/pkg/providers"
)

// finding is what an attempt came to.
type finding struct {
	class       class
	data        json.RawMessage
	reading     reading       // of a read that succeeded: what is known beside the data
	failure     *events.Error // nil: it succeeded
	retryAfter  time.Duration
	sent        int   // how often it may have reached the provider
	version     int   // of the credential that was refused; 0: none was
	interrupted bool  // it was not let finish
	noSlot      error // why nothing was sent: a *pause, or trouble with the limits
}

// ailing reports whether the provider itself is to blame: it failed, or could
// not be reached, or did not answer.
func (f *finding) ailing() bool {
	return (f.class == classNothing || f.class == classUncertain) && !f.interrupted
}

// attempt is one try of one request.
type attempt struct {
	*worker
	task       *task
	plan       plan
	credential providers.Credential
	entry      *entry
	slot       *slot // for the first call; nil: it has to be got

	sent atomic.Bool // bytes of the request may have left
}

// attempt calls the provider, and once more where it has refused a credential
// that is not the newest any more: then it has done nothing.
func (w *worker) attempt(ctx context.Context, t *task, p plan, c providers.Credential, e *entry, s *slot) finding {
	a := attempt{worker: w, task: t, plan: p, credential: c, entry: e, slot: s}
	f := a.run(ctx)
	if a.isRefused(&f) {
		f = a.renewed(ctx, f)
	}
	return f
}

// run calls the provider and says what came of it, in the trace as well.
func (a *attempt) run(ctx context.Context) finding {
	ctx, span := a.Tracer.Child(ctx, tracing.Calls, "call", a.task.Provider)
	defer span.End()
	f := a.call(ctx)
	span.Count("plugfn.attempt", a.entry.Attempts)
	span.Set("plugfn.class", string(f.class))
	if f.failure != nil {
		span.Fail(string(f.failure.Code))
	}
	return f
}

func (a *attempt) call(ctx context.Context) finding {
	started := a.Now()
	ctx, cancel := a.bounded(ctx)
	defer cancel()
	if a.plan.action.Effect == providers.EffectRead {
		carryOut := a.read
		if a.plan.action.GivesFile() {
			carryOut = a.download
		}
		r, err := carryOut(a.traced(ctx))
		if f, ok := unsent(err); ok {
			return f
		}
		f := a.finding(r.data, a.failure(ctx, err), err)
		f.reading = r
		return a.report(ctx, answered{r.status, r.requestID}, started, f)
	}
	defer a.outdate(ctx)
	request, err := a.plan.asked.NewWrite(a.traced(ctx), a.Providers.BaseURL(a.task.Provider), a.credential, providers.Mark{Key: a.key(), Cause: a.task.CausationID})
	if err == nil {
		err = a.attach(ctx, request)
	}
	if err != nil {
		a.slot.cancel(ctx)
		return a.report(ctx, answered{}, started, a.finding(nil, asError(err, events.CodeInternal), nil))
	}
	a.limitRefusals(request)
	response, err := a.do(a.task.Provider, request)
	if err != nil {
		a.unanswered(ctx, a.slot)
		return a.report(ctx, answered{}, started, a.finding(nil, a.interrupted(ctx, err), err))
	}
	defer response.Body.Close()
	heard := a.slot.listen(response)
	data, err := a.plan.action.Read(response)
	a.slot.done(ctx, response, heard(), err)
	return a.report(ctx, answered{response.StatusCode, a.plan.action.RequestID(response.Header)}, started, a.finding(data, a.failure(ctx, err), err))
}

// unanswered settles the slot of a call without a response.
func (a *attempt) unanswered(ctx context.Context, s *slot) {
	if a.sent.Load() {
		s.done(ctx, nil, nil, nil)
	} else {
		s.cancel(ctx)
	}
}

// unsent is what an attempt comes to whose first call has no slot yet.
func unsent(err error) (finding, bool) {
	var why slotError
	if !errors.As(err, &why) {
		return finding{}, false
	}
	return finding{class: classPaused, noSlot: why.error}, true
}

// slotError is why a slot could be neither got nor waited for.
type slotError struct{ error }

// Unwrap returns the reason.
func (e slotError) Unwrap() error { return e.error }

// failure is why a call came to nothing; nil if it did not.
func (a *attempt) failure(ctx context.Context, err error) *events.Error {
	if err == nil {
		return nil
	}
	return a.interrupted(ctx, err)
}

// traced notes whether the request was sent.
func (a *attempt) traced(ctx context.Context) context.Context {
	return httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{WroteHeaders: func() { a.sent.Store(true) }})
}

// bounded limits the attempt to its time-out and to the request's deadline.
func (a *attempt) bounded(ctx context.Context) (context.Context, context.CancelFunc) {
	timeout := a.plan.action.AttemptTimeout()
	if a.task.Timeout > 0 {
		timeout = min(a.task.Timeout, maxTimeout)
	}
	if d := a.task.Deadline; !d.IsZero() {
		timeout = min(timeout, d.Sub(a.Now()))
	}
	return context.WithTimeout(ctx, timeout)
}

// maxTimeout bounds Plugfn-Timeout: a request must not hold its place for ever.
const maxTimeout = 10 * time.Minute

// interrupted says why a call has no answer. The error's own text may hold the
// URL and with it a secret, so it is not passed on.
func (a *attempt) interrupted(ctx context.Context, err error) *events.Error {
	var refused *events.Error
	switch {
	case errors.As(err, &refused): // by our own client, which says why
		return refused
	case errors.Is(ctx.Err(), context.DeadlineExceeded):
		return events.Errorf(events.CodeTimeout, "%s did not answer within the time allowed", a.task.Provider)
	case errors.Is(err, context.Canceled):
		return events.Errorf(events.CodeCanceled, "the call to %s was canceled", a.task.Provider)
	case a.sent.Load():
		return events.Errorf(events.CodeProviderUnavailable, "the connection to %s broke before its answer was complete", a.task.Provider)
	default:
		return events.Errorf(events.CodeProviderUnavailable, "%s could not be reached", a.task.Provider)
	}
}

// finding joins what is known. cause is the error that failure was made of.
func (a *attempt) finding(data json.RawMessage, failure *events.Error, cause error) finding {
	f := finding{data: data, failure: failure, version: a.credential.Version}
	var answer *providers.Failure
	nothingDone := isRefusedStream(cause) || errors.Is(cause, errNotTaken)
	if errors.As(cause, &answer) {
		f.retryAfter, nothingDone = answer.RetryAfter, answer.NothingDone
		if failure != nil && answer.RetryAfter > 0 {
			failure.RetryAt = a.Now().Add(answer.RetryAfter).UTC().Truncate(time.Second)
		}
	}
	if a.sent.Load() {
		f.sent = 1
	}
	f.class = classOf(failure, f.sent > 0, nothingDone)
	if f.class == classReauth && a.credential.ConnectionID == "" {
		f.class = classRefused // nobody can connect again
	}
	f.interrupted = failure != nil && failure.Code == events.CodeCanceled
	return f
}

// key is keyOf, where the action has a place for it.
func (a *attempt) key() string {
	if a.plan.action.Idempotency == nil {
		return ""
	}
	return keyOf(a.task)
}

// keyOf is the idempotency key of a request: the same for all attempts at it,
// and nobody else's.
func keyOf(t *task) string {
	return uuid.NewSHA1(uuid.NameSpaceOID, []byte("plugfn\x00"+t.UserID+"\x00"+t.ID)).String()
}

// errNotTaken says that a server has refused a write again and again.
var errNotTaken = errors.New("the server does not take the request")

// limitRefusals has net/http send a write twice more at most, and what it was
// refused does not count as sent. net/http asks for the body anew where the
// server has not processed the request, and then waits, longer each time, to send
// it again: when the time of the attempt ends meanwhile, it must not look like a
// write without an answer.
func (a *attempt) limitRefusals(request *http.Request) {
	again, refused := request.GetBody, 0
	if again == nil {
		return
	}
	request.GetBody = func() (io.ReadCloser, error) {
		a.sent.Store(false)
		if refused++; refused > 2 {
			return nil, errNotTaken
		}
		return again()
	}
}

// isRefusedStream reports whether the server has said, in HTTP/2, that it did
// not process the request.
func isRefusedStream(err error) bool {
	const refusedStream = 0x7
	var stream streamError
	return errors.As(err, &stream) && stream.Code == refusedStream
}

// streamError has the shape by which net/http gives away its own error of that
// name.
type streamError struct {
	StreamID uint32
	Code     uint32
	Cause    error
}

// Error is never shown.
func (e streamError) Error() string { return http.StatusText(http.StatusBadGateway) }
