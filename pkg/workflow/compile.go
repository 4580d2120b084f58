package workflow

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"time"

	"github.com/expr-lang/expr/types"

	"github.com/plugfn/plugfn/pkg/providers"
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
