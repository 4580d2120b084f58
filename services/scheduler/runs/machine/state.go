package machine

import (
	"encoding/json"
	"maps"
	"slices"
	"time"
)

// The limits of a run.
const (
	MaxInline   = 64 << 10 // bytes of one value in the state: longer ones are kept by reference
	MaxRunSteps = 100_000  // that a run begins, each of an iteration by itself
	MaxValue    = 8 << 20  // bytes of one value
	maxSteps    = 200      // that begin in one transition
	maxItem     = 1 << 10  // bytes of the result of one iteration in the state
	chunk       = 32 << 10 // bytes of results of iterations that are kept together
	window      = 256      // iterations that may have ended before an earlier one
)

// Status is how a run or a step stands.
type Status string

// The statuses. A run is pending until it is started. A step that has no entry
// has not begun.
const (
	Pending   Status = "pending"
	Running   Status = "running"
	Waiting   Status = "waiting" // a run: for nothing but times, events and other runs
	Completed Status = "completed"
	Failed    Status = "failed"
	Canceled  Status = "canceled"
	Skipped   Status = "skipped" // a step whose if was false, or that was jumped over
)

// Ended reports whether nothing follows.
func (s Status) Ended() bool {
	return s == Completed || s == Failed || s == Canceled || s == Skipped
}

// Value is a value of JSON, or where it is.
type Value struct {
	JSON json.RawMessage `json:"v,omitempty"`
	Ref  string          `json:"ref,omitempty"` // of a Keep: the SHA-256 of the JSON in hex
}

// Failure is why a step or a run has failed.
type Failure struct {
	Step    string `json:"step"` // its id; "" of the run itself
	Code    string `json:"code"` // of the result of an action, or one of the Code constants
	Message string `json:"message"`
}

// The codes of failures that do not come from an action.
const (
	CodeExpression = "expression" // an expression could not be evaluated
	CodeTimeout    = "timeout"    // a wait or the run took too long
	CodeTooLarge   = "too_large"  // a value or a list is beyond the limits
	CodeCanceled   = "canceled"   // a run that was waited for was canceled
	CodeInput      = "invalid_params"
)

// Start is what a run begins with.
type Start struct {
	Run, Workflow, User string
	Version             int
	Event               json.RawMessage // what expressions see as event; nil: null
	Input               json.RawMessage // nil: null
}

// State is a run. It is written and read as JSON; only this package changes it.
type State struct {
	Run      string            `json:"run"`
	Workflow string            `json:"workflow"`
	User     string            `json:"user"`
	Version  int               `json:"version"`
	Status   Status            `json:"status"`
	Reason   string            `json:"reason,omitempty"` // of completed: filtered; of canceled: what the signal said
	N        int               `json:"n"`                // transitions so far
	Try      int               `json:"try,omitempty"`    // retries so far
	At       time.Time         `json:"at,omitzero"`      // of the last transition
	Started  time.Time         `json:"started,omitzero"`
	Ended    time.Time         `json:"ended,omitzero"`
	Deadline time.Time         `json:"deadline,omitzero"`
	Event    Value             `json:"event,omitzero"`
	Input    Value             `json:"input,omitzero"`
	Vars     map[string]Value  `json:"vars"`
	Locals   map[string]Locals `json:"locals,omitempty"` // :: branch of a parallel or iteration → what was set in it
	Steps    map[string]*Entry `json:"steps,omitempty"`  // :: id, in an iteration each[3].id → how it stands
	More     string            `json:"more,omitempty"`   // ID of the Timer after which further steps begin
	Begun    int               `json:"begun,omitempty"`  // steps so far
	Error    *Failure          `json:"error,omitempty"`  // also while on_error goes on
	Output   *Value            `json:"output,omitempty"` // what respond gave
	Told     []Note            `json:"told,omitempty"`   // by the last transition
}

// Locals are variables that hide those of the run.
type Locals map[string]Value

// Entry is how one step of a run stands. Those of an iteration go away when it
// has completed.
type Entry struct {
	Status  Status    `json:"status"`
	Try     int       `json:"try,omitempty"` // the retry that it began in
	Started time.Time `json:"started"`
	Ended   time.Time `json:"ended,omitzero"`
	Result  *Value    `json:"result,omitempty"`
	Error   *Failure  `json:"error,omitempty"`
	Until   time.Time `json:"until,omitzero"`    // of delay, and of wait_for with a timeout
	Case    int       `json:"case,omitempty"`    // of branch
	Loop    *Loop     `json:"loop,omitempty"`    // of foreach
	Stops   bool      `json:"stops,omitempty"`   // a filter that was false
	Handled bool      `json:"handled,omitempty"` // on_error has dealt with the failure
}

// Loop is how far a foreach is.
type Loop struct {
	Items  Value          `json:"items"`
	Total  int            `json:"total"`
	Next   int            `json:"next"`             // the first item that was not begun
	Live   []int          `json:"live,omitempty"`   // items that are under way
	Broken []int          `json:"broken,omitempty"` // items that have failed
	Early  map[int]*Value `json:"early,omitempty"`  // results of items behind one that is under way
	Chunks []string       `json:"chunks,omitempty"` // references to lists of results, from the first item on
	Tail   []*Value       `json:"tail,omitempty"`   // results behind those
	Done   int            `json:"done"`             // results in Chunks and Tail
	bytes  int            // of Tail; counted anew when it is 0
}

// Note is one line of the history of a run.
type Note struct {
	ID     string    `json:"id"` // tells repetitions
	At     time.Time `json:"at"`
	Step   string    `json:"step,omitempty"` // "": the run
	Status Status    `json:"status"`
	Reason string    `json:"reason,omitempty"`
	Error  *Failure  `json:"error,omitempty"`
}

// clone copies what a transition changes.
func (s *State) clone() *State {
	c := *s
	c.Vars = maps.Clone(s.Vars)
	c.Locals = make(map[string]Locals, len(s.Locals))
	for scope, vars := range s.Locals {
		c.Locals[scope] = maps.Clone(vars)
	}
	c.Steps = make(map[string]*Entry, len(s.Steps))
	for key, e := range s.Steps {
		entry := *e
		if l := e.Loop; l != nil {
			loop := *l
			loop.Live, loop.Broken = slices.Clone(l.Live), slices.Clone(l.Broken)
			loop.Early, loop.Chunks, loop.Tail = maps.Clone(l.Early), slices.Clone(l.Chunks), slices.Clone(l.Tail)
			entry.Loop = &loop
		}
		c.Steps[key] = &entry
	}
	c.Told = nil
	return &c
}
