package workflow

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
)

// Definition is a workflow as a person writes it. Get one from [Parse]: what it
// holds has the right form then, and only [Compile] tells whether it has a
// meaning.
type Definition struct {
	Name        string                     `json:"name"` // [a-z0-9-]{1,64}
	Description string                     `json:"description,omitempty"`
	Trigger     Trigger                    `json:"trigger"`
	Input       json.RawMessage            `json:"input,omitempty"` // JSON Schema of the input; with trigger.manual
	Vars        map[string]json.RawMessage `json:"vars,omitempty"`  // :: name → value at the start, may hold ${{ }}
	Concurrency *Concurrency               `json:"concurrency,omitempty"`
	Timeout     Duration                   `json:"timeout,omitzero"` // of a run; 0: DefaultTimeout
	Steps       []*Step                    `json:"steps"`
	OnError     []*Step                    `json:"on_error,omitempty"` // once a step has failed for good; error is in scope

	source *source // where what stands; nil: not parsed
}

// Trigger is what starts a run. Exactly one is set.
type Trigger struct {
	Event    *EventTrigger `json:"event,omitempty"`
	Schedule *Schedule     `json:"schedule,omitempty"`
	Manual   *Manual       `json:"manual,omitempty"`
	Run      *RunTrigger   `json:"run,omitempty"`
}

// EventTrigger starts a run for each event that matches.
type EventTrigger struct {
	Provider   string `json:"provider"`
	Event      Names  `json:"event"`                // issues.opened; issues.* is all below
	Connection string `json:"connection,omitempty"` // only of this connection
	Filter     string `json:"filter,omitempty"`     // an expression over event
}

// Schedule starts a run at each tick. Exactly one of Cron and Every is set.
type Schedule struct {
	Cron  string   `json:"cron,omitempty"` // five fields, or six with the seconds first
	Zone  string   `json:"zone,omitempty"` // of Cron; "": UTC
	Every Duration `json:"every,omitzero"` // at least a second
}

// Manual says that runs are started by hand, by the API or by another workflow.
type Manual struct{}

// RunTrigger starts a run when a run of another workflow has ended.
type RunTrigger struct {
	Workflow string `json:"workflow"`
	State    Names  `json:"state"` // of completed, failed, canceled
}

// Concurrency bounds the runs that are under way at the same time; the others
// are pending.
type Concurrency struct {
	Limit int    `json:"limit"`         // 1 to 1000
	Key   string `json:"key,omitempty"` // may hold ${{ }}: the limit is for each of its values
	Order bool   `json:"order,omitempty"`
}

// Step is one step. Exactly one of its kinds is set.
type Step struct {
	ID   string `json:"id"` // [a-z][a-z0-9_-]{0,63}, unique in the definition
	Name string `json:"name,omitempty"`
	If   string `json:"if,omitempty"` // an expression; false: the step is skipped

	Action   *Action                    `json:"action,omitempty"`
	Filter   string                     `json:"filter,omitempty"` // an expression; false: the run, the iteration or the branch ends here
	Branch   *Branch                    `json:"branch,omitempty"`
	Parallel *Parallel                  `json:"parallel,omitempty"`
	Foreach  *Foreach                   `json:"foreach,omitempty"`
	Delay    *Delay                     `json:"delay,omitempty"`
	WaitFor  *WaitFor                   `json:"wait_for,omitempty"`
	Set      map[string]json.RawMessage `json:"set,omitempty"` // :: variable → value, may hold ${{ }}
	Call     *Call                      `json:"call_workflow,omitempty"`
	Respond  *Respond                   `json:"respond,omitempty"`

	OnError *OnError `json:"on_error,omitempty"` // nil: fail
}

// Action asks for an action of a provider.
type Action struct {
	Use         string                     `json:"use"` // provider.action, such as github.issues.create
	Connection  string                     `json:"connection,omitempty"`
	Params      map[string]json.RawMessage `json:"params,omitempty"` // may hold ${{ }}
	Timeout     Duration                   `json:"timeout,omitzero"` // 0: the action's
	MaxAttempts int                        `json:"max_attempts,omitempty"`
	Pages       int                        `json:"pages,omitempty"` // of a list, that are joined to the result; 0: one
}

// Branch goes on with the steps of the first case that holds.
type Branch struct {
	Cases []*Case `json:"cases"`
	Else  []*Step `json:"else,omitempty"`
}

// Case is one way of a [Branch].
type Case struct {
	When  string  `json:"when"` // an expression
	Steps []*Step `json:"steps"`
}

// Parallel goes on with all its branches at the same time.
type Parallel struct {
	Join     string             `json:"join,omitempty"` // all (also ""): once all have ended; any: once one has completed, the others are canceled
	Branches map[string][]*Step `json:"branches"`
}

// Foreach does its steps for each item of a list. Its result is the list of the
// results of their last step, in the order of the items.
type Foreach struct {
	In    string  `json:"in"`              // an expression: a list
	As    string  `json:"as,omitempty"`    // name of the item in expressions; "": item
	Limit int     `json:"limit,omitempty"` // items at the same time; 0: DefaultForeachLimit
	Steps []*Step `json:"steps"`
}

// Delay waits. Exactly one is set.
type Delay struct {
	For   Duration `json:"for,omitzero"`
	Until string   `json:"until,omitempty"` // an expression: a time, or its text by RFC 3339
}

