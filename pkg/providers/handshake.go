package providers

import (
	"cmp"
	"encoding/json"
	"net/http"
	"strings"
)

// maxEcho is the longest text in bytes that a handshake echoes or signs. With
// the charset it is a security control: what is echoed can be neither a
// document nor a script, and what is signed no message that a provider would
// sign.
const maxEcho = 256

// HandshakeReply is how a handshake is answered, and what it asks for.
type HandshakeReply struct {
	Status      int
	ContentType string // "" when there is no body
	Headers     map[string]string
	Body        []byte
	// Learn is the secret that the sender told, as [Check].Secrets has them. It
	// is to be stored for the endpoint before the answer is given; zero: none.
	Learn Secret
	// Confirm is the address that has to be called with GET before the endpoint
	// gets deliveries, on a host that the pack allows; "": none.
	Confirm string
}

// UnsignedHandshake tells whether the delivery is a handshake of those that come
// without a signature, and how to answer it. It is asked before Verify; what is
// no such handshake has to be verified.
func (w *Webhooks) UnsignedHandshake(d *Delivery, c Check) (*HandshakeReply, bool) {
	if !w.unsigned {
		return nil, false
	}
	return w.unsignedHandshake(d, c)
}

func (w *Webhooks) unsignedHandshake(d *Delivery, c Check) (*HandshakeReply, bool) {
	in := &inspection{w: w, d: d, c: c}
	for _, h := range w.Handshakes {
		if h.Signed == "required" || !h.isFor(in) {
			continue
		}
		if h.Signed == "optional" && in.signed() {
			continue
		}
		if reply, ok := h.reply(in, -1); ok {
			return reply, true
		}
	}
	return nil, false
}

// TakesMethod tells whether requests with the method may be deliveries or
// handshakes.
func (w *Webhooks) TakesMethod(method string) bool {
	if method == http.MethodPost {
		return true
	}
	for _, h := range w.Handshakes {
		if h.Method == method {
			return true
		}
	}
	return false
}

// signed tells whether the delivery bears a signature of any verifier.
func (in *inspection) signed() bool {
	for _, v := range in.w.Verifiers {
		if len(v.Signature.From) > 0 && v.applies(in) {
			return true
		}
	}
	return false
}

// Handshake tells whether a verified delivery is a handshake and how to answer
// it. One whose text must not be echoed gets no answer here, and no event.
func (r *Reading) Handshake(c Check, verdict Verdict) (*HandshakeReply, bool) {
	if len(r.webhooks.Handshakes) == 0 {
		return nil, false
	}
	in := &inspection{w: r.webhooks, d: r.delivery, c: c, reading: r}
	for _, h := range r.webhooks.Handshakes {
		if h.isFor(in) {
			return h.reply(in, verdict.Key)
		}
	}
	return nil, false
}

// IsHandshake tells whether the delivery has the form of a handshake, also of
// one that would not be answered now.
func (r *Reading) IsHandshake() bool {
	if len(r.webhooks.Handshakes) == 0 {
		return false
	}
	in := &inspection{w: r.webhooks, d: r.delivery, c: Check{Pending: true}, reading: r}
	for _, h := range r.webhooks.Handshakes {
		if h.isFor(in) {
			return true
		}
	}
	return false
}

// isFor tells whether the delivery is this handshake.
func (h *Handshake) isFor(in *inspection) bool {
	return h.Method == in.d.Method && (h.Only == "" || in.c.Pending) && in.meets(h.When)
}

// reply makes the answer; false when it must not be given.
func (h *Handshake) reply(in *inspection, key int) (*HandshakeReply, bool) {
	reply := &HandshakeReply{Status: cmp.Or(h.Respond.Status, http.StatusOK)}
	ok := h.Respond.write(in, key, reply)
	if h.Learn != nil {
		reply.Learn, ok = h.Learn.secret(in, ok)
	}
	if h.Confirm != nil && ok {
		reply.Confirm, ok = in.get(h.Confirm.From)
		ok = ok && allowed(reply.Confirm, h.Confirm.Hosts)
	}
	if !ok {
		return nil, false
	}
	return reply, true
}

// write fills in the headers and the body of an answer.
func (r *Respond) write(in *inspection, key int, reply *HandshakeReply) bool {
	for name, from := range r.Headers {
		text, ok := r.echo(in, from)
		if !ok {
			return false
		}
		if reply.Headers == nil {
			reply.Headers = map[string]string{}
		}
		reply.Headers[http.CanonicalHeaderKey(name)] = text
	}
	switch {
	case !r.Text.IsZero():
		text, ok := r.echo(in, r.Text)
		reply.ContentType, reply.Body = "text/plain; charset=utf-8", []byte(text)
		return ok
	case r.JSON != nil:
		body, err := r.JSON.object(func(m *member) (json.RawMessage, error) { return r.member(in, key, m) })
		reply.ContentType, reply.Body = jsonType, body
		return err == nil
	}
	return true
}

// member is the value of a member of the answer that is no literal.
func (r *Respond) member(in *inspection, key int, m *member) (json.RawMessage, error) {
	from := m.source
	if m.mac != nil {
		from = m.mac.Of
	}
	text, ok := r.echo(in, from)
	if ok && m.mac != nil {
		text, ok = m.mac.sign(in, key, text)
	}
	if !ok {
		return nil, refused(ReasonMalformed)
	}
	return encodeJSON(text)
}

// echo is the text of a source if that may go back to whoever sent it.
func (r *Respond) echo(in *inspection, from Source) (string, bool) {
	text, ok := in.get(from)
	if !ok || from.kind == sourceText {
		return text, ok
	}
	return text, isEchoable(text, r.Charset)
}

// secret is the secret that the sender tells, as an endpoint's secrets are
// written.
func (l *Learn) secret(in *inspection, ok bool) (Secret, bool) {
	text, there := in.get(l.From)
	if !ok || !there || !isEchoable(text, "base64") {
		return Secret{}, false
	}
	if l.Kind != in.w.Secrets[0].Name {
		text = l.Kind + ":" + text
	}
	return NewSecret([]byte(text)), true
}

// charsets says which bytes besides letters and digits an echoed text may have.
// None of them makes a document, a script, or a JSON object.
func charsets() map[string]string {
	return map[string]string{"token": "._~-", "base64": "._~-+/=", "words": "._~-+/= :,@"}
}

// isEchoable tells a short token from anything that could mean something.
func isEchoable(text, charset string) bool {
	special := charsets()[charset]
	for i := range len(text) {
		if c := text[i]; !isAlphanumeric(c) && strings.IndexByte(special, c) < 0 {
			return false
		}
	}
	return text != "" && len(text) <= maxEcho
}

// Answer returns what the provider wants to be told once the delivery is
// stored: 200 and nothing, unless the pack says otherwise.
func (r *Reading) Answer() HandshakeReply {
	reply := HandshakeReply{Status: http.StatusOK}
	if len(r.webhooks.Answers) == 0 {
		return reply
	}
	in := &inspection{w: r.webhooks, d: r.delivery, c: Check{}, reading: r}
	for _, a := range r.webhooks.Answers {
		if !in.meets(a.When) {
			continue
		}
		reply.Status = cmp.Or(a.Status, http.StatusOK)
		if a.JSON != nil {
			respond := Respond{JSON: a.JSON}
			respond.write(in, -1, &reply)
		}
		return reply
	}
	return reply
}
