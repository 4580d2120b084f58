package workflows

import (
	"context"
	"errors"
	"time"

	"github.com/plugfn/plugfn/pkg/workflow"
	"github.com/plugfn/plugfn/services/scheduler/rule"
)

// CheckSchedule says what is wrong with the schedule of a trigger, for
// [workflow.Options]: as the scheduler would.
func CheckSchedule(t workflow.Schedule) (field, problem string) {
	r, err := rule.Parse(rule.Spec{Cron: t.Cron, Zone: t.Zone, Every: time.Duration(t.Every)})
	if err == nil {
		err = r.CheckFrom(time.Now())
	}
	var f *rule.Fault
	switch {
	case err == nil:
		return "", ""
	case errors.As(err, &f):
		return f.Field, f.Message
	default:
		return "", err.Error()
	}
}

// schedule is what has to fire for r; nil: nothing.
func (r *record) schedule() *workflow.Schedule {
	if r.Status != Enabled || r.Trigger.Kind != "schedule" {
		return nil
	}
	t := &workflow.Schedule{Cron: r.Trigger.Cron, Zone: r.Trigger.Zone}
	if r.Trigger.Every != "" {
		every, err := workflow.ParseDuration(r.Trigger.Every)
		if err != nil {
			return nil // no record has one
		}
		t.Every = every
	}
	return t
}

// follow has the schedule of a workflow be as its record says, which may change
// meanwhile. What fails is left to the next look.
func (s *Service) follow(ctx context.Context, user, name string) {
	if s.Schedules == nil {
		return
	}
	ctx = context.WithoutCancel(ctx) // whoever asked may go: the record is changed
	for range maxTries {
		revision, err := s.fit(ctx, user, name)
		if err != nil {
			s.Log.Warn().Err(err).Str("workflow", name).Msg("schedule of the workflow not set: looking after it soon")
			s.looking.Soon()
			return
		}
		if now, err := s.fit(ctx, user, name); err == nil && now == revision {
			return
		}
	}
}

// fit makes the schedule fit the record, and says which revision that was of.
func (s *Service) fit(ctx context.Context, user, name string) (uint64, error) {
	store, err := s.opened(ctx)
	if err != nil {
		return 0, err
	}
	r, revision, err := store.left(ctx, user, name)
	if err != nil && !errors.Is(err, errNone) {
		return 0, err
	}
	if r != nil {
		if t := r.schedule(); t != nil {
			return revision, s.Schedules.Keep(ctx, user, name, *t)
		}
	}
	return revision, s.Schedules.Drop(ctx, user, name)
}

// reconcile makes the schedules fit those that are wanted, where a change broke
// off before.
func (s *Service) reconcile(ctx context.Context, wanted map[string]*record) error {
	if s.Schedules == nil {
		return nil
	}
	var all error
	type owner struct{ user, name string }
	var stray []owner
	err := s.Schedules.Kept(ctx, func(user, name string) {
		if wanted[keyOf(user, name)] == nil {
			stray = append(stray, owner{user, name})
		}
	})
	if err != nil {
		return err
	}
	for _, o := range stray {
		_, err := s.fit(ctx, o.user, o.name)
		all = errors.Join(all, err)
	}
	for _, r := range wanted {
		_, err := s.fit(ctx, r.UserID, r.Name)
		all = errors.Join(all, err)
	}
	return all
}
