package auth

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/rs/zerolog"

	"github.com/plugfn/plugfn/internal/endpoint"
	"github.com/plugfn/plugfn/internal/id"
	"github.com/plugfn/plugfn/pkg/events"
	"github.com/plugfn/plugfn/pkg/providers"
)

// defaultOverlap is for how long the secrets before a new one are still good.
const defaultOverlap = 24 * time.Hour

// What the audit notes of an endpoint.
const (
	auditEndpointCreated = "created"
	auditEndpointChanged = "changed"
	auditEndpointRotated = "rotated"
	auditEndpointLearned = "learned" // a secret, in a handshake
	auditEndpointDeleted = "deleted"
	auditDelivered       = "delivered" // a genuine delivery came, noted once a minute
)

// endpoints keeps the webhook endpoints of single connections.
type endpoints struct {
	kv        jetstream.KeyValue
	keys      *Keys
	providers *providers.Registry
	store     *store
	public    *url.URL // of PlugFn; nil: not known
	audit     *audit
	log       zerolog.Logger
	now       func() time.Time
}

// endpointInput asks for an endpoint.
type endpointInput struct {
	Provider, UserID, ConnectionID, Name, URL string

	Webhooks json.RawMessage
	Secret   providers.Secret // zero: one is made, unless Later
	Later    bool             // the provider makes the secret, once it has the URL
}

// endpointKept is a record with its place in the bucket.
type endpointKept struct {
	endpointRecord
	revision uint64
}

// create makes an endpoint. It returns the secret where it made that, too.
func (e *endpoints) create(ctx context.Context, in endpointInput) (endpointRecord, providers.Secret, error) {
	w, err := e.checkNew(ctx, &in)
	if err != nil {
		return endpointRecord{}, providers.Secret{}, err
	}
	made, err := e.chooseSecret(in.Provider, w, &in.Secret, in.Later)
	if err != nil {
		return endpointRecord{}, providers.Secret{}, err
	}
	now := e.now().UTC()
	r := endpointRecord{
		Provider: in.Provider, UserID: in.UserID, ConnectionID: in.ConnectionID, Name: in.Name,
		URL: in.URL, Webhooks: in.Webhooks, CreatedAt: now, UpdatedAt: now,
	}
	var token string
	r.ID, token = endpoint.New()
	if r.Token, err = e.keys.sealAt([]byte(token), r.place(fieldEndpointToken)); err != nil {
		return endpointRecord{}, providers.Secret{}, err
	}
	if !in.Secret.IsZero() {
		if err := e.addSecret(&r, in.Secret, false); err != nil {
			return endpointRecord{}, providers.Secret{}, err
		}
	}
	if r.State = r.settled(); waits(w) {
		r.State = endpoint.Pending
	}
	if err := e.write(ctx, &r, 0); err != nil {
		return endpointRecord{}, providers.Secret{}, err
	}
	e.note(ctx, &r, auditEndpointCreated)
	return r, made, nil
}

// addSecret puts a secret in front of the others.
func (e *endpoints) addSecret(r *endpointRecord, secret providers.Secret, learned bool) error {
	r.trim(e.now())
	if len(r.Secrets) >= maxEndpointSecrets {
		return invalid("secret", "the endpoint has %d that are still good: let them end first", len(r.Secrets))
	}
	s := endpointSecret{ID: id.New("whs"), CreatedAt: e.now().UTC(), Learned: learned}
	plain := secret.Reveal()
	defer clear(plain)
	var err error
	s.Credential, err = e.keys.sealAt(plain, r.placeOfSecret(&s))
	r.Secrets = append([]endpointSecret{s}, r.Secrets...)
	return err
}

