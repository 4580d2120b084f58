package runs

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/plugfn/plugfn/pkg/events"
	"github.com/plugfn/plugfn/services/scheduler/runs/machine"
)

// ended does what follows from the end of a run for others: it may be done again.
func (s *Service) ended(ctx context.Context, r *record) error {
	s.quota.ended(r.State.User)
	err := s.answer(ctx, r)
	if r.Turn != "" {
		limit := 1
		w, gone := s.Definitions.Program(ctx, r.State.User, r.State.Workflow, r.State.Version)
		if gone == nil && w.Program.Definition.Concurrency != nil {
			limit = w.Program.Definition.Concurrency.Limit
		}
		err = errors.Join(err, s.leave(ctx, r, limit))
	}
	return errors.Join(err, s.startFollowers(ctx, r))
}

// answer tells the run that waits for this one how it has ended.
func (s *Service) answer(ctx context.Context, r *record) error {
	p := r.Parent
	if p == nil || !p.Wait {
		return nil
	}
	sig := machine.Signal{Kind: machine.Child, ID: p.ID}
	switch r.State.Status {
	case machine.Completed:
		output, err := s.output(ctx, r)
		if err != nil {
			return err
		}
		sig.Data = output
	case machine.Canceled:
		sig.Error = &machine.Failure{Code: machine.CodeCanceled, Message: "run " + r.State.Run + " was canceled"}
	default:
		f := r.State.Error
		sig.Error = &machine.Failure{Code: f.Code, Message: "run " + r.State.Run + ": " + f.Message}
	}
	m := signalMessage{User: r.State.User, Workflow: p.Workflow, Run: p.Run, Signal: &sig}
	return s.send(ctx, &m, r.messageID("answer:"+strconv.Itoa(r.State.Try)))
}

// tellParent tells the run that started this one, and does not wait for its end,
// that it is there.
func (s *Service) tellParent(ctx context.Context, r *record) error {
	p := r.Parent
	if p == nil || p.Wait {
		return nil
	}
	data, err := json.Marshal(map[string]string{"run": r.State.Run})
	if err != nil {
		return err
	}
	sig := machine.Signal{Kind: machine.Child, ID: p.ID, Data: data}
	m := signalMessage{User: r.State.User, Workflow: p.Workflow, Run: p.Run, Signal: &sig}
	return s.send(ctx, &m, r.messageID("there"))
}

// output is what a run responded; null where it did not.
func (s *Service) output(ctx context.Context, r *record) (json.RawMessage, error) {
	if r.State.Output == nil {
		return json.RawMessage("null"), nil
	}
	return s.json(ctx, r, *r.State.Output)
}

// json is a value of a run, wherever it is.
func (s *Service) json(ctx context.Context, r *record, v machine.Value) (json.RawMessage, error) {
	if v.Ref == "" {
		return v.JSON, nil
	}
	return s.value(ctx, r, v.Ref)
}

// startFollowers starts runs of the workflows that are triggered by this end.
func (s *Service) startFollowers(ctx context.Context, r *record) error {
	state := r.State
	all, err := s.Definitions.OnRun(ctx, state.User, state.Workflow, state.Status)
	if err != nil || len(all) == 0 {
		return err
	}
	output, err := s.output(ctx, r)
	if err != nil {
		return err
	}
	event, err := json.Marshal(map[string]any{"data": map[string]any{
		"run": state.Run, "workflow": state.Workflow, "state": state.Status, "output": output, "error": state.Error,
	}})
	if err != nil {
		return fmt.Errorf("telling the end of run %s: %w", state.Run, err)
	}
	for _, w := range all {
		cause := Cause{Kind: ByRun, ID: state.Run}
		if state.Try > 0 {
			cause.Source = strconv.Itoa(state.Try)
		}
		m := signalMessage{
			User: state.User, Workflow: w.Name, Run: derivedID(state.User, w.Name, cause),
			Start: &start{Cause: cause, Event: event, Depth: r.Depth + 1},
		}
		if err := s.send(ctx, &m, r.messageID("follower:"+m.Run)); err != nil {
			return err
		}
	}
	return nil
}

// tellPending adds to the history that a run waits for its turn.
func (s *Service) tellPending(ctx context.Context, r *record) error {
	c := r.change()
	c.At = r.CreatedAt
	msg, err := c.Msg()
	if err != nil {
		return err
	}
	msg.Header.Set(jetstream.MsgIDHeader, r.messageID("told:0"))
	_, err = s.JetStream.PublishMsg(ctx, msg, jetstream.WithExpectStream(events.StreamRuns))
	return err
}

// bury makes a dead letter of a run that cannot go on. Its body is the record.
func (s *Service) bury(ctx context.Context, r *record, why, reason string) error {
	body, err := json.Marshal(r.State)
	if err != nil {
		return err
	}
	return s.dead(ctx, r.State.User, r.State.Workflow, why, reason, r.messageID("dead:"+why), body)
}

// buryStart makes a dead letter of a run that was not started. Its body is what it
// would have begun with.
func (s *Service) buryStart(ctx context.Context, m *signalMessage, refused *refusal) error {
	body, err := m.encode()
	if err != nil {
		return err
	}
	return s.dead(ctx, m.User, m.Workflow, refused.why, refused.message, m.Run+":dead", body)
}

func (s *Service) dead(ctx context.Context, user, workflow, why, reason, id string, body []byte) error {
	msg := &nats.Msg{Subject: events.DeadSubject("run", user, workflow, why), Data: body, Header: nats.Header{}}
	msg.Header.Set(events.HeaderReason, reason)
	msg.Header.Set(jetstream.MsgIDHeader, id)
	msg, err := s.payloads.Offload(ctx, msg)
	if err != nil {
		return err
	}
	if _, err := s.JetStream.PublishMsg(ctx, msg, jetstream.WithExpectStream(events.StreamDead)); err != nil {
		return fmt.Errorf("keeping a dead letter: %w", err)
	}
	return nil
}
