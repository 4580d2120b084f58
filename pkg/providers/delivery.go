package providers

import (
	"net/http"
	"net/url"
	"time"
)

// Delivery is one webhook request, read to its end. Nothing in it is trusted
// before [Webhooks.Verify] has passed.
type Delivery struct {
	Method     string
	URL        *url.URL // nil: no query
	Header     http.Header
	Body       []byte
	ReceivedAt time.Time // signed times are compared with it
}

// Reasons for which a delivery is refused. They are for metrics and the
// operator: a sender who is told why learns how to come closer.
const (
	ReasonMissingHeader   = "missing_header"   // no signature or no timestamp
	ReasonDuplicateHeader = "duplicate_header" // two of them: which one counts would be a guess
	ReasonMalformed       = "malformed"        // not in the form that the pack declares
	ReasonStale           = "stale"            // signed too long ago
	ReasonFuture          = "future"           // signed too far ahead of our clock
	ReasonMismatch        = "mismatch"         // no secret makes this signature
	ReasonNoSecret        = "no_secret"        // the endpoint has no usable secret
)

// VerifyError says why a delivery is not accepted as genuine.
type VerifyError struct {
	Reason string // one of the Reason constants
}

// Error returns the reason.
func (e *VerifyError) Error() string { return "delivery refused: " + e.Reason }

func refused(reason string) error { return &VerifyError{Reason: reason} }
