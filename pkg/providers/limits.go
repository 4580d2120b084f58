package providers

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/plugfn/plugfn/pkg/providers/nearest"

	"go.yaml.in/yaml/v3"

	"github.com/plugfn/plugfn/pkg/events"
)

// Limit is one bound that a provider sets: a rate, a number of calls at once,
// or what is paused when it refuses. A limit that no action names counts for
// all of them, one that is named only for those that name it.
type Limit struct {
	ID string `yaml:"id"`
	// Key says for what the bound is apart: app, connection,
	// connection.account, action, params.NAME. Everything belongs to the app.
	Key   []string `yaml:"key"`
	Rate  Rate     `yaml:"rate"`
	Burst int      `yaml:"burst"` // of the rate, how much at once; not written: see BurstOrDefault
	// Concurrency is how many calls run at once.
	Concurrency int `yaml:"concurrency"`
	// Pause is how long nothing is sent after a refusal that says no time; the
	// first pause whose When holds is made. Twice as long each time that it
	// happens again soon after.
	Pause time.Duration `yaml:"pause"`
	// Observe is the form in which responses say in their headers what is left
	// of a rate: ratelimit, ratelimit-*, x-ratelimit, or headers for the first of
	// them that is there.
	Observe string    `yaml:"observe"`
	Read    *LeftAt   `yaml:"read"` // instead: where else they say so; nil: nowhere
	When    Predicate `yaml:"when"` // whether a response speaks of this rate, or a refusal of this pause; fields as in HTTP.Success

	own bool // see BoundLimit.Own
}

// LeftAt is where a response says what is left of a rate.
type LeftAt struct {
	Remaining Source `yaml:"remaining"` // what is left
	Reset     Source `yaml:"reset"`     // until when: seconds, a Unix time or a date
	Limit     Source `yaml:"limit"`     // of how much: with restore, instead of reset
	Restore   Source `yaml:"restore"`   // how much comes back in a second
	Used      Source `yaml:"used"`      // what the call cost in the end
}

// Observed reports whether responses may say what is left of the rate.
func (l *Limit) Observed() bool {
	return l.Observe != "" || l.Read != nil && !l.Read.Remaining.IsZero()
}

// BurstOrDefault is the burst of a rate. Where none is written it is the count
// where responses correct it, otherwise a tenth of it.
func (l *Limit) BurstOrDefault(rate Rate) int {
	switch {
	case l.Burst > 0:
		return l.Burst
	case l.Observed():
		return rate.Count
	default:
		return max(1, rate.Count/10)
	}
}

// NearestLimit returns the ID of a limit of the pack that a name was most
// likely meant to be, "" when none is close.
func (p *Pack) NearestLimit(name string) string {
	return nearest.Name(name, func(yield func(string) bool) {
		for _, l := range p.Limits {
			if !yield(l.ID) {
				return
			}
		}
	})
}

// Rate is so many for each duration, written as 5000/1h. The zero value is none.
type Rate struct {
	Count int
	Per   time.Duration
}

const (
	maxRatePer   = 31 * 24 * time.Hour
	maxRateCount = 1_000_000_000
)

// ParseRate reads the written form.
func ParseRate(text string) (Rate, error) {
	wrong := errors.New("must be a count and a duration such as 5000/1h or 1/1s")
	count, per, ok := strings.Cut(text, "/")
	n, err := strconv.Atoi(count)
	if !ok || err != nil {
		return Rate{}, wrong
	}
	d, err := time.ParseDuration(per)
	if err != nil || n < 1 {
		return Rate{}, wrong
	}
	r := Rate{n, d}
	return r, r.Check()
}

// Check says what is wrong with a rate; nothing is with none.
func (r Rate) Check() error {
	if r == (Rate{}) {
		return nil
	}
	if r.Count < 1 || r.Count > maxRateCount || r.Per < time.Millisecond || r.Per > maxRatePer {
		return fmt.Errorf("must be 1 to %d for each 1ms to %dh", maxRateCount, int(maxRatePer.Hours()))
	}
	if r.Per/time.Duration(r.Count) < time.Microsecond {
		return errors.New("must be at most 1000 for each 1ms")
	}
	return nil
}

// String returns the written form; "" for none.
func (r Rate) String() string {
	if r == (Rate{}) {
		return ""
	}
	per := r.Per.String()
	for _, zero := range []string{"m0s", "h0m"} {
		if strings.HasSuffix(per, zero) {
			per = per[:len(per)-2]
		}
	}
	return strconv.Itoa(r.Count) + "/" + per
}

