package auth

import (
	"context"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/plugfn/plugfn/pkg/events"
	"github.com/plugfn/plugfn/pkg/providers"
)

const (
	maxClientID = 256 // bytes

	prefixClient = "client."
)

// The places that an app comes from.
const (
	fromEnvironment = "environment" // the operator's settings
	fromStore       = "store"
)

// apps knows the operator's clients at the providers: those of the settings and
// those that are stored, where one user may have his own. An app is known by its
// client id, wherever it comes from, so that a connection finds the one that
// minted it again when the operator has moved it.
type apps struct {
	kv        jetstream.KeyValue
	keys      *Keys
	providers *providers.Registry
	now       func() time.Time
}

// app is a stored client. It is the value of a key in the bucket of apps.
type app struct {
	Provider   string    `json:"provider"`
	UserID     string    `json:"user_id,omitempty"` // "": for everybody
	ClientID   string    `json:"client_id"`
	HasSecret  bool      `json:"has_client_secret,omitempty"`
	HasKey     bool      `json:"has_private_key,omitempty"`
	CreatedAt  time.Time `json:"created_at"`
	UpdatedAt  time.Time `json:"updated_at"` // of several the latest one is used for new connections
	Credential []byte    `json:"credential"` // sealed appSecrets
}

// appSecrets is what is sealed into an app.
type appSecrets struct {
	ClientSecret []byte `json:"client_secret,omitempty"`
	PrivateKey   []byte `json:"private_key,omitempty"`
}

func (s appSecrets) clear() {
	clear(s.ClientSecret)
	clear(s.PrivateKey)
}

func appKey(provider, user, clientID string) string {
	return prefixClient + events.Key(provider, user, clientID)
}

// placeOfApp is the associated data of the sealed secrets of an app.
func placeOfApp(a *app) []byte {
	return associatedData("app", a.Provider, a.UserID, a.ClientID, fieldCredential)
}

// pick returns the app that new connections of a user are made with: his own,
// else the one of the settings, else the latest stored one. Without any of them
// it has no ClientID.
func (a *apps) pick(ctx context.Context, provider, user string) (providers.App, error) {
	settings := a.providers.App(provider)
	if user != "" {
		if own, err := a.latest(ctx, provider, user); err != nil || own.ClientID != "" {
			return a.open(own, settings, err)
		}
	}
	if settings.ClientID != "" {
		return settings, nil
	}
	stored, err := a.latest(ctx, provider, "")
	return a.open(stored, settings, err)
}

// minted returns the app with that client id, for a connection of a user. An
// empty id stands for what pick returns. Where the app is gone, the result has
// no ClientID.
func (a *apps) minted(ctx context.Context, provider, user, clientID string) (providers.App, error) {
	settings := a.providers.App(provider)
	switch clientID {
	case "":
		return a.pick(ctx, provider, user)
	case settings.ClientID:
		return settings, nil
	}
	for _, owner := range []string{user, ""} {
		stored, _, err := a.get(ctx, provider, owner, clientID)
		if !errors.Is(err, errNoApp) {
			return a.open(stored, settings, err)
		}
	}
	return a.open(app{}, settings, nil)
}

// open joins a stored app, the zero value for none, with what the settings say
// about the provider's addresses.
func (a *apps) open(stored app, settings providers.App, err error) (providers.App, error) {
	joined := settings
	joined.ClientID, joined.ClientSecret, joined.PrivateKey = stored.ClientID, providers.Secret{}, providers.Secret{}
	if err != nil || stored.ClientID == "" {
		return joined, err
	}
	plain, err := a.keys.openAt(stored.Credential, placeOfApp(&stored))
	if err != nil {
		return joined, fmt.Errorf("opening the app %s of %s: %w", quote(stored.ClientID), stored.Provider, err)
	}
	defer clear(plain)
	var s appSecrets
	if err := json.Unmarshal(plain, &s); err != nil {
		return joined, fmt.Errorf("opening the app %s of %s: %w", quote(stored.ClientID), stored.Provider, errUnreadable)
	}
	defer s.clear()
	joined.ClientSecret, joined.PrivateKey = providers.NewSecret(s.ClientSecret), providers.NewSecret(s.PrivateKey)
	return joined, nil
}

var errNoApp = errors.New("there is no such app")

func (a *apps) get(ctx context.Context, provider, user, clientID string) (app, uint64, error) {
	entry, err := a.kv.Get(ctx, appKey(provider, user, clientID))
	if errors.Is(err, jetstream.ErrKeyNotFound) {
		return app{}, 0, errNoApp
	}
	if err != nil {
		return app{}, 0, fmt.Errorf("reading the app: %w", err)
	}
	stored, err := decodeApp(entry.Key(), entry.Value())
	return stored, entry.Revision(), err
}

