package machine

import (
	"encoding/json"
	"time"
)

// Kind is what a signal tells.
type Kind string

// The kinds of signals.
const (
	Begin  Kind = "begin"  // a pending run may start
	Result Kind = "result" // an action has ended: Data or Error
	Timer  Kind = "timer"  // a time has come
	Event  Kind = "event"  // an event has come: Data, as expressions see it. One that does not match changes nothing
	Child  Kind = "child"  // a run that was started has ended: Data is its output, or Error
	Cancel Kind = "cancel" // Reason
	Retry  Kind = "retry"  // of a run that has failed, from the step that did: Try is State.Try + 1
)

// Signal is something that happened to a run.
type Signal struct {
	Kind   Kind            `json:"kind"`
	ID     string          `json:"id,omitempty"` // of the effect that it answers
	Data   json.RawMessage `json:"data,omitempty"`
	Error  *Failure        `json:"error,omitempty"`
	Reason string          `json:"reason,omitempty"`
	Try    int             `json:"try,omitempty"`
}

// Effect is something to do for a transition. All but Keep follow once the state
// is written.
type Effect interface{ effect() }

// Act asks for an action; its result is a Result with the ID.
type Act struct {
	ID          string // unique in the run: the step, its iteration and the retry
	Provider    string
	Action      string
	Connection  string // "": the user's only or default one
	Params      json.RawMessage
	Timeout     time.Duration // 0: the action's
	MaxAttempts int           // 0: the action's
	Pages       int           // 0: one
}

// SetTimer asks for a Timer with the ID, never before At.
type SetTimer struct {
	ID string
	At time.Time
}

// Register asks for each event as an Event with the ID, those that have come
// since the run began among them.
type Register struct {
	ID       string
	Provider string
	Events   []string // names; the last part may be *
}

// StartRun starts a run of another workflow of the user. A Child with the ID
// follows: once the run has ended where it is waited for, otherwise once it is
// there.
type StartRun struct {
	ID       string
	Workflow string
	Input    json.RawMessage
	Wait     bool
}

// Release says that a SetTimer or Register is not needed any more, or that a run
// that was waited for has to be canceled.
type Release struct {
	ID  string
	Run bool
}

// Keep stores data under its reference, before the state is written.
type Keep struct {
	Ref  string
	Data json.RawMessage
}

// Tell adds to the history of the run.
type Tell struct{ Note }

func (Act) effect()      {}
func (SetTimer) effect() {}
func (Register) effect() {}
func (StartRun) effect() {}
func (Release) effect()  {}
func (Keep) effect()     {}
func (Tell) effect()     {}
