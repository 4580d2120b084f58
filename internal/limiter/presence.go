package limiter

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/google/uuid"
	"github.com/nats-io/nats.go"

	"github.com/plugfn/plugfn/pkg/events"
)

const (
	// SubjectPresence is where those that share limits say that they are there.
	SubjectPresence = events.PrefixService + "limiter.presence"

	beat     = 2 * time.Second
	absent   = 3*beat + beat/2 // after which a replica counts as gone
	maxKnown = 10_000          // replicas
)

// Presence counts the processes that share limits, by a heartbeat on the bus.
// It is safe for concurrent use.
type Presence struct {
	conn *nats.Conn
	id   string

	mu    sync.Mutex
	count int
	seen  map[string]time.Time // :: replica → when it was last heard
}

// NewPresence makes a presence. It starts nothing.
func NewPresence(conn *nats.Conn) *Presence {
	return &Presence{conn: conn, id: uuid.NewString(), count: 1, seen: map[string]time.Time{}}
}

// Replicas is how many there are, this one among them. While the bus is away it
// is as many as were there before.
func (p *Presence) Replicas() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.count
}

// Run says that this process is there, and hears of the others, until ctx ends.
func (p *Presence) Run(ctx context.Context) error {
	sub, err := p.conn.Subscribe(SubjectPresence, func(m *nats.Msg) { p.hear(string(m.Data), time.Now()) })
	if err != nil {
		return fmt.Errorf("listening on %s: %w", SubjectPresence, err)
	}
	defer func() { _ = sub.Unsubscribe() }()
	ticker := time.NewTicker(beat)
	defer ticker.Stop()
	for {
		_ = p.conn.Publish(SubjectPresence, []byte(p.id)) // the bus is away: the next one
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
		}
	}
}

// hear notes a heartbeat. Only with one's own the others are counted anew: who
// does not hear himself is cut off.
func (p *Presence) hear(id string, now time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if _, known := p.seen[id]; !known && (len(id) != len(p.id) || len(p.seen) >= maxKnown) {
		return
	}
	p.seen[id] = now
	if id == p.id {
		for other, at := range p.seen {
			if now.Sub(at) > absent {
				delete(p.seen, other)
			}
		}
	}
	p.count = max(1, len(p.seen))
}
