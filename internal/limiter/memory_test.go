package limiter

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
)

func acquire(t *testing.T, s store, c Call) Decision {
	t.Helper()
	d, err := s.Acquire(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func release(t *testing.T, s store, p Permit, r Report) {
	t.Helper()
	if err := s.Release(t.Context(), p, r); err != nil {
		t.Fatal(err)
	}
}

func wants(t *testing.T, d Decision, outcome Outcome, delay time.Duration, by string) {
	t.Helper()
	if d.Outcome != outcome || d.Delay != delay || d.By != by {
		t.Fatalf("outcome %d, delay %s, by %q; want %d, %s, %q", d.Outcome, d.Delay, d.By, outcome, delay, by)
	}
}

func second(burst, cost int64) Limit {
	return Limit{ID: "second", Key: "k", Rate: Rate{1, time.Second}, Burst: burst, Cost: cost}
}

func callOf(horizon time.Duration, limits ...Limit) Call {
	return Call{Scope: "github:_", Limits: limits, Horizon: horizon}
}

// Who queues for a slow limit and a fast one does not hold up who needs only the
// fast one; where limits themselves are taken together he does.
func TestQueuesMoveByThemselves(t *testing.T) {
	for _, queue := range []bool{true, false} {
		synctest.Test(t, func(t *testing.T) {
			l := New(Config{})
			slow := Limit{ID: "slow", Key: "s", Rate: Rate{1, time.Hour}, Burst: 1, Queue: queue}
			fast := Limit{ID: "fast", Key: "f", Rate: Rate{10, time.Second}, Burst: 1, Queue: queue}
			for i := range 5 {
				d, err := l.Reserve(t.Context(), callOf(0, slow, fast), time.Time{})
				if err != nil || d.Outcome != Granted || d.Delay != time.Duration(i)*time.Hour {
					t.Fatalf("slot %d: %+v, %v", i, d, err)
				}
			}
			d, err := l.Reserve(t.Context(), callOf(0, fast), time.Time{})
			if err != nil {
				t.Fatal(err)
			}
			if held := d.Delay > time.Second; held == queue {
				t.Errorf("queue %t: the fast one waits for %s", queue, d.Delay)
			}
		})
	}
}

// A queue stands still while a gate is closed.
func TestQueuesWaitForGates(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := NewMemory(nil)
		c := callOf(time.Minute, Limit{ID: "queue", Key: "q", Rate: Rate{1, time.Second}, Burst: 1, Queue: true})
		c.Gates = []Gate{{ID: "gate", Key: "g"}}
		release(t, m, Permit{Scope: c.Scope}, Report{Pauses: []Pause{{Gate: c.Gates[0], For: 30 * time.Second}}})
		for i := range 3 {
			if d := acquire(t, m, c); d.Outcome != Granted || d.Delay != time.Duration(30+i)*time.Second {
				t.Errorf("call %d: %+v", i, d)
			}
		}
	})
}

func TestReservationsAreDistinct(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := New(Config{})
		for i := range 5 {
			d, err := l.Reserve(t.Context(), callOf(0, second(2, 1)), time.Now().Add(time.Minute))
			if err != nil {
				t.Fatal(err)
			}
			by := map[bool]string{true: "second"}[i > 1]
			wants(t, d, Granted, time.Duration(max(0, i-1))*time.Second, by)
		}
		d, err := l.Reserve(t.Context(), callOf(0, second(2, 1)), time.Now().Add(2*time.Second))
		if err != nil {
			t.Fatal(err)
		}
		wants(t, d, Wait, 4*time.Second, "second")
		time.Sleep(4 * time.Second)
		wants(t, acquire(t, l, callOf(0, second(2, 1))), Granted, 0, "")
	})
}

func TestNothingIsTakenInPart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := NewMemory(nil)
		minute := Limit{ID: "minute", Key: "m", Rate: Rate{1, time.Minute}}
		wants(t, acquire(t, m, callOf(0, minute)), Granted, 0, "")
		for range 3 {
			wants(t, acquire(t, m, callOf(0, second(1, 1), minute)), Wait, time.Minute, "minute")
		}
		wants(t, acquire(t, m, callOf(0, second(1, 1))), Granted, 0, "")
	})
}