// latest returns the app that was set last, the zero value if there is none.
func (a *apps) latest(ctx context.Context, provider, user string) (app, error) {
	all, err := a.list(ctx, provider, user)
	if err != nil || len(all) == 0 {
		return app{}, err
	}
	return all[0], nil
}

// list returns the stored apps of a user at a provider, the latest first. One
// that cannot be read is left out: it could not be used either.
func (a *apps) list(ctx context.Context, provider, user string) ([]app, error) {
	return a.scan(ctx, prefixClient+events.Key(provider, user)+".*", func(one app) bool {
		return one.Provider == provider && one.UserID == user
	})
}

func (a *apps) scan(ctx context.Context, filter string, keep func(app) bool) ([]app, error) {
	all := map[string]app{} // an app that changes meanwhile comes twice
	err := scan(ctx, a.kv, filter, func(entry jetstream.KeyValueEntry) bool {
		if one, err := decodeApp(entry.Key(), entry.Value()); err == nil && keep(one) {
			all[entry.Key()] = one
		}
		return true
	})
	if err != nil {
		return nil, err
	}
	list := make([]app, 0, len(all))
	for _, one := range all {
		list = append(list, one)
	}
	slices.SortFunc(list, func(x, y app) int {
		if by := strings.Compare(x.Provider+"\x00"+x.UserID, y.Provider+"\x00"+y.UserID); by != 0 {
			return by
		}
		if by := y.UpdatedAt.Compare(x.UpdatedAt); by != 0 {
			return by
		}
		return strings.Compare(x.ClientID, y.ClientID)
	})
	return list, nil
}

func decodeApp(key string, value []byte) (app, error) {
	var one app
	if err := json.Unmarshal(value, &one); err != nil {
		return app{}, errors.New("the app is not JSON of the known form")
	}
	if one.ClientID == "" || appKey(one.Provider, one.UserID, one.ClientID) != key {
		return app{}, errors.New("the app belongs to another key")
	}
	return one, nil
}

// appValues lists what is encrypted in a value of the bucket of apps.
func appValues(key string, value []byte) ([]sealedValue, error) {
	if strings.HasPrefix(key, prefixWebhook) {
		s, err := decodeWebhook(key, value)
		if err != nil {
			return nil, err
		}
		return []sealedValue{{s.Credential, placeOfWebhook(&s)}}, nil
	}
	one, err := decodeApp(key, value)
	if err != nil {
		return nil, err
	}
	return []sealedValue{{one.Credential, placeOfApp(&one)}}, nil
}

// appInput is what the operator sets. A secret that is zero stays as it is
// stored.
type appInput struct {
	Provider, UserID, ClientID string
	ClientSecret, PrivateKey   providers.Secret
}

func (a *apps) check(in appInput) error {
	if _, ok := a.providers.Pack(in.Provider); !ok {
		return unknownProvider(a.providers, in.Provider)
	}
	switch {
	case len(in.UserID) > maxUser || !isPlain(in.UserID):
		return invalid("user_id", "must be at most %d bytes without control characters", maxUser)
	case in.ClientID == "" || len(in.ClientID) > maxClientID:
		return invalid("client_id", "must be from 1 to %d bytes", maxClientID)
	case strings.ContainsFunc(in.ClientID, func(r rune) bool { return r <= ' ' || r > '~' }):
		return invalid("client_id", "must be printable ASCII without spaces")
	}
	if !in.ClientSecret.IsZero() {
		if err := checkSecret("client_secret", in.ClientSecret, false); err != nil {
			return err
		}
	}
	return checkPrivateKey(in.PrivateKey)
}

// set stores an app. Connections that another one has minted keep it.
func (a *apps) set(ctx context.Context, in appInput) (app, error) {
	if err := a.check(in); err != nil {
		return app{}, err
	}
	for range maxTries {
		stored, last, err := a.get(ctx, in.Provider, in.UserID, in.ClientID)
		if err != nil && !errors.Is(err, errNoApp) {
			return app{}, err
		}
		next, err := a.merge(stored, in)
		if err != nil {
			return app{}, err
		}
		value, err := json.Marshal(next)
		if err != nil {
			return app{}, fmt.Errorf("encoding the app: %w", err)
		}
		switch err := a.write(ctx, appKey(in.Provider, in.UserID, in.ClientID), value, last); {
		case err == nil:
			return next, nil
		case !errors.Is(err, errTaken):
			return app{}, err
		}
	}
	return app{}, events.Errorf(events.CodeInternal, "the app keeps changing; try again")
}

