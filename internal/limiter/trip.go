package limiter

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// trip is what one run of acquire.lua is told: calls of one scope, and what they
// have in common once.
type trip struct {
	limits, gates, places distinct[string] // keys
	rates                 distinct[rateRow]
	maxima                distinct[maxRow]
	rows                  []tripRow
}

type rateRow struct {
	key                   int // of limits
	interval, burst, cost int64
	flags                 int
}

type maxRow struct {
	key      int // of places
	max, ttl int64
}

// tripRow is one call.
type tripRow struct {
	horizon              int64
	permit               string
	rates, maxima, gates []int
}

// distinct is a list without repetitions, counted from 1.
type distinct[T comparable] struct {
	list []T
	at   map[T]int
}

func (d *distinct[T]) index(v T) int {
	if i, ok := d.at[v]; ok {
		return i
	}
	if d.at == nil {
		d.at = map[T]int{}
	}
	d.list = append(d.list, v)
	d.at[v] = len(d.list)
	return len(d.list)
}

func (t *trip) add(c *Call, permit string) {
	row := tripRow{horizon: c.Horizon.Microseconds(), permit: permit}
	for i := range c.Limits {
		l := &c.Limits[i]
		row.rates = append(row.rates, t.rates.index(rateRow{t.limits.index(limitKey(c.Scope, l.Key)), l.Rate.interval(), l.burst(), l.cost(), l.flags()}))
	}
	for _, k := range c.Concurrency {
		row.maxima = append(row.maxima, t.maxima.index(maxRow{t.places.index(placeKey(c.Scope, k.Key)), k.Max, k.TTL.Microseconds()}))
	}
	for _, g := range c.Gates {
		row.gates = append(row.gates, t.gates.index(gateKey(c.Scope, g.Key)))
	}
	t.rows = append(t.rows, row)
}

// args are the KEYS and ARGV of the script.
func (t *trip) args(clock int64) (keys []string, argv []any) {
	nl, ng := len(t.limits.list), len(t.gates.list)
	keys = append(append(append(make([]string, 0, nl+ng+len(t.places.list)), t.limits.list...), t.gates.list...), t.places.list...)
	argv = make([]any, 0, 6+5*len(t.rates.list)+3*len(t.maxima.list)+12*len(t.rows))
	argv = append(argv, clock, nl, ng, len(t.rates.list), len(t.maxima.list), len(t.rows))
	for _, r := range t.rates.list {
		argv = append(argv, r.key, r.interval, r.burst, r.cost, r.flags)
	}
	for _, m := range t.maxima.list {
		argv = append(argv, nl+ng+m.key, m.max, m.ttl)
	}
	list := func(of []int, offset int) {
		argv = append(argv, len(of))
		for _, i := range of {
			argv = append(argv, offset+i)
		}
	}
	for _, row := range t.rows {
		argv = append(argv, row.horizon, row.permit)
		list(row.rates, 0)
		list(row.maxima, 0)
		list(row.gates, nl)
	}
	return keys, argv
}

// together decides about calls of one scope, one after the other, in one trip.
func (s *Redis) together(ctx context.Context, calls []*Call) ([]Decision, error) {
	var t trip
	permits := make([]Permit, len(calls))
	for i, c := range calls {
		permits[i] = Permit{ID: s.ids.next(), Scope: c.Scope, Concurrency: c.Concurrency, At: time.Now().UTC()}
		t.add(c, permits[i].ID)
	}
	keys, argv := t.args(s.clock())
	answer, err := s.acquire.Run(ctx, s.client, keys, argv...).Int64Slice()
	if err != nil {
		return nil, fmt.Errorf("asking redis for a slot: %w", err)
	}
	decisions := make([]Decision, len(calls))
	for i, c := range calls {
		if decisions[i], answer, err = decision(c, permits[i], answer); err != nil {
			return nil, err
		}
	}
	return decisions, nil
}

// decision reads what acquire.lua answers about one call, and returns the rest of
// the answer.
func decision(c *Call, p Permit, answer []int64) (Decision, []int64, error) {
	if len(answer) < 3 || answer[0] == 1 && len(answer) < 3+len(c.Limits) {
		return Decision{}, nil, errors.New("asking redis for a slot: the answer is not that of the script")
	}
	d := Decision{Delay: fromMicros(answer[2]), By: c.id(int(answer[1]))}
	if answer[0] != 1 {
		return d, answer[3:], nil
	}
	for i, l := range c.Limits {
		p.Limits = append(p.Limits, Taken{Limit: l, Mark: answer[3+i]})
	}
	d.Outcome, d.Permit = Granted, p
	return d, answer[3+len(c.Limits):], nil
}

// ride decides about calls that go together, and gives back what was granted to
// those that have left.
func (s *Redis) ride(ctx context.Context, all []*ride) {
	calls := make([]*Call, len(all))
	for i, r := range all {
		calls[i] = r.call
	}
	decisions, err := s.together(ctx, calls)
	for i, r := range all {
		if r.err = err; err == nil {
			r.decision = decisions[i]
		}
	}
	for _, p := range s.rides.settle(all) {
		_ = s.Release(ctx, p, unused(&p)) // else its places are free after their TTL
	}
}
