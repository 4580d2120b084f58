package workflow

import (
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/expr-lang/expr/types"

	"github.com/plugfn/plugfn/pkg/providers"
	"github.com/plugfn/plugfn/pkg/providers/nearest"
)

// list compiles a list of steps. Each sees those before it; s has all of them
// at the end.
func (c *compiler) list(steps []*Step, path string, s scope) []*Task {
	if steps == nil {
		return nil
	}
	all := make([]*Task, len(steps))
	for i, step := range steps {
		at := fmt.Sprintf("%s[%d]", path, i)
		all[i] = c.step(step, at, s)
		c.onError(all[i], steps, i, at, s)
	}
	return all
}

func (c *compiler) step(step *Step, path string, s scope) *Task {
	t := &Task{Step: step, Path: path, Kind: step.Kind()}
	if len(step.Name) > maxText {
		c.report(path+".name", "is longer than %d bytes", maxText)
	}
	if step.If != "" {
		t.Condition = c.expression(step.If, path+".if", s, true)
	}
	if kinds := step.kinds(); len(kinds) != 1 {
		c.kinds(kinds, path)
		s.steps[step.ID] = stepType(types.Any)
		return t
	}
	result := types.Type(types.Any)
	switch t.Kind {
	case KindAction:
		t.Params = c.action(step.Action, path+".action", s)
	case KindFilter:
		t.Test = c.expression(step.Filter, path+".filter", s, true)
	case KindBranch:
		c.branch(t, path+".branch", s)
	case KindParallel:
		c.parallel(t, path+".parallel", s)
	case KindForeach:
		c.foreach(t, path+".foreach", s)
		result = types.Array(types.Any)
	case KindDelay:
		c.delay(t, path+".delay", s)
	case KindWaitFor:
		result = c.waitFor(t, path+".wait_for", s)
	case KindSet:
		c.set(t, path+".set", s)
	case KindCall:
		c.call(t, path+".call_workflow", s)
	case KindRespond:
		if s.apart {
			c.report(path+".respond", "has no place in parallel and foreach: which one came last would be chance")
		}
		t.Data = c.template(cmpRaw(step.Respond.Data), path+".respond.data", s)
	}
	s.steps[step.ID] = stepType(result)
	return t
}

func cmpRaw(data json.RawMessage) json.RawMessage {
	if data == nil {
		return json.RawMessage("null")
	}
	return data
}

func (c *compiler) kinds(set []Kind, path string) {
	names := make([]string, len(Kinds()))
	for i, k := range Kinds() {
		names[i] = string(k)
	}
	if len(set) == 0 {
		c.report(path, "does nothing: give it one of %s", strings.Join(names, ", "))
		return
	}
	c.report(path, "has %d kinds, %s and %s: a step has one", len(set), set[0], set[1])
}

// onError compiles what follows the failure of a step.
func (c *compiler) onError(t *Task, steps []*Step, i int, path string, s scope) {
	o := t.OnError
	path += ".on_error"
	switch {
	case o == nil || o.Then == "fail":
	case o.Steps != nil:
		if len(o.Steps) == 0 {
			c.report(path, "has no step: use continue to go on")
		}
		t.Handlers = c.list(o.Steps, path, s.with("error", errorType()))
	case o.Then == "continue":
		t.Continues = true
	default:
		at := slices.IndexFunc(steps, func(o *Step) bool { return o.ID == t.OnError.Then })
		switch {
		case at > i:
			t.JumpTo = at
		case at >= 0:
			c.report(path, "is a cycle: %s does not come after this step", o.Then)
		case c.ids[o.Then] != "":
			c.report(path, "%s is not in the same list of steps: it must be a later one of the same", o.Then)
		default:
			c.report(path, "no step is called %s%s; want fail, continue, a later step or a list of steps", clip(o.Then, 60), nearest.Hint(o.Then, maps.Keys(c.ids)))
		}
	}
}

