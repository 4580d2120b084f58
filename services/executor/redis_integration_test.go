//go:build integration && unix

package executor

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"github.com/plugfn/plugfn/internal/limiter"
	"github.com/plugfn/plugfn/internal/limiter/redistest"
	"github.com/plugfn/plugfn/pkg/events"
)

// limiterAt is the limiter of one of some executors that share a Redis.
func limiterAt(t *testing.T, addr string, executors int) *limiter.Limiter {
	t.Helper()
	client, err := limiter.NewRedisClient("redis://" + addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = client.Close() })
	return limiter.New(limiter.Config{Redis: client, Replicas: func() int { return executors }, Log: zerolog.Nop()})
}

// The tests of slots, with limits that are kept in Redis.
func TestSlotsInRedis(t *testing.T) {
	t.Parallel()
	inRedis := func(t *testing.T) Limiter { return limiterAt(t, redistest.Start(t).Addr, 1) }
	t.Run("no more than the limit", func(t *testing.T) { noMoreThanTheLimit(t, inRedis) })
	t.Run("backlog of one key", func(t *testing.T) { backlogOfOneKey(t, inRedis) })
	t.Run("deadline before the slot", func(t *testing.T) { deadlineBeforeTheSlot(t, inRedis) })
	t.Run("refused once", func(t *testing.T) { refusedOnce(t, inRedis) })
	t.Run("kept answers take no slot", func(t *testing.T) { keptAnswersTakeNoSlot(t, inRedis) })
	t.Run("canceled gives back", func(t *testing.T) { canceledGivesBack(t, inRedis) })
}

// stopwatch notes how long a limiter takes to answer.
type stopwatch struct {
	Limiter
	mu    sync.Mutex
	times []time.Duration
}

func (s *stopwatch) Acquire(ctx context.Context, c limiter.Call) (limiter.Decision, error) {
	began := time.Now()
	d, err := s.Limiter.Acquire(ctx, c)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.times = append(s.times, time.Since(began))
	return d, err
}

func (s *stopwatch) percentile(p int) time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	slices.Sort(s.times)
	return s.times[(len(s.times)-1)*p/100]
}

// excess is by how many calls some window saw more than the rate allows: never
// more than the burst of a limit that is kept.
func (d *door) excess(rate float64) float64 {
	d.mu.Lock()
	defer d.mu.Unlock()
	most := 0.0
	for i := range d.times {
		for j := i; j < len(d.times); j++ {
			most = max(most, float64(j-i+1)-rate*d.times[j].Sub(d.times[i]).Seconds())
		}
	}
	return most
}

// Two executors with a backlog share a limit in a Redis that fares badly for
// three seconds, and new requests come meanwhile. Nothing fails, and the
// provider sees no more than the limit and one burst for each time that Redis
// lost or forgot what it knew.
func TestRedisFaults(t *testing.T) {
	const (
		rate, burst = 40, 5
		backlog     = 160
		more        = 40 // of them come while Redis fares badly
		faulty      = 3 * time.Second
		flushEach   = 500 * time.Millisecond
	)
	faults := []struct {
		name   string
		bursts int // that may come on top
		do     func(t *testing.T, r *redistest.Server)
	}{
		{"none", 0, func(*testing.T, *redistest.Server) { time.Sleep(faulty) }},
		{"forgets all again and again", int(faulty / flushEach), func(t *testing.T, r *redistest.Server) {
			for range faulty / flushEach {
				r.Flush(t)
				time.Sleep(flushEach)
			}
		}},
		{"is down", 2, func(t *testing.T, r *redistest.Server) { r.Stop(t); time.Sleep(faulty); r.Restart(t) }},
		{"is frozen", 2, func(t *testing.T, r *redistest.Server) { r.Freeze(t); time.Sleep(faulty); r.Thaw(t) }},
	}
	for _, key := range []string{"app", "connection"} {
		pack := limitedPack(fmt.Sprintf("  - {id: all, key: [%s], rate: %d/1s, burst: %d}\n", key, rate, burst))
		t.Run(key, func(t *testing.T) {
			for _, fault := range faults {
				t.Run(fault.name, func(t *testing.T) {
					t.Parallel()
					server, d := redistest.Start(t), &door{}
					s := tellPack(t, pack, d.ServeHTTP, func(c *Config) { c.Log = zerolog.Nop() })
					first, second := limiterAt(t, server.Addr, 2), limiterAt(t, server.Addr, 2)
					watch := &stopwatch{Limiter: first}
					for _, l := range []Limiter{watch, second} {
						s.cfg.Limiter = l
						s.start()
					}
					began := time.Now()
					for i := range backlog {
						s.request(create(i))
					}
					s.idle()
					var wait sync.WaitGroup
					wait.Go(func() { fault.do(t, server) })
					for i := range more {
						time.Sleep(faulty / more)
						s.request(create(backlog + i))
					}
					wait.Wait()
					for _, r := range s.results(backlog + more) {
						if r.Outcome != events.Succeeded {
							t.Errorf("%s: %s, %v", r.ID, r.Outcome, r.Error)
						}
					}
					took, excess, bursts := time.Since(began), d.excess(rate), 1+fault.bursts
					t.Logf("%d calls in %.1f s, at most %.0f above the rate; the limiter took %s (p50) %s (p99) %s (most)",
						len(d.times), took.Seconds(), excess, watch.percentile(50), watch.percentile(99), watch.percentile(100))
					if first.Status().Failures+second.Status().Failures > 0 {
						bursts += 2 // on a busy machine a healthy Redis may be late, too
					}
					// On a busy machine a call may be on its way for half a second.
					if allowed := float64(burst*bursts) + rate*0.5; excess > allowed {
						t.Errorf("the provider saw %.0f calls more than the rate allows, at most %.0f may be", excess, allowed)
					}
				})
			}
		})
	}
}

// Redis is so far away that it does not count: the executor goes on with its
// share of the limit.
func TestDistantRedis(t *testing.T) {
	t.Parallel()
	const rate, burst, n = 40, 5, 100
	d := &door{}
	s := tellPack(t, limitedPack(fmt.Sprintf("  - {id: all, key: [app], rate: %d/1s, burst: %d}\n", rate, burst)), d.ServeHTTP)
	watch := &stopwatch{Limiter: limiterAt(t, redistest.Start(t).Distant(t, 200*time.Millisecond), 1)}
	s.cfg.Limiter = watch
	s.start()
	for i := range n {
		s.request(create(i))
	}
	s.results(n)
	excess := d.excess(rate)
	t.Logf("%d calls, at most %.0f above the rate; the limiter took %s (p50) %s (p99) %s (most)",
		n, excess, watch.percentile(50), watch.percentile(99), watch.percentile(100))
	if excess > burst+rate*0.3 {
		t.Errorf("the provider saw %.0f calls more than the rate allows", excess)
	}
}
