package runs

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/plugfn/plugfn/internal/tracing"
	"github.com/plugfn/plugfn/pkg/events"
	"github.com/plugfn/plugfn/pkg/providers/expression"
	"github.com/plugfn/plugfn/pkg/workflow"
	"github.com/plugfn/plugfn/services/scheduler/runs/machine"
)

// maxDepth is how many runs may lead to each other.
const maxDepth = 8

// start is what a run is to begin with.
type start struct {
	Cause  Cause           `json:"cause"`
	Event  json.RawMessage `json:"event,omitempty"` // as expressions see it
	Input  json.RawMessage `json:"input,omitempty"`
	Depth  int             `json:"depth,omitempty"`
	Parent *parent         `json:"parent,omitempty"`
	Trace  string          `json:"trace,omitempty"` // what led to it, as it travels
	Seen   uint64          `json:"seen,omitempty"`  // the event that starts it
	Place  uint64          `json:"place,omitempty"` // when it was asked for, in nanoseconds
}

// refusal is why a run is not started. To try again would not help.
type refusal struct{ why, message string }

func (r *refusal) Error() string { return r.message }

// The reasons, as they stand in the subjects of dead letters.
const (
	whyGone     = "no_workflow"
	whyDisabled = "disabled"
	whyLoop     = "loop"
	whyQuota    = "quota"
)

// startStored starts the run of a stored message. One that may not be started is a
// dead letter, and whoever waits for it is told.
func (s *Service) startStored(ctx context.Context, m *signalMessage) error {
	w, err := s.startable(ctx, m.User, m.Workflow)
	if err == nil {
		_, err = s.start(ctx, w, m, false)
	}
	refused := (*refusal)(nil)
	if !errors.As(err, &refused) {
		return err
	}
	s.Log.Warn().Str("workflow", m.Workflow).Str("run", m.Run).Str("why", refused.why).Msg("run not started")
	if p := m.Start.Parent; p != nil {
		sig := machine.Signal{Kind: machine.Child, ID: p.ID, Error: &machine.Failure{Code: refused.why, Message: refused.message}}
		return s.send(ctx, &signalMessage{User: m.User, Workflow: p.Workflow, Run: p.Run, Signal: &sig}, m.Run+":refused")
	}
	return s.buryStart(ctx, m, refused)
}

// startable is the workflow of a name as it is today; a *refusal when no run of it
// may be started.
func (s *Service) startable(ctx context.Context, user, name string) (Workflow, error) {
	w, err := s.Definitions.Program(ctx, user, name, 0)
	switch {
	case errors.Is(err, ErrNoWorkflow):
		return w, &refusal{whyGone, "there is no workflow " + name + "; see: plugfn workflow list"}
	case err != nil:
		return w, fmt.Errorf("getting workflow %s: %w", name, err)
	case !w.Enabled:
		return w, &refusal{whyDisabled, "workflow " + name + " is not enabled; see: plugfn workflow enable " + name}
	}
	return w, nil
}

// start starts a run, once for each id. What it returns is how it stands. It is a
// *refusal where it may not be started. counted says that the quota has it.
func (s *Service) start(ctx context.Context, w Workflow, m *signalMessage, counted bool) (*record, error) {
	ctx, span := s.Tracer.From(ctx, tracing.Works, "run", "", m.Start.Trace)
	defer span.End()
	span.Set("plugfn.run", m.Run)
	span.Set("plugfn.user", m.User)
	span.Set("plugfn.workflow", m.Workflow)
	key, _ := keyOf(m.User, m.Run)
	defer s.locks.take(key)()
	if known, ok := s.store.recent.get(key); ok && known.record != nil {
		return s.carryOn(ctx, key, m)
	}
	if m.Start.Depth > maxDepth {
		return nil, &refusal{whyLoop, fmt.Sprintf("%d runs have led to each other: that is taken for a loop", m.Start.Depth)}
	}
	if !counted {
		if err := s.mayStart(ctx, m.User); err != nil {
			if r, known := s.carryOn(ctx, key, m); known == nil {
				return r, nil // it has its place already
			}
			return nil, err
		}
	}
	r, effects, err := s.begin(ctx, w, m)
	if err != nil {
		return nil, err
	}
	h, follow, err := s.commit(ctx, w.Program, r, 0, effects)
	if errors.Is(err, errTaken) {
		return s.carryOn(ctx, key, m)
	}
	if err != nil {
		s.store.recent.drop(key)
		return nil, err
	}
	s.steps.began(m.User, r.State.Begun, s.Now())
	if r.State.Status == machine.Pending {
		admitted, err := s.enter(ctx, w.Program, r)
		if err != nil {
			s.store.recent.drop(key)
			return nil, err
		}
		if admitted {
			follow = append(follow, machine.Signal{Kind: machine.Begin})
		} else if err := s.tellPending(ctx, r); err != nil {
			s.store.recent.drop(key)
			return nil, err
		}
	}
	if err := s.tellParent(ctx, r); err != nil {
		return nil, err
	}
	if len(follow) == 0 {
		return h.record, nil
	}
	return s.giveAll(ctx, key, follow)
}

