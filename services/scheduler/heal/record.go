package heal

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/plugfn/plugfn/internal/bus"
	"github.com/plugfn/plugfn/pkg/events"
)

// Record is what healing one connection's deliveries has come to. It is in
// [bus.BucketHealing] under Key(provider, connection).
type Record struct {
	Provider     string    `json:"provider"`
	UserID       string    `json:"user_id"`
	ConnectionID string    `json:"connection_id"`
	RanAt        time.Time `json:"ran_at"`
	Error        string    `json:"error,omitempty"` // of the last run; "": none

	// Listed, Failed and Asked are those of the last run: attempts that were
	// listed, deliveries none of whose attempts succeeded, and for how many of them
	// another attempt was asked for.
	Listed int `json:"listed"`
	Failed int `json:"failed"`
	Asked  int `json:"asked"`
	// Gap says that the list did not reach back to the run before, so that
	// failures may not have been seen.
	Gap bool `json:"gap,omitempty"`

	// Recovered and Lost are those of all runs: deliveries that arrived after
	// they were asked for, and those that were given up.
	Recovered uint64 `json:"recovered"`
	Lost      uint64 `json:"lost"`

	// Settled is up to when failures are dealt with.
	Settled time.Time `json:"settled,omitzero"`
	// Open are the deliveries that were asked for or given up, for as long as
	// the provider may list them, :: delivery id → what was done.
	Open map[string]Step `json:"open,omitempty"`
}

// Step is what was done for a delivery.
type Step struct {
	At       time.Time `json:"at"`
	Failures int       `json:"failures"`       // attempts that had failed by then
	Lost     bool      `json:"lost,omitempty"` // it was given up
}

// maxOpen bounds the record. Beyond it nothing is asked until some are done.
const maxOpen = 2000

// store reads and writes records.
type store struct{ kv jetstream.KeyValue }

// read returns the record of a connection, an empty one where there is none, and
// its revision.
func (s store) read(ctx context.Context, c events.Connection) (Record, uint64, error) {
	r := Record{}
	entry, err := s.kv.Get(ctx, events.Key(c.Provider, c.ID))
	if err == nil {
		err = json.Unmarshal(entry.Value(), &r)
	}
	if err != nil && !errors.Is(err, jetstream.ErrKeyNotFound) {
		return r, 0, fmt.Errorf("reading what was healed: %w", err)
	}
	r.Provider, r.UserID, r.ConnectionID = c.Provider, c.UserID, c.ID
	if r.Open == nil {
		r.Open = map[string]Step{}
	}
	if entry == nil {
		return r, 0, nil
	}
	return r, entry.Revision(), nil
}

// write stores r unless somebody else has since revision.
func (s store) write(ctx context.Context, r Record, revision uint64) error {
	body, err := json.Marshal(r)
	if err == nil {
		_, err = s.kv.Update(ctx, events.Key(r.Provider, r.ConnectionID), body, revision) // 0: there must be none
	}
	if err != nil {
		return fmt.Errorf("storing what was healed: %w", err)
	}
	return nil
}

// Records returns what healing has come to, of one provider or, for "", of all.
func Records(ctx context.Context, js jetstream.JetStream, provider string) ([]Record, error) {
	kv, err := js.KeyValue(ctx, bus.BucketHealing)
	if err != nil {
		return nil, fmt.Errorf("opening what was healed: %w", err)
	}
	var all []Record
	err = each(ctx, kv, func(value []byte) {
		var r Record
		if json.Unmarshal(value, &r) == nil && (provider == "" || r.Provider == provider) {
			all = append(all, r)
		}
	})
	return all, err
}

// each calls do with the values that a bucket holds.
func each(ctx context.Context, kv jetstream.KeyValue, do func(value []byte)) error {
	return bus.Scan(ctx, kv, jetstream.AllKeys, func(entry jetstream.KeyValueEntry) bool {
		do(entry.Value())
		return true
	})
}
