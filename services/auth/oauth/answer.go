package oauth

import (
	"bytes"
	"encoding/json"
	"math"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
	"unicode"

	"github.com/plugfn/plugfn/pkg/providers"
)

const (
	maxToken = 64 << 10                   // bytes
	maxLife  = 100 * 365 * 24 * time.Hour // what is said to live longer lives so long
	maxRetry = 24 * time.Hour             // the longest wait that a provider can ask for
	maxText  = 256                        // bytes of a name
)

// answer is what an endpoint said.
type answer struct {
	status int
	header http.Header
	raw    []byte
	cut    bool // raw is not all of it
	body   any  // the decoded JSON or form; nil: neither
}

// decode reads JSON or a form, whatever the content type says it is.
func decode(raw []byte) any {
	raw = bytes.TrimSpace(bytes.TrimPrefix(raw, []byte("\ufeff")))
	dec := json.NewDecoder(bytes.NewReader(raw))
	dec.UseNumber()
	var body any
	if err := dec.Decode(&body); err == nil && len(bytes.TrimSpace(raw[dec.InputOffset():])) == 0 {
		return body
	}
	if !bytes.ContainsRune(raw, '=') || bytes.ContainsAny(raw, "<>{}\" \r\n\t") {
		return nil
	}
	form, err := url.ParseQuery(string(raw))
	if err != nil {
		return nil
	}
	fields := make(map[string]any, len(form))
	for name := range form {
		fields[name] = form.Get(name)
	}
	return fields
}

// find returns what the first present source names.
func (a answer) find(sources providers.Sources) (any, bool) {
	for _, s := range sources {
		if v, ok := s.In(a.header, a.body); ok && v != "" {
			return v, true
		}
	}
	return nil, false
}

// text returns the text or number that the first source with one names.
func (a answer) text(sources providers.Sources) string {
	for _, s := range sources {
		v, _ := s.In(a.header, a.body)
		if text := scalar(v); text != "" {
			return text
		}
	}
	return ""
}

// member returns the text or number of a member of the body.
func (a answer) member(name string) string {
	object, _ := a.body.(map[string]any)
	return scalar(object[name])
}

func scalar(v any) string {
	switch v := v.(type) {
	case string:
		return v
	case json.Number:
		return v.String()
	default:
		return ""
	}
}

// line makes a text fit for people and indexes: one line, not too long.
func line(text string) string {
	text = strings.TrimSpace(strings.ToValidUTF8(text, ""))
	if len(text) > maxText || strings.ContainsFunc(text, unicode.IsControl) {
		return ""
	}
	return text
}

// token reads a token; ok is false for something that cannot be one.
func token(v any) (token providers.Secret, ok bool) {
	text, ok := v.(string)
	if !ok || len(text) > maxToken || strings.ContainsFunc(text, func(c rune) bool { return c <= ' ' || c > '~' }) {
		return providers.Secret{}, false
	}
	return providers.NewSecret([]byte(text)), true
}

// seconds reads a duration in any spelling. What is none is as good as absent.
func seconds(text string) time.Duration {
	n, err := strconv.ParseFloat(strings.TrimSpace(text), 64)
	if err != nil || math.IsNaN(n) || n <= 0 {
		return 0
	}
	if n >= maxLife.Seconds() {
		return maxLife
	}
	return time.Duration(n * float64(time.Second))
}

// instant reads a time: RFC 3339 or Unix, in seconds or milliseconds.
func instant(text string) time.Time {
	text = strings.TrimSpace(text)
	if at, err := time.Parse(time.RFC3339, text); err == nil {
		return at.UTC()
	}
	n, err := strconv.ParseFloat(text, 64)
	if err != nil || math.IsNaN(n) || n <= 0 || n > 1e15 {
		return time.Time{}
	}
	if n > 1e11 {
		n /= 1000
	}
	return time.Unix(0, 0).Add(time.Duration(min(n, 9e9) * float64(time.Second))).UTC()
}

// list reads scopes: a text with separators, or a list. ok is false when there
// is no such member; an empty one is no scope at all.
func (a answer) list(sources providers.Sources) (scopes []string, ok bool) {
	for _, s := range sources {
		v, present := s.In(a.header, a.body)
		if !present {
			continue
		}
		switch v := v.(type) {
		case string:
			return strings.FieldsFunc(v, func(c rune) bool { return c == ',' || unicode.IsSpace(c) }), true
		case []any:
			for _, item := range v {
				if text, isText := item.(string); isText && text != "" {
					scopes = append(scopes, text)
				}
			}
			return scopes, true
		}
	}
	return nil, false
}

// retryAfter reads the header of that name: seconds or a date.
func (a answer) retryAfter(now time.Time) time.Duration {
	text := a.header.Get("Retry-After")
	wait := time.Duration(0)
	if n, err := strconv.Atoi(text); err == nil {
		wait = time.Duration(min(max(n, 0), int(maxRetry/time.Second))) * time.Second
	} else if at, err := http.ParseTime(text); err == nil {
		wait = at.Sub(now)
	}
	return min(max(wait, 0), maxRetry)
}
