package limiter

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// road lets trips be made one by one, and keeps who was on each.
type road struct {
	s     *rides
	open  chan struct{}
	trips [][]string // of the keys of the calls
	back  []Permit
}

func newRoad() *road {
	r := &road{open: make(chan struct{})}
	r.s = newRides(func(ctx context.Context, all []*ride) {
		var names []string
		for _, one := range all {
			names = append(names, one.call.Limits[0].Key)
		}
		r.trips = append(r.trips, names)
		select {
		case <-r.open:
		case <-ctx.Done():
		}
		for _, one := range all {
			one.err = ctx.Err()
			one.decision = Decision{Outcome: Granted, Permit: Permit{ID: one.call.Limits[0].Key}}
		}
		r.back = append(r.back, r.s.settle(all)...)
	})
	return r
}

// ask asks for leave in the background, and tells what came of it.
func (r *road) ask(ctx context.Context, wait *sync.WaitGroup, key string, came *error) {
	wait.Go(func() {
		d, err := r.s.take(ctx, &Call{Scope: "s", Limits: []Limit{{Key: key}}})
		if err == nil && d.Permit.ID != key {
			err = errors.New("got the answer of " + d.Permit.ID)
		}
		*came = err
	})
	synctest.Wait()
}

// Who is alone goes at once; those that come while a trip is under way make the
// next one together, and a scope that is idle keeps nothing.
func TestRidesAreShared(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, wait := newRoad(), &sync.WaitGroup{}
		var came [4]error
		for i, key := range []string{"a", "b", "c", "d"} {
			r.ask(t.Context(), wait, key, &came[i])
		}
		close(r.open)
		wait.Wait()
		if len(r.trips) != 2 || len(r.trips[0]) != 1 || len(r.trips[1]) != 3 {
			t.Errorf("trips %v", r.trips)
		}
		for i, err := range came {
			if err != nil {
				t.Errorf("call %d: %v", i, err)
			}
		}
		if len(r.s.waiting) != 0 {
			t.Errorf("left behind: %v", r.s.waiting)
		}
	})
}

// Who goes away before his trip takes nothing, and who leads the others ends for
// himself only; what is granted to one who has left is given back.
func TestRidersMayLeave(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, wait := newRoad(), &sync.WaitGroup{}
		var came [5]error
		ctx, cancel := context.WithCancel(t.Context())
		r.ask(t.Context(), wait, "a", &came[0])
		r.ask(ctx, wait, "gone", &came[1]) // was to lead the next
		r.ask(t.Context(), wait, "b", &came[2])
		cancel()
		synctest.Wait()
		on, leave := context.WithCancel(t.Context())
		r.open <- struct{}{} // b leads
		synctest.Wait()
		r.ask(t.Context(), wait, "c", &came[3])
		r.ask(on, wait, "left", &came[4])
		r.open <- struct{}{} // c leads, with left
		synctest.Wait()
		leave()
		synctest.Wait()
		close(r.open)
		wait.Wait()
		for i, wrong := range map[int]bool{0: came[0] != nil, 1: came[1] == nil, 2: came[2] != nil, 3: came[3] != nil, 4: came[4] == nil} {
			if wrong {
				t.Errorf("call %d: %v", i, came[i])
			}
		}
		if len(r.trips) != 3 || len(r.back) != 1 || r.back[0].ID != "left" {
			t.Errorf("trips %v, given back %v", r.trips, r.back)
		}
	})
}

// Nobody waits for longer than for the trip that is under way and his own.
func TestRidesEndInTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, wait := newRoad(), &sync.WaitGroup{}
		began := time.Now()
		var came [3]error
		for i, key := range []string{"a", "b", "c"} {
			ctx, cancel := context.WithTimeout(t.Context(), redisWait)
			defer cancel()
			r.ask(ctx, wait, key, &came[i])
		}
		wait.Wait()
		if took := time.Since(began); took != redisWait {
			t.Errorf("it took %s", took)
		}
		for i, err := range came {
			if !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("call %d: %v", i, err)
			}
		}
	})
}
