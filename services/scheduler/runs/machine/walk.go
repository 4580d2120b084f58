package machine

import (
	"strconv"
	"strings"
	"time"

	"github.com/plugfn/plugfn/pkg/workflow"
)

// outcome is how a step or a list of steps stands.
type outcome struct {
	is      standing
	failure *Failure
}

type standing int

const (
	done    standing = iota
	live             // something in it waits
	failed           // and nothing has dealt with it
	stopped          // by a filter
)

// frame is where in a run a step stands.
type frame struct {
	prefix  string    // of the keys of the steps: each[3].
	scopes  []string  // branches and iterations, the inner one last
	items   []binding // of foreach
	failure *Failure  // that on_error deals with
}

// binding is an item of a foreach by its name.
type binding struct {
	name  string
	entry *Entry
	index int
}

// list goes through steps until one waits.
func (w *walker) list(tasks []*workflow.Task, f frame) outcome {
	for i := 0; i < len(tasks); i++ {
		t := tasks[i]
		out := w.step(t, f)
		if len(w.missing) > 0 {
			return outcome{is: live}
		}
		switch {
		case out.is == failed && t.Continues:
		case out.is == failed && t.JumpTo > 0:
			for i++; i < t.JumpTo; i++ {
				w.skip(f.prefix + tasks[i].ID)
			}
			i--
		case out.is != done:
			return out
		}
	}
	return outcome{}
}

func (w *walker) skip(key string) {
	if w.state.Steps[key] == nil && !w.again {
		w.entry(key, &Entry{Status: Skipped, Started: w.now, Ended: w.now})
	}
}

// entry adds an entry and tells it.
func (w *walker) entry(key string, e *Entry) {
	if w.state.Steps == nil {
		w.state.Steps = map[string]*Entry{}
	}
	e.Try = w.state.Try
	w.state.Steps[key] = e
	w.changed = true
	w.note(key, e.Status, e.Error)
}

func (w *walker) step(t *workflow.Task, f frame) outcome {
	key := f.prefix + t.ID
	e := w.state.Steps[key]
	if e == nil {
		if w.again {
			return outcome{is: live}
		}
		if e = w.start(t, key, f); e == nil {
			return outcome{is: live} // something is missing
		}
	}
	switch e.Status {
	case Waiting:
		w.wait(t, key, e, f)
	case Running:
		if out := w.inside(t, key, e, f); out.is != done {
			switch {
			case out.is == live || w.again || len(w.missing) > 0:
				return outcome{is: live}
			case out.is == failed:
				w.end(key, e, Failed, nil, out.failure)
			default:
				e.Stops = true
				w.end(key, e, Completed, nil, nil)
			}
		}
	}
	switch {
	case len(w.missing) > 0 || e.Status == Waiting || e.Status == Running:
		return outcome{is: live}
	case e.Status == Failed:
		return w.failure(t, e, f)
	case e.Stops:
		return outcome{is: stopped}
	}
	return outcome{}
}

// failure does the steps of on_error.
func (w *walker) failure(t *workflow.Task, e *Entry, f frame) outcome {
	if t.Handlers == nil {
		return outcome{is: failed, failure: e.Error}
	}
	if e.Handled {
		return outcome{}
	}
	f.failure = e.Error
	out := w.list(t.Handlers, f)
	if out.is == done && !w.again && len(w.missing) == 0 {
		e.Handled, w.changed = true, true
	}
	return out
}

// end ends a step.
func (w *walker) end(key string, e *Entry, status Status, result *Value, f *Failure) {
	e.Status, e.Result, e.Error, e.Ended = status, result, f, w.now
	w.changed = true
	w.note(key, status, f)
}

