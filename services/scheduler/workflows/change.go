package workflows

import (
	"context"
	"errors"

	"github.com/plugfn/plugfn/pkg/events"
	"github.com/plugfn/plugfn/pkg/workflow"
)

// edit changes a record by compare-and-swap. change may be called again, on a
// later one; it reports whether there is anything to change.
func (s *Service) edit(ctx context.Context, user, name, what string, change func(*record) bool) (*record, error) {
	store, err := s.opened(ctx)
	if err != nil {
		return nil, err
	}
	for range maxTries {
		r, revision, err := store.find(ctx, user, name)
		if err != nil || !change(r) {
			return r, err
		}
		r.UpdatedAt = s.Now().UTC()
		err = store.put(ctx, r, revision)
		if errors.Is(err, errTaken) {
			continue
		}
		if err != nil {
			return nil, err
		}
		s.note(r, what)
		if r.Trigger.Kind == "schedule" {
			s.follow(ctx, user, name)
		}
		return r, nil
	}
	return nil, events.Errorf(events.CodeInternal, "the workflow keeps changing; try again")
}

func (s *Service) enable(ctx context.Context, user, name string) (*record, error) {
	return s.set(ctx, user, name, Enabled)
}

// disable lets nothing start a workflow any more. Runs that are under way go on.
func (s *Service) disable(ctx context.Context, user, name string) (*record, error) {
	return s.set(ctx, user, name, Disabled)
}

func (s *Service) set(ctx context.Context, user, name string, status Status) (*record, error) {
	return s.edit(ctx, user, name, string(status), func(r *record) bool {
		changed := r.Status != status
		r.Status = status
		return changed
	})
}

// remove deletes a workflow. Runs that are under way go on, by the version that
// they began with.
func (s *Service) remove(ctx context.Context, user, name string) error {
	r, err := s.edit(ctx, user, name, "deleted", func(r *record) bool {
		r.Status = deleted
		return true
	})
	if err != nil {
		return err
	}
	if err := s.sweep(ctx, r); err != nil {
		s.Log.Warn().Err(err).Str("workflow", name).Msg("what is left of a deleted workflow is looked after later")
	}
	return nil
}

// sweep lets the versions of a deleted workflow go, once no run can need them.
func (s *Service) sweep(ctx context.Context, r *record) error {
	store, err := s.opened(ctx)
	if err != nil {
		return err
	}
	for _, v := range r.Versions {
		if err := store.retire(ctx, r.UserID, r.Name, v.Version); err != nil {
			return err
		}
	}
	now, revision, err := store.left(ctx, r.UserID, r.Name)
	if err != nil || now.Status != deleted {
		return err
	}
	now.Versions, now.Description, now.Trigger = nil, "", Trigger{}
	return store.put(ctx, now, revision)
}

func (s *Service) get(ctx context.Context, user, name string) (*record, error) {
	store, err := s.opened(ctx)
	if err != nil {
		return nil, err
	}
	r, _, err := store.find(ctx, user, name)
	return r, err
}

// version reads a version of a workflow, 0 for the latest, with its record.
func (s *Service) version(ctx context.Context, user, name string, n int) (*record, *text, error) {
	r, err := s.get(ctx, user, name)
	if err != nil {
		return nil, nil, err
	}
	if n == 0 {
		n = r.Version
	}
	if _, listed := r.version(n); !listed {
		return nil, nil, errOld
	}
	store, err := s.opened(ctx)
	if err != nil {
		return nil, nil, err
	}
	t, err := store.text(ctx, user, name, n)
	return r, t, err
}

func (s *Service) detail(ctx context.Context, user, name string, n int) (Detail, error) {
	r, t, err := s.version(ctx, user, name, n)
	if err != nil {
		return Detail{}, err
	}
	d, err := workflow.Parse([]byte(t.Text))
	if err != nil {
		return Detail{}, err
	}
	data, err := d.JSON()
	return Detail{View: r.view(), Shown: t.Version, Definition: data}, err
}

func (s *Service) export(ctx context.Context, user, name string, n int, form Form) (Export, error) {
	_, t, err := s.version(ctx, user, name, n)
	if err != nil {
		return Export{}, err
	}
	out := Export{Name: name, Version: t.Version, Form: form, Text: t.Text}
	if form == Source || form == "" {
		out.Form = Source
		return out, nil
	}
	d, err := workflow.Parse([]byte(t.Text))
	if err != nil {
		return Export{}, err
	}
	write := d.YAML
	switch form {
	case YAML:
	case JSON:
		write = d.JSON
	default:
		return Export{}, invalid("form", "must be %s, %s or %s", Source, YAML, JSON)
	}
	data, err := write()
	out.Text = string(data)
	return out, err
}

// Comparison is what two versions, or a version and a definition, differ in.
type Comparison struct {
	From    int               `json:"from" doc:"A version; 0: there is none."`
	To      int               `json:"to,omitempty" doc:"A version; absent: the definition that was sent."`
	Changes []workflow.Change `json:"changes" nullable:"false"`
}

// compare says what would change if a definition were applied, which is judged
// for that.
func (s *Service) compare(ctx context.Context, user string, body []byte) (Comparison, error) {
	p, err := s.judge(ctx, user, body)
	if err != nil {
		return Comparison{}, err
	}
	c := Comparison{Changes: []workflow.Change{}}
	from := &workflow.Definition{}
	r, t, err := s.version(ctx, user, p.Definition.Name, 0)
	if err != nil && !errors.Is(err, errNone) {
		return c, err
	}
	if r != nil {
		c.From = r.Version
		if from, err = workflow.Parse([]byte(t.Text)); err != nil {
			return c, err
		}
	}
	c.Changes = append(c.Changes, workflow.Diff(from, p.Definition)...)
	return c, nil
}

// between says what has changed from one version to another; 0 is the latest.
func (s *Service) between(ctx context.Context, user, name string, from, to int) (Comparison, error) {
	c := Comparison{Changes: []workflow.Change{}}
	var both [2]*workflow.Definition
	for i, n := range []*int{&from, &to} {
		_, t, err := s.version(ctx, user, name, *n)
		if err != nil {
			return c, err
		}
		*n = t.Version
		if both[i], err = workflow.Parse([]byte(t.Text)); err != nil {
			return c, err
		}
	}
	c.From, c.To = from, to
	c.Changes = append(c.Changes, workflow.Diff(both[0], both[1])...)
	return c, nil
}

func (s *Service) note(r *record, what string) {
	s.Log.Info().Str("workflow", r.Name).Int("version", r.Version).Str("status", string(r.Status)).Str("change", what).Msg("workflow changed")
}
