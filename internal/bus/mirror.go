package bus

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/rs/zerolog"
)

// Mirror lets a process keep in memory what a bucket holds, and wait until what
// others have stored is there.
type Mirror struct {
	js     jetstream.JetStream
	bucket string
	see    func(key string, value []byte)
	log    zerolog.Logger
	known  map[string]bool // the keys that see was told of

	mu      sync.Mutex
	whole   bool   // all that there was when the watch began was seen
	seen    uint64 // revision up to which all was seen
	waiting map[chan struct{}]uint64
}

// NewMirror returns a Mirror that does nothing until Run. see is told of every
// record and of every change to one, in order for each key and by one goroutine;
// value is nil where the record is gone.
func NewMirror(js jetstream.JetStream, bucket string, see func(key string, value []byte), log zerolog.Logger) *Mirror {
	return &Mirror{js: js, bucket: bucket, see: see, log: log, known: map[string]bool{}, waiting: map[chan struct{}]uint64{}}
}

// Run follows the bucket until ctx ends; where that breaks off it begins again.
// Called once more after its end it goes on with what see was told of before.
func (m *Mirror) Run(ctx context.Context) error {
	const pause = time.Second
	for {
		err := m.follow(ctx)
		if ctx.Err() != nil {
			return nil
		}
		m.log.Warn().Err(err).Str("bucket", m.bucket).Msg("bucket not followed, trying again")
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(pause):
		}
	}
}

// CaughtUp waits until everything that was stored in the bucket before the call
// was seen.
func (m *Mirror) CaughtUp(ctx context.Context) error {
	last, err := m.last(ctx)
	if err != nil {
		return err
	}
	arrived := m.await(last)
	if arrived == nil {
		return nil
	}
	select {
	case <-arrived:
		return nil
	case <-ctx.Done():
		m.mu.Lock()
		defer m.mu.Unlock()
		delete(m.waiting, arrived)
		return fmt.Errorf("waiting for bucket %s: %w", m.bucket, ctx.Err())
	}
}

// await is closed once the revision was seen; nil: it was.
func (m *Mirror) await(revision uint64) chan struct{} {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.whole && m.seen >= revision {
		return nil
	}
	arrived := make(chan struct{})
	m.waiting[arrived] = revision
	return arrived
}

func (m *Mirror) advance(revision uint64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.seen = max(m.seen, revision)
	if !m.whole {
		return
	}
	for arrived, wanted := range m.waiting {
		if wanted <= m.seen {
			close(arrived)
			delete(m.waiting, arrived)
		}
	}
}

func (m *Mirror) settle(whole bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.whole = whole
}

// last is the revision of the latest change.
func (m *Mirror) last(ctx context.Context) (uint64, error) {
	stream, err := m.js.Stream(ctx, bucketPrefix+m.bucket)
	if err != nil {
		return 0, fmt.Errorf("looking at bucket %s: %w", m.bucket, err)
	}
	return stream.CachedInfo().State.LastSeq, nil
}

func (m *Mirror) follow(ctx context.Context) error {
	m.settle(false)
	kv, err := m.js.KeyValue(ctx, m.bucket)
	if err != nil {
		return fmt.Errorf("opening bucket %s: %w", m.bucket, err)
	}
	// The last revision may be of a record that is not there any more.
	before, err := m.last(ctx)
	if err != nil {
		return err
	}
	// The watch has a context of its own, which ends after it: a watcher whose
	// context ends while it is being made never closes its channel.
	watcher, err := kv.WatchAll(context.WithoutCancel(ctx))
	if err != nil {
		return fmt.Errorf("watching bucket %s: %w", m.bucket, err)
	}
	defer endWatch(watcher)
	fresh := map[string]bool{} // nil once all that there was is seen
	for {
		select {
		case entry, open := <-watcher.Updates():
			switch {
			case !open:
				return errors.New("watching bucket " + m.bucket + ": it broke off")
			case entry == nil:
				m.drop(fresh)
				fresh = nil
				m.settle(true)
				m.advance(before)
			default:
				m.apply(entry, fresh)
			}
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func (m *Mirror) apply(entry jetstream.KeyValueEntry, fresh map[string]bool) {
	key := entry.Key()
	if entry.Operation() == jetstream.KeyValuePut {
		m.known[key] = true
		if fresh != nil {
			fresh[key] = true
		}
		m.see(key, entry.Value())
	} else if m.known[key] {
		delete(m.known, key)
		m.see(key, nil)
	}
	m.advance(entry.Revision())
}

// drop tells of the records that went away while nobody followed.
func (m *Mirror) drop(fresh map[string]bool) {
	for key := range m.known {
		if !fresh[key] {
			delete(m.known, key)
			m.see(key, nil)
		}
	}
}
