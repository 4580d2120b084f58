package executor

import (
	"sync"
	"time"
)

// lonely is after how long without a call a connection does not count any more.
const lonely = time.Minute

// crowd knows whether several connections ask a provider. It is safe for
// concurrent use. The zero value knows of nobody.
type crowd struct {
	mu sync.Mutex
	of map[string]*pair // :: provider → the two that asked last
}

type pair struct {
	last, other     string
	lastAt, otherAt time.Time
}

// isAlone notes that a connection asks, and reports whether no other did of
// late.
func (c *crowd) isAlone(provider, connection string, now time.Time) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.of == nil {
		c.of = map[string]*pair{}
	}
	p := c.of[provider]
	if p == nil {
		p = &pair{}
		c.of[provider] = p
	}
	if p.last != connection {
		p.other, p.otherAt = p.last, p.lastAt
		p.last = connection
	}
	p.lastAt = now
	return p.other == "" || now.Sub(p.otherAt) > lonely
}
