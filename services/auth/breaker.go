package auth

import (
	"sync"
	"time"
)

// How long the refreshes of an app that the provider refuses rest, doubled each
// time up to the longest.
const (
	breakShortest = time.Minute
	breakLongest  = 10 * time.Minute
)

// breakers keep the refreshes of a misconfigured app from being tried for each
// of its connections. They are of this process alone. The zero value is ready,
// and safe for concurrent use.
type breakers struct {
	mu   sync.Mutex
	open map[appName]*breaker
}

// appName tells the operator's clients apart.
type appName struct{ provider, app string }

type breaker struct {
	until time.Time
	pause time.Duration
}

// rest is how long app still rests; 0: it may be tried. After each rest one
// refresh may try, the others wait for what comes of it.
func (b *breakers) rest(app appName, now time.Time) time.Duration {
	b.mu.Lock()
	defer b.mu.Unlock()
	open := b.open[app]
	if open == nil {
		return 0
	}
	if left := open.until.Sub(now); left > 0 {
		return left
	}
	open.until = now.Add(breakShortest)
	return 0
}

// trip has app rest, and reports whether that is news.
func (b *breakers) trip(app appName, now time.Time) (pause time.Duration, news bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	open := b.open[app]
	if open == nil {
		if b.open == nil {
			b.open = map[appName]*breaker{}
		}
		open, news = &breaker{pause: breakShortest / 2}, true
		b.open[app] = open
	}
	open.pause = min(2*open.pause, breakLongest)
	open.until = now.Add(open.pause)
	return open.pause, news
}

// reset lets app be tried again: it works, or was changed.
func (b *breakers) reset(app appName) {
	b.mu.Lock()
	defer b.mu.Unlock()
	delete(b.open, app)
}
