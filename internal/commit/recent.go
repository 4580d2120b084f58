package commit

import "sync"

// recentSize is how many ids each half of the memory holds.
const recentSize = 4096

// recent remembers the last ids that were sent, so that repetitions stay out of
// batches. What it has forgotten costs time only. The zero value is ready.
type recent struct {
	mu       sync.Mutex
	now, old map[string]struct{}
}

func (r *recent) add(id string) {
	if id == "" {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.now == nil || len(r.now) >= recentSize {
		r.now, r.old = make(map[string]struct{}, recentSize), r.now
	}
	r.now[id] = struct{}{}
}

func (r *recent) has(id string) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	_, now := r.now[id]
	_, old := r.old[id]
	return now || old
}