// start begins a step whose turn it is; nil when something is missing for it.
func (w *walker) start(t *workflow.Task, key string, f frame) *Entry {
	if !w.mayBegin() {
		return nil
	}
	e := &Entry{Status: Running, Started: w.now}
	if w.state.Begun++; w.state.Begun > MaxRunSteps {
		return w.refused(t, key, e, &Failure{Code: CodeTooLarge, Message: "the run has begun too many steps"})
	}
	if t.Condition != nil {
		yes, fail := w.holds(t.Condition, f)
		switch {
		case len(w.missing) > 0:
			return nil
		case fail != nil:
			return w.refused(t, key, e, fail)
		case !yes:
			w.entry(key, &Entry{Status: Skipped, Started: w.now, Ended: w.now})
			return w.state.Steps[key]
		}
	}
	fail := w.prepare(t, key, e, f)
	if len(w.missing) > 0 {
		return nil
	}
	if fail != nil {
		return w.refused(t, key, e, fail)
	}
	w.entry(key, e)
	if e.Status == Waiting {
		w.ask(t, key, e, f)
	}
	return e
}

// mayBegin bounds what one transition does: further steps begin in one of their
// own.
func (w *walker) mayBegin() bool {
	if w.budget > 0 {
		w.budget--
		return true
	}
	if w.state.More == "" {
		w.state.More = "~more~" + strconv.Itoa(w.state.N+1)
		w.changed = true
	}
	return false
}

// refused is a step that fails as it begins.
func (w *walker) refused(t *workflow.Task, key string, e *Entry, f *Failure) *Entry {
	f.Step = t.ID
	e.Status, e.Error, e.Ended = Failed, f, w.now
	e.Loop, e.Stops = nil, false
	w.entry(key, e)
	return e
}

// inside goes on with the lists of a step.
func (w *walker) inside(t *workflow.Task, key string, e *Entry, f frame) outcome {
	switch t.Kind {
	case workflow.KindBranch:
		if e.Case < len(t.Lists) {
			if out := w.list(t.Lists[e.Case], f); out.is != done {
				return out
			}
		}
	case workflow.KindParallel:
		return w.parallel(t, key, e, f)
	case workflow.KindForeach:
		return w.foreach(t, key, e, f)
	}
	if !w.again {
		w.end(key, e, Completed, nil, nil)
	}
	return outcome{}
}

// parallel goes on with all branches. With join all it ends when each of them
// has: what a branch does must not depend on how fast another one fails.
func (w *walker) parallel(t *workflow.Task, key string, e *Entry, f frame) outcome {
	var completed []any
	var first *Failure
	waits, winner := false, -1
	for i, name := range t.Names {
		inner := f
		inner.scopes = append(f.scopes[:len(f.scopes):len(f.scopes)], key+"/"+name)
		switch out := w.list(t.Lists[i], inner); out.is {
		case live:
			waits = true
		case failed:
			if first == nil {
				first = out.failure
			}
		default:
			completed = append(completed, name)
			if winner < 0 {
				winner = i
			}
		}
		if t.Parallel.Join == "any" && winner >= 0 {
			break
		}
	}
	if len(w.missing) > 0 || w.again {
		return outcome{is: live}
	}
	switch {
	case t.Parallel.Join == "any" && winner >= 0:
		for i := range t.Lists {
			if i != winner {
				w.cancel(t.Lists[i], f.prefix)
			}
		}
	case waits:
		return outcome{is: live}
	case first != nil:
		return outcome{is: failed, failure: first}
	}
	for _, name := range t.Names {
		delete(w.state.Locals, key+"/"+name)
	}
	result := w.keep(completed, MaxInline)
	w.end(key, e, Completed, &result, nil)
	return outcome{}
}

// cancel ends all that is under way in a list.
func (w *walker) cancel(tasks []*workflow.Task, prefix string) {
	for _, t := range tasks {
		w.cancelKey(prefix + t.ID)
		for _, list := range t.Lists {
			w.cancel(list, prefix)
		}
		w.cancel(t.Handlers, prefix)
		if t.Kind == workflow.KindForeach {
			for _, key := range sorted(w.state.Steps) {
				if strings.HasPrefix(key, prefix+t.ID+"[") {
					w.cancelKey(key)
				}
			}
		}
	}
}

