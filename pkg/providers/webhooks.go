package providers

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/plugfn/plugfn/pkg/events"
)

const (
	defaultMaxBody   = 25 << 20
	limitMaxBody     = 100 << 20
	defaultAckWithin = 5 * time.Second
	limitAckWithin   = time.Minute
	limitTolerance   = 15 * time.Minute
)

// check reports what is wrong with the block, fills in the defaults and
// compiles the pointers.
func (w *Webhooks) check(r report) {
	if w.MaxBody > limitMaxBody {
		r("webhooks.max_body", "must be at most 100MiB")
	}
	if w.AckWithin > limitAckWithin {
		r("webhooks.ack_within", "must be at most %s", limitAckWithin)
	}
	if w.MaxBody == 0 {
		w.MaxBody = defaultMaxBody
	}
	if w.AckWithin == 0 {
		w.AckWithin = defaultAckWithin
	}
	if len(w.Verifiers) == 0 {
		r("webhooks.verify", "is missing: without a signature anybody can send deliveries")
	}
	for i, v := range w.Verifiers {
		if v != nil {
			v.check(item("webhooks.verify", i), r)
		}
	}
	w.checkBodies(r)
	w.checkSources(r)
	w.checkHandshakes(r)
	w.checkKept(r)
}

func (w *Webhooks) checkBodies(r report) {
	if len(w.Bodies) == 0 {
		r("webhooks.bodies", "is missing: list what the provider sends, of json, form and form:FIELD")
	}
	for i, b := range w.Bodies {
		if b != "json" && b != "form" && (!strings.HasPrefix(b, "form:") || b == "form:") {
			r(item("webhooks.bodies", i), "%q is unknown, want json, form or form:FIELD (JSON inside a form field)", clip(b, 60))
		}
	}
}

// place is a source of the block and what may stand there.
type place struct {
	path   string
	source Source
	part   bool // of a Compose: may be optional
	signed bool // must be in the body
}

// places lists all sources that deliveries are read with.
func (w *Webhooks) places() []place {
	var all []place
	add := func(path string, sources []Source, p place) {
		for i, s := range sources {
			p.path, p.source = item(path, i), s
			all = append(all, p)
		}
	}
	add("webhooks.delivery_id", w.DeliveryID, place{})
	add("webhooks.account", w.Account, place{signed: true})
	add("webhooks.order", w.Order, place{})
	for i, c := range w.Event {
		add(item("webhooks.event", i), c, place{part: true})
	}
	for i, c := range w.Subject {
		add(item("webhooks.subject", i), c, place{part: true})
	}
	for i, t := range w.Time {
		all = append(all, place{path: item("webhooks.time", i) + ".from", source: t.From})
	}
	for i, h := range w.Handshakes {
		if h == nil {
			continue
		}
		for _, c := range h.When {
			all = append(all, place{path: item("webhooks.handshake", i) + ".when", source: c.from})
		}
		if !h.Respond.Text.IsZero() {
			all = append(all, place{path: item("webhooks.handshake", i) + ".respond.text", source: h.Respond.Text})
		}
	}
	return all
}

func (w *Webhooks) checkSources(r report) {
	if len(w.Event) == 0 {
		r("webhooks.event", "is missing: an event needs a name")
	}
	hasForm := slices.ContainsFunc(w.Bodies, isForm)
	hasJSON := slices.ContainsFunc(w.Bodies, func(b string) bool { return b != "form" })
	for _, p := range w.places() {
		s := p.source
		switch {
		case s.IsZero():
			r(p.path, "is missing")
		case s.optional && !p.part:
			r(p.path, "%s: a ? marks optional parts of event and subject only", s)
		case p.signed && s.kind != sourceJSON && s.kind != sourceForm:
			r(p.path, "%s is not signed and must not decide whose event it is, want json: or form:", s)
		case s.kind == sourceJSON && !hasJSON, s.kind == sourceForm && !hasForm:
			r(p.path, "%s: no such body is listed in webhooks.bodies", s)
		case s.kind == sourceJSON:
			w.pointers.add(s.name, s.pointer)
		}
	}
	for i, t := range w.Time {
		checkWord(item("webhooks.time", i)+".format", t.Format, r, timeFormats()...)
	}
}

func (w *Webhooks) checkHandshakes(r report) {
	for i, h := range w.Handshakes {
		if h == nil {
			continue
		}
		path := item("webhooks.handshake", i)
		if len(h.When) == 0 {
			r(path+".when", "is missing: every delivery would be a handshake")
		}
		if s := h.Respond.Status; s != 0 && (s < 200 || s > 299) {
			r(path+".respond.status", "must be from 200 to 299")
		}
	}
}

// checkKept makes sure that a kept header contradicts no attribute and carries
// no secret away.
func (w *Webhooks) checkKept(r report) {
	if len(w.KeepHeader) > maxKeptHeader {
		r("webhooks.keep_headers", "must have at most %d entries", maxKeptHeader)
	}
	secret := []string{"Authorization", "Proxy-Authorization", "Cookie"}
	for _, v := range w.Verifiers {
		if v != nil {
			secret = append(secret, v.Signature.From.name)
		}
	}
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

// isExtension tells whether an event leaves an attribute of this name free.
func isExtension(name string) bool {
	e, err := events.ParseEvent(map[string][]string{
		"ce-id": {"-"}, "ce-source": {"-"}, "ce-type": {"-"}, "ce-" + name: {"-"},
	}, nil)
	return err == nil && e.Extensions[name] != "" && name != "data"
}

func (v *Verifier) check(path string, r report) {
	if v.Key == "" {
		v.Key = "utf8"
	}
	checkWord(path+".scheme", v.Scheme, r, "hmac")
	checkWord(path+".hash", v.Hash, r, "sha1", "sha256", "sha512")
	checkWord(path+".key", v.Key, r, "utf8", "hex", "base64", "whsec")
	checkWord(path+".signature.encoding", v.Signature.Encoding, r, "hex", "base64", "base64url")
	checkSignedHeader(path+".signature", v.Signature.From, v.Signature.Split, v.Signature.Pick, r)
	switch {
	case len(v.Message) == 0:
		r(path+".message", "is missing: say what is signed, such as [{body: raw}]")
	case v.Timestamp == nil && v.Message.has(partTime):
		r(path+".message", "has {ts: raw}, but the verifier has no timestamp")
	}
	if t := v.Timestamp; t != nil {
		t.check(path+".timestamp", v.Signature, r)
	}
}

func (t *Timestamp) check(path string, s Signature, r report) {
	checkWord(path+".format", t.Format, r, timeFormats()...)
	checkSignedHeader(path, t.From, t.Split, t.Pick, r)
	if t.From.name == s.From.name && (t.Pick == "" || s.Pick == "" || t.Split != s.Split) {
		r(path+".from", "is the header of the signature: both need a pick, and the same split")
	}
	if t.Tolerance <= 0 || t.Tolerance > limitTolerance {
		r(path+".tolerance", "must be above zero and at most %s, or old deliveries could be sent again", limitTolerance)
	}
}

func checkSignedHeader(path string, from Source, split, pick string, r report) {
	if from.kind != sourceHeader {
		r(path+".from", "must be header:NAME")
	}
	if pick != "" && split == "" {
		r(path+".pick", "needs a split")
	}
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
