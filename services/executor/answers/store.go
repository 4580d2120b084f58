package answers

import (
	"context"
	"crypto/rand"
	"time"
)

// Store keeps values for a while. It is safe for concurrent use. An error means
// that nothing is known: whoever gets one does without the store.
type Store interface {
	// Get returns the value of key, nil for none, and what stands at each mark:
	// the same each time until it is stamped. What was not stamped for a day may
	// change by itself, and then for good.
	Get(ctx context.Context, key string, marks []string) (value []byte, stamps []string, err error)
	// Put keeps value under key for ttl, at most a day, or until there is no room.
	Put(ctx context.Context, key string, value []byte, ttl time.Duration) error
	// Stamp has each mark differ from what stood there ever before.
	Stamp(ctx context.Context, marks []string) error
}

// MaxTTL is the longest that a value is kept. A stamp stays longer: when it is
// gone, so is every value that was kept before it.
const (
	MaxTTL   = 24 * time.Hour
	stampTTL = MaxTTL + time.Hour
)

// newStamp is a text that nobody has used before.
func newStamp() string { return rand.Text() }
