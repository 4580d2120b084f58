package auth

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"

	"github.com/plugfn/plugfn/pkg/events"
)

// timing is how long things take and last. Tests have less of it.
type timing struct {
	lease   time.Duration // of a claim; longer than call
	call    time.Duration // of one question to a provider
	confirm time.Duration // between the two times that a provider must say that a grant is gone
	look    time.Duration // between two looks at a record that is waited for, should the index not tell
	write   time.Duration // of one write
	retry   time.Duration // the first pause after a transient failure, doubled up to retryMax
	drain   time.Duration // how long refreshes under way may go on after the service has stopped
}

// The longest pauses after transient failures: while the credential in hand is
// good, and once it has expired.
const (
	retryMax     = 15 * time.Minute
	retryMaxOver = 2 * time.Minute
)

func defaultTiming() timing {
	return timing{
		lease:   45 * time.Second,
		call:    20 * time.Second,
		confirm: 30 * time.Second,
		look:    500 * time.Millisecond,
		write:   5 * time.Second,
		retry:   2 * time.Second,
		drain:   time.Minute,
	}
}

// How many credentials of one provider are refreshed at once, and how many wait
// for that, so that a slow provider does not hold up the others.
const (
	maxPlaces = 16
	maxCrowd  = 512
)

// refresher gets newer credentials. Whoever asks, there is one refresh of a
// connection at a time in this process, and by the claim in all of them.
type refresher struct {
	*store
	authority authority
	timing    timing
	spill     *spill
	breakers  breakers
	meter     *meter
	holder    string // of this process
	claims    atomic.Uint64
	unkept    atomic.Int64 // credentials that the bus does not take
	// unclaimed switches the claim off, and crash has the process die at a
	// point: tests prove with them that they would find a fault.
	unclaimed bool
	crash     func(point string, c *claim) bool

	waiting context.Context // ends when nobody may wait for a turn any more
	working context.Context // ends when what is under way is given up
	stop    context.CancelFunc
	abandon context.CancelFunc

	mu      sync.Mutex
	flights map[string]*flight
	places  map[string]chan struct{} // :: provider → its places
	crowd   map[string]int           // :: provider → its flights
	stopped bool
	flying  sync.WaitGroup
}

// The points at which a process can die with a claim.
const (
	pointClaimed  = "claimed"  // before it asks
	pointAnswered = "answered" // before it writes what it got
)

// want is what a refresh is to come to: a later version than after. now has it
// tried although it was postponed or given up, because a person asks for it.
type want struct {
	after int
	now   bool
}

// flight is one refresh and those who wait for it.
type flight struct {
	want
	done chan struct{}
	kept kept  // what came of it
	err  error // or why nothing did
}

func newRefresher(s *store, a authority, holder string, t timing, sp *spill) *refresher {
	f := &refresher{
		store: s, authority: a, timing: t, spill: sp, holder: holder, meter: newMeter(s.providers),
		flights: map[string]*flight{}, places: map[string]chan struct{}{}, crowd: map[string]int{},
	}
	f.waiting, f.stop = context.WithCancel(context.Background())
	f.working, f.abandon = context.WithCancel(context.Background())
	return f
}

// postponed says that a refresh failed a while ago and when it is tried again.
type postponed struct {
	until        time.Time
	failure      *failure // the last one; nil: not known
	noted        bool     // in the record, and scheduled
	connectionID string
}

// Error says when the refresh is tried again.
func (p *postponed) Error() string {
	why := "refreshing the credential of connection " + p.connectionID + " failed"
	if p.failure != nil {
		why += " (" + string(p.failure.Class) + ")"
	}
	return why + "; it is tried again at " + p.until.UTC().Format(time.RFC3339)
}

func errUnderWay(connectionID string) *events.Error {
	return events.Errorf(events.CodeInternal, "a refresh of connection %s is under way; try again", connectionID)
}

func errNoConnection(connectionID string) *events.Error {
	return events.Errorf(events.CodeConnectionNotFound, "there is no connection %s", quote(connectionID))
}

var errStopping = errors.New("the service is stopping")

// renewed returns the record at key once it is as wanted, and refreshes it for
// that. Whatever becomes of ctx, a refresh that has begun goes
// on. Errors are *events.Error, *postponed, or trouble of ours.
func (f *refresher) renewed(ctx context.Context, key string, want want) (kept, error) {
	for {
		flight, err := f.join(key, want)
		if err != nil {
			return kept{}, err
		}
		select {
		case <-flight.done:
		case <-ctx.Done():
			return kept{}, errUnderWay(namedBy(key).ID)
		}
		// A flight that others began may have been for less.
		if flight.err != nil && (flight.now || !want.now) || flight.err == nil && flight.kept.Version > want.after {
			return flight.kept, flight.err
		}
	}
}

