package executor

import (
	"cmp"
	"time"

	"github.com/plugfn/plugfn/pkg/events"
	"github.com/plugfn/plugfn/pkg/providers"
	"github.com/plugfn/plugfn/pkg/providers/nearest"
)

// maxAhead bounds Plugfn-Not-Before.
const maxAhead = 366 * 24 * time.Hour

// maxParams is how many bytes of parameters a request may have, so that it can
// be parked: a message of the bus has 1 MiB with its headers.
const maxParams = 900 << 10

// maxWait is how long trouble of ours may hold a request up: less than the bus
// keeps it, so that it does not vanish without a result.
const maxWait = 6 * 24 * time.Hour

const (
	// patience is how long a request without a deadline is tried, put off or
	// parked, from when it was stored or may begin.
	patience = 24 * time.Hour
	// callPatience is the same where somebody waits for the answer.
	callPatience = 5 * time.Minute
)

// plan is what a request means.
type plan struct {
	pack   *providers.Pack
	action *providers.Action
	asked  *providers.Asked // of the action
}

// plan checks everything about t that needs no I/O.
func (w *worker) plan(t *task, invalid *events.Error) (plan, *events.Error) {
	if invalid != nil {
		return plan{}, invalid
	}
	if len(t.Params) > maxParams {
		return plan{}, events.Errorf(events.CodeInvalidParams, "the parameters have %d bytes, at most %d are allowed", len(t.Params), maxParams)
	}
	if w.Now().Sub(t.storedAt) > maxWait {
		return plan{}, events.Errorf(events.CodeTimeout, "the request could not be executed for %s", maxWait)
	}
	pack, ok := w.Providers.Pack(t.Provider)
	if !ok {
		return plan{}, events.Errorf(events.CodeUnknownProvider, "no provider %q%s", t.Provider, nearest.Meant(w.Providers.Nearest(t.Provider)))
	}
	action, ok := pack.Action(t.Action)
	if !ok {
		return plan{}, events.Errorf(events.CodeUnknownAction, "provider %s has no action %q%s", pack.Name, t.Action, nearest.Meant(pack.NearestAction(t.Action)))
	}
	asked, err := action.Ask(t.Params)
	if err != nil {
		return plan{}, asError(err, events.CodeInvalidParams)
	}
	if failure := checkPages(t, action); failure != nil {
		return plan{}, failure
	}
	if t.NotBefore.After(w.Now().Add(maxAhead)) {
		return plan{}, events.Errorf(events.CodeInvalidParams, "header %s: more than a year ahead", events.HeaderNotBefore)
	}
	if !t.Deadline.IsZero() && t.NotBefore.After(t.Deadline) {
		return plan{}, late(t)
	}
	return plan{pack, action, asked}, nil
}

func late(t *task) *events.Error {
	return events.Errorf(events.CodeTimeout, "the deadline %s is before the first attempt", t.Deadline.UTC().Format(time.RFC3339))
}

// limit is when t is given up: no attempt starts after it.
func (t *task) limit(e *entry) time.Time {
	if !t.Deadline.IsZero() {
		return t.Deadline
	}
	from := e.TakenUp
	if t.NotBefore.After(from) {
		from = t.NotBefore
	}
	if t.Reply != "" {
		return from.Add(callPatience)
	}
	return from.Add(patience)
}

// circumstances are what decides what is next after an attempt at t.
func (w *worker) circumstances(t *task, p plan, e *entry, f *finding) circumstances {
	c := circumstances{
		class: f.class, retryAfter: f.retryAfter,
		effect:      p.action.Effect,
		atLeastOnce: t.Delivery == events.AtLeastOnce,
		patient:     t.Reply == "" || !t.Deadline.IsZero(),
		doubt:       e.Doubt,
		attempts:    e.Attempts,
		maxAttempts: cmp.Or(t.MaxAttempts, p.action.Retry.Attempts, defaultAttempts),
		base:        cmp.Or(p.action.Retry.Base, defaultBase),
		deferrals:   e.Deferrals,
		keyEnds:     e.FirstSent.Add(p.action.KeyTTL()),
		now:         w.Now(), limit: t.limit(e), luck: w.luck(),
	}
	if c.effect == providers.EffectReconcile && f.class == classUncertain {
		c.effect = p.action.EffectOf(t.Params)
		if look, ok := p.action.Look(t.Params, keyOf(t), e.FirstSent); ok {
			c.firstLook, _ = look.After(1)
		}
	}
	return c
}
