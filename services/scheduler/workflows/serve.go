package workflows

import (
	"context"

	"github.com/plugfn/plugfn/pkg/events"
	"github.com/plugfn/plugfn/pkg/workflow"
	"github.com/plugfn/plugfn/services/scheduler/desk"
	"github.com/plugfn/plugfn/services/scheduler/runs"
)

// subject is what stands before the user whose workflows a request is about.
const subject = events.PrefixService + "scheduler.workflows."

// maxSent is how many bytes a request may have that brings a definition: one of
// JSON inside JSON is longer than itself.
const maxSent = 2*workflow.MaxDefinition + 4096

var _ runs.Definitions = (*Service)(nil)

func (s *Service) serve() (*desk.Desk, error) {
	return desk.Open(desk.Config{
		Conn: s.Conn, Log: s.Log, Name: "plugfn-scheduler-workflows", Description: "workflows", Subject: subject, Problem: asProblem,
		Verbs: []desk.Verb{
			{Name: "apply", Answer: s.onApply},
			{Name: "validate", Answer: s.onValidate},
			{Name: "diff", Answer: s.onDiff},
			{Name: "list", Answer: s.onList},
			{Name: "get", Of: true, Answer: s.onGet},
			{Name: "versions", Of: true, Answer: s.onVersions},
			{Name: "enable", Of: true, Answer: s.onEnable},
			{Name: "disable", Of: true, Answer: s.onDisable},
			{Name: "delete", Of: true, Answer: s.onDelete},
			{Name: "compare", Of: true, Answer: s.onCompare},
			{Name: "export", Of: true, Answer: s.onExport},
			{Name: "stats", Of: true, Answer: s.onStats},
		},
	})
}

func (s *Service) onApply(ctx context.Context, r desk.Request) (any, error) {
	var a Application
	if err := r.ReadLong(&a, maxSent); err != nil {
		return nil, err
	}
	return s.Apply(ctx, r.User, a)
}

// Validation says that a definition is right.
type Validation struct {
	Name    string  `json:"name"`
	Trigger Trigger `json:"trigger"`
	Steps   int     `json:"steps"`
}

func (s *Service) validate(ctx context.Context, user string, a *Application) (Validation, error) {
	body, err := textOf(a.Definition)
	if err != nil {
		return Validation{}, err
	}
	p, err := s.judge(ctx, user, body)
	if err != nil {
		return Validation{}, err
	}
	return Describe(p.Definition), nil
}

// Describe is what is said of a definition that is right.
func Describe(d *workflow.Definition) Validation {
	var r record
	r.describe(d)
	return Validation{Name: d.Name, Trigger: r.Trigger, Steps: r.Steps}
}

func (s *Service) onValidate(ctx context.Context, r desk.Request) (any, error) {
	var a Application
	if err := r.ReadLong(&a, maxSent); err != nil {
		return nil, err
	}
	return s.validate(ctx, r.User, &a)
}

func (s *Service) onDiff(ctx context.Context, r desk.Request) (any, error) {
	var a Application
	if err := r.ReadLong(&a, maxSent); err != nil {
		return nil, err
	}
	return s.diff(ctx, r.User, &a)
}

func (s *Service) diff(ctx context.Context, user string, a *Application) (Comparison, error) {
	body, err := textOf(a.Definition)
	if err != nil {
		return Comparison{}, err
	}
	return s.compare(ctx, user, body)
}

// page is a list of workflows.
type page struct {
	Workflows  []View `json:"workflows" nullable:"false"`
	NextCursor string `json:"next_cursor,omitempty" doc:"Cursor of the next page; absent on the last one."`
}

func (s *Service) page(ctx context.Context, q query) (page, error) {
	p := page{Workflows: []View{}}
	store, err := s.opened(ctx)
	if err != nil {
		return p, err
	}
	all, next, err := store.list(ctx, q)
	p.NextCursor = next
	for _, r := range all {
		p.Workflows = append(p.Workflows, r.view())
	}
	return p, err
}

func (s *Service) onList(ctx context.Context, r desk.Request) (any, error) {
	q := query{User: r.User}
	if err := r.Read(&q); err != nil {
		return nil, err
	}
	return s.page(ctx, q)
}

// wanted is which version.
type wanted struct {
	Version int  `json:"version"` // 0: the latest
	Form    Form `json:"form"`
	From    int  `json:"from"`
	To      int  `json:"to"`
}

func (s *Service) onGet(ctx context.Context, r desk.Request) (any, error) {
	var w wanted
	if err := r.Read(&w); err != nil {
		return nil, err
	}
	return s.detail(ctx, r.User, r.ID, w.Version)
}

// history is the versions of a workflow.
type history struct {
	Versions []Version `json:"versions" nullable:"false" doc:"The latest first."`
}

func (s *Service) versions(ctx context.Context, user, name string) (history, error) {
	h := history{Versions: []Version{}}
	r, err := s.get(ctx, user, name)
	if err != nil {
		return h, err
	}
	for i := len(r.Versions) - 1; i >= 0; i-- {
		h.Versions = append(h.Versions, r.Versions[i])
	}
	return h, nil
}

func (s *Service) onVersions(ctx context.Context, r desk.Request) (any, error) {
	return s.versions(ctx, r.User, r.ID)
}

func shown(r *record, err error) (any, error) {
	if err != nil {
		return nil, err
	}
	return r.view(), nil
}

func (s *Service) onEnable(ctx context.Context, r desk.Request) (any, error) {
	return shown(s.enable(ctx, r.User, r.ID))
}

func (s *Service) onDisable(ctx context.Context, r desk.Request) (any, error) {
	return shown(s.disable(ctx, r.User, r.ID))
}

func (s *Service) onDelete(ctx context.Context, r desk.Request) (any, error) {
	return struct{}{}, s.remove(ctx, r.User, r.ID)
}

func (s *Service) onCompare(ctx context.Context, r desk.Request) (any, error) {
	var w wanted
	if err := r.Read(&w); err != nil {
		return nil, err
	}
	return s.between(ctx, r.User, r.ID, w.From, w.To)
}

func (s *Service) onExport(ctx context.Context, r desk.Request) (any, error) {
	var w wanted
	if err := r.Read(&w); err != nil {
		return nil, err
	}
	return s.export(ctx, r.User, r.ID, w.Version, w.Form)
}

func (s *Service) onStats(ctx context.Context, r desk.Request) (any, error) {
	q := statsQuery{}
	if err := r.Read(&q); err != nil {
		return nil, err
	}
	return s.stats(ctx, r.User, r.ID, q)
}
