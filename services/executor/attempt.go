package executor

import (
	"context"
	"encoding/json"
	"errors"
	"net/http/httptrace"
	"sync/atomic"
	"time"

	"github.com/plugfn/plugfn/pkg/events"
	"github.com/plugfn/plugfn/pkg/providers"
)

// attempt is one try of one request.
type attempt struct {
	*worker
	task       *task
	plan       plan
	credential providers.Credential

	sent atomic.Bool // bytes of the request may have left
}

// run calls the provider and says how it ended.
func (a *attempt) run(ctx context.Context) *events.Result {
	ctx, cancel := a.bounded(ctx)
	defer cancel()
	ctx = httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{WroteHeaders: func() { a.sent.Store(true) }})

	request, err := a.plan.action.NewRequest(ctx, a.Providers.BaseURL(a.task.Provider), a.task.Params, a.credential)
	if err != nil {
		return a.report(0, a.result(nil, asError(err, events.CodeInternal)))
	}
	response, err := a.HTTP.Do(request)
	if err != nil {
		return a.report(0, a.result(nil, a.interrupted(ctx, err)))
	}
	defer response.Body.Close()
	data, err := a.plan.action.Read(response)
	var refused *events.Error
	if err != nil && !errors.As(err, &refused) {
		refused = a.interrupted(ctx, err)
	}
	return a.report(response.StatusCode, a.result(data, refused))
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

// result says how the attempt ended: with data, with an answer that refuses, or
// with a failure that leaves open whether a write was carried out.
func (a *attempt) result(data json.RawMessage, failure *events.Error) *events.Result {
	outcome := events.Succeeded
	if failure != nil {
		outcome = events.Failed
		if a.ambiguous(failure) {
			outcome = events.Unknown
			failure.Code, failure.Retryable = events.CodeOutcomeUnknown, false
			failure.Message += "; it may have carried out the request: look there before sending it again"
		}
	}
	if len(data) > maxInline {
		outcome, data, failure = a.oversize(len(data))
	}
	r := a.task.result(a.Now(), outcome)
	r.Data, r.Error = data, failure
	if a.sent.Load() {
		r.Attempts = 1
	}
	return r
}

// ambiguous reports whether a write may have been carried out although it
// failed: it was sent, and the answer is missing or blames the provider itself.
func (a *attempt) ambiguous(failure *events.Error) bool {
	if a.plan.action.Effect == providers.EffectRead || !a.sent.Load() {
		return false
	}
	switch failure.Code {
	case events.CodeTimeout, events.CodeCanceled, events.CodeProviderUnavailable, events.CodeOutcomeUnknown, events.CodeInternal:
		return true
	default:
		return false
	}
}

// maxInline is how many bytes of data a result may carry: the bus takes
// messages of 1 MiB.
const maxInline = 900 << 10

// oversize decides about data that does not fit into a result: a read fails, a
// write has been carried out and says so without its data.
func (a *attempt) oversize(n int) (events.Outcome, json.RawMessage, *events.Error) {
	if a.plan.action.Effect != providers.EffectRead {
		return events.Succeeded, nil, nil
	}
	return events.Failed, nil, events.Errorf(events.CodeProviderRejected, "the answer has %d bytes, more than the %d that a result can carry: ask for less", n, maxInline)
}

// report writes the attempt's one log line.
func (a *attempt) report(status int, r *events.Result) *events.Result {
	line := a.Log.Info()
	if r.Error != nil {
		line = a.Log.Warn().Str("code", string(r.Error.Code)).Str("provider_request", r.Error.RequestID)
	}
	line.Str("request", r.ID).Str("user", r.UserID).Str("provider", r.Provider).Str("action", r.Action).
		Str("connection", r.ConnectionID).Int("status", status).Str("outcome", string(r.Outcome)).
		Int64("ms", r.DurationMS).Msg("action executed")
	return r
}
