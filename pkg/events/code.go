package events

import "net/http"

// Code says why an action or an HTTP request failed. The set is closed.
type Code string

// The error codes. Their meaning, HTTP status and advice stand in one table,
// see [Codes].
const (
	CodeInvalidParams       Code = "invalid_params"
	CodeUnknownProvider     Code = "unknown_provider"
	CodeUnknownAction       Code = "unknown_action"
	CodeConnectionNotFound  Code = "connection_not_found"
	CodeConnectionAmbiguous Code = "connection_ambiguous"
	CodeNeedsReauth         Code = "needs_reauth"
	CodeScopeRequired       Code = "scope_required"
	CodeRateLimited         Code = "rate_limited"
	CodeProviderRejected    Code = "provider_rejected"
	CodeProviderUnavailable Code = "provider_unavailable"
	CodeTimeout             Code = "timeout"
	CodeOutcomeUnknown      Code = "outcome_unknown"
	CodeCanceled            Code = "canceled"
	CodeInternal            Code = "internal"
)

// CodeMeaning is one row of the table of error codes.
type CodeMeaning struct {
	Code      Code
	Status    int    // HTTP status of a problem response (RFC 9457)
	Retryable bool   // the same request may succeed later, unchanged
	Meaning   string // what happened
	Fix       string // what the caller can do
}

// Codes returns the table of all error codes, in the order of the contract.
// Bus results and HTTP problem responses use the same one.
func Codes() []CodeMeaning {
	return []CodeMeaning{
		{CodeInvalidParams, http.StatusUnprocessableEntity, false, "the parameters break the action's schema", "correct the field that the message names"},
		{CodeUnknownProvider, http.StatusNotFound, false, "no pack has this name", "see: plugfn provider list"},
		{CodeUnknownAction, http.StatusNotFound, false, "the provider has no such action", "see: plugfn provider show <provider>"},
		{CodeConnectionNotFound, http.StatusNotFound, false, "the user has no such connection", "connect the account first: plugfn connection create"},
		{CodeConnectionAmbiguous, http.StatusConflict, false, "the user has several connections to this provider", "name one in Plugfn-Connection"},
		{CodeNeedsReauth, http.StatusUnauthorized, false, "the provider refuses the credential", "connect the account again"},
		{CodeScopeRequired, http.StatusForbidden, false, "the connection was not granted what the action needs", "connect again with the scope that the message names"},
		{CodeRateLimited, http.StatusTooManyRequests, true, "no rate-limit slot before the deadline", "send less, or allow more time"},
		{CodeProviderRejected, http.StatusBadGateway, false, "the provider refused the request", "see the provider's message"},
		{CodeProviderUnavailable, http.StatusServiceUnavailable, true, "the provider could not be reached or failed; nothing was done", "try again later"},
		{CodeTimeout, http.StatusGatewayTimeout, true, "the time allowed ran out; nothing was done", "allow more time, or try again"},
		{CodeOutcomeUnknown, http.StatusGatewayTimeout, false, "the request was sent and no answer tells whether it was carried out", "look at the provider before sending it again"},
		{CodeCanceled, http.StatusConflict, false, "the request was canceled before it was sent", "send it again if it is still wanted"},
		{CodeInternal, http.StatusInternalServerError, true, "PlugFn failed", "try again; the log has the cause under the request id"},
	}
}

// Meaning returns the row of c; an unknown code has the row of "internal".
func (c Code) Meaning() CodeMeaning {
	rows := Codes()
	for _, row := range rows {
		if row.Code == c {
			return row
		}
	}
	return rows[len(rows)-1]
}
