package heal

import (
	"slices"
	"time"

	"github.com/plugfn/plugfn/pkg/providers"
)

// listing is what a provider lists.
type listing struct {
	attempts []providers.DeliveryAttempt
	whole    bool // it has nothing older
}

// oldest is when the oldest attempt was; now when there is none.
func (l listing) oldest(now time.Time) time.Time {
	for _, a := range l.attempts {
		now = earlier(now, a.Time)
	}
	return now
}

// delivery is all that a list says about one delivery.
type delivery struct {
	id        string
	first     time.Time
	last      providers.DeliveryAttempt // the newest
	failures  int
	succeeded bool
}

// margin is how much older than what is settled an attempt may be listed: lists
// are not always in the order of time.
const margin = 5 * time.Minute

// group puts the attempts of each delivery together, the oldest delivery first.
func group(attempts []providers.DeliveryAttempt) []*delivery {
	byID := map[string]*delivery{}
	var all []*delivery
	for _, a := range attempts {
		d := byID[a.ID]
		if d == nil {
			d = &delivery{id: a.ID, first: a.Time, last: a}
			byID[a.ID], all = d, append(all, d)
		}
		if a.Failed {
			d.failures++
		} else {
			d.succeeded = true
		}
		if a.Time.After(d.last.Time) {
			d.last = a
		}
		if a.Time.Before(d.first) {
			d.first = a.Time
		}
	}
	slices.SortStableFunc(all, func(a, b *delivery) int { return a.last.Time.Compare(b.last.Time) })
	return all
}

// settle brings r up to a list and returns the deliveries that are to be asked
// for, the oldest first.
func (r *Record) settle(d *providers.Redeliver, l listing, now time.Time) []*delivery {
	r.RanAt, r.Listed, r.Failed, r.Asked = now.UTC(), len(l.attempts), 0, 0
	var ask []*delivery
	newest := r.Settled
	for _, one := range group(l.attempts) {
		newest = later(newest, one.last.Time)
		step, known := r.Open[one.id]
		switch {
		case one.succeeded && known && !step.Lost:
			r.Recovered++
			delete(r.Open, one.id)
		case one.succeeded:
		case known && (step.Lost || step.Failures >= one.failures): // asked, and not tried since; or given up
			r.Failed++
		case !known && one.last.Time.Before(r.Settled.Add(-margin)): // dealt with by an earlier run
		case one.failures >= d.Tries() || now.Sub(one.first) > d.Longest():
			r.Failed++
			r.giveUp(one, now)
		default:
			r.Failed++
			ask = append(ask, one)
		}
	}
	r.Gap = len(l.attempts) > 0 && !l.whole && !r.Settled.IsZero() && l.oldest(now).After(r.Settled)
	r.Settled = newest
	r.forget(d, now)
	return ask
}

// forget drops what the provider cannot send any more.
func (r *Record) forget(d *providers.Redeliver, now time.Time) {
	for id, step := range r.Open {
		if now.Sub(step.At) <= d.Longest()+margin {
			continue
		}
		if !step.Lost {
			r.Lost++
		}
		delete(r.Open, id)
	}
}

// asked notes that another attempt of a delivery was asked for.
func (r *Record) asked(one *delivery, now time.Time) {
	r.Asked++
	r.Open[one.id] = Step{At: now.UTC(), Failures: one.failures}
}

// giveUp notes that a delivery will not come.
func (r *Record) giveUp(one *delivery, now time.Time) {
	r.Lost++
	r.Open[one.id] = Step{At: now.UTC(), Failures: one.failures, Lost: true}
}

// postpone leaves a delivery to the next run.
func (r *Record) postpone(one *delivery) {
	r.Settled = earlier(r.Settled, one.last.Time)
}

func earlier(a, b time.Time) time.Time {
	if b.Before(a) {
		return b
	}
	return a
}

func later(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}
