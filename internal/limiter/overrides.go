package limiter

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"sync"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/rs/zerolog"

	"github.com/plugfn/plugfn/pkg/events"
	"github.com/plugfn/plugfn/pkg/providers"
)

// Override is what the operator sets in place of a pack's limit.
type Override struct {
	Provider string         `json:"provider"`
	Limit    string         `json:"limit"` // ID
	Rate     providers.Rate `json:"rate,omitzero"`
	Burst    int            `json:"burst,omitempty"`       // 0: as for a pack that writes none
	Most     int            `json:"concurrency,omitempty"` // in place of a rate
}

// key is where an override is kept.
func (o Override) key() string { return events.Key(o.Provider, o.Limit) }

// Overrides are the overrides in a bucket ([bus.BucketLimits]). Once Run runs
// they are at hand. It is safe for concurrent use.
type Overrides struct {
	kv  jetstream.KeyValue
	log zerolog.Logger

	mu  sync.RWMutex
	all map[string]Override // :: key → override
}

// NewOverrides reads overrides from kv. It starts nothing.
func NewOverrides(kv jetstream.KeyValue, log zerolog.Logger) *Overrides {
	return &Overrides{kv: kv, log: log, all: map[string]Override{}}
}

// Of returns the override of a limit, if there is one.
func (o *Overrides) Of(provider, limit string) (Override, bool) {
	o.mu.RLock()
	defer o.mu.RUnlock()
	have, ok := o.all[Override{Provider: provider, Limit: limit}.key()]
	return have, ok
}

// All returns all of them, in no order.
func (o *Overrides) All() []Override {
	o.mu.RLock()
	defer o.mu.RUnlock()
	all := make([]Override, 0, len(o.all))
	for have := range maps.Values(o.all) {
		all = append(all, have)
	}
	return all
}

// Run keeps the overrides at what the bucket has, until ctx ends. While the bus
// is away they stay as they were.
func (o *Overrides) Run(ctx context.Context) error {
	const pause = time.Second
	for {
		err := o.follow(ctx, false)
		if ctx.Err() != nil {
			return nil
		}
		o.log.Warn().Err(err).Msg("overrides of limits not followed, trying again")
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(pause):
		}
	}
}

// Load reads the overrides once.
func (o *Overrides) Load(ctx context.Context) error { return o.follow(ctx, true) }

// follow applies what is there and, unless once, what comes.
func (o *Overrides) follow(ctx context.Context, once bool) error {
	watcher, err := o.kv.WatchAll(context.WithoutCancel(ctx)) // stopped below: one whose context ends early never closes
	if err != nil {
		return fmt.Errorf("watching %s: %w", o.kv.Bucket(), err)
	}
	defer func() {
		_ = watcher.Stop()            // fails only where it has stopped already
		for range watcher.Updates() { // until it is closed
		}
	}()
	first := map[string]Override{} // nil once all that was there is known
	for {
		select {
		case entry, open := <-watcher.Updates():
			switch {
			case !open:
				return fmt.Errorf("watching %s: it broke off", o.kv.Bucket())
			case entry == nil:
				o.mu.Lock()
				o.all, first = first, nil
				o.mu.Unlock()
				if once {
					return nil
				}
			case first != nil:
				o.apply(entry, first)
			default:
				o.mu.Lock()
				o.apply(entry, o.all)
				o.mu.Unlock()
			}
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// apply puts an entry into all. What cannot be read sets nothing.
func (o *Overrides) apply(entry jetstream.KeyValueEntry, all map[string]Override) {
	delete(all, entry.Key())
	if entry.Operation() != jetstream.KeyValuePut {
		return
	}
	var have Override
	if err := json.Unmarshal(entry.Value(), &have); err != nil || have.key() != entry.Key() || have.check() != nil {
		o.log.Error().Str("key", entry.Key()).Msg("override of a limit cannot be read")
		return
	}
	all[entry.Key()] = have
}

func (o Override) check() error {
	if (o.Rate.Count > 0) == (o.Most > 0) || o.Burst < 0 {
		return errors.New("an override sets a rate or a concurrency, above zero")
	}
	return o.Rate.Check()
}

// Set stores an override; all executors follow it.
func (o *Overrides) Set(ctx context.Context, over Override) error {
	if err := over.check(); err != nil {
		return err
	}
	value, err := json.Marshal(over)
	if err != nil {
		return fmt.Errorf("writing the override: %w", err)
	}
	if _, err := o.kv.Put(ctx, over.key(), value); err != nil {
		return fmt.Errorf("storing the override: %w", err)
	}
	return nil
}

// Unset removes the override of a limit, "" for all of the provider, and
// returns how many there were.
func (o *Overrides) Unset(ctx context.Context, provider, limit string) (int, error) {
	if err := o.Load(ctx); err != nil {
		return 0, err
	}
	n := 0
	for _, have := range o.All() {
		if have.Provider != provider || limit != "" && have.Limit != limit {
			continue
		}
		if err := o.kv.Purge(ctx, have.key()); err != nil {
			return n, fmt.Errorf("removing the override: %w", err)
		}
		n++
	}
	return n, nil
}
