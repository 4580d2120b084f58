package providers

import (
	"bytes"
	"context"
	"crypto"
	"crypto/subtle"
	"crypto/x509"
	"encoding/json"
	"errors"
)

// Check is what is known of the endpoint that a delivery came to.
type Check struct {
	// Secrets are all that are good now, of every kind. One of the first kind is
	// written as it is, one of another as kind:secret.
	Secrets []Secret
	// URL is the address of the endpoint as it is registered at the provider. It
	// is configuration: nothing of it may come from a request. It is needed where
	// the signature covers it.
	URL string
	// Keys fetches what a signature is checked with. nil: it cannot be fetched.
	Keys KeySource
	// Caller asks the provider. nil: it cannot be asked.
	Caller Caller
	// AllowNone accepts deliveries that nobody signs, which the operator has to
	// want.
	AllowNone bool
	// Pending says that the provider has not confirmed the endpoint yet: some
	// handshakes are answered then only.
	Pending bool
}

// KeySource fetches public keys that the issuers publish, and keeps them. Both
// methods are asked for addresses only that a pack allows. An error that wraps
// [ErrNoKey] says that there is no such key; with any other it cannot be said
// now.
type KeySource interface {
	// Certificate returns the certificate, in PEM, at a URL.
	Certificate(ctx context.Context, url string) (*x509.Certificate, error)
	// Key returns the key with an id of the JSON Web Key Set at a URL.
	Key(ctx context.Context, url, id string) (crypto.PublicKey, error)
}

// ErrNoKey says that there is no such key.
var ErrNoKey = errors.New("no such key")

// Caller asks providers whether deliveries are theirs.
type Caller interface {
	// Call sends the call to the provider, below its base URL, and returns its
	// answer, whatever its status.
	Call(ctx context.Context, c Call) (CallAnswer, error)
}

// Call is a request that a provider is asked with.
type Call struct {
	Provider string
	Method   string
	Path     string // below the provider's base URL
	Auth     string // basic: with the app's client id and secret; "": without
	Body     json.RawMessage
}

// CallAnswer is a provider's answer.
type CallAnswer struct {
	Status int             `yaml:"status"`
	Body   json.RawMessage `yaml:"body"`
}

// inspection is one delivery while it is looked at for one endpoint.
type inspection struct {
	w *Webhooks
	d *Delivery
	c Check

	reading  *Reading // of the body, nil until a body source is asked for
	unread   bool     // the body cannot be read
	claims   any      // of a JWT whose signature is right
	verifier *Verifier
	stamp    string                // the verifier's timestamp as the delivery bears it
	chosen   [maxSecretKinds]uint8 // :: kind → which of its secrets a {secret: KIND} stands for now
}

// read looks over the body, once. nil: it cannot be read.
func (in *inspection) read() *Reading {
	if in.reading == nil && !in.unread {
		var err error
		in.reading, err = in.w.Read(in.d)
		in.unread = err != nil
	}
	return in.reading
}

// get returns the text that a source leads to; false when it is absent.
func (in *inspection) get(s Source) (string, bool) {
	switch s.kind {
	case sourceHeader:
		return firstText(in.d.Header[s.name])
	case sourceQuery:
		return firstText(in.d.queries(s.name))
	case sourceClaim:
		v, _ := follow(in.claims, s.pointer)
		text, ok := scalar(v)
		return text, ok && text != ""
	case sourceText:
		return s.name, true
	default:
		if r := in.read(); r != nil {
			return r.get(s)
		}
		return "", false
	}
}

func firstText(values []string) (string, bool) {
	if len(values) == 0 {
		return "", false
	}
	return values[0], values[0] != ""
}

// only returns the text of a source that has to be there, once.
func (in *inspection) only(s Source) (string, error) {
	var values []string
	switch s.kind {
	case sourceHeader:
		values = in.d.Header[s.name]
	case sourceQuery:
		values = in.d.queries(s.name)
	default:
		if text, ok := in.get(s); ok {
			return text, nil
		}
		return "", refused(ReasonMissingHeader)
	}
	switch {
	case len(values) > 1:
		return "", refused(ReasonDuplicateHeader)
	case len(values) == 0 || values[0] == "":
		return "", refused(ReasonMissingHeader)
	}
	return values[0], nil
}

// present tells whether the delivery has the source at all, if only empty.
func (in *inspection) present(s Source) bool {
	switch s.kind {
	case sourceHeader:
		return len(in.d.Header[s.name]) > 0
	case sourceQuery:
		return len(in.d.queries(s.name)) > 0
	default:
		_, ok := in.get(s)
		return ok
	}
}

// secret is the i-th secret, if it is one of the kind. It must not be changed.
func (in *inspection) secret(i int, kind string) ([]byte, bool) {
	return in.w.kindOf(in.c.Secrets[i], kind)
}

// kindOf returns the written secret, without the name of its kind, if it is of
// the kind.
func (w *Webhooks) kindOf(secret Secret, kind string) ([]byte, bool) {
	written := secret.peek()
	for i, k := range w.Secrets {
		if i == 0 {
			continue
		}
		if rest, ok := bytes.CutPrefix(written, []byte(k.Name)); ok && len(rest) > 0 && rest[0] == ':' {
			return rest[1:], k.Name == kind
		}
	}
	return written, len(w.Secrets) > 0 && w.Secrets[0].Name == kind
}

// meets tells whether all conditions hold.
func (in *inspection) meets(all Conditions) bool {
	for _, c := range all {
		if !c.holds(in) {
			return false
		}
	}
	return true
}

// holds compares in a time that does not depend on how much of a secret is
// right.
func (c condition) holds(in *inspection) bool {
	if c.presence != "" {
		_, ok := in.get(c.from)
		return ok == (c.presence == "true")
	}
	if c.from.kind == sourceItem {
		return in.eachItem(c.from, c.wants)
	}
	text, err := in.only(c.from)
	return err == nil && c.wants(in, text)
}

func (c condition) wants(in *inspection, text string) bool {
	found := false
	for _, want := range c.want {
		found = want.is(in, text) || found
	}
	return found
}

// eachItem tells whether the source is in every item of the batch, and whether
// each is as wanted. A batch without items has nothing to hold against it, and
// is not what anybody would send to be believed.
func (in *inspection) eachItem(s Source, wants func(*inspection, string) bool) bool {
	r := in.read()
	if r == nil {
		return false
	}
	pieces, err := r.pieces()
	if err != nil || len(pieces) == 0 {
		return false
	}
	for _, p := range pieces {
		if r.enter(p) != nil {
			return false
		}
		if text, ok := r.get(s); !ok || !wants(in, text) {
			return false
		}
	}
	return true
}

// is tells whether text is what is expected.
func (e Expected) is(in *inspection, text string) bool {
	switch {
	case e.url:
		return in.c.URL != "" && equal(text, in.c.URL)
	case e.secret == "":
		return equal(text, e.text)
	}
	found := false
	for i := range in.c.Secrets {
		if written, ok := in.secret(i, e.secret); ok && len(written) > 0 {
			found = subtle.ConstantTimeCompare([]byte(text), written) == 1 || found
		}
	}
	return found
}

func equal(a, b string) bool { return subtle.ConstantTimeCompare([]byte(a), []byte(b)) == 1 }
