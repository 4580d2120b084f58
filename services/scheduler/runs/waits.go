package runs

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
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
	User     string         `json:"user"`
	Workflow string         `json:"workflow"`
	Run      string         `json:"run"`
	ID       string         `json:"id"` // of the effect
	Provider string         `json:"provider"`
	Events   workflow.Names `json:"events"`
	Seen     uint64         `json:"seen,omitempty"` // events up to here came before the run
}

func waitKey(user, run, id string) string {
	key, _ := keyOf(user, run)
	return key + "." + letters(id)[:hashSize]
}

// waits are all waits of runs in memory: what the bucket has, a moment later.
type waits struct {
	store *store
	log   zerolog.Logger

	mu     sync.Mutex
	byFrom map[from]map[string]*wait // :: whose and what events → key in the bucket → who waits
	byKey  map[string]*wait
	seen   uint64        // revision up to which all is known
	grown  chan struct{} // closed when seen has grown

	asking   sync.Mutex
	asked    uint64 // turns of asking that have begun
	answered uint64 // those that have been answered
	last     uint64 // by the last of those
}

type from struct{ user, provider string }

func newWaits(store *store, log zerolog.Logger) *waits {
	return &waits{store: store, log: log, byFrom: map[from]map[string]*wait{}, byKey: map[string]*wait{}, grown: make(chan struct{})}
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
	if err := w.catchUp(ctx); err != nil {
		return nil, err
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	var all []wait
	for _, one := range w.byFrom[from{user, provider}] {
		if sequence > one.Seen && one.Events.Match(name) {
			all = append(all, *one)
		}
	}
	return all, nil
}

// catchUp waits until all is known that was stored before the call. One question
// serves all who wait for it.
func (w *waits) catchUp(ctx context.Context) error {
	last, err := w.lastRevision(ctx)
	if err != nil {
		return err
	}
	for {
		w.mu.Lock()
		seen, grown := w.seen, w.grown
		w.mu.Unlock()
		if seen >= last {
			return nil
		}
		select {
		case <-grown:
		case <-ctx.Done():
			return fmt.Errorf("the waits of runs are not all known yet: %w", ctx.Err())
		}
	}
}

// lastRevision is the last revision of the bucket, asked for after the call began.
func (w *waits) lastRevision(ctx context.Context) (uint64, error) {
	w.mu.Lock()
	mine := w.asked + 1 // the next question, that is not under way
	w.mu.Unlock()
	w.asking.Lock()
	defer w.asking.Unlock()
	w.mu.Lock()
	if w.answered >= mine {
		defer w.mu.Unlock()
		return w.last, nil
	}
	w.asked++
	turn := w.asked
	w.mu.Unlock()
	stream, err := w.store.js.Stream(ctx, "KV_"+bus.BucketWaits)
	if err != nil {
		return 0, fmt.Errorf("asking how many waits of runs there are: %w", err)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.answered, w.last = turn, stream.CachedInfo().State.LastSeq
	return w.last, nil
}

// run follows the bucket until ctx ends.
func (w *waits) run(ctx context.Context) {
	const pause = time.Second
	for {
		err := w.follow(ctx)
		if ctx.Err() != nil {
			return
		}
		w.log.Warn().Err(err).Msg("waits of runs not followed, trying again")
		select {
		case <-ctx.Done():
		case <-time.After(pause):
		}
	}
}

func (w *waits) follow(ctx context.Context) error {
	kv, err := w.store.js.KeyValue(ctx, bus.BucketWaits)
	if err != nil {
		return err
	}
	// What is there by now may be gone, so that the last revision is never seen.
	before, err := w.lastRevision(ctx)
	if err != nil {
		return err
	}
	watched, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	watcher, err := kv.WatchAll(watched)
	if err != nil {
		return err
	}
	defer func() { _ = watcher.Stop() }()
	first := map[string]bool{} // the keys in the bucket; nil once all are known
	for {
		select {
		case <-ctx.Done():
			return nil
		case entry, open := <-watcher.Updates():
			switch {
			case !open:
				return errors.New("the watch has ended")
			case entry == nil:
				w.keepOnly(first)
				first = nil
				w.know(before)
			default:
				if first != nil {
					first[entry.Key()] = true
				}
				w.apply(entry)
			}
		}
	}
}

func (w *waits) apply(entry jetstream.KeyValueEntry) {
	var one wait
	if entry.Operation() == jetstream.KeyValuePut {
		if err := json.Unmarshal(entry.Value(), &one); err != nil || waitKey(one.User, one.Run, one.ID) != entry.Key() {
			w.log.Error().Uint64("revision", entry.Revision()).Msg("wait of a run unreadable")
			one = wait{}
		}
	}
	w.mu.Lock()
	w.set(entry.Key(), &one)
	w.mu.Unlock()
	w.know(entry.Revision())
}

// set notes who waits at a key; nobody where one has no run.
func (w *waits) set(key string, one *wait) {
	if old := w.byKey[key]; old != nil {
		at := from{events.Token(old.User), old.Provider}
		delete(w.byFrom[at], key)
		if len(w.byFrom[at]) == 0 {
			delete(w.byFrom, at)
		}
		delete(w.byKey, key)
	}
	if one.Run == "" {
		return
	}
	at := from{events.Token(one.User), one.Provider}
	if w.byFrom[at] == nil {
		w.byFrom[at] = map[string]*wait{}
	}
	w.byFrom[at][key], w.byKey[key] = one, one
}

// keepOnly forgets what is not in the bucket any more.
func (w *waits) keepOnly(keys map[string]bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for key := range w.byKey {
		if !keys[key] {
			w.set(key, &wait{})
		}
	}
}

// know notes that all is known up to a revision: they come in their order.
func (w *waits) know(revision uint64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if revision <= w.seen {
		return
	}
	w.seen = revision
	close(w.grown)
	w.grown = make(chan struct{})
}
