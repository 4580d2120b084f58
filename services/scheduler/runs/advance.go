package runs

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/plugfn/plugfn/internal/tracing"
	"github.com/plugfn/plugfn/pkg/events"
	"github.com/plugfn/plugfn/pkg/workflow"
	"github.com/plugfn/plugfn/services/scheduler/runs/machine"
)

// give gives signals to the run at key, and returns it as it is then. After nil
// all that follows from them is stored and asked for. After an error they have to
// be given again.
func (s *Service) give(ctx context.Context, key string, signals ...machine.Signal) (*record, error) {
	defer s.locks.take(key)()
	return s.giveAll(ctx, key, signals)
}

// giveAll is give for who has the lock.
func (s *Service) giveAll(ctx context.Context, key string, signals []machine.Signal) (*record, error) {
	var r *record
	for tries := 0; len(signals) > 0; {
		next, follow, err := s.giveOne(ctx, key, signals[0])
		switch {
		case errors.Is(err, errTaken) && tries < maxTries:
			tries++
			continue
		case err != nil:
			s.store.recent.drop(key) // what follows from its last transition may be undone
			return nil, err
		}
		r, tries = next, 0
		signals = append(follow, signals[1:]...)
	}
	return r, nil
}

// nudge is a signal that no run waits for. To give it does what is left of the
// last transition.
func nudge() machine.Signal { return machine.Signal{Kind: machine.Timer, ID: "~"} }

// giveOne gives one signal. The signals that follow from it are to be given next.
func (s *Service) giveOne(ctx context.Context, key string, sig machine.Signal) (*record, []machine.Signal, error) {
	h, err := s.store.get(ctx, key, false)
	if err == nil {
		err = s.reach(stepRead, h.State.Run)
	}
	if err != nil {
		return nil, nil, err
	}
	ctx, span := s.step(ctx, h.record)
	defer span.End()
	p, err := s.Definitions.Program(ctx, h.State.User, h.State.Workflow, h.State.Version)
	problems := workflow.Problems(nil)
	switch {
	case errors.Is(err, ErrNoWorkflow):
		return s.abandon(ctx, h, fmt.Sprintf("version %d of the workflow is not kept any more", h.State.Version))
	case errors.As(err, &problems):
		return s.abandon(ctx, h, fmt.Sprintf("version %d of the workflow does not fit the providers any more", h.State.Version))
	}
	if err != nil {
		return nil, nil, fmt.Errorf("getting the program of run %s: %w", h.State.Run, err)
	}
	r, follow, err := s.goOn(ctx, key, p.Program, h, sig)
	if errors.Is(err, events.ErrPayloadGone) {
		return s.abandon(ctx, h, "a value of the run is not stored any more: one over 64 KiB is kept while the run goes on, and three days longer")
	}
	return r, follow, err
}

// step is one advance of a run in its trace. What brought the signal may be part of
// another, and has a link then.
func (s *Service) step(ctx context.Context, r *record) (context.Context, tracing.Span) {
	from := tracing.Parent(ctx)
	ctx, span := s.Tracer.From(ctx, tracing.Works, "step", "", cmp.Or(r.Trace, from))
	if from != r.Trace {
		span.Link(from)
	}
	span.Set("plugfn.run", r.State.Run)
	span.Set("plugfn.workflow", r.State.Workflow)
	return ctx, span
}

// goOn gives a signal to a record, whose effects are done before.
func (s *Service) goOn(ctx context.Context, key string, p *workflow.Program, h held, sig machine.Signal) (*record, []machine.Signal, error) {
	if !h.settled {
		follow, err := s.settle(ctx, p, h)
		if err != nil {
			return nil, nil, err
		}
		if len(follow) > 0 {
			return h.record, append(follow, sig), nil
		}
	}
	next, effects, kept, err := s.advance(ctx, p, h.record, sig)
	if err != nil {
		return nil, nil, err
	}
	if next == h.State {
		return s.unchanged(ctx, key, h, sig)
	}
	r := *h.record
	r.State = next
	r.Kept = kept
	if h.State.Status.Ended() && len(kept) > 0 { // it is tried again
		if err := s.keepLonger(ctx, &r); err != nil {
			return nil, nil, err
		}
	}
	written, follow, err := s.commit(ctx, p, &r, h.revision, effects)
	if err != nil {
		return nil, nil, err
	}
	s.steps.began(r.State.User, next.Begun-h.State.Begun, s.Now())
	return written.record, follow, nil
}

