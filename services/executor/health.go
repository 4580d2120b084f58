package executor

import (
	"sync"
	"time"

	"github.com/failsafe-go/failsafe-go/circuitbreaker"

	"github.com/plugfn/plugfn/pkg/events"
)

const (
	// The breaker opens when half of at least so many attempts within the window
	// found the provider ailing, and lets one through after the rest.
	breakerShare  = 0.5
	breakerLeast  = 20
	breakerWindow = 10 * time.Second
	breakerRest   = 5 * time.Second

	// Retries are a tenth of what is asked for the first time, and one a second
	// in any case. What goes beyond rests.
	budgetShare  = 0.1
	budgetSecond = 1.0
	budgetMost   = 100.0
	budgetRest   = 30 * time.Second
)

// health knows how the providers of this process are: whether they should be
// left alone, and how much they may be asked again. It is safe for concurrent
// use.
type health struct {
	retries float64 // see budget
	mu      sync.Mutex
	of      map[pulseKey]*pulse
}

// pulseKey is one app at one address. There is one app for each provider.
type pulseKey struct{ provider, base string }

type pulse struct {
	breaker circuitbreaker.CircuitBreaker[any]
	budget  budget
}

func newHealth(retries float64) *health { return &health{retries: retries, of: map[pulseKey]*pulse{}} }

func (h *health) pulse(provider, base string) *pulse {
	h.mu.Lock()
	defer h.mu.Unlock()
	key := pulseKey{provider, base}
	p := h.of[key]
	if p == nil {
		p = &pulse{budget: budget{second: h.retries, left: budgetMost / 10}}
		p.breaker = circuitbreaker.NewBuilder[any]().
			WithFailureRateThreshold(breakerShare, breakerLeast, breakerWindow).
			WithDelay(breakerRest).WithSuccessThreshold(1).Build()
		h.of[key] = p
	}
	return p
}

// admit says for how long an attempt has to wait, and why; 0: it may be made
// now, and what it came to must be told with note.
func (h *health) admit(provider, base string, now time.Time, again bool) (time.Duration, *events.Error) {
	p := h.pulse(provider, base)
	if !p.budget.take(now, again) {
		return budgetRest, events.Errorf(events.CodeProviderUnavailable, "%s fails too often to be asked again at once", provider)
	}
	if !p.breaker.TryAcquirePermit() {
		return max(p.breaker.RemainingDelay(), time.Second), events.Errorf(events.CodeProviderUnavailable, "%s fails at the moment and is left alone for a while", provider)
	}
	return 0, nil
}

// resting says how much longer a provider is left alone, without asking for an
// attempt; 0: it is not.
func (h *health) resting(provider, base string) time.Duration {
	p := h.pulse(provider, base)
	if !p.breaker.IsOpen() {
		return 0
	}
	return p.breaker.RemainingDelay()
}

// circuits is the state of each provider's breaker, the worst of its addresses:
// 0 closed, 1 half open, 2 open.
func (h *health) circuits() map[string]float64 {
	h.mu.Lock()
	defer h.mu.Unlock()
	all := map[string]float64{}
	for key, p := range h.of {
		state := 0.0
		switch {
		case p.breaker.IsOpen():
			state = 2
		case p.breaker.IsHalfOpen():
			state = 1
		}
		all[key.provider] = max(all[key.provider], state)
	}
	return all
}

// note tells what an admitted attempt came to.
func (h *health) note(provider, base string, well bool) {
	p := h.pulse(provider, base)
	if well {
		p.breaker.RecordSuccess()
	} else {
		p.breaker.RecordFailure()
	}
}

// budget bounds retries.
type budget struct {
	second float64 // retries in a second that it allows in any case
	mu     sync.Mutex
	left   float64
	seen   time.Time
}

// take counts an attempt; again says that it is not the first one. It reports
// false when there is nothing left for a retry.
func (b *budget) take(now time.Time, again bool) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if passed := now.Sub(b.seen).Seconds(); passed > 0 && !b.seen.IsZero() {
		b.left += passed * b.second
	}
	b.seen = now
	switch {
	case !again:
		b.left += budgetShare
	case b.left >= 1:
		b.left--
	default:
		return false
	}
	b.left = min(b.left, budgetMost)
	return true
}
