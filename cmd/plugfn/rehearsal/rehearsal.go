package rehearsal

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"time"

	"github.com/plugfn/plugfn/pkg/providers"
	"github.com/plugfn/plugfn/pkg/workflow"
	"github.com/plugfn/plugfn/services/scheduler/runs/machine"
)

const (
	// maxSignals bounds what one rehearsal goes through: a workflow that is tried
	// out has a few.
	maxSignals = 20_000
	maxCalls   = 8 // runs that call each other
)

// Config is what is rehearsed, and with what.
type Config struct {
	Program  *workflow.Program
	Others   map[string]*workflow.Program // :: name → what may be called; nil: nothing
	Packs    map[string]*providers.Pack
	Provider http.Handler // plays the providers, see package sandbox

	User   string
	Event  json.RawMessage // as expressions see it; nil: null
	Input  json.RawMessage // nil: null
	Events []Event         // that come while the run goes on
	Now    time.Time       // when it begins
}

// Event is an event that may be waited for.
type Event struct {
	Provider, Name string
	Seen           json.RawMessage // as expressions see it
}

// Report is how a rehearsal went.
type Report struct {
	Workflow string           `json:"workflow"`
	Status   machine.Status   `json:"status"`
	Reason   string           `json:"reason,omitempty"`
	Error    *machine.Failure `json:"error,omitempty"`
	Output   json.RawMessage  `json:"output,omitempty"`
	Took     string           `json:"took"` // of the time that the run believes in
	Steps    []Step           `json:"steps"`
}

// Step is one thing that happened to a step. Input is what it asked for, and
// Output what it came to.
type Step struct {
	After  string           `json:"after"` // since the run began
	Step   string           `json:"step"`
	Kind   workflow.Kind    `json:"kind"`
	Status machine.Status   `json:"status"`
	Input  json.RawMessage  `json:"input,omitempty"`
	Output json.RawMessage  `json:"output,omitempty"`
	Error  *machine.Failure `json:"error,omitempty"`
}

// Run rehearses. The error is about the rehearsal: how the run ended is in the
// report.
func Run(ctx context.Context, cfg Config) (*Report, error) { return run(ctx, cfg, 0) }

func run(ctx context.Context, cfg Config, depth int) (*Report, error) {
	s := &stage{
		Config: cfg, ctx: ctx, depth: depth, now: cfg.Now, payloads: machine.Payloads{}, timers: map[string]time.Time{}, waits: map[string]machine.Register{},
		inputs: map[string]json.RawMessage{}, outputs: map[string]json.RawMessage{}, reported: map[string]bool{},
	}
	d := cfg.Program.Definition
	state, effects, err := machine.New(cfg.Program, machine.Start{Run: "run_rehearsal", Workflow: d.Name, User: cfg.User, Version: 1, Event: cfg.Event, Input: cfg.Input})
	if err != nil {
		return nil, err
	}
	s.state = state
	s.signals = []machine.Signal{{Kind: machine.Begin}}
	if err := s.do(effects); err != nil {
		return nil, err
	}
	for range maxSignals {
		if s.state.Status.Ended() {
			return s.report(), nil
		}
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		sig, ok := s.next()
		if !ok {
			return nil, errors.New("the run waits for something that never comes")
		}
		if err := s.advance(sig); err != nil {
			return nil, err
		}
	}
	return nil, fmt.Errorf("the run has not ended after %d signals", maxSignals)
}

// stage is a run that is rehearsed.
type stage struct {
	Config
	ctx   context.Context //nolint:containedctx // it lives as long as one call of Run
	depth int

	state    *machine.State
	now      time.Time
	payloads machine.Payloads
	signals  []machine.Signal
	timers   map[string]time.Time        // :: id → when
	waits    map[string]machine.Register // :: id → for which events
	inputs   map[string]json.RawMessage  // :: id of an effect → what it asked for
	outputs  map[string]json.RawMessage  // :: id of an effect → what came
	steps    []Step
	reported map[string]bool // ids of notes
}

// next is the signal that comes now, or else, of what is due later, first.
func (s *stage) next() (machine.Signal, bool) {
	if len(s.signals) > 0 {
		sig := s.signals[0]
		s.signals = s.signals[1:]
		return sig, true
	}
	first := ""
	for id, at := range s.timers {
		if first == "" || at.Before(s.timers[first]) || at.Equal(s.timers[first]) && id < first {
			first = id
		}
	}
	if first == "" {
		return machine.Signal{}, false
	}
	if at := s.timers[first]; at.After(s.now) {
		s.now = at
	}
	delete(s.timers, first)
	return machine.Signal{Kind: machine.Timer, ID: first}, true
}

