package executor

import (
	"time"

	"github.com/plugfn/plugfn/pkg/events"
	"github.com/plugfn/plugfn/pkg/providers"
)

// class is what one attempt came to, as far as it matters for what is next.
type class string

const (
	classDone      class = "done"      // it succeeded
	classRefused   class = "refused"   // the provider did nothing, and would do nothing again
	classNothing   class = "nothing"   // provably nothing was done: not sent, or so the provider says
	classThrottled class = "throttled" // the provider did nothing, because it is asked too much
	classReauth    class = "reauth"    // the provider did nothing, because it refuses the credential
	classPaused    class = "paused"    // not tried: others fare badly with the provider at the moment
	classUncertain class = "uncertain" // sent, and no answer tells whether it was carried out
)

// classOf is the class of a failure. sent is whether bytes of the request may
// have left; nothingDone whether the pack says that the answer proves that
// nothing was done.
func classOf(failure *events.Error, sent, nothingDone bool) class {
	if failure == nil {
		return classDone
	}
	switch failure.Code {
	case events.CodeRateLimited:
		return classThrottled
	case events.CodeNeedsReauth:
		return classReauth
	case events.CodeProviderUnavailable, events.CodeTimeout, events.CodeCanceled, events.CodeOutcomeUnknown:
		if sent && !nothingDone {
			return classUncertain
		}
		return classNothing
	case events.CodeInternal:
		if sent {
			return classUncertain
		}
		return classRefused
	default:
		return classRefused
	}
}

// circumstances are all that decides what happens to a request after an attempt.
type circumstances struct {
	class      class
	retryAfter time.Duration // what the provider or the breaker advises; 0: nothing

	effect      providers.Effect // of this request, see providers.Action.EffectOf
	atLeastOnce bool             // the caller prefers twice to never
	patient     bool             // the caller does not wait for the answer, or has said until when
	doubt       bool             // an earlier attempt may have been carried out

	attempts, maxAttempts int // so far, this one among them
	base                  time.Duration
	deferrals             int           // how often it was put off without an attempt or an answer that counts
	firstLook             time.Duration // effect reconcile: from the attempt to the first look
	keyEnds               time.Time     // effect keyed: when the provider may forget the key

	now, limit time.Time // an attempt is cut off at limit
	luck       float64   // in [0,1): spreads what would happen at once
}

// do is what happens to a request.
type do string

const (
	doSucceed do = "succeed"
	doFail    do = "fail"
	doUnknown do = "unknown"
	doRetry   do = "retry"   // the next attempt, at a time
	doPutOff  do = "put off" // the same attempt, at a time
	doLook    do = "look"    // whether it was carried out, at a time
	doPark    do = "park"    // until the connection works again
)

// verdict is what happens to a request, and when.
type verdict struct {
	do     do
	at     time.Time
	doubt  bool   // it may have been carried out, now or before
	gaveUp string // why a request that could have been tried again is not; else empty
}

const (
	defaultAttempts = 5
	defaultBase     = time.Second
	maxPause        = 5 * time.Minute // the longest wait that nobody asked for
	firstThrottle   = 5 * time.Second // the first wait after a throttling without advice
)

// decide is the one place where it is decided whether a request is sent again.
func decide(c circumstances) verdict {
	c.doubt = c.doubt || c.class == classUncertain && c.effect != providers.EffectRead
	switch c.class {
	case classDone:
		return verdict{do: doSucceed}
	case classRefused:
		// A provider that honours keys would have repeated its first answer.
		return c.over("", c.doubt && c.effect != providers.EffectKeyed)
	case classReauth:
		if c.patient {
			return verdict{do: doPark, doubt: c.doubt}
		}
		return c.over("", c.doubt)
	case classThrottled, classPaused:
		return c.putOff()
	case classNothing:
		return c.again()
	default:
		return c.uncertain()
	}
}

// uncertain decides by the effect.
func (c *circumstances) uncertain() verdict {
	switch {
	case c.effect == providers.EffectReconcile:
		return verdict{do: doLook, at: c.now.Add(c.firstLook), doubt: true}
	case c.effect == providers.EffectNone && !c.atLeastOnce:
		return c.over("", true)
	default:
		return c.again()
	}
}

// again is the next attempt after a while: a random one, so that requests that
// failed together do not come again together.
func (c *circumstances) again() verdict {
	if c.attempts >= c.maxAttempts {
		return c.over("no attempt is left", c.doubt)
	}
	pause := c.retryAfter
	if pause == 0 {
		pause = time.Duration(c.luck * float64(doubled(c.base, c.attempts-1)))
	}
	at := c.now.Add(pause)
	switch {
	case !c.fits(at):
		return c.over("the next attempt would be after the deadline", c.doubt)
	case c.effect == providers.EffectKeyed && c.doubt && at.After(c.keyEnds):
		return c.over("the provider would not know the key any more", true)
	}
	return verdict{do: doRetry, at: at, doubt: c.doubt}
}

// putOff obeys the advice exactly and a little later, so that those who wait
// for the same moment do not meet. It is no attempt.
func (c *circumstances) putOff() verdict {
	pause := c.retryAfter
	if pause == 0 {
		pause = doubled(firstThrottle, c.deferrals)
	}
	pause += time.Duration(c.luck * float64(min(pause/10, maxPause/10)))
	at := c.now.Add(pause)
	if !c.fits(at) {
		return c.over("it would be put off beyond the deadline", c.doubt)
	}
	if c.effect == providers.EffectKeyed && c.doubt && at.After(c.keyEnds) {
		return c.over("the provider would not know the key any more", true)
	}
	return verdict{do: doPutOff, at: at, doubt: c.doubt}
}

// shortest is how much of the time until its deadline another attempt must have
// left: one that is cut off says less than the one before it, and leaves a write
// in doubt.
const shortest = 200 * time.Millisecond

// fits tells whether another attempt may begin at a time.
func (c *circumstances) fits(at time.Time) bool { return !at.Add(shortest).After(c.limit) }

func (c *circumstances) over(why string, unknown bool) verdict {
	v := verdict{do: doFail, doubt: c.doubt, gaveUp: why}
	if unknown {
		v.do = doUnknown
	}
	return v
}

// doubled is base, doubled n times, at most maxPause.
func doubled(base time.Duration, n int) time.Duration {
	for range n {
		if base >= maxPause {
			break
		}
		base *= 2
	}
	return min(base, maxPause)
}