// write puts a record over the revision last, 0 for none. Where it has moved on,
// the error is errTaken.
func (e *endpoints) write(ctx context.Context, r *endpointRecord, last uint64) error {
	value, err := json.Marshal(r)
	if err != nil {
		return fmt.Errorf("encoding the endpoint: %w", err)
	}
	if last == 0 {
		_, err = e.kv.Create(ctx, r.key(), value)
	} else {
		_, err = e.kv.Update(ctx, r.key(), value, last)
	}
	switch {
	case errors.Is(err, jetstream.ErrKeyExists), errors.Is(err, jetstream.ErrKeyRevisionMismatch):
		return errTaken
	case err != nil:
		return fmt.Errorf("writing the endpoint: %w", err)
	}
	return nil
}

// find looks for the endpoint of that id. A user other than its own gets the
// same answer as for none at all; an empty user stands for any.
func (e *endpoints) find(ctx context.Context, user, endpointID string) (endpointKept, error) {
	var found endpointKept
	if endpointID == "" {
		return found, noSuchEndpoint()
	}
	err := scan(ctx, e.kv, anyToken(user)+".*."+events.Token(endpointID), func(entry jetstream.KeyValueEntry) bool {
		r, err := decodeEndpoint(entry.Key(), entry.Value())
		if err == nil && r.ID == endpointID && (user == "" || r.UserID == user) {
			found = endpointKept{r, entry.Revision()}
		}
		return found.ID == ""
	})
	if err == nil && found.ID == "" {
		err = noSuchEndpoint()
	}
	return found, err
}

// edit changes the endpoint of an id by compare-and-swap. change may be called
// again, on a later record.
func (e *endpoints) edit(ctx context.Context, user, endpointID string, change func(*endpointRecord) error) (endpointRecord, error) {
	for range maxTries {
		k, err := e.find(ctx, user, endpointID)
		if err != nil {
			return endpointRecord{}, err
		}
		next := k.endpointRecord
		next.Secrets = slices.Clone(next.Secrets)
		next.trim(e.now())
		if err := change(&next); err != nil {
			return endpointRecord{}, err
		}
		next.UpdatedAt = e.now().UTC()
		if err := e.write(ctx, &next, k.revision); !errors.Is(err, errTaken) {
			return next, err
		}
	}
	return endpointRecord{}, events.Errorf(events.CodeInternal, "the endpoint keeps changing; try again")
}

// rotate gives an endpoint a new secret, good at once. Those before it are good
// for the overlap. An endpoint that had none starts to take deliveries.
func (e *endpoints) rotate(ctx context.Context, user, endpointID string, secret providers.Secret, overlap time.Duration) (endpointRecord, providers.Secret, error) {
	var made providers.Secret
	r, err := e.edit(ctx, user, endpointID, func(r *endpointRecord) error {
		pack, ok := e.providers.Pack(r.Provider)
		if !ok || pack.Webhooks == nil {
			return unknownProvider(e.providers, r.Provider)
		}
		w, err := webhooksOf(e.providers, pack, r.Webhooks)
		if err != nil {
			return err
		}
		given := secret
		if made, err = e.chooseSecret(r.Provider, w, &given, false); err != nil {
			return err
		}
		r.retire(e.now().Add(overlap).UTC())
		if err := e.addSecret(r, given, false); err != nil {
			return err
		}
		if !waits(w) {
			r.Unconfirmed = false
			if r.State == endpoint.Pending {
				r.State = endpoint.Active
			}
		}
		return nil
	})
	if err != nil {
		return r, providers.Secret{}, err
	}
	e.note(ctx, &r, auditEndpointRotated)
	return r, made, nil
}

// pause has an endpoint answer as if there were none, or take deliveries again:
// one that the provider had not confirmed still waits for that.
func (e *endpoints) pause(ctx context.Context, user, endpointID string, paused bool) (endpointRecord, error) {
	r, err := e.edit(ctx, user, endpointID, func(r *endpointRecord) error {
		switch {
		case paused:
			r.Unconfirmed = r.Unconfirmed || r.State == endpoint.Pending
			r.State = endpoint.Paused
		case r.State == endpoint.Paused:
			r.State, r.Unconfirmed = r.settled(), false
		}
		return nil
	})
	if err == nil {
		e.note(ctx, &r, auditEndpointChanged)
	}
	return r, err
}

