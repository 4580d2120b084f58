package runs

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/plugfn/plugfn/internal/bus"
	"github.com/plugfn/plugfn/pkg/events"
	"github.com/plugfn/plugfn/services/scheduler/runs/machine"
)

const (
	quotaMemory = time.Minute
	fullMemory  = 2 * time.Second // after a count that found no room
	maxCounted  = 10_000          // users that are remembered
)

// quota bounds how many runs of a user are under way. To count them is a look at
// all of his, so a count is remembered for a minute, or until half of the room
// that it found is used. Where several schedulers start runs there may be somewhat
// more in the end.
type quota struct {
	most int

	mu     sync.Mutex
	counts map[string]*counted // :: user → what is known
	asking locks
}

type counted struct {
	left  int // runs that may be started before the next count
	full  bool
	until time.Time
}

// take counts one more run of a user, or is a *refusal where he has as many as he
// may.
func (q *quota) take(ctx context.Context, s *Service, user string) error {
	if known, err := q.takeKnown(user, time.Now()); known {
		return err
	}
	defer q.asking.take(user)()
	if known, err := q.takeKnown(user, time.Now()); known {
		return err // somebody else has counted meanwhile
	}
	n, err := s.count(ctx, user)
	if err != nil {
		return err
	}
	c := &counted{left: (q.most - n + 1) / 2, until: time.Now().Add(quotaMemory)}
	if n >= q.most {
		c = &counted{full: true, until: time.Now().Add(fullMemory)}
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.counts == nil || len(q.counts) >= maxCounted {
		q.counts = map[string]*counted{}
	}
	q.counts[user] = c
	if c.full {
		return q.refusal()
	}
	c.left--
	return nil
}

func (q *quota) refusal() error {
	return &refusal{whyQuota, fmt.Sprintf("the user has %d runs that have not ended: cancel some, or raise PLUGFN_RUNS_PER_USER", q.most)}
}

func (q *quota) takeKnown(user string, now time.Time) (known bool, err error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	c := q.counts[user]
	switch {
	case c == nil || now.After(c.until):
		return false, nil
	case c.left > 0:
		c.left--
		return true, nil
	case c.full:
		return true, q.refusal()
	default:
		return false, nil
	}
}

// ended counts one run less.
func (q *quota) ended(user string) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if c := q.counts[user]; c != nil {
		c.left++
	}
}

// count is how many runs of a user have not ended.
func (s *Service) count(ctx context.Context, user string) (int, error) {
	n := 0
	err := s.heads(ctx, events.Token(user)+".>", func(h head) bool {
		if !h.state.Ended() {
			n++
		}
		return true
	})
	return n, err
}

// head is what is known of a record without reading it.
type head struct {
	key      string
	revision uint64
	state    machine.Status
}

// heads visits the heads of the records whose keys match filter, in the order in
// which they were last changed.
func (s *Service) heads(ctx context.Context, filter string, visit func(head) bool) error {
	const prefix = "$KV." + bus.BucketRuns + "."
	consumer, err := s.JetStream.CreateConsumer(ctx, "KV_"+bus.BucketRuns, jetstream.ConsumerConfig{
		FilterSubject: prefix + filter, DeliverPolicy: jetstream.DeliverLastPerSubjectPolicy, HeadersOnly: true,
		AckPolicy: jetstream.AckNonePolicy, MemoryStorage: true, InactiveThreshold: 30 * time.Second,
	})
	if err != nil {
		return fmt.Errorf("listing runs: %w", err)
	}
	info := consumer.CachedInfo()
	defer func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
		defer cancel()
		_ = s.JetStream.DeleteConsumer(ctx, info.Stream, info.Name) // it goes by itself, a little later
	}()
	for left := info.NumPending; left > 0; {
		if left, err = readHeads(consumer, prefix, visit); err != nil {
			return fmt.Errorf("listing runs: %w", err)
		}
	}
	return ctx.Err()
}

// readHeads visits some of the heads that a consumer has, and returns how many are
// left.
func readHeads(consumer jetstream.Consumer, prefix string, visit func(head) bool) (left uint64, err error) {
	const batch = 500
	fetched, err := consumer.FetchNoWait(batch)
	if err != nil {
		return 0, err
	}
	goesOn := true
	for msg := range fetched.Messages() {
		meta, err := msg.Metadata()
		if err != nil {
			return 0, err
		}
		left = meta.NumPending
		h := head{key: msg.Subject()[len(prefix):], revision: meta.Sequence.Stream, state: machine.Status(msg.Headers().Get(headerState))}
		goesOn = goesOn && (h.state == "" || visit(h))
	}
	if !goesOn {
		left = 0
	}
	return left, fetched.Error()
}