// WaitFor waits for an event. Its result is the event.
type WaitFor struct {
	Provider  string   `json:"provider"`
	Event     Names    `json:"event"`
	Match     string   `json:"match,omitempty"`      // an expression; the event is candidate in it
	Timeout   Duration `json:"timeout,omitzero"`     // 0: as long as the run may take
	OnTimeout string   `json:"on_timeout,omitempty"` // fail (also "") or continue, with the result null
}

// Call starts a run of another workflow of the same user.
type Call struct {
	Workflow string                     `json:"workflow"`
	Input    map[string]json.RawMessage `json:"input,omitempty"` // may hold ${{ }}
	Wait     *bool                      `json:"wait,omitempty"`  // nil: true. The result is what the run responds
}

// Waits reports whether the step ends with the run that it starts.
func (c *Call) Waits() bool { return c.Wait == nil || *c.Wait }

// Respond sets the output of the run. The run goes on.
type Respond struct {
	Data json.RawMessage `json:"data"` // may hold ${{ }}
}

// OnError is what follows the failure of a step: fail, continue, the id of a
// later step of the same list, or steps of its own.
type OnError struct {
	Then  string  // one of those words; "" with Steps
	Steps []*Step // after them the run goes on behind the failed step
}

// MarshalJSON writes a text or a list of steps.
func (o OnError) MarshalJSON() ([]byte, error) {
	if o.Steps != nil {
		return encode(o.Steps)
	}
	return encode(o.Then)
}

// Names is one name, or a list of them.
type Names []string

// Match reports whether a name is one of them, or below one that ends in .*, or
// one of them is *.
func (n Names) Match(name string) bool {
	for _, one := range n {
		prefix, all := strings.CutSuffix(one, "*")
		if one == name || all && strings.HasPrefix(name, prefix) && len(name) > len(prefix) {
			return true
		}
	}
	return false
}

// MarshalJSON writes one name as a text.
func (n Names) MarshalJSON() ([]byte, error) {
	if len(n) == 1 {
		return encode(n[0])
	}
	return encode([]string(n))
}

// UnmarshalJSON reads what MarshalJSON writes: one name, or a list of them.
func (n *Names) UnmarshalJSON(data []byte) error {
	var one string
	if err := json.Unmarshal(data, &one); err == nil {
		*n = Names{one}
		return nil
	}
	return json.Unmarshal(data, (*[]string)(n))
}

// Kind is the kind of a step, as it is written.
type Kind string

// The kinds of steps.
const (
	KindAction   Kind = "action"
	KindFilter   Kind = "filter"
	KindBranch   Kind = "branch"
	KindParallel Kind = "parallel"
	KindForeach  Kind = "foreach"
	KindDelay    Kind = "delay"
	KindWaitFor  Kind = "wait_for"
	KindSet      Kind = "set"
	KindCall     Kind = "call_workflow"
	KindRespond  Kind = "respond"
)

// Kinds lists the kinds of steps.
func Kinds() []Kind {
	return []Kind{KindAction, KindFilter, KindBranch, KindParallel, KindForeach, KindDelay, KindWaitFor, KindSet, KindCall, KindRespond}
}

// kinds lists what is set of a step.
func (s *Step) kinds() []Kind {
	set := map[Kind]bool{
		KindAction: s.Action != nil, KindFilter: s.Filter != "", KindBranch: s.Branch != nil, KindParallel: s.Parallel != nil,
		KindForeach: s.Foreach != nil, KindDelay: s.Delay != nil, KindWaitFor: s.WaitFor != nil, KindSet: s.Set != nil,
		KindCall: s.Call != nil, KindRespond: s.Respond != nil,
	}
	var all []Kind
	for _, k := range Kinds() {
		if set[k] {
			all = append(all, k)
		}
	}
	return all
}

// Kind returns the kind of a step that was compiled.
func (s *Step) Kind() Kind {
	if all := s.kinds(); len(all) > 0 {
		return all[0]
	}
	return ""
}

// List is a list of steps inside a step, or of a definition.
type List struct {
	Label string // what leads to it: when …, else, the name of a branch, each item, on_error
	Path  string // in the definition, below the step's own
	Steps []*Step
}

// Lists returns the lists of steps inside a step, those of parallel by name, the
// one of on_error last.
func (s *Step) Lists() []List {
	var all []List
	switch {
	case s.Branch != nil:
		for i, c := range s.Branch.Cases {
			if c != nil {
				all = append(all, List{"when " + c.When, fmt.Sprintf("branch.cases[%d].steps", i), c.Steps})
			}
		}
		all = append(all, List{"else", "branch.else", s.Branch.Else})
	case s.Parallel != nil:
		for _, name := range sortedKeys(s.Parallel.Branches) {
			all = append(all, List{name, "parallel.branches." + name, s.Parallel.Branches[name]})
		}
	case s.Foreach != nil:
		all = append(all, List{"each " + s.Foreach.item(), "foreach.steps", s.Foreach.Steps})
	}
	if s.OnError != nil && s.OnError.Steps != nil {
		all = append(all, List{"on_error", "on_error", s.OnError.Steps})
	}
	return all
}

func (f *Foreach) item() string {
	if f.As == "" {
		return "item"
	}
	return f.As
}

// encode is json.Marshal without the escapes for HTML.
func encode(v any) ([]byte, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		return nil, err
	}
	return bytes.TrimSuffix(b.Bytes(), []byte("\n")), nil
}

// clip makes a foreign text fit for a message.
func clip(s string, n int) string {
	s = strings.Join(strings.Fields(s), " ")
	if len(s) <= n {
		return s
	}
	return strings.ToValidUTF8(s[:n], "") + "…"
}
