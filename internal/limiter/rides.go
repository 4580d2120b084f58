package limiter

import (
	"context"
	"slices"
	"sync"
)

// ride is a call on its way to Redis.
type ride struct {
	call     *Call
	decision Decision
	err      error
	done     chan struct{} // closed once it is decided
	turn     chan struct{} // closed when it makes the next trip

	leads, left bool // guarded by rides.mu: it is to make the next trip; nobody waits for it
}

// maxRides is how many calls make one trip, which takes Redis about a
// millisecond.
const maxRides = 64

// rides has calls of one scope go to Redis together: those that come while a
// trip is under way make the next one. The first of them leads it, so nobody
// waits for company. It is safe for concurrent use.
type rides struct {
	// trip decides about calls of one scope, and gives back what was granted to a
	// call that has left meanwhile.
	trip func(ctx context.Context, all []*ride)

	mu      sync.Mutex
	waiting map[string][]*ride // :: scope, while a trip is under way
}

func newRides(trip func(context.Context, []*ride)) *rides {
	return &rides{trip: trip, waiting: map[string][]*ride{}}
}

// take has Redis decide about a call. Where ctx ends before, it is not known
// whether the call was granted.
func (s *rides) take(ctx context.Context, c *Call) (Decision, error) {
	r := &ride{call: c, done: make(chan struct{}), turn: make(chan struct{})}
	s.mu.Lock()
	waiting, busy := s.waiting[c.Scope]
	s.waiting[c.Scope] = append(waiting, r)
	s.mu.Unlock()
	if !busy {
		s.lead(ctx, c.Scope)
		return r.decision, r.err
	}
	select {
	case <-r.done:
		return r.decision, r.err
	case <-r.turn:
		s.lead(ctx, c.Scope)
		return r.decision, r.err
	case <-ctx.Done():
	}
	if s.leave(r) {
		s.next(c.Scope)
	}
	return Decision{}, ctx.Err()
}

// lead makes a trip with those that wait, the caller among them, and has the next
// one made. It takes until the deadline of ctx at most: who leads does not end
// early for himself, others are with him.
func (s *rides) lead(ctx context.Context, scope string) {
	deadline, ok := ctx.Deadline()
	ctx = context.WithoutCancel(ctx)
	if ok {
		var cancel context.CancelFunc
		ctx, cancel = context.WithDeadline(ctx, deadline)
		defer cancel()
	}
	s.mu.Lock()
	n := min(maxRides, len(s.waiting[scope]))
	all := slices.Clone(s.waiting[scope][:n])
	s.waiting[scope] = slices.Delete(s.waiting[scope], 0, n)
	s.mu.Unlock()
	defer s.next(scope)
	s.trip(ctx, all)
}

// next has the first of those that wait make the next trip.
func (s *rides) next(scope string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	waiting := s.waiting[scope]
	if len(waiting) == 0 {
		delete(s.waiting, scope)
		return
	}
	waiting[0].leads = true
	close(waiting[0].turn)
}

// leave takes back a call. It reports whether that was to make the next trip.
func (s *rides) leave(r *ride) (led bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	r.left = true
	if i := slices.Index(s.waiting[r.call.Scope], r); i >= 0 {
		s.waiting[r.call.Scope] = slices.Delete(s.waiting[r.call.Scope], i, i+1)
		return r.leads
	}
	return false
}

// settle tells those on a trip what was decided, and returns what was granted to
// those that have left.
func (s *rides) settle(all []*ride) (unused []Permit) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, r := range all {
		if r.left && r.decision.Outcome == Granted {
			unused = append(unused, r.decision.Permit)
		}
		close(r.done)
	}
	return unused
}
