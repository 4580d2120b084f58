package rule

import (
	"hash/fnv"
	"strings"
	"time"
)

const (
	minEvery  = time.Second
	maxEvery  = 366 * 24 * time.Hour
	maxAhead  = 9 * 365 * 24 * time.Hour // what the bus can hold back is ten years
	maxJitter = 24 * time.Hour
	maxZone   = 64 // bytes
)

// Spec is a rule as a person writes it. Exactly one of Cron, Every and At is
// set.
type Spec struct {
	Cron  string        // five fields, six with the seconds first, or @hourly and the like
	Zone  string        // of Cron, such as Europe/Berlin; "": UTC
	Every time.Duration // from one tick to the next, at least a second
	At    time.Time     // the only tick

	Start  time.Time     // no tick before it; of Every the first one; zero: none
	End    time.Time     // no tick after it; zero: none
	Jitter time.Duration // up to how much later than its time a tick may be; 0: none

	// Anchor is what the ticks of Every are counted from where there is no Start:
	// the first is one Every after it. Zero: 1970.
	Anchor time.Time
}

// Fault is what is wrong with a Spec: the field and the fix.
type Fault struct {
	Field   string
	Message string
}

// Error returns both.
func (f *Fault) Error() string { return f.Field + ": " + f.Message }

// Rule is a Spec that was checked. The zero value has no ticks.
type Rule struct {
	spec Spec
	cron expression // where spec has one
}

// Parse checks s, whose errors are a *Fault.
func Parse(s Spec) (Rule, error) {
	if s.Anchor.IsZero() {
		s.Anchor = time.Unix(0, 0)
	}
	r := Rule{spec: s}
	if err := s.check(); err != nil {
		return Rule{}, err
	}
	if s.Cron == "" {
		return r, nil
	}
	zone, err := location(s.Zone)
	if err == nil {
		r.cron, err = parseCron(s.Cron, zone)
	}
	if err != nil {
		return Rule{}, err
	}
	return r, nil
}

func (s *Spec) check() error {
	kinds := 0
	for _, set := range []bool{s.Cron != "", s.Every != 0, !s.At.IsZero()} {
		if set {
			kinds++
		}
	}
	switch {
	case kinds == 0:
		return fault("cron", `say when: set one of cron ("0 9 * * *"), every ("90s") and at ("2026-01-02T15:04:05Z")`)
	case kinds > 1:
		return fault("cron", "set only one of cron, every and at")
	case s.Zone != "" && s.Cron == "":
		return fault("zone", "goes with cron only: a distance has none, and a time brings its own")
	case s.Every != 0 && (s.Every < minEvery || s.Every > maxEvery):
		return fault("every", "%s: must be from %s to %s", s.Every, minEvery, maxEvery)
	case s.Jitter < 0 || s.Jitter > maxJitter:
		return fault("jitter", "%s: must be from 0s to %s", s.Jitter, maxJitter)
	case s.Every != 0 && s.Jitter >= s.Every:
		return fault("jitter", "%s: must be below every, %s", s.Jitter, s.Every)
	case !s.At.IsZero() && (!s.Start.IsZero() || !s.End.IsZero()):
		return fault("start", "goes with cron and every only: at is one time")
	case isOdd(s.Start):
		return fault("start", "must be from 1970 to 2199")
	case isOdd(s.End):
		return fault("end", "must be from 1970 to 2199")
	case !s.Start.IsZero() && !s.End.IsZero() && !s.End.After(s.Start):
		return fault("end", "must be after start, %s", s.Start.Format(time.RFC3339))
	}
	return nil
}

// isOdd tells times that distances cannot be counted from.
func isOdd(t time.Time) bool {
	return !t.IsZero() && (t.Year() < 1970 || t.Year() >= 2200)
}

// CheckFrom says what is wrong with r for who wants it from now on: it has no
// tick any more, or one too far ahead.
func (r Rule) CheckFrom(now time.Time) error {
	at := r.Next(now)
	s := r.spec
	switch {
	case at.After(now.Add(maxAhead)):
		return fault(s.field(), "the next time is %s, which is too far ahead: nine years at most", at.Format(time.RFC3339))
	case !at.IsZero():
		return nil
	case !s.At.IsZero():
		return fault("at", "%s has gone by: it is %s", s.At.Format(time.RFC3339), now.UTC().Format(time.RFC3339))
	case !s.End.IsZero() && !r.without(func(s *Spec) { s.End = time.Time{} }).Next(now).IsZero():
		return fault("end", "%s is before the first tick after now", s.End.Format(time.RFC3339))
	default:
		return fault(s.field(), "no time within the next five years matches it")
	}
}