// join returns the refresh of key that is under way, or begins one.
func (f *refresher) join(key string, want want) (*flight, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.stopped {
		return nil, errStopping
	}
	if under := f.flights[key]; under != nil {
		return under, nil
	}
	provider := namedBy(key).Provider
	if f.crowd[provider] >= maxCrowd {
		return nil, events.Errorf(events.CodeInternal, "too many connections to %s are refreshed at once; try again", provider)
	}
	under := &flight{want: want, done: make(chan struct{})}
	f.flights[key] = under
	f.crowd[provider]++
	f.flying.Go(func() {
		under.kept, under.err = f.fly(key, want)
		f.mu.Lock()
		delete(f.flights, key)
		if f.crowd[provider]--; f.crowd[provider] == 0 {
			delete(f.crowd, provider)
		}
		f.mu.Unlock()
		close(under.done)
	})
	return under, nil
}

// fly refreshes the connection at key, unless others have done so.
func (f *refresher) fly(key string, want want) (k kept, err error) {
	defer func() {
		if cause := recover(); cause != nil {
			f.log.Error().Str("cause", fmt.Sprintf("%T", cause)).Bytes("stack", debug.Stack()).Msg("refresh panicked")
			err = fmt.Errorf("refreshing: %T", cause)
		}
	}()
	c, k, err := f.obtain(f.waiting, key, want)
	if err != nil || c == nil {
		return k, err
	}
	defer c.leave()
	return f.perform(c)
}

// enter takes one of the places of a provider.
func (f *refresher) enter(ctx context.Context, provider string) (leave func(), err error) {
	f.mu.Lock()
	places, ok := f.places[provider]
	if !ok {
		places = make(chan struct{}, maxPlaces)
		f.places[provider] = places
	}
	f.mu.Unlock()
	select {
	case places <- struct{}{}:
		return func() { <-places }, nil
	case <-ctx.Done():
		return nil, errStopping
	}
}

// perform asks the provider and writes what it said.
func (f *refresher) perform(c *claim) (kept, error) {
	// Should this process die now, somebody looks after the claim.
	j := refreshJob(&c.record)
	if err := f.park(f.working, j, f.now().Add(f.timing.lease+time.Second)); err != nil {
		f.log.Warn().Err(err).Str("connection", c.ID).Msg("claim without a watch")
	}
	if f.dies(pointClaimed, c) {
		return c.kept, errStopping
	}
	m, err := f.ask(c)
	f.meter.refreshed(c.Provider, err)
	if f.dies(pointAnswered, c) {
		return c.kept, errStopping
	}
	if err != nil {
		return f.failed(c, asRefusal(err))
	}
	return f.succeeded(c, m)
}

// ask ends well before others may take over, however long it took to get here.
func (f *refresher) ask(c *claim) (minted, error) {
	ctx, cancel := context.WithDeadline(f.working, c.until.Add(-f.timing.lease/10))
	defer cancel()
	ctx, done := context.WithTimeout(ctx, f.timing.call)
	defer done()
	if ctx.Err() != nil {
		return minted{}, &refusal{failure: failure{Class: failTransient}, text: "the bus was too slow to ask in time"}
	}
	return f.authority.renew(ctx, c.hand)
}

func (f *refresher) dies(point string, c *claim) bool {
	return f.crash != nil && f.crash(point, c)
}

func asRefusal(err error) *refusal {
	var r *refusal
	if errors.As(err, &r) {
		return r
	}
	return &refusal{failure: failure{Class: failTransient}, text: "the provider could not be asked"}
}

// drain begins no more refreshes and waits for those under way.
func (f *refresher) drain() error {
	f.mu.Lock()
	f.stopped = true
	f.mu.Unlock()
	f.stop()
	defer f.abandon()
	ended := make(chan struct{})
	go func() { f.flying.Wait(); close(ended) }()
	timer := time.NewTimer(f.timing.drain)
	defer timer.Stop()
	select {
	case <-ended:
		return nil
	case <-timer.C:
	}
	f.abandon()
	<-ended
	return errors.New("refreshes under way were given up")
}
