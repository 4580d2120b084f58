package executor

import (
	"context"
	"errors"
	"io"
	"net/http"
	"slices"
	"time"

	"github.com/plugfn/plugfn/internal/limiter"
	"github.com/plugfn/plugfn/pkg/events"
	"github.com/plugfn/plugfn/pkg/providers"
)

// Limiter keeps calls within the limits of their providers, see package limiter.
type Limiter interface {
	Acquire(ctx context.Context, c limiter.Call) (limiter.Decision, error)
	Release(ctx context.Context, p limiter.Permit, r limiter.Report) error
	// Cancel gives back a permit whose call was not sent.
	Cancel(ctx context.Context, p limiter.Permit) error
}

const (
	// ownNap is the longest wait for a connection's own slot that is not worth
	// parking the request, sharedNap the same for what all share.
	ownNap    = time.Second
	sharedNap = 250 * time.Millisecond
	// tardy is how late a slot of a limit itself may be used: many that are late
	// together would pass the limit.
	tardy = time.Second
	// tooLate is how late the turn in a queue may be taken: many that are late
	// together would ask again and again for what they queued for.
	tooLate = 3 * time.Second
	// holdMargin is how much longer than a call its place is held.
	holdMargin = 30 * time.Second
	// settling bounds what is told to the limiter after a call.
	settling = 500 * time.Millisecond
	// share is how much of a rate of the whole app one connection gets where
	// others ask as well, and loneShare where nobody else does: what is reserved
	// far ahead has to leave room for those who come later.
	share     = 0.6
	loneShare = 0.75
)

// pause says that a call has to wait for a limit. It is an error so that it gets
// out of the pages of a read.
type pause struct {
	by    string
	until time.Time
	over  bool // it will not be granted in time
}

// Error names the limit.
func (p *pause) Error() string { return "waiting for the limit " + p.by }

// slot is leave to make one call.
type slot struct {
	*worker
	action  *providers.Action
	limits  []providers.BoundLimit
	permits []limiter.Permit
}

// asker is who needs a slot, and for what.
type asker struct {
	task       *task
	entry      *entry // keeps what was granted ahead
	action     *providers.Action
	credential providers.Credential
}

// slot gets leave to make one call, in two stages: a slot of the connection's
// own, or its turn in its queues, however far ahead, then what all share. It waits a moment at most. A *pause
// says that it would take longer, until when, and nothing shared was taken; any
// other error is trouble of ours.
func (w *worker) slot(ctx context.Context, on asker) (*slot, error) {
	b, err := w.bounds(on)
	if err != nil {
		return nil, err
	}
	b.Backlog = on.entry.Queued
	own, err := w.reserve(ctx, on, b)
	if err != nil {
		return nil, err
	}
	s := &slot{worker: w, action: on.action, limits: b.Limits, permits: []limiter.Permit{own}}
	call := b.Shared()
	call.Horizon = sharedNap
	if isEmpty(&call) {
		return s, nil
	}
	d, err := w.Limiter.Acquire(ctx, call)
	if err != nil {
		s.cancel(ctx)
		return nil, limited(err)
	}
	if d.Outcome != limiter.Granted {
		return nil, w.refused(ctx, on, s, d)
	}
	s.permits = append(s.permits, d.Permit)
	if joined, err := limiter.Join(own, d.Permit); err == nil {
		s.permits = []limiter.Permit{joined}
	}
	on.entry.hold(d.Delay)
	if err := rest(ctx, d.Delay); err != nil {
		s.cancel(ctx)
		return nil, err
	}
	return s, nil
}

// bounds is what bounds a call.
func (w *worker) bounds(on asker) (limiter.Bounds, error) {
	holder := on.credential.ConnectionID
	if holder == "" {
		holder = "user " + on.task.UserID
	}
	limits, err := on.action.Limits(on.task.Params, providers.LimitsOn{Connection: holder, Account: on.credential.Account})
	if err != nil {
		return limiter.Bounds{}, err
	}
	b := limiter.Bounds{
		Provider: on.task.Provider, Limits: limits, Overrides: w.Overrides,
		Hold:  max(on.action.AttemptTimeout(), min(on.task.Timeout, maxTimeout)) + holdMargin,
		Share: share, Holder: holder,
	}
	if w.crowd.isAlone(on.task.Provider, holder, w.Now()) {
		b.Share = loneShare
	}
	return b, nil
}

// reserve is the first stage. A slot that is not at hand is kept in the entry,
// for when the request comes again.
func (w *worker) reserve(ctx context.Context, on asker, b limiter.Bounds) (limiter.Permit, error) {
	e, now := on.entry, w.Now()
	if p := e.Permit; p != nil {
		e.Permit = nil
		if e.Wait == waitSlot && (now.Sub(e.Until) <= tardy || isQueue(p) && now.Sub(e.Until) <= tooLate) {
			return *p, nil
		}
		w.giveBack(ctx, *p)
	}
	call := b.Own()
	if isEmpty(&call) {
		return limiter.Permit{}, nil
	}
	call.Horizon = max(0, min(on.task.limit(e).Sub(now), limiter.Farthest))
	d, err := w.Limiter.Acquire(ctx, call)
	switch {
	case err != nil:
		return limiter.Permit{}, limited(err)
	case d.Outcome != limiter.Granted:
		return limiter.Permit{}, &pause{by: d.By, until: now.Add(d.Delay), over: true}
	case d.Delay > nap(ctx, ownNap):
		e.Permit, e.Queued = &d.Permit, true
		return limiter.Permit{}, &pause{by: d.By, until: now.Add(d.Delay)}
	}
	on.entry.hold(d.Delay)
	if err := rest(ctx, d.Delay); err != nil {
		w.giveBack(ctx, d.Permit)
		return limiter.Permit{}, err
	}
	return d.Permit, nil
}

