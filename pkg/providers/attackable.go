package providers

import "slices"

// The methods here tell a suite of tests what a signature covers, so that it can
// attack each part.

// Parts lists the sources whose text is in the message by itself: headers,
// parameters, members and fields.
func (v *Verifier) Parts() []Source {
	var all []Source
	for _, p := range v.Message {
		if p.kind == partSource {
			all = append(all, p.source)
		}
	}
	return all
}

// BindsURL tells whether the proof is for the endpoint's address only.
func (v *Verifier) BindsURL() bool {
	return v.Message.has(partURL, "registered", "requested", "requested_with_port")
}

// BindsMethod tells whether the proof is for the request's method only.
func (v *Verifier) BindsMethod() bool {
	return v.Message.has(partMethod) || v.canonical("contentful")
}

// AudienceSecrets lists the kinds of secrets that a token may be for.
func (v *Verifier) AudienceSecrets() []string { return secretsOf(v.Audience) }

// KindOf is the name of a secret's kind.
func (w *Webhooks) KindOf(secret Secret) string {
	for _, k := range w.Secrets {
		if _, ok := w.kindOf(secret, k.Name); ok {
			return k.Name
		}
	}
	return ""
}

// Echoes lists the sources of a handshake's answer, of the one that d is.
func (w *Webhooks) Echoes(d *Delivery, c Check) []Source {
	h := w.handshakeOf(d, c)
	if h == nil {
		return nil
	}
	all := []Source{h.Respond.Text}
	for _, s := range h.Respond.Headers {
		all = append(all, s)
	}
	for _, m := range h.Respond.JSON {
		all = append(all, m.source)
		if m.mac != nil {
			all = append(all, m.mac.Of)
		}
	}
	return slices.DeleteFunc(all, func(s Source) bool { return s.IsZero() || s.kind == sourceText })
}

// GuardsHandshake tells whether the handshake that d is depends on a secret.
func (w *Webhooks) GuardsHandshake(d *Delivery, c Check) bool {
	h := w.handshakeOf(d, c)
	return h != nil && len(h.When.secrets()) > 0
}

// handshakeOf is the handshake that d is, nil when it is none.
func (w *Webhooks) handshakeOf(d *Delivery, c Check) *Handshake {
	in := &inspection{w: w, d: d, c: c}
	for _, h := range w.Handshakes {
		if h.isFor(in) {
			return h
		}
	}
	return nil
}
