package limiter

import (
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
	// Holder is who the calls are for. Those of one holder queue in the first
	// stage, so that in the second he is one among the others.
	Holder string
	// Share, above 0 and below 1, is how much of the rates of the whole app the
	// calls of one holder may take. 0: they do not queue for these rates.
	Share float64
	// Backlog says that the call has waited in a queue. All such calls together
	// leave a part of the rates of the whole app to those that have not.
	Backlog bool
}

// backlogShare is the part that calls with a backlog may take of a rate.
const backlogShare = 0.8

// queuePace is how fast a queue moves for the limit that it is for: a little slower,
// so that who comes late does not hold up all that come after him.
const queuePace = 0.95

// Scope is what the keys of all calls of the same provider and app belong to.
func Scope(provider, app string) string { return events.Token(provider) + ":" + events.Token(app) }

// Own is the call of the first stage, to be reserved as far ahead as it takes,
// see [Limiter.Reserve]. Of rates that are the connection's own it takes a slot
// itself, of all of them together. For each other one the holder has a queue,
// and each queue moves at its own pace: what waits long for one limit does not
// hold up what is for another one.
func (b *Bounds) Own() Call {
	c := b.empty()
	for i := range b.Limits {
		l := &b.Limits[i]
		switch {
		case l.Pause > 0:
			c.Gates = append(c.Gates, Gate{ID: l.ID, Key: l.At})
		case l.Own && l.Rate.Count > 0:
			c.Limits = append(c.Limits, b.limit(l))
		case l.Rate.Count > 0:
			c.Limits = b.queued(c.Limits, l)
		}
	}
	return c
}

// Shared is the call of the second stage: everything else, to be acquired when
// the first stage's time has come. The gates are part of both.
func (b *Bounds) Shared() Call {
	c := b.empty()
	for i := range b.Limits {
		l := &b.Limits[i]
		switch {
		case l.Pause > 0:
			c.Gates = append(c.Gates, Gate{ID: l.ID, Key: l.At})
		case l.Own && l.Rate.Count > 0:
		case l.Rate.Count > 0:
			c.Limits = append(c.Limits, b.limit(l))
			if b.Backlog && l.IsOfApp() {
				part := b.limit(l)
				part.take(backlogShare, queueMark+"backlog")
				c.Limits = append(c.Limits, part)
			}
		default:
			most := l.Concurrency
			if over, ok := b.override(l.ID); ok && over.Most > 0 {
				most = over.Most
			}
			c.Concurrency = append(c.Concurrency, Concurrency{ID: l.ID, Key: l.At, Max: int64(most), TTL: b.Hold})
		}
	}
	return c
}

func (b *Bounds) empty() Call { return Call{Scope: Scope(b.Provider, b.App)} }

// limit is a rate as it is with the operator's override.
func (b *Bounds) limit(l *providers.BoundLimit) Limit {
	over, _ := b.override(l.ID)
	rate := l.Rate
	if over.Rate.Count > 0 {
		rate = over.Rate
	}
	return Limit{
		ID: l.ID, Key: l.At, Rate: Rate{int64(rate.Count), rate.Per}, Cost: int64(l.Cost),
		Burst: max(int64(l.Cost), BurstOf(l.Limit, over)), Window: l.Observed(),
	}
}

// queueMark stands, in a key, between that of a limit and the holder of a queue
// for it, or the name of another part of it. In the key of a limit it does not occur: its parts are an id and tokens.
const queueMark = "@"

// queued adds the holder's queue for a limit.
func (b *Bounds) queued(to []Limit, l *providers.BoundLimit) []Limit {
	q := b.limit(l)
	switch {
	case !l.IsOfApp():
		burst := q.Burst
		q.take(queuePace, queueMark+events.Token(b.Holder))
		q.Burst = burst
	case b.Share <= 0 || b.Share >= 1:
		return to
	default:
		q.take(b.Share, queueMark+events.Token(b.Holder))
	}
	q.Queue = true
	return append(to, q)
}

// take makes a limit one of its own of a part of it.
func (l *Limit) take(part float64, name string) {
	l.Key += name
	l.Rate.Per = min(maxInterval, time.Duration(float64(l.Rate.Per)/part))
	l.Burst = max(l.Cost, int64(float64(l.Burst)*part))
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
	var r Report
	for id, used := range o.Used {
		if r.Used == nil {
			r.Used = make(map[string]int64, len(o.Used))
		}
		r.Used[id] = int64(used)
	}
	for id, w := range o.Windows {
		if r.Windows == nil {
			r.Windows = make(map[string]Window, len(o.Windows))
		}
		r.Windows[id] = Window{Remaining: w.Remaining, Reset: w.Reset}
	}
	if o.Pause != nil {
		r.Pauses = []Pause{{Gate: Gate{ID: o.Pause.ID, Key: o.Pause.At}, For: o.For, Base: o.Pause.Pause}}
	}
	return r
}
