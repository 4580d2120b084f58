package machine

import (
	"fmt"
	"slices"
	"strings"

	"github.com/plugfn/plugfn/pkg/workflow"
)

// foreach goes on with the items that are under way and begins others. No item
// is begun after one has failed; those that are under way go on to their end.
func (w *walker) foreach(t *workflow.Task, key string, e *Entry, f frame) outcome {
	l := e.Loop
	for i := 0; i < len(l.Live); {
		index := l.Live[i]
		out := w.list(t.Lists[0], w.iteration(t, key, e, index, f))
		switch {
		case len(w.missing) > 0:
			return outcome{is: live}
		case out.is == live || w.again:
			i++
		case out.is == failed:
			l.Live = slices.Delete(l.Live, i, i+1)
			l.Broken = append(l.Broken, index)
		default:
			l.Live = slices.Delete(l.Live, i, i+1)
			w.ended(t, key, l, index)
		}
		if !w.again && i >= len(l.Live) {
			w.next(t, l)
		}
	}
	if w.again {
		return outcome{is: live}
	}
	if len(l.Live) == 0 && w.next(t, l) {
		return w.foreach(t, key, e, f)
	}
	switch {
	case len(l.Live) > 0:
		return outcome{is: live}
	case len(l.Broken) == 0 && l.Next < l.Total:
		return outcome{is: live}
	case len(l.Broken) > 0:
		slices.Sort(l.Broken)
		return outcome{is: failed, failure: w.broken(t, key, l.Broken[0])}
	}
	l.Items = Value{}
	w.end(key, e, Completed, nil, nil)
	return outcome{}
}

// next begins one more item, when it may, and reports whether it did.
func (w *walker) next(t *workflow.Task, l *Loop) bool {
	if len(l.Broken) > 0 || l.Next >= l.Total || len(l.Live) >= t.AtOnce || l.Next-l.Done >= window {
		return false
	}
	if w.budget == 0 {
		return w.mayBegin() // it may not, now
	}
	l.Live = append(l.Live, l.Next)
	l.Next++
	w.changed = true
	return true
}

func iterationKey(key string, index int) string { return fmt.Sprintf("%s[%d]", key, index) }

func (w *walker) iteration(t *workflow.Task, key string, e *Entry, index int, f frame) frame {
	at := iterationKey(key, index)
	name := t.Foreach.As
	if name == "" {
		name = "item"
	}
	f.prefix = at + "."
	f.scopes = append(f.scopes[:len(f.scopes):len(f.scopes)], at)
	f.items = append(f.items[:len(f.items):len(f.items)], binding{name, e, index})
	return f
}

// broken is why an item failed: the failure of the first of its steps that
// nothing has dealt with.
func (w *walker) broken(t *workflow.Task, key string, index int) *Failure {
	prefix := iterationKey(key, index) + "."
	for _, task := range t.Lists[0] {
		e := w.state.Steps[prefix+task.ID]
		if e == nil || e.Status != Failed || task.Continues || task.JumpTo > 0 || e.Handled {
			continue
		}
		if out := w.failureOf(task, e, prefix); out != nil {
			return out
		}
	}
	return &Failure{Step: t.ID, Code: CodeExpression, Message: "an item has failed"}
}

// failureOf is the failure of on_error's own steps, or of the step.
func (w *walker) failureOf(t *workflow.Task, e *Entry, prefix string) *Failure {
	for _, h := range t.Handlers {
		if own := w.state.Steps[prefix+h.ID]; own != nil && own.Status == Failed && !h.Continues && h.JumpTo == 0 && !own.Handled {
			return w.failureOf(h, own, prefix)
		}
	}
	return e.Error
}

// ended keeps the result of an iteration and forgets its steps.
func (w *walker) ended(t *workflow.Task, key string, l *Loop, index int) {
	at := iterationKey(key, index)
	result := &Value{JSON: null()}
	tasks := t.Lists[0]
	if last := w.state.Steps[at+"."+tasks[len(tasks)-1].ID]; last != nil && last.Status == Completed {
		if v, ok := w.resultOf(last); ok {
			result = &v
		}
	}
	if len(result.JSON) > maxItem {
		short := w.keepJSON(result.JSON, maxItem)
		result = &short
	}
	for k := range w.state.Steps {
		if strings.HasPrefix(k, at+".") {
			delete(w.state.Steps, k)
		}
	}
	for scope := range w.state.Locals {
		if scope == at || strings.HasPrefix(scope, at+".") {
			delete(w.state.Locals, scope)
		}
	}
	if l.Early == nil {
		l.Early = map[int]*Value{}
	}
	l.Early[index] = result
	w.collect(l)
	w.changed = true
}

// collect moves results whose predecessors are all there to the tail, and a long
// tail out of the state.
func (w *walker) collect(l *Loop) {
	if l.bytes == 0 {
		for _, v := range l.Tail {
			l.bytes += len(v.JSON) + len(v.Ref)
		}
	}
	for v, ok := l.Early[l.Done]; ok; v, ok = l.Early[l.Done] {
		delete(l.Early, l.Done)
		l.Tail = append(l.Tail, v)
		l.Done++
		if l.bytes += len(v.JSON) + len(v.Ref); l.bytes > chunk {
			data, _ := encode(l.Tail) // values of JSON have one
			l.Chunks = append(l.Chunks, w.store(data))
			l.Tail, l.bytes = nil, 0
		}
	}
}

// resultOf is the result of a step: for foreach the list of all.
func (w *walker) resultOf(e *Entry) (Value, bool) {
	switch {
	case e.Loop != nil && e.Status == Completed:
		list, ok := w.results(e.Loop)
		if !ok {
			return Value{}, false
		}
		return w.keep(list, MaxInline), true
	case e.Result != nil:
		return *e.Result, true
	default:
		return Value{JSON: null()}, true
	}
}

// results is the list of the results of all iterations.
func (w *walker) results(l *Loop) ([]any, bool) {
	list := make([]any, 0, l.Total)
	complete := true
	add := func(values []*Value) {
		for _, v := range values {
			one, ok := w.load(*v)
			complete = complete && ok
			list = append(list, one)
		}
	}
	for _, ref := range l.Chunks {
		data, ok := w.raw(Value{Ref: ref})
		if !ok {
			complete = false
			continue
		}
		values, err := decodeValues(data)
		complete = complete && err == nil
		add(values)
	}
	add(l.Tail)
	return list, complete
}
