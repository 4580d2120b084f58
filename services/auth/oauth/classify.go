package oauth

import (
	"bytes"
	"fmt"
	"net/http"
	"slices"
	"time"

	"github.com/plugfn/plugfn/pkg/providers"
)

const (
	maxCode   = 64 // bytes
	minSecret = 6  // bytes; what is shorter is a part of many words
)

// failure says what an answer means that is no success.
func (a answer) failure(k ask, now time.Time) *Failure {
	code := a.text(k.auth.Errors.Code)
	f := &Failure{
		Op: k.op, Status: a.status, Sent: true,
		Code:       k.shown(code),
		RetryAfter: a.retryAfter(now),
	}
	if code == "" && !isSuccess(a.status) {
		code = fmt.Sprintf("http_%d", a.status)
	}
	f.Class, f.reason = k.classify(a.status, code)
	if f.Class == Misconfigured && k.ownApp {
		f.Class = Dead
	}
	if f.Class == Pending {
		f.RetryAfter = max(f.RetryAfter, min(seconds(a.member("interval")), maxRetry))
	}
	if f.Class == Ambiguous {
		f.Body = providers.NewSecret(a.raw)
	}
	return f
}

// classify orders a failure by what helps against it. A code that nobody knows
// is transient: it kills no connection and stops no app.
func (k ask) classify(status int, code string) (Class, string) {
	declared := k.auth.Errors
	switch {
	case status >= 500, status == http.StatusTooManyRequests, status == http.StatusRequestTimeout, status == http.StatusTooEarly:
		return Transient, "the provider is busy or in trouble"
	case slices.Contains(declared.Misconfigured, code):
		return Misconfigured, "the app is not set up as the provider wants it"
	case slices.Contains(declared.Dead, code):
		return Dead, "the grant is gone"
	}
	switch code {
	case "invalid_grant", "expired_token":
		return Dead, "the grant is gone"
	case "invalid_client", "unauthorized_client", "redirect_uri_mismatch", "unsupported_grant_type", "unsupported_response_type", "invalid_scope":
		return Misconfigured, "the app is not set up as the provider wants it"
	case "access_denied":
		return Denied, "the user said no"
	case "authorization_pending", "slow_down":
		if k.device {
			return Pending, "the user has not answered yet"
		}
	case "":
		return Ambiguous, "the answer cannot be read"
	}
	if status >= 300 && status < 400 {
		return Transient, "the provider answers with a redirect, which is not followed"
	}
	return Transient, "the provider refuses"
}

// shown is the code as an error may show it: a word, and none of the secrets
// that were sent.
func (k ask) shown(code string) string {
	if len(code) > maxCode {
		return ""
	}
	for i := range len(code) {
		c := code[i]
		letter := c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z'
		if !letter && (i == 0 || (c < '0' || c > '9') && !bytes.ContainsRune([]byte("_-.:"), rune(c))) {
			return ""
		}
	}
	for _, s := range k.fields.secrets() {
		secret := s.Reveal()
		if len(secret) >= minSecret && (bytes.Contains([]byte(code), secret) || bytes.Contains(secret, []byte(code))) {
			return ""
		}
	}
	return code
}
