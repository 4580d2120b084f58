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
	if err := s.quota.take(ctx, s, m.User); err != nil {
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
