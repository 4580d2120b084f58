package providers

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"net/http"
	"strconv"
	"strings"
	"time"
	"unicode"

	"github.com/plugfn/plugfn/pkg/providers/expression"

	"github.com/plugfn/plugfn/pkg/events"
)

const (
	defaultMaxResponse = 10 << 20 // bytes
	maxMessage         = 300      // bytes of a provider's text in an error
)

// Read says what a response means: the data of a success, or an *events.Error.
// Any other error is the network's, from reading the body. The caller closes
// the body; Read takes at most [HTTP].MaxResponse and one byte of it.
//
// Data is the body as it came if that is JSON, or the part of it that
// [Action].Result names; a body that is not JSON is one JSON string; no body is
// null. The *events.Error of a failure is wrapped in a [*Failure].
func (a *Action) Read(resp *http.Response) (json.RawMessage, error) {
	r, err := a.read(resp)
	if err != nil {
		return nil, err
	}
	return r.data(a.Result), nil
}

// read takes in a response and returns it if it is a success.
func (a *Action) read(resp *http.Response) (*response, error) {
	limit := a.MaxResponse()
	raw, err := io.ReadAll(io.LimitReader(resp.Body, limit+1))
	if err != nil {
		return nil, err
	}
	r := &response{http: &a.pack.HTTP, status: resp.StatusCode, header: resp.Header, raw: bytes.TrimSpace(raw)}
	if int64(len(raw)) > limit {
		return nil, r.tooLong(a.Effect, limit)
	}
	if !r.succeeded() {
		return nil, r.failure()
	}
	return r, nil
}

// MaxResponse is how many bytes a response to the action may have.
func (a *Action) MaxResponse() int64 {
	return int64(cmp.Or(a.pack.HTTP.MaxResponse, defaultMaxResponse))
}

// RequestID is the provider's id of the request that a response with these
// headers answers; "" where the pack does not say where it is.
func (a *Action) RequestID(header http.Header) string {
	text, _ := a.pack.HTTP.RequestID.fromResponse(header, nil)
	return clean(text)
}

// Failure is an answer that refuses, with what the provider advises.
type Failure struct {
	Err *events.Error
	// RetryAfter is how long the provider wants to be left alone, at most a day;
	// 0: it does not say.
	RetryAfter time.Duration
	// NothingDone is whether the pack says that the provider carried nothing out,
	// although the code alone leaves that open.
	NothingDone bool
}

// Error returns the code and the message.
func (f *Failure) Error() string { return f.Err.Error() }

// Unwrap returns the *events.Error.
func (f *Failure) Unwrap() error { return f.Err }

// response is one answer of a provider. It decodes the body when that is first
// asked for: most successes are passed on as they are.
type response struct {
	http    *HTTP
	status  int
	header  http.Header
	raw     []byte
	verdict *verdict // what predicates look at
	exact   any      // the decoded body with json.Number; nil when it is no JSON
}

func (r *response) succeeded() bool {
	if r.http.Success.IsZero() {
		return r.status < http.StatusMultipleChoices
	}
	return r.holds(r.http.Success)
}

func (r *response) holds(p Predicate) bool {
	if r.verdict == nil {
		r.verdict = &verdict{Status: r.status, Header: make(map[string]string, len(r.header))}
		for name := range r.header {
			r.verdict.Header[strings.ToLower(name)] = r.header.Get(name)
		}
	}
	if p.readsBody && r.verdict.Body == nil {
		r.verdict.Body = expression.Numbers(decodeBody(r.raw))
	}
	return p.holds(*r.verdict)
}

// tooLong refuses a response that was not read to its end. Whether it says that
// a write succeeded stands in the part that was not read.
func (r *response) tooLong(effect Effect, limit int64) *events.Error {
	code := events.CodeProviderRejected
	if effect != EffectRead && r.status < http.StatusMultipleChoices {
		code = events.CodeOutcomeUnknown
	}
	r.raw = nil
	return r.error(code, fmt.Sprintf("the response is longer than %d bytes", limit))
}

// value is what a json source leads to in the body; nil where that is nothing.
func (r *response) value(s Source) any {
	if r.exact == nil {
		r.exact = decodeBody(r.raw)
	}
	v, _ := follow(r.exact, s.pointer)
	return v
}

// find reads a source from the response.
func (r *response) find(s Source) (string, bool) {
	if s.kind == sourceJSON && r.exact == nil {
		r.exact = decodeBody(r.raw)
	}
	text, ok := s.fromResponse(r.header, r.exact)
	text = clean(text)
	return text, ok && text != ""
}

// decodeBody returns nil for what is no JSON.
func decodeBody(raw []byte) any {
	dec := json.NewDecoder(bytes.NewReader(raw))
	dec.UseNumber()
	var body any
	if err := dec.Decode(&body); err != nil || len(bytes.TrimSpace(raw[dec.InputOffset():])) > 0 {
		return nil
	}
	return body
}

