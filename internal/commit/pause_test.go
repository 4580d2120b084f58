package commit

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nats-io/nats.go"
)

// TestPauseAfterSmallBatch: after a batch of 20, others wait for those 20 to be
// back, no longer than half of what the batch took.
func TestPauseAfterSmallBatch(t *testing.T) {
	tests := []struct {
		name                 string
		batch, waiting, more int
		took, pause          time.Duration
	}{
		{name: "nobody waits", batch: 20, took: time.Second},
		{name: "nobody comes back", batch: 20, waiting: 3, took: 8 * time.Millisecond, pause: 4 * time.Millisecond},
		{name: "the batch took long", batch: 20, waiting: 3, took: time.Second, pause: maxPause},
		{name: "some come back", batch: 20, waiting: 3, more: 19, took: 8 * time.Millisecond, pause: 4 * time.Millisecond},
		{name: "all come back", batch: 20, waiting: 3, more: 20, took: 8 * time.Millisecond},
		{name: "the next is large anyway", batch: 62, waiting: 3, took: time.Second},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				gone, leave := context.WithCancel(t.Context())
				leave() // nothing is sent for those who are gone
				came := func() *entry { return &entry{ctx: gone, msg: &nats.Msg{}, done: make(chan outcome, 1)} }
				s := &Store{batched: true, singles: maxSingles}
				for range tt.waiting {
					s.waiting = append(s.waiting, came())
				}
				began := time.Now()
				s.flights.Add(1)
				s.batchLanded(tt.batch, tt.took)
				s.flights.Done()
				for range tt.more {
					s.mu.Lock()
					s.enqueue(came())
					s.mu.Unlock()
				}
				s.Wait()
				if got := time.Since(began); got != tt.pause || s.pause != nil {
					t.Errorf("the pause was %s, want %s", got, tt.pause)
				}
			})
		})
	}
}
