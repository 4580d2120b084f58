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

// askPatience is how long the server may take to say how far a bucket is.
const askPatience = 5 * time.Second

// Mirror lets a process keep in memory what a bucket holds, and wait until what
// others have stored is there.
type Mirror struct {
	js     jetstream.JetStream
	bucket string
	see    func(key string, value []byte)
	log    zerolog.Logger
	known  map[string]bool // the keys that see was told of

	asking chan struct{} // holds one while somebody asks for the last revision

	mu      sync.Mutex
	next    *asked // who comes now shares it; nil: nobody waits to ask
	whole   bool   // all that there was when the watch began was seen
	seen    uint64 // revision up to which all was seen
	waiting map[chan struct{}]uint64
}

// asked is one question for the last revision, for all who came before it was
// asked.
type asked struct {
	answered chan struct{} // closed when last and err are there
	last     uint64
	err      error
}

// NewMirror returns a Mirror that does nothing until Run. see is told of every
// record and of every change to one, in order for each key and by one goroutine;
// value is nil where the record is gone.
func NewMirror(js jetstream.JetStream, bucket string, see func(key string, value []byte), log zerolog.Logger) *Mirror {
	return &Mirror{js: js, bucket: bucket, see: see, log: log, known: map[string]bool{}, asking: make(chan struct{}, 1), waiting: map[chan struct{}]uint64{}}
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
// was seen. Many may call it at once: they share what they ask of the server.
func (m *Mirror) CaughtUp(ctx context.Context) error {
	now, err := m.ask(ctx)
	if err != nil {
		return err
	}
	arrived := m.await(now)
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

// ask is the last revision at a time after the call.
func (m *Mirror) ask(ctx context.Context) (uint64, error) {
	m.mu.Lock()
	a, first := m.next, m.next == nil
	if first {
		a = &asked{answered: make(chan struct{})}
		m.next = a
	}
	m.mu.Unlock()
	if first {
		m.asking <- struct{}{}
		m.mu.Lock()
		m.next = nil // who comes from here on may be later than the answer
		m.mu.Unlock()
		asking, cancel := context.WithTimeout(context.WithoutCancel(ctx), askPatience) // for others, too
		a.last, a.err = m.last(asking)
		cancel()
		<-m.asking
		close(a.answered)
	}
	select {
	case <-a.answered:
		return a.last, a.err
	case <-ctx.Done():
		return 0, fmt.Errorf("looking at bucket %s: %w", m.bucket, ctx.Err())
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