func (s *Spec) field() string {
	switch {
	case !s.At.IsZero():
		return "at"
	case s.Every != 0:
		return "every"
	default:
		return "cron"
	}
}

func (r Rule) without(change func(*Spec)) Rule {
	change(&r.spec)
	return r
}

// location finds a time zone by its name.
func location(name string) (*time.Location, error) {
	switch {
	case name == "":
		return time.UTC, nil
	case len(name) > maxZone || name == "Local" || strings.ContainsAny(name, `\.`):
		return nil, fault("zone", "must be the name of a time zone, such as Europe/Berlin")
	}
	zone, err := time.LoadLocation(name)
	if err != nil {
		return nil, fault("zone", "%q is not known: take a name such as Europe/Berlin, America/New_York or UTC", name)
	}
	return zone, nil
}

// Next is the first tick after t, in UTC; zero when there is none. Its jitter is
// not in it, see [Rule.Fire].
func (r Rule) Next(t time.Time) time.Time {
	s := r.spec
	if !s.Start.IsZero() && t.Before(s.Start) {
		t = s.Start.Add(-time.Nanosecond)
	}
	var at time.Time
	switch {
	case !s.At.IsZero():
		at = s.At
		if !at.After(t) {
			return time.Time{}
		}
	case s.Every != 0:
		at = r.nextEvery(t)
	case s.Cron != "":
		at = r.cron.next(t)
	}
	if at.IsZero() || !s.End.IsZero() && at.After(s.End) {
		return time.Time{}
	}
	return at.UTC()
}

func (r Rule) nextEvery(t time.Time) time.Time {
	first := r.spec.Start
	if first.IsZero() {
		first = r.spec.Anchor.Add(r.spec.Every)
	}
	if t.Before(first) {
		return first
	}
	return first.Add((t.Sub(first)/r.spec.Every + 1) * r.spec.Every)
}

// Fire is when a tick fires: at its time, or up to Jitter later. seed tells
// schedules apart that have the same rule.
func (r Rule) Fire(seed string, tick time.Time) time.Time {
	span := r.spec.Jitter
	if span <= 0 || tick.IsZero() {
		return tick
	}
	if next := r.Next(tick); !next.IsZero() {
		span = min(span, next.Sub(tick))
	}
	h := fnv.New64a()
	_, _ = h.Write([]byte(seed + tick.UTC().Format(time.RFC3339Nano))) // never fails
	return tick.Add(time.Duration(mix(h.Sum64()) % uint64(span)))
}

// mix spreads a hash of similar texts over all bits (the finish of splitmix64).
func mix(x uint64) uint64 {
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}

// Due are the ticks after since that have fired by now, the oldest first: the
// last keep of them, and how many more there were. Of very many (months of a
// tick each second, by cron) more is a lower bound.
func (r Rule) Due(seed string, since, now time.Time, keep int) (ticks []time.Time, more int) {
	const most = 5_000 // that are looked at one by one, before half the rest is passed over
	since, more = r.leap(since, now, keep)
	n := 0
	for t := r.Next(since); !t.IsZero() && !r.Fire(seed, t).After(now); t = r.Next(t) {
		if n++; n > most {
			n, t = 0, t.Add(now.Sub(t)/2)
			continue
		}
		if ticks = append(ticks, t); len(ticks) > 2*keep {
			more += len(ticks) - keep
			ticks = append(ticks[:0], ticks[len(ticks)-keep:]...)
		}
	}
	if over := len(ticks) - keep; over > 0 {
		more += over
		ticks = ticks[over:]
	}
	return ticks, more
}

// leap passes ticks of Every over that would not be kept in any case, and says
// how many.
func (r Rule) leap(since, now time.Time, keep int) (time.Time, int) {
	every := r.spec.Every
	first := r.Next(since)
	if every == 0 || first.IsZero() {
		return since, 0
	}
	if end := r.spec.End; !end.IsZero() && end.Before(now) {
		now = end
	}
	over := int(now.Sub(first)/every) - keep - 1 // one that its jitter holds back
	if over <= 0 {
		return since, 0
	}
	return first.Add(time.Duration(over-1) * every), over
}