// refused is what the second stage comes to that was not granted. The own slot
// is kept over a short wait; over a long one many would be kept, to be used
// together.
func (w *worker) refused(ctx context.Context, on asker, s *slot, d limiter.Decision) error {
	p := &pause{by: d.By, over: d.Outcome == limiter.Never}
	wait := d.Delay + time.Duration(w.luck()*float64(d.Delay)/10)
	p.until = w.Now().Add(max(wait, sharedNap))
	if own := s.permits[0]; wait <= tardy && own.Scope != "" && !p.over {
		on.entry.Permit = &own
	} else {
		s.cancel(ctx)
	}
	return p
}

// done settles the slot of a call that was sent. response may be nil, body what
// was read of it; err is what the call came to.
func (s *slot) done(ctx context.Context, response *http.Response, body []byte, err error) {
	var report limiter.Report
	if response != nil {
		seen := providers.Response{Status: response.StatusCode, Header: response.Header, Body: body, At: s.Now()}
		var answer *providers.Failure
		if errors.As(err, &answer) {
			seen.RetryAfter = answer.RetryAfter
		}
		var failure *events.Error
		seen.Refused = errors.As(err, &failure) && failure.Code == events.CodeRateLimited
		report = limiter.ReportOf(s.action.Observe(s.limits, seen))
	}
	s.settle(ctx, report)
}

// free settles the slot of a call that the provider does not count.
func (s *slot) free(ctx context.Context) {
	report := limiter.Report{Used: map[string]int64{}}
	for _, l := range s.limits {
		report.Used[l.ID] = 0
	}
	s.settle(ctx, report)
}

func (s *slot) settle(ctx context.Context, r limiter.Report) {
	for i, p := range s.permits {
		if i > 0 {
			r.Pauses = nil // one refusal pauses once
		}
		if p.Scope == "" && len(s.permits) > 1 || !p.Settles(&r) {
			continue
		}
		s.release(ctx, p, r)
	}
}

func (s *slot) release(ctx context.Context, p limiter.Permit, r limiter.Report) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), settling)
	defer cancel()
	if err := s.Limiter.Release(ctx, p, r); err != nil {
		s.Log.Warn().Err(err).Msg("slot of a call not released")
	}
}

// cancel gives back the slot of a call that is not made.
func (s *slot) cancel(ctx context.Context) {
	for _, p := range s.permits {
		s.giveBack(ctx, p)
	}
}

func (w *worker) giveBack(ctx context.Context, p limiter.Permit) {
	if p.Scope == "" {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), settling)
	defer cancel()
	if err := w.Limiter.Cancel(ctx, p); err != nil {
		w.Log.Warn().Err(err).Msg("slot not given back")
	}
}

// listen keeps what is read of a response whose body says something about
// limits, and returns it.
func (s *slot) listen(response *http.Response) func() []byte {
	if !s.action.ObservesBody() {
		return func() []byte { return nil }
	}
	heard := &earshot{most: s.action.MaxResponse()}
	response.Body = struct {
		io.Reader
		io.Closer
	}{io.TeeReader(response.Body, heard), response.Body}
	return func() []byte { return heard.text }
}

// earshot keeps the beginning of what is written to it.
type earshot struct {
	text []byte
	most int64
}

// Write never fails.
func (e *earshot) Write(p []byte) (int, error) {
	if room := e.most - int64(len(e.text)); room > 0 {
		e.text = append(e.text, p[:min(int64(len(p)), room)]...)
	}
	return len(p), nil
}

// putOff has t come again when it may be granted what it waits for. That is no
// attempt, and counts as none. What would be granted too late ends t now.
func (w *worker) putOff(ctx context.Context, t *task, e *entry, p *pause) error {
	if !p.over && !p.until.After(t.limit(e)) {
		e.hold(p.until.Sub(w.Now()))
		return w.wait(ctx, t, e, waitSlot, p.until)
	}
	w.dropPermit(ctx, e)
	w.meter.rejected(t.Provider)
	failure := events.Errorf(events.CodeRateLimited, "the limit %q of %s has nothing free before %s, and the request ends at %s", p.by, t.Provider,
		p.until.UTC().Format(time.RFC3339), t.limit(e).UTC().Format(time.RFC3339))
	failure.RetryAt = p.until.UTC()
	e.Last = failure
	return w.giveUp(ctx, t, e, verdict{do: endOf(e)})
}

// dropPermit gives back what e has kept and does not need any more.
func (w *worker) dropPermit(ctx context.Context, e *entry) {
	if e.Permit != nil {
		w.giveBack(ctx, *e.Permit)
		e.Permit = nil
	}
}

// limited is why no limit could be asked for leave.
func limited(err error) error {
	if errors.Is(err, limiter.ErrInvalid) {
		return events.Errorf(events.CodeInternal, "the limits of the provider cannot be kept: %v", err)
	}
	return err
}

// isQueue reports whether a permit is a place in queues only: what it queued for
// is still to be got.
func isQueue(p *limiter.Permit) bool {
	return !slices.ContainsFunc(p.Limits, func(l limiter.Taken) bool { return !l.Queue })
}

func isEmpty(c *limiter.Call) bool { return len(c.Limits)+len(c.Concurrency)+len(c.Gates) == 0 }

// nap is how long may be waited within ctx: most, and no more than half of what
// is left of it.
func nap(ctx context.Context, most time.Duration) time.Duration {
	if end, ok := ctx.Deadline(); ok {
		return min(most, time.Until(end)/2)
	}
	return most
}

// rest waits.
func rest(ctx context.Context, d time.Duration) error {
	if d <= 0 {
		return ctx.Err()
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
		return nil
	}
}
