package providers

import (
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/plugfn/plugfn/pkg/events"
)

const (
	defaultMaxBody   = 25 << 20
	limitMaxBody     = 100 << 20
	limitSignedBody  = 1 << 20 // of bodies that are read before they are verified
	defaultAckWithin = 5 * time.Second
	limitAckWithin   = time.Minute
	limitTolerance   = 15 * time.Minute
	maxSecretKinds   = 8
)

// LongestRetryHorizon is the longest that a pack may say.
const LongestRetryHorizon = 31 * 24 * time.Hour

// DefaultRetryHorizon is for how long a provider is taken to send deliveries
// again whose pack does not say it.
const DefaultRetryHorizon = 15 * time.Minute

// check reports what is wrong with the block, fills in the defaults and
// compiles the pointers.
func (w *Webhooks) check(r report) {
	w.fill()
	if w.MaxBody > limitMaxBody {
		r("webhooks.max_body", "must be at most 100MiB")
	} else if what := w.readsUnverified(); what != "" && w.MaxBody > limitSignedBody {
		r("webhooks.max_body", "must be at most 1MiB: %s reads the body before it is verified", what)
	}
	if w.AckWithin > limitAckWithin {
		r("webhooks.ack_within", "must be at most %s", limitAckWithin)
	}
	if w.RetryHorizon > LongestRetryHorizon {
		r("webhooks.retry_horizon", "must be at most %s", LongestRetryHorizon)
	}
	w.checkSecrets(r)
	w.checkVerifiers(r)
	w.checkBodies(r)
	w.checkBatch(r)
	w.checkSources(r)
	w.EventNames.check(r)
	w.checkHandshakes(r)
	w.checkAnswers(r)
	w.checkKept(r)
	w.checkVaries(r)
	w.checkCausedBy(r)
	for i, page := range w.Sources {
		if u, err := url.Parse(page); err != nil || u.Scheme != "https" || u.Host == "" {
			r(item("webhooks.sources", i), "must be an https address")
		}
	}
}

func (n EventNames) check(r report) {
	for _, c := range n.Dots {
		if c >= utf8.RuneSelf || c <= ' ' || c == '.' || isAlphanumeric(byte(c)) {
			r("webhooks.event_names.dots", "must be punctuation, such as :/")
		}
	}
}

func (w *Webhooks) fill() {
	if w.MaxBody == 0 {
		w.MaxBody = defaultMaxBody
		if w.readsUnverified() != "" {
			w.MaxBody = limitSignedBody
		}
	}
	if w.AckWithin == 0 {
		w.AckWithin = defaultAckWithin
	}
	if w.RetryHorizon == 0 {
		w.RetryHorizon = DefaultRetryHorizon
	}
	if len(w.Secrets) == 0 {
		w.Secrets = []SecretKind{{Name: "signing"}}
	}
	for i, name := range w.KeepHeader {
		w.KeepHeader[i] = http.CanonicalHeaderKey(name)
	}
	if b := w.Batch; b != nil && b.Max == 0 {
		b.Max = defaultBatch
	}
}

// SendsAgain tells whether the provider sends a delivery again that was not
// accepted.
func (w *Webhooks) SendsAgain() bool { return w.Redelivers == nil || *w.Redelivers }

func (w *Webhooks) checkSecrets(r report) {
	if len(w.Secrets) > maxSecretKinds {
		r("webhooks.secrets", "must have at most %d entries", maxSecretKinds)
	}
	for i, k := range w.Secrets {
		path := item("webhooks.secrets", i)
		if !idName.MatchString(k.Name) {
			r(path+".name", "must be a-z, then a-z, 0-9 and _")
		}
		if slices.ContainsFunc(w.Secrets[:i], func(o SecretKind) bool { return o.Name == k.Name }) {
			r(path+".name", "%s is there twice", k.Name)
		}
	}
}

// checkKind reports a kind of secret that is not declared.
func (w *Webhooks) checkKind(path string, kinds []string, r report) {
	for _, kind := range kinds {
		if !slices.ContainsFunc(w.Secrets, func(k SecretKind) bool { return k.Name == kind }) {
			r(path, "%s is no kind of secret that webhooks.secrets lists", clip(kind, 60))
		}
	}
}

