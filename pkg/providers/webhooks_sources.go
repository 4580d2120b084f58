package providers

import (
	"slices"
	"strings"
)

// place is a source of the block and what may stand there.
type place struct {
	path   string
	source Source
	part   bool // of a Compose: may be optional
	signed bool // must be vouched for by every signature
	proof  bool // of a verifier: may be a claim
	reply  bool // of a handshake or an answer: there are no items yet
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
	for name, alternatives := range map[string][]Compose{"delivery_id": w.DeliveryID, "event": w.Event, "subject": w.Subject} {
		for i, c := range alternatives {
			add(item("webhooks."+name, i), c, place{part: len(c) > 1})
		}
	}
	add("webhooks.account", w.Account, place{signed: true})
	add("webhooks.order", w.Order, place{})
	for i, t := range w.Time {
		all = append(all, place{path: item("webhooks.time", i) + ".from", source: t.From})
	}
	for i, v := range w.Verifiers {
		all = append(all, v.places(item("webhooks.verify", i))...)
	}
	for i, h := range w.Handshakes {
		all = append(all, h.places(item("webhooks.handshake", i))...)
	}
	for i, a := range w.Answers {
		all = append(all, a.When.places(item("webhooks.answer", i)+".when", place{reply: true})...)
	}
	return all
}

func (c Conditions) places(path string, p place) []place {
	all := make([]place, len(c))
	for i, one := range c {
		p.path, p.source = path, one.from
		all[i] = p
	}
	return all
}

// places lists the sources of a verifier.
func (v *Verifier) places(path string) []place {
	proof := place{proof: true}
	all := append(v.When.places(path+".when", place{reply: true}), v.Expect.places(path+".expect", proof)...)
	add := func(at string, s Source) {
		if !s.IsZero() {
			all = append(all, place{path: path + at, source: s, proof: true})
		}
	}
	for _, s := range v.Signature.From {
		add(".signature.from", s)
	}
	for _, m := range [...]Message{v.Message, v.OrMessage} {
		for _, p := range m {
			add(".message", p.source)
		}
	}
	if v.Timestamp != nil {
		add(".timestamp.from", v.Timestamp.From)
	}
	if v.BodyHash != nil {
		add(".body_hash.from", v.BodyHash.From)
	}
	if v.Certificate != nil {
		add(".certificate.from", v.Certificate.From)
	}
	if v.Call != nil {
		for _, m := range v.Call.Body {
			add(".call.body", m.source)
		}
	}
	for i, also := range v.Also {
		all = append(all, also.places(item(path+".also", i))...)
	}
	return all
}

func (h *Handshake) places(path string) []place {
	all := h.When.places(path+".when", place{reply: true})
	add := func(at string, s Source) {
		if !s.IsZero() {
			all = append(all, place{path: path + at, source: s, reply: true})
		}
	}
	add(".respond.text", h.Respond.Text)
	for _, s := range h.Respond.Headers {
		add(".respond.headers", s)
	}
	for _, m := range h.Respond.JSON {
		add(".respond.json", m.source)
		if m.mac != nil {
			add(".respond.json", m.mac.Of)
		}
	}
	if h.Learn != nil {
		add(".learn.from", h.Learn.From)
	}
	if h.Confirm != nil {
		add(".confirm.from", h.Confirm.From)
	}
	return all
}

// checkSources judges where each source stands, and compiles the pointers.
func (w *Webhooks) checkSources(r report) {
	if len(w.Event) == 0 {
		r("webhooks.event", "is missing: an event needs a name")
	}
	hasForm := slices.ContainsFunc(w.Bodies, isForm)
	hasJSON := slices.ContainsFunc(w.Bodies, func(b string) bool { return b != "form" && b != "none" })
	for _, p := range w.places() {
		switch s := p.source; {
		case s.IsZero():
			r(p.path, "is missing")
		case s.optional && !p.part:
			r(p.path, "%s: a ? marks optional parts of delivery_id, event and subject only", s)
		case s.kind == sourceClaim && !p.proof:
			r(p.path, "%s: the claims of a JWT are for its verifier only", s)
		case s.kind == sourceReceived && !strings.HasPrefix(p.path, "webhooks.delivery_id"):
			r(p.path, "%s: when a delivery came tells it from others, and nothing else: it is for webhooks.delivery_id only", s)
		case p.signed && !w.vouched(s):
			r(p.path, "%s is not signed and must not decide whose event it is, want json: or form:", s)
		case s.readsJSON() && !hasJSON, s.kind == sourceForm && !hasForm:
			r(p.path, "%s: no such body is listed in webhooks.bodies", s)
		case (s.kind == sourceItem || s.kind == sourceOuter) && (p.reply || w.Batch == nil):
			r(p.path, "%s: there are items in a batch only, when its events are made", s)
		case s.kind == sourceOuter && len(w.Batch.Items) < 2:
			r(p.path, "%s: the items are in one list", s)
		default:
			w.compile(s)
		}
	}
	for i, t := range w.Time {
		checkWord(item("webhooks.time", i)+".format", t.Format, r, timeFormats()...)
	}
	if slices.ContainsFunc(w.Verifiers, func(v *Verifier) bool { return v.canonical("sns") }) {
		for _, pointer := range snsPointers() {
			w.pointers.add(pointer, []string{pointer[1:]})
		}
	}
}

// compile puts the pointers of a source into their set.
func (w *Webhooks) compile(s Source) {
	switch s.kind {
	case sourceJSON, sourceHost:
		w.pointers.add(s.name, s.pointer)
	case sourceItem:
		w.items.add(s.name, s.pointer)
	case sourceOuter:
		w.outers.add(s.name, s.pointer)
	case sourcePresent:
		for pointer := range strings.SplitSeq(s.name, ",") {
			tokens, _ := parsePointer(pointer) // it was checked when it was read
			w.pointers.add(pointer, tokens)
		}
	}
}

// readsJSON tells whether the source is in the JSON of a body.
func (s Source) readsJSON() bool {
	return s.kind == sourceJSON || s.kind == sourceHost || s.kind == sourceItem || s.kind == sourceOuter || s.kind == sourcePresent
}

// vouched tells whether every signature vouches for a source's text, or vouches
// for nothing in particular: then who knows the secret may say anything.
func (w *Webhooks) vouched(s Source) bool {
	if s.kind == sourceText || s.kind == sourceHash {
		return false
	}
	return !slices.ContainsFunc(w.Verifiers, func(v *Verifier) bool { return !v.covers(s) })
}
