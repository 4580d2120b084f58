package auth

import (
	"container/heap"
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/rs/zerolog"
)

const (
	maxPolls    = 16 // at once in this process
	pollAgain   = 5 * time.Second
	watchPause  = time.Second
	shortestNap = 100 * time.Millisecond
)

// devices polls for attempts that go on on other devices. Each replica follows
// all of them and tries when one is due; the compare-and-swap of the record lets
// one of them through. So nothing is lost with a process.
type devices struct {
	waiting atomic.Int64 // attempts that are followed
	poll    func(ctx context.Context, id string, seen uint64) error
	log     zerolog.Logger
}

// full reports whether there are as many as can be polled.
func (d *devices) full() bool { return d.waiting.Load() >= maxDevices }

// run follows the bucket and polls until ctx ends and the polls in hand are
// done.
func (d *devices) run(ctx context.Context, kv jetstream.KeyValue) {
	for ctx.Err() == nil {
		if err := d.follow(ctx, kv); err != nil && ctx.Err() == nil {
			d.log.Warn().Err(err).Msg("device flows not followed: starting again")
		}
		sleep(ctx, watchPause)
	}
}

// follow does so until the watch breaks.
func (d *devices) follow(ctx context.Context, kv jetstream.KeyValue) error {
	watcher, err := kv.Watch(ctx, prefixDevice+"*")
	if err != nil {
		return fmt.Errorf("following the device flows: %w", err)
	}
	defer endWatch(watcher)
	q := &queue{places: map[string]*upcoming{}}
	defer d.waiting.Store(0)
	var polls sync.WaitGroup
	defer polls.Wait()
	slots := make(chan struct{}, maxPolls)
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		timer.Reset(q.pause())
		select {
		case <-ctx.Done():
			return ctx.Err()
		case entry, open := <-watcher.Updates():
			if !open {
				return errors.Join(errors.New("following the device flows: the watch ended"), ctx.Err())
			}
			if entry != nil {
				q.take(entry)
				d.waiting.Store(int64(len(q.places)))
			}
		case <-timer.C:
			for _, next := range q.ready(time.Now(), cap(slots)-len(slots)) {
				slots <- struct{}{}
				polls.Go(func() {
					defer func() { <-slots }()
					d.pollOne(ctx, next)
				})
			}
		}
	}
}

func (d *devices) pollOne(ctx context.Context, next upcoming) {
	// A poll that is under way may be the one that gets the grant.
	if err := d.poll(context.WithoutCancel(ctx), next.id, next.revision); err != nil && ctx.Err() == nil {
		d.log.Warn().Err(err).Str("flow", next.id).Msg("device flow not polled")
	}
}

// upcoming is an attempt that waits for its next poll.
type upcoming struct {
	id       string
	revision uint64    // that was seen
	at       time.Time // when it is due, by the clock of this process
	until    time.Time // then its time is over
	place    int       // in the heap
}

// queue orders attempts by when they are due. It is for one goroutine.
type queue struct {
	heap   dueHeap
	places map[string]*upcoming // :: id → attempt
}

// take files a revision: only one that waits for a poll stays.
func (q *queue) take(entry jetstream.KeyValueEntry) {
	id := entry.Key()[len(prefixDevice):]
	f, err := decodeFlow(id, entry.Value())
	if entry.Operation() != jetstream.KeyValuePut || err != nil || f.Device == nil || f.Status != flowPending {
		q.drop(id)
		return
	}
	at := time.Now().Add(f.Device.Wait)
	if known := q.places[id]; known != nil {
		known.revision = entry.Revision()
		q.move(known, at)
	} else if len(q.places) < 2*maxDevices {
		known = &upcoming{id: id, revision: entry.Revision(), at: at, until: f.ExpiresAt.Add(pollLease)}
		q.places[id] = known
		heap.Push(&q.heap, known)
	}
}

func (q *queue) move(known *upcoming, at time.Time) {
	known.at = at
	heap.Fix(&q.heap, known.place)
}

func (q *queue) drop(id string) {
	if known := q.places[id]; known != nil {
		heap.Remove(&q.heap, known.place)
		delete(q.places, id)
	}
}

// pause is how long nothing is due.
func (q *queue) pause() time.Duration {
	if len(q.heap) == 0 {
		return time.Hour
	}
	return max(time.Until(q.heap[0].at), shortestNap)
}

// ready returns up to n attempts that are due. Each is due again a little later,
// unless its record says something else before: then the poll has failed.
func (q *queue) ready(now time.Time, n int) []upcoming {
	var due []upcoming
	for len(due) < n && len(q.heap) > 0 && !q.heap[0].at.After(now) {
		first := q.heap[0]
		if now.After(first.until) {
			q.drop(first.id)
			continue
		}
		due = append(due, *first)
		q.move(first, now.Add(pollAgain))
	}
	return due
}

// dueHeap is a heap.Interface, the earliest first.
type dueHeap []*upcoming

func (h dueHeap) Len() int           { return len(h) }
func (h dueHeap) Less(i, j int) bool { return h[i].at.Before(h[j].at) }
func (h dueHeap) Swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].place, h[j].place = i, j
}

// Push is for heap.Push.
func (h *dueHeap) Push(x any) {
	d := x.(*upcoming)
	d.place = len(*h)
	*h = append(*h, d)
}

// Pop is for heap.Pop.
func (h *dueHeap) Pop() any {
	last := (*h)[len(*h)-1]
	*h = (*h)[:len(*h)-1]
	return last
}

// sleep waits for d or until ctx ends.
func sleep(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-timer.C:
	}
}
