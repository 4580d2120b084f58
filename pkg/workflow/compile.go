package workflow

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/expr-lang/expr/types"

	"github.com/plugfn/plugfn/pkg/providers"
	"github.com/plugfn/plugfn/pkg/providers/expression"
	"github.com/plugfn/plugfn/pkg/providers/nearest"
)

// Options are what a definition is compiled against.
type Options struct {
	// Providers has the packs.
	Providers *providers.Registry

	// Schedule says what is wrong with a schedule: the field (cron, zone or every)
	// and the fix, both "" when it is right. Without it no schedule is right.
	Schedule func(Schedule) (field, problem string)

	// Workflow returns another definition of the same user, to find cycles of
	// workflows that start each other. nil: only the definition itself is looked at.
	Workflow func(name string) (*Definition, bool)
}

var (
	workflowName = regexp.MustCompile(`^[a-z0-9](?:[a-z0-9-]{0,62}[a-z0-9])?$`)
	stepID       = regexp.MustCompile(`^[a-z][a-z0-9_-]{0,63}$`)
	variableName = regexp.MustCompile(`^[a-z][a-z0-9_]{0,63}$`)
	eventName    = regexp.MustCompile(`^[A-Za-z0-9_:/-]+(?:\.[A-Za-z0-9_:/-]+)*(?:\.\*)?$|^\*$`)
)

// IsName reports whether a workflow may be called so.
func IsName(name string) bool { return workflowName.MatchString(name) }

// Compile checks what a definition means and compiles its expressions: against
// the schemas of its trigger and of its actions, so that a misspelt field is a
// problem here and not in the middle of a run. All problems come at once, as
// [Problems].
func Compile(d *Definition, o Options) (*Program, error) {
	if d == nil || o.Providers == nil {
		return nil, errors.New("compiling a workflow: the definition or the providers are missing")
	}
	c := &compiler{definition: d, options: o, ids: map[string]string{}}
	c.header()
	c.collect(d.Steps, "steps", 1)
	c.collect(d.OnError, "on_error", 1)
	p := c.program()
	c.cycles()
	if err := c.problems.err(); err != nil {
		return nil, err
	}
	return p, nil
}

type compiler struct {
	definition *Definition
	options    Options
	ids        map[string]string // :: id of a step → its path
	count      int
	problems   Problems
}

// report records a problem at a path.
func (c *compiler) report(path, format string, args ...any) {
	line, column := c.definition.source.locate(path)
	c.problems = append(c.problems, Problem{line, column, path, fmt.Sprintf(format, args...)})
}

func (c *compiler) header() {
	d := c.definition
	switch {
	case d.Name == "":
		c.report("name", "is missing")
	case !workflowName.MatchString(d.Name):
		c.report("name", "must be a-z, 0-9 and -, at most 64 of them")
	}
	if len(d.Description) > maxText {
		c.report("description", "is longer than %d bytes", maxText)
	}
	if d.Input != nil && d.Trigger.Manual == nil {
		c.report("input", "goes with trigger.manual: only runs that are started by hand or by another workflow have an input")
	}
	if d.Input != nil {
		if _, err := providers.ParseSchema(d.Input); err != nil {
			c.report("input", "%v", err)
		} else if names := newSchema(d.Input).names(); !slices.Contains(names, "object") {
			c.report("input", "must have type: object")
		}
	}
	if k := d.Concurrency; k != nil && (k.Limit < 1 || k.Limit > maxConcurrency) {
		c.report("concurrency.limit", "must be from 1 to %d", maxConcurrency)
	}
	if len(d.Steps) == 0 {
		c.report("steps", "is missing: a workflow has at least one step")
	}
	if len(d.Vars) > maxVars {
		c.report("vars", "must have at most %d entries", maxVars)
	}
	for _, name := range sortedKeys(d.Vars) {
		if !variableName.MatchString(name) {
			c.report("vars."+name, "must be a-z, then a-z, 0-9 and _")
		}
	}
}

// collect notes the ids of all steps, and refuses what is too much.
func (c *compiler) collect(steps []*Step, path string, depth int) {
	if depth > MaxNesting {
		c.report(path, "is nested deeper than %d levels of steps", MaxNesting)
		return
	}
	for i, s := range steps {
		at := fmt.Sprintf("%s[%d]", path, i)
		if c.count++; c.count == MaxSteps+1 {
			c.report(at, "is one too many: a workflow has at most %d steps", MaxSteps)
		}
		switch other, twice := c.ids[s.ID]; {
		case s.ID == "":
			c.report(at, "has no id: expressions and results know a step by it")
		case !stepID.MatchString(s.ID):
			c.report(at+".id", "must be a-z, then a-z, 0-9, _ and -, at most 64 of them")
		case s.ID == "fail" || s.ID == "continue":
			c.report(at+".id", "%s is a word of on_error: take another", s.ID)
		case twice:
			c.report(at+".id", "%s is the id of %s already", s.ID, other)
		default:
			c.ids[s.ID] = at
		}
		for _, list := range s.Lists() {
			c.collect(list.Steps, at+"."+list.Path, depth+1)
		}
	}
}

