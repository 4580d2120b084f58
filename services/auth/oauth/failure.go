package oauth

import (
	"fmt"
	"time"

	"github.com/plugfn/plugfn/pkg/providers"
)

// Class says what to do about a failure. The set is closed.
type Class string

// The classes of failures.
const (
	// Transient: try again later. The tokens at hand stay good until they expire.
	Transient Class = "transient"
	// Dead: the code, the refresh token or the installation is gone. Confirm once,
	// then only the user can connect again.
	Dead Class = "dead"
	// Misconfigured: the app is set up wrongly here or at the provider. The
	// operator has to act; no grant is lost by it.
	Misconfigured Class = "misconfigured"
	// Ambiguous: the provider says that it did it, in words that cannot be read.
	// A refresh token that was sent may be spent. Failure.Body has the answer.
	Ambiguous Class = "ambiguous"
	// Denied: the user said no.
	Denied Class = "denied"
	// Pending: the user has not answered on the other device. Ask again.
	Pending Class = "pending"
)

// Failure says why a provider did not do what it was asked to. Its text is
// safe to log and to show.
type Failure struct {
	Op     string // what was asked for, such as "refreshing the token"
	Class  Class
	Code   string // the provider's error code; "" when it gave none that looks like one
	Status int    // of the answer; 0: there was none

	Sent       bool             // the provider may have got the request, and acted on it
	RetryAfter time.Duration    // how long to wait at least; 0: it did not say
	Body       providers.Secret // of Ambiguous: the answer as it came, up to 1 MiB

	reason string // in own words
	err    error  // see Unwrap
}

// Error says what failed, why, and of which class that is.
func (f *Failure) Error() string {
	text := f.Op + ": " + f.reason
	if f.Code != "" {
		text += ": " + f.Code
	}
	if f.Status != 0 {
		text += fmt.Sprintf(" (status %d)", f.Status)
	}
	return text + "; " + string(f.Class)
}

// Unwrap returns context.Canceled when the caller canceled the request,
// context.DeadlineExceeded when its time ran out, and nil otherwise.
func (f *Failure) Unwrap() error { return f.err }

// unsent is a failure of something that was never asked.
func unsent(op string, class Class, reason string) *Failure {
	return &Failure{Op: op, Class: class, reason: reason}
}
