package machine

import (
	"encoding/json"
	"fmt"
	"time"

	"github.com/plugfn/plugfn/pkg/providers/expression"
	"github.com/plugfn/plugfn/pkg/workflow"
)

// prepare evaluates what a step begins with, and says how it stands then.
func (w *walker) prepare(t *workflow.Task, key string, e *Entry, f frame) *Failure {
	switch t.Kind {
	case workflow.KindAction, workflow.KindCall:
		_, fail := w.params(t, f, w.now)
		e.Status = Waiting
		return fail
	case workflow.KindFilter:
		yes, fail := w.holds(t.Test, f)
		e.Status, e.Ended, e.Stops = Completed, w.now, !yes && fail == nil
		return fail
	case workflow.KindBranch:
		return w.choose(t, e, f)
	case workflow.KindForeach:
		return w.items(t, e, f)
	case workflow.KindDelay:
		return w.delay(t, e, f)
	case workflow.KindWaitFor:
		e.Status = Waiting
		if t.WaitFor.Timeout > 0 {
			e.Until = w.now.Add(time.Duration(t.WaitFor.Timeout))
		}
	case workflow.KindSet:
		return w.set(t, e, f)
	case workflow.KindRespond:
		v, fail := w.template(t.Data, f)
		if fail == nil {
			result := w.keep(v, MaxInline)
			w.state.Output = &result
		}
		e.Status, e.Ended = Completed, w.now
		return fail
	}
	return nil
}

func (w *walker) choose(t *workflow.Task, e *Entry, f frame) *Failure {
	e.Case = len(t.Whens) // else
	for i, when := range t.Whens {
		yes, fail := w.holds(when, f)
		if fail != nil || len(w.missing) > 0 {
			return fail
		}
		if yes {
			e.Case = i
			break
		}
	}
	return nil
}

func (w *walker) items(t *workflow.Task, e *Entry, f frame) *Failure {
	v, fail := w.eval(t.Items, f)
	if fail != nil || len(w.missing) > 0 {
		return fail
	}
	list, ok := v.([]any)
	switch {
	case !ok:
		return &Failure{Code: CodeExpression, Message: fmt.Sprintf("foreach.in: %s: must be a list, is %s", t.Items, expression.Describe(v))}
	case len(list) > workflow.MaxItems:
		return &Failure{Code: CodeTooLarge, Message: fmt.Sprintf("foreach.in: has %d items, at most %d may be", len(list), workflow.MaxItems)}
	}
	e.Loop = &Loop{Items: w.keep(list, MaxInline), Total: len(list)}
	return nil
}

func (w *walker) delay(t *workflow.Task, e *Entry, f frame) *Failure {
	e.Until = w.now.Add(time.Duration(t.Delay.For))
	if t.Until != nil {
		v, fail := w.eval(t.Until, f)
		if fail != nil || len(w.missing) > 0 {
			return fail
		}
		at, ok := untilOf(v)
		if !ok {
			return &Failure{Code: CodeExpression, Message: fmt.Sprintf("delay.until: %s: must be a time or its text such as 2026-01-02T15:04:05Z, is %s", t.Until, expression.Describe(v))}
		}
		e.Until = at.UTC()
	}
	e.Status = Waiting
	if !e.Until.After(w.now) {
		e.Status, e.Ended = Completed, w.now
	}
	return nil
}

func (w *walker) set(t *workflow.Task, e *Entry, f frame) *Failure {
	result, fail := w.object(t.Params, f, w.now)
	if fail != nil || len(w.missing) > 0 {
		return fail
	}
	for name, v := range result {
		w.assign(f, name, w.keep(v, MaxInline))
	}
	kept := w.keep(result, MaxInline)
	e.Status, e.Ended, e.Result = Completed, w.now, &kept
	return nil
}

// assign sets a variable of the branch or iteration, or of the run.
func (w *walker) assign(f frame, name string, v Value) {
	if len(f.scopes) == 0 {
		w.state.Vars[name] = v
		return
	}
	scope := f.scopes[len(f.scopes)-1]
	if w.state.Locals[scope] == nil {
		w.state.Locals[scope] = Locals{}
	}
	w.state.Locals[scope][name] = v
}

// params makes the parameters of an action or the input of a run.
func (w *walker) params(t *workflow.Task, f frame, now time.Time) (json.RawMessage, *Failure) {
	object, fail := w.object(t.Params, f, now)
	if fail != nil {
		return nil, fail
	}
	data, err := encode(object)
	if err != nil || len(data) > MaxValue {
		return nil, &Failure{Code: CodeTooLarge, Message: "the parameters are too long"}
	}
	return data, nil
}

// ask does the effects of a step that waits, the first time or again: what it
// sees has not changed since it began.
func (w *walker) ask(t *workflow.Task, key string, e *Entry, f frame) {
	id := key + suffix(e.Try)
	switch t.Kind {
	case workflow.KindAction:
		params, fail := w.params(t, f, e.Started)
		if fail != nil || len(w.missing) > 0 {
			return // it was right when the step began
		}
		a := t.Action
		w.do(Act{
			ID: id, Provider: a.Provider(), Action: a.Operation(), Connection: a.Connection, Params: params,
			Timeout: time.Duration(a.Timeout), MaxAttempts: a.MaxAttempts, Pages: a.Pages,
		})
	case workflow.KindCall:
		input, fail := w.params(t, f, e.Started)
		if fail != nil || len(w.missing) > 0 {
			return
		}
		w.do(StartRun{ID: id, Workflow: t.Call.Workflow, Input: input, Wait: t.Call.Waits()})
	case workflow.KindDelay:
		w.do(SetTimer{ID: id, At: e.Until})
	case workflow.KindWaitFor:
		w.do(Register{ID: id, Provider: t.WaitFor.Provider, Events: t.WaitFor.Event})
		if !e.Until.IsZero() {
			w.do(SetTimer{ID: timeoutID(id), At: e.Until})
		}
	}
}