// endpointAmendment is what a person changes about an endpoint. nil leaves it as
// it is.
type endpointAmendment struct {
	Name, URL *string
	Webhooks  json.RawMessage
}

func (e *endpoints) amend(ctx context.Context, user, endpointID string, a endpointAmendment) (endpointRecord, error) {
	if a.Name == nil && a.URL == nil && a.Webhooks == nil {
		return endpointRecord{}, invalid("body", "change something: name, url or webhooks")
	}
	r, err := e.edit(ctx, user, endpointID, func(r *endpointRecord) error {
		if a.Name != nil {
			r.Name = *a.Name
		}
		if a.URL != nil {
			r.URL = *a.URL
		}
		if a.Webhooks != nil {
			r.Webhooks = a.Webhooks
		}
		pack, ok := e.providers.Pack(r.Provider)
		if !ok {
			return unknownProvider(e.providers, r.Provider)
		}
		if pack.Webhooks == nil {
			return invalid("provider", "%s sends no deliveries", pack.Name)
		}
		w, err := webhooksOf(e.providers, pack, r.Webhooks)
		if err := errors.Join(checkEndpointName(r.Name), checkEndpointURL(r.URL), err); err != nil {
			return firstError(err)
		}
		return e.checkSecrets(r, w)
	})
	if err == nil {
		e.note(ctx, &r, auditEndpointChanged)
	}
	return r, err
}

// delete removes an endpoint with its secrets.
func (e *endpoints) delete(ctx context.Context, user, endpointID string) (endpointRecord, error) {
	k, err := e.find(ctx, user, endpointID)
	if err != nil {
		return endpointRecord{}, err
	}
	if err := e.kv.Purge(ctx, k.key()); err != nil {
		return endpointRecord{}, fmt.Errorf("deleting the endpoint: %w", err)
	}
	e.note(ctx, &k.endpointRecord, auditEndpointDeleted)
	return k.endpointRecord, nil
}

// deleteOf removes the endpoints of a connection: what they receive is nobody's
// any more.
func (e *endpoints) deleteOf(ctx context.Context, user, connectionID string) error {
	if connectionID == "" {
		return nil
	}
	var keys []string
	err := scan(ctx, e.kv, events.Key(user, connectionID)+".*", func(entry jetstream.KeyValueEntry) bool {
		keys = append(keys, entry.Key())
		return true
	}, jetstream.MetaOnly())
	for _, key := range keys {
		err = errors.Join(err, e.kv.Purge(ctx, key))
	}
	if err != nil {
		return fmt.Errorf("deleting the endpoints of the connection: %w", err)
	}
	return nil
}

func (e *endpoints) note(ctx context.Context, r *endpointRecord, what string) {
	e.log.Info().Str("endpoint", r.ID).Str("provider", r.Provider).Str("state", string(r.State)).Str("change", what).Msg("endpoint changed")
	e.audit.note(context.WithoutCancel(ctx), newEntry(ctx, "endpoint_"+what, e.now(), r.owner()))
}

// lastDelivery is when a genuine delivery came last, to the minute; zero if none
// did within the age of the audit.
func (e *endpoints) lastDelivery(ctx context.Context, r *endpointRecord) time.Time {
	owner := r.owner()
	at, err := e.audit.lastOf(ctx, &owner, "endpoint_"+auditDelivered)
	if err != nil {
		e.log.Warn().Err(err).Str("endpoint", r.ID).Msg("last delivery not known")
	}
	return at
}

// noSuchEndpoint says so without one of the codes: none of these is about
// endpoints.
func noSuchEndpoint() error {
	return &problem{Title: "Not Found", Status: 404, Detail: "there is no such endpoint; see: plugfn webhook list"}
}
