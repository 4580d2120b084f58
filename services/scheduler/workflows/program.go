package workflows

import (
	"context"
	"errors"
	"fmt"

	"github.com/plugfn/plugfn/pkg/workflow"
	"github.com/plugfn/plugfn/services/scheduler/runs"
	"github.com/plugfn/plugfn/services/scheduler/runs/machine"
)

// Program returns a version of a workflow; 0 stands for the one of today. It is
// runs.ErrNoWorkflow where there is none. Versions are there for as long as a run
// of them may go on.
func (s *Service) Program(ctx context.Context, user, name string, version int) (runs.Workflow, error) {
	known := s.index.known(user, name)
	if version > 0 {
		p, err := s.compiled(ctx, user, name, version)
		return runs.Workflow{Name: name, Version: version, Enabled: known != nil && known.status == Enabled, Program: p}, err
	}
	if err := s.mirror.CaughtUp(ctx); err != nil {
		return runs.Workflow{}, err
	}
	if known = s.index.known(user, name); known == nil {
		return runs.Workflow{}, runs.ErrNoWorkflow
	}
	return s.today(ctx, known)
}

func (s *Service) today(ctx context.Context, f *filed) (runs.Workflow, error) {
	p, err := s.compiled(ctx, f.user, f.name, f.version)
	return runs.Workflow{Name: f.name, Version: f.version, Enabled: f.status == Enabled, Program: p}, err
}

// OnEvent returns the enabled workflows of a user, each as of today, that events
// of a provider and name start. What was applied before the call is in the answer.
func (s *Service) OnEvent(ctx context.Context, user, provider, event string) ([]runs.Workflow, error) {
	if err := s.mirror.CaughtUp(ctx); err != nil {
		return nil, err
	}
	return s.all(ctx, s.index.onEvent(user, provider, event))
}

// OnRun returns the enabled workflows of a user, each as of today, that the end of
// a run starts. What was applied before the call is in the answer.
func (s *Service) OnRun(ctx context.Context, user, name string, ended machine.Status) ([]runs.Workflow, error) {
	if err := s.mirror.CaughtUp(ctx); err != nil {
		return nil, err
	}
	return s.all(ctx, s.index.onRun(user, name, string(ended)))
}

// all compiles what is to be started. One that cannot be compiled any more, with
// the packs of today, must not hold up the others.
func (s *Service) all(ctx context.Context, list []*filed) ([]runs.Workflow, error) {
	var all []runs.Workflow
	for _, f := range list {
		w, err := s.today(ctx, f)
		problems := workflow.Problems(nil)
		switch {
		case errors.As(err, &problems), errors.Is(err, runs.ErrNoWorkflow):
			s.Log.Error().Err(err).Str("workflow", f.name).Int("version", f.version).Msg("workflow cannot be started: it does not fit the providers any more")
			continue
		case err != nil:
			return nil, err
		}
		all = append(all, w)
	}
	return all, nil
}

// compiled is a version that was compiled once.
func (s *Service) compiled(ctx context.Context, user, name string, version int) (*workflow.Program, error) {
	key := textKey(user, name, version)
	if c, ok := s.cache.get(key); ok {
		return c.program, c.err
	}
	store, err := s.opened(ctx)
	if err != nil {
		return nil, err
	}
	t, err := store.text(ctx, user, name, version)
	if errors.Is(err, errOld) {
		return nil, runs.ErrNoWorkflow
	}
	if err != nil {
		return nil, err
	}
	c := &compiled{key: key}
	// Other workflows are not looked at: they were when it was applied.
	if c.program, c.err = compile([]byte(t.Text), workflow.Options{Providers: s.Providers, Schedule: CheckSchedule}); c.err != nil {
		c.err = fmt.Errorf("workflow %s, version %d: %w", name, version, c.err)
	}
	s.cache.put(c)
	return c.program, c.err
}

func compile(text []byte, o workflow.Options) (*workflow.Program, error) {
	d, err := workflow.Parse(text)
	if err != nil {
		return nil, err
	}
	return workflow.Compile(d, o)
}
