package providers

import (
	"cmp"
	"maps"
	"net/http"
	"reflect"
	"slices"
	"strings"
)

// checkVerifiers judges the verifiers and what they are together.
func (w *Webhooks) checkVerifiers(r report) {
	if len(w.Verifiers) == 0 {
		r("webhooks.verify", "is missing: without a signature anybody can send deliveries")
	}
	for i, v := range w.Verifiers {
		path := item("webhooks.verify", i)
		v.check(w, path, r)
		if len(v.Signature.From) == 0 && len(w.Verifiers) > 1 && (v.Scheme != "callback" || i < len(w.Verifiers)-1) {
			r(path+".scheme", "%s needs no signature in the delivery, so that it must be the only one: whoever leaves the signature out would get by", v.Scheme)
		}
	}
}

// readsUnverified names what reads the body before it is known to be genuine, ""
// when nothing does.
func (w *Webhooks) readsUnverified() string {
	for i, v := range w.Verifiers {
		if v.readsBody() {
			return item("webhooks.verify", i)
		}
	}
	for i, h := range w.Handshakes {
		if (h.Signed == "none" || h.Signed == "optional") && slices.ContainsFunc(h.places(""), inBody) {
			return item("webhooks.handshake", i)
		}
	}
	return ""
}

func inBody(p place) bool { return p.source.readsJSON() || p.source.kind == sourceForm }

// readsBody tells whether the body is looked over before the signature is known
// to be right.
func (v *Verifier) readsBody() bool {
	if v.canonical("sns") || v.Message.has(partSorted) || v.Message.has(partBody, "document") {
		return true
	}
	return slices.ContainsFunc(v.places(""), inBody)
}

// canonical tells whether one of the messages is the named one.
func (v *Verifier) canonical(name string) bool {
	return v.Message.has(partCanonical, name) || v.OrMessage.has(partCanonical, name) ||
		slices.ContainsFunc(v.Also, func(a *Verifier) bool { return a.canonical(name) })
}

// schemes lists for each scheme the keys of the block that it has besides
// scheme, when, expect, also and binding.
func schemes() map[string][]string {
	signs := []string{"signature", "key", "secret", "timestamp", "message", "or_message", "body_hash"}
	return map[string][]string{
		"hmac":     append([]string{"hash"}, signs...),
		"ed25519":  signs,
		"ecdsa":    append([]string{"hash"}, signs...),
		"rsa":      append([]string{"hash", "certificate"}, signs...),
		"jwt":      {"signature", "key", "secret", "timestamp", "body_hash", "algorithms", "issuer", "audience", "jwks"},
		"token":    {"signature", "secret", "timestamp"},
		"basic":    {"signature", "secret"},
		"network":  {"networks"},
		"callback": {"signature", "timestamp", "call"},
		"none":     {},
	}
}

func (v *Verifier) check(w *Webhooks, path string, r report) {
	checkWord(path+".scheme", v.Scheme, r, slices.Sorted(maps.Keys(schemes()))...)
	known, ok := schemes()[v.Scheme]
	if !ok {
		return
	}
	v.checkBlocks(known, path, r)
	v.Secret = cmp.Or(v.Secret, w.Secrets[0].Name)
	kinds := append(v.kinds(), slices.Concat(secretsOf(v.Issuer), secretsOf(v.Audience), v.OrMessage.secrets())...)
	w.checkKind(path, kinds, r)
	if slices.Contains(known, "signature") {
		v.checkSignature(path, r)
	}
	if slices.Contains(known, "key") {
		v.checkKeyForm(path, r)
	}
	if slices.Contains(known, "message") {
		v.checkMessage(path, r)
	}
	if t := v.Timestamp; t != nil {
		t.check(path+".timestamp", v.Signature, r)
	}
	if v.BodyHash != nil {
		v.checkBodyHash(path+".body_hash", r)
	}
	switch v.Scheme {
	case "jwt":
		v.checkJWT(path, r)
	case "callback":
		v.checkCall(path+".call", r)
	case "network":
		if len(v.Networks) == 0 {
			r(path+".networks", "is missing: list the provider's networks, such as 192.0.2.0/24")
		}
	}
	v.checkAlso(w, path, r)
	if v.Binding != "" && v.Binding != string(v.binding()) {
		r(path+".binding", "says %s, but the signature vouches for %s", clip(v.Binding, 20), v.binding())
	}
	v.Binding = string(v.binding())
}

