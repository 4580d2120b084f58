package providers

import (
	"net/http"
	"net/netip"
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
	Peer       netip.Addr // who sent it, as the operator's network knows; the zero value: unknown
	ReceivedAt time.Time  // signed times are compared with it
}

// Reasons for which a delivery is refused. They are for metrics and the
// operator: a sender who is told why learns how to come closer.
const (
	ReasonMissingHeader   = "missing_header"   // no signature, no timestamp or nothing of what is signed
	ReasonDuplicateHeader = "duplicate_header" // two of them: which one counts would be a guess
	ReasonMalformed       = "malformed"        // not in the form that the pack declares
	ReasonStale           = "stale"            // signed too long ago, or no longer good
	ReasonFuture          = "future"           // signed too far ahead of our clock
	ReasonMismatch        = "mismatch"         // no secret makes this signature, or what it must say is not there
	ReasonNoSecret        = "no_secret"        // the endpoint has no usable secret
	ReasonUnknownKey      = "unknown_key"      // the issuer has no such key, or it is not one that the pack allows
	ReasonNetwork         = "network"          // from an address that is not the sender's
	ReasonDenied          = "denied"           // the provider says that it is not its delivery
	ReasonUnsigned        = "unsigned"         // nobody signs it, and the operator has not accepted that
	ReasonNoURL           = "no_url"           // the endpoint's address is signed, and it is not known
	ReasonNoKeys          = "no_keys"          // the keys cannot be fetched now
	ReasonNoCall          = "no_call"          // the provider cannot be asked now
)

// VerifyError says why a delivery is not accepted as genuine.
type VerifyError struct {
	Reason string // one of the Reason constants
}

// Error returns the reason.
func (e *VerifyError) Error() string { return "delivery refused: " + e.Reason }

// Unsure tells whether it cannot be said now if the delivery is genuine: it is
// worth sending it again.
func (e *VerifyError) Unsure() bool {
	return e.Reason == ReasonNoURL || e.Reason == ReasonNoKeys || e.Reason == ReasonNoCall
}

func refused(reason string) error { return &VerifyError{Reason: reason} }

// queries returns the values of a parameter of the URL.
func (d *Delivery) queries(name string) []string {
	if d.URL == nil || d.URL.RawQuery == "" {
		return nil
	}
	return d.URL.Query()[name]
}