func TestNever(t *testing.T) {
	for name, s := range map[string]store{"memory": NewMemory(nil), "redis": NewRedis(nil)} {
		d, err := s.Acquire(t.Context(), callOf(Farthest, second(2, 3)))
		if err != nil || d.Outcome != Never || d.By != "second" {
			t.Errorf("%s: %+v, %v", name, d, err)
		}
	}
}

func TestConcurrency(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := New(Config{})
		c := Call{Scope: "s", Concurrency: []Concurrency{{ID: "at_once", Key: "k", Max: 2, TTL: time.Minute}}}
		first := acquire(t, l, c)
		acquire(t, l, c)
		wants(t, acquire(t, l, c), Wait, firstHold, "at_once")
		time.Sleep(200 * time.Millisecond)
		release(t, l, first.Permit, Report{})
		acquire(t, l, c)
		wants(t, acquire(t, l, c), Wait, 200*time.Millisecond, "at_once") // as long as the first held it
		time.Sleep(time.Minute)
		wants(t, acquire(t, l, c), Granted, 0, "") // those two are gone
	})
}

func TestWindowLowers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := NewMemory(nil)
		c := callOf(0, Limit{ID: "hour", Key: "k", Rate: Rate{5000, time.Hour}, Window: true})
		seen := func(left int64) Report { return Report{Windows: map[string]Window{"hour": {left, time.Minute}}} }
		first, second := acquire(t, m, c), acquire(t, m, c)
		third := acquire(t, m, c)
		release(t, m, first.Permit, seen(3)) // two in flight: one is left
		wants(t, acquire(t, m, c), Granted, 0, "")
		wants(t, acquire(t, m, c), Wait, time.Minute, "hour")
		release(t, m, second.Permit, seen(4000)) // never raises
		wants(t, acquire(t, m, c), Wait, time.Minute, "hour")
		release(t, m, third.Permit, Report{Used: map[string]int64{"hour": 0}}) // not modified: cost nothing
		wants(t, acquire(t, m, c), Granted, 0, "")
		time.Sleep(time.Minute)
		for range 100 {
			wants(t, acquire(t, m, c), Granted, 0, "")
		}
	})
}

func TestPauses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := NewMemory(nil)
		gate := Gate{ID: "secondary", Key: "g"}
		c := Call{Scope: "s", Gates: []Gate{gate}}
		pause := func(d time.Duration) {
			release(t, m, Permit{Scope: "s"}, Report{Pauses: []Pause{{Gate: gate, For: d}}})
		}
		for _, want := range []time.Duration{time.Minute, 2 * time.Minute, 4 * time.Minute} {
			pause(0)
			pause(0) // who was under way
			wants(t, acquire(t, m, c), Wait, want, "secondary")
			time.Sleep(want)
			wants(t, acquire(t, m, c), Granted, 0, "")
		}
		time.Sleep(time.Hour)
		pause(0)
		wants(t, acquire(t, m, c), Wait, time.Minute, "secondary")
		pause(5 * time.Minute)
		wants(t, acquire(t, m, c), Wait, 5*time.Minute, "secondary")
		pause(time.Second) // never shorter
		wants(t, acquire(t, m, c), Wait, 5*time.Minute, "secondary")
		c.Horizon = Farthest
		wants(t, acquire(t, m, c), Granted, 5*time.Minute, "secondary")
	})
}