// data is what a success gives back.
func (r *response) data(result Source) json.RawMessage {
	switch {
	case len(r.raw) == 0:
		return json.RawMessage("null")
	case !json.Valid(r.raw):
		text, err := encodeJSON(string(r.raw))
		if err != nil {
			return json.RawMessage("null")
		}
		return text
	case result.IsZero():
		return r.raw
	default:
		return rawAt(r.raw, result.pointer)
	}
}

// failure classes the response: the first class of the pack that matches, else
// what the status alone says.
func (r *response) failure() *Failure {
	for _, class := range r.http.Errors {
		if !r.holds(class.When) {
			continue
		}
		message := r.message()
		if scope, ok := r.find(class.Needs); ok {
			message = "the connection lacks the scope " + scope
		}
		return &Failure{
			Err: r.error(events.Code(class.Code), message), RetryAfter: r.retryAfter(class.RetryAfter), NothingDone: class.NothingDone,
		}
	}
	f := &Failure{Err: r.error(codeOfStatus(r.status), r.message())}
	if f.Err.Code == events.CodeRateLimited {
		f.RetryAfter = r.retryAfter(Sources{{kind: sourceHeader, name: "Retry-After"}})
	}
	return f
}

// retryAfter reads the first advice that can be read.
func (r *response) retryAfter(sources Sources) time.Duration {
	for _, source := range sources {
		text, ok := r.find(source)
		if !ok {
			continue
		}
		if d, ok := parseRetryAfter(text, time.Now()); ok {
			return d
		}
	}
	return 0
}

const (
	maxRetryAfter = 24 * time.Hour
	// firstEpoch is the least number of seconds that is a point in time and not
	// a distance.
	firstEpoch = 1e9
)

// parseRetryAfter reads seconds, a Unix time or an HTTP date.
func parseRetryAfter(text string, now time.Time) (time.Duration, bool) {
	if seconds, err := strconv.ParseFloat(text, 64); err == nil {
		if seconds >= firstEpoch {
			seconds -= float64(now.UnixMilli()) / 1000
		}
		if math.IsNaN(seconds) {
			return 0, false
		}
		seconds = min(max(seconds, 0), maxRetryAfter.Seconds())
		return time.Duration(seconds * float64(time.Second)), true
	}
	at, err := http.ParseTime(text)
	if err != nil {
		return 0, false
	}
	return min(max(at.Sub(now), 0), maxRetryAfter), true
}

// message is the provider's reason, or what the status says: never the body.
func (r *response) message() string {
	if text, ok := r.find(r.http.Error.Message); ok {
		return text
	}
	if r.status < http.StatusMultipleChoices {
		return "the provider says that it failed and gives no reason"
	}
	return strings.TrimSpace(fmt.Sprintf("the provider answered %d %s", r.status, http.StatusText(r.status)))
}

func (r *response) error(code events.Code, message string) *events.Error {
	e := events.Errorf(code, "%s", message)
	e.Status = r.status
	e.ProviderCode, _ = r.find(r.http.Error.Code)
	e.RequestID, _ = r.find(r.http.RequestID)
	return e
}

// codeOfStatus is the code of a failure that no class of the pack matches.
func codeOfStatus(status int) events.Code {
	switch {
	case status == http.StatusUnauthorized:
		return events.CodeNeedsReauth
	case status == http.StatusTooManyRequests:
		return events.CodeRateLimited
	case status == http.StatusRequestTimeout, status == http.StatusTooEarly, status >= http.StatusInternalServerError:
		return events.CodeProviderUnavailable
	default:
		return events.CodeProviderRejected
	}
}

// clean makes a provider's text fit for a message: one line of at most 300
// bytes, without control characters.
func clean(s string) string {
	var b strings.Builder
	for _, r := range s {
		switch {
		case unicode.IsSpace(r):
			r = ' '
		case !unicode.IsPrint(r):
			continue
		}
		if b.Len()+len(string(r)) > maxMessage-len("…") {
			b.WriteString("…")
			break
		}
		b.WriteRune(r)
	}
	return strings.TrimSpace(b.String())
}

// rawAt follows a JSON pointer in valid JSON without changing what it finds;
// null where it leads nowhere.
func rawAt(raw json.RawMessage, pointer []string) json.RawMessage {
	for _, token := range pointer {
		var object map[string]json.RawMessage
		var list []json.RawMessage
		if json.Unmarshal(raw, &object) == nil {
			raw = object[token]
		} else if i, ok := arrayIndex(token); ok && json.Unmarshal(raw, &list) == nil && i < len(list) {
			raw = list[i]
		} else {
			raw = nil
		}
		if raw == nil {
			return json.RawMessage("null")
		}
	}
	return raw
}
