package runs

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/plugfn/plugfn/internal/bus"
	"github.com/plugfn/plugfn/internal/tracing"
	"github.com/plugfn/plugfn/pkg/events"
	"github.com/plugfn/plugfn/pkg/workflow"
	"github.com/plugfn/plugfn/services/scheduler/runs/machine"
)

// requestAge is when a request for an action is given up that has no deadline.
const requestAge = 24 * time.Hour

// performing is the effects of one transition while they are done. Those that
// store something are done at the same time.
type performing struct {
	*Service
	*record
	ctx    context.Context //nolint:containedctx // it lives as long as one call
	acks   []jetstream.PubAckFuture
	at     sync.WaitGroup
	mu     sync.Mutex
	faults []error
	follow []machine.Signal
}

// perform does the effects of a record that is written, but those that keep
// values. It returns the signals that are there at once. The program may be nil
// where no step is begun.
func (s *Service) perform(ctx context.Context, p *workflow.Program, r *record, effects []machine.Effect) ([]machine.Signal, error) {
	do := &performing{Service: s, record: r, ctx: ctx}
	tells := false
	for _, e := range effects {
		switch e := e.(type) {
		case machine.Act:
			do.act(e)
		case machine.SetTimer:
			do.timer(e)
		case machine.Register:
			do.at.Go(func() { do.register(e) })
		case machine.StartRun:
			do.call(e)
		case machine.Release:
			do.letGo(p, e)
		case machine.Tell:
			tells = true
		}
	}
	if tells {
		do.tell()
	}
	if r.State.Status.Ended() {
		do.at.Go(func() { do.fault(s.ended(ctx, r)) })
	}
	return do.end()
}

func (do *performing) fault(err error) {
	if err == nil {
		return
	}
	do.mu.Lock()
	defer do.mu.Unlock()
	do.faults = append(do.faults, err)
}

func (do *performing) then(sig ...machine.Signal) {
	do.mu.Lock()
	defer do.mu.Unlock()
	do.follow = append(do.follow, sig...)
}

// end waits until all is done.
func (do *performing) end() ([]machine.Signal, error) {
	do.at.Wait()
	for _, ack := range do.acks {
		select {
		case <-ack.Ok():
		case err := <-ack.Err():
			do.fault(err)
		case <-do.ctx.Done():
			do.fault(do.ctx.Err())
		}
	}
	if len(do.faults) > 0 {
		return nil, fmt.Errorf("going on with run %s: %w", do.State.Run, errors.Join(do.faults...))
	}
	return do.follow, nil
}

// publish stores a message once, whoever publishes it.
func (do *performing) publish(msg *nats.Msg, stream, id string) {
	msg.Header.Set(jetstream.MsgIDHeader, do.messageID(id))
	ack, err := do.JetStream.PublishMsgAsync(msg, jetstream.WithExpectStream(stream), jetstream.WithStallWait(5*time.Second))
	if err != nil {
		do.fault(err)
		return
	}
	do.acks = append(do.acks, ack)
}

func (do *performing) act(e machine.Act) {
	request := events.ActionRequest{
		ID: requestID(do.State.Run, e.ID), UserID: do.State.User, Provider: e.Provider, Action: e.Action, ConnectionID: e.Connection,
		Params: e.Params, Timeout: e.Timeout, MaxAttempts: e.MaxAttempts, MaxPages: e.Pages, CausationID: do.State.Run,
		TraceParent: do.trace(),
	}
	if do.State.Deadline.Sub(do.State.At) < requestAge {
		request.Deadline = do.State.Deadline
	}
	do.publish(request.Msg(request.Subject()), events.StreamActions, request.ID)
}

// trace is the span that what the run asks for is below.
func (do *performing) trace() string { return cmp.Or(tracing.Parent(do.ctx), do.Trace) }

