package executor

import (
	"slices"
	"time"
)

// turnRecord is who waits for his turn at one action of one user, in
// bus.BucketOrder under the tokens of user, provider and action. It is changed by
// compare-and-swap only.
type turnRecord struct {
	// Floor is up to where the requests of the stream are in here, or settled.
	Floor uint64 `json:"floor"`
	// More says that there may be some behind Floor that were told to wait.
	More bool `json:"more,omitempty"`
	// Lines are those that wait, in order of arrival; the first has the turn.
	Lines map[string][]waiter `json:"lines,omitempty"` // :: providers.Action.OrderKey → who waits

	revision uint64 // 0: not in the bucket yet
}

// waiter is a request in a line.
type waiter struct {
	ID    string `json:"id"`
	Until int64  `json:"until"` // in seconds since 1970; then it is gone, with a result or without
}

// maxWaiters bounds a record, to some 10 KB. Those that come after wait where
// they are, in the stream.
const maxWaiters = 128

func (r *turnRecord) size() int {
	n := 0
	for _, line := range r.Lines {
		n += len(line)
	}
	return n
}

// place is how many are before a request; -1: it is not in the line.
func (r *turnRecord) place(order, id string) int {
	return slices.IndexFunc(r.Lines[order], func(w waiter) bool { return w.ID == id })
}

// add puts a request at the end of its line, unless it is in it. It reports
// whether it is the first.
func (r *turnRecord) add(order string, w waiter) bool {
	if r.place(order, w.ID) >= 0 {
		return false
	}
	if r.Lines == nil {
		r.Lines = map[string][]waiter{}
	}
	r.Lines[order] = append(r.Lines[order], w)
	return len(r.Lines[order]) == 1
}

// drop takes a request out of its line.
func (r *turnRecord) drop(order, id string) {
	line := slices.DeleteFunc(r.Lines[order], func(w waiter) bool { return w.ID == id })
	if len(line) == 0 {
		delete(r.Lines, order)
		return
	}
	r.Lines[order] = line
}

// next are the first of a line, at most n.
func (r *turnRecord) next(order string, n int) []string {
	line := r.Lines[order]
	ids := make([]string, 0, n)
	for _, w := range line[:min(n, len(line))] {
		ids = append(ids, w.ID)
	}
	return ids
}

// isGone reports whether nobody waits as w any more: its request has ended long
// ago, or was removed from the bus.
func (w *waiter) isGone(now time.Time) bool { return now.Unix() > w.Until }
