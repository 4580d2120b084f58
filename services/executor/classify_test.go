package executor

import (
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/plugfn/plugfn/pkg/events"
	"github.com/plugfn/plugfn/pkg/providers"
)

func TestDecide(t *testing.T) {
	const (
		read, idem, keyed, found, none = providers.EffectRead, providers.EffectIdempotent, providers.EffectKeyed, providers.EffectReconcile, providers.EffectNone
	)
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	after := func(d time.Duration) time.Time { return now.Add(d) }
	tests := []struct {
		name   string
		class  class
		effect providers.Effect
		change func(*circumstances)
		want   verdict
	}{
		{"done", classDone, none, nil, verdict{do: doSucceed}},
		{"refused", classRefused, none, nil, verdict{do: doFail}},
		{"refused after doubt", classRefused, idem, func(c *circumstances) { c.doubt = true }, verdict{do: doUnknown, doubt: true}},
		{"refused after doubt, with a key", classRefused, keyed, func(c *circumstances) { c.doubt = true }, verdict{do: doFail, doubt: true}},

		{"not sent", classNothing, none, nil, verdict{do: doRetry, at: after(500 * time.Millisecond)}},
		{"not sent, third time", classNothing, none, func(c *circumstances) { c.attempts = 3 }, verdict{do: doRetry, at: after(2 * time.Second)}},
		{"not sent, advised", classNothing, none, func(c *circumstances) { c.retryAfter = time.Minute }, verdict{do: doRetry, at: after(time.Minute)}},
		{"not sent, no attempt left", classNothing, none, func(c *circumstances) { c.attempts = 5 }, verdict{do: doFail, gaveUp: "no attempt is left"}},
		{"not sent, after doubt, no attempt left", classNothing, idem, func(c *circumstances) { c.attempts, c.doubt = 5, true }, verdict{do: doUnknown, doubt: true, gaveUp: "no attempt is left"}},
		{"not sent, too late", classNothing, read, func(c *circumstances) { c.limit = after(time.Millisecond) }, verdict{do: doFail, gaveUp: "the next attempt would be after the deadline"}},
		{"a long wait is bounded", classNothing, read, func(c *circumstances) { c.attempts, c.maxAttempts = 90, 100 }, verdict{do: doRetry, at: after(150 * time.Second)}},

		{"lost read", classUncertain, read, nil, verdict{do: doRetry, at: after(500 * time.Millisecond)}},
		{"lost read, no attempt left", classUncertain, read, func(c *circumstances) { c.attempts = 5 }, verdict{do: doFail, gaveUp: "no attempt is left"}},
		{"lost idempotent", classUncertain, idem, nil, verdict{do: doRetry, at: after(500 * time.Millisecond), doubt: true}},
		{"lost keyed", classUncertain, keyed, nil, verdict{do: doRetry, at: after(500 * time.Millisecond), doubt: true}},
		{"lost keyed, key forgotten", classUncertain, keyed, func(c *circumstances) { c.keyEnds = now }, verdict{do: doUnknown, doubt: true, gaveUp: "the provider would not know the key any more"}},
		{"lost, to be looked for", classUncertain, found, nil, verdict{do: doLook, at: after(10 * time.Second), doubt: true}},
		{"lost, to be looked for, last attempt", classUncertain, found, func(c *circumstances) { c.attempts = 5 }, verdict{do: doLook, at: after(10 * time.Second), doubt: true}},
		{"lost", classUncertain, none, nil, verdict{do: doUnknown, doubt: true}},
		{"lost, twice is better than never", classUncertain, none, func(c *circumstances) { c.atLeastOnce = true }, verdict{do: doRetry, at: after(500 * time.Millisecond), doubt: true}},

		{"throttled", classThrottled, none, func(c *circumstances) { c.retryAfter = 10 * time.Second }, verdict{do: doPutOff, at: after(10500 * time.Millisecond)}},
		{"throttled is no attempt", classThrottled, none, func(c *circumstances) { c.attempts, c.retryAfter = 5, 10*time.Second }, verdict{do: doPutOff, at: after(10500 * time.Millisecond)}},
		{"throttled without advice", classThrottled, none, func(c *circumstances) { c.deferrals = 2 }, verdict{do: doPutOff, at: after(21 * time.Second)}},
		{"throttled for too long", classThrottled, none, func(c *circumstances) { c.retryAfter = 3 * time.Hour }, verdict{do: doFail, gaveUp: "it would be put off beyond the deadline"}},
		{"throttled after doubt for too long", classThrottled, idem, func(c *circumstances) { c.retryAfter, c.doubt = 3*time.Hour, true }, verdict{do: doUnknown, doubt: true, gaveUp: "it would be put off beyond the deadline"}},
		{"throttled until the key is forgotten", classThrottled, keyed, func(c *circumstances) { c.retryAfter, c.doubt, c.keyEnds = time.Minute, true, now }, verdict{do: doUnknown, doubt: true, gaveUp: "the provider would not know the key any more"}},
		{"breaker open", classPaused, none, func(c *circumstances) { c.retryAfter = 10 * time.Second }, verdict{do: doPutOff, at: after(10500 * time.Millisecond)}},

		{"credential refused", classReauth, none, nil, verdict{do: doFail}},
		{"credential refused, nobody waits", classReauth, none, func(c *circumstances) { c.patient = true }, verdict{do: doPark}},
		{"credential refused after doubt", classReauth, found, func(c *circumstances) { c.doubt = true }, verdict{do: doUnknown, doubt: true}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c := circumstances{
				class: tt.class, effect: tt.effect, attempts: 1, maxAttempts: 5, base: time.Second, firstLook: 10 * time.Second,
				keyEnds: after(24 * time.Hour), now: now, limit: after(time.Hour), luck: 0.5,
			}
			if tt.change != nil {
				tt.change(&c)
			}
			if got := decide(c); got != tt.want {
				t.Errorf("got %+v, want %+v", got, tt.want)
			}
		})
	}
}

