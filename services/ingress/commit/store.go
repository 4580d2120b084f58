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

	// batchTimeout bounds a batch whose messages may wait for ever.
	batchTimeout = 10 * time.Second
)

// Store stores messages. It is safe for concurrent use.
type Store struct {
	Config
	recent recent

	mu      sync.Mutex
	waiting []*entry
	singles int  // under way
	batched bool // a batch is under way

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
		defer s.landed(false)
		return s.single(ctx, msg)
	}
	e := &entry{ctx: ctx, msg: msg, done: make(chan outcome, 1)}
	s.waiting = append(s.waiting, e)
	s.mu.Unlock()
	select {
	case o := <-e.done:
		return o.ack, o.err
	case <-ctx.Done():
		s.leave(e)
		return Ack{}, fmt.Errorf("waiting to be stored: %w", ctx.Err())
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

// landed says that something is not under way any more, and sends off what may
// go now.
func (s *Store) landed(batch bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if batch {
		s.batched = false
	} else {
		s.singles--
	}
	switch {
	case s.batched:
	case len(s.waiting) >= batchFrom:
		s.batched = true
		taken := s.take()
		s.flights.Go(func() {
			defer s.landed(true)
			s.batch(taken)
		})
	default:
		for len(s.waiting) > 0 && s.singles < maxSingles {
			e := s.waiting[0]
			s.waiting = s.waiting[1:]
			s.singles++
			s.flights.Go(func() {
				defer s.landed(false)
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
