package executor

import (
	"context"
	"slices"
	"sync"
	"time"
)

// places are where requests are worked on. Whoever has the least in hand gets
// the next one that is free; among his requests those that somebody waits for go
// first. So a user with many requests does not delay one with few.
//
// It is safe for concurrent use.
type places struct {
	most int // places
	each int // of one user, where others ask as well
	now  func() time.Time

	mu     sync.Mutex
	used   int
	count  uint64               // who came so far
	lines  map[string]*userLine // :: user, those that are worked for or wait
	queues map[string]*userLine // those of lines in which somebody waits
	around crowd
	lonely bool // only one user has asked of late
}

// userLine is one user's.
type userLine struct {
	user          string
	running       int
	express, bulk []*entrant
}

// entrant waits for a place.
type entrant struct {
	admitted chan struct{} // closed when it has one
	since    uint64        // how many came before
}

func newPlaces(most, each int, now func() time.Time) *places {
	return &places{most: most, each: each, now: now, lines: map[string]*userLine{}, queues: map[string]*userLine{}}
}

// alone is how many places one has whom nobody is beside: not all, for the next
// one should not wait until something ends.
func (p *places) alone() int { return p.most - p.most/4 }

// spare is how many places are kept for users that have little in hand, which
// is less than modest.
func (p *places) spare() int  { return (p.most + 7) / 8 }
func (p *places) modest() int { return max(1, p.each/8) }

// enter waits for a place for one request of a user, which leave gives back. It
// reports false when ctx ends before. express says that somebody waits for the
// request, or that its turn has come.
func (p *places) enter(ctx context.Context, user string, express bool) bool {
	w := p.line(user, express)
	select {
	case <-w.admitted:
		return true
	case <-ctx.Done():
	}
	if p.withdraw(user, w) {
		return false
	}
	p.leave(user)
	return false
}

// isCrowded reports whether so many requests of a user wait already that others
// should not wait beside them.
func (p *places) isCrowded(user string, express bool) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	l := p.lines[user]
	if l == nil {
		return false
	}
	if express {
		return len(l.express) >= p.each
	}
	return len(l.bulk) >= p.each
}

func (p *places) line(user string, express bool) *entrant {
	p.mu.Lock()
	defer p.mu.Unlock()
	l := p.lines[user]
	if l == nil {
		l = &userLine{user: user}
		p.lines[user] = l
	}
	p.queues[user] = l
	p.count++
	w := &entrant{admitted: make(chan struct{}), since: p.count}
	if express {
		l.express = append(l.express, w)
	} else {
		l.bulk = append(l.bulk, w)
	}
	p.lonely = p.around.isAlone("", user, p.now())
	p.admit()
	return w
}

// leave gives a place back.
func (p *places) leave(user string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.used--
	l := p.lines[user]
	l.running--
	p.forget(l)
	p.admit()
}

// withdraw takes back who waits; false: he has a place by now.
func (p *places) withdraw(user string, w *entrant) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	l := p.lines[user]
	if l == nil || !without(&l.express, w) && !without(&l.bulk, w) {
		return false
	}
	p.forget(l)
	return true
}

// forget lets go of a line as far as nobody is in it.
func (p *places) forget(l *userLine) {
	if len(l.express)+len(l.bulk) > 0 {
		return
	}
	delete(p.queues, l.user)
	if l.running == 0 {
		delete(p.lines, l.user)
	}
}

// admit gives away the places that are free.
func (p *places) admit() {
	for p.used < p.most {
		l := p.next()
		if l == nil {
			return
		}
		from := &l.express
		if len(l.express) == 0 {
			from = &l.bulk
		}
		w := (*from)[0]
		(*from)[0] = nil
		*from = (*from)[1:]
		l.running++
		p.used++
		p.forget(l)
		close(w.admitted)
	}
}

// next is the line whose turn it is, nil for none.
func (p *places) next() *userLine {
	var best *userLine
	for _, l := range p.queues {
		if p.mayEnter(l) && (best == nil || l.goesBefore(best)) {
			best = l
		}
	}
	return best
}

func (p *places) mayEnter(l *userLine) bool {
	switch {
	case p.lonely:
		return l.running < p.alone()
	case l.running >= p.each:
		return false
	default:
		return l.running < p.modest() || p.used < p.most-p.spare()
	}
}

// goesBefore orders lines in which somebody waits.
func (l *userLine) goesBefore(other *userLine) bool {
	if mine, theirs := len(l.express) > 0, len(other.express) > 0; mine != theirs {
		return mine
	}
	if l.running != other.running {
		return l.running < other.running
	}
	return l.first() < other.first()
}

// first is since when the one waits that is next.
func (l *userLine) first() uint64 {
	if len(l.express) > 0 {
		return l.express[0].since
	}
	return l.bulk[0].since
}

// without removes w from a queue, and reports whether it was in it.
func without(queue *[]*entrant, w *entrant) bool {
	i := slices.Index(*queue, w)
	if i < 0 {
		return false
	}
	*queue = slices.Delete(*queue, i, i+1)
	return true
}