// scope is what expressions see at a place.
type scope struct {
	fields types.Map         // without steps
	steps  types.Map         // those that have ended
	vars   map[string]string // :: name → type as JSON Schema calls it, "" any
	loops  int
	apart  bool // other steps go on at the same time
}

// with is a scope that has a variable more.
func (s scope) with(name string, kind types.Type) scope {
	s.fields = maps.Clone(s.fields)
	s.fields[name] = kind
	return s
}

// inner is a scope in which steps may be added that the outer one does not see.
func (s scope) inner() scope {
	s.steps = maps.Clone(s.steps)
	return s
}

func (c *compiler) program() *Program {
	d := c.definition
	p := &Program{Definition: d, Timeout: time.Duration(cmp.Or(d.Timeout, Duration(DefaultTimeout))), Vars: map[string]*Template{}}
	s := scope{
		fields: types.Map{"run": runType(), "now": types.TypeOf(time.Now)},
		steps:  types.Map{},
		vars:   map[string]string{},
	}
	p.Filter = c.trigger(s.fields)
	if d.Input != nil {
		p.Input, _ = providers.ParseSchema(d.Input) // header has reported what is wrong
	}
	variables := types.Map{}
	for _, name := range sortedKeys(d.Vars) {
		t := c.template(d.Vars[name], "vars."+name, s)
		p.Vars[name] = t
		var kind types.Type
		s.vars[name], kind = variable(t)
		variables[name] = kind
	}
	if d.Concurrency != nil && d.Concurrency.Key != "" {
		key, _ := encode(d.Concurrency.Key) // a text is always one
		p.Key = c.template(key, "concurrency.key", s)
	}
	s.fields["vars"] = variables
	p.Steps = c.list(d.Steps, "steps", s.inner())
	failed := s.inner().with("error", errorType())
	for id := range c.ids {
		failed.steps[id] = stepType(types.Any)
	}
	p.OnError = c.list(d.OnError, "on_error", failed)
	p.tasks = map[string]*Task{}
	p.index(p.Steps)
	p.index(p.OnError)
	return p
}

// variable is the type that a variable keeps.
func variable(t *Template) (name string, kind types.Type) {
	if t == nil || !t.Constant() {
		return "", types.Any
	}
	switch name := typeName(t.value); name {
	case "string":
		return name, types.String
	case "boolean":
		return name, types.Bool
	case "integer", "number":
		return "number", types.Any
	default:
		return "", types.Any
	}
}

// trigger checks the trigger and adds what it brings to the scope.
func (c *compiler) trigger(fields types.Map) *Expression {
	t := c.definition.Trigger
	set := 0
	for _, is := range []bool{t.Event != nil, t.Schedule != nil, t.Manual != nil, t.Run != nil} {
		if is {
			set++
		}
	}
	if set != 1 {
		c.report("trigger", "must have exactly one of event, schedule, manual and run")
		fields["event"], fields["input"] = types.Any, types.Any
		return nil
	}
	switch {
	case t.Event != nil:
		fields["event"] = eventType(c.eventData(t.Event.Provider, t.Event.Event, "trigger.event"))
		if t.Event.Filter == "" {
			return nil
		}
		filtered := types.Map{"event": fields["event"], "now": fields["now"]}
		return c.expression(t.Event.Filter, "trigger.event.filter", scope{fields: filtered}, true)
	case t.Schedule != nil:
		fields["event"] = types.Map{"time": types.String}
		c.schedule(*t.Schedule)
	case t.Manual != nil:
		fields["input"] = types.Any
		if c.definition.Input != nil {
			fields["input"] = newSchema(c.definition.Input).kind(0)
		}
	case t.Run != nil:
		run := types.Map{"run": types.String, "workflow": types.String, "state": types.String, "output": types.Any, "error": errorType()}
		fields["event"] = types.Map{"data": run}
		c.runTrigger(*t.Run)
	}
	return nil
}

func (c *compiler) schedule(s Schedule) {
	field, problem := "", "cannot be checked: there is no scheduler"
	if c.options.Schedule != nil {
		field, problem = c.options.Schedule(s)
	}
	if problem == "" {
		return
	}
	path := "trigger.schedule"
	if field != "" {
		path += "." + field
	}
	c.report(path, "%s", problem)
}

