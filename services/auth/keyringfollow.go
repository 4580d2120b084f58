package auth

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

const (
	// readersKey is where every process says which generation it has in use.
	readersKey = "readers"

	readerPatience = 10 * time.Second
	readerTimeout  = 5 * time.Second // of saying so
	followEvery    = 2 * time.Second // how often what failed is tried again
	maxReaders     = 256             // beyond, the oldest are those of processes that were killed
)

// reader is what a process says of itself.
type reader struct {
	Generation uint64    `json:"generation"`
	Host       string    `json:"host"`
	PID        int       `json:"pid"`
	Fault      string    `json:"fault,omitempty"` // why it has no newer one
	At         time.Time `json:"at"`              // when it said so
}

func (r reader) String() string { return fmt.Sprintf("process %d on %s", r.PID, r.Host) }

// has reports whether a process uses a generation, or a newer one.
func (r reader) has(generation uint64) bool { return r.Generation >= generation && r.Fault == "" }

// follow takes each generation of the keys into use as it comes, and says so,
// until ctx ends. Whoever changes the keys waits for that.
func (k *Keys) follow(ctx context.Context) {
	defer k.leave(context.WithoutCancel(ctx))
	for ctx.Err() == nil {
		if err := k.watch(ctx); err != nil {
			k.cfg.Log.Error().Err(err).Msg("encryption keys not followed")
		}
		select {
		case <-ctx.Done():
		case <-time.After(followEvery):
		}
	}
}

// watch follows the record of the keyset until ctx or the watcher ends.
func (k *Keys) watch(ctx context.Context) error {
	watched, cancel := context.WithCancel(context.WithoutCancel(ctx)) // see scan
	defer cancel()
	watcher, err := k.bucket.Watch(watched, keysetKey)
	if err != nil {
		return fmt.Errorf("watching the keyset record: %w", err)
	}
	defer endWatch(watcher)
	var said reader
	var latest jetstream.KeyValueEntry
	for {
		wait, stop := context.WithTimeout(ctx, followEvery)
		select {
		case entry, open := <-watcher.Updates():
			stop()
			switch {
			case !open:
				return errors.New("watching the keyset record: cut short")
			case entry != nil:
				latest = entry
				said = k.follows(ctx, latest, said)
			}
		case <-wait.Done():
			stop()
			switch {
			case ctx.Err() != nil:
				return nil
			case said.Fault != "":
				said = k.follows(ctx, latest, said)
			}
		}
	}
}

// follows takes the generation of an entry into use and says how that went,
// unless it was said already. It does not ask the bus for the entry again, which
// may answer with an older one.
func (k *Keys) follows(ctx context.Context, latest jetstream.KeyValueEntry, said reader) reader {
	ctx, cancel := context.WithTimeout(ctx, readerTimeout)
	defer cancel()
	r, err := decodeKeyRecord(latest.Value()) // a deleted one has none
	if err == nil {
		err = k.take(ctx, r)
	}
	now := k.myself(err)
	if now == said || ctx.Err() != nil {
		return said
	}
	log := k.cfg.Log.With().Uint64("generation", now.Generation).Logger()
	if now.Fault != "" {
		log.Error().Str("fault", now.Fault).Msg("encryption keys not reloaded: those in use stay in use")
	}
	err = k.tell(ctx, func(all map[string]reader) {
		entry := now
		entry.At = k.cfg.Now().UTC()
		all[k.reader] = entry
	})
	if err != nil {
		log.Error().Err(err).Msg("encryption keys in use, but nobody was told")
		return reader{Fault: "not said"} // it is tried again
	}
	if now.Fault == "" {
		log.Info().Uint32("primary", k.current.Load().record.primary()).Msg("encryption keys in use")
	}
	return now
}

// myself says which generation this process has, and why it has no newer one.
func (k *Keys) myself(err error) reader {
	host, _ := os.Hostname() // only a name for people
	used := k.current.Load()
	now := reader{Generation: used.record.Generation, Host: host, PID: os.Getpid()}
	switch {
	case err != nil:
		now.Fault = err.Error()
	case len(used.missing) > 0:
		now.Fault = fmt.Sprintf("its copy of the keyset file has no key %d", used.missing[0])
	}
	return now
}

