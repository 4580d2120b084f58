package auth

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/plugfn/plugfn/internal/id"
	"github.com/plugfn/plugfn/pkg/events"
	"github.com/plugfn/plugfn/pkg/providers"
)

const (
	prefixWebhook     = "webhook."
	maxWebhookSecrets = 20 // of a provider
)

// webhookSecret is a secret that deliveries of a provider are signed with. There
// may be several at once while a new one takes over. They are the operator's
// only: with one of his own, a user could sign deliveries for others' accounts.
// It is the value of a key in the bucket of apps.
type webhookSecret struct {
	ID         string    `json:"id"`
	Provider   string    `json:"provider"`
	NotBefore  time.Time `json:"not_before,omitzero"` // zero: at once
	NotAfter   time.Time `json:"not_after,omitzero"`  // zero: for ever
	CreatedAt  time.Time `json:"created_at"`
	Credential []byte    `json:"credential"` // sealed
}

func webhookKey(provider, id string) string { return prefixWebhook + events.Key(provider, id) }

// placeOfWebhook is the associated data of a sealed webhook secret.
func placeOfWebhook(s *webhookSecret) []byte {
	return associatedData("webhook", s.Provider, s.ID, fieldCredential)
}

func decodeWebhook(key string, value []byte) (webhookSecret, error) {
	var s webhookSecret
	if err := json.Unmarshal(value, &s); err != nil {
		return webhookSecret{}, errors.New("the webhook secret is not JSON of the known form")
	}
	if s.ID == "" || webhookKey(s.Provider, s.ID) != key {
		return webhookSecret{}, errors.New("the webhook secret belongs to another key")
	}
	return s, nil
}

// webhookInput is a secret that the operator adds.
type webhookInput struct {
	Provider            string
	Secret              providers.Secret
	NotBefore, NotAfter time.Time
	// RetireOthers is for how long the others are still good, zero: as they are.
	RetireOthers time.Duration
}

func (a *apps) checkWebhook(in *webhookInput) error {
	pack, ok := a.providers.Pack(in.Provider)
	switch {
	case !ok:
		return unknownProvider(a.providers, in.Provider)
	case pack.Webhooks == nil:
		return invalid("provider", "%s sends no deliveries", pack.Name)
	case !in.NotAfter.IsZero() && !in.NotAfter.After(in.NotBefore):
		return invalid("not_after", "must be later than not_before")
	case !in.NotAfter.IsZero() && !in.NotAfter.After(a.now()):
		return invalid("not_after", "is over already")
	}
	if err := checkSecret("secret", in.Secret, false); err != nil {
		return err
	}
	if err := pack.Webhooks.CheckSecret(in.Secret); err != nil {
		return invalid("secret", "%v", err)
	}
	return nil
}

// addWebhook stores a webhook secret, and retires the others if that is wanted.
func (a *apps) addWebhook(ctx context.Context, in webhookInput) (webhookSecret, error) {
	if err := a.checkWebhook(&in); err != nil {
		return webhookSecret{}, err
	}
	others, err := a.webhooks(ctx, in.Provider)
	if err != nil {
		return webhookSecret{}, err
	}
	if len(others) >= maxWebhookSecrets {
		return webhookSecret{}, invalid("provider", "%s has %d webhook secrets: delete those that are no longer used", in.Provider, len(others))
	}
	s := webhookSecret{
		ID: id.New("whs"), Provider: in.Provider, NotBefore: in.NotBefore.UTC(), NotAfter: in.NotAfter.UTC(), CreatedAt: a.now().UTC(),
	}
	plain := in.Secret.Reveal()
	defer clear(plain)
	if s.Credential, err = a.keys.sealAt(plain, placeOfWebhook(&s)); err != nil {
		return webhookSecret{}, err
	}
	if err := a.putWebhook(ctx, s, 0); err != nil {
		return webhookSecret{}, err
	}
	if in.RetireOthers > 0 {
		err = a.retireWebhooks(ctx, others, a.now().Add(in.RetireOthers).UTC())
	}
	return s, err
}

func (a *apps) retireWebhooks(ctx context.Context, others []webhookSecret, at time.Time) error {
	for _, other := range others {
		if !other.NotAfter.IsZero() && other.NotAfter.Before(at) {
			continue
		}
		entry, err := a.kv.Get(ctx, webhookKey(other.Provider, other.ID))
		if errors.Is(err, jetstream.ErrKeyNotFound) {
			continue
		}
		if err != nil {
			return fmt.Errorf("reading the webhook secret: %w", err)
		}
		if other, err = decodeWebhook(entry.Key(), entry.Value()); err != nil {
			return err
		}
		other.NotAfter = at
		err = a.putWebhook(ctx, other, entry.Revision())
		if errors.Is(err, errTaken) {
			return events.Errorf(events.CodeInternal, "the secret is stored, but others of %s changed meanwhile: look at them and retire them again", other.Provider)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (a *apps) putWebhook(ctx context.Context, s webhookSecret, last uint64) error {
	value, err := json.Marshal(s)
	if err != nil {
		return fmt.Errorf("encoding the webhook secret: %w", err)
	}
	return a.write(ctx, webhookKey(s.Provider, s.ID), value, last)
}

// webhooks lists the stored secrets of a provider, the latest first.
func (a *apps) webhooks(ctx context.Context, provider string) ([]webhookSecret, error) {
	found := map[string]webhookSecret{}
	err := scan(ctx, a.kv, prefixWebhook+events.Key(provider)+".*", func(entry jetstream.KeyValueEntry) bool {
		if s, err := decodeWebhook(entry.Key(), entry.Value()); err == nil {
			found[s.ID] = s
		}
		return true
	})
	if err != nil {
		return nil, err
	}
	list := make([]webhookSecret, 0, len(found))
	for _, s := range found {
		list = append(list, s)
	}
	slices.SortFunc(list, func(x, y webhookSecret) int { return strings.Compare(y.ID, x.ID) })
	return list, nil
}

func (a *apps) deleteWebhook(ctx context.Context, provider, id string) error {
	_, err := a.kv.Get(ctx, webhookKey(provider, id))
	if errors.Is(err, jetstream.ErrKeyNotFound) {
		return events.Errorf(events.CodeConnectionNotFound, "no such webhook secret is stored for %s; see: plugfn app show", quote(provider))
	}
	if err == nil {
		err = a.kv.Purge(ctx, webhookKey(provider, id))
	}
	if err != nil {
		return fmt.Errorf("deleting the webhook secret: %w", err)
	}
	return nil
}
