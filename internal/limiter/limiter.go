package limiter

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/rs/zerolog"
)

// Config is what a Limiter needs.
type Config struct {
	// Redis keeps the limits for all processes that use the same one; see
	// [NewRedisClient]. Nil: they are kept in this process. Whoever made it
	// closes it.
	Redis redis.UniversalClient
	// Replicas is how many processes share the limits, see [Presence]. It
	// counts while Redis does not answer. Nil: 1.
	Replicas func() int
	Log      zerolog.Logger
}

// Limiter keeps calls to providers within their limits. It is safe for
// concurrent use. Doc.go says how it is used.
type Limiter struct {
	store  store
	memory *Memory   // of this process
	redis  *Redis    // nil: there is none
	backed *fallback // nil: there is no Redis
	began  time.Time
	holds  holds
}

// New makes a limiter. It starts nothing, and has nothing to close.
func New(cfg Config) *Limiter {
	l := &Limiter{memory: NewMemory(nil), began: time.Now()}
	l.store = l.memory
	if cfg.Redis == nil {
		return l
	}
	if cfg.Replicas == nil {
		cfg.Replicas = func() int { return 1 }
	}
	l.redis = NewRedis(cfg.Redis)
	l.backed = newFallback(l.redis, l.memory, cfg.Replicas, cfg.Log)
	l.store = l.backed
	return l
}

// Acquire takes all that a call needs, or nothing. It takes 100 ms at most.
//
// An error is [ErrInvalid], a mistake in the call, or the end of ctx: that Redis
// does not answer is none.
func (l *Limiter) Acquire(ctx context.Context, c Call) (Decision, error) {
	d, err := l.store.Acquire(ctx, c)
	if err == nil && d.Outcome == Wait && c.isConcurrency(d.By) {
		d.Delay = max(d.Delay, l.holds.expect(c.Scope, d.By))
	}
	return d, err
}

// Reserve takes the next slot that a call can have, however far ahead, but not
// later than until; the zero time: in a month. The Delay of what is granted is
// the time until that slot, and no two calls get the same one beyond the burst.
// Where there is none before until it takes nothing, and Wait says how long it
// would have been.
func (l *Limiter) Reserve(ctx context.Context, c Call, until time.Time) (Decision, error) {
	c.Horizon = Farthest
	if !until.IsZero() {
		c.Horizon = max(0, min(Farthest, time.Until(until)))
	}
	return l.Acquire(ctx, c)
}

// Release ends a call: it gives the places of the permit back, settles what the
// call used, and learns what the response said, in one trip. The error is the
// end of ctx.
func (l *Limiter) Release(ctx context.Context, p Permit, r Report) error {
	l.holds.learn(&p, time.Now())
	return l.store.Release(ctx, p, r)
}

// Settles reports whether Release with r changes anything. It does not where the
// permit holds no place and the call cost what was asked, and the response said
// nothing: then it may be left out.
func (p *Permit) Settles(r *Report) bool {
	return len(p.Concurrency)+len(r.Pauses) > 0 || slices.ContainsFunc(p.Limits, func(t Taken) bool { return r.settles(&t) })
}

// Cancel gives back a permit whose call is not made. What is given back is as
// much as lets nobody pass the limit: of a slot in the middle of a queue, nothing.
func (l *Limiter) Cancel(ctx context.Context, p Permit) error {
	return l.store.Release(ctx, p, unused(&p))
}

// unused is the report of a call that is not made.
func unused(p *Permit) Report {
	r := Report{Used: make(map[string]int64, len(p.Limits))}
	for i := range p.Limits {
		r.Used[p.Limits[i].ID] = 0
	}
	return r
}

// Join makes one permit of two of the same scope, such as those of both stages:
// they are released in one trip. The places are released by the second's id.
func Join(first, second Permit) (Permit, error) {
	switch {
	case first.Scope == "":
		return second, nil
	case second.Scope == "":
		return first, nil
	case first.Scope != second.Scope || first.Local != second.Local || len(first.Concurrency) > 0:
		return Permit{}, errors.New("limiter: the permits cannot be joined")
	}
	second.Limits = append(append([]Taken{}, first.Limits...), second.Limits...)
	return second, nil
}

// Status says what keeps the limits now.
func (l *Limiter) Status() Status {
	if l.backed == nil {
		return Status{Store: "memory", Since: l.began, Share: 1}
	}
	return l.backed.status()
}

func (c *Call) isConcurrency(id string) bool {
	for _, k := range c.Concurrency {
		if k.ID == id {
			return true
		}
	}
	return false
}

// holds remembers how long calls hold their places, to tell others when one may
// be free.
type holds struct {
	mu    sync.Mutex
	times map[string]time.Duration // :: scope and id → moving average
}

const (
	maxHolds  = 10_000
	firstHold = time.Second
	minHold   = 10 * time.Millisecond
	maxHold   = 30 * time.Second
)

func (h *holds) learn(p *Permit, now time.Time) {
	if p.At.IsZero() || len(p.Concurrency) == 0 {
		return
	}
	took := max(0, now.Sub(p.At))
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, k := range p.Concurrency {
		key := p.Scope + " " + k.ID
		have, ok := h.times[key]
		if !ok && (h.times == nil || len(h.times) >= maxHolds) {
			h.times = map[string]time.Duration{}
		}
		if !ok {
			have = took
		}
		h.times[key] = have + (took-have)/8
	}
}

func (h *holds) expect(scope, id string) time.Duration {
	h.mu.Lock()
	defer h.mu.Unlock()
	took, ok := h.times[scope+" "+id]
	if !ok {
		return firstHold
	}
	return min(max(took, minHold), maxHold)
}
