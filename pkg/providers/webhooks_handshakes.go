package providers

import (
	"cmp"
	"net/http"
	"slices"
	"strings"
)

func (w *Webhooks) checkHandshakes(r report) {
	for i, h := range w.Handshakes {
		h.check(w, item("webhooks.handshake", i), r)
		w.unsigned = w.unsigned || h.Signed != "required"
	}
	w.checkOracles(r)
}

// checkOracles tells each verifier what handshakes sign, so that it takes none
// of that for a delivery. Nothing in a token could tell it from such a text.
func (w *Webhooks) checkOracles(r report) {
	for i, v := range w.Verifiers {
		for _, v := range append([]*Verifier{v}, v.Also...) {
			for n, h := range w.Handshakes {
				for _, m := range h.Respond.JSON {
					switch {
					case m.mac == nil:
					case v.symmetric():
						r(item("webhooks.handshake", n)+".respond.json", "%s: signs what could be the token of %s", m.name, item("webhooks.verify", i))
					case v.Scheme == "hmac" && v.Hash == m.mac.Hash:
						v.answers = append(v.answers, h.Respond.Charset)
					}
				}
			}
		}
	}
}

// check reports what is wrong with the handshake, and fills in the defaults.
func (h *Handshake) check(w *Webhooks, path string, r report) {
	h.Method = cmp.Or(h.Method, http.MethodPost)
	h.Signed = cmp.Or(h.Signed, "required")
	h.Respond.Charset = cmp.Or(h.Respond.Charset, "token")
	checkWord(path+".method", h.Method, r, http.MethodGet, http.MethodHead, http.MethodPost)
	checkWord(path+".signed", h.Signed, r, "required", "optional", "none")
	checkWord(path+".respond.charset", h.Respond.Charset, r, sortedKeys(charsets())...)
	if h.Only != "" {
		checkWord(path+".only", h.Only, r, "pending")
	}
	if len(h.When) == 0 && h.Method == http.MethodPost {
		r(path+".when", "is missing: every delivery would be a handshake")
	}
	if h.Method != http.MethodPost && h.Signed == "required" {
		r(path+".signed", "must be none: nobody signs a %s", h.Method)
	}
	w.checkKind(path, h.When.secrets(), r)
	h.Respond.check(w, path+".respond", r)
	if l := h.Learn; l != nil {
		l.Kind = cmp.Or(l.Kind, w.Secrets[0].Name)
		w.checkKind(path+".learn.kind", []string{l.Kind}, r)
		if l.From.IsZero() {
			r(path+".learn.from", "is missing")
		}
		if h.Only != "pending" {
			r(path+".only", "must be pending: whoever sends a secret would take the endpoint over")
		}
	}
	if c := h.Confirm; c != nil {
		if c.From.IsZero() {
			r(path+".confirm.from", "is missing")
		}
		if len(c.Hosts) == 0 {
			r(path+".confirm.hosts", "is missing: anybody could have any address called")
		}
		if h.Signed != "required" {
			r(path+".signed", "must be required: an address is called that the delivery names")
		}
	}
}

func (s *Respond) check(w *Webhooks, path string, r report) {
	if s.Status != 0 && (s.Status < 200 || s.Status > 299) {
		r(path+".status", "must be from 200 to 299")
	}
	if !s.Text.IsZero() && s.JSON != nil {
		r(path, "has a text and JSON, an answer is one of both")
	}
	for name := range s.Headers {
		known := strings.ToLower(name)
		if !isFieldName(name) || slices.Contains(framing(), known) || strings.HasPrefix(known, "access-control-") {
			r(path+".headers."+name, "must be a header that neither frames an answer nor tells a browser what to do")
		}
	}
	for i := range s.JSON {
		s.JSON[i].checkReply(w, path+".json", s.Charset, r)
	}
}

// framing lists the headers of an answer that are no business of a pack.
func framing() []string {
	return []string{
		"connection", "content-encoding", "content-length", "content-security-policy", "content-type", "location", "refresh",
		"retry-after", "set-cookie", "strict-transport-security", "trailer", "transfer-encoding", "upgrade", "x-content-type-options",
	}
}

// checkReply judges a member of an answer.
func (m *member) checkReply(w *Webhooks, path, charset string, r report) {
	if m.body || m.secret != "" {
		r(path, "%s: neither the body nor a secret goes into an answer", m.name)
	}
	if m.mac == nil {
		return
	}
	c := m.mac
	c.Key, c.Secret = cmp.Or(c.Key, "utf8"), cmp.Or(c.Secret, w.Secrets[0].Name)
	checkWord(path+".hash", c.Hash, r, "sha1", "sha256", "sha512")
	checkWord(path+".encoding", c.Encoding, r, "hex", "base64", "base64url")
	checkWord(path+".key", c.Key, r, "utf8", "hex", "base64", "base64url", "whsec")
	w.checkKind(path, []string{c.Secret}, r)
	if c.Of.IsZero() {
		r(path, "%s: needs the text to sign, of: SOURCE", m.name)
	}
	if charset == "words" {
		r(path, "%s: signs too much with the charset words, want token or base64", m.name)
	}
}

func (w *Webhooks) checkAnswers(r report) {
	for i, a := range w.Answers {
		path := item("webhooks.answer", i)
		if a.Status != 0 && (a.Status < 200 || a.Status > 299) {
			r(path+".status", "must be from 200 to 299")
		}
		if len(a.When.secrets()) > 0 {
			r(path+".when", "must not depend on a secret")
		}
		if len(a.When) == 0 && i < len(w.Answers)-1 {
			r(path+".when", "is missing: the answers below are never given")
		}
		for _, m := range a.JSON {
			if m.literal == nil && m.source.kind != sourceText {
				r(path+".json", "%s: must be a number, true, false or text:LITERAL", m.name)
			}
		}
	}
}