func (s *stage) advance(sig machine.Signal) error {
	next, effects, err := machine.Advance(s.Program, s.state, sig, s.now, s.payloads)
	if err != nil {
		return err
	}
	if len(sig.ID) > 0 && sig.Data != nil {
		s.outputs[sig.ID] = sig.Data
	}
	s.state = next
	return s.do(effects)
}

// do does effects: values are kept before anything is told of them.
func (s *stage) do(effects []machine.Effect) error {
	for _, e := range effects {
		if e, ok := e.(machine.Keep); ok {
			s.payloads[e.Ref] = e.Data
		}
	}
	for _, e := range effects {
		switch e := e.(type) {
		case machine.Act:
			s.inputs[e.ID] = e.Params
			s.signals = append(s.signals, s.act(e))
		case machine.SetTimer:
			s.timers[e.ID] = e.At
		case machine.Register:
			s.listen(e)
		case machine.StartRun:
			s.inputs[e.ID] = e.Input
			sig, err := s.call(e)
			if err != nil {
				return err
			}
			s.signals = append(s.signals, sig)
		case machine.Release:
			delete(s.timers, e.ID)
			delete(s.waits, e.ID)
		}
	}
	for _, e := range effects {
		if e, ok := e.(machine.Tell); ok && e.Step != "" && !s.reported[e.ID] {
			s.reported[e.ID] = true
			s.tell(e.Note)
		}
	}
	return nil
}

// listen gives the events that a wait is for, in their order: the run takes the
// first that matches.
func (s *stage) listen(e machine.Register) {
	s.waits[e.ID] = e
	for _, event := range s.Events {
		if event.Provider == e.Provider && workflow.Names(e.Events).Match(event.Name) {
			s.signals = append(s.signals, machine.Signal{Kind: machine.Event, ID: e.ID, Data: event.Seen})
		}
	}
}

// call rehearses a workflow that is called.
func (s *stage) call(e machine.StartRun) (machine.Signal, error) {
	sig := machine.Signal{Kind: machine.Child, ID: e.ID}
	p := s.Others[e.Workflow]
	switch {
	case p == nil:
		sig.Error = &machine.Failure{Code: "no_workflow", Message: "there is no workflow " + e.Workflow + " in this rehearsal: give its file as well"}
		return sig, nil
	case s.depth >= maxCalls:
		sig.Error = &machine.Failure{Code: "loop", Message: fmt.Sprintf("%d runs have led to each other", maxCalls)}
		return sig, nil
	}
	cfg := s.Config
	cfg.Program, cfg.Event, cfg.Input, cfg.Now = p, nil, e.Input, s.now
	r, err := run(s.ctx, cfg, s.depth+1)
	if err != nil {
		return sig, fmt.Errorf("workflow %s: %w", e.Workflow, err)
	}
	if !e.Wait {
		return sig, nil
	}
	sig.Data = r.Output
	switch r.Status {
	case machine.Failed:
		sig.Error = r.Error
	case machine.Canceled:
		sig.Error = &machine.Failure{Code: machine.CodeCanceled, Message: r.Reason}
	}
	return sig, nil
}

// tell adds to the report: what a step asks for once, and how it ends.
func (s *stage) tell(n machine.Note) {
	task := s.Program.Task(machine.Step(n.Step))
	if task == nil {
		return
	}
	step := Step{After: s.since(n.At), Step: n.Step, Kind: task.Kind, Status: n.Status, Error: n.Error}
	id := n.Step
	if e := s.state.Steps[n.Step]; e != nil {
		id = machine.EffectID(n.Step, e)
		if n.Status == machine.Completed && e.Result != nil {
			step.Output = s.value(*e.Result)
		}
	} else {
		id += "~0" // of an iteration that is over
	}
	if !n.Status.Ended() {
		step.Input = s.inputs[id]
	} else if step.Output == nil && n.Status == machine.Completed {
		step.Output = s.outputs[id]
	}
	s.steps = append(s.steps, step)
}

func (s *stage) value(v machine.Value) json.RawMessage {
	if v.Ref != "" {
		return s.payloads[v.Ref]
	}
	return v.JSON
}

func (s *stage) since(at time.Time) string { return at.Sub(s.Now).String() }

func (s *stage) report() *Report {
	r := &Report{
		Workflow: s.state.Workflow, Status: s.state.Status, Reason: s.state.Reason, Error: s.state.Error, Took: s.since(s.state.Ended),
		Steps: slices.Clone(s.steps),
	}
	if s.state.Output != nil {
		r.Output = s.value(*s.state.Output)
	}
	if r.Steps == nil {
		r.Steps = []Step{}
	}
	return r
}