func (w *walker) cancelAll() {
	for _, key := range sorted(w.state.Steps) {
		w.cancelKey(key)
	}
}

func (w *walker) cancelKey(key string) {
	e := w.state.Steps[key]
	if e == nil || e.Status != Waiting && e.Status != Running {
		return
	}
	if e.Status == Waiting {
		w.release(key, e)
	}
	w.end(key, e, Canceled, nil, nil)
}

// release takes back what was asked for. An action that was asked for may still
// be carried out.
func (w *walker) release(key string, e *Entry) {
	id := key + suffix(e.Try)
	switch t := w.task(key); {
	case t == nil || t.Kind == workflow.KindAction:
	case t.Kind == workflow.KindCall:
		w.do(Release{ID: id, Run: true})
	case t.Kind == workflow.KindWaitFor && !e.Until.IsZero():
		w.do(Release{ID: id})
		w.do(Release{ID: timeoutID(id)})
	default:
		w.do(Release{ID: id})
	}
}

func timeoutID(id string) string { return id + "~timeout" }

func (w *walker) failWith(key string, t *workflow.Task, e *Entry, code, message string) {
	w.end(key, e, Failed, nil, &Failure{Step: t.ID, Code: code, Message: message})
}

// wait applies the signal to a step that waits, or asks again for what it waits
// for.
func (w *walker) wait(t *workflow.Task, key string, e *Entry, f frame) {
	id := key + suffix(e.Try)
	sig := w.signal
	switch {
	case w.again:
		w.ask(t, key, e, f)
	case sig.ID != id && sig.ID != timeoutID(id):
	case sig.Kind == Timer && sig.ID == timeoutID(id) && t.Kind == workflow.KindWaitFor && !e.Until.IsZero():
		w.do(Release{ID: id})
		if t.WaitFor.OnTimeout == "continue" {
			w.end(key, e, Completed, &Value{JSON: null()}, nil)
			return
		}
		w.failWith(key, t, e, CodeTimeout, "no event came within "+t.WaitFor.Timeout.String())
	case sig.ID != id:
	case sig.Kind == Timer && t.Kind == workflow.KindDelay:
		w.end(key, e, Completed, nil, nil)
	case sig.Kind == Event && t.Kind == workflow.KindWaitFor:
		w.event(t, key, e, f)
	case sig.Kind == Result && t.Kind == workflow.KindAction, sig.Kind == Child && t.Kind == workflow.KindCall:
		w.result(t, key, e)
	}
}

func (w *walker) event(t *workflow.Task, key string, e *Entry, f frame) {
	v, err := decode(w.signal.Data)
	if err != nil || t.Test != nil && !w.matches(t.Test, f, v, e.Started) || len(w.missing) > 0 {
		return
	}
	if !e.Until.IsZero() {
		w.do(Release{ID: timeoutID(key + suffix(e.Try))})
	}
	w.do(Release{ID: key + suffix(e.Try)})
	result := w.keepJSON(w.signal.Data, MaxInline)
	w.end(key, e, Completed, &result, nil)
}

func (w *walker) result(t *workflow.Task, key string, e *Entry) {
	if f := w.signal.Error; f != nil {
		w.failWith(key, t, e, f.Code, f.Message)
		return
	}
	if len(w.signal.Data) > MaxValue {
		w.failWith(key, t, e, CodeTooLarge, "the result is too long for a workflow")
		return
	}
	if _, err := decode(w.signal.Data); err != nil && len(w.signal.Data) > 0 {
		w.failWith(key, t, e, CodeTooLarge, "the result "+err.Error())
		return
	}
	result := w.keepJSON(w.signal.Data, MaxInline)
	w.end(key, e, Completed, &result, nil)
}

// untilOf reads the time of a delay.
func untilOf(v any) (time.Time, bool) {
	text, ok := v.(string)
	if !ok {
		return time.Time{}, false
	}
	at, err := time.Parse(time.RFC3339Nano, text)
	return at, err == nil
}
