package plugfn

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/plugfn/plugfn/pkg/events"
)

// Code says why an action or a request to the API failed, see [events.Codes].
type Code = events.Code

// codeError is what errors.Is compares an [Error] with.
type codeError Code

// Error returns the code and what it means.
func (c codeError) Error() string { return string(c) + ": " + Code(c).Meaning().Meaning }

// One for each code, for errors.Is.
var (
	ErrInvalidParams       error = codeError(events.CodeInvalidParams)
	ErrUnknownProvider     error = codeError(events.CodeUnknownProvider)
	ErrUnknownAction       error = codeError(events.CodeUnknownAction)
	ErrConnectionNotFound  error = codeError(events.CodeConnectionNotFound)
	ErrConnectionAmbiguous error = codeError(events.CodeConnectionAmbiguous)
	ErrNeedsReauth         error = codeError(events.CodeNeedsReauth)
	ErrScopeRequired       error = codeError(events.CodeScopeRequired)
	ErrRateLimited         error = codeError(events.CodeRateLimited)
	ErrProviderRejected    error = codeError(events.CodeProviderRejected)
	ErrProviderUnavailable error = codeError(events.CodeProviderUnavailable)
	ErrTimeout             error = codeError(events.CodeTimeout)
	ErrOutcomeUnknown      error = codeError(events.CodeOutcomeUnknown)
	ErrCanceled            error = codeError(events.CodeCanceled)
	ErrInternal            error = codeError(events.CodeInternal)
)

// What has no code, because PlugFn was not reached or has not ended.
var (
	// ErrUnavailable says that PlugFn, or the service that was asked, cannot be
	// reached.
	ErrUnavailable = errors.New("PlugFn cannot be reached")
	// ErrNobody says that the bus is there, and no service that would answer. It
	// comes with ErrUnavailable.
	ErrNobody = errors.New("nobody answers: is an executor running?")
	// ErrPending says that a request has no result yet. It is still wanted:
	// [Client.Await] waits for it, [Client.Cancel] takes it back.
	ErrPending = errors.New("no result yet")
	// ErrNoAPI says that something needs the HTTP API, see [WithAPI].
	ErrNoAPI = errors.New("this needs the HTTP API: connect with plugfn.WithAPI")
	// ErrUnauthorized says that the API does not take the key.
	ErrUnauthorized = errors.New("the API key is missing or wrong")
	// ErrNotFound says that there is no such schedule, or whatever else has no
	// code of its own.
	ErrNotFound = errors.New("there is none")
	// ErrDataGone says that data which was kept beside a message is not kept any
	// more.
	ErrDataGone = events.ErrPayloadGone
)

var errClosed = errors.New("plugfn: the client was closed")

// Error is why an action did not succeed, or what the API refused.
type Error struct {
	Code    Code
	Message string // the provider's own, where it has said something

	ID       string // of the request; "": it was one to the API
	Provider string
	Action   string
	Outcome  Outcome // failed or unknown

	Status       int       // HTTP status of the provider, or of the API; 0: there was no answer
	ProviderCode string    // the provider's own error code
	RequestID    string    // the provider's, or for the log of PlugFn
	Retryable    bool      // the same may succeed later, unchanged; with another id
	RetryAt      time.Time // when that makes sense; zero: nobody has said

	cause error
}

// Error returns what was being done, the code and the message.
func (e *Error) Error() string {
	var b strings.Builder
	if e.Action != "" {
		fmt.Fprintf(&b, "%s.%s: ", e.Provider, e.Action)
	}
	if e.Code != "" {
		fmt.Fprintf(&b, "%s: ", e.Code)
	}
	b.WriteString(e.Message)
	if e.RequestID != "" {
		fmt.Fprintf(&b, " (request id %s)", e.RequestID)
	}
	return b.String()
}

// Is reports whether target stands for the code of e.
func (e *Error) Is(target error) bool {
	code, ok := target.(codeError)
	return ok && Code(code) == e.Code
}

// Unwrap returns what there is beside the code: [ErrUnauthorized], [ErrNotFound]
// or nothing.
func (e *Error) Unwrap() error { return e.cause }

// errorOf is the error of a result that did not succeed; nil of one that did.
func errorOf(r *Result) error {
	if r.Outcome == events.Succeeded {
		return nil
	}
	said := r.Error
	if said == nil {
		said = events.Errorf(events.CodeOutcomeUnknown, "it ended as %s", r.Outcome)
	}
	e := asError(said)
	e.ID, e.Provider, e.Action, e.Outcome = r.ID, r.Provider, r.Action, r.Outcome
	return e
}

func asError(said *events.Error) *Error {
	return &Error{
		Code: said.Code, Message: said.Message, Status: said.Status, ProviderCode: said.ProviderCode,
		RequestID: said.RequestID, Retryable: said.Retryable, RetryAt: said.RetryAt,
	}
}
