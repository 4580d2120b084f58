package limiter

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rs/zerolog"
)

// shaky is a shared store that fails when told so.
type shaky struct {
	*Memory
	err   error
	slow  time.Duration
	asked int
}

func (s *shaky) Acquire(ctx context.Context, c Call) (Decision, error) {
	if err := s.fails(ctx); err != nil {
		return Decision{}, err
	}
	return s.Memory.Acquire(ctx, c)
}

func (s *shaky) Release(ctx context.Context, p Permit, r Report) error {
	if err := s.fails(ctx); err != nil {
		return err
	}
	return s.Memory.Release(ctx, p, r)
}

func (s *shaky) fails(ctx context.Context) error {
	s.asked++
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(s.slow):
		return s.err
	}
}

func newShaky(replicas int) (*fallback, *shaky) {
	s := &shaky{Memory: NewMemory(nil)}
	return newFallback(s, NewMemory(nil), func() int { return replicas }, zerolog.Nop()), s
}

func tens() Limit { return Limit{ID: "ten", Key: "k", Rate: Rate{10, time.Second}} }

func TestFallbackKeepsToItsShare(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, shared := newShaky(2)
		wants(t, acquire(t, f, callOf(0, tens())), Granted, 0, "")
		shared.err = errors.New("no route")
		granted := 0
		for end := time.Now().Add(time.Minute); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
			d := acquire(t, f, callOf(0, tens()))
			if d.Outcome == Granted {
				granted++
				release(t, f, d.Permit, Report{})
			}
		}
		if want := 60 * 10 * 8 / 10 / 2; granted < want*95/100 || granted > want+1 {
			t.Errorf("%d in a minute, this replica's share are %d", granted, want)
		}
		if shared.asked > 70 {
			t.Errorf("asked %d times while it was lost: once a second is enough", shared.asked)
		}
		if s := f.status(); s.Store != "local" || s.Share != 0.4 || s.Last != "no route" {
			t.Errorf("status %+v", s)
		}
		shared.err = nil
		time.Sleep(redisPause)
		d := acquire(t, f, callOf(0, tens()))
		if s := f.status(); s.Store != "redis" || s.Share != 1 || d.Permit.Local {
			t.Errorf("status %+v after it came back", s)
		}
	})
}

func TestFallbackIsFast(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, shared := newShaky(1)
		shared.slow = time.Hour
		for i := range 5 {
			began := time.Now()
			acquire(t, f, callOf(0, tens()))
			if took := time.Since(began); took > 100*time.Millisecond || i >= redisErrors && took > 0 {
				t.Errorf("call %d took %s", i, took)
			}
		}
	})
}

// TestFallbackRemembers looks for what responses said, in the local store: a
// closed gate and a window that is used up.
func TestFallbackRemembers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, shared := newShaky(1)
		l := tens()
		l.Window = true
		c := callOf(0, l)
		c.Gates = []Gate{{ID: "gate", Key: "g"}}
		d := acquire(t, f, c)
		release(t, f, d.Permit, Report{
			Windows: map[string]Window{"ten": {0, time.Hour}},
			Pauses:  []Pause{{Gate: c.Gates[0], For: time.Minute}},
		})
		shared.forget("github") // FLUSHALL
		wants(t, acquire(t, f, c), Wait, time.Minute, "gate")
		shared.err = errors.New("lost")
		time.Sleep(time.Minute)
		wants(t, acquire(t, f, c), Wait, time.Hour-time.Minute, "ten")
	})
}

// TestPauseOfALocalCall reaches the others once Redis answers.
func TestPauseOfALocalCall(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, shared := newShaky(1)
		c := callOf(0, tens())
		c.Gates = []Gate{{ID: "gate", Key: "g"}}
		shared.err = errors.New("lost")
		d := acquire(t, f, c)
		if !d.Permit.Local {
			t.Fatal("the permit is not local")
		}
		shared.err = nil
		release(t, f, d.Permit, Report{Pauses: []Pause{{Gate: c.Gates[0], For: time.Minute}}})
		wants(t, acquire(t, shared, c), Wait, time.Minute, "gate")
	})
}

// TestWhoGoesAway does not open the breaker.
func TestWhoGoesAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, shared := newShaky(1)
		shared.slow = 50 * time.Millisecond
		for range 10 {
			ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
			if _, err := f.Acquire(ctx, callOf(0, tens())); !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("error %v", err)
			}
			cancel()
		}
		if s := f.status(); s.Store != "redis" || s.Failures != 0 {
			t.Errorf("status %+v", s)
		}
	})
}
