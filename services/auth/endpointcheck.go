package auth

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/plugfn/plugfn/pkg/events"
	"github.com/plugfn/plugfn/pkg/providers"
)

// checkNew judges what is asked for, and returns the block that its deliveries
// are read with.
func (e *endpoints) checkNew(ctx context.Context, in *endpointInput) (*providers.Webhooks, error) {
	pack, ok := e.providers.Pack(in.Provider)
	switch {
	case !ok:
		return nil, unknownProvider(e.providers, in.Provider)
	case pack.Webhooks == nil:
		return nil, invalid("provider", "%s sends no deliveries", pack.Name)
	case in.UserID == "":
		return nil, invalid("user_id", "is missing: it says whose the events are")
	case len(in.UserID) > maxUser || !isPlain(in.UserID):
		return nil, invalid("user_id", "must be at most %d bytes without control characters", maxUser)
	case in.Later && !in.Secret.IsZero():
		return nil, invalid("secret", "goes without secret_later")
	}
	w, err := webhooksOf(e.providers, pack, in.Webhooks)
	if err := errors.Join(checkEndpointName(in.Name), checkEndpointURL(in.URL), err); err != nil {
		return nil, firstError(err)
	}
	if in.ConnectionID != "" {
		entry, err := e.store.find(ctx, in.UserID, in.ConnectionID)
		if err != nil {
			return nil, err
		}
		if c, err := decodeRecord(entry.Key(), entry.Value()); err == nil && c.Provider != in.Provider {
			return nil, invalid("connection_id", "is a connection to %s", quote(c.Provider))
		}
	}
	n := 0
	err = scan(ctx, e.kv, events.Key(in.UserID, in.ConnectionID)+".*", func(jetstream.KeyValueEntry) bool {
		n++
		return n < maxEndpoints
	}, jetstream.MetaOnly())
	if err == nil && n >= maxEndpoints {
		err = invalid("connection_id", "it has %d endpoints: delete those that are no longer used", n)
	}
	return w, err
}

// firstError is the first of joined errors: a caller is told one thing at a time.
func firstError(err error) error {
	var e *events.Error
	if errors.As(err, &e) {
		return e
	}
	return err
}

func checkEndpointName(name string) error {
	if utf8.RuneCountInString(name) > maxName || !isPlain(name) {
		return invalid("name", "must be at most %d characters of valid UTF-8 without control characters", maxName)
	}
	return nil
}

// checkEndpointURL judges a URL that a provider has for an endpoint.
func checkEndpointURL(text string) error {
	if text == "" {
		return nil
	}
	u, err := url.Parse(text)
	switch {
	case err != nil || len(text) > maxEndpointURL || !isPlain(text) || strings.Contains(text, " "):
		return invalid("url", "must be a URL of at most %d bytes", maxEndpointURL)
	case u.Scheme != "https" && u.Scheme != "http" || u.Hostname() == "":
		return invalid("url", "must begin with https:// or http:// and a host")
	case u.User != nil || u.Fragment != "":
		return invalid("url", "must have no user and no fragment")
	}
	return nil
}

// webhooksOf is the webhooks block that the deliveries to an endpoint are read
// with: that of the pack, with what the endpoint adds.
func webhooksOf(all *providers.Registry, pack *providers.Pack, fragment json.RawMessage) (*providers.Webhooks, error) {
	switch {
	case len(fragment) == 0:
		return pack.Webhooks, nil
	case len(fragment) > maxFragment:
		return nil, invalid("webhooks", "longer than %d bytes", maxFragment)
	}
	w, err := pack.Webhooks.With(fragment, all.App(pack.Name))
	if err != nil {
		return nil, invalid("webhooks", "%v", err)
	}
	return w, nil
}

// waits reports whether a provider has to confirm an endpoint before it is used,
// with a handshake that is answered only until then.
func waits(w *providers.Webhooks) bool {
	return slices.ContainsFunc(w.Handshakes, func(h *providers.Handshake) bool { return h.Only == "pending" && h.Learn == nil })
}

// chooseSecret checks a given secret, or makes one and returns it also.
func (e *endpoints) chooseSecret(name string, w *providers.Webhooks, secret *providers.Secret, later bool) (made providers.Secret, err error) {
	switch {
	case later:
		return made, nil
	case secret.IsZero() && !canChooseSecret(w):
		return made, invalid("secret", "%s signs with a key of its own: give what it shows, or say secret_later and give it then", name)
	case secret.IsZero():
		random := make([]byte, 32)
		_, _ = rand.Read(random)                                       // never fails
		made = providers.NewSecret([]byte(hex.EncodeToString(random))) // hexadecimal is right for every way in which packs read their keys
		*secret = made
	}
	if err := checkSecret("secret", *secret, !canChooseSecret(w)); err != nil { // a public key may have several lines
		return made, err
	}
	if err := w.CheckSecret(*secret); err != nil {
		return made, invalid("secret", "%v", err)
	}
	return made, nil
}

// checkSecrets judges whether the secrets that an endpoint has are good for a
// block: with one that is not, its deliveries would be refused without a word.
func (e *endpoints) checkSecrets(r *endpointRecord, w *providers.Webhooks) error {
	for _, s := range r.Secrets {
		plain, err := e.keys.openAt(s.Credential, r.placeOfSecret(&s))
		if err != nil {
			return fmt.Errorf("opening secret %s: %w", s.ID, err)
		}
		err = w.CheckSecret(providers.NewSecret(plain))
		clear(plain)
		if err != nil {
			return invalid("webhooks", "secret %s of the endpoint would not fit (%v): let it end, or give one that fits, first", s.ID, err)
		}
	}
	return nil
}

// canChooseSecret reports whether deliveries may be signed with a secret that
// the receiver has thought of.
func canChooseSecret(w *providers.Webhooks) bool {
	return slices.ContainsFunc(w.Verifiers, func(v *providers.Verifier) bool {
		return v.Scheme == "hmac" || v.Scheme == "token"
	})
}
