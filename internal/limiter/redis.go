package limiter

import (
	"context"
	_ "embed" // the scripts
	"fmt"
	"time"

	"github.com/redis/go-redis/v9"
)

//go:embed acquire.lua
var acquireLua string

//go:embed release.lua
var releaseLua string

// Redis keeps the state of limits in Redis, for all processes that use the same
// one. Each call to it is one round trip, which those calls of one scope make
// together that come while another is under way. It is safe for concurrent use.
//
// An error other than [ErrInvalid] means that Redis did not answer or answered
// wrongly; whether it took the call is not known then.
type Redis struct {
	client           redis.UniversalClient
	acquire, release *redis.Script
	ids              *ids
	rides            *rides
	now              func() time.Time // nil: the server's clock
}

// NewRedis makes a store on a client, see [NewRedisClient].
func NewRedis(client redis.UniversalClient) *Redis {
	s := &Redis{client: client, ids: newIDs(), acquire: redis.NewScript(acquireLua), release: redis.NewScript(releaseLua)}
	s.rides = newRides(s.ride)
	return s
}

// clock is what a script takes for the time: 0 for the server's own.
func (s *Redis) clock() int64 {
	if s.now == nil {
		return 0
	}
	return s.now().UnixMicro()
}

// Acquire takes all of a call or nothing.
func (s *Redis) Acquire(ctx context.Context, c Call) (Decision, error) {
	if never, err := c.check(); err != nil || never != "" {
		return Decision{Outcome: Never, By: never}, err
	}
	if len(c.Limits)+len(c.Concurrency)+len(c.Gates) == 0 {
		return Decision{Outcome: Granted, Permit: Permit{ID: s.ids.next(), Scope: c.Scope, At: time.Now().UTC()}}, ctx.Err()
	}
	return s.rides.take(ctx, &c)
}

// id is the ID of the nth key of a call, from 1; "" for 0.
func (c *Call) id(n int) string {
	n--
	if n < 0 {
		return ""
	}
	if n < len(c.Limits) {
		return c.Limits[n].ID
	}
	n -= len(c.Limits)
	if n < len(c.Concurrency) {
		return c.Concurrency[n].ID
	}
	n -= len(c.Concurrency)
	if n < len(c.Gates) {
		return c.Gates[n].ID
	}
	return ""
}

// Release ends a call: it gives the places of the permit back, settles what the
// call used and learns what the response said.
func (s *Redis) Release(ctx context.Context, p Permit, r Report) error {
	keys := make([]string, 0, len(p.Limits)+len(p.Concurrency)+len(r.Pauses))
	argv := make([]any, 0, 4+7*len(p.Limits)+2*len(r.Pauses))
	limits := 0
	argv = append(argv, s.clock(), p.ID, 0, len(p.Concurrency))
	for i := range p.Limits {
		t := &p.Limits[i]
		if !r.settles(t) {
			continue
		}
		limits++
		keys = append(keys, limitKey(p.Scope, t.Key))
		remaining, reset := int64(-1), int64(0)
		if w, ok := r.Windows[t.ID]; ok && t.Window {
			remaining, reset = max(0, w.Remaining), micros(w.Reset, maxWindow)
		}
		argv = append(argv, t.Rate.interval(), t.cost(), flag(t.Window), r.used(t), t.Mark, remaining, reset)
	}
	argv[2] = limits
	for _, k := range p.Concurrency {
		keys = append(keys, placeKey(p.Scope, k.Key))
	}
	for _, pause := range r.Pauses {
		keys = append(keys, gateKey(p.Scope, pause.Gate.Key))
		argv = append(argv, micros(pause.For, maxPause), micros(pause.base(), maxStep))
	}
	if len(keys) == 0 {
		return nil
	}
	if err := s.release.Run(ctx, s.client, keys, argv...).Err(); err != nil {
		return fmt.Errorf("releasing a slot in redis: %w", err)
	}
	return nil
}

// flags are those of a limit as acquire.lua reads them.
func (l *Limit) flags() int {
	flags := 0
	if l.Window {
		flags++
	}
	if l.Queue {
		flags += 2
	}
	return flags
}

// flag is a truth value as release.lua reads it.
func flag(b bool) string {
	if b {
		return "1"
	}
	return "0"
}