func (c *compiler) runTrigger(t RunTrigger) {
	if !workflowName.MatchString(t.Workflow) {
		c.report("trigger.run.workflow", "must be the name of a workflow")
	}
	states := []string{"completed", "failed", "canceled"}
	for _, state := range t.State {
		if !slices.Contains(states, state) {
			c.report("trigger.run.state", "%s is no state that a run ends in%s; there are %s", clip(state, 40), nearest.Hint(state, slices.Values(states)), strings.Join(states, ", "))
		}
	}
	if len(t.State) == 0 {
		c.report("trigger.run.state", "is missing: one or more of %s", strings.Join(states, ", "))
	}
}

// eventData checks the events that something waits for, and returns the type of
// their data.
func (c *compiler) eventData(provider string, names Names, path string) types.Type {
	pack := c.pack(provider, path+".provider")
	if len(names) == 0 {
		c.report(path+".event", "is missing: the name of an event, such as issues.opened")
	}
	if len(names) > maxEvents {
		c.report(path+".event", "must have at most %d names", maxEvents)
	}
	for _, name := range names {
		if !eventName.MatchString(name) || len(name) > 200 {
			c.report(path+".event", "%s is no name of an event: parts with . between them, where the last may be *", clip(name, 60))
		}
	}
	switch {
	case pack == nil:
		return types.Any
	case pack.Webhooks == nil:
		c.report(path+".provider", "%s sends no events", provider)
		return types.Any
	case len(names) != 1 || pack.Triggers[names[0]] == nil || pack.Triggers[names[0]].Schema == nil:
		return types.Any
	}
	return newSchema(pack.Triggers[names[0]].Schema.JSON()).kind(0)
}

func (c *compiler) pack(name, path string) *providers.Pack {
	if name == "" {
		c.report(path, "is missing: the name of a provider")
		return nil
	}
	pack, ok := c.options.Providers.Pack(name)
	if !ok {
		c.report(path, "no provider is called %s%s", clip(name, 60), hint(c.options.Providers.Nearest(name)))
		return nil
	}
	return pack
}

func hint(name string) string {
	if name == "" {
		return ""
	}
	return ", did you mean " + name + "?"
}

// builtins are the functions of expr that workflows have, beside those of the
// package expression and now.
func builtins() []string {
	return []string{
		"all", "any", "none", "one", "filter", "map", "find", "count", "sortBy", "groupBy", "len", "int", "float", "abs", "ceil",
		"floor", "round", "min", "max", "first", "last", "take", "keys", "values", "reverse", "sort", "date", "duration",
	}
}

// expression compiles an expression; nil when it is wrong. It may be written as
// ${{ … }} as well.
func (c *compiler) expression(text, path string, s scope, condition bool) *Expression {
	pieces, err := split(text)
	code, at := text, 0
	if err == nil && len(pieces) == 1 && pieces[0].isCode {
		code, at = pieces[0].text, pieces[0].at
	}
	e := c.code(code, path, at, s)
	if e == nil || !condition {
		return e
	}
	if name := resultName(e.program.Result().Kind); name != "" && name != "boolean" {
		c.reportAt(path, at, "must be true or false, is of type %s", name)
	}
	return e
}

func (c *compiler) code(code, path string, at int, s scope) *Expression {
	fields := maps.Clone(s.fields)
	if s.steps != nil {
		fields["steps"] = s.steps
	}
	trimmed := strings.TrimLeft(code, " \t\n")
	at += len([]rune(code)) - len([]rune(trimmed))
	p, err := expression.Language{
		Env: fields, Builtins: builtins(), Texts: true, MaxText: MaxExpression, MaxNodes: maxExpressionNodes,
	}.Compile(strings.TrimRight(trimmed, " \t\n"))
	if err == nil {
		return &Expression{path: path, program: p}
	}
	found := (*expression.Error)(nil)
	if !errors.As(err, &found) {
		c.reportAt(path, at, "%v", err)
		return nil
	}
	c.reportAt(path, at+offset(trimmed, found.Line, found.Column), "%s", c.better(found.Message, trimmed))
	return nil
}

// offset counts the characters of a text before a line and column of it.
func offset(text string, line, column int) int {
	at := 0
	for ; line > 1; line-- {
		before, after, ok := strings.Cut(text, "\n")
		if !ok {
			break
		}
		at += len([]rune(before)) + 1
		text = after
	}
	return at + column - 1
}

func (c *compiler) reportAt(path string, at int, format string, args ...any) {
	line, column := c.definition.source.locateIn(path, at)
	c.problems = append(c.problems, Problem{line, column, path, fmt.Sprintf(format, args...)})
}

