package limiter

import (
	"errors"
	"slices"
	"testing"
	"testing/synctest"
	"time"
)

// excess is by how many slots some window has more than the rate allows: never
// more than the burst of a limit that is kept.
func excess(slots []time.Time, perSecond float64) float64 {
	slices.SortFunc(slots, time.Time.Compare)
	most := 0.0
	for i := range slots {
		for j := i; j < len(slots); j++ {
			most = max(most, float64(j-i+1)-perSecond*slots[j].Sub(slots[i]).Seconds())
		}
	}
	return most
}

// A backlog has slots far ahead, and Redis forgets or goes. Who comes then does
// not get the same slots again.
func TestSlotsAheadAreNotGrantedTwice(t *testing.T) {
	const backlog, more, rate, burst = 100, 40, 10, 5
	limit := Limit{ID: "l", Key: "k", Rate: Rate{rate, time.Second}, Burst: burst}
	tests := []struct {
		name  string
		more  float64 // than the burst
		fault func(s *shaky)
		after func(s *shaky) // half of those who come
	}{
		{"forgotten", 2, func(s *shaky) { s.forget("github") }, func(*shaky) {}},
		{"forgotten twice", 4, func(s *shaky) { s.forget("github") }, func(s *shaky) { s.forget("github") }},
		{"lost", 1, func(s *shaky) { s.err = errors.New("lost") }, func(*shaky) {}},
		{"lost for a while", 2, func(s *shaky) { s.err = errors.New("lost") }, func(s *shaky) { s.err = nil; time.Sleep(redisPause) }},
		{"restarted", 2, func(s *shaky) { s.err = errors.New("lost") }, func(s *shaky) { s.err = nil; s.forget("github"); time.Sleep(redisPause) }},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f, shared := newShaky(1)
				var slots []time.Time
				ask := func(n int) {
					for range n {
						d := acquire(t, f, callOf(Farthest, limit))
						if d.Outcome != Granted {
							t.Fatalf("not granted: %+v", d)
						}
						slots = append(slots, time.Now().Add(d.Delay))
						time.Sleep(time.Millisecond)
					}
				}
				ask(backlog)
				tt.fault(shared)
				ask(more / 2)
				tt.after(shared)
				ask(more / 2)
				if n := excess(slots, rate); n > burst+tt.more {
					t.Errorf("%.1f more than the rate allows, at most %.0f may be", n, burst+tt.more)
				}
				// And none of them waits for ever.
				if last := time.Until(slots[len(slots)-1]); last > (backlog+more)*time.Second/rate*2 {
					t.Errorf("the last slot is %s ahead", last)
				}
			})
		})
	}
}

// A slot at the end of the queue that was canceled may be granted again: that is
// nothing forgotten.
func TestCanceledSlotIsNotMissed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, shared := newShaky(1)
		limit := Limit{ID: "l", Key: "k", Rate: Rate{1, time.Second}, Burst: 1}
		var last Decision
		for range 20 {
			last = acquire(t, f, callOf(Farthest, limit))
		}
		for range 2 {
			release(t, f, last.Permit, unused(&last.Permit))
			asked := shared.asked
			d := acquire(t, f, callOf(Farthest, limit))
			wants(t, d, Granted, last.Delay, "l")
			if shared.asked != asked+1 {
				t.Errorf("redis was asked %d times", shared.asked-asked)
			}
			last = d
		}
	})
}
