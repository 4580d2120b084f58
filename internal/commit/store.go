package commit

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// Config says where a Store stores.
type Config struct {
	JetStream jetstream.JetStream
	// Grouped says that messages which wait together share a write. It pays
	// where the stream syncs every write; elsewhere messages are cheaper singly.
	// All messages of a grouped Store belong to one stream, which takes atomic
	// batches.
	Grouped bool
}

// The bounds of what is under way at once.
const (
	// batchFrom is how many messages a batch is worth: below, it took longer
	// than storing them singly (measured; see docs/decisions/0010).
	batchFrom  = 12
	maxSingles = batchFrom
	maxBatch   = 512 // a server takes 1,000
	batchBytes = 8 << 20

	// gathered is up to how many messages are worth a pause after a batch: a
	// batch costs the same whether it has twelve messages or this many, and a
	// larger one costs by the message.
	gathered = 64
	// pauseShare is the longest pause, as a share of what the batch before took.
	pauseShare = 2
	maxPause   = 20 * time.Millisecond

	// batchTimeout bounds a batch whose messages may wait for ever.
	batchTimeout = 10 * time.Second
)

// Store stores messages. It is safe for concurrent use.
type Store struct {
	Config
	recent recent

	mu      sync.Mutex
	waiting []*entry
	singles int         // under way
	batched bool        // a batch is under way, or the pause after it
	wanted  int         // this many end the pause
	pause   *time.Timer // nil: there is none

	flights sync.WaitGroup
}

// entry is a message that waits for its turn.
type entry struct {
	ctx  context.Context //nolint:containedctx // of the one call that waits for this entry
	msg  *nats.Msg
	done chan outcome // takes one without waiting
}

type outcome struct {
	ack Ack
	err error
}

// Ack says where the stream has a message.
type Ack struct {
	Sequence  uint64 // of the first one with its Nats-Msg-Id
	Duplicate bool   // it was there before
}

// New makes a Store.
func New(cfg Config) (*Store, error) {
	if cfg.JetStream == nil {
		return nil, errors.New("commit: JetStream is needed")
	}
	return &Store{Config: cfg}, nil
}

// Publish stores msg and returns once the stream has acknowledged it; also when
// the stream had it before. It does not change msg.
//
// After any error but an [jetstream.APIError] the message may be stored, or may
// still become so: publish it again, with the same Nats-Msg-Id.
func (s *Store) Publish(ctx context.Context, msg *nats.Msg) (Ack, error) {
	if !s.Grouped {
		return s.single(ctx, msg)
	}
	s.mu.Lock()
	if !s.batched && s.singles < maxSingles && len(s.waiting) == 0 {
		s.singles++
		s.mu.Unlock()
		defer s.landed()
		return s.single(ctx, msg)
	}
	e := &entry{ctx: ctx, msg: msg, done: make(chan outcome, 1)}
	s.enqueue(e)
	s.mu.Unlock()
	select {
	case o := <-e.done:
		return o.ack, o.err
	case <-ctx.Done():
		s.leave(e)
		return Ack{}, fmt.Errorf("waiting to be stored: %w", ctx.Err())
	}
}

// enqueue has e wait for its turn.
func (s *Store) enqueue(e *entry) {
	s.waiting = append(s.waiting, e)
	if s.pause != nil && len(s.waiting) >= s.wanted {
		s.resume()
	}
}

// Wait returns when nothing is under way any more. Nothing may be published
// after it is called.
func (s *Store) Wait() { s.flights.Wait() }

// leave takes e out of those that wait, if it still does.
func (s *Store) leave(e *entry) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for i, w := range s.waiting {
		if w == e {
			s.waiting = append(s.waiting[:i], s.waiting[i+1:]...)
			return
		}
	}
}

// landed says that a message is not under way any more, and sends off what may go
// now.
func (s *Store) landed() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.singles--
	s.next()
}

// batchLanded says that a batch of n messages is not under way any more. If it was
// small and those that it answered may be back at once, they get the time to
// share the next one with those that wait.
func (s *Store) batchLanded(n int, took time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.wanted = n + len(s.waiting)
	if len(s.waiting) == 0 || s.wanted > gathered {
		s.batched = false
		s.next()
		return
	}
	s.flights.Add(1)
	s.pause = time.AfterFunc(min(took/pauseShare, maxPause), func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.resume()
	})
}

// resume ends the pause, if there is one. (A timer that was stopped too late ends
// the next one early, which does no harm.)
func (s *Store) resume() {
	if s.pause == nil {
		return
	}
	s.pause.Stop()
	s.pause, s.batched = nil, false
	s.next()
	s.flights.Done()
}

// next sends off what may go now.
func (s *Store) next() {
	switch {
	case s.batched:
	case len(s.waiting) >= batchFrom:
		s.batched = true
		taken := s.take()
		s.flights.Go(func() {
			began := time.Now()
			s.batch(taken)
			s.batchLanded(len(taken), time.Since(began))
		})
	default:
		for len(s.waiting) > 0 && s.singles < maxSingles {
			e := s.waiting[0]
			s.waiting = s.waiting[1:]
			s.singles++
			s.flights.Go(func() {
				defer s.landed()
				e.settle(s.single(e.ctx, e.msg))
			})
		}
	}
}

// take returns those that wait, as many as fit into a batch.
func (s *Store) take() []*entry {
	n, size := 0, 0
	for n < len(s.waiting) && n < maxBatch {
		size += s.waiting[n].msg.Size()
		if n > 0 && size > batchBytes {
			break
		}
		n++
	}
	taken := s.waiting[:n:n]
	s.waiting = append([]*entry(nil), s.waiting[n:]...)
	return taken
}

func (e *entry) settle(ack Ack, err error) { e.done <- outcome{ack, err} }
