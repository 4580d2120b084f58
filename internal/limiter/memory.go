package limiter

import (
	"context"
	"math"
	"sync"
	"time"
)

// Memory keeps the state of limits in this process. It is safe for concurrent
// use. What has expired is swept as new keys come, so that it holds about as
// many as are in use.
type Memory struct {
	now   func() time.Time
	began time.Time // with a monotonic reading: the clock of the store is never set back
	most  int       // keys held
	ids   *ids
	look  int // how many others a new key looks at

	mu      sync.Mutex
	chilled int64            // limits not used since then begin empty; 0: full
	cells   map[string]*cell // :: key with its scope → state
}

// cell is what is kept under one key: of one kind, the others are zero.
type cell struct {
	limit   limitState
	gate    gateState
	places  map[string]int64 // :: permit → when its place is free again
	soonest int64            // no place is free again before
	expires int64
}

// maxCells bounds the memory of a store, to some 200 MB.
const maxCells = 1_000_000

// NewMemory makes an empty store. now is the clock; nil: time.Now.
func NewMemory(now func() time.Time) *Memory {
	if now == nil {
		now = time.Now
	}
	return &Memory{now: now, began: now(), most: maxCells, ids: newIDs(), look: 4, cells: map[string]*cell{}}
}

// clock is the time of the store in microseconds.
func (m *Memory) clock() int64 {
	return m.began.UnixMicro() + m.now().Sub(m.began).Microseconds()
}

// Acquire takes all of a call or nothing. Its error is [ErrInvalid], or that
// ctx has ended.
func (m *Memory) Acquire(ctx context.Context, c Call) (Decision, error) {
	if never, err := c.check(); err != nil || never != "" {
		return Decision{Outcome: Never, By: never}, err
	}
	if err := ctx.Err(); err != nil {
		return Decision{}, err
	}
	return m.acquire(&c, m.clock()), nil
}

func (m *Memory) acquire(c *Call, now int64) Decision {
	m.mu.Lock()
	defer m.mu.Unlock()
	delay, by := int64(0), ""
	longer := func(wait int64, id string) {
		if wait > delay {
			delay, by = wait, id
		}
	}
	for i := range c.Limits {
		l := &c.Limits[i]
		longer(m.limit(c.Scope, l, now).wait(l, now), l.ID)
	}
	full := m.full(c, now)
	shut := int64(0)
	for _, g := range c.Gates {
		if at, ok := m.cells[gateKey(c.Scope, g.Key)]; ok {
			wait := at.gate.seen(now).wait(now)
			longer(wait, g.ID)
			shut = max(shut, wait)
		}
	}
	switch {
	case full != "":
		return Decision{Delay: fromMicros(delay), By: full}
	case delay > c.Horizon.Microseconds():
		return Decision{Delay: fromMicros(delay), By: by}
	case len(m.cells)+len(c.Limits)+len(c.Concurrency) > m.most && !m.room(c, now):
		return Decision{Delay: time.Second, By: "memory"}
	}
	return Decision{Outcome: Granted, Delay: fromMicros(delay), By: by, Permit: m.take(c, now, now+delay, now+shut)}
}

// limit is the state of a limit at now.
func (m *Memory) limit(scope string, l *Limit, now int64) limitState {
	var have limitState
	if at, ok := m.cells[limitKey(scope, l.Key)]; ok {
		have = at.limit
	}
	s := have.seen(now)
	if m.chilled > 0 && have.at < m.chilled {
		s.tat = max(s.tat, m.chilled+(l.burst()-l.cost())*l.Rate.interval())
	}
	return s
}

// full is the first concurrency limit that has no place.
func (m *Memory) full(c *Call, now int64) string {
	full := ""
	for _, k := range c.Concurrency {
		at, ok := m.cells[placeKey(c.Scope, k.Key)]
		if !ok {
			continue
		}
		if int64(len(at.places)) < k.Max {
			continue
		}
		at.sweep(now, math.MaxInt64)
		if int64(len(at.places)) < k.Max {
			continue
		}
		at.soonest = 0
		at.sweep(now, now+k.TTL.Microseconds()+c.Horizon.Microseconds())
		if full == "" {
			full = k.ID
		}
	}
	return full
}

// sweep frees the places whose time is over, and lets none be held beyond latest.
func (c *cell) sweep(now, latest int64) {
	if now < c.soonest {
		return
	}
	c.soonest = math.MaxInt64
	for permit, until := range c.places {
		if until <= now {
			delete(c.places, permit)
			continue
		}
		c.places[permit] = min(until, latest)
		c.soonest = min(c.soonest, until, latest)
	}
}

// chill empties the buckets, but for one call of each.
func (m *Memory) chill() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.chilled = m.clock()
}

// after has the next slots of a call's limits come after those that were granted
// ahead by another store.
func (m *Memory) after(c *Call, granted *ahead) {
	at := m.now()
	m.mu.Lock()
	defer m.mu.Unlock()
	now := m.clock()
	for i := range c.Limits {
		l := &c.Limits[i]
		far := granted.of(c.Scope, l, at).Microseconds()
		if far <= 0 || l.Queue {
			continue
		}
		s := m.limit(c.Scope, l, now)
		s.tat, s.due = max(s.tat, now+far+l.burst()*l.Rate.interval()), max(s.due, now+far)
		m.put(limitKey(c.Scope, l.Key), now, &cell{limit: s, expires: s.expires(l, now)})
	}
}

