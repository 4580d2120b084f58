package spool

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"strings"
	"sync"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/rs/zerolog"

	"github.com/plugfn/plugfn/internal/bus"
	"github.com/plugfn/plugfn/internal/commit"
)

// The headers of a message in the spool, beside its own.
const (
	headerSubject = "Spool-Subject" // where it is to be published
	headerID      = "Spool-Id"      // its Nats-Msg-Id there
)

// largeMessage is from how many bytes on messages are written one at a time: the
// server in this process has several copies of each while it is under way.
const largeMessage = 1 << 20

// ErrFull says that the spool has no room.
var ErrFull = errors.New("the spool is full")

// Config holds what a Spool needs.
type Config struct {
	Local jetstream.JetStream // that of a [bus.Spool]
	// Forward stores a message on the bus, and returns nil once it is stored. It
	// is called for messages of different keys at the same time.
	Forward func(context.Context, *nats.Msg) error
	Log     zerolog.Logger
}

// Spool is safe for concurrent use.
type Spool struct {
	Config
	store *commit.Store
	more  chan struct{} // holds one: there is something to forward
	large chan struct{} // holds one: a large message is being written

	mu      sync.Mutex
	loaded  bool
	away    bool           // the bus did not answer last
	backlog map[string]int // :: subject in the spool → messages there
	total   int
	keeping int    // calls of Keep under way
	kept    uint64 // calls of Keep so far
	broken  error  // the disk failed; it stays so
}

// New makes a Spool that takes nothing until Run has looked at what it has.
func New(cfg Config) (*Spool, error) {
	switch {
	case cfg.Local == nil:
		return nil, errors.New("spool: Local is needed")
	case cfg.Forward == nil:
		return nil, errors.New("spool: Forward is needed")
	}
	store, err := commit.New(commit.Config{JetStream: cfg.Local, Grouped: true})
	if err != nil {
		return nil, fmt.Errorf("spool: %w", err)
	}
	return &Spool{Config: cfg, store: store, more: make(chan struct{}, 1), large: make(chan struct{}, 1), backlog: map[string]int{}}, nil
}

// Takes reports whether an event of this key has to come here rather than go to
// the bus: others of its key are here, or the bus is away. An empty key stands
// for no order.
func (s *Spool) Takes(key string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.total > 0 && (s.away || key != "" && s.backlog[subject(key)] > 0)
}

// Away says that the bus did not answer. Until it does, all events go here.
func (s *Spool) Away() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.away = true
}

// Messages is how many messages are here.
func (s *Spool) Messages() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.total
}

// Keep returns once msg is on the disk. It is ErrFull when there is no room; any
// other error says that msg may be here or not. It does not change msg.
func (s *Spool) Keep(ctx context.Context, key string, msg *nats.Msg) error {
	if err := s.Ready(); err != nil {
		return err
	}
	if len(msg.Data) > largeMessage {
		select {
		case s.large <- struct{}{}:
			defer func() { <-s.large }()
		case <-ctx.Done():
			return fmt.Errorf("waiting to write to the spool: %w", ctx.Err())
		}
	}
	at := subject(key)
	s.began(at)
	_, err := s.store.Publish(ctx, wrap(at, msg))
	s.ended()
	if err == nil {
		s.wake()
		return nil
	}
	return s.failed(at, err)
}

// failed files an error of the disk. What ends in a time-out may be stored: it
// stays counted, until the forwarding finds what is there.
func (s *Spool) failed(at string, err error) error {
	var api *jetstream.APIError
	if !errors.As(err, &api) {
		s.wake()
		return fmt.Errorf("writing to the spool: %w", err)
	}
	s.left(at)
	if isFull(api) {
		return ErrFull
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.broken = fmt.Errorf("writing to the spool: %w", err)
	s.Log.Error().Err(err).Msg("the spool's disk fails: nothing is kept any more until a restart")
	return s.broken
}

// isFull tells a spool without room from a disk that fails. A server gives both
// the same code.
func isFull(err *jetstream.APIError) bool {
	return strings.Contains(err.Description, "maximum bytes exceeded") || strings.Contains(err.Description, "insufficient")
}

// Ready says why nothing can be kept now, nil when there is no reason known.
func (s *Spool) Ready() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.broken != nil {
		return s.broken
	}
	if !s.loaded {
		return errors.New("the spool is not read yet")
	}
	return nil
}

// began counts a message before it is here: the next one of its key must not
// pass it.
func (s *Spool) began(at string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.keeping++
	s.kept++
	s.total++
	s.backlog[at]++
}

func (s *Spool) ended() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.keeping--
}

// left says that a message is not here any more.
func (s *Spool) left(at string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.backlog[at] == 0 {
		return
	}
	s.total--
	if s.backlog[at]--; s.backlog[at] == 0 {
		delete(s.backlog, at)
	}
}

func (s *Spool) wake() {
	select {
	case s.more <- struct{}{}:
	default:
	}
}

// subject is where messages of a key are in the spool.
func subject(key string) string {
	if key == "" {
		return bus.PrefixSpool + "_"
	}
	sum := sha256.Sum256([]byte(key))
	return bus.PrefixSpool + hex.EncodeToString(sum[:16])
}

// wrap is msg as it is in the spool. The id there holds the body, too: whoever
// uses one id for two bodies is found out on the bus, not here.
func wrap(at string, msg *nats.Msg) *nats.Msg {
	const added = 2
	h := make(nats.Header, len(msg.Header)+added)
	maps.Copy(h, msg.Header)
	id := msg.Header.Get(jetstream.MsgIDHeader)
	h[headerSubject], h[headerID] = []string{msg.Subject}, []string{id}
	sum := sha256.Sum256(msg.Data)
	h[jetstream.MsgIDHeader] = []string{id + ":" + hex.EncodeToString(sum[:16])}
	return &nats.Msg{Subject: at, Header: h, Data: msg.Data}
}

// unwrap is the inverse of wrap.
func unwrap(raw *jetstream.RawStreamMsg) *nats.Msg {
	h := make(nats.Header, len(raw.Header))
	for name, values := range raw.Header {
		if !strings.HasPrefix(name, "Nats-") && name != headerSubject && name != headerID {
			h[name] = values
		}
	}
	h[jetstream.MsgIDHeader] = []string{raw.Header.Get(headerID)}
	return &nats.Msg{Subject: raw.Header.Get(headerSubject), Header: h, Data: raw.Data}
}
