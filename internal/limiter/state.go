package limiter

// The state of one limit and of one gate, and what changes it. acquire.lua and
// release.lua say the same in Lua: a property test holds both to each other.
// All times are microseconds since 1970 by the store's own clock.

// limitState is what is kept of a limit. The zero value is a full bucket.
type limitState struct {
	tat    int64 // when the bucket is full again
	due    int64 // when the latest of the granted calls goes
	back   int64 // how much was given back so far
	at     int64 // when this was written
	left   int64 // of the provider's window; -1: unknown
	reset  int64 // when the provider's window ends; 0: unknown
	flight int64 // cost of the calls that were granted and not released
}

// seen is the state as it is at now. Where the clock has been set back, as
// between two nodes of Redis, all times go back with it.
func (s limitState) seen(now int64) limitState {
	if s.at == 0 {
		return limitState{tat: now, due: now, at: now, left: -1}
	}
	if back := s.at - now; back > 0 {
		s.tat -= back
		s.due -= back
		s.reset = max(0, s.reset-back)
	}
	s.at = now
	if s.reset > 0 && s.reset <= now { // a new window: nothing is known of it
		s.left, s.reset, s.flight = -1, 0, 0
	}
	return s
}

// wait is how long a call has to wait for this limit.
func (s limitState) wait(l *Limit, now int64) int64 {
	interval := l.Rate.interval()
	wait := max(s.tat, now) + (l.cost()-l.burst())*interval - now
	if l.Window && s.left >= 0 && s.left < l.cost() {
		wait = max(wait, s.reset-now)
	}
	return max(0, wait)
}

// take is the state after a call was granted that goes at due.
func (s limitState) take(l *Limit, due int64) limitState {
	s.tat = max(s.tat, due) + l.cost()*l.Rate.interval()
	s.due = max(s.due, due)
	if l.Window {
		if s.left >= l.cost() && due < s.reset {
			s.left -= l.cost()
		}
		s.flight += l.cost()
	}
	return s
}

// settle is the state after a call ended that had taken t and used that much.
func (s limitState) settle(t *Taken, used, now int64) limitState {
	interval, cost := t.Rate.interval(), t.cost()
	if over := cost - used; over > 0 {
		refund := s.refund(t, over*interval, now)
		s.tat -= refund
		s.back = (s.back + refund) % maxBack
	} else if over < 0 {
		s.tat = max(s.tat, now) - over*interval
	}
	if t.Window {
		s.flight = max(0, s.flight-cost)
		if s.left >= 0 {
			s.left = max(0, s.left+cost-used)
		}
	}
	return s
}

// mark is what a permit remembers of the state that it left.
func (s limitState) mark() int64 { return s.tat + s.back }

// refund is how much of an amount can be given back so that nobody passes the
// limit. What time has given back already is gone, and so is what it will have
// given back when the latest call goes: without the canceled one, the bucket
// would have been empty for that long. What others gave back has moved the
// mark. A mark from before the state was lost or the clock was set back gets
// nothing.
func (s limitState) refund(t *Taken, amount, now int64) int64 {
	tat := t.Mark - s.back
	if tat > s.tat {
		return 0
	}
	return max(0, min(amount, tat-max(now, s.due)))
}

// maxBack is where the count of what was given back begins anew: numbers in Lua
// are exact up to 2^53.
const maxBack = int64(1) << 50

// windowSlack is by how much the end of one window may differ from response to
// response.
const windowSlack = 2_000_000

// learn is the state after a response said what is left.
func (s limitState) learn(remaining, reset, now int64) limitState {
	left := max(0, remaining-s.flight)
	if s.left < 0 || now+reset > s.reset+windowSlack {
		s.left, s.reset = left, now+reset
	} else {
		s.left = min(s.left, left)
	}
	return s
}

// expires is when the state is as good as none.
func (s limitState) expires(l *Limit, now int64) int64 {
	if l.Window {
		return max(s.tat, s.reset, now+windowKept)
	}
	return max(s.tat, now) + 1000
}

// windowKept is how long calls in flight are known of at least.
const windowKept = 60_000_000

// gateState is what is kept of a gate. The zero value is open.
type gateState struct {
	until int64
	at    int64
	step  int64 // of the last pause of unknown length
}

func (g gateState) seen(now int64) gateState {
	if back := g.at - now; g.at > 0 && back > 0 {
		g.until -= back
	}
	g.at = now
	return g
}

func (g gateState) wait(now int64) int64 { return max(0, g.until-now) }

// pause closes the gate: for a known time, or for base and longer each time.
// Who runs into a gate that has just closed does not make it longer.
func (g gateState) pause(known, base, now int64) gateState {
	if known > 0 {
		g.until = max(g.until, now+known)
		return g
	}
	if g.until > now {
		return g
	}
	if g.step > 0 && now < g.until+2*g.step {
		g.step = min(2*g.step, maxStep.Microseconds())
	} else {
		g.step = base
	}
	g.until = now + g.step
	return g
}

func (g gateState) expires(now int64) int64 { return max(g.until+2*g.step, now+1000) }