// better says of a field that is unknown what it would have been.
func (c *compiler) better(message, code string) string {
	name, ok := strings.CutPrefix(message, "unknown field ")
	if !ok {
		return message
	}
	name, rest := cutName(name)
	is := func(of string) bool {
		return regexp.MustCompile(`\b` + of + `\s*\??(?:\.\s*` + regexp.QuoteMeta(name) + `\b|\[\s*["']` + regexp.QuoteMeta(name) + `["'])`).MatchString(code)
	}
	switch {
	case is("vars"):
		return "unknown variable " + name + rest
	case !is("steps"):
		return message
	case c.ids[name] != "":
		return "step " + name + " has not ended where this stands, or is not seen from here"
	}
	for id := range c.ids {
		if strings.HasPrefix(id, name+"-") {
			return fmt.Sprintf(`unknown step %s: an id with - in it is written steps["%s"]`, name, id)
		}
	}
	return "unknown step " + name + rest
}

func cutName(text string) (name, rest string) {
	i := strings.IndexAny(text, ",; ")
	if i < 0 {
		return text, ""
	}
	return text[:i], text[i:]
}

// template compiles a value that may hold ${{ }}; nil when it is wrong.
func (c *compiler) template(value json.RawMessage, path string, s scope) *Template {
	v, err := expression.Decode(value)
	if err != nil {
		c.report(path, "%v", err)
		return nil
	}
	return c.templateOf(v, path, s)
}

func (c *compiler) templateOf(v any, path string, s scope) *Template {
	t := &Template{value: v}
	constant := true
	add := func(member any, path string) *Template {
		inner := c.templateOf(member, path, s)
		constant = constant && inner.Constant()
		return inner
	}
	switch v := v.(type) {
	case string:
		return c.text(v, path, s)
	case []any:
		list := make([]*Template, len(v))
		for i, item := range v {
			list[i] = add(item, fmt.Sprintf("%s[%d]", path, i))
		}
		if !constant {
			t.list = list
		}
	case map[string]any:
		object := map[string]*Template{}
		for _, name := range sortedKeys(v) {
			object[name] = add(v[name], join(path, name))
		}
		if !constant {
			t.object = object
		}
	}
	return t
}

func (c *compiler) text(text, path string, s scope) *Template {
	t := &Template{value: text}
	pieces, err := split(text)
	if err != nil {
		c.report(path, "%v", err)
		return t
	}
	for _, p := range pieces {
		if !p.isCode {
			t.parts = append(t.parts, part{text: p.text})
			continue
		}
		e := c.code(p.text, path, p.at, s)
		if e == nil {
			return &Template{whole: &Expression{path: path}} // wrong, and no constant
		}
		t.parts = append(t.parts, part{expression: e})
	}
	switch {
	case len(t.parts) == 1 && t.parts[0].expression != nil:
		return &Template{whole: t.parts[0].expression}
	case len(t.parts) == 1:
		t.parts = nil
	}
	return t
}

// cycles refuses workflows that start each other in a circle.
func (c *compiler) cycles() {
	name := c.definition.Name
	for path, other := range starts(c.definition) {
		if chain := c.leads(other, name, nil); chain != nil {
			c.report(path, "is a cycle: %s", strings.Join(append([]string{name}, chain...), " starts "))
		}
	}
	if t := c.definition.Trigger.Run; t != nil && t.Workflow == name {
		c.report("trigger.run.workflow", "is a cycle: each run would start the next one")
	}
}

// leads finds the way from a workflow to the one that is looked for.
func (c *compiler) leads(from, to string, seen []string) []string {
	switch {
	case from == to:
		return []string{to}
	case c.options.Workflow == nil || slices.Contains(seen, from) || len(seen) > MaxNesting:
		return nil
	}
	d, ok := c.options.Workflow(from)
	if !ok {
		return nil
	}
	others := starts(d)
	for _, path := range sortedKeys(others) {
		if chain := c.leads(others[path], to, append(seen, from)); chain != nil {
			return append([]string{from}, chain...)
		}
	}
	return nil
}

// starts are the workflows that a definition calls, by the path of the call.
func starts(d *Definition) map[string]string {
	all := map[string]string{}
	var walk func(steps []*Step, path string)
	walk = func(steps []*Step, path string) {
		for i, s := range steps {
			at := fmt.Sprintf("%s[%d]", path, i)
			if s.Call != nil {
				all[at+".call_workflow.workflow"] = s.Call.Workflow
			}
			for _, list := range s.Lists() {
				walk(list.Steps, at+"."+list.Path)
			}
		}
	}
	walk(d.Steps, "steps")
	walk(d.OnError, "on_error")
	return all
}
