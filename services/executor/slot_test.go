package executor

import (
	"context"
	"encoding/json"
	"fmt"
	"math"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/plugfn/plugfn/internal/limiter"
	"github.com/plugfn/plugfn/pkg/events"
)

// limitedPack is fakePack with limits.
func limitedPack(limits string) string {
	return strings.Replace(fakePack, "actions:\n", "limits:\n"+limits+"actions:\n", 1)
}

// door is a provider that notes when it was called.
type door struct {
	mu    sync.Mutex
	times []time.Time
	serve http.HandlerFunc // nil: answers {}
}

func (d *door) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	d.mu.Lock()
	d.times = append(d.times, time.Now())
	d.mu.Unlock()
	if d.serve != nil {
		d.serve(w, r)
		return
	}
	_, _ = w.Write([]byte(`{}`))
}

// most is how many calls came within any window of a length.
func (d *door) most(window time.Duration) int {
	d.mu.Lock()
	defer d.mu.Unlock()
	most := 0
	for i := range d.times {
		n := 0
		for _, at := range d.times[i:] {
			if at.Sub(d.times[i]) < window {
				n++
			}
		}
		most = max(most, n)
	}
	return most
}

// counter counts what a limiter is asked.
type counter struct {
	Limiter
	calls atomic.Int64
}

func (c *counter) Acquire(ctx context.Context, call limiter.Call) (limiter.Decision, error) {
	c.calls.Add(1)
	return c.Limiter.Acquire(ctx, call)
}

func (c *counter) Release(ctx context.Context, p limiter.Permit, r limiter.Report) error {
	c.calls.Add(1)
	return c.Limiter.Release(ctx, p, r)
}

func (c *counter) Cancel(ctx context.Context, p limiter.Permit) error {
	c.calls.Add(1)
	return c.Limiter.Cancel(ctx, p)
}

// newLimiter makes a limiter of an executor: the tests of slots are the same
// whatever keeps them.
type newLimiter func(*testing.T) Limiter

func inMemory(*testing.T) Limiter { return limiter.New(limiter.Config{}) }

func counting(t *testing.T, c *counter, limits newLimiter) func(*Config) {
	return func(cfg *Config) {
		c.Limiter = limits(t)
		cfg.Limiter = c
	}
}

func limitedBy(t *testing.T, limits newLimiter) func(*Config) {
	return func(cfg *Config) { cfg.Limiter = limits(t) }
}

// granted notes, beside how often it is asked, when the limiter let calls go, by
// its own clock.
type granted struct {
	counter
	mu    sync.Mutex
	times []time.Time
}

func (g *granted) Acquire(ctx context.Context, call limiter.Call) (limiter.Decision, error) {
	d, err := g.counter.Acquire(ctx, call)
	if err == nil && d.Outcome == limiter.Granted && slices.ContainsFunc(call.Limits, func(l limiter.Limit) bool { return !l.Queue }) {
		g.mu.Lock()
		defer g.mu.Unlock()
		g.times = append(g.times, d.Permit.At.Add(d.Delay))
	}
	return d, err
}

func (g *granted) sorted() []time.Time {
	g.mu.Lock()
	defer g.mu.Unlock()
	return slices.SortedFunc(slices.Values(g.times), time.Time.Compare)
}

// latest is how late the last of the calls came to the provider, at most: the nth
// to come was let go as the nth or before.
func (g *granted) latest(d *door) time.Duration {
	d.mu.Lock()
	defer d.mu.Unlock()
	late := time.Duration(0)
	for i, at := range g.sorted() {
		if i < len(d.times) {
			late = max(late, d.times[i].Sub(at))
		}
	}
	return late
}

func create(n int) events.ActionRequest {
	return events.ActionRequest{ID: fmt.Sprintf("w%d", n), Action: "things.create", Params: json.RawMessage(fmt.Sprintf(`{"title":"%d"}`, n))}
}

func TestNoMoreThanTheLimit(t *testing.T) { noMoreThanTheLimit(t, inMemory) }

