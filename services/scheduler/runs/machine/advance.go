package machine

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/plugfn/plugfn/pkg/workflow"
)

// Payloads are values that a state has by reference.
type Payloads map[string]json.RawMessage

// MissingPayloads is the error of a call that needs values by reference.
type MissingPayloads struct{ Refs []string }

// Error says how many there are.
func (m *MissingPayloads) Error() string {
	return fmt.Sprintf("%d values that the run has by reference are needed", len(m.Refs))
}

// New makes a pending run, and the effects of that: what its start is too long
// to hold itself.
func New(p *workflow.Program, start Start) (*State, []Effect, error) {
	if start.Run == "" || start.Workflow == "" {
		return nil, nil, errors.New("starting a run: the id of the run or the workflow is missing")
	}
	s := &State{Run: start.Run, Workflow: start.Workflow, User: start.User, Version: start.Version, Status: Pending}
	w := &walker{program: p, state: s, kept: Payloads{}}
	s.Event, s.Input = w.keepJSON(start.Event, MaxInline), w.keepJSON(start.Input, MaxInline)
	return s, w.effects, nil
}

// Advance applies a signal to a state, which stays as it is. When nothing waits
// for the signal it returns the state itself and no effects. An error means that
// nothing has happened: *MissingPayloads, or a state that does not belong to the
// program.
func Advance(p *workflow.Program, s *State, sig Signal, now time.Time, payloads Payloads) (*State, []Effect, error) {
	if now.Before(s.At) {
		now = s.At // the clock of another machine
	}
	w := &walker{program: p, state: s.clone(), signal: sig, now: now.UTC(), payloads: payloads, kept: Payloads{}}
	w.budget = maxSteps
	if s.More != "" {
		w.budget = 0
		if sig.Kind == Timer && sig.ID == s.More {
			w.budget, w.state.More, w.changed = maxSteps, "", true
		}
	}
	w.apply()
	if len(w.missing) > 0 {
		return s, nil, &MissingPayloads{Refs: w.refs()}
	}
	if !w.changed {
		return s, nil, nil
	}
	w.state.N++
	w.state.At = w.now
	if w.state.Status.Ended() {
		w.state.More = ""
	}
	if w.state.More != s.More && w.state.More != "" {
		w.do(SetTimer{ID: w.state.More, At: w.now})
	}
	for _, n := range w.state.Told {
		w.effects = append(w.effects, Tell{n})
	}
	return w.state, w.effects, nil
}

// Again returns the effects of a state: those of all that it waits for, and the
// history of its last transition. Its errors are those of [Advance].
func Again(p *workflow.Program, s *State, payloads Payloads) ([]Effect, error) {
	w := &walker{program: p, state: s.clone(), now: s.At, payloads: payloads, kept: Payloads{}, again: true}
	if s.Status == Running || s.Status == Waiting {
		w.lifetime()
		w.walk()
		if s.More != "" {
			w.do(SetTimer{ID: s.More, At: s.At})
		}
	}
	if len(w.missing) > 0 {
		return nil, &MissingPayloads{Refs: w.refs()}
	}
	for _, key := range sorted(s.Steps) {
		if t, e := w.task(key), s.Steps[key]; e.Status == Canceled && t != nil && t.Kind == workflow.KindCall {
			w.do(Release{ID: key + suffix(e.Try), Run: true})
		}
	}
	for _, n := range s.Told {
		w.effects = append(w.effects, Tell{n})
	}
	return w.effects, nil
}

// walker is one transition.
type walker struct {
	program  *workflow.Program
	state    *State
	signal   Signal
	now      time.Time
	payloads Payloads
	kept     Payloads // by this transition
	effects  []Effect
	missing  map[string]bool
	lists    map[*Entry][]any // items that are decoded
	changed  bool
	budget   int  // steps that may begin
	again    bool // only the effects of what waits
}

func (w *walker) refs() []string {
	var all []string
	for ref := range w.missing {
		all = append(all, ref)
	}
	slices.Sort(all)
	return all
}

func (w *walker) do(e Effect) { w.effects = append(w.effects, e) }

// apply does what the signal says.
func (w *walker) apply() {
	s := w.state
	switch {
	case w.signal.Kind == Begin && s.Status == Pending:
		w.begin()
	case w.signal.Kind == Cancel && !s.Status.Ended():
		w.cancelAll()
		w.finish(Canceled, w.signal.Reason, nil)
	case w.signal.Kind == Retry && s.Status == Failed && w.signal.Try == s.Try+1:
		w.retry()
	case s.Status != Running && s.Status != Waiting:
	case w.signal.Kind == Timer && w.signal.ID == w.lifetimeID():
		w.expire()
	default:
		w.walk()
	}
}

