package answers

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/failsafe-go/failsafe-go/circuitbreaker"
	"github.com/redis/go-redis/v9"
)

const (
	redisWait   = 80 * time.Millisecond // of one call, everything included
	redisErrors = 3                     // in a row, after which it counts as lost
	redisPause  = time.Second           // after which a Redis that was lost is tried again

	// MaxShared is the longest value in bytes that a [Redis] keeps.
	MaxShared = 256 << 10
	// maxOwed bounds the marks that are still to be stamped.
	maxOwed = 100_000

	valueKey = "plugfn:answer:"
	markKey  = "plugfn:mark:"
)

// Redis is a store that all processes with the same Redis share. What it holds is
// bounded in time by itself, in bytes by the server's maxmemory.
//
// A mark that is not there is made with a new stamp by whoever looks at it. So
// marks that the server has forgotten, by itself or with everything else, make
// answers old, never new again.
//
// Marks that could not be stamped are owed: nothing is read through this store
// until they are. Other processes do not know of them meanwhile, and may use an
// answer that is older than the write, as long as it is kept.
type Redis struct {
	client  redis.UniversalClient
	breaker circuitbreaker.CircuitBreaker[any]

	mu   sync.Mutex
	owed map[string]uint64 // :: mark → which of the debts is the last for it
	debt uint64            // the last of all
}

// NewRedis makes a store in a Redis. Whoever made the client closes it, and gives
// it time-outs.
func NewRedis(client redis.UniversalClient) *Redis {
	return &Redis{
		client: client, owed: map[string]uint64{},
		breaker: circuitbreaker.NewBuilder[any]().WithFailureThreshold(redisErrors).WithSuccessThreshold(1).WithDelay(redisPause).Build(),
	}
}

// Get implements [Store], in one round trip.
func (r *Redis) Get(ctx context.Context, key string, marks []string) (value []byte, stamps []string, err error) {
	err = r.ask(ctx, func(ctx context.Context) error {
		if err := r.pay(ctx); err != nil {
			return err
		}
		var got *redis.StringCmd
		at := make([]*redis.StringCmd, len(marks))
		_, err := r.client.Pipelined(ctx, func(p redis.Pipeliner) error {
			for i, mark := range marks {
				p.SetNX(ctx, markKey+mark, newStamp(), stampTTL)
				at[i] = p.Get(ctx, markKey+mark)
			}
			got = p.Get(ctx, valueKey+key)
			return nil
		})
		if err != nil && !errors.Is(err, redis.Nil) {
			return err
		}
		for _, stamp := range at {
			if stamp.Err() != nil {
				return fmt.Errorf("a mark that was just made: %w", stamp.Err())
			}
			stamps = append(stamps, stamp.Val())
		}
		if value, err = got.Bytes(); errors.Is(err, redis.Nil) {
			value, err = nil, nil
		}
		return err
	})
	if err != nil {
		return nil, nil, err
	}
	return value, stamps, nil
}

// Put implements [Store]. A value of more than MaxShared is not kept.
func (r *Redis) Put(ctx context.Context, key string, value []byte, ttl time.Duration) error {
	return r.ask(ctx, func(ctx context.Context) error {
		if len(value) > MaxShared || ttl < time.Millisecond {
			return r.client.Del(ctx, valueKey+key).Err()
		}
		return r.client.Set(ctx, valueKey+key, value, min(ttl, MaxTTL)).Err()
	})
}

// Stamp implements [Store]. Where it fails, the marks are stamped later.
func (r *Redis) Stamp(ctx context.Context, marks []string) error {
	r.owe(marks)
	return r.ask(ctx, r.pay)
}

func (r *Redis) owe(marks []string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, mark := range marks {
		if _, ok := r.owed[mark]; ok || len(r.owed) < maxOwed {
			r.debt++
			r.owed[mark] = r.debt
		}
	}
}

// pay stamps what is owed.
func (r *Redis) pay(ctx context.Context) error {
	r.mu.Lock()
	if len(r.owed) == 0 {
		r.mu.Unlock()
		return nil
	}
	owed := maps.Clone(r.owed)
	r.mu.Unlock()
	for part := range slices.Chunk(slices.Collect(maps.Keys(owed)), 1000) {
		_, err := r.client.Pipelined(ctx, func(p redis.Pipeliner) error {
			for _, mark := range part {
				p.Set(ctx, markKey+mark, newStamp(), stampTTL)
			}
			return nil
		})
		if err != nil {
			return err
		}
		r.mu.Lock()
		for _, mark := range part {
			if r.owed[mark] == owed[mark] { // no write went by meanwhile
				delete(r.owed, mark)
			}
		}
		r.mu.Unlock()
	}
	return nil
}

// errAway says that Redis is not asked at the moment.
var errAway = errors.New("redis is lost, and tried again in a second")

// ask does one thing with Redis, if that is there.
func (r *Redis) ask(ctx context.Context, do func(context.Context) error) error {
	if !r.breaker.TryAcquirePermit() {
		return errAway
	}
	within, cancel := context.WithTimeout(ctx, redisWait)
	defer cancel()
	err := do(within)
	switch {
	case err == nil:
		r.breaker.RecordSuccess()
	case ctx.Err() != nil && !r.breaker.IsHalfOpen(): // who asked went away, that says nothing
	default:
		r.breaker.RecordFailure()
	}
	return err
}
