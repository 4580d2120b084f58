package limiter

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/failsafe-go/failsafe-go/circuitbreaker"
	"github.com/rs/zerolog"
)

const (
	redisWait   = 80 * time.Millisecond // of one call, everything included
	redisPause  = time.Second           // after which a Redis that was lost is tried again
	redisErrors = 3                     // in a row, after which it counts as lost
	localShare  = 0.8                   // of a limit, that all replicas together use without Redis
)

// store is what keeps limits: Redis, or a fake of a test.
type store interface {
	Acquire(ctx context.Context, c Call) (Decision, error)
	Release(ctx context.Context, p Permit, r Report) error
}

// fallback asks Redis and, as long as that does not answer, a store of this
// process that keeps to a share of each limit: all replicas together stay below
// it. What responses said about windows and pauses is known to both.
type fallback struct {
	shared   store
	local    *Memory
	replicas func() int
	breaker  circuitbreaker.CircuitBreaker[any]
	log      zerolog.Logger
	now      func() time.Time

	ahead ahead
	turn  chan struct{} // of who reminds Redis: one at a time

	mu       sync.Mutex
	lost     bool
	since    time.Time
	failures uint64
	last     string
}

func newFallback(shared store, local *Memory, replicas func() int, log zerolog.Logger) *fallback {
	return &fallback{
		shared: shared, local: local, replicas: replicas, log: log, now: local.now, since: local.now(), turn: make(chan struct{}, 1),
		breaker: circuitbreaker.NewBuilder[any]().WithFailureThreshold(redisErrors).WithSuccessThreshold(1).WithDelay(redisPause).Build(),
	}
}

// Acquire never lets a call pass unlimited: where Redis does not answer in
// time, the local share decides.
func (f *fallback) Acquire(ctx context.Context, c Call) (Decision, error) {
	if never, err := c.check(); err != nil || never != "" {
		return Decision{Outcome: Never, By: never}, err
	}
	if err := ctx.Err(); err != nil {
		return Decision{}, err
	}
	if d, closed := f.local.closed(&c); closed { // Redis may have forgotten
		return d, nil
	}
	var d Decision
	err := f.ask(ctx, func(ctx context.Context) (err error) {
		if d, err = f.shared.Acquire(ctx, c); err == nil && len(f.ahead.forgotten(&c, &d, f.now())) > 0 {
			d, err = f.remind(ctx, c, d)
		}
		return err
	})
	if err != nil {
		if ctx.Err() != nil {
			return d, err
		}
		part := c.share(f.part())
		f.local.after(&part, &f.ahead)
		d, err = f.local.Acquire(ctx, part)
		d.Permit.Local = true
	}
	if err == nil && d.Outcome == Granted {
		f.ahead.note(&c, &d, f.now())
	}
	return d, err
}

// remind takes the slots that Redis has forgotten, and then one for the call. The
// one that it has granted before them is given back.
func (f *fallback) remind(ctx context.Context, c Call, d Decision) (Decision, error) {
	select {
	case f.turn <- struct{}{}:
		defer func() { <-f.turn }()
	case <-ctx.Done():
		return d, ctx.Err()
	}
	for range 2 { // the first time, somebody else may have done it meanwhile
		if err := f.shared.Release(ctx, d.Permit, unused(&d.Permit)); err != nil {
			return d, err
		}
		var err error
		if d, err = f.shared.Acquire(ctx, c); err != nil {
			return d, err
		}
		missing := f.ahead.forgotten(&c, &d, f.now())
		if len(missing) == 0 {
			break
		}
		for _, m := range missing {
			taken, err := f.shared.Acquire(ctx, m)
			if err != nil {
				return d, err
			}
			if taken.Outcome == Granted {
				f.ahead.reminded(&m, taken.Permit.Limits[0].Mark)
			}
		}
	}
	return d, nil
}

var errOpen = errors.New("redis is lost, and tried again in a second")

// ask does one thing with Redis, if that is there.
func (f *fallback) ask(ctx context.Context, do func(context.Context) error) error {
	if !f.breaker.TryAcquirePermit() {
		return errOpen
	}
	within, cancel := context.WithTimeout(ctx, redisWait)
	err := do(within)
	cancel()
	switch {
	case err == nil || errors.Is(err, ErrInvalid):
		f.breaker.RecordSuccess()
		f.found()
	case ctx.Err() != nil && !f.breaker.IsHalfOpen(): // who asked went away, that says nothing
	default:
		f.breaker.RecordFailure()
		f.miss(err)
	}
	return err
}

// found notes that Redis answers.
func (f *fallback) found() {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.lost {
		f.lost, f.since = false, f.now()
		f.log.Info().Msg("redis is back, limits are shared again")
	}
}

// miss notes that Redis does not answer. The local buckets begin empty: what
// they held is in use already, by way of Redis.
func (f *fallback) miss(err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.failures++
	f.last = err.Error()
	if !f.lost {
		f.lost, f.since = true, f.now()
		f.local.chill()
		f.log.Error().Err(err).Float64("share", f.part()).Msg("redis does not answer, this process keeps to its share of the limits")
	}
}

// part is the share of a limit that this process uses on its own.
func (f *fallback) part() float64 { return localShare / float64(max(1, f.replicas())) }

// share is the call with that part of its limits.
func (c Call) share(part float64) Call {
	limits, places := c.Limits, c.Concurrency
	c.Limits, c.Concurrency = make([]Limit, len(limits)), make([]Concurrency, len(places))
	for i, l := range limits {
		burst := l.burst()
		l.Rate.Per = min(maxInterval, time.Duration(float64(l.Rate.Per)/part))
		l.Burst = max(l.cost(), int64(float64(burst)*part))
		c.Limits[i] = l
	}
	for i, k := range places {
		k.Max = max(1, int64(float64(k.Max)*part))
		c.Concurrency[i] = k
	}
	return c
}

// Release tells both stores what the response said. A permit of Redis that
// cannot be released now frees its places by their TTL.
func (f *fallback) Release(ctx context.Context, p Permit, r Report) error {
	if p.Local {
		if err := f.local.Release(ctx, p, r); err != nil {
			return err
		}
		if len(r.Pauses) > 0 { // the others want to know as well
			_ = f.ask(ctx, func(ctx context.Context) error {
				return f.shared.Release(ctx, Permit{Scope: p.Scope}, Report{Pauses: r.Pauses})
			})
		}
		return nil
	}
	f.local.learn(p, r, f.part())
	_ = f.ask(ctx, func(ctx context.Context) error { return f.shared.Release(ctx, p, r) }) // noted by miss
	return ctx.Err()
}

// Status says what keeps the limits now.
type Status struct {
	Store    string    `json:"store"`              // memory, redis, or local: Redis does not answer
	Since    time.Time `json:"since"`              // when that began
	Share    float64   `json:"share"`              // of each limit that this process may use on its own; 1: all of it
	Failures uint64    `json:"failures"`           // of Redis, since the start
	Last     string    `json:"last,omitempty"`     // failure of Redis
	Replicas int       `json:"replicas,omitempty"` // that share the limits
}

func (f *fallback) status() Status {
	f.mu.Lock()
	defer f.mu.Unlock()
	s := Status{Store: "redis", Since: f.since, Share: 1, Failures: f.failures, Last: f.last, Replicas: max(1, f.replicas())}
	if f.lost {
		s.Store, s.Share = "local", f.part()
	}
	return s
}
