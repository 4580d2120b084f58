package answers

import (
	"context"
	"sync"
)

// Flights has one of several that want the same thing at once go for it, and the
// others wait. The zero value is ready. It is safe for concurrent use.
type Flights struct {
	mu   sync.Mutex
	away map[string]*flight // :: key → who is gone for it
}

type flight struct {
	back chan struct{} // closed on return
	kept bool          // before back is closed: there is something to look at
}

// Join tells whether to go for key. With a finish the caller goes, and calls
// finish when he is back, with whether he has kept what the others want. Without
// one he has waited for somebody else: kept says whether to look again; if not,
// everybody goes for himself, so that the slow failures of one do not queue up.
func (f *Flights) Join(ctx context.Context, key string) (finish func(kept bool), kept bool) {
	f.mu.Lock()
	other, ok := f.away[key]
	if !ok {
		if f.away == nil {
			f.away = map[string]*flight{}
		}
		own := &flight{back: make(chan struct{})}
		f.away[key] = own
		f.mu.Unlock()
		return func(kept bool) { f.land(key, own, kept) }, false
	}
	f.mu.Unlock()
	select {
	case <-other.back:
		return nil, other.kept
	case <-ctx.Done():
		return nil, false
	}
}

func (f *Flights) land(key string, own *flight, kept bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.away[key] == own {
		delete(f.away, key)
		own.kept = kept
		close(own.back)
	}
}
