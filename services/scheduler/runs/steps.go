package runs

import (
	"fmt"
	"sync"
	"time"
)

// steps bounds how many steps the runs of a user begin within an hour, by
// starting no more of his runs. Those under way go on. Each scheduler counts what
// it carries on itself.
type steps struct {
	most int

	mu    sync.Mutex
	users map[string]*begun // :: user → since when, and how many
}

type begun struct {
	since time.Time
	n     int
}

// began counts steps.
func (q *steps) began(user string, n int, now time.Time) {
	if n <= 0 {
		return
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	b := q.users[user]
	if b == nil {
		if q.users == nil || len(q.users) >= maxCounted {
			q.users = map[string]*begun{}
		}
		b = &begun{since: now}
		q.users[user] = b
	}
	if now.Sub(b.since) >= time.Hour {
		*b = begun{since: now}
	}
	b.n += n
}

// room is a *refusal where the runs of a user have begun as many steps as they
// may.
func (q *steps) room(user string, now time.Time) error {
	q.mu.Lock()
	defer q.mu.Unlock()
	b := q.users[user]
	if b == nil || b.n < q.most || now.Sub(b.since) >= time.Hour {
		return nil
	}
	return &refusal{whyQuota, fmt.Sprintf(
		"the runs of the user have begun %d steps since %s, as many as they may in an hour: start it later, or raise PLUGFN_STEPS_PER_USER",
		b.n, b.since.UTC().Format(time.RFC3339))}
}
