package runs

import (
	"context"
	"encoding/json"
	"errors"

	"github.com/plugfn/plugfn/services/scheduler/runs/machine"
)

// startByHand starts a run: one for each key, or one for each call where that is
// "".
func (s *Service) startByHand(ctx context.Context, user, workflow, key string, input json.RawMessage) (*record, error) {
	w, err := s.startable(ctx, user, workflow)
	if err != nil {
		return nil, err
	}
	cause := Cause{Kind: ByHand, ID: key}
	m := &signalMessage{User: user, Workflow: workflow, Run: newID(workflow), Start: &start{
		Cause: cause, Input: input, Place: uint64(s.Now().UnixNano()),
	}}
	if key != "" {
		m.Run = derivedID(user, workflow, cause)
	}
	return s.startNow(ctx, w, m)
}

// startNow has a run started whatever happens, and starts it.
func (s *Service) startNow(ctx context.Context, w Workflow, m *signalMessage) (*record, error) {
	if err := s.mayStart(ctx, m.User); err != nil {
		return nil, err
	}
	if err := s.send(ctx, m, m.Run+":start"); err != nil {
		return nil, err
	}
	return s.start(ctx, w, m, true)
}

// tell gives a signal to a run, whatever happens, and returns it as it is then.
func (s *Service) tell(ctx context.Context, r *record, sig machine.Signal) (*record, error) {
	m := &signalMessage{User: r.State.User, Workflow: r.State.Workflow, Run: r.State.Run, Signal: &sig}
	if err := s.send(ctx, m, ""); err != nil {
		return nil, err
	}
	return s.give(ctx, r.key(), sig)
}

// find is a run of a user, or for "" of whoever has it.
func (s *Service) find(ctx context.Context, user, run string) (*record, error) {
	key, ok := keyOf(user, run)
	if user == "" {
		if key, ok = keyOf("*", run); ok {
			found := ""
			err := s.heads(ctx, key, func(h head) bool { found = h.key; return false })
			if err != nil {
				return nil, err
			}
			key, ok = found, found != ""
		}
	}
	if !ok {
		return nil, errNone
	}
	h, err := s.store.get(ctx, key, true)
	if err != nil {
		return nil, err
	}
	return h.record, nil
}

var errNotFailed = errors.New("only a run that has failed can be retried")

// cancel ends a run. One that has ended stays as it is.
func (s *Service) cancel(ctx context.Context, user, run, reason string) (*record, error) {
	r, err := s.find(ctx, user, run)
	if err != nil || r.State.Status.Ended() {
		return r, err
	}
	return s.tell(ctx, r, machine.Signal{Kind: machine.Cancel, Reason: reason})
}

// retry goes on with a run from the step that failed.
func (s *Service) retry(ctx context.Context, user, run string) (*record, error) {
	r, err := s.find(ctx, user, run)
	if err != nil {
		return nil, err
	}
	if r.State.Status != machine.Failed {
		return nil, errNotFailed
	}
	return s.tell(ctx, r, machine.Signal{Kind: machine.Retry, Try: r.State.Try + 1})
}

// replay starts a run with what another one began with, of the workflow as it is
// today.
func (s *Service) replay(ctx context.Context, user, run, key string) (*record, error) {
	old, err := s.find(ctx, user, run)
	if err != nil {
		return nil, err
	}
	w, err := s.startable(ctx, old.State.User, old.State.Workflow)
	if err != nil {
		return nil, err
	}
	event, err := s.json(ctx, old, old.State.Event)
	if err != nil {
		return nil, err
	}
	input, err := s.json(ctx, old, old.State.Input)
	if err != nil {
		return nil, err
	}
	cause := Cause{Kind: ByReplay, ID: run, Source: key}
	m := &signalMessage{User: old.State.User, Workflow: w.Name, Run: newID(w.Name), Start: &start{
		Cause: cause, Event: event, Input: input, Place: uint64(s.Now().UnixNano()),
	}}
	if key != "" {
		m.Run = derivedID(m.User, w.Name, cause)
	}
	return s.startNow(ctx, w, m)
}
