package limiter

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/redis/go-redis/v9"
	"pgregory.net/rapid"
)

// start is when the clocks of tests begin.
var start = time.Date(2026, 11, 28, 9, 0, 0, 0, time.UTC)

// twoStores are a Redis and a Memory on one clock.
type twoStores struct {
	now    time.Time
	redis  *Redis
	memory *Memory
	held   []twoPermits
}

type twoPermits struct{ redis, memory Permit }

func newTwoStores(client redis.UniversalClient) *twoStores {
	s := &twoStores{now: start, redis: NewRedis(client)}
	clock := func() time.Time { return s.now }
	s.redis.now, s.memory = clock, NewMemory(clock)
	s.memory.look = 0 // keys in the Redis of a test do not expire with the test's clock either
	return s
}

func miniClient(t testing.TB) redis.UniversalClient {
	t.Helper()
	server := miniredis.NewMiniRedis()
	if err := server.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(server.Close)
	client := redis.NewClient(&redis.Options{Addr: server.Addr(), MaintNotificationsConfig: quiet()}) // as patient as a busy machine needs
	t.Cleanup(func() { _ = client.Close() })
	return client
}

// drawCall makes a call on few keys with limits that are the same each time.
func drawCall(t *rapid.T) Call {
	c := Call{
		Scope:   rapid.SampledFrom([]string{"github:a", "slack:_"}).Draw(t, "scope"),
		Horizon: rapid.SampledFrom([]time.Duration{0, 250 * time.Millisecond, time.Minute, Farthest}).Draw(t, "horizon"),
	}
	limits := []Limit{
		{ID: "second", Key: "k1", Rate: Rate{1, time.Second}, Burst: 3},
		{ID: "minute", Key: "k2", Rate: Rate{7, time.Minute}, Window: true},
		{ID: "hour", Key: "k3", Rate: Rate{5000, time.Hour}, Burst: 40, Window: true},
		{ID: "queue", Key: "k1@h", Rate: Rate{1, time.Second}, Burst: 2, Queue: true},
		{ID: "observed queue", Key: "k2@h", Rate: Rate{6, time.Minute}, Window: true, Queue: true},
	}
	for _, l := range limits {
		if rapid.Bool().Draw(t, l.ID) {
			l.Cost = rapid.Int64Range(0, 8).Draw(t, "cost")
			c.Limits = append(c.Limits, l)
		}
	}
	if rapid.Bool().Draw(t, "concurrent") {
		c.Concurrency = []Concurrency{{ID: "concurrent", Key: "k1", Max: 2, TTL: 5 * time.Second}}
	}
	if rapid.Bool().Draw(t, "gated") {
		c.Gates = []Gate{{ID: "all", Key: "g1"}, {ID: "method", Key: "g2"}}
	}
	return c
}

func drawReport(t *rapid.T) Report {
	r := Report{Used: map[string]int64{}, Windows: map[string]Window{}}
	for _, id := range []string{"second", "minute", "hour"} {
		if rapid.IntRange(0, 2).Draw(t, "used") == 0 {
			r.Used[id] = rapid.Int64Range(0, 10).Draw(t, id)
		}
		if rapid.IntRange(0, 3).Draw(t, "window") == 0 {
			r.Windows[id] = Window{rapid.Int64Range(0, 50).Draw(t, "remaining"), drawDuration(t, 2*time.Minute)}
		}
	}
	if rapid.IntRange(0, 9).Draw(t, "pause") == 0 {
		gate := Gate{Key: rapid.SampledFrom([]string{"g1", "g2"}).Draw(t, "gate")}
		known := rapid.SampledFrom([]time.Duration{0, 0, 3 * time.Second}).Draw(t, "for")
		r.Pauses = []Pause{{Gate: gate, For: known, Base: 10 * time.Second}}
	}
	return r
}

func drawDuration(t *rapid.T, most time.Duration) time.Duration {
	return time.Duration(rapid.Int64Range(0, most.Microseconds()).Draw(t, "µs")) * time.Microsecond
}

// acquire asks both stores and reports where they differ.
func (s *twoStores) acquire(t *rapid.T, c Call) {
	ctx := context.Background()
	fromRedis, err := s.redis.Acquire(ctx, c)
	if err != nil {
		t.Fatal(err)
	}
	fromMemory, err := s.memory.Acquire(ctx, c)
	if err != nil {
		t.Fatal(err)
	}
	s.compare(t, &c, fromRedis, fromMemory)
}

func (s *twoStores) compare(t *rapid.T, c *Call, fromRedis, fromMemory Decision) {
	own := cmpopts.IgnoreFields(Permit{}, "ID", "At")
	if diff := cmp.Diff(fromMemory, fromRedis, own, cmpopts.EquateEmpty()); diff != "" {
		t.Fatalf("memory and redis differ about %+v (-memory +redis):\n%s", *c, diff)
	}
	if fromRedis.Outcome == Granted {
		s.held = append(s.held, twoPermits{fromRedis.Permit, fromMemory.Permit})
	}
}

// together asks Redis for some calls of one scope in one trip, and memory for one
// after the other.
func (s *twoStores) together(t *rapid.T) {
	var calls []*Call
	for range rapid.IntRange(2, 4).Draw(t, "calls") {
		c := drawCall(t)
		if len(calls) > 0 {
			c.Scope = calls[0].Scope
		}
		never, err := c.check()
		if err != nil {
			t.Fatal(err)
		}
		if never == "" && len(c.Limits)+len(c.Concurrency)+len(c.Gates) > 0 {
			calls = append(calls, &c)
		}
	}
	if len(calls) == 0 {
		return
	}
	fromRedis, err := s.redis.together(context.Background(), calls)
	if err != nil {
		t.Fatal(err)
	}
	for i, c := range calls {
		fromMemory, err := s.memory.Acquire(context.Background(), *c)
		if err != nil {
			t.Fatal(err)
		}
		s.compare(t, c, fromRedis[i], fromMemory)
	}
}