// Whatever the circumstances are: nothing that may have been carried out is
// called failed or sent again but by its effect, and nothing starts too late.
func TestDecideNeverRisksASecondWrite(t *testing.T) {
	effects := []providers.Effect{providers.EffectRead, providers.EffectIdempotent, providers.EffectKeyed, providers.EffectReconcile, providers.EffectNone}
	classes := []class{classDone, classRefused, classNothing, classThrottled, classReauth, classPaused, classUncertain}
	rapid.Check(t, func(t *rapid.T) {
		now := time.Unix(1_800_000_000, 0)
		seconds := func(name string) time.Duration {
			return time.Duration(rapid.IntRange(0, 100_000).Draw(t, name)) * time.Second
		}
		c := circumstances{
			class: rapid.SampledFrom(classes).Draw(t, "class"), effect: rapid.SampledFrom(effects).Draw(t, "effect"),
			retryAfter: seconds("after"), patient: rapid.Bool().Draw(t, "patient"), doubt: rapid.Bool().Draw(t, "doubt"),
			attempts: rapid.IntRange(0, 10).Draw(t, "attempts"), maxAttempts: rapid.IntRange(1, 10).Draw(t, "most"),
			base: time.Second, deferrals: rapid.IntRange(0, 100).Draw(t, "deferrals"), firstLook: time.Second,
			keyEnds: now.Add(seconds("key")), now: now, limit: now.Add(seconds("limit")), luck: rapid.Float64Range(0, 0.999).Draw(t, "luck"),
		}
		if c.effect == providers.EffectRead {
			c.doubt = false
		}
		v := decide(c)
		switch {
		case (v.do == doRetry || v.do == doPutOff) && c.limit.Sub(v.at) < shortest:
			t.Fatalf("at %s, when the deadline %s would cut it off", v.at, c.limit)
		case v.do == doRetry && c.attempts >= c.maxAttempts:
			t.Fatalf("retry after %d attempts", c.attempts)
		case (v.do == doRetry || v.do == doPutOff) && v.at.Before(c.now.Add(c.retryAfter)):
			t.Fatalf("before the provider wants it")
		case v.do == doRetry && c.class == classUncertain && (c.effect == providers.EffectNone || c.effect == providers.EffectReconcile):
			t.Fatalf("sent again without proof")
		case v.do == doRetry && v.doubt && c.effect == providers.EffectKeyed && v.at.After(c.keyEnds):
			t.Fatalf("sent again without a key")
		case v.do == doFail && v.doubt && c.effect != providers.EffectKeyed:
			t.Fatalf("called failed in doubt")
		case v.do == doSucceed && c.class != classDone:
			t.Fatalf("called succeeded")
		}
	})
}

func TestClassOf(t *testing.T) {
	tests := []struct {
		code        events.Code
		sent, noted bool
		want        class
	}{
		{events.CodeProviderUnavailable, false, false, classNothing},
		{events.CodeProviderUnavailable, true, false, classUncertain},
		{events.CodeProviderUnavailable, true, true, classNothing},
		{events.CodeTimeout, true, false, classUncertain},
		{events.CodeTimeout, false, false, classNothing},
		{events.CodeRateLimited, true, false, classThrottled},
		{events.CodeNeedsReauth, true, false, classReauth},
		{events.CodeProviderRejected, true, false, classRefused},
		{events.CodeScopeRequired, true, false, classRefused},
		{events.CodeOutcomeUnknown, true, false, classUncertain},
		{events.CodeInternal, false, false, classRefused},
		{events.CodeInternal, true, false, classUncertain},
	}
	for _, tt := range tests {
		if got := classOf(events.Errorf(tt.code, "x"), tt.sent, tt.noted); got != tt.want {
			t.Errorf("%s, sent %v: %s, want %s", tt.code, tt.sent, got, tt.want)
		}
	}
	if got := classOf(nil, true, false); got != classDone {
		t.Errorf("no failure: %s", got)
	}
}