func noMoreThanTheLimit(t *testing.T, limits newLimiter) {
	for name, text := range map[string]string{
		"of a connection": "  - {id: own, key: [connection], rate: 10/1s, burst: 5}\n",
		"of the app":      "  - {id: all, key: [app], rate: 10/1s, burst: 5}\n",
		"of an action":    "  - {id: method, key: [connection, action], rate: 10/1s, burst: 5}\n",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d, asked := &door{}, &granted{}
			s := tellPack(t, limitedPack(text), d.ServeHTTP, func(cfg *Config) {
				asked.Limiter = limits(t)
				cfg.Limiter = asked
			})
			s.start()
			const n = 25
			for i := range n {
				s.request(create(i))
			}
			for _, r := range s.results(n) {
				if r.Outcome != events.Succeeded || r.Attempts != 1 {
					t.Errorf("%s: %s after %d attempts, %v", r.ID, r.Outcome, r.Attempts, r.Error)
				}
			}
			if got := (&door{times: asked.sorted()}).most(time.Second); got > 5+10 {
				t.Errorf("%d calls were let go within a second", got)
			}
			// Those that are on their way for long come together with later ones.
			late := asked.latest(d)
			if got := d.most(time.Second); got > 5+10+int(math.Ceil(10*late.Seconds())) {
				t.Errorf("%d calls came within a second, %s after they were let go at most", got, late)
			}
			t.Logf("%.1f questions to the limiter for each request", float64(asked.calls.Load())/n)
		})
	}
}

// Two connections to one account have its limit together.
func TestLimitOfAnAccount(t *testing.T) {
	s := tellPack(t, limitedPack("  - {id: all, key: [connection.account], rate: 1/1h, burst: 1}\n"), nil)
	s.start()
	for i, id := range []string{"con_acme", "con_acme@2", "con_other"} {
		r := create(i)
		r.UserID, r.ConnectionID, r.Deadline = id[4:], id, time.Now().Add(time.Minute)
		s.request(r)
		got := s.results(i + 1)[i]
		if limited := got.Error != nil && got.Error.Code == events.CodeRateLimited; limited != (i == 1) {
			t.Errorf("%s: %s, %v", id, got.Outcome, got.Error)
		}
	}
}

// A backlog on a key that is no connection's own, such as a channel, is spread
// before the limit itself is asked.
func TestBacklogOfOneKey(t *testing.T) {
	t.Parallel()
	backlogOfOneKey(t, inMemory)
}

func backlogOfOneKey(t *testing.T, limits newLimiter) {
	asked := &counter{}
	pack := strings.Replace(limitedPack("  - {id: room, key: [connection.account, params.title], rate: 20/1s, burst: 1}\n"), "    summary: Makes a thing\n", "    summary: Makes a thing\n    limits: [room]\n", 1)
	s := tellPack(t, pack, nil, counting(t, asked, limits))
	s.start()
	const n = 60
	for i := range n {
		r := create(i)
		r.Params = json.RawMessage(`{"title":"one"}`)
		s.request(r)
	}
	for _, r := range s.results(n) {
		if r.Outcome != events.Succeeded {
			t.Errorf("%s: %s, %v", r.ID, r.Outcome, r.Error)
		}
	}
	if each := float64(asked.calls.Load()) / n; each > 3.2 {
		t.Errorf("%.2f questions to the limiter for each request", each)
	}
}

func TestDeadlineBeforeTheSlot(t *testing.T) { deadlineBeforeTheSlot(t, inMemory) }

