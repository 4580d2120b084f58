package workflow

import (
	"strings"
	"time"

	"github.com/plugfn/plugfn/pkg/providers"
)

// Program is a definition that was compiled. It is immutable and safe for
// concurrent use.
type Program struct {
	Definition *Definition
	Filter     *Expression          // of the event trigger; nil: every event
	Input      *providers.Schema    // of the input; nil: anything
	Key        *Template            // of the concurrency; nil: none
	Vars       map[string]*Template // at the start
	Timeout    time.Duration        // of a run
	Steps      []*Task
	OnError    []*Task // nil: nothing follows the failure of the run

	tasks map[string]*Task // by id
}

// Task returns the step of an id; nil when there is none.
func (p *Program) Task(id string) *Task { return p.tasks[id] }

// IDs lists the ids of all steps in alphabetical order.
func (p *Program) IDs() []string { return sortedKeys(p.tasks) }

// index notes the steps of a list by their ids, with those inside them.
func (p *Program) index(tasks []*Task) {
	for _, t := range tasks {
		p.tasks[t.ID] = t
		for _, list := range t.Lists {
			p.index(list)
		}
		p.index(t.Handlers)
	}
}

// Task is a step that was compiled. Which fields are set follows from its kind.
type Task struct {
	*Step
	Kind Kind
	Path string // of the step in the definition

	Condition *Expression // if; nil: always
	Test      *Expression // of filter, and match of wait_for, where nil holds for all
	Whens     []*Expression
	Items     *Expression          // of foreach
	Until     *Expression          // of delay; nil: for
	Params    map[string]*Template // of action, call_workflow and set
	Data      *Template            // of respond

	Lists     [][]*Task // cases and else (nil: none); branches by name; the steps of foreach
	Names     []string  // of the branches of parallel, in the order of Lists
	AtOnce    int       // items of foreach at the same time
	Continues bool      // on_error: continue
	JumpTo    int       // on_error: index of a later step of the same list; 0: none
	Handlers  []*Task   // on_error: steps; nil: none
}

// Provider is the provider of the action.
func (a *Action) Provider() string {
	provider, _, _ := strings.Cut(a.Use, ".")
	return provider
}

// Operation is the name of the action at its provider.
func (a *Action) Operation() string {
	_, operation, _ := strings.Cut(a.Use, ".")
	return operation
}
