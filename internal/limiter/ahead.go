package limiter

import (
	"sync"
	"time"
)

// ahead knows the latest slots that this process was granted ahead, so that a
// store that does not know of them, or not any more, grants none of them twice:
// the local one when Redis is lost, and Redis after a flush or what was granted
// without it. It is safe for concurrent use. The zero value knows of none.
type ahead struct {
	mu    sync.Mutex
	swept time.Time
	slots map[string]latest // :: key of a limit → its latest slot
}

// latest is the latest slot of one limit.
type latest struct {
	at   time.Time
	mark int64 // of Redis, which only grows while it forgets nothing; 0: it was not granted by Redis
}

const (
	maxAhead = 100_000     // limits that are remembered
	sameSlot = time.Second // within which one time is as good as the other
)

// note remembers what was granted to a call.
func (a *ahead) note(c *Call, d *Decision, now time.Time) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for i := range d.Permit.Limits {
		t := &d.Permit.Limits[i]
		key := limitKey(c.Scope, t.Key)
		have, known := a.slots[key]
		if t.Queue || d.Delay <= 0 && !known || !known && !a.room(now) {
			continue
		}
		slot := latest{at: now.Add(d.Delay), mark: t.Mark}
		switch {
		case d.Permit.Local:
			slot.mark = 0
			slot.at = later(slot.at, have.at)
		case have.mark > slot.mark: // an answer that was overtaken
			continue
		case have.mark == 0:
			slot.at = later(slot.at, have.at)
		}
		a.slots[key] = slot
	}
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// room makes place for one more limit.
func (a *ahead) room(now time.Time) bool {
	if a.slots == nil {
		a.slots = map[string]latest{}
	}
	if len(a.slots) < maxAhead {
		return true
	}
	if now.Sub(a.swept) < time.Second {
		return false
	}
	a.swept = now
	for key, slot := range a.slots {
		if !slot.at.After(now) {
			delete(a.slots, key)
		}
	}
	return len(a.slots) < maxAhead
}

// of is how far ahead the latest slot of a limit is.
func (a *ahead) of(scope string, l *Limit, now time.Time) time.Duration {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.slots[limitKey(scope, l.Key)].at.Sub(now)
}

// forgotten are calls that take the slots that Redis does not know of any more:
// it has granted one before them.
func (a *ahead) forgotten(c *Call, d *Decision, now time.Time) []Call {
	a.mu.Lock()
	defer a.mu.Unlock()
	var calls []Call
	for i := range d.Permit.Limits {
		t := &d.Permit.Limits[i]
		slot, known := a.slots[limitKey(c.Scope, t.Key)]
		gap := slot.at.Sub(now.Add(d.Delay))
		if t.Queue || !known || gap <= sameSlot || slot.mark != 0 && slot.mark-t.Mark <= sameSlot.Microseconds() {
			continue
		}
		interval := t.Rate.interval()
		most := min(maxBurst, maxTAT/interval)
		calls = append(calls, Call{Scope: c.Scope, Limits: []Limit{{
			ID: t.ID, Key: t.Key, Rate: t.Rate, Burst: most, Cost: min(most, gap.Microseconds()/interval+t.burst()-t.cost()+1), // the burst is behind that slot, too
		}}})
	}
	return calls
}

// reminded notes that Redis knows of the latest slot of a limit again.
func (a *ahead) reminded(c *Call, mark int64) {
	a.mu.Lock()
	defer a.mu.Unlock()
	key := limitKey(c.Scope, c.Limits[0].Key)
	if slot, known := a.slots[key]; known {
		slot.mark = mark
		a.slots[key] = slot
	}
}