func TestRefund(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := New(Config{})
		c := callOf(0, Limit{ID: "cost", Key: "points", Rate: Rate{50, time.Second}, Burst: 1000, Cost: 900})
		d := acquire(t, l, c)
		wants(t, acquire(t, l, c), Wait, 16*time.Second, "cost")
		time.Sleep(time.Second)
		release(t, l, d.Permit, Report{Used: map[string]int64{"cost": 100}})
		wants(t, acquire(t, l, c), Granted, 0, "")

		queue := callOf(Farthest, second(1, 1))
		first := acquire(t, l, queue)
		inTheMiddle := acquire(t, l, queue)
		last := acquire(t, l, queue)
		_ = first
		if err := l.Cancel(t.Context(), inTheMiddle.Permit); err != nil {
			t.Fatal(err)
		}
		again := acquire(t, l, queue)
		wants(t, again, Granted, 3*time.Second, "second") // not the slot of the last
		if err := l.Cancel(t.Context(), again.Permit); err != nil {
			t.Fatal(err)
		}
		wants(t, acquire(t, l, queue), Granted, 3*time.Second, "second")
		wants(t, last, Granted, 2*time.Second, "second")
	})
}

// TestPermitTravels releases a permit that was kept as JSON.
func TestPermitTravels(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := New(Config{})
		own := acquire(t, l, callOf(0, second(1, 1)))
		raw, err := json.Marshal(own.Permit)
		if err != nil {
			t.Fatal(err)
		}
		var kept Permit
		if err := json.Unmarshal(raw, &kept); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(own.Permit, kept); diff != "" {
			t.Fatal(diff)
		}
		c := Call{Scope: "github:_", Concurrency: []Concurrency{{ID: "at_once", Key: "k", Max: 1, TTL: time.Minute}}}
		permit, err := Join(kept, acquire(t, l, c).Permit)
		if err != nil {
			t.Fatal(err)
		}
		if err := l.Cancel(t.Context(), permit); err != nil {
			t.Fatal(err)
		}
		wants(t, acquire(t, l, callOf(0, second(1, 1))), Granted, 0, "")
		wants(t, acquire(t, l, c), Granted, 0, "")
	})
}

func TestMemoryIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := NewMemory(nil)
		for i := range 20_000 {
			l := second(1, 1)
			l.Key = fmt.Sprint("k", i)
			wants(t, acquire(t, m, callOf(0, l)), Granted, 0, "")
			time.Sleep(time.Millisecond)
		}
		if n := len(m.cells); n > 5000 { // 1000 or so are in use
			t.Errorf("%d cells are held", n)
		}
		m.most = len(m.cells)
		full := second(1, 1)
		full.Key = "new"
		time.Sleep(time.Minute)
		m.most = 0
		wants(t, acquire(t, m, callOf(0, full)), Wait, time.Second, "memory")
	})
}

func TestInvalidCalls(t *testing.T) {
	good := second(1, 1)
	tests := map[string]func(*Call){
		"no scope":     func(c *Call) { c.Scope = "" },
		"no key":       func(c *Call) { c.Limits[0].Key = "" },
		"key twice":    func(c *Call) { c.Limits = append(c.Limits, c.Limits[0]) },
		"no rate":      func(c *Call) { c.Limits[0].Rate = Rate{} },
		"forever":      func(c *Call) { c.Limits[0].Rate.Per = 365 * 24 * time.Hour },
		"negative":     func(c *Call) { c.Limits[0].Cost = -1 },
		"horizon":      func(c *Call) { c.Horizon = -1 },
		"no places":    func(c *Call) { c.Concurrency = []Concurrency{{Key: "k", TTL: 1}} },
		"no TTL":       func(c *Call) { c.Concurrency = []Concurrency{{Key: "k", Max: 1}} },
		"no gate":      func(c *Call) { c.Gates = []Gate{{}} },
		"endless fill": func(c *Call) { c.Limits[0].Burst, c.Limits[0].Rate.Per = 1<<31, 24*time.Hour },
		"many keys":    func(c *Call) { c.Gates = make([]Gate, maxKeys) },
	}
	for name, spoil := range tests {
		c := callOf(0, good)
		spoil(&c)
		for _, s := range []store{NewMemory(nil), NewRedis(nil), New(Config{})} {
			if d, err := s.Acquire(context.Background(), c); !errors.Is(err, ErrInvalid) {
				t.Errorf("%s: %T: %+v, %v", name, s, d, err)
			}
		}
	}
}
