package runs

import (
	"context"
	"errors"
	"slices"

	"github.com/plugfn/plugfn/pkg/events"
	"github.com/plugfn/plugfn/services/scheduler/runs/machine"
)

// maxHistory is how many transitions of a run are shown: the first ones.
const maxHistory = 2_000

// history is what happened to a run, in its order. Of long runs, and of those that
// began more than seven days ago, it is not all.
func (s *Service) history(ctx context.Context, r *record) ([]events.RunChange, error) {
	var all []events.RunChange
	for _, state := range []machine.Status{
		machine.Pending, machine.Running, machine.Waiting, machine.Completed, machine.Failed, machine.Canceled,
	} {
		subject := events.RunSubject(r.State.User, r.State.Workflow, string(state), r.State.Run)
		for sequence := uint64(1); len(all) < maxHistory; {
			m, err := s.store.ask(ctx, events.StreamRuns, messageRequest{Sequence: sequence, NextFor: subject})
			if errors.Is(err, errNone) {
				break
			}
			if err != nil {
				return nil, err
			}
			sequence = m.sequence + 1
			if c, err := events.ParseRunChange(m.Data); err == nil {
				all = append(all, c)
			}
		}
	}
	slices.SortStableFunc(all, func(a, b events.RunChange) int { return a.Number - b.Number })
	return slices.CompactFunc(all, func(a, b events.RunChange) bool { return a.Number == b.Number }), nil
}