// MarshalText writes the written form.
func (r Rate) MarshalText() ([]byte, error) { return []byte(r.String()), nil }

// UnmarshalText reads the written form.
func (r *Rate) UnmarshalText(text []byte) (err error) {
	*r, err = ParseRate(string(text))
	return err
}

// UnmarshalYAML reads the written form.
func (r *Rate) UnmarshalYAML(node *yaml.Node) error {
	var err error
	if *r, err = ParseRate(node.Value); err != nil || node.Kind != yaml.ScalarNode {
		return atLine(node, "must be a count and a duration such as 5000/1h or 1/1s, at most 1000 for each 1ms and up to %dh", int(maxRatePer.Hours()))
	}
	return nil
}

// The dimensions of keys.
const (
	dimensionApp        = "app"
	dimensionConnection = "connection"
	dimensionAccount    = "connection.account"
	dimensionAction     = "action"
	dimensionParam      = "params." // and a name
)

// LimitsOn is who a call is made for.
type LimitsOn struct {
	Connection string // id
	Account    string // as the provider calls it; "": not known, the connection counts instead
}

// BoundLimit is a limit as it is for one call.
type BoundLimit struct {
	*Limit
	At   string // the key: the ID and the values of the dimensions
	Cost int    // of a rate; 1 unless the action says otherwise
	// Own is whether only calls for one connection share it, and each of them
	// meets the same rates. Then a slot far ahead, taken of all these rates
	// together, is in nobody's way.
	Own bool
}

// Limits returns what bounds one call of the action. Its only error is an
// *events.Error with code invalid_params, for params that are no JSON object.
func (a *Action) Limits(params json.RawMessage, on LimitsOn) ([]BoundLimit, error) {
	var object map[string]any
	if a.limitsReadParams {
		var err error
		if object, err = parseParams(params); err != nil {
			return nil, err
		}
	}
	bound := make([]BoundLimit, len(a.limits))
	for i, l := range a.limits {
		bound[i] = BoundLimit{Limit: l, At: a.limitKey(l, object, on), Cost: max(1, a.Cost[l.ID]), Own: l.own}
	}
	return bound, nil
}

// limitKey joins the values of a limit's dimensions. Each is a token, so that
// no value reaches into another's place, and none makes a key long.
func (a *Action) limitKey(l *Limit, params map[string]any, on LimitsOn) string {
	var b strings.Builder
	b.WriteString(l.ID)
	for _, dimension := range l.Key {
		value := ""
		switch dimension {
		case dimensionApp:
			continue // all keys are the app's
		case dimensionConnection:
			value = on.Connection
		case dimensionAccount:
			if value = on.Account; value == "" {
				value = "connection " + on.Connection // no account has this name
			}
		case dimensionAction:
			value = a.Name
		default:
			value, _ = scalar(params[strings.TrimPrefix(dimension, dimensionParam)])
		}
		b.WriteByte(':')
		b.WriteString(events.Token(value))
	}
	return b.String()
}

// bindOwn finds the limits that are a connection's own. actions are all of the
// pack.
func (l *Limit) bindOwn(actions map[string]*Action) {
	if !slices.Contains(l.Key, dimensionConnection) {
		return
	}
	var beside []*Limit // the rates of one action that meets l
	for _, a := range actions {
		if !slices.Contains(a.limits, l) {
			continue
		}
		rates := a.rates()
		if beside != nil && !slices.Equal(beside, rates) || slices.ContainsFunc(rates, l.isCoarserThan) {
			return
		}
		beside = rates
	}
	l.own = true
}

// isCoarserThan reports whether calls with one key of l, which names a
// connection, may have several of other.
func (l *Limit) isCoarserThan(other *Limit) bool {
	return slices.ContainsFunc(other.Key, func(d string) bool {
		return d != dimensionApp && d != dimensionAccount && !slices.Contains(l.Key, d)
	})
}

// rates are the limits of the action that are rates, in the order of the pack.
func (a *Action) rates() []*Limit {
	rates := make([]*Limit, 0, len(a.limits))
	for _, l := range a.limits {
		if l.Rate != (Rate{}) {
			rates = append(rates, l)
		}
	}
	return rates
}

// IsOfApp reports whether all calls of the app share the limit, whoever they
// are for.
func (l *Limit) IsOfApp() bool {
	return !slices.ContainsFunc(l.Key, func(d string) bool { return d != dimensionApp })
}
