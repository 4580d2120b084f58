//go:build integration && unix

package limiter

import (
	"context"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/rs/zerolog"

	"github.com/plugfn/plugfn/internal/limiter/redistest"
)

// clientOf is a client as a process has it, with its short time-outs.
func clientOf(t *testing.T, url string) redis.UniversalClient {
	t.Helper()
	client, err := NewRedisClient(url)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = client.Close() })
	return client
}

// processOf is the limiter of one of some processes that share a Redis.
func processOf(t *testing.T, addr string, processes int) *Limiter {
	t.Helper()
	client := clientOf(t, "redis://"+addr)
	return New(Config{Redis: client, Replicas: func() int { return processes }, Log: zerolog.Nop()})
}

// lasting lets the keys of a script live on: the clock of a test stands still
// while that of the server does not.
func lasting(script string) *redis.Script {
	script = strings.ReplaceAll(script, "'PX', ", "'PX', 600000 + ")
	return redis.NewScript(strings.ReplaceAll(script, "'PEXPIRE', key, ", "'PEXPIRE', key, 600000 + "))
}

func TestRedisAndGoAgree(t *testing.T) {
	server := redistest.Start(t)
	agree(t, server.Client(), func(s *Redis) { s.acquire, s.release = lasting(acquireLua), lasting(releaseLua) })
}

// pace asks for calls until time is over, and counts those that were granted.
// Any error fails the test.
func pace(t *testing.T, l *Limiter, c Call, until time.Time) (granted int) {
	for time.Now().Before(until) {
		d, err := l.Acquire(context.Background(), c)
		if err != nil {
			t.Error(err)
			return granted
		}
		if d.Outcome == Granted {
			granted++
			if err := l.Release(context.Background(), d.Permit, Report{}); err != nil {
				t.Error(err)
			}
		}
		time.Sleep(max(time.Millisecond, min(d.Delay, 20*time.Millisecond)))
	}
	return granted
}

func hundred() Call {
	return callOf(0, Limit{ID: "hundred", Key: "k", Rate: Rate{100, time.Second}, Burst: 10})
}

func TestFlushedRedis(t *testing.T) {
	server := redistest.Start(t)
	began := time.Now()
	until, flushes := began.Add(2*time.Second), atomic.Int64{}
	var wait sync.WaitGroup
	wait.Go(func() {
		for time.Now().Before(until) {
			time.Sleep(250 * time.Millisecond)
			server.Flush(t)
			flushes.Add(1)
		}
	})
	granted := atomic.Int64{}
	var all []*Limiter
	for range 2 {
		l := processOf(t, server.Addr, 2)
		all = append(all, l)
		wait.Go(func() { granted.Add(int64(pace(t, l, hundred(), until))) })
	}
	wait.Wait()
	allowed := 10*(1+flushes.Load()) + int64(100*time.Since(began).Seconds())
	if n := granted.Load(); n > allowed || n < 100 {
		t.Errorf("%d granted with %d flushes, allowed are %d", n, flushes.Load(), allowed)
	}
	for _, l := range all {
		if s := l.Status(); s.Store != "redis" {
			t.Errorf("a flush is no failure: %+v", s)
		}
	}
}

// lateness is how late this machine wakes who sleeps, at worst, until stop.
func lateness() (stop func() time.Duration) {
	ended, worst := make(chan struct{}), make(chan time.Duration)
	go func() {
		most := time.Duration(0)
		for {
			began := time.Now()
			select {
			case <-ended:
				worst <- most
				return
			case <-time.After(time.Millisecond):
				most = max(most, time.Since(began)-time.Millisecond)
			}
		}
	}()
	return func() time.Duration {
		close(ended)
		return <-worst
	}
}

// longest asks n times and is the time of the longest.
func longest(t *testing.T, l *Limiter, n int) (most time.Duration) {
	t.Helper()
	for range n {
		began := time.Now()
		if _, err := l.Acquire(t.Context(), hundred()); err != nil {
			t.Fatal(err)
		}
		most = max(most, time.Since(began))
	}
	return most
}

// fallsBack checks that a limiter whose Redis has just been lost answers each
// call in 100 ms, asks Redis three times and then leaves it.
func fallsBack(t *testing.T, l *Limiter) {
	t.Helper()
	stop := lateness()
	took := longest(t, l, redisErrors)
	if allowed := 100*time.Millisecond + stop(); took > allowed {
		t.Errorf("a call took %s, allowed are %s", took, allowed)
	}
	s := l.Status()
	if s.Store != "local" || s.Failures != redisErrors || s.Share != localShare || l.backed.breaker.IsClosed() {
		t.Errorf("after %d calls: %+v, breaker %s", redisErrors, s, l.backed.breaker.State())
	}
}