// write puts a value over the revision last, 0 for none. Where the key has moved
// on, the error is errTaken.
func (a *apps) write(ctx context.Context, key string, value []byte, last uint64) error {
	var err error
	if last == 0 {
		_, err = a.kv.Create(ctx, key, value) // also over the mark of a deleted one
	} else {
		_, err = a.kv.Update(ctx, key, value, last)
	}
	switch {
	case errors.Is(err, jetstream.ErrKeyExists), errors.Is(err, jetstream.ErrKeyRevisionMismatch):
		return errTaken
	case err != nil:
		return fmt.Errorf("writing the app: %w", err)
	}
	return nil
}

// merge is the stored app, the zero value for none, with what the operator set.
func (a *apps) merge(stored app, in appInput) (app, error) {
	old, err := a.open(stored, providers.App{}, nil)
	if err != nil {
		return app{}, err
	}
	if in.ClientSecret.IsZero() {
		in.ClientSecret = old.ClientSecret
	}
	if in.PrivateKey.IsZero() {
		in.PrivateKey = old.PrivateKey
	}
	now := a.now().UTC()
	next := app{
		Provider: in.Provider, UserID: in.UserID, ClientID: in.ClientID,
		HasSecret: !in.ClientSecret.IsZero(), HasKey: !in.PrivateKey.IsZero(),
		CreatedAt: stored.CreatedAt, UpdatedAt: now,
	}
	if next.CreatedAt.IsZero() {
		next.CreatedAt = now
	}
	s := appSecrets{ClientSecret: in.ClientSecret.Reveal(), PrivateKey: in.PrivateKey.Reveal()}
	defer s.clear()
	plain, err := json.Marshal(s)
	if err != nil {
		return app{}, fmt.Errorf("encoding the secrets of the app: %w", err)
	}
	defer clear(plain)
	next.Credential, err = a.keys.sealAt(plain, placeOfApp(&next))
	return next, err
}

// delete removes a stored app.
func (a *apps) delete(ctx context.Context, provider, user, clientID string) error {
	_, last, err := a.get(ctx, provider, user, clientID)
	if errors.Is(err, errNoApp) {
		return noSuchApp(provider)
	}
	if last == 0 {
		return err
	}
	err = a.kv.Purge(ctx, appKey(provider, user, clientID), jetstream.LastRevision(last))
	if errors.Is(err, jetstream.ErrKeyRevisionMismatch) {
		return events.Errorf(events.CodeInternal, "the app was set again just now; look at it and try again")
	}
	if err != nil {
		return fmt.Errorf("deleting the app: %w", err)
	}
	return nil
}

func noSuchApp(provider string) *events.Error {
	return events.Errorf(events.CodeConnectionNotFound, "no such app is stored for %s; see: plugfn app list", quote(provider))
}

// checkPrivateKey judges a key in PEM, if there is one.
func checkPrivateKey(key providers.Secret) error {
	if key.IsZero() {
		return nil
	}
	text := key.Reveal()
	defer clear(text)
	block, _ := pem.Decode(text)
	if block == nil || len(text) > maxToken {
		return invalid("private_key", "must be a private key in PEM, as the provider gives it for download")
	}
	defer clear(block.Bytes)
	for _, parse := range []func([]byte) error{
		func(der []byte) error { _, err := x509.ParsePKCS8PrivateKey(der); return err },
		func(der []byte) error { _, err := x509.ParsePKCS1PrivateKey(der); return err },
		func(der []byte) error { _, err := x509.ParseECPrivateKey(der); return err },
	} {
		if parse(block.Bytes) == nil {
			return nil
		}
	}
	return invalid("private_key", "its PEM holds no private key that can be read, PKCS #8, PKCS #1 or SEC 1")
}

// sealAt encrypts plain for one place.
func (k *Keys) sealAt(plain, place []byte) ([]byte, error) {
	sealed, err := k.primitive.Encrypt(plain, place)
	if err != nil {
		return nil, fmt.Errorf("encrypting: %w", err)
	}
	return sealed, nil
}

// openAt decrypts what was sealed for one place. Its only error is
// errUnreadable.
func (k *Keys) openAt(sealed, place []byte) ([]byte, error) {
	plain, err := k.primitive.Decrypt(sealed, place)
	if err != nil {
		return nil, errUnreadable
	}
	return plain, nil
}