func (w *Webhooks) checkBodies(r report) {
	if len(w.Bodies) == 0 {
		r("webhooks.bodies", "is missing: list what the provider sends, of json, text, form, form:FIELD and none")
	}
	for i, b := range w.Bodies {
		if !slices.Contains([]string{"json", "text", "form", "none"}, b) && (!strings.HasPrefix(b, "form:") || b == "form:") {
			r(item("webhooks.bodies", i), "%q is unknown, want json, text (JSON as text/plain), form, form:FIELD (JSON inside a form field) or none", clip(b, 60))
		}
	}
}

func (w *Webhooks) checkBatch(r report) {
	b := w.Batch
	if b == nil {
		return
	}
	if b.Max < 1 || b.Max > limitBatch {
		r("webhooks.batch.max", "must be from 1 to %d", limitBatch)
	}
	if len(b.Items) < 1 || len(b.Items) > 2 {
		r("webhooks.batch.items", "must be one list, or a list and one inside each of its items")
		return
	}
	if or := b.Or; !or.IsZero() {
		if or.kind != sourceItem || or.optional || len(b.Items) != 2 {
			r("webhooks.batch.or", "must be item:/pointer, beside two lists in items")
		}
		w.outers.add(or.name, or.pointer)
	}
	for i, kind := range []sourceKind{sourceJSON, sourceItem}[:len(b.Items)] {
		s := b.Items[i]
		if s.kind != kind || s.optional {
			r(item("webhooks.batch.items", i), "must be %s:/pointer", kind)
			continue
		}
		if kind == sourceJSON {
			w.pointers.add(s.name, s.pointer)
		} else {
			w.outers.add(s.name, s.pointer)
		}
	}
}

// isExtension tells whether an event leaves an attribute of this name free.
func isExtension(name string) bool {
	e, err := events.ParseEvent(map[string][]string{
		"ce-id": {"-"}, "ce-source": {"-"}, "ce-type": {"-"}, "ce-" + name: {"-"},
	}, nil)
	return err == nil && e.Extensions[name] != "" && name != "data"
}

// checkKept makes sure that a kept header contradicts no attribute and carries
// no secret away.
func (w *Webhooks) checkKept(r report) {
	if len(w.KeepHeader) > maxKeptHeader {
		r("webhooks.keep_headers", "must have at most %d entries", maxKeptHeader)
	}
	secret := append([]string{"Authorization", "Proxy-Authorization", "Cookie"}, w.secretHeaders()...)
	seen := map[string]bool{}
	for i, name := range w.KeepHeader {
		path, extension := item("webhooks.keep_headers", i), extensionName(name)
		switch {
		case !isFieldName(name):
			r(path, "%q is not a header name", clip(name, 60))
		case slices.Contains(secret, http.CanonicalHeaderKey(name)):
			r(path, "%s must not travel on: it is a secret or made with one", name)
		case !isExtension(extension):
			r(path, "%s would be the attribute %q, which has a meaning of its own", name, extension)
		case seen[extension]:
			r(path, "%s would be the attribute %q, as another header already is", name, extension)
		}
		seen[extension] = true
	}
}

// secretHeaders lists the headers that bear signatures or secrets.
func (w *Webhooks) secretHeaders() []string {
	var names []string
	add := func(s Source) {
		if s.kind == sourceHeader {
			names = append(names, s.name)
		}
	}
	for _, v := range w.Verifiers {
		for _, v := range append([]*Verifier{v}, v.Also...) {
			for _, s := range v.Signature.From {
				add(s)
			}
			for _, c := range v.Expect {
				if len(secretsOf(c.want)) > 0 {
					add(c.from)
				}
			}
		}
	}
	for _, h := range w.Handshakes {
		if h.Learn != nil {
			add(h.Learn.From)
		}
	}
	return names
}

// checkWord reports a word that is missing or not one of those allowed.
func checkWord(path, word string, r report, allowed ...string) {
	want := "want one of " + strings.Join(allowed, ", ")
	switch {
	case word == "":
		r(path, "is missing, %s", want)
	case !slices.Contains(allowed, word):
		r(path, "%q is unknown, %s", clip(word, 60), want)
	}
}

func timeFormats() []string { return []string{"unix", "unix_ms", "rfc3339"} }

func item(path string, i int) string { return fmt.Sprintf("%s[%d]", path, i) }