func TestLostRedis(t *testing.T) {
	server := redistest.Start(t)
	all := []*Limiter{processOf(t, server.Addr, 2), processOf(t, server.Addr, 2)}
	for _, l := range all {
		acquire(t, l, hundred())
	}
	server.Stop(t)
	for _, l := range all { // the first failures, so that what follows is all local
		longest(t, l, 1)
	}
	began, granted := time.Now(), atomic.Int64{}
	stop := lateness()
	var wait sync.WaitGroup
	slowest := make([]time.Duration, len(all))
	for i, l := range all {
		wait.Go(func() {
			for time.Since(began) < 3*time.Second {
				asked := time.Now()
				d, err := l.Acquire(context.Background(), hundred())
				slowest[i] = max(slowest[i], time.Since(asked))
				if err != nil {
					t.Error(err)
					return
				}
				if d.Outcome == Granted {
					granted.Add(1)
				}
				time.Sleep(time.Millisecond)
			}
		})
	}
	wait.Wait()
	limit, late := 100*time.Since(began).Seconds(), stop()
	if n := float64(granted.Load()); n < limit/2 || n > limit {
		t.Errorf("%.0f granted while redis was down, the limit is %.0f", n, limit)
	}
	for _, took := range slowest {
		if took > 100*time.Millisecond+late {
			t.Errorf("a call took %s where sleepers woke %s late", took, late)
		}
	}
}

func TestFrozenRedis(t *testing.T) {
	server := redistest.Start(t)
	l := processOf(t, server.Addr, 1)
	acquire(t, l, hundred())
	server.Freeze(t)
	fallsBack(t, l)
	server.Thaw(t)
	eventually(t, func() bool {
		d := acquire(t, l, hundred())
		return l.Status().Store == "redis" && d.Outcome == Granted && !d.Permit.Local
	})
}

func TestDistantRedis(t *testing.T) {
	server := redistest.Start(t)
	fallsBack(t, processOf(t, server.Distant(t, 200*time.Millisecond), 1))
	near := processOf(t, server.Distant(t, 0), 1)
	eventually(t, func() bool { return !acquire(t, near, hundred()).Permit.Local })
}

// full is a call of each kind of key.
func full(scope string) Call {
	return Call{
		Scope:       scope,
		Limits:      []Limit{{ID: "a", Key: "app", Rate: Rate{10, time.Second}}, {ID: "b", Key: "{b}:c", Rate: Rate{20, time.Second}, Window: true}},
		Concurrency: []Concurrency{{ID: "c", Key: "c}1", Max: 2, TTL: 100 * time.Millisecond}},
		Gates:       []Gate{{ID: "g", Key: "g"}},
	}
}

// TestKeysOfACallShareASlot asks a real cluster, of one node: it refuses calls
// over several slots like a large one.
func TestKeysOfACallShareASlot(t *testing.T) {
	server := redistest.Start(t, "--cluster-enabled", "yes")
	if err := server.Client().Do(t.Context(), "CLUSTER", "ADDSLOTSRANGE", 0, 16383).Err(); err != nil {
		t.Fatal(err)
	}
	eventually(t, func() bool {
		state, _ := server.Client().ClusterInfo(t.Context()).Result()
		return strings.Contains(state, "cluster_state:ok")
	})
	store := NewRedis(clientOf(t, "redis://"+server.Addr+"?cluster=true"))
	for _, scope := range []string{Scope("github", ""), Scope("slack", "my app"), Scope("a}{b", "{}")} {
		server.Flush(t)
		c := full(scope)
		d := acquire(t, store, c)
		wants(t, d, Granted, 0, "")
		release(t, store, d.Permit, Report{Pauses: []Pause{{Gate: c.Gates[0], For: time.Minute}}})
		acquire(t, store, callOf(0, Limit{ID: "x", Key: "of another scope", Rate: Rate{1, time.Second}}))
		keys, err := server.Client().Keys(t.Context(), prefixOf(strings.TrimSuffix(scope, scope[strings.Index(scope, ":"):]))+"*").Result()
		if err != nil || len(keys) < 3 {
			t.Fatalf("keys %q, %v", keys, err)
		}
		slots := map[int64]bool{}
		for _, key := range keys {
			slots[server.Client().ClusterKeySlot(t.Context(), key).Val()] = true
		}
		if len(slots) != 1 {
			t.Errorf("the keys %q are in %d slots", keys, len(slots))
		}
	}
}

// TestRedisForgets waits for the server's own clock: keys go when what they say
// is no more than nothing, and the place of who is gone is free again.
func TestRedisForgets(t *testing.T) {
	server := redistest.Start(t)
	store := NewRedis(server.Client())
	c := full("github:_")
	c.Limits = c.Limits[:1]
	c.Concurrency[0].Max = 1
	wants(t, acquire(t, store, c), Granted, 0, "")
	if n := server.Client().DBSize(t.Context()).Val(); n != 2 {
		t.Errorf("%d keys, want 2", n)
	}
	eventually(t, func() bool { return acquire(t, store, c).Outcome == Granted })
	eventually(t, func() bool { return server.Client().DBSize(t.Context()).Val() == 0 })
}