// checkBlocks reports what another scheme would have.
func (v *Verifier) checkBlocks(known []string, path string, r report) {
	value := reflect.ValueOf(v).Elem()
	for i := range value.NumField() {
		name := value.Type().Field(i).Tag.Get("yaml")
		if name == "" || slices.Contains([]string{"scheme", "when", "expect", "also", "binding"}, name) || slices.Contains(known, name) {
			continue
		}
		if !value.Field(i).IsZero() && (name != "secret" || v.UsesKey()) {
			r(path+"."+name, "is not of scheme %s", v.Scheme)
		}
	}
}

func (v *Verifier) checkSignature(path string, r report) {
	s := &v.Signature
	if v.Scheme == "basic" && len(s.From) == 0 {
		s.From, s.Prefix = Places{{kind: sourceHeader, name: "Authorization"}}, "Basic "
	}
	if len(s.From) == 0 && v.Scheme != "callback" {
		r(path+".signature.from", "is missing, want such as header:NAME")
		return
	}
	switch v.Scheme {
	case "token", "basic", "jwt", "callback":
		if s.Encoding != "" {
			r(path+".signature.encoding", "is not of scheme %s", v.Scheme)
		}
	default:
		checkWord(path+".signature.encoding", s.Encoding, r, "hex", "base64", "base64url", "raw")
	}
	for _, from := range s.From {
		checkPlace(path+".signature", from, s.Split, s.Pick, r)
		if from.kind == sourceClaim || from.kind == sourceItem && (v.Scheme != "token" || len(s.From) > 1) {
			r(path+".signature.from", "%s is no place of a signature", from)
		}
	}
	if v.Scheme == "ecdsa" {
		s.Form = cmp.Or(s.Form, "der")
		checkWord(path+".signature.form", s.Form, r, "der", "raw")
	} else if s.Form != "" {
		r(path+".signature.form", "is of scheme ecdsa only")
	}
}

func (v *Verifier) checkKeyForm(path string, r report) {
	remote := v.Certificate != nil || v.JWKS != ""
	forms := keyForms(v.Scheme, remote, v.symmetric())
	switch {
	case remote && v.Key != "":
		r(path+".key", "is not needed: the key is fetched")
	case len(forms) > 0:
		v.Key = cmp.Or(v.Key, forms[0])
		checkWord(path+".key", v.Key, r, forms...)
	}
	switch v.Scheme {
	case "hmac":
		checkWord(path+".hash", v.Hash, r, "sha1", "sha256", "sha512")
	case "ecdsa", "rsa":
		checkWord(path+".hash", v.Hash, r, "sha1", "sha256", "sha512")
	}
	if c := v.Certificate; c != nil {
		if c.From.IsZero() || c.From.kind == sourceClaim {
			r(path+".certificate.from", "is missing: where does the delivery say where the certificate is?")
		}
		if len(c.Hosts) == 0 {
			r(path+".certificate.hosts", "is missing: without it anybody's certificate would do")
		}
	}
}

func (v *Verifier) checkMessage(path string, r report) {
	switch {
	case len(v.Message) == 0:
		r(path+".message", "is missing: say what is signed, such as [{body: raw}]")
	case v.Timestamp == nil && (v.Message.has(partTime) || v.OrMessage.has(partTime)):
		r(path+".message", "has {ts: raw}, but the verifier has no timestamp")
	}
}

func (t *Timestamp) check(path string, s Signature, r report) {
	checkWord(path+".format", t.Format, r, timeFormats()...)
	if t.From.IsZero() || t.From.kind == sourceItem || t.From.kind == sourceOuter || t.From.kind == sourceText {
		r(path+".from", "is missing, want such as header:NAME or json:/pointer")
	}
	checkPlace(path, t.From, t.Split, t.Pick, r)
	for _, from := range s.From {
		if t.From.String() == from.String() && (t.Pick == "" || s.Pick == "" || t.Split != s.Split) {
			r(path+".from", "is the place of the signature: both need a pick, and the same split")
		}
	}
	if t.Tolerance <= 0 || t.Tolerance > limitTolerance {
		r(path+".tolerance", "must be above zero and at most %s, or old deliveries could be sent again", limitTolerance)
	}
}

