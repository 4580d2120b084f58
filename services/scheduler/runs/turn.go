package runs

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/plugfn/plugfn/internal/bus"
	"github.com/plugfn/plugfn/pkg/events"
	"github.com/plugfn/plugfn/pkg/workflow"
	"github.com/plugfn/plugfn/services/scheduler/runs/machine"
)

const (
	maxQueue = 10_000    // runs that wait for their turn in one queue
	emptyAge = time.Hour // how long an empty queue is remembered
)

// queue is whose turn it is among the runs of a workflow with the same key. It is
// a value in a bucket, changed by compare-and-swap.
type queue struct {
	Under   []string `json:"under,omitempty"`   // ids of the runs that are under way
	Waiting []place  `json:"waiting,omitempty"` // in the order of their places
}

type place struct {
	Run string `json:"run"`
	At  uint64 `json:"at"`
}

// turnOf is the key of the queue that a run belongs to.
func (s *Service) turnOf(p *workflow.Program, r *record, st *start) (string, error) {
	key := ""
	if p.Key != nil {
		values, err := keyValues(r, st, r.CreatedAt)
		if err != nil {
			return "", fmt.Errorf("concurrency.key: %w", err)
		}
		v, err := p.Key.Eval(values)
		if err != nil {
			return "", err
		}
		data, err := json.Marshal(v)
		if err != nil {
			return "", fmt.Errorf("concurrency.key: %w", err)
		}
		key = string(data)
	}
	return events.Key(r.State.User, letters(r.State.Workflow)[:wordSize], letters(key)), nil
}

// changeQueue changes a queue until nobody else does at the same time.
func (s *Service) changeQueue(ctx context.Context, key string, by func(*queue) (changed bool)) error {
	for range maxTries {
		var q queue
		value, revision, err := s.store.read(ctx, bus.BucketTurns, key)
		if err != nil && !errors.Is(err, errNone) {
			return err
		}
		if err == nil {
			if err := json.Unmarshal(value, &q); err != nil {
				return fmt.Errorf("the queue at %s: %w", key, err)
			}
		}
		if !by(&q) {
			return nil
		}
		if value, err = json.Marshal(q); err != nil {
			return err
		}
		keep := time.Duration(0)
		if len(q.Under)+len(q.Waiting) == 0 {
			keep = emptyAge
		}
		if _, err := s.store.write(ctx, bus.BucketTurns, key, value, revision, keep, nil); !errors.Is(err, errTaken) {
			return err
		}
	}
	return fmt.Errorf("the queue at %s: %w", key, errTaken)
}

// enter asks for the turn of a run that is pending, and reports whether it has
// come. To ask again is no harm.
func (s *Service) enter(ctx context.Context, p *workflow.Program, r *record) (admitted bool, err error) {
	if r.Turn == "" || p.Definition.Concurrency == nil {
		return true, nil
	}
	var others []string
	full := false
	err = s.changeQueue(ctx, r.Turn, func(q *queue) bool {
		others, full = nil, false
		run := r.State.Run
		if slices.Contains(q.Under, run) {
			admitted, others = true, q.Under // who was called last may not have heard it
			return false
		}
		changed := false
		if !slices.ContainsFunc(q.Waiting, func(p place) bool { return p.Run == run }) {
			if full = len(q.Waiting) >= maxQueue; full {
				return false
			}
			q.add(place{run, r.Place})
			changed = true
		}
		others = q.promote(p.Definition.Concurrency.Limit)
		admitted = slices.Contains(others, run)
		return changed || len(others) > 0
	})
	if full {
		return false, s.refuse(ctx, r)
	}
	if err != nil {
		return false, err
	}
	return admitted, s.call(ctx, r, others)
}

func (q *queue) add(p place) {
	i, _ := slices.BinarySearchFunc(q.Waiting, p, func(a, b place) int {
		return cmp.Or(cmp.Compare(a.At, b.At), cmp.Compare(a.Run, b.Run))
	})
	q.Waiting = slices.Insert(q.Waiting, i, p)
}

// promote gives the turn to those who have waited longest, and returns them.
func (q *queue) promote(limit int) []string {
	var called []string
	for len(q.Under) < limit && len(q.Waiting) > 0 {
		called = append(called, q.Waiting[0].Run)
		q.Under = append(q.Under, q.Waiting[0].Run)
		q.Waiting = slices.Delete(q.Waiting, 0, 1)
	}
	return called
}

// leave gives the turn of a run that has ended to the next ones.
func (s *Service) leave(ctx context.Context, r *record, limit int) error {
	if r.Turn == "" {
		return nil
	}
	var called []string
	err := s.changeQueue(ctx, r.Turn, func(q *queue) bool {
		before := len(q.Under) + len(q.Waiting)
		q.Under = slices.DeleteFunc(q.Under, func(run string) bool { return run == r.State.Run })
		q.Waiting = slices.DeleteFunc(q.Waiting, func(p place) bool { return p.Run == r.State.Run })
		if len(q.Under)+len(q.Waiting) == before {
			called = q.Under // it left before, and may have ended before it said so
			return false
		}
		called = q.promote(limit)
		return true
	})
	if err != nil {
		return err
	}
	return s.call(ctx, r, called)
}

// call says to pending runs that it is their turn, but not to r itself.
func (s *Service) call(ctx context.Context, r *record, runs []string) error {
	for _, run := range runs {
		if run == r.State.Run {
			continue
		}
		m := signalMessage{User: r.State.User, Workflow: r.State.Workflow, Run: run, Signal: &machine.Signal{Kind: machine.Begin}}
		if err := s.send(ctx, &m, run+":turn:"+r.messageID("turn")); err != nil {
			return err
		}
	}
	return nil
}

// refuse ends a run that has no place in its queue.
func (s *Service) refuse(ctx context.Context, r *record) error {
	m := signalMessage{User: r.State.User, Workflow: r.State.Workflow, Run: r.State.Run, Signal: &machine.Signal{
		Kind: machine.Cancel, Reason: fmt.Sprintf("%d runs wait for their turn already", maxQueue),
	}}
	return s.send(ctx, &m, r.messageID("full"))
}