// unchanged deals with a signal that nothing waits for. Only the last state of the
// record can say that.
func (s *Service) unchanged(ctx context.Context, key string, h held, sig machine.Signal) (*record, []machine.Signal, error) {
	if h.fresh {
		return h.record, nil, nil
	}
	last, err := s.store.get(ctx, key, true)
	if err != nil {
		return nil, nil, err
	}
	if last.revision == h.revision {
		return h.record, nil, nil
	}
	return last.record, []machine.Signal{sig}, nil
}

// advance is machine.Advance with the values that the state has by reference.
func (s *Service) advance(ctx context.Context, p *workflow.Program, r *record, sig machine.Signal) (*machine.State, []machine.Effect, map[string]int64, error) {
	var next *machine.State
	var effects []machine.Effect
	err := s.withPayloads(ctx, r, nil, func(values machine.Payloads) (err error) {
		next, effects, err = machine.Advance(p, r.State, sig, s.Now(), values)
		return err
	})
	if err != nil || next == r.State {
		return next, effects, r.Kept, err
	}
	next, more := machine.Shrink(next, maxRecord)
	effects = append(effects, more...)
	kept, err := s.keep(ctx, r, effects)
	return next, effects, kept, err
}

// withPayloads calls do with more and more of the values that it misses.
func (s *Service) withPayloads(ctx context.Context, r *record, values machine.Payloads, do func(machine.Payloads) error) error {
	for {
		err := do(values)
		missing := (*machine.MissingPayloads)(nil)
		if !errors.As(err, &missing) {
			return err
		}
		if values == nil {
			values = machine.Payloads{}
		}
		for _, ref := range missing.Refs {
			data, err := s.value(ctx, r, ref)
			if err != nil {
				return err
			}
			values[ref] = data
		}
	}
}

// commit writes a record and does the effects of its transition.
func (s *Service) commit(ctx context.Context, p *workflow.Program, r *record, revision uint64, effects []machine.Effect) (held, []machine.Signal, error) {
	h, err := s.store.put(ctx, r, revision, s.Keep)
	if err != nil {
		return held{}, nil, err
	}
	if err := s.reach(stepWritten, r.State.Run); err != nil {
		return held{}, nil, err
	}
	follow, err := s.perform(ctx, p, r, effects)
	if err != nil {
		return held{}, nil, err
	}
	s.store.settled(r.key(), h)
	return h, follow, s.reach(stepDone, r.State.Run)
}

// settle does the effects of a record that was written by somebody who may have
// ended before he did them.
func (s *Service) settle(ctx context.Context, p *workflow.Program, h held) ([]machine.Signal, error) {
	var effects []machine.Effect
	err := s.withPayloads(ctx, h.record, nil, func(values machine.Payloads) (err error) {
		effects, err = machine.Again(p, h.State, values)
		return err
	})
	if err != nil {
		return nil, err
	}
	follow, err := s.perform(ctx, p, h.record, effects)
	if err != nil {
		return nil, err
	}
	if h.State.Status == machine.Pending {
		admitted, err := s.enter(ctx, p, h.record)
		if err != nil {
			return nil, err
		}
		switch {
		case admitted:
			follow = append(follow, machine.Signal{Kind: machine.Begin})
		default:
			if err := s.tellPending(ctx, h.record); err != nil {
				return nil, err
			}
		}
	}
	s.store.settled(h.key(), h)
	return follow, nil
}

// abandon ends a run whose definition is of no use any more.
func (s *Service) abandon(ctx context.Context, h held, why string) (*record, []machine.Signal, error) {
	failure := &machine.Failure{Code: string(events.CodeInternal), Message: why}
	next, effects := machine.Abandon(h.State, failure, s.Now())
	if len(effects) == 0 {
		if h.settled {
			return h.record, nil, nil
		}
		effects = told(h.State)
	}
	r := *h.record
	r.State = next
	s.Log.Error().Str("run", next.Run).Str("workflow", next.Workflow).Int("version", next.Version).Str("why", why).Msg("run given up")
	if err := s.bury(ctx, &r, "definition_gone", failure.Message); err != nil {
		return nil, nil, err
	}
	if next == h.State {
		if _, err := s.perform(ctx, nil, &r, effects); err != nil {
			return nil, nil, err
		}
		s.store.settled(r.key(), h)
		return &r, nil, nil
	}
	_, _, err := s.commit(ctx, nil, &r, h.revision, effects)
	return &r, nil, err
}

func told(state *machine.State) []machine.Effect {
	var all []machine.Effect
	for _, n := range state.Told {
		all = append(all, machine.Tell{Note: n})
	}
	return all
}

// elapsed is the time from one moment to another in whole milliseconds; 0 where
// one of them is not known.
func elapsed(from, to time.Time) int64 {
	if from.IsZero() || to.IsZero() {
		return 0
	}
	return to.Sub(from).Milliseconds()
}