// timer parks a signal until it is due.
func (do *performing) timer(e machine.SetTimer) {
	sig := machine.Signal{Kind: machine.Timer, ID: e.ID}
	if !e.At.After(do.Now()) {
		do.then(sig)
		return
	}
	do.at.Go(func() {
		m := signalMessage{User: do.State.User, Workflow: do.State.Workflow, Run: do.State.Run, Signal: &sig}
		body, err := m.encode()
		if err == nil {
			err = do.Parking.Park(do.ctx, bus.Later{
				Kind: bus.KindRun, User: do.State.User, ID: requestID(do.State.Run, e.ID), At: e.At, Target: m.subject(), Data: body,
			})
		}
		do.fault(err)
	})
}

// register has the run hear of events, those that came since it began among them.
func (do *performing) register(e machine.Register) {
	w := wait{
		User: do.State.User, Workflow: do.State.Workflow, Run: do.State.Run, ID: e.ID, Provider: e.Provider, Events: e.Events, Seen: do.Seen,
	}
	if err := do.waits.add(do.ctx, w); err != nil {
		do.fault(err)
		return
	}
	found, err := do.since(do.ctx, w)
	do.fault(err)
	do.then(found...)
}

// call has a run of another workflow started.
func (do *performing) call(e machine.StartRun) {
	cause := Cause{Kind: ByCall, ID: do.State.Run, Source: e.ID}
	do.send(signalMessage{
		User: do.State.User, Workflow: e.Workflow, Run: derivedID(do.State.User, e.Workflow, cause),
		Start: &start{
			Cause: cause, Trace: do.trace(), Input: e.Input, Depth: do.Depth + 1,
			Parent: &parent{Run: do.State.Run, Workflow: do.State.Workflow, ID: e.ID, Wait: e.Wait},
		},
	}, "call:"+e.ID)
}

// send stores a signal for another run.
func (do *performing) send(m signalMessage, id string) {
	msg, err := do.message(do.ctx, &m)
	if err != nil {
		do.fault(err)
		return
	}
	do.publish(msg, events.StreamRuns, id)
}

// letGo gives up what is not needed any more. What is only a matter of space is
// done later, if at all.
func (do *performing) letGo(p *workflow.Program, e machine.Release) {
	var task *workflow.Task
	if p != nil {
		task = p.Task(machine.Step(e.ID))
	}
	if !e.Run {
		waits := task != nil && task.Kind == workflow.KindWaitFor && !strings.HasSuffix(e.ID, "~timeout")
		do.releases.want(release{user: do.State.User, run: do.State.Run, id: e.ID, timer: !waits})
		return
	}
	if task == nil || task.Call == nil {
		return
	}
	cause := Cause{Kind: ByCall, ID: do.State.Run, Source: e.ID}
	do.send(signalMessage{
		User: do.State.User, Workflow: task.Call.Workflow, Run: derivedID(do.State.User, task.Call.Workflow, cause),
		Signal: &machine.Signal{Kind: machine.Cancel, Reason: "the run that called it does not wait any more"},
	}, "release:"+e.ID)
}

// tell adds the last transition to the history.
func (do *performing) tell() {
	msg, err := do.change().Msg()
	if err != nil {
		do.fault(err)
		return
	}
	do.publish(msg, events.StreamRuns, "told:"+strconv.Itoa(do.State.N))
}

// change is the last transition as the history has it.
func (r *record) change() *events.RunChange {
	s := r.State
	c := &events.RunChange{
		Run: s.Run, Workflow: s.Workflow, UserID: s.User, Version: s.Version, Number: s.N, State: string(s.Status), Reason: s.Reason,
		Try: s.Try, At: s.At, StartedAt: s.Started, EndedAt: s.Ended, DurationMS: elapsed(s.Started, s.Ended),
	}
	if s.Status.Ended() {
		c.Error = runError(s.Error)
		if s.Output != nil && s.Status == machine.Completed {
			c.Output = s.Output.JSON
		}
	}
	for _, n := range s.Told {
		if n.Step != "" {
			c.Steps = append(c.Steps, events.StepChange{Step: n.Step, State: string(n.Status), Error: runError(n.Error)})
		}
	}
	return c
}

func runError(f *machine.Failure) *events.RunError {
	if f == nil {
		return nil
	}
	return &events.RunError{Step: f.Step, Code: f.Code, Message: f.Message}
}
