package executor

import (
	"context"
	"errors"
	"fmt"
	"hash/maphash"
	"sync"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/plugfn/plugfn/internal/bus"
	"github.com/plugfn/plugfn/pkg/events"
)

// turns has the requests of an action that declares order_by carried out one
// after another where they have the same key, in the order of the stream.
//
// A record for each user and action lists who waits. Whoever takes up a request
// reads what came before it from the stream into the record, so it does not
// matter which executor has what; the first of a line has the turn, until it has
// its result. The turn is the request's, not the executor's: when that goes away,
// another one gets the request again and goes on. A request whose turn it is not
// waits like one that waits for anything else, and is woken by the one before.
type turns struct {
	*worker
	kv     jetstream.KeyValue
	stream jetstream.Stream // of the requests
	most   int              // of a record, maxWaiters

	seed  maphash.Seed
	locks [64]sync.Mutex // of the records, by hash: only other executors are in the way
}

const (
	// turnsAhead is how many of a line that moves quickly are brought at a time: to
	// wake one takes the bus up to a quarter of a second. turnNap is how long these wait for their turn
	// before they are parked.
	turnsAhead = 4
	turnNap    = 500 * time.Millisecond
	turnLook   = 5 * time.Millisecond
	// turnRecheck is how often a request that waits looks for itself whether its
	// turn has come, should it not be woken; turnSoon the same for the first few.
	turnRecheck = 15 * time.Minute
	turnSoon    = 10 * time.Second
	// turnTries is how often a record is changed in vain.
	turnTries = 50
)

func (s *turns) lock(q *queue) *sync.Mutex {
	return &s.locks[maphash.String(s.seed, q.key())%uint64(len(s.locks))]
}

// await reports whether it is the turn of t. If not, t is parked, or ends.
func (s *turns) await(ctx context.Context, t *task, e *entry) (bool, error) {
	q, order := s.queueOf(t)
	if q == nil {
		return true, nil
	}
	place, err := s.enter(ctx, t, e, q, order, false)
	for end := s.Now().Add(nap(ctx, turnNap)); err == nil && place > 0 && place < turnsAhead && s.Now().Before(end); {
		if err = rest(ctx, turnLook); err == nil {
			place, err = s.look(ctx, t, q, order)
		}
	}
	now := s.Now()
	if place == 0 || err != nil {
		t.turnAt = now
		return err == nil, err
	}
	until := now.Add(turnRecheck)
	if place > 0 && place < turnsAhead {
		until = now.Add(turnSoon)
	}
	if !t.Deadline.IsZero() || t.Reply != "" { // any other comes late rather than never
		limit := t.limit(e)
		if !limit.After(now) {
			e.Last = events.Errorf(events.CodeTimeout, "the request ended while those before it were carried out, one after another")
			return false, s.giveUp(ctx, t, e, verdict{do: endOf(e)})
		}
		if limit.Before(until) {
			until = limit
		}
	}
	if err := s.wait(ctx, t, e, waitTurn, until); err != nil {
		return false, err
	}
	// The turn may have come before the request was parked, or be that of one
	// which is over.
	if place, err = s.enter(ctx, t, e, q, order, true); place == 0 && err == nil {
		_, err = s.Parking.Hasten(ctx, events.LaterSubject(bus.KindAction, t.UserID, t.ID), s.Now())
	}
	return false, err
}

// look is how many are before t now; -1: it is in no line.
func (s *turns) look(ctx context.Context, t *task, q *queue, order string) (int, error) {
	r, err := s.load(ctx, q)
	if r == nil || err != nil {
		return -1, err
	}
	return r.place(order, t.ID), nil
}

// enter puts t into its line, unless it is in it, and returns how many are before
// it; -1: there is no room. sure takes those out who are over, and does not trust
// what it reads: a replica of the record may be behind.
func (s *turns) enter(ctx context.Context, t *task, e *entry, q *queue, order string, sure bool) (place int, err error) {
	mine := min(t.first(), t.sequence)
	err = s.change(ctx, q, func(r *turnRecord) (wake []string, changed bool, err error) {
		if r.place(order, t.ID) < 0 && r.Floor < mine {
			if wake, err = s.extend(ctx, q, r, mine); err != nil {
				return nil, false, err
			}
			changed = true
		}
		switch place = r.place(order, t.ID); {
		case place >= 0 || r.size() >= s.most:
		case r.Floor < mine:
			return wake, true, errMore
		default: // it had no place before
			r.add(order, t.waiter(e))
			changed, place = true, r.place(order, t.ID)
		}
		if sure {
			cleared, err := s.clear(ctx, q, r, order, t.ID)
			if err != nil {
				return nil, false, err
			}
			place = r.place(order, t.ID)
			changed = changed || cleared
			if cleared && place > 0 {
				wake = append(wake, r.next(order, 1)...)
			}
		}
		return wake, changed || sure && place >= 0 && place < turnsAhead, nil
	})
	return place, err
}

// errMore has a record be written and changed once more.
var errMore = errors.New("there is more to read")

// change changes the record of q, as often as it takes for nobody else to have
// done so meanwhile, and then wakes those that edit names.
func (s *turns) change(ctx context.Context, q *queue, edit func(*turnRecord) (wake []string, changed bool, err error)) error {
	l := s.lock(q)
	l.Lock()
	defer l.Unlock()
	for range turnTries {
		r, err := s.load(ctx, q)
		if err == nil && r == nil {
			r, err = s.begin(ctx, q)
		}
		if err != nil {
			return err
		}
		wake, changed, err := edit(r)
		more := errors.Is(err, errMore)
		if err != nil && !more {
			return err
		}
		if err = nil; changed {
			err = s.save(ctx, q, r)
		}
		if err == nil {
			err = s.wake(ctx, q, wake...)
		}
		switch {
		case errors.Is(err, errTaken):
			if err := rest(ctx, time.Duration(s.luck()*float64(turnLook))); err != nil {
				return err
			}
		case err != nil || !more:
			return err
		}
	}
	return fmt.Errorf("the order of %s changes too often", q.subject)
}

// clear takes those out of a line before a request that have a result and have
// not said so.
func (s *turns) clear(ctx context.Context, q *queue, r *turnRecord, order, id string) (cleared bool, err error) {
	for line := r.Lines[order]; len(line) > 0 && line[0].ID != id; line = r.Lines[order] {
		over, err := s.isOver(ctx, q, line[0].ID)
		if err != nil {
			return cleared, err
		}
		if !over && !line[0].isGone(s.Now()) {
			return cleared, nil
		}
		r.drop(order, line[0].ID)
		cleared = true
	}
	return cleared, nil
}

// pass takes t, which has its result, out of its line, and has the next ones come.
func (s *turns) pass(ctx context.Context, t *task) error {
	q, order := s.queueOf(t)
	if q == nil {
		return nil
	}
	return s.change(ctx, q, func(r *turnRecord) (wake []string, changed bool, err error) {
		place := r.place(order, t.ID)
		if place < 0 { // whoever took it out may not have had the next one come
			return r.next(order, 1), false, nil
		}
		r.drop(order, t.ID)
		if r.More && r.size() <= s.most/2 {
			if wake, err = s.extend(ctx, q, r, 0); err != nil {
				return nil, false, err
			}
		}
		ahead := 1
		if !t.turnAt.IsZero() && s.Now().Sub(t.turnAt) < turnNap/2 {
			ahead = turnsAhead // those behind will not wait for long
		}
		if place < ahead {
			wake = append(wake, r.next(order, ahead)...)
		}
		return wake, true, nil
	})
}