// mayStart counts one more run of a user; it is a *refusal where a quota is used
// up.
func (s *Service) mayStart(ctx context.Context, user string) error {
	if err := s.steps.room(user, s.Now()); err != nil {
		return err
	}
	return s.quota.take(ctx, s, user)
}

// carryOn goes on with a run that is there already.
func (s *Service) carryOn(ctx context.Context, key string, m *signalMessage) (*record, error) {
	r, err := s.giveAll(ctx, key, []machine.Signal{nudge()})
	if err != nil {
		return nil, err
	}
	return r, s.tellParent(ctx, r)
}

// begin makes the record of a run: begun, unless it has to wait for its turn.
func (s *Service) begin(ctx context.Context, w Workflow, m *signalMessage) (*record, []machine.Effect, error) {
	state, effects, err := machine.New(w.Program, machine.Start{
		Run: m.Run, Workflow: m.Workflow, User: m.User, Version: w.Version, Event: m.Start.Event, Input: m.Start.Input,
	})
	if err != nil {
		return nil, nil, err
	}
	now := s.Now().UTC()
	r := &record{
		State: state, Cause: m.Start.Cause, Parent: m.Start.Parent, Depth: m.Start.Depth, Seen: m.Start.Seen, Place: m.Start.Place,
		Nonce: rand.Text(), CreatedAt: now, Trace: tracing.Parent(ctx),
	}
	if r.Seen == 0 && waitsForEvents(w.Program) {
		if r.Seen, err = s.lastEvent(ctx); err != nil {
			return nil, nil, err
		}
	}
	if w.Program.Definition.Concurrency != nil {
		if r.Turn, err = s.turnOf(w.Program, r, m.Start); err != nil {
			failed, more := machine.Abandon(state, &machine.Failure{Code: machine.CodeExpression, Message: err.Error()}, now)
			r.State, r.Turn, effects = failed, "", append(effects, more...)
			r.Kept, err = s.keep(ctx, r, effects)
			return r, effects, err
		}
		r.Kept, err = s.keep(ctx, r, effects)
		return r, effects, err
	}
	given := machine.Payloads{}
	for _, e := range effects {
		if k, ok := e.(machine.Keep); ok {
			given[k.Ref] = k.Data
		}
	}
	if r.Kept, err = s.keep(ctx, r, effects); err != nil {
		return nil, nil, err
	}
	var more []machine.Effect
	err = s.withPayloads(ctx, r, given, func(values machine.Payloads) (err error) {
		r.State, more, err = machine.Advance(w.Program, state, machine.Signal{Kind: machine.Begin}, now, values)
		return err
	})
	if err != nil {
		return nil, nil, err
	}
	shrunk, kept := machine.Shrink(r.State, maxRecord)
	r.State, more = shrunk, append(more, kept...)
	r.Kept, err = s.keep(ctx, r, more)
	return r, more, err
}

func waitsForEvents(p *workflow.Program) bool {
	for _, id := range p.IDs() {
		if p.Task(id).Kind == workflow.KindWaitFor {
			return true
		}
	}
	return false
}

// lastEvent is the sequence of the event that was stored last.
func (s *Service) lastEvent(ctx context.Context) (uint64, error) {
	stream, err := s.JetStream.Stream(ctx, events.StreamEvents)
	if err != nil {
		return 0, fmt.Errorf("looking for the last event: %w", err)
	}
	return stream.CachedInfo().State.LastSeq, nil
}

// keyValues are what the key of a concurrency sees.
func keyValues(r *record, st *start, now any) (workflow.Values, error) {
	values := workflow.Values{"now": now, "run": map[string]any{
		"id": r.State.Run, "workflow": r.State.Workflow, "user": r.State.User, "version": r.State.Version,
		"started_at": r.CreatedAt.Format("2006-01-02T15:04:05.999999999Z07:00"),
	}}
	for name, data := range map[string]json.RawMessage{"event": st.Event, "input": st.Input} {
		v, err := decodeValue(data)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		values[name] = v
	}
	return values, nil
}

func decodeValue(data json.RawMessage) (any, error) {
	if len(data) == 0 {
		return nil, nil
	}
	v, err := expression.Decode(data)
	if object, ok := v.(map[string]any); ok && object["data"] != nil {
		object["raw"] = object["data"]
	}
	return v, err
}