func (w *walker) begin() {
	s := w.state
	s.Status, s.Started, w.changed = Running, w.now, true
	s.Deadline = w.now.Add(w.program.Timeout)
	w.note("", Running, nil)
	w.lifetime()
	w.first()
}

// first does what comes before the first step, unless it is done, and goes on.
func (w *walker) first() {
	if w.state.Vars != nil {
		w.walk()
		return
	}
	if f := w.checkInput(); f != nil {
		w.fail(f)
		return
	}
	values := map[string]Value{}
	for name, t := range w.program.Vars {
		v, f := w.template(t, frame{})
		if f != nil {
			f.Message = "variable " + name + ": " + f.Message
			w.fail(f)
			return
		}
		values[name] = w.keep(v, MaxInline)
	}
	w.state.Vars = values
	w.walk()
}

func (w *walker) checkInput() *Failure {
	if w.program.Input == nil {
		return nil
	}
	data, ok := w.raw(w.state.Input)
	if !ok {
		return nil // missing
	}
	if err := w.program.Input.Check(data); err != nil {
		return &Failure{Code: CodeInput, Message: "input: " + err.Error()}
	}
	return nil
}

func (w *walker) lifetimeID() string {
	if w.state.Error != nil {
		return "~on_error" + suffix(w.state.Try) // no step begins with ~
	}
	return "~run" + suffix(w.state.Try)
}

func suffix(try int) string { return "~" + strconv.Itoa(try) }

func (w *walker) lifetime() { w.do(SetTimer{ID: w.lifetimeID(), At: w.state.Deadline}) }

// expire ends what takes too long: the run, whose on_error may follow, or that.
func (w *walker) expire() {
	w.changed = true
	w.cancelAll()
	f := &Failure{Code: CodeTimeout, Message: "the run took longer than " + workflow.Duration(w.program.Timeout).String()}
	if w.state.Error != nil {
		w.finish(Failed, "", w.state.Error)
		return
	}
	w.fail(f)
}

// walk goes through all that is under way, and ends the run when nothing is.
func (w *walker) walk() {
	steps, f := w.program.Steps, frame{}
	if w.state.Error != nil {
		steps, f.failure = w.program.OnError, w.state.Error
	}
	out := w.list(steps, f)
	if w.again || len(w.missing) > 0 {
		return
	}
	switch {
	case out.is == live:
		w.settle()
	case w.state.Error != nil:
		w.finish(Failed, "", w.state.Error)
	case out.is == failed:
		w.fail(out.failure)
	case out.is == stopped:
		w.finish(Completed, "filtered", nil)
	default:
		w.finish(Completed, "", nil)
	}
}

// settle says whether the run waits only for what takes its time.
func (w *walker) settle() {
	status := Waiting
	for key, e := range w.state.Steps {
		if t := w.task(key); e.Status == Waiting && (t == nil || t.Kind == workflow.KindAction) {
			status = Running
		}
	}
	if w.state.Status != status && w.changed {
		w.state.Status = status
		w.note("", status, nil)
	}
}

// fail goes on with on_error, or ends the run.
func (w *walker) fail(f *Failure) {
	w.changed = true
	if len(w.program.OnError) == 0 {
		w.finish(Failed, "", f)
		return
	}
	w.do(Release{ID: w.lifetimeID()})
	w.state.Error = f
	w.state.Deadline = w.now.Add(min(w.program.Timeout, 24*time.Hour))
	w.lifetime()
	w.walk()
}

func (w *walker) finish(status Status, reason string, f *Failure) {
	s := w.state
	w.changed = true
	if !s.Started.IsZero() {
		w.do(Release{ID: w.lifetimeID()})
	}
	s.Status, s.Reason, s.Error, s.Ended = status, reason, f, w.now
	w.note("", status, f)
	s.Told[len(s.Told)-1].Reason = reason
}

// note adds to the history.
func (w *walker) note(step string, status Status, f *Failure) {
	s := w.state
	id := strconv.Itoa(s.N+1) + "." + strconv.Itoa(len(s.Told))
	s.Told = append(s.Told, Note{ID: id, At: w.now, Step: step, Status: status, Error: f})
}

// task finds the step of an entry by the last part of its key.
func (w *walker) task(key string) *workflow.Task {
	return w.program.Task(key[strings.LastIndexByte(key, '.')+1:])
}
