//go:build unix

package bench

import (
	"context"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/plugfn/plugfn/internal/limiter"
	"github.com/plugfn/plugfn/internal/limiter/redistest"
)

// byHand takes three limits one after the other, and counts calls at once by
// INCR and DECR.
func byHand(b *testing.B, client redis.UniversalClient) func() {
	script := redis.NewScript(gcra)
	next := atomic.Int64{}
	return func() {
		ctx, n := context.Background(), next.Add(1)
		for _, key := range []string{"app", fmt.Sprint("connection", n%100), fmt.Sprint("channel", n%1000)} {
			if err := script.Run(ctx, client, []string{"hand:" + key}, 1, 1_000_000).Err(); err != nil {
				b.Error(err)
			}
		}
		if err := client.Incr(ctx, "hand:running").Err(); err != nil {
			b.Error(err)
		}
		if err := client.Decr(ctx, "hand:running").Err(); err != nil {
			b.Error(err)
		}
	}
}

// store is either store of the limiter.
type store interface {
	Acquire(ctx context.Context, c limiter.Call) (limiter.Decision, error)
	Release(ctx context.Context, p limiter.Permit, r limiter.Report) error
}

// calls acquires calls bounded by app (which responses tell of), connection and
// channel, and how many run at once, and releases them.
func calls(b *testing.B, s store, released bool) func() {
	rate := limiter.Rate{Count: 1_000_000, Per: time.Second}
	next := atomic.Int64{}
	return func() {
		ctx, n := context.Background(), next.Add(1)
		d, err := s.Acquire(ctx, limiter.Call{
			Scope: "github:_",
			Limits: []limiter.Limit{
				{ID: "app", Key: "app", Rate: rate, Window: true},
				{ID: "connection", Key: fmt.Sprint("connection", n%100), Rate: rate},
				{ID: "channel", Key: fmt.Sprint("channel", n%1000), Rate: rate},
			},
			Concurrency: []limiter.Concurrency{{ID: "running", Key: "running", Max: 1_000_000, TTL: time.Minute}},
			Gates:       []limiter.Gate{{ID: "app", Key: "app"}, {ID: "connection", Key: fmt.Sprint("connection", n%100)}},
		})
		if err != nil || d.Outcome != limiter.Granted {
			b.Errorf("not granted: %+v, %v", d, err)
			return
		}
		if !released {
			return
		}
		if err := s.Release(ctx, d.Permit, limiter.Report{}); err != nil {
			b.Error(err)
		}
	}
}

// redisServer starts a server, and skips the benchmark where there is none.
func redisServer(b *testing.B) *redistest.Server {
	b.Helper()
	if !redistest.Installed() {
		b.Skip("redis-server is not installed: apt-get install redis-server")
	}
	return redistest.Start(b)
}

// redisURL is where the limits of an action are kept.
func redisURL(b *testing.B) string { return "redis://" + redisServer(b).Addr }

// BenchmarkLimiter: eight workers take three limits, a place and look at two
// gates. Beside it three one-limit scripts and a counter, and, as what the
// server can do at all, a plain GET by as many workers, up to as many as an
// executor has requests in flight.
func BenchmarkLimiter(b *testing.B) {
	const workers = 8
	limits := func(b *testing.B) (*redis.Client, *limiter.Redis) {
		client := redisServer(b).Client()
		return client, limiter.NewRedis(client)
	}
	b.Run("acquire and release", func(b *testing.B) {
		client, s := limits(b)
		hand, ours := byHand(b, client), calls(b, s, true)
		compare(b, func(n int) { spread(workers, n, hand) }, func(n int) { spread(workers, n, ours) })
	})
	for _, workers := range []int{8, 64, 256} {
		b.Run(fmt.Sprintf("acquire beside GET/%d", workers), func(b *testing.B) {
			client, s := limits(b)
			get := func() {
				if err := client.Get(context.Background(), "nothing").Err(); err != nil && err != redis.Nil { //nolint:errorlint // what go-redis returns
					b.Error(err)
				}
			}
			ours := calls(b, s, false)
			compare(b, func(n int) { spread(workers, n, get) }, func(n int) { spread(workers, n, ours) })
		})
	}
	b.Run("memory", func(b *testing.B) {
		client, _ := limits(b)
		hand, ours := byHand(b, client), calls(b, limiter.NewMemory(nil), true)
		compare(b, func(n int) { spread(workers, n, hand) }, func(n int) { spread(workers, n, ours) })
	})
}