func (c *compiler) action(a *Action, path string, s scope) map[string]*Template {
	if a.MaxAttempts > maxAttempts {
		c.report(path+".max_attempts", "must be from 1 to %d", maxAttempts)
	}
	if time.Duration(a.Timeout) > maxAction {
		c.report(path+".timeout", "must be at most %s", Duration(maxAction))
	}
	params := map[string]*Template{}
	for _, name := range sortedKeys(a.Params) {
		params[name] = c.template(a.Params[name], join(path+".params", name), s)
	}
	action := c.operation(a, path)
	if action == nil {
		return params
	}
	if a.Pages > 0 && (action.Pages() < 2 || a.Pages > maxPages) {
		c.report(path+".pages", "goes with actions that list in pages, and must be at most %d", maxPages)
	}
	c.params(action, params, path+".params")
	return params
}

// operation finds the action that is used.
func (c *compiler) operation(a *Action, path string) *providers.Action {
	if a.Use == "" {
		c.report(path, "has no use: the provider and its action, such as github.issues.create")
		return nil
	}
	if !strings.Contains(a.Use, ".") {
		c.report(path+".use", "must be a provider and its action with . between them, such as github.issues.create")
		return nil
	}
	pack := c.pack(a.Provider(), path+".use")
	if pack == nil {
		return nil
	}
	action, ok := pack.Action(a.Operation())
	if !ok {
		near := pack.NearestAction(a.Operation())
		if near != "" {
			near = a.Provider() + "." + near
		}
		c.report(path+".use", "%s has no action %s%s", a.Provider(), clip(a.Operation(), 80), hint(near))
		return nil
	}
	return action
}

func (c *compiler) branch(t *Task, path string, s scope) {
	cases := t.Branch.Cases
	if len(cases) == 0 {
		c.report(path, "has no cases")
	}
	if len(cases) > MaxBranches {
		c.report(path+".cases", "must have at most %d entries", MaxBranches)
	}
	outer := maps.Clone(s.steps)
	inside := func(steps []*Step, path string) []*Task {
		inner := s
		inner.steps = maps.Clone(outer)
		tasks := c.list(steps, path, inner)
		maps.Copy(s.steps, inner.steps)
		return tasks
	}
	for i, one := range cases {
		at := fmt.Sprintf("%s.cases[%d]", path, i)
		if one.When == "" {
			c.report(at, "has no when")
			continue
		}
		if len(one.Steps) == 0 {
			c.report(at, "has no steps")
		}
		seen := s
		seen.steps = outer
		t.Whens = append(t.Whens, c.expression(one.When, at+".when", seen, true))
		t.Lists = append(t.Lists, inside(one.Steps, at+".steps"))
	}
	t.Lists = append(t.Lists, inside(t.Branch.Else, path+".else"))
}

func (c *compiler) parallel(t *Task, path string, s scope) {
	p := t.Parallel
	if p.Join != "" && p.Join != "all" && p.Join != "any" {
		c.report(path+".join", "must be all or any")
	}
	if len(p.Branches) < 2 || len(p.Branches) > MaxBranches {
		c.report(path+".branches", "must have from 2 to %d entries", MaxBranches)
	}
	outer := maps.Clone(s.steps)
	for _, name := range sortedKeys(p.Branches) {
		at := path + ".branches." + name
		if !stepID.MatchString(name) {
			c.report(at, "must be called a-z, then a-z, 0-9, _ and -")
		}
		if len(p.Branches[name]) == 0 {
			c.report(at, "has no steps")
		}
		inner := s
		inner.apart, inner.steps = true, maps.Clone(outer)
		t.Names = append(t.Names, name)
		t.Lists = append(t.Lists, c.list(p.Branches[name], at, inner))
		maps.Copy(s.steps, inner.steps)
	}
}

