package schedules

import (
	"context"
	"errors"
	"net/http"

	"github.com/plugfn/plugfn/internal/api"
	"github.com/plugfn/plugfn/pkg/events"
	"github.com/plugfn/plugfn/services/scheduler/desk"
)

// subject is what stands before the user whose schedules a request is about.
const subject = events.PrefixService + "scheduler.schedules."

func (s *Service) serve() (*desk.Desk, error) {
	return desk.Open(desk.Config{
		Conn: s.Conn, Log: s.Log, Name: "plugfn-scheduler", Description: "schedules", Subject: subject, Problem: asProblem,
		Verbs: []desk.Verb{
			{Name: "create", Answer: s.onCreate},
			{Name: "list", Answer: s.onList},
			{Name: "get", Of: true, Answer: s.onGet},
			{Name: "next", Of: true, Answer: s.onNext},
			{Name: "amend", Of: true, Answer: s.onAmend},
			{Name: "delete", Of: true, Answer: s.onDelete},
			{Name: "pause", Of: true, Answer: s.onPause},
			{Name: "resume", Of: true, Answer: s.onResume},
			{Name: "run", Of: true, Answer: s.onRun},
		},
	})
}

func shown(r record, err error) (any, error) {
	if err != nil {
		return nil, err
	}
	return r.view(), nil
}

func (s *Service) onCreate(ctx context.Context, a desk.Request) (any, error) {
	var p Plan
	if err := a.Read(&p); err != nil {
		return nil, err
	}
	return shown(s.create(ctx, a.User, p))
}

func (s *Service) onGet(ctx context.Context, a desk.Request) (any, error) {
	return s.show(ctx, a.User, a.ID)
}

func (s *Service) onPause(ctx context.Context, a desk.Request) (any, error) {
	return shown(s.pause(ctx, a.User, a.ID))
}

func (s *Service) onResume(ctx context.Context, a desk.Request) (any, error) {
	return shown(s.resume(ctx, a.User, a.ID))
}

func (s *Service) onRun(ctx context.Context, a desk.Request) (any, error) {
	return shown(s.run(ctx, a.User, a.ID))
}

func (s *Service) onAmend(ctx context.Context, a desk.Request) (any, error) {
	var change Amendment
	if err := a.Read(&change); err != nil {
		return nil, err
	}
	return shown(s.amend(ctx, a.User, a.ID, &change))
}

func (s *Service) onDelete(ctx context.Context, a desk.Request) (any, error) {
	return struct{}{}, s.remove(ctx, a.User, a.ID)
}

// page is a list of schedules.
type page struct {
	Schedules  []View `json:"schedules" nullable:"false"`
	NextCursor string `json:"next_cursor,omitempty" doc:"Cursor of the next page; absent on the last one."`
}

func (s *Service) page(ctx context.Context, q query) (page, error) {
	all, next, err := s.list(ctx, q)
	p := page{Schedules: []View{}, NextCursor: next}
	for i := range all {
		p.Schedules = append(p.Schedules, all[i].view())
	}
	return p, err
}

func (s *Service) onList(ctx context.Context, a desk.Request) (any, error) {
	q := query{User: a.User}
	if err := a.Read(&q); err != nil {
		return nil, err
	}
	return s.page(ctx, q)
}

// preview is what is to come.
type preview struct {
	Ticks []Ahead `json:"ticks" nullable:"false"`
}

func (s *Service) onNext(ctx context.Context, a desk.Request) (any, error) {
	wanted := struct {
		N int `json:"n"`
	}{N: defaultNext}
	if err := a.Read(&wanted); err != nil {
		return nil, err
	}
	ticks, err := s.next(ctx, a.User, a.ID, wanted.N)
	return preview{ticks}, err
}

// asProblem gives what is not there a status of its own: none of the codes is
// about schedules.
func asProblem(err error) error {
	if errors.Is(err, errNone) {
		return api.New(http.StatusNotFound, "", errNone.Error())
	}
	return err
}