func (s *twoStores) release(t *rapid.T, r Report) {
	if len(s.held) == 0 {
		return
	}
	i := rapid.IntRange(0, len(s.held)-1).Draw(t, "which")
	p := s.held[i]
	s.held = append(s.held[:i:i], s.held[i+1:]...)
	if err := s.redis.Release(context.Background(), p.redis, r); err != nil {
		t.Fatal(err)
	}
	if err := s.memory.Release(context.Background(), p.memory, r); err != nil {
		t.Fatal(err)
	}
}

// agree runs random sequences against both stores, the clock set back now and
// then.
func agree(t *testing.T, client redis.UniversalClient, edits ...func(*Redis)) {
	rapid.Check(t, func(t *rapid.T) {
		if err := client.FlushAll(context.Background()).Err(); err != nil {
			t.Fatal(err)
		}
		s := newTwoStores(client)
		for _, edit := range edits {
			edit(s.redis)
		}
		t.Repeat(map[string]func(*rapid.T){
			"acquire":  func(t *rapid.T) { s.acquire(t, drawCall(t)) },
			"again":    func(t *rapid.T) { s.acquire(t, drawCall(t)) },
			"together": s.together,
			"release":  func(t *rapid.T) { s.release(t, drawReport(t)) },
			"cancel":   func(t *rapid.T) { s.release(t, canceled()) },
			"time":     func(t *rapid.T) { s.now = s.now.Add(drawDuration(t, 5*time.Second)) },
			"back": func(t *rapid.T) {
				if rapid.IntRange(0, 9).Draw(t, "back") == 0 {
					s.now = s.now.Add(-drawDuration(t, time.Minute))
				}
			},
		})
	})
}

// canceled is the report on a call that did not happen.
func canceled() Report { return Report{Used: map[string]int64{"second": 0, "minute": 0, "hour": 0}} }

func TestLuaAndGoAgree(t *testing.T) { agree(t, miniClient(t)) }

// spent is what went to a provider, and when.
type spent struct {
	at   time.Time
	cost int64
}

// TestNoWindowPassesTheLimit checks the promise of a Limit for every window of
// a random sequence of calls, some of them given back in whole or in part.
func TestNoWindowPassesTheLimit(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		now := start
		m := NewMemory(func() time.Time { return now })
		limits := []Limit{
			{ID: "second", Key: "k1", Rate: Rate{rapid.Int64Range(1, 4).Draw(t, "rate"), time.Second}, Burst: rapid.Int64Range(1, 6).Draw(t, "burst")},
			{ID: "minute", Key: "k2", Rate: Rate{rapid.Int64Range(20, 90).Draw(t, "rate"), time.Minute}, Burst: rapid.Int64Range(1, 9).Draw(t, "burst")},
		}
		ledger := map[string][]spent{}
		type running struct {
			permit Permit
			due    time.Time
			cost   int64
			index  map[string]int // of the entry in the ledger
		}
		var calls []running
		t.Repeat(map[string]func(*rapid.T){
			"call": func(t *rapid.T) {
				cost := rapid.Int64Range(1, 3).Draw(t, "cost")
				c := Call{Scope: "s", Horizon: drawDuration(t, 4*time.Second)}
				for _, l := range limits {
					if l.Cost = min(cost, l.Burst); rapid.Bool().Draw(t, l.ID) {
						c.Limits = append(c.Limits, l)
					}
				}
				d, err := m.Acquire(context.Background(), c)
				if err != nil {
					t.Fatal(err)
				}
				if d.Outcome != Granted {
					return
				}
				r := running{permit: d.Permit, due: now.Add(d.Delay), cost: cost, index: map[string]int{}}
				for _, l := range c.Limits {
					r.index[l.ID] = len(ledger[l.ID])
					ledger[l.ID] = append(ledger[l.ID], spent{r.due, l.Cost})
				}
				calls = append(calls, r)
			},
			"end": func(t *rapid.T) {
				if len(calls) == 0 {
					return
				}
				i := rapid.IntRange(0, len(calls)-1).Draw(t, "which")
				r := calls[i]
				calls = append(calls[:i:i], calls[i+1:]...)
				used := map[string]int64{}
				for _, l := range r.permit.Limits {
					used[l.ID] = rapid.Int64Range(0, l.Cost).Draw(t, "used")
					ledger[l.ID][r.index[l.ID]].cost = used[l.ID]
				}
				if err := m.Release(context.Background(), r.permit, Report{Used: used}); err != nil {
					t.Fatal(err)
				}
			},
			"time": func(t *rapid.T) { now = now.Add(drawDuration(t, 3*time.Second)) },
		})
		for _, l := range limits {
			if problem := passes(ledger[l.ID], l); problem != "" {
				t.Fatal(problem)
			}
		}
	})
}

// passes looks for a window with more in it than the limit allows.
func passes(ledger []spent, l Limit) string {
	for _, from := range ledger {
		for _, to := range ledger {
			sum := int64(0)
			for _, s := range ledger {
				if !s.at.Before(from.at) && !s.at.After(to.at) {
					sum += s.cost
				}
			}
			window := to.at.Sub(from.at)
			allowed := float64(l.Burst) + float64(l.Rate.Count)*window.Seconds()/l.Rate.Per.Seconds()
			if window >= 0 && float64(sum) > allowed+1e-3 {
				return fmt.Sprintf("%s: %d in %s from %s, allowed are %.3f of %+v", l.ID, sum, window, from.at.Sub(start), allowed, l)
			}
		}
	}
	return ""
}