// leave says that this process does not use the keys any more.
func (k *Keys) leave(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, readerTimeout)
	defer cancel()
	if err := k.tell(ctx, func(all map[string]reader) { delete(all, k.reader) }); err != nil {
		k.cfg.Log.Debug().Err(err).Msg("reader of encryption keys not removed: the next rotation waits for it in vain")
	}
}

// tell changes what is said of the processes, by compare-and-swap.
func (k *Keys) tell(ctx context.Context, edit func(map[string]reader)) error {
	for {
		var all map[string]reader
		entry, err := k.bucket.Get(ctx, readersKey)
		switch {
		case err == nil:
			all = decodeReaders(entry.Value())
		case errors.Is(err, jetstream.ErrKeyNotFound):
			all = map[string]reader{}
		default:
			return fmt.Errorf("reading who uses the keys: %w", err)
		}
		edit(all)
		forgetOldest(all)
		value, err := json.Marshal(all)
		if err != nil {
			return fmt.Errorf("encoding who uses the keys: %w", err)
		}
		if entry == nil {
			_, err = k.bucket.Create(ctx, readersKey, value)
		} else {
			_, err = k.bucket.Update(ctx, readersKey, value, entry.Revision())
		}
		switch {
		case err == nil:
			return nil
		case !errors.Is(err, jetstream.ErrKeyExists) && !errors.Is(err, jetstream.ErrKeyRevisionMismatch):
			return fmt.Errorf("writing who uses the keys: %w", err)
		}
	}
}

// decodeReaders reads what the processes say. What is damaged is said anew.
func decodeReaders(value []byte) map[string]reader {
	all := map[string]reader{}
	if json.Unmarshal(value, &all) != nil || all == nil {
		return map[string]reader{}
	}
	return all
}

// forgetOldest keeps the list within its bound.
func forgetOldest(all map[string]reader) {
	for len(all) > maxReaders {
		oldest := ""
		for name, r := range all {
			if oldest == "" || r.At.Before(all[oldest].At) {
				oldest = name
			}
		}
		delete(all, oldest)
	}
}

// await waits until every other process has a generation in use. One that says
// why it cannot is an error, a keyRefusal. One that says nothing for as long as
// patience is taken to have been killed, and forgotten; should it live after
// all, it finds a newer key by itself when it needs it (see catchUp).
func (k *Keys) await(ctx context.Context, generation uint64) error {
	waiting, cancel := context.WithTimeout(context.WithoutCancel(ctx), k.patience) // see scan
	defer cancel()
	watcher, err := k.bucket.Watch(waiting, readersKey)
	if err != nil {
		return fmt.Errorf("waiting for the other processes: %w", err)
	}
	defer endWatch(watcher)
	var late map[string]reader
	for {
		select {
		case entry, open := <-watcher.Updates():
			switch {
			case !open:
				return k.giveUp(ctx, late)
			case entry != nil:
				late = k.late(entry, generation)
			}
			if len(late) == 0 { // also where nobody has said anything yet
				return nil
			}
		case <-waiting.Done():
			return k.giveUp(ctx, late)
		case <-ctx.Done():
			return fmt.Errorf("waiting for the other processes: %w", ctx.Err())
		}
	}
}

// late lists the other processes that do not have a generation.
func (k *Keys) late(entry jetstream.KeyValueEntry, generation uint64) map[string]reader {
	all := decodeReaders(entry.Value())
	delete(all, k.reader)
	for name, r := range all {
		if r.has(generation) {
			delete(all, name)
		}
	}
	return all
}

// giveUp forgets those that do not answer, unless one of them says that it
// cannot follow.
func (k *Keys) giveUp(ctx context.Context, late map[string]reader) error {
	for _, r := range late {
		if r.Fault != "" {
			return keyConflict("%s cannot use the new keys: %s; nothing is encrypted under them yet; mend it there and try again", r, r.Fault)
		}
	}
	for _, r := range late {
		k.cfg.Log.Warn().Str("host", r.Host).Int("pid", r.PID).Msg("reader of encryption keys does not answer: taken to have been killed")
	}
	return k.tell(ctx, func(all map[string]reader) {
		for name := range late {
			delete(all, name)
		}
	})
}
