package schedules

import (
	"context"
	"net/http"

	"github.com/danielgtaylor/huma/v2"

	"github.com/plugfn/plugfn/internal/api"
)

const (
	pathSchedules = "/v1/schedules"
	pathSchedule  = "/v1/schedules/{id}"
	// pathDocument is where these routes are described: the document of the whole
	// API is of another service.
	pathDocument = "/v1/schedules/openapi.json"

	defaultNext = 5
)

// Mount adds the HTTP routes of the service to mux, all of which want the API key.
// Call it once per mux.
func (s *Service) Mount(mux *http.ServeMux) {
	guarded := api.Guard(s.APIKey, s.routes())
	mux.Handle(pathSchedules, guarded)
	mux.Handle(pathSchedules+"/", guarded)
}

func (s *Service) routes() *http.ServeMux {
	mux := http.NewServeMux()
	mux.HandleFunc("GET "+pathDocument, api.ServeOpenAPI(s.describe(mux)))
	return mux
}

// OpenAPI describes the operations of the service.
func OpenAPI() *huma.OpenAPI { return (&Service{}).describe(http.NewServeMux()) }

// describe adds the operations to mux.
func (s *Service) describe(mux *http.ServeMux) *huma.OpenAPI {
	on := api.On(mux)
	api.Register(on, huma.Operation{
		OperationID: "create-schedule", Method: http.MethodPost, Path: pathSchedules, DefaultStatus: http.StatusCreated,
		Summary: "Make a schedule",
	}, s.createRoute)
	api.Register(on, huma.Operation{
		OperationID: "list-schedules", Method: http.MethodGet, Path: pathSchedules, Summary: "List schedules",
	}, s.listRoute)
	api.Register(on, huma.Operation{
		OperationID: "get-schedule", Method: http.MethodGet, Path: pathSchedule, Summary: "Show a schedule",
	}, s.showRoute)
	api.Register(on, huma.Operation{
		OperationID: "next-of-schedule", Method: http.MethodGet, Path: pathSchedule + "/next", Summary: "Show the ticks to come of a schedule",
	}, s.nextRoute)
	api.Register(on, huma.Operation{
		OperationID: "amend-schedule", Method: http.MethodPatch, Path: pathSchedule, Summary: "Change a schedule",
	}, s.amendRoute)
	api.Register(on, huma.Operation{
		OperationID: "delete-schedule", Method: http.MethodDelete, Path: pathSchedule, DefaultStatus: http.StatusNoContent,
		Summary: "Delete a schedule",
	}, s.deleteRoute)
	api.Register(on, huma.Operation{
		OperationID: "pause-schedule", Method: http.MethodPost, Path: pathSchedule + "/pause", Summary: "Let a schedule have no ticks until it is resumed",
	}, s.oneRoute(s.pause))
	api.Register(on, huma.Operation{
		OperationID: "resume-schedule", Method: http.MethodPost, Path: pathSchedule + "/resume",
		Summary: "Let a schedule have ticks again; those of meanwhile are not made up for",
	}, s.oneRoute(s.resume))
	api.Register(on, huma.Operation{
		OperationID: "run-schedule", Method: http.MethodPost, Path: pathSchedule + "/run", Summary: "Fire a tick now, beside those of the rule",
	}, s.oneRoute(s.run))
	return on.OpenAPI()
}

func (s *Service) problem(ctx context.Context, err error) error {
	return api.Explain(ctx, s.Log, asProblem(err))
}

type viewOutput struct{ Body View }

type createInput struct {
	Body struct {
		UserID string `json:"user_id" doc:"Whose the schedule is." minLength:"1"`
		Plan
	}
}

func (s *Service) createRoute(ctx context.Context, in *createInput) (*viewOutput, error) {
	r, err := s.create(ctx, in.Body.UserID, in.Body.Plan)
	if err != nil {
		return nil, s.problem(ctx, err)
	}
	return &viewOutput{r.view()}, nil
}

type listInput struct {
	UserID string `query:"user_id" doc:"Only this user's."`
	State  State  `query:"state" doc:"Only with this state." enum:"active,paused,done"`
	Cursor string `query:"cursor" doc:"next_cursor of the page before." maxLength:"64"`
	Limit  int    `query:"limit" doc:"How many." minimum:"1" maximum:"200" default:"50"`
}

type listOutput struct{ Body page }

func (s *Service) listRoute(ctx context.Context, in *listInput) (*listOutput, error) {
	p, err := s.page(ctx, query{User: in.UserID, State: in.State, Cursor: in.Cursor, Limit: in.Limit})
	if err != nil {
		return nil, s.problem(ctx, err)
	}
	return &listOutput{p}, nil
}

type oneInput struct {
	ID     string `path:"id" doc:"Id of the schedule." maxLength:"64"`
	UserID string `query:"user_id" doc:"The user that it must belong to. Left out: any."`
}

// oneRoute is an operation on one schedule that has no other input.
func (s *Service) oneRoute(do func(ctx context.Context, user, id string) (record, error)) func(context.Context, *oneInput) (*viewOutput, error) {
	return func(ctx context.Context, in *oneInput) (*viewOutput, error) {
		r, err := do(ctx, in.UserID, in.ID)
		if err != nil {
			return nil, s.problem(ctx, err)
		}
		return &viewOutput{r.view()}, nil
	}
}

func (s *Service) showRoute(ctx context.Context, in *oneInput) (*viewOutput, error) {
	v, err := s.show(ctx, in.UserID, in.ID)
	if err != nil {
		return nil, s.problem(ctx, err)
	}
	return &viewOutput{v}, nil
}

type nextInput struct {
	ID     string `path:"id" doc:"Id of the schedule." maxLength:"64"`
	UserID string `query:"user_id" doc:"The user that it must belong to. Left out: any."`
	N      int    `query:"n" doc:"How many." minimum:"1" maximum:"100" default:"5"`
}

type nextOutput struct{ Body preview }

func (s *Service) nextRoute(ctx context.Context, in *nextInput) (*nextOutput, error) {
	ticks, err := s.next(ctx, in.UserID, in.ID, in.N)
	if err != nil {
		return nil, s.problem(ctx, err)
	}
	return &nextOutput{preview{ticks}}, nil
}

type amendInput struct {
	ID     string `path:"id" doc:"Id of the schedule." maxLength:"64"`
	UserID string `query:"user_id" doc:"The user that it must belong to. Left out: any."`
	Body   Amendment
}

func (s *Service) amendRoute(ctx context.Context, in *amendInput) (*viewOutput, error) {
	r, err := s.amend(ctx, in.UserID, in.ID, &in.Body)
	if err != nil {
		return nil, s.problem(ctx, err)
	}
	return &viewOutput{r.view()}, nil
}

func (s *Service) deleteRoute(ctx context.Context, in *oneInput) (*struct{}, error) {
	if err := s.remove(ctx, in.UserID, in.ID); err != nil {
		return nil, s.problem(ctx, err)
	}
	return nil, nil
}