func deadlineBeforeTheSlot(t *testing.T, limits newLimiter) {
	s := tellPack(t, limitedPack("  - {id: slow, key: [connection], rate: 1/1h, burst: 1}\n"), (&door{}).ServeHTTP, limitedBy(t, limits))
	s.start()
	s.request(create(1))
	s.results(1)
	late := create(2)
	late.Deadline = time.Now().Add(time.Minute)
	s.request(late)
	r := s.results(2)[1]
	if r.Outcome != events.Failed || r.Error == nil || r.Error.Code != events.CodeRateLimited || !strings.Contains(r.Error.Message, `"slow"`) || s.provider.count() != 1 {
		t.Errorf("got %+v, %v after %d calls", r, r.Error, s.provider.count())
	}
	if r.Error != nil && !r.Error.RetryAt.After(late.Deadline) {
		t.Errorf("to be tried again at %s, before it has failed", r.Error.RetryAt)
	}
}

// A refusal closes the gate for all: nobody else is refused before it opens.
func TestRefusedOnce(t *testing.T) { refusedOnce(t, inMemory) }

func refusedOnce(t *testing.T, limits newLimiter) {
	var refusals atomic.Int64
	var open atomic.Int64 // when, in Unix nanoseconds
	d := &door{serve: func(w http.ResponseWriter, _ *http.Request) {
		if open.CompareAndSwap(0, time.Now().Add(time.Second).UnixNano()) || time.Now().UnixNano() < open.Load() {
			refusals.Add(1)
			w.Header().Set("Retry-After", "1")
			w.WriteHeader(http.StatusTooManyRequests)
			return
		}
		_, _ = w.Write([]byte(`{}`))
	}}
	s := tellPack(t, limitedPack("  - {id: rest, key: [connection], pause: 5s}\n"), d.ServeHTTP, limitedBy(t, limits))
	s.start()
	s.request(create(0))
	for refusals.Load() == 0 {
		time.Sleep(5 * time.Millisecond)
	}
	time.Sleep(50 * time.Millisecond) // the executor has heard of it
	for i := range 10 {
		s.request(create(i + 1))
	}
	for _, r := range s.results(11) {
		if r.Outcome != events.Succeeded {
			t.Errorf("%s: %s, %v", r.ID, r.Outcome, r.Error)
		}
	}
	if refusals.Load() != 1 {
		t.Errorf("%d refusals", refusals.Load())
	}
}

// What is asked for again while its answer is kept takes no slot.
func TestKeptAnswersTakeNoSlot(t *testing.T) { keptAnswersTakeNoSlot(t, inMemory) }

func keptAnswersTakeNoSlot(t *testing.T, limits newLimiter) {
	s := tellPack(t, limitedPack("  - {id: slow, key: [connection], rate: 1/1h, burst: 1}\n"), (&door{}).ServeHTTP, limitedBy(t, limits))
	s.start()
	for i := range 3 {
		s.request(events.ActionRequest{ID: fmt.Sprint(i), Action: "things.get", Params: json.RawMessage(`{"id":"1"}`), Cache: time.Minute})
		if r := s.results(i + 1)[i]; r.Outcome != events.Succeeded || r.Cached != (i > 0) {
			t.Errorf("got %+v, %v", r, r.Error)
		}
	}
}

// The slot of a request that is canceled while it waits goes to the next.
func TestCanceledGivesBack(t *testing.T) {
	t.Parallel()
	canceledGivesBack(t, inMemory)
}

func canceledGivesBack(t *testing.T, limits newLimiter) {
	asked := &counter{}
	s := tellPack(t, limitedPack("  - {id: slow, key: [connection], rate: 1/1h, burst: 1}\n"), (&door{}).ServeHTTP, counting(t, asked, limits))
	s.start()
	s.request(create(1))
	s.results(1)
	s.request(create(2))
	before := asked.calls.Load()
	for asked.calls.Load() == before {
		time.Sleep(5 * time.Millisecond)
	}
	time.Sleep(100 * time.Millisecond)
	if _, err := s.app.Request(events.PrefixService+"executor.cancel."+events.Token("u1")+"."+events.Token("w2"), nil, 5*time.Second); err != nil {
		t.Fatal(err)
	}
	if r := s.results(2)[1]; r.Error == nil || r.Error.Code != events.CodeCanceled {
		t.Errorf("got %+v", r)
	}
}
