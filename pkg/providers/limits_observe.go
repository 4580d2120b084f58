package providers

import (
	"cmp"
	"math"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// The forms in which headers say what is left.
const (
	formAny        = "headers"     // the first of the others that is there
	formRateLimit  = "ratelimit"   // RateLimit: "default";r=50;t=30, or limit=100, remaining=50, reset=30
	formThree      = "ratelimit-*" // RateLimit-Remaining and RateLimit-Reset
	formXRateLimit = "x-ratelimit" // X-RateLimit-Remaining and X-RateLimit-Reset or -Reset-After
)

func observeForms() []string { return []string{formAny, formRateLimit, formThree, formXRateLimit} }

// Response is what a response says about limits. Body is needed where
// [Action.ObservesBody] says so.
type Response struct {
	Status int
	Header http.Header
	Body   []byte
	// Refused is whether it refuses because of a rate (code rate_limited).
	Refused    bool
	RetryAfter time.Duration // that a refusal asks for, [Failure].RetryAfter; 0: it says nothing
	At         time.Time     // when it came
}

// Observation is what was found in a response.
type Observation struct {
	Used    map[string]int        // :: ID of a limit → what the call cost in the end
	Windows map[string]SeenWindow // :: ID of a limit → what is left
	// Pause is the limit that the refusal pauses; nil: there is none, or the
	// response was no refusal, or a window says itself when it ends.
	Pause *BoundLimit
	For   time.Duration // of the pause; 0: the response does not say
}

// SeenWindow is what a provider says about its window.
type SeenWindow struct {
	Remaining int64
	Reset     time.Duration // until it ends, at most a day
}

// ObservesBody reports whether Observe reads the body of responses.
func (a *Action) ObservesBody() bool {
	for _, l := range a.limits {
		if l.When.readsBody || l.Read != nil && (l.Read.Remaining.kind == sourceJSON || l.Read.Used.kind == sourceJSON) {
			return true
		}
	}
	return false
}

// Observe reads what a response to a call with these limits says about them.
// Nothing a provider sends is an error: what cannot be read says nothing.
func (a *Action) Observe(limits []BoundLimit, resp Response) Observation {
	r := response{http: &a.pack.HTTP, status: resp.Status, header: resp.Header, raw: resp.Body}
	found := Observation{}
	exhausted := false
	for _, l := range limits {
		if l.Rate == (Rate{}) || l.Observe == "" && l.Read == nil || !l.When.IsZero() && !r.holds(l.When) {
			continue
		}
		if l.Read != nil {
			if used, ok := r.number(l.Read.Used); ok {
				if found.Used == nil {
					found.Used = map[string]int{}
				}
				found.Used[l.ID] = int(min(used, maxRateCount))
			}
		}
		if w, ok := l.window(&r, resp.At); ok {
			if found.Windows == nil {
				found.Windows = map[string]SeenWindow{}
			}
			found.Windows[l.ID] = w
			exhausted = exhausted || w.Remaining < int64(l.Cost) && w.Reset > 0
		}
	}
	if !resp.Refused || resp.RetryAfter <= 0 && exhausted {
		return found
	}
	for i, l := range limits {
		if l.Pause > 0 && (l.When.IsZero() || r.holds(l.When)) {
			found.Pause, found.For = &limits[i], resp.RetryAfter
			break
		}
	}
	return found
}

// window reads what is left, in the form of the limit.
func (l *Limit) window(r *response, at time.Time) (SeenWindow, bool) {
	now := providerTime(r.header, at)
	switch l.Observe {
	case "":
		if l.Read == nil {
			return SeenWindow{}, false
		}
		return l.Read.window(r, now)
	case formRateLimit:
		return rateLimitField(r.header)
	case formThree:
		return threeFields(r.header, "Ratelimit-", now)
	case formXRateLimit:
		return xRateLimit(r.header, now)
	}
	if w, ok := rateLimitField(r.header); ok {
		return w, true
	}
	if w, ok := threeFields(r.header, "Ratelimit-", now); ok {
		return w, true
	}
	return xRateLimit(r.header, now)
}

func (o *LeftAt) window(r *response, now time.Time) (SeenWindow, bool) {
	remaining, ok := r.number(o.Remaining)
	if !ok {
		return SeenWindow{}, false
	}
	if text, ok := r.find(o.Reset); ok {
		reset, ok := parseRetryAfter(text, now)
		return SeenWindow{int64(remaining), reset}, ok
	}
	limit, ok1 := r.number(o.Limit)
	restore, ok2 := r.number(o.Restore)
	if !ok1 || !ok2 || restore <= 0 {
		return SeenWindow{}, false
	}
	seconds := min(max(0, (limit-remaining)/restore), maxRetryAfter.Seconds())
	return SeenWindow{int64(remaining), time.Duration(seconds * float64(time.Second))}, true
}

// number reads a source as a number that is not negative.
func (r *response) number(s Source) (float64, bool) {
	text, ok := r.find(s)
	if !ok {
		return 0, false
	}
	return parseAmount(text)
}

const maxAmount = 1e12

func parseAmount(text string) (float64, bool) {
	n, err := strconv.ParseFloat(strings.TrimSpace(text), 64)
	if err != nil || math.IsNaN(n) || n < 0 {
		return 0, false
	}
	return min(n, maxAmount), true
}

// providerTime is the provider's clock, as far as it tells.
func providerTime(header http.Header, at time.Time) time.Time {
	if date, err := http.ParseTime(header.Get("Date")); err == nil {
		return date
	}
	return at
}

// threeFields reads <prefix>Remaining and <prefix>Reset. A list keeps its first
// item, parameters are dropped.
func threeFields(header http.Header, prefix string, now time.Time) (SeenWindow, bool) {
	remaining, ok := parseAmount(firstItem(header.Get(prefix + "Remaining")))
	if !ok {
		return SeenWindow{}, false
	}
	reset := header.Get(prefix + "Reset")
	if _, err := http.ParseTime(reset); err != nil {
		reset = firstItem(reset)
	}
	after, ok := parseRetryAfter(reset, now)
	return SeenWindow{int64(remaining), after}, ok
}

func firstItem(text string) string {
	text, _, _ = strings.Cut(text, ",")
	text, _, _ = strings.Cut(text, ";")
	return strings.TrimSpace(text)
}

// xRateLimit reads the X-RateLimit-* headers, and X-Rate-Limit-* likewise.
func xRateLimit(header http.Header, now time.Time) (SeenWindow, bool) {
	for _, prefix := range []string{"X-Ratelimit-", "X-Rate-Limit-"} {
		if after := header.Get(prefix + "Reset-After"); after != "" {
			header = http.Header{prefix + "Remaining": {header.Get(prefix + "Remaining")}, prefix + "Reset": {after}}
		}
		if w, ok := threeFields(header, prefix, now); ok {
			return w, true
		}
	}
	return SeenWindow{}, false
}

// rateLimitField reads the RateLimit field of draft-ietf-httpapi-ratelimit-headers:
// a list of policies, of which the one with the least left counts, or the single
// dictionary of earlier drafts.
func rateLimitField(header http.Header) (SeenWindow, bool) {
	text := strings.Join(header["Ratelimit"], ",")
	if text == "" || len(text) > maxRateLimitField {
		return SeenWindow{}, false
	}
	var least SeenWindow
	found := false
	together := map[string]string{} // of earlier drafts
	for _, item := range splitOutside(text, ',') {
		params := map[string]string{}
		for i, param := range splitOutside(item, ';') {
			name, value, ok := strings.Cut(strings.TrimSpace(param), "=")
			if i == 0 && ok {
				together[strings.ToLower(name)] = value
			} else if ok {
				params[name] = value
			}
		}
		if w, ok := windowOf(params["r"], params["t"]); ok && (!found || w.Remaining < least.Remaining) {
			least, found = w, true
		}
	}
	if found {
		return least, true
	}
	return windowOf(together["remaining"], together["reset"])
}

const maxRateLimitField = 4096 // bytes

// windowOf reads what is left and for how many seconds. Without the seconds it
// says that there is some left, and no more.
func windowOf(remaining, seconds string) (SeenWindow, bool) {
	n, ok := parseAmount(remaining)
	after, timed := parseAmount(cmp.Or(seconds, "0"))
	if !ok || !timed || seconds == "" {
		return SeenWindow{}, false
	}
	return SeenWindow{int64(n), time.Duration(min(after, maxRetryAfter.Seconds()) * float64(time.Second))}, true
}

// splitOutside splits at a separator that is not inside a quoted string.
func splitOutside(text string, separator byte) []string {
	var parts []string
	quoted, from := false, 0
	for i := 0; i < len(text); i++ {
		switch c := text[i]; {
		case quoted && c == '\\':
			i++
		case c == '"':
			quoted = !quoted
		case c == separator && !quoted:
			parts, from = append(parts, text[from:i]), i+1
		}
	}
	return append(parts, text[from:])
}
