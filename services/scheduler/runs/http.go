package runs

import (
	"context"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/plugfn/plugfn/internal/api"
	"github.com/plugfn/plugfn/services/scheduler/runs/machine"
)

const (
	pathRuns = "/v1/runs"
	pathRun  = "/v1/runs/{id}"
	// pathDocument is where these routes are described.
	pathDocument = "/v1/runs/openapi.json"

	maxWaitHTTP = 30 // seconds
)

// Mount adds the HTTP routes of the service to mux, all of which want the API key.
// Call it once per mux.
func (s *Service) Mount(mux *http.ServeMux) {
	guarded := api.Guard(s.APIKey, s.routes())
	mux.Handle(pathRuns, guarded)
	mux.Handle(pathRuns+"/", guarded)
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
		OperationID: "start-run", Method: http.MethodPost, Path: pathRuns, DefaultStatus: http.StatusCreated,
		Summary: "Start a run of a workflow",
	}, s.startRoute)
	api.Register(on, huma.Operation{
		OperationID: "list-runs", Method: http.MethodGet, Path: pathRuns, Summary: "List runs, those that changed last first",
	}, s.listRoute)
	api.Register(on, huma.Operation{
		OperationID: "get-run", Method: http.MethodGet, Path: pathRun, Summary: "Show a run and its steps",
	}, s.getRoute)
	api.Register(on, huma.Operation{
		OperationID: "logs-of-run", Method: http.MethodGet, Path: pathRun + "/logs", Summary: "Show what happened in a run",
	}, s.logsRoute)
	api.Register(on, huma.Operation{
		OperationID: "cancel-run", Method: http.MethodPost, Path: pathRun + "/cancel",
		Summary: "End a run. What it has asked for may still be carried out",
	}, s.oneRoute(func(ctx context.Context, user, run string, in input) (*record, error) {
		return s.cancel(ctx, user, run, in.Reason)
	}))
	api.Register(on, huma.Operation{
		OperationID: "retry-run", Method: http.MethodPost, Path: pathRun + "/retry",
		Summary: "Go on with a run that has failed, from the step that did",
	}, s.oneRoute(func(ctx context.Context, user, run string, _ input) (*record, error) { return s.retry(ctx, user, run) }))
	api.Register(on, huma.Operation{
		OperationID: "replay-run", Method: http.MethodPost, Path: pathRun + "/replay", DefaultStatus: http.StatusCreated,
		Summary: "Start a run with the same event or input, on the workflow as it is today",
	}, s.oneRoute(func(ctx context.Context, user, run string, in input) (*record, error) {
		return s.replay(ctx, user, run, in.Key)
	}))
	return on.OpenAPI()
}

func (s *Service) problem(ctx context.Context, err error) error {
	return api.Explain(ctx, s.Log, asProblem(err))
}

type viewOutput struct{ Body View }

type startInput struct {
	Body struct {
		UserID string `json:"user_id" doc:"Whose the workflow is." minLength:"1"`
		Order
	}
}

func (s *Service) startRoute(ctx context.Context, in *startInput) (*viewOutput, error) {
	r, err := s.order(ctx, in.Body.UserID, in.Body.Order)
	if err != nil {
		return nil, s.problem(ctx, err)
	}
	return &viewOutput{r.view()}, nil
}

type listInput struct {
	UserID   string         `query:"user_id" doc:"Only this user's."`
	Workflow string         `query:"workflow" doc:"Only of the workflow of this name." maxLength:"64"`
	Status   machine.Status `query:"status" doc:"Only with this status." enum:"pending,running,waiting,completed,failed,canceled"`
	Cursor   string         `query:"cursor" doc:"next_cursor of the page before." maxLength:"64"`
	Limit    int            `query:"limit" doc:"How many." minimum:"1" maximum:"200" default:"50"`
}

type listOutput struct{ Body page }

func (s *Service) listRoute(ctx context.Context, in *listInput) (*listOutput, error) {
	p, err := s.list(ctx, query{User: in.UserID, Workflow: in.Workflow, Status: in.Status, Cursor: in.Cursor, Limit: in.Limit})
	if err != nil {
		return nil, s.problem(ctx, err)
	}
	return &listOutput{p}, nil
}

type getInput struct {
	ID     string `path:"id" doc:"Id of the run." maxLength:"64"`
	UserID string `query:"user_id" doc:"The user that it must belong to. Left out: any."`
	Wait   int    `query:"wait" doc:"Seconds to wait for its end." minimum:"0" maximum:"30"`
}

type detailOutput struct{ Body Detail }

func (s *Service) getRoute(ctx context.Context, in *getInput) (*detailOutput, error) {
	var d Detail
	var err error
	if in.Wait > 0 {
		d, err = s.wait(ctx, in.UserID, in.ID, min(time.Duration(in.Wait), maxWaitHTTP)*time.Second)
	} else {
		d, err = s.show(ctx, in.UserID, in.ID)
	}
	if err != nil {
		return nil, s.problem(ctx, err)
	}
	return &detailOutput{d}, nil
}

type logsInput struct {
	ID     string `path:"id" doc:"Id of the run." maxLength:"64"`
	UserID string `query:"user_id" doc:"The user that it must belong to. Left out: any."`
}

type logsOutput struct{ Body log }

func (s *Service) logsRoute(ctx context.Context, in *logsInput) (*logsOutput, error) {
	l, err := s.logs(ctx, in.UserID, in.ID)
	if err != nil {
		return nil, s.problem(ctx, err)
	}
	return &logsOutput{l}, nil
}

type oneInput struct {
	ID     string `path:"id" doc:"Id of the run." maxLength:"64"`
	UserID string `query:"user_id" doc:"The user that it must belong to. Left out: any."`
	Body   *input `required:"false"`
}

// oneRoute is an operation on one run that answers with it.
func (s *Service) oneRoute(do func(ctx context.Context, user, run string, in input) (*record, error)) func(context.Context, *oneInput) (*viewOutput, error) {
	return func(ctx context.Context, in *oneInput) (*viewOutput, error) {
		var body input
		if in.Body != nil {
			body = *in.Body
		}
		r, err := do(ctx, in.UserID, in.ID, body)
		if err != nil {
			return nil, s.problem(ctx, err)
		}
		return &viewOutput{r.view()}, nil
	}
}