// closed tells whether a gate of the call is closed for longer than it can wait.
func (m *Memory) closed(c *Call) (Decision, bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	now, d := m.clock(), Decision{}
	for _, g := range c.Gates {
		if at, ok := m.cells[gateKey(c.Scope, g.Key)]; ok {
			if wait := fromMicros(at.gate.seen(now).wait(now)); wait > d.Delay {
				d.Delay, d.By = wait, g.ID
			}
		}
	}
	return d, d.Delay > c.Horizon
}

// take takes all of a call that goes at due; open is when its gates are.
func (m *Memory) take(c *Call, now, due, open int64) Permit {
	p := Permit{ID: m.ids.next(), Scope: c.Scope, Concurrency: c.Concurrency, At: time.UnixMicro(now).UTC()}
	for i := range c.Limits {
		l := &c.Limits[i]
		s := m.limit(c.Scope, l, now)
		goes := due
		if l.Queue {
			goes = max(open, now+s.wait(l, now))
		}
		s = s.take(l, goes)
		m.put(limitKey(c.Scope, l.Key), now, &cell{limit: s, expires: s.expires(l, now)})
		p.Limits = append(p.Limits, Taken{Limit: *l, Mark: s.mark()})
	}
	for _, k := range c.Concurrency {
		key, until := placeKey(c.Scope, k.Key), due+k.TTL.Microseconds()
		at, ok := m.cells[key]
		if !ok {
			at = &cell{places: map[string]int64{}, soonest: until}
			m.put(key, now, at)
		}
		at.places[p.ID], at.soonest = until, min(at.soonest, until)
		at.expires = max(at.expires, until)
	}
	return p
}

// Release ends a call: it gives the places of the permit back, settles what the
// call used and learns what the response said.
func (m *Memory) Release(_ context.Context, p Permit, r Report) error {
	m.release(&p, &r, m.clock())
	return nil
}

func (m *Memory) release(p *Permit, r *Report, now int64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for i := range p.Limits {
		t := &p.Limits[i]
		if !r.settles(t) {
			continue
		}
		s := m.limit(p.Scope, &t.Limit, now).settle(t, r.used(t), now)
		if w, ok := r.Windows[t.ID]; ok && t.Window {
			s = s.learn(max(0, w.Remaining), micros(w.Reset, maxWindow), now)
		}
		m.put(limitKey(p.Scope, t.Key), now, &cell{limit: s, expires: s.expires(&t.Limit, now)})
	}
	for _, k := range p.Concurrency {
		if at, ok := m.cells[placeKey(p.Scope, k.Key)]; ok {
			delete(at.places, p.ID)
		}
	}
	for _, pause := range r.Pauses {
		m.pause(p.Scope, pause, now)
	}
}

// learn keeps what a response to a call said that another store had granted: of
// what is left, a part.
func (m *Memory) learn(p Permit, r Report, part float64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	now := m.clock()
	for i := range p.Limits {
		l := &p.Limits[i].Limit
		if w, ok := r.Windows[l.ID]; ok && l.Window {
			s := m.limit(p.Scope, l, now).learn(int64(float64(max(0, w.Remaining))*part), micros(w.Reset, maxWindow), now)
			m.put(limitKey(p.Scope, l.Key), now, &cell{limit: s, expires: s.expires(l, now)})
		}
	}
	for _, pause := range r.Pauses {
		m.pause(p.Scope, pause, now)
	}
}

func (m *Memory) pause(scope string, p Pause, now int64) {
	key := gateKey(scope, p.Gate.Key)
	g := gateState{}
	if at, ok := m.cells[key]; ok {
		g = at.gate
	}
	g = g.seen(now).pause(micros(p.For, maxPause), micros(p.base(), maxStep), now)
	m.put(key, now, &cell{gate: g, expires: g.expires(now)})
}

// settles tells whether the end of a call changes anything about a limit.
func (r *Report) settles(t *Taken) bool { return t.Window || r.used(t) != t.cost() }

// used is what a limit cost in the end; at most a burst more than asked.
func (r *Report) used(t *Taken) int64 {
	used, ok := r.Used[t.ID]
	if !ok {
		return t.cost()
	}
	return min(max(0, used), t.cost()+t.burst())
}

func (p Pause) base() time.Duration {
	if p.Base <= 0 {
		return time.Minute
	}
	return p.Base
}

// put stores a cell. A new one pays for its place by looking at a few others,
// which ones is chance: that keeps pace, on average, with what expires.
func (m *Memory) put(key string, now int64, c *cell) {
	if _, ok := m.cells[key]; !ok {
		looked := 0
		for other, at := range m.cells {
			if looked++; looked > m.look {
				break
			}
			if at.expires <= now {
				delete(m.cells, other)
			}
		}
	}
	m.cells[key] = c
}

// room makes sure that a call fits into a store that is full.
func (m *Memory) room(c *Call, now int64) bool {
	for key, at := range m.cells {
		if at.expires <= now {
			delete(m.cells, key)
		}
	}
	return len(m.cells)+len(c.Limits)+len(c.Concurrency) <= m.most
}

// The keys, of which those of a call lie on one node of a Redis cluster.
func limitKey(scope, key string) string { return keyPrefix + "{" + scope + "}:r:" + key }

func placeKey(scope, key string) string { return keyPrefix + "{" + scope + "}:c:" + key }

func gateKey(scope, key string) string { return keyPrefix + "{" + scope + "}:g:" + key }

const keyPrefix = "plugfn:limit:"