func (c *compiler) foreach(t *Task, path string, s scope) {
	f := t.Foreach
	t.AtOnce = cmp.Or(f.Limit, DefaultForeachLimit)
	if t.AtOnce > MaxForeachLimit {
		c.report(path+".limit", "must be from 1 to %d", MaxForeachLimit)
	}
	if len(f.Steps) == 0 {
		c.report(path, "has no steps")
	}
	if s.loops++; s.loops > MaxForeachNesting {
		c.report(path, "is inside more than %d others", MaxForeachNesting-1)
	}
	item := types.Type(types.Any)
	if f.In == "" {
		c.report(path, "has no in: an expression whose result is a list")
	} else if t.Items = c.expression(f.In, path+".in", s, false); t.Items != nil {
		if name := resultName(t.Items.program.Result().Kind); name != "" && name != "array" {
			c.report(path+".in", "must be a list, is of type %s", name)
		}
		item = elementOf(t.Items.program.Result())
	}
	name := f.item()
	if _, taken := s.fields[name]; !variableName.MatchString(name) || taken && f.As != "" || name == "index" || name == "steps" {
		c.report(path+".as", "must be a-z, then a-z, 0-9 and _, and no variable that is there already")
	}
	s.apart = true
	inner := s.inner().with(name, item).with("index", types.Int)
	t.Lists = [][]*Task{c.list(f.Steps, path+".steps", inner)}
}

func (c *compiler) delay(t *Task, path string, s scope) {
	d := t.Delay
	if (d.For != 0) == (d.Until != "") {
		c.report(path, "must have one of for and until")
		return
	}
	if d.Until == "" {
		return
	}
	t.Until = c.expression(d.Until, path+".until", s, false)
	if t.Until == nil {
		return
	}
	if name := resultName(t.Until.program.Result().Kind); name != "" && name != "string" {
		c.report(path+".until", "must be a time, is of type %s", name)
	}
}

func (c *compiler) waitFor(t *Task, path string, s scope) types.Type {
	w := t.WaitFor
	event := eventType(c.eventData(w.Provider, w.Event, path))
	if w.Match != "" {
		t.Test = c.expression(w.Match, path+".match", s.with("candidate", event), true)
	}
	if w.OnTimeout != "" && w.OnTimeout != "fail" && w.OnTimeout != "continue" {
		c.report(path+".on_timeout", "must be fail or continue")
	}
	return event
}

func (c *compiler) set(t *Task, path string, s scope) {
	t.Params = map[string]*Template{}
	if len(t.Set) == 0 {
		c.report(path, "sets nothing")
	}
	for _, name := range sortedKeys(t.Set) {
		at := join(path, name)
		want, ok := s.vars[name]
		if !ok {
			c.report(at, "unknown variable%s: list it in vars with the value that it has at the start", nearest.Hint(name, maps.Keys(s.vars)))
			continue
		}
		value := c.template(t.Set[name], at, s)
		t.Params[name] = value
		if want != "" {
			c.conform(value, schema{at: map[string]any{"type": want}}, at)
		}
	}
}

func (c *compiler) call(t *Task, path string, s scope) {
	w := t.Call
	if !workflowName.MatchString(w.Workflow) {
		c.report(path+".workflow", "must be the name of a workflow")
	}
	t.Params = map[string]*Template{}
	for _, name := range sortedKeys(w.Input) {
		t.Params[name] = c.template(w.Input[name], join(path+".input", name), s)
	}
	if c.options.Workflow == nil || w.Workflow == c.definition.Name {
		return
	}
	other, ok := c.options.Workflow(w.Workflow)
	switch {
	case !ok:
		c.report(path+".workflow", "no workflow is called %s", clip(w.Workflow, 64))
	case other.Trigger.Manual == nil:
		c.report(path+".workflow", "%s cannot be called: its trigger is not manual", w.Workflow)
	case other.Input != nil:
		c.conform(&Template{object: t.Params}, newSchema(other.Input), path+".input")
	}
}
