package limiter

import (
	"slices"
	"time"

	"github.com/plugfn/plugfn/pkg/events"
	"github.com/plugfn/plugfn/pkg/providers"
)

// Bounds is what a pack says about one call, [providers.Action.Limits].
type Bounds struct {
	Provider string
	App      string // the operator's OAuth client there; "": the only one
	Limits   []providers.BoundLimit
	// Hold is after which time a place of a concurrency limit is free again
	// whose holder is gone: more than the longest that the call may take.
	Hold time.Duration
	// Overrides are the operator's. Nil: none.
	Overrides *Overrides
	// Share, above 0 and below 1, is how much of the rates of the whole app those
	// calls may take that have the same Holder: they queue for their share in the
	// first stage, and leave the rest to others. 0: there are no shares.
	Share  float64
	Holder string
}

// Scope is what the keys of all calls of the same provider and app belong to.
func Scope(provider, app string) string { return events.Token(provider) + ":" + events.Token(app) }

// Own is the call of the first stage: the rates that only the connection's own
// calls share, to be reserved as far ahead as it takes, see [Limiter.Reserve].
func (b *Bounds) Own() Call { return b.call(true) }

// Shared is the call of the second stage: everything else, to be acquired when
// the first stage's time has come. The gates are part of both.
func (b *Bounds) Shared() Call { return b.call(false) }

func (b *Bounds) call(own bool) Call {
	c := Call{Scope: Scope(b.Provider, b.App)}
	if own {
		c.Limits = b.shares()
	}
	for i := range b.Limits {
		l := &b.Limits[i]
		over, _ := b.override(l.ID)
		rate, most := l.Rate, l.Concurrency
		if over.Rate != (providers.Rate{}) && most == 0 {
			rate = over.Rate
		}
		if over.Most > 0 && most > 0 {
			most = over.Most
		}
		switch {
		case l.Pause > 0:
			if l.Own || !own {
				c.Gates = append(c.Gates, Gate{ID: l.ID, Key: l.At})
			}
		case most > 0:
			if !own {
				c.Concurrency = append(c.Concurrency, Concurrency{ID: l.ID, Key: l.At, Max: int64(most), TTL: b.Hold})
			}
		case l.Own == own:
			c.Limits = append(c.Limits, Limit{
				ID: l.ID, Key: l.At, Rate: Rate{int64(rate.Count), rate.Per}, Cost: int64(l.Cost),
				Burst: max(int64(l.Cost), BurstOf(l.Limit, over)), Window: l.Observed(),
			})
		}
	}
	return c
}

// shares are the holder's parts of the rates of the whole app, where no rate of
// his own keeps him apart already: to queue for both would let the slower one
// hold up calls that only the faster one is for.
func (b *Bounds) shares() []Limit {
	if b.Share <= 0 || b.Share >= 1 || slices.ContainsFunc(b.Limits, func(l providers.BoundLimit) bool { return l.Own && l.Rate.Count > 0 }) {
		return nil
	}
	var shares []Limit
	for i := range b.Limits {
		l := &b.Limits[i]
		if l.Rate.Count == 0 || !l.IsOfApp() {
			continue
		}
		over, _ := b.override(l.ID)
		rate := l.Rate
		if over.Rate.Count > 0 {
			rate = over.Rate
		}
		shares = append(shares, Limit{
			ID: l.ID, Key: l.At + ":share:" + events.Token(b.Holder), Cost: int64(l.Cost),
			Rate:  Rate{int64(rate.Count), min(maxInterval, time.Duration(float64(rate.Per)/b.Share))},
			Burst: max(int64(l.Cost), int64(float64(BurstOf(l.Limit, over))*b.Share)),
		})
	}
	return shares
}

// BurstOf is the burst of a rate as it is with the operator's override; the zero
// Override is none.
func BurstOf(l *providers.Limit, over Override) int64 {
	switch {
	case over.Rate == (providers.Rate{}):
		return int64(l.BurstOrDefault(l.Rate))
	case over.Burst > 0:
		return int64(over.Burst)
	default:
		plain := *l
		plain.Burst = 0
		return int64(plain.BurstOrDefault(over.Rate))
	}
}

func (b *Bounds) override(id string) (Override, bool) {
	if b.Overrides == nil {
		return Override{}, false
	}
	return b.Overrides.Of(b.Provider, id)
}

// ReportOf is the report of what was found in a response.
func ReportOf(o providers.Observation) Report {
	r := Report{Used: make(map[string]int64, len(o.Used)), Windows: make(map[string]Window, len(o.Windows))}
	for id, used := range o.Used {
		r.Used[id] = int64(used)
	}
	for id, w := range o.Windows {
		r.Windows[id] = Window{Remaining: w.Remaining, Reset: w.Reset}
	}
	if o.Pause != nil {
		r.Pauses = []Pause{{Gate: Gate{ID: o.Pause.ID, Key: o.Pause.At}, For: o.For, Base: o.Pause.Pause}}
	}
	return r
}
