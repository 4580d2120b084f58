package executor

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/plugfn/plugfn/internal/bus"
	"github.com/plugfn/plugfn/pkg/events"
	"github.com/plugfn/plugfn/pkg/providers"
)

// queue is what requests for one ordered action of one user have in common.
type queue struct {
	subject string
	user    string // token
	action  *providers.Action
}

// key is where the record of the queue is.
func (q *queue) key() string { return strings.TrimPrefix(q.subject, events.PrefixAction) }

// queueOf is the queue of t, and which line of it is that of t; nil for a request
// that waits for no other.
func (s *turns) queueOf(t *task) (*queue, string) {
	pack, ok := s.Providers.Pack(t.Provider)
	if !ok {
		return nil, ""
	}
	action, ok := pack.Action(t.Action)
	if !ok || !action.IsOrdered() {
		return nil, ""
	}
	// The connection is the one that the request names: what names none is in the
	// line of what names none.
	order, err := action.OrderKey(t.Params, events.HeaderValue(t.header, events.HeaderConnection))
	if err != nil {
		return nil, ""
	}
	return &queue{subject: t.subject, user: t.user, action: action}, order
}

// holds is what a message of the stream is in the queue. Not in it is what comes
// again, for it has its place, and what is not to be begun yet, for that gets its
// place when it comes again.
func (q *queue) holds(raw *jetstream.RawStreamMsg) (order string, w waiter, ok bool) {
	r, err := events.ParseActionRequest(raw.Subject, raw.Header, raw.Data)
	if err != nil || events.Resumed(raw.Header) > 0 || !r.NotBefore.IsZero() {
		return "", w, false // what cannot be read has its result without the provider
	}
	if order, err = q.action.OrderKey(r.Params, r.ConnectionID); err != nil {
		return "", w, false
	}
	if r.ID == "" {
		r.ID = derivedID(events.Received{Sequence: raw.Sequence, Time: raw.Time})
	}
	t := task{ActionRequest: r}
	return order, t.waiter(&entry{TakenUp: raw.Time}), true
}

// waiter is t in a line.
func (t *task) waiter(e *entry) waiter {
	return waiter{ID: t.ID, Until: t.limit(e).Add(orphanAge).Unix()}
}

const (
	// maxScan is how many messages are read before what was found is written down.
	maxScan = 500
	// scanTries is how often is looked for a message that must be there: a replica
	// of the stream may not have it yet.
	scanTries = 20
)

// extend reads the requests of the stream into a record that are behind its
// floor, up to the one at a sequence, which is mine; 0: as many as there are. It
// stops early when the record is full. It returns those others that have become
// the first of their line.
//
// What it reads is complete also where a replica answers that is behind: that has
// the beginning of the stream, and mine is read as well.
func (s *turns) extend(ctx context.Context, q *queue, r *turnRecord, through uint64) (first []string, err error) {
	for range maxScan {
		if r.size() >= s.most {
			r.More = true
			return first, nil
		}
		if through > 0 && r.Floor >= through {
			return first, nil
		}
		raw, err := s.after(ctx, q, r.Floor, through)
		switch {
		case err != nil:
			return nil, err
		case raw == nil && through > 0, raw != nil && through > 0 && raw.Sequence > through:
			r.Floor = through // it was removed meanwhile
			return first, nil
		case raw == nil:
			r.More = false
			return first, nil
		}
		r.Floor = raw.Sequence
		order, w, ok := q.holds(raw)
		if !ok {
			continue
		}
		if raw.Sequence != through {
			if over, err := s.isOver(ctx, q, w.ID); over || err != nil {
				if err != nil {
					return nil, err
				}
				continue
			}
		}
		if r.add(order, w) && raw.Sequence != through {
			first = append(first, w.ID)
		}
	}
	r.More = r.More || through == 0
	return first, nil
}

// after is the first message of the queue behind a sequence, nil: there is none.
// There is one up to through, unless somebody has removed it.
func (s *turns) after(ctx context.Context, q *queue, floor, through uint64) (*jetstream.RawStreamMsg, error) {
	for try := 1; ; try++ {
		raw, err := s.stream.GetMsg(ctx, floor+1, jetstream.WithGetMsgSubject(q.subject))
		switch {
		case err == nil:
			return raw, nil
		case !errors.Is(err, jetstream.ErrMsgNotFound):
			return nil, fmt.Errorf("looking who is next: %w", err)
		case through == 0 || try == scanTries:
			return nil, nil
		}
		if err := rest(ctx, 10*time.Millisecond); err != nil {
			return nil, err
		}
	}
}

// begin is a record for a queue that has none: its floor is what everybody's
// consumer has seen the end of, but for what a lane brings.
func (s *turns) begin(ctx context.Context, q *queue) (*turnRecord, error) {
	consumer, err := s.stream.Consumer(ctx, "executor")
	if err != nil {
		return nil, fmt.Errorf("looking where the requests are: %w", err)
	}
	floor := consumer.CachedInfo().AckFloor.Stream
	kve, err := s.lanes.kv.Get(ctx, q.user)
	if errors.Is(err, jetstream.ErrKeyNotFound) {
		return &turnRecord{Floor: floor}, nil
	}
	var lane laneRecord
	if err == nil {
		err = json.Unmarshal(kve.Value(), &lane)
	}
	if err != nil {
		return nil, fmt.Errorf("looking for the lane of %s: %w", q.user, err)
	}
	return &turnRecord{Floor: min(floor, lane.From-1)}, nil
}

func (s *turns) isOver(ctx context.Context, q *queue, id string) (bool, error) {
	first, err := s.results.last(ctx, events.PrefixResult+q.user+".*.*."+events.Token(id))
	return first != nil, err
}

// wake has requests of the queue come that were told to wait.
func (s *turns) wake(ctx context.Context, q *queue, ids ...string) error {
	for _, id := range ids {
		if _, err := s.Parking.Hasten(ctx, events.PrefixLater+bus.KindAction+"."+q.user+"."+events.Token(id), s.Now()); err != nil {
			return err
		}
	}
	return nil
}

// load reads a record, nil: there is none.
func (s *turns) load(ctx context.Context, q *queue) (*turnRecord, error) {
	kve, err := s.kv.Get(ctx, q.key())
	if errors.Is(err, jetstream.ErrKeyNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("reading whose turn it is: %w", err)
	}
	r := turnRecord{revision: kve.Revision()}
	if err := json.Unmarshal(kve.Value(), &r); err != nil {
		return nil, fmt.Errorf("reading whose turn it is: %w", err)
	}
	return &r, nil
}

// save writes r as the successor of its revision, or returns errTaken.
func (s *turns) save(ctx context.Context, q *queue, r *turnRecord) error {
	body, err := json.Marshal(r)
	if err != nil {
		return fmt.Errorf("writing whose turn it is: %w", err)
	}
	if r.revision == 0 {
		r.revision, err = s.kv.Create(ctx, q.key(), body)
	} else {
		r.revision, err = s.kv.Update(ctx, q.key(), body, r.revision)
	}
	if isConflict(err) {
		return errTaken
	}
	if err != nil {
		return fmt.Errorf("writing whose turn it is: %w", err)
	}
	return nil
}
