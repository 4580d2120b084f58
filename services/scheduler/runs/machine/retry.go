package machine

import (
	"strings"
	"time"

	"github.com/plugfn/plugfn/pkg/workflow"
)

// retry takes back what has failed and what was canceled for it, and goes on.
// What has completed stays.
func (w *walker) retry() {
	s := w.state
	s.Try++
	s.Status, s.Error, s.Ended, w.changed = Running, nil, time.Time{}, true
	w.forget(w.program.OnError, "")
	w.reopen(w.program.Steps, "")
	s.Deadline = w.now.Add(w.program.Timeout)
	w.note("", Running, nil)
	w.lifetime()
	w.first()
}

// reopen makes the steps of a list that were given up begin once more.
func (w *walker) reopen(tasks []*workflow.Task, prefix string) {
	for _, t := range tasks {
		key := prefix + t.ID
		e := w.state.Steps[key]
		if e == nil {
			continue
		}
		tolerated := t.Continues || t.JumpTo > 0 || e.Handled
		if e.Status == Failed && tolerated || e.Status == Completed || e.Status == Skipped {
			continue
		}
		w.forget(t.Handlers, prefix)
		switch {
		case t.Kind == workflow.KindForeach && e.Loop != nil:
			w.reopenLoop(t, key, e)
		case w.inSteps(t, prefix):
			w.reopenLists(t, prefix)
			e.Status, e.Error = Running, nil
		default:
			delete(w.state.Steps, key)
		}
	}
}

// inSteps reports whether a step inside has begun.
func (w *walker) inSteps(t *workflow.Task, prefix string) bool {
	for _, list := range t.Lists {
		for _, inner := range list {
			if w.state.Steps[prefix+inner.ID] != nil {
				return true
			}
		}
	}
	return false
}

func (w *walker) reopenLists(t *workflow.Task, prefix string) {
	for _, list := range t.Lists {
		w.reopen(list, prefix)
	}
}

func (w *walker) reopenLoop(t *workflow.Task, key string, e *Entry) {
	e.Status, e.Error = Running, nil
	e.Loop.Live = append(e.Loop.Live, e.Loop.Broken...)
	e.Loop.Broken = nil
	for _, index := range e.Loop.Live {
		w.reopen(t.Lists[0], iterationKey(key, index)+".")
	}
}

// forget takes steps away with all that is in them.
func (w *walker) forget(tasks []*workflow.Task, prefix string) {
	for _, t := range tasks {
		key := prefix + t.ID
		delete(w.state.Steps, key)
		for k := range w.state.Steps {
			if strings.HasPrefix(k, key+"[") {
				delete(w.state.Steps, k)
			}
		}
		for _, list := range t.Lists {
			w.forget(list, prefix)
		}
		w.forget(t.Handlers, prefix)
	}
}
