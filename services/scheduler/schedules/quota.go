package schedules

import (
	"context"
	"sync"
	"time"
)

const (
	quotaMemory = time.Minute
	maxCounted  = 10_000 // users that are remembered
)

// quota bounds how many schedules a user has. To count them is a look at all of
// them, so it remembers for a minute of whom there are few: fewer than half of what
// he may have, with those that were made here since. Where several schedulers make
// many at the same moment there may be somewhat more in the end.
type quota struct {
	most int

	mu     sync.Mutex
	counts map[string]*counted // :: user → what is known
}

type counted struct {
	n     int
	until time.Time
}

// take counts one more schedule of a user, or is an error where he has as many as
// he may.
func (q *quota) take(ctx context.Context, store *store, user string) error {
	if q.takeKnown(user, time.Now()) {
		return nil
	}
	n, err := store.count(ctx, user)
	if err != nil {
		return err
	}
	if n >= q.most {
		return invalid("user_id", "has %d schedules: delete those that are no longer used, or raise PLUGFN_SCHEDULES_PER_USER", n)
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.counts == nil || len(q.counts) >= maxCounted {
		q.counts = map[string]*counted{}
	}
	q.counts[user] = &counted{n + 1, time.Now().Add(quotaMemory)}
	return nil
}

func (q *quota) takeKnown(user string, now time.Time) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	c := q.counts[user]
	if c == nil || now.After(c.until) || c.n+1 > q.most/2 {
		return false
	}
	c.n++
	return true
}
