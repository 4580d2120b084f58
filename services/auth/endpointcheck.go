package auth

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"net/url"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/plugfn/plugfn/pkg/events"
	"github.com/plugfn/plugfn/pkg/providers"
)

// checkNew judges what is asked for, and returns the pack of its provider.
func (e *endpoints) checkNew(ctx context.Context, in *endpointInput) (*providers.Pack, error) {
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
	if err := errors.Join(checkEndpointName(in.Name), checkEndpointURL(in.URL), e.checkFragment(pack, in.Webhooks)); err != nil {
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
	err := scan(ctx, e.kv, events.Key(in.UserID, in.ConnectionID)+".*", func(jetstream.KeyValueEntry) bool {
		n++
		return n < maxEndpoints
	}, jetstream.MetaOnly())
	if err == nil && n >= maxEndpoints {
		err = invalid("connection_id", "it has %d endpoints: delete those that are no longer used", n)
	}
	return pack, err
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

// checkFragment judges what an endpoint adds to the webhooks block of its pack.
func (e *endpoints) checkFragment(_ *providers.Pack, fragment json.RawMessage) error {
	if len(fragment) > maxFragment {
		return invalid("webhooks", "longer than %d bytes", maxFragment)
	}
	return nil
}

// chooseSecret checks a given secret, or makes one and returns it also.
func (e *endpoints) chooseSecret(pack *providers.Pack, secret *providers.Secret, later bool) (made providers.Secret, err error) {
	switch {
	case later:
		return made, nil
	case secret.IsZero() && !canChooseSecret(pack.Webhooks):
		return made, invalid("secret", "%s signs with a key of its own: give what it shows, or say secret_later and give it then", pack.Name)
	case secret.IsZero():
		random := make([]byte, 32)
		_, _ = rand.Read(random)                                       // never fails
		made = providers.NewSecret([]byte(hex.EncodeToString(random))) // hexadecimal is right for every way in which packs read their keys
		*secret = made
	}
	if err := checkSecret("secret", *secret, !canChooseSecret(pack.Webhooks)); err != nil { // a public key may have several lines
		return made, err
	}
	if err := pack.Webhooks.CheckSecret(*secret); err != nil {
		return made, invalid("secret", "%v", err)
	}
	return made, nil
}

// canChooseSecret reports whether deliveries may be signed with a secret that
// the receiver has thought of.
func canChooseSecret(w *providers.Webhooks) bool {
	return slices.ContainsFunc(w.Verifiers, func(v *providers.Verifier) bool {
		return v.Scheme == "hmac" || v.Scheme == "token"
	})
}
