package auth

import (
	"encoding/json"
	"errors"
	"slices"
	"time"

	"github.com/plugfn/plugfn/internal/endpoint"
	"github.com/plugfn/plugfn/pkg/events"
)

const (
	maxEndpointSecrets = 10       // of one endpoint, those that are over not counted
	maxEndpoints       = 100      // of one connection, or of a user without one
	maxFragment        = 16 << 10 // bytes of a webhooks block
	maxEndpointURL     = 2 << 10  // bytes

	fieldEndpointToken = "token"
	fieldEndpointTrust = "ticket" // what a learned secret comes back with
)

// endpointRecord is the value of a key in the bucket of endpoints.
type endpointRecord struct {
	ID           string           `json:"id"`
	Provider     string           `json:"provider"`
	UserID       string           `json:"user_id"`
	ConnectionID string           `json:"connection_id,omitempty"` // "": the events are of no connection
	Name         string           `json:"name,omitempty"`          // the user's own word for it
	State        endpoint.State   `json:"state"`
	Unconfirmed  bool             `json:"unconfirmed,omitempty"` // while it is paused: it was pending before
	URL          string           `json:"url,omitempty"`         // as registered, where it is not our own; "": ours
	Webhooks     json.RawMessage  `json:"webhooks,omitempty"`    // what it adds to the block of the pack
	Secrets      []endpointSecret `json:"secrets"`
	CreatedAt    time.Time        `json:"created_at"`
	UpdatedAt    time.Time        `json:"updated_at"`
	Token        []byte           `json:"token"` // sealed
}

// endpointSecret is one of what the deliveries to an endpoint may be signed with.
type endpointSecret struct {
	ID         string    `json:"id"`
	NotAfter   time.Time `json:"not_after,omitzero"` // zero: for ever
	CreatedAt  time.Time `json:"created_at"`
	Learned    bool      `json:"learned,omitempty"` // the provider's handshake brought it
	Credential []byte    `json:"credential"`        // sealed
}

func (r *endpointRecord) key() string { return events.Key(r.UserID, r.ConnectionID, r.ID) }

// place is the associated data of what is sealed in r. Whose events the endpoint
// makes is part of it: nobody can give them to another user by rewriting what a
// record says in the clear.
func (r *endpointRecord) place(field string) []byte {
	return associatedData("endpoint", r.Provider, r.UserID, r.ConnectionID, r.ID, field)
}

func (r *endpointRecord) placeOfSecret(s *endpointSecret) []byte { return r.place("secret " + s.ID) }

// trim drops the secrets that are over.
func (r *endpointRecord) trim(now time.Time) {
	r.Secrets = slices.DeleteFunc(r.Secrets, func(s endpointSecret) bool {
		return !s.NotAfter.IsZero() && !s.NotAfter.After(now)
	})
}

// retire lets all secrets end at a time, unless they do so before.
func (r *endpointRecord) retire(at time.Time) {
	for i := range r.Secrets {
		if s := &r.Secrets[i]; s.NotAfter.IsZero() || s.NotAfter.After(at) {
			s.NotAfter = at
		}
	}
}

// settled is the state of an endpoint that is not paused.
func (r *endpointRecord) settled() endpoint.State {
	if len(r.Secrets) == 0 || r.Unconfirmed {
		return endpoint.Pending
	}
	return endpoint.Active
}

// takesSecret reports whether a handshake may bring a secret: one that a person
// has given is never joined by another.
func (r *endpointRecord) takesSecret() bool {
	return r.State == endpoint.Pending && len(r.Secrets) == 0
}

// owner names the endpoint in the audit.
func (r *endpointRecord) owner() events.Connection {
	return events.Connection{ID: r.ID, UserID: r.UserID, Provider: r.Provider}
}

// decodeEndpoint reads the record at key. One that was copied from another key
// is refused.
func decodeEndpoint(key string, value []byte) (endpointRecord, error) {
	var r endpointRecord
	if err := json.Unmarshal(value, &r); err != nil {
		return endpointRecord{}, errors.New("the endpoint is not JSON of the known form")
	}
	if r.ID == "" || r.key() != key {
		return endpointRecord{}, errors.New("the endpoint belongs to another key")
	}
	return r, nil
}

// endpointValues lists what is encrypted in a value of the bucket of endpoints.
func endpointValues(key string, value []byte) ([]sealedValue, error) {
	r, err := decodeEndpoint(key, value)
	if err != nil {
		return nil, err
	}
	values := []sealedValue{{r.Token, r.place(fieldEndpointToken)}}
	for _, s := range r.Secrets {
		values = append(values, sealedValue{s.Credential, r.placeOfSecret(&s)})
	}
	return values, nil
}