// checkPlace judges where one text of a verifier is.
func checkPlace(path string, from Source, split, pick string, r report) {
	switch from.kind {
	case sourceHeader, sourceJSON, sourceForm, sourceQuery, sourceItem, sourceClaim, "":
	default:
		r(path+".from", "must be header:NAME, json:/pointer, form:NAME or query:NAME")
	}
	if pick != "" && split == "" {
		r(path+".pick", "needs a split")
	}
}

func (v *Verifier) checkBodyHash(path string, r report) {
	b := v.BodyHash
	checkWord(path+".hash", b.Hash, r, "sha1", "sha256", "sha512")
	checkWord(path+".encoding", b.Encoding, r, "hex", "base64", "base64url")
	signed := v.Scheme == "jwt" && b.From.kind == sourceClaim ||
		v.Scheme != "jwt" && (b.From.kind == sourceHeader || b.From.kind == sourceQuery) &&
			v.Message.covers(b.From) && (v.OrMessage == nil || v.OrMessage.covers(b.From))
	if !signed {
		r(path+".from", "%s is not signed: it must be a claim of the JWT, or a header or parameter in the message", b.From)
	}
}

func (v *Verifier) checkJWT(path string, r report) {
	if len(v.Algorithms) == 0 {
		r(path+".algorithms", "is missing: list those that count, of %s", strings.Join(jwtAlgorithms(), ", "))
	}
	for i, a := range v.Algorithms {
		checkWord(item(path+".algorithms", i), a, r, jwtAlgorithms()...)
		if strings.HasPrefix(a, "HS") != v.symmetric() {
			r(path+".algorithms", "mixes HS… with others: a public key would do as the secret")
		}
	}
	if v.JWKS == "" {
		return
	}
	if !allowed(v.JWKS, v.jwksHost()) {
		r(path+".jwks", "must be a URL that begins with https://, without a user, a port or a fragment")
	}
	if v.symmetric() {
		r(path+".jwks", "is public: HS… would take it for a secret")
	}
	if len(v.Audience) == 0 && len(v.Expect) == 0 {
		r(path+".audience", "is missing: the issuer signs tokens for others as well")
	}
}

func (v *Verifier) checkCall(path string, r report) {
	c := v.Call
	if c == nil {
		r(path, "is missing: what is the provider asked?")
		v.Call = &VerifyCall{} // so that the rest of the check has one
		return
	}
	checkWord(path+".method", c.Method, r, http.MethodGet, http.MethodPost)
	if !strings.HasPrefix(c.Path, "/") || checkSegments(c.Path) != nil {
		r(path+".path", "must be a path below http.base_url such as /v1/verify")
	}
	if c.Auth != "" && c.Auth != "basic" {
		r(path+".auth", "%q is unknown, want basic", clip(c.Auth, 20))
	}
	if c.Success.IsZero() {
		r(path+".success", "is missing: what does the provider answer to its own deliveries?")
	}
	if len(c.Body) == 0 {
		r(path+".body", "is missing: what is the provider told of the delivery?")
	}
	for _, m := range c.Body {
		if m.mac != nil {
			r(path+".body", "%s: a signature is for answers only", m.name)
		}
	}
	if body, _ := parseJSON(c.Example.Body); c.Example.Status == 0 || !c.Success.Holds(c.Example.Status, nil, body) {
		r(path+".example", "must be an answer that success holds for")
	}
}

func (v *Verifier) checkAlso(w *Webhooks, path string, r report) {
	for i, also := range v.Also {
		at := item(path+".also", i)
		switch {
		case v.addition:
			r(at, "must not stand inside another also")
			return
		case also.Scheme == "none" || v.Scheme == "none":
			r(at+".scheme", "none takes no part in this")
		case len(also.When) > 0:
			r(at+".when", "has no meaning: it always has to pass")
		}
		also.addition = true
		also.check(w, at, r)
	}
}
