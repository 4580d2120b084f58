package oauthtest

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// Quirks are the ways in which a server answers otherwise than the RFCs have it.
type Quirks struct {
	ExpiresIn ExpiresIn // how the life of an access token is written
	Answers   Answers   // how all answers of the token endpoint are written

	ErrorsAs200 bool   // errors have status 200
	ErrorObject bool   // error is an object with a code
	HTMLErrors  bool   // errors are a page that quotes what was sent
	AuthedUser  bool   // the tokens stand under authed_user
	ScopeList   bool   // scope is a list
	NoScope     bool   // scope is left out
	RedirectTo  string // token answers are a 307 to this URL

	KeepRefreshToken bool          // refresh tokens do not rotate, and answers to a refresh have none
	OldAccessDies    bool          // a refresh ends the access tokens before it
	Padding          int           // bytes of padding in token answers
	Delay            time.Duration // before token answers; what was asked for is done by then
}

// ExpiresIn is a spelling of expires_in.
type ExpiresIn string

// The spellings. The empty one is a number such as 3600.
const (
	ExpiresInFloat   ExpiresIn = "float"   // 3600.0
	ExpiresInString  ExpiresIn = "string"  // "3600"
	ExpiresInEmpty   ExpiresIn = "empty"   // ""
	ExpiresInMissing ExpiresIn = "missing" // not there
)

// Answers is a way of writing answers.
type Answers string

// The ways. The empty one is JSON.
const (
	AnswersForm Answers = "form" // form-encoded
	AnswersText Answers = "text" // JSON that is said to be text/plain
)

// Fault is trouble with one request to the token or the revocation endpoint.
// The zero value is none. The endpoint for revocation knows Status only.
type Fault struct {
	Status     int           // refused with this status before anything is done
	RetryAfter time.Duration // said with it
	Drop       bool          // done, and then the connection is cut without an answer
	Garbled    bool          // done, and then answered with something that cannot be read
}

// SetQuirks replaces the quirks.
func (s *Server) SetQuirks(q Quirks) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.quirks = q
}

// Fail makes the next requests fail, one for each fault.
func (s *Server) Fail(faults ...Fault) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.faults = append(s.faults, faults...)
}

func (s *Server) nextFault() Fault {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.faults) == 0 {
		return Fault{}
	}
	f := s.faults[0]
	s.faults = s.faults[1:]
	return f
}

// refuses answers a request that is not looked at.
func (f Fault) refuses(w http.ResponseWriter) bool {
	if f.Status == 0 {
		return false
	}
	if f.RetryAfter > 0 {
		w.Header().Set("Retry-After", strconv.Itoa(int(f.RetryAfter.Seconds())))
	}
	http.Error(w, "<html>out of order</html>", f.Status)
	return true
}

// spoils keeps the answer to a request that was carried out.
func (f Fault) spoils(w http.ResponseWriter) bool {
	switch {
	case f.Drop:
		panic(http.ErrAbortHandler)
	case f.Garbled:
		_, _ = w.Write([]byte(`{"access_token": "at_half`))
		return true
	}
	return false
}

func (q Quirks) wait(r *http.Request) {
	if q.Delay <= 0 {
		return
	}
	timer := time.NewTimer(q.Delay)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-r.Context().Done():
	}
}

// answer writes a success.
func (q Quirks) answer(w http.ResponseWriter, r *http.Request, out map[string]any) {
	if q.RedirectTo != "" {
		http.Redirect(w, r, q.RedirectTo, http.StatusTemporaryRedirect)
		return
	}
	if life, ok := out["expires_in"].(float64); ok {
		q.spell(out, life)
	}
	scope, _ := out["scope"].(string)
	if q.ScopeList && scope != "" {
		out["scope"] = strings.Fields(scope)
	}
	if q.NoScope {
		delete(out, "scope")
	}
	if q.AuthedUser {
		out = map[string]any{"ok": true, "authed_user": out}
	}
	if q.Padding > 0 {
		out["padding"] = strings.Repeat("x", q.Padding)
	}
	q.write(w, http.StatusOK, out)
}

// spell writes the life of a token. A whole number is written without a point
// unless that is the quirk.
func (q Quirks) spell(out map[string]any, seconds float64) {
	switch q.ExpiresIn {
	case ExpiresInMissing:
		delete(out, "expires_in")
	case ExpiresInEmpty:
		out["expires_in"] = ""
	case ExpiresInString:
		out["expires_in"] = strconv.FormatFloat(seconds, 'f', -1, 64)
	case ExpiresInFloat:
		out["expires_in"] = json.Number(fmt.Sprintf("%.1f", seconds))
	}
}

// refuse writes an error.
func (q Quirks) refuse(w http.ResponseWriter, no *refusal, params url.Values) {
	status := no.status
	if q.ErrorsAs200 {
		status = http.StatusOK
	}
	if q.HTMLErrors {
		w.Header().Set("Content-Type", "text/html")
		w.WriteHeader(status)
		_, _ = fmt.Fprintf(w, "<html><h1>%s</h1><pre>%s</pre></html>", no.code, params.Encode()) //nolint:gosec // that is the quirk
		return
	}
	if status == http.StatusUnauthorized {
		w.Header().Set("WWW-Authenticate", `Basic realm="oauthtest"`)
	}
	out := map[string]any{"error": no.code, "error_description": "refused: " + params.Encode()}
	if q.ErrorObject {
		out["error"] = map[string]any{"code": no.code, "message": "refused"}
	}
	q.write(w, status, out)
}

func (q Quirks) write(w http.ResponseWriter, status int, out map[string]any) {
	w.Header().Set("Cache-Control", "no-store")
	switch q.Answers {
	case AnswersForm:
		form := url.Values{}
		for name, value := range out {
			form.Set(name, fmt.Sprint(value))
		}
		w.Header().Set("Content-Type", "application/x-www-form-urlencoded")
		w.WriteHeader(status)
		_, _ = w.Write([]byte(form.Encode()))
	case AnswersText:
		w.Header().Set("Content-Type", "text/plain")
		w.WriteHeader(status)
		_ = json.NewEncoder(w).Encode(out)
	default:
		writeJSON(w, status, out)
	}
}
