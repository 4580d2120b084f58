package limiter

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"
)

// Standing is how one key stands.
type Standing struct {
	Scope string `json:"scope"`
	Key   string `json:"key"`
	Kind  string `json:"kind"` // rate, concurrency, pause
	// Full is, of a rate, the time until nothing of it is in use.
	Full time.Duration `json:"full,omitempty"`
	// Remaining is what the provider's window has left, until Reset is over;
	// -1: unknown.
	Remaining int64         `json:"remaining,omitempty"`
	Reset     time.Duration `json:"reset,omitempty"`
	InFlight  int64         `json:"in_flight,omitempty"` // calls, of a concurrency limit; cost, of a rate with a window
	Paused    time.Duration `json:"paused,omitempty"`    // how much longer
}

// The kinds of a Standing, and how they are marked in keys.
const (
	KindRate        = "rate"
	KindConcurrency = "concurrency"
	KindPause       = "pause"
)

func kinds() map[string]string {
	return map[string]string{"r": KindRate, "c": KindConcurrency, "g": KindPause}
}

const (
	maxStandings = 1000 // told of one provider
	scanStep     = 500
)

// Standings tells how the keys of a provider's scopes stand that are in use, at
// most a thousand of them, ordered.
func (l *Limiter) Standings(ctx context.Context, provider string) ([]Standing, error) {
	all := l.memory.standings(provider)
	if l.redis != nil && l.Status().Store == "redis" {
		var err error
		if all, err = l.redis.standings(ctx, provider); err != nil {
			return nil, err
		}
	}
	slices.SortFunc(all, func(a, b Standing) int {
		return cmp.Or(cmp.Compare(a.Scope, b.Scope), cmp.Compare(a.Key, b.Key), cmp.Compare(a.Kind, b.Kind))
	})
	return all[:min(len(all), maxStandings)], nil
}

// Forget drops what is known of a provider's limits: buckets are full, gates are
// open, places are free.
func (l *Limiter) Forget(ctx context.Context, provider string) error {
	l.memory.forget(provider)
	if l.redis == nil {
		return nil
	}
	return l.redis.forget(ctx, provider)
}

// prefixOf is what the keys of all scopes of a provider begin with.
func prefixOf(provider string) string { return keyPrefix + "{" + provider + ":" }

// standing reads a key; false where it is none of ours.
func standing(key string) (Standing, bool) {
	scope, rest, ok := strings.Cut(strings.TrimPrefix(key, keyPrefix+"{"), "}:")
	mark, name, found := strings.Cut(rest, ":")
	kind, known := kinds()[mark]
	return Standing{Scope: scope, Key: name, Kind: kind}, ok && found && known
}

// limit fills in a rate; false: nothing of it is in use.
func (s *Standing) limit(at limitState, now int64) bool {
	at = at.seen(now)
	s.Full, s.Remaining, s.InFlight = fromMicros(max(0, at.tat-now)), at.left, at.flight
	if at.reset > 0 {
		s.Reset = fromMicros(at.reset - now)
	}
	return s.Full > 0 || s.Remaining >= 0
}

// gate fills in a pause; false: it is over.
func (s *Standing) gate(g gateState, now int64) bool {
	s.Paused = fromMicros(g.seen(now).wait(now))
	return s.Paused > 0
}

func (m *Memory) standings(provider string) []Standing {
	m.mu.Lock()
	defer m.mu.Unlock()
	now := m.clock()
	var all []Standing
	for key, at := range m.cells {
		s, ok := standing(key)
		if !ok || !strings.HasPrefix(key, prefixOf(provider)) {
			continue
		}
		switch s.Kind {
		case KindRate:
			ok = s.limit(at.limit, now)
		case KindPause:
			ok = s.gate(at.gate, now)
		default:
			for _, until := range at.places {
				if until > now {
					s.InFlight++
				}
			}
			ok = s.InFlight > 0
		}
		if ok {
			all = append(all, s)
		}
	}
	return all
}

func (m *Memory) forget(provider string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for key := range m.cells {
		if strings.HasPrefix(key, prefixOf(provider)) {
			delete(m.cells, key)
		}
	}
}

// each calls do with the keys of a provider, on every node that has some.
func (s *Redis) each(ctx context.Context, provider string, do func(context.Context, redis.Cmdable, []string) error) error {
	scan := func(ctx context.Context, node *redis.Client) error {
		cursor := uint64(0)
		for {
			keys, next, err := node.Scan(ctx, cursor, prefixOf(provider)+"*", scanStep).Result()
			if err == nil && len(keys) > 0 {
				err = do(ctx, node, keys)
			}
			if err != nil {
				return fmt.Errorf("reading limits in redis: %w", err)
			}
			if cursor = next; cursor == 0 {
				return nil
			}
		}
	}
	switch client := s.client.(type) {
	case *redis.ClusterClient:
		return client.ForEachMaster(ctx, scan)
	case *redis.Client:
		return scan(ctx, client)
	default:
		return fmt.Errorf("reading limits in redis: a client of type %T", client)
	}
}

func (s *Redis) standings(ctx context.Context, provider string) ([]Standing, error) {
	now := time.Now().UnixMicro()
	if at, err := s.client.Time(ctx).Result(); err == nil && s.now == nil {
		now = at.UnixMicro()
	}
	var all []Standing
	seen := map[string]bool{}
	err := s.each(ctx, provider, func(ctx context.Context, node redis.Cmdable, keys []string) error {
		for _, key := range keys {
			if seen[key] || len(all) >= maxStandings {
				continue
			}
			seen[key] = true
			one, ok, err := readStanding(ctx, node, key, now)
			if err != nil {
				return err
			}
			if ok {
				all = append(all, one)
			}
		}
		return nil
	})
	return all, err
}

func readStanding(ctx context.Context, node redis.Cmdable, key string, now int64) (s Standing, ok bool, err error) {
	if s, ok = standing(key); !ok {
		return s, false, nil
	}
	if s.Kind == KindConcurrency {
		s.InFlight, err = node.ZCount(ctx, key, fmt.Sprintf("(%d", now), "+inf").Result()
		return s, err == nil && s.InFlight > 0, err
	}
	raw, err := node.Get(ctx, key).Result()
	if err != nil {
		if errors.Is(err, redis.Nil) { // it has just expired
			err = nil
		}
		return s, false, err
	}
	if s.Kind == KindPause {
		var g gateState
		if _, err := fmt.Sscan(raw, &g.until, &g.at, &g.step); err != nil {
			return s, false, fmt.Errorf("%s: %w", key, err)
		}
		return s, s.gate(g, now), nil
	}
	var at limitState
	if _, err := fmt.Sscan(raw, &at.tat, &at.due, &at.back, &at.at, &at.left, &at.reset, &at.flight); err != nil {
		return s, false, fmt.Errorf("%s: %w", key, err)
	}
	return s, s.limit(at, now), nil
}

func (s *Redis) forget(ctx context.Context, provider string) error {
	return s.each(ctx, provider, func(ctx context.Context, node redis.Cmdable, keys []string) error {
		for _, key := range keys { // one by one: in a cluster they may be of several slots
			if err := node.Unlink(ctx, key).Err(); err != nil {
				return err
			}
		}
		return nil
	})
}
