package limiter

import (
	"errors"
	"fmt"
	"math"
	"time"
)

// Rate is how often something may happen: Count times in each Per.
type Rate struct {
	Count int64
	Per   time.Duration
}

// interval is the time from one to the next in microseconds, rounded up: never
// more than the rate.
func (r Rate) interval() int64 {
	return max(1, (r.Per.Microseconds()+r.Count-1)/r.Count)
}

// Limit bounds how often calls with the same Key happen: no window of any
// length T sees more than Burst + Rate·T.
type Limit struct {
	ID    string // what [Decision].By says
	Key   string // whose state it is, within the scope of the call
	Rate  Rate
	Burst int64 // how much at once; 0: the count of Rate
	Cost  int64 // of this call; 0: 1
	// Window keeps, beside the rate, what responses say is left of the
	// provider's own window: see [Report].
	Window bool
	// Queue says that it is no limit itself, but a queue for one that is acquired
	// when the call's time has come. It is charged for the time when it would let
	// the call go by itself, and not for when the call goes: what waits longer
	// for something else does not hold up those behind it.
	Queue bool `json:"queue,omitempty"`
}

func (l *Limit) burst() int64 {
	if l.Burst == 0 {
		return l.Rate.Count
	}
	return l.Burst
}

func (l *Limit) cost() int64 { return max(1, l.Cost) }

// Concurrency bounds how many calls with the same Key run at once.
type Concurrency struct {
	ID  string
	Key string
	Max int64
	TTL time.Duration // after which a place is free again whose holder is gone
}

// Gate is what a pause closes for all calls with the same Key.
type Gate struct {
	ID  string
	Key string
}

// Call is everything that bounds one call to a provider. It is granted as a
// whole or not at all.
type Call struct {
	// Scope is what all keys of the call belong to, such as "github:default":
	// provider and app. In a Redis cluster its state is on one node.
	Scope       string
	Limits      []Limit
	Concurrency []Concurrency
	Gates       []Gate
	// Horizon is how far ahead a slot may be. 0: only now.
	Horizon time.Duration
}

// Outcome is how an acquisition ended.
type Outcome uint8

// The outcomes.
const (
	Wait    Outcome = iota // nothing was taken: ask again after the delay
	Granted                // all was taken
	Never                  // it can never be granted: the cost is above the burst
)

// Decision is the answer to a call.
type Decision struct {
	Outcome Outcome
	// Delay is, of a granted call, how long it has to wait before it may go,
	// at most its horizon; of a call that waits, when it would have been
	// granted, as things are now. Where By is a concurrency limit that is an
	// estimate, otherwise exact.
	Delay time.Duration
	// By is the ID of what decided about the delay or the refusal.
	By string
	// Permit is what was granted, to be released or canceled.
	Permit Permit
}

// Permit is what a granted call took. It may be kept as JSON, and released by
// another process. The zero value holds nothing.
type Permit struct {
	ID          string        `json:"id,omitempty"`
	Scope       string        `json:"scope,omitempty"`
	Limits      []Taken       `json:"limits,omitempty"`
	Concurrency []Concurrency `json:"concurrency,omitempty"`
	At          time.Time     `json:"at,omitzero"` // when it was granted
	Local       bool          `json:"local,omitempty"`
}

// Taken is what a permit took of one limit.
type Taken struct {
	Limit
	Mark int64 `json:"mark"` // of the state behind it; the store's own
}

// Report is what is known once a call has ended.
type Report struct {
	// Used is what the call cost in the end, by ID of the limit; limits that
	// are not in it cost what was asked. What was taken too much is given
	// back, as far as that lets nobody pass the limit.
	Used map[string]int64
	// Windows is what the response says is left, by ID of the limit.
	Windows map[string]Window
	// Pauses close gates.
	Pauses []Pause
}

// Window is what a response says about the provider's own window. It only ever
// lowers what is left, until the window ends.
type Window struct {
	Remaining int64
	Reset     time.Duration // from now until the window ends; at most a day counts
}

// Pause closes a gate.
type Pause struct {
	Gate Gate
	// For is how long, as the provider said. 0: it said nothing, the gate
	// closes for Base, and twice as long each time that it happens again soon
	// after, up to an hour.
	For  time.Duration
	Base time.Duration // 0: a minute
}

const (
	maxKeys     = 32 // of one call
	maxInterval = 31 * 24 * time.Hour
	maxBurst    = int64(1) << 31
	maxTAT      = int64(1) << 51 // microseconds: 71 years; sums stay exact in a Lua number
	maxWindow   = 24 * time.Hour
	maxPause    = 24 * time.Hour
	maxStep     = time.Hour // of pauses that double
)

// Farthest is the horizon of a reservation that may be as far ahead as needed.
const Farthest = 31 * 24 * time.Hour

// ErrInvalid is what a call is refused with that is wrong in itself.
var ErrInvalid = errors.New("limiter: the call is invalid")

// check says what is wrong with a call, and whether it can be granted at all:
// which is the ID of the limit that it can never pass.
func (c *Call) check() (never string, err error) {
	switch {
	case c.Scope == "":
		return "", fmt.Errorf("%w: Scope is empty", ErrInvalid)
	case len(c.Limits)+len(c.Concurrency)+len(c.Gates) > maxKeys:
		return "", fmt.Errorf("%w: more than %d keys", ErrInvalid, maxKeys)
	case c.Horizon < 0 || c.Horizon > Farthest:
		return "", fmt.Errorf("%w: Horizon must be from 0 to %s", ErrInvalid, Farthest)
	}
	seen := map[string]bool{}
	for i := range c.Limits {
		l := &c.Limits[i]
		if err := l.check(); err != nil {
			return "", err
		}
		if seen[l.Key] {
			return "", fmt.Errorf("%w: the key of limit %q is there twice", ErrInvalid, l.ID)
		}
		seen[l.Key] = true
		if l.cost() > l.burst() {
			never = l.ID
		}
	}
	for _, k := range c.Concurrency {
		if k.Key == "" || k.Max < 1 || k.TTL <= 0 {
			return "", fmt.Errorf("%w: concurrency %q needs a key, a maximum and a TTL", ErrInvalid, k.ID)
		}
	}
	for _, g := range c.Gates {
		if g.Key == "" {
			return "", fmt.Errorf("%w: gate %q needs a key", ErrInvalid, g.ID)
		}
	}
	return never, nil
}

func (l *Limit) check() error {
	switch {
	case l.Key == "":
		return fmt.Errorf("%w: limit %q needs a key", ErrInvalid, l.ID)
	case l.Rate.Count < 1 || l.Rate.Per < time.Microsecond || l.Rate.Per > maxInterval:
		return fmt.Errorf("%w: limit %q: the rate must be 1 or more, per 1µs to %s", ErrInvalid, l.ID, maxInterval)
	case l.Burst < 0 || l.burst() > maxBurst || l.Cost < 0:
		return fmt.Errorf("%w: limit %q: burst and cost must be 0 to %d", ErrInvalid, l.ID, maxBurst)
	case float64(l.burst())*float64(l.Rate.interval()) > float64(maxTAT):
		return fmt.Errorf("%w: limit %q: the burst takes longer than 71 years to refill", ErrInvalid, l.ID)
	}
	return nil
}

// micros is d in whole microseconds, bounded.
func micros(d, most time.Duration) int64 { return max(0, min(d, most)).Microseconds() }

func fromMicros(us int64) time.Duration {
	return time.Duration(min(us, math.MaxInt64/1000)) * time.Microsecond
}
