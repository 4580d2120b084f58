package runs

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/rs/zerolog"

	"github.com/plugfn/plugfn/internal/bus"
	"github.com/plugfn/plugfn/pkg/events"
	"github.com/plugfn/plugfn/pkg/workflow"
)

// wait says which events a step of a run waits for. It is a value in a bucket.
type wait struct {
	User     string   `json:"user"`
	Workflow string   `json:"workflow"`
	Run      string   `json:"run"`
	ID       string   `json:"id"` // of the effect
	Provider string   `json:"provider"`
	Events   []string `json:"events"`         // as in [workflow.Names]
	Seen     uint64   `json:"seen,omitempty"` // events up to here came before the run
}

func waitKey(user, run, id string) string {
	key, _ := keyOf(user, run)
	return key + "." + letters(id)[:hashSize]
}

// waits are all waits of runs in memory: what the bucket has, a moment later.
type waits struct {
	*bus.Mirror
	store *store
	log   zerolog.Logger

	mu     sync.Mutex
	byFrom map[from]map[string]*wait // :: whose and what events → key in the bucket → who waits
	byKey  map[string]*wait
}

// from is the token of a user, a provider and the name of an event; those of names
// that end in * are together under that.
type from struct{ user, provider, name string }

// froms lists where a wait is found.
func (w *wait) froms() []from {
	all := make([]from, 0, len(w.Events))
	for _, name := range w.Events {
		if strings.HasSuffix(name, "*") {
			name = "*"
		}
		all = append(all, from{events.Token(w.User), w.Provider, name})
	}
	return all
}

func newWaits(store *store, log zerolog.Logger) *waits {
	w := &waits{store: store, log: log, byFrom: map[from]map[string]*wait{}, byKey: map[string]*wait{}}
	w.Mirror = bus.NewMirror(store.js, bus.BucketWaits, w.see, log)
	return w
}

// add stores a wait. To store it again is no harm.
func (w *waits) add(ctx context.Context, one wait) error {
	value, err := json.Marshal(one)
	if err != nil {
		return fmt.Errorf("encoding a wait of run %s: %w", one.Run, err)
	}
	_, err = w.store.write(ctx, bus.BucketWaits, waitKey(one.User, one.Run, one.ID), value, 0, 0, nil)
	if errors.Is(err, errTaken) {
		return nil // it is there, or was
	}
	return err
}

// markerAge is how long a wait that is removed leaves a mark of itself.
const markerAge = time.Hour

// remove deletes a wait that is known here; others are found out by the event that
// comes for them.
func (w *waits) remove(ctx context.Context, user, run, id string) error {
	key := waitKey(user, run, id)
	w.mu.Lock()
	_, known := w.byKey[key]
	w.mu.Unlock()
	if !known {
		return nil
	}
	kv, err := w.store.js.KeyValue(ctx, bus.BucketWaits)
	if err == nil {
		err = kv.Purge(ctx, key, jetstream.PurgeTTL(markerAge))
	}
	if err != nil {
		return fmt.Errorf("removing a wait of run %s: %w", run, err)
	}
	return nil
}

// forEvent returns who waits for an event, given its sequence. Those that were
// stored before the call are among them.
func (w *waits) forEvent(ctx context.Context, user, provider, name string, sequence uint64) ([]wait, error) {
	if err := w.CaughtUp(ctx); err != nil {
		return nil, err
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	named, rest := w.byFrom[from{user, provider, name}], w.byFrom[from{user, provider, "*"}]
	var all []wait
	for _, one := range named {
		if sequence > one.Seen {
			all = append(all, *one)
		}
	}
	for key, one := range rest {
		if named[key] == nil && sequence > one.Seen && workflow.Names(one.Events).Match(name) {
			all = append(all, *one)
		}
	}
	return all, nil
}

// see notes who waits at a key; nil: nobody any more.
func (w *waits) see(key string, value []byte) {
	var one wait
	if value != nil {
		if err := json.Unmarshal(value, &one); err != nil || waitKey(one.User, one.Run, one.ID) != key {
			w.log.Error().Str("key", key).Msg("wait of a run unreadable")
			one = wait{}
		}
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if old := w.byKey[key]; old != nil {
		for _, at := range old.froms() {
			delete(w.byFrom[at], key)
			if len(w.byFrom[at]) == 0 {
				delete(w.byFrom, at)
			}
		}
		delete(w.byKey, key)
	}
	if one.Run == "" {
		return
	}
	w.byKey[key] = &one
	for _, at := range one.froms() {
		if w.byFrom[at] == nil {
			w.byFrom[at] = map[string]*wait{}
		}
		w.byFrom[at][key] = &one
	}
}
