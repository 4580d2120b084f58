package schedules

import (
	"time"

	"github.com/plugfn/plugfn/services/scheduler/rule"
)

const (
	maxCatchUp = 100 // missed ticks that are fired after all, by FireAll
	maxWaiting = 100 // ticks that wait, by QueueBusy

	// A tick is late, rather than a little behind, when it could not be worked on
	// until the one after it was due, but within these bounds.
	minGrace = 5 * time.Second
	maxGrace = time.Minute

	// Ticks that wait are looked after that often, less and less.
	minLook = time.Second
	maxLook = time.Minute
)

// firing is a tick to be published.
type firing struct {
	at     time.Time
	missed int // ticks that it stands for
}

// decision is what is to be done now.
type decision struct {
	fire            []firing
	waiting         []time.Time
	missed, skipped int
	settled, next   time.Time
	wake            time.Time // zero: the schedule is done
}

// decide says what is to be done for r at a time. busy reports whether what the
// last tick asked for goes on. The same record and time have the same decision.
func decide(r *record, rules rule.Rule, now time.Time, busy bool) decision {
	ticks, more := rules.Due(r.ID, r.Settled, now, maxCatchUp)
	d := decision{settled: r.Settled}
	if len(ticks) > 0 {
		d.settled = ticks[len(ticks)-1]
	}
	due := r.Misfire.choose(rules, r.ID, ticks, more, now, &d)
	d.waiting = append(d.waiting, r.Waiting...)
	r.Overlap.admit(due, busy, &d)
	d.next = rules.Next(d.settled)
	d.wake = rules.Fire(r.ID, d.next)
	if len(d.waiting) > 0 {
		if look := now.Add(r.patience(now)); d.wake.IsZero() || look.Before(d.wake) {
			d.wake = look
		}
	}
	return d
}

// patience is until when to look again whether the last tick still goes on: a
// quarter of the time that it has taken.
func (r *record) patience(now time.Time) time.Duration {
	if r.Last == nil {
		return minLook
	}
	return min(max(now.Sub(r.Last.FiredAt)/4, minLook), maxLook)
}

// choose leaves of the due ticks those that fire by the policy. more were due
// before them.
func (m Misfire) choose(rules rule.Rule, seed string, ticks []time.Time, more int, now time.Time, d *decision) []firing {
	late := 0
	for _, at := range ticks {
		if !isLate(rules, seed, at, now) {
			break
		}
		late++
	}
	stands := 0
	switch missed := more + late; {
	case missed == 0:
	case m == SkipLate:
		d.missed, ticks = missed, ticks[late:]
	case m == FireAll:
		d.missed = more
	default:
		stands = more + len(ticks) - 1
		d.missed, ticks = stands, ticks[len(ticks)-1:]
	}
	var due []firing
	for _, at := range ticks {
		due = append(due, firing{at, stands})
	}
	return due
}

func isLate(rules rule.Rule, seed string, at, now time.Time) bool {
	grace := maxGrace
	if next := rules.Next(at); !next.IsZero() {
		grace = min(max(next.Sub(at), minGrace), maxGrace)
	}
	return now.Sub(rules.Fire(seed, at)) > grace
}

// admit lets the due ticks go, wait or be left out.
func (o Overlap) admit(due []firing, busy bool, d *decision) {
	switch o {
	case QueueBusy:
		for _, f := range due {
			if len(d.waiting) < maxWaiting {
				d.waiting = append(d.waiting, f.at)
			} else {
				d.skipped++
			}
		}
		if !busy && len(d.waiting) > 0 {
			d.fire, d.waiting = []firing{{at: d.waiting[0]}}, d.waiting[1:]
		}
	case SkipBusy:
		if !busy && len(due) > 0 {
			d.fire, due = due[:1], due[1:]
		}
		d.skipped += len(due)
	default:
		d.fire = due
	}
}
