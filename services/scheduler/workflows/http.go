package workflows

import (
	"context"
	"net/http"

	"github.com/danielgtaylor/huma/v2"

	"github.com/plugfn/plugfn/internal/api"
	"github.com/plugfn/plugfn/pkg/workflow"
)

const (
	pathWorkflows = "/v1/workflows"
	pathWorkflow  = "/v1/workflows/{name}"
	// pathDocument is where these routes are described: the document of the whole
	// API is of another service.
	pathDocument = "/v1/workflows/openapi.json"
	// pathSchema is the JSON Schema of definitions, for editors.
	pathSchema = "/v1/workflows/schema.json"
)

// Mount adds the HTTP routes of the service to mux, all of which want the API key.
// Call it once per mux.
func (s *Service) Mount(mux *http.ServeMux) {
	guarded := api.Guard(s.APIKey, s.routes())
	mux.Handle(pathWorkflows, guarded)
	mux.Handle(pathWorkflows+"/", guarded)
}

func (s *Service) routes() *http.ServeMux {
	mux := http.NewServeMux()
	mux.HandleFunc("GET "+pathDocument, api.ServeOpenAPI(s.describe(mux)))
	mux.HandleFunc("GET "+pathSchema, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/schema+json")
		_, _ = w.Write(workflow.Schema()) // the client went away
	})
	return mux
}

// OpenAPI describes the operations of the service.
func OpenAPI() *huma.OpenAPI { return (&Service{}).describe(http.NewServeMux()) }

// describe adds the operations to mux.
func (s *Service) describe(mux *http.ServeMux) *huma.OpenAPI {
	on := api.On(mux)
	s.sending(on)
	api.Register(on, huma.Operation{
		OperationID: "list-workflows", Method: http.MethodGet, Path: pathWorkflows, Summary: "List workflows, by name",
	}, s.listRoute)
	get := func(id, tail, summary string) huma.Operation {
		return huma.Operation{OperationID: id, Method: http.MethodGet, Path: pathWorkflow + tail, Summary: summary}
	}
	api.Register(on, get("get-workflow", "", "Show a workflow with a version of its definition"), s.getRoute)
	api.Register(on, get("versions-of-workflow", "/versions", "List the versions of a workflow"), s.versionsRoute)
	api.Register(on, get("export-workflow", "/export", "Get the text of a version"), s.exportRoute)
	api.Register(on, get("compare-versions", "/diff", "Show what has changed from one version to another"), s.compareRoute)
	api.Register(on, get("stats-of-workflow", "/stats", "Show what became of the runs of a workflow"), s.statsRoute)
	api.Register(on, huma.Operation{
		OperationID: "enable-workflow", Method: http.MethodPost, Path: pathWorkflow + "/enable", Summary: "Let a workflow be started",
	}, s.oneRoute(s.enable))
	api.Register(on, huma.Operation{
		OperationID: "disable-workflow", Method: http.MethodPost, Path: pathWorkflow + "/disable",
		Summary: "Let nothing start a workflow any more; its runs go on",
	}, s.oneRoute(s.disable))
	api.Register(on, huma.Operation{
		OperationID: "delete-workflow", Method: http.MethodDelete, Path: pathWorkflow, DefaultStatus: http.StatusNoContent,
		Summary: "Delete a workflow; its runs go on",
	}, s.deleteRoute)
	return on.OpenAPI()
}

// sending adds the operations that bring a definition.
func (s *Service) sending(on huma.API) {
	post := func(id, tail, summary string) huma.Operation {
		return huma.Operation{OperationID: id, Method: http.MethodPost, Path: pathWorkflows + tail, Summary: summary, MaxBodyBytes: maxSent + 1}
	}
	api.Register(on, post("apply-workflow", "", "Make a new version of a workflow, or a new workflow"), s.applyRoute)
	api.Register(on, post("validate-workflow", "/validate", "Check a definition, and keep nothing"), s.validateRoute)
	api.Register(on, post("diff-workflow", "/diff", "Show what would change if a definition were applied"), s.diffRoute)
}

func (s *Service) problem(ctx context.Context, err error) error {
	return api.Explain(ctx, s.Log, asProblem(err))
}

type output[T any] struct{ Body T }

// answer makes what an operation answers with.
func answer[T any](ctx context.Context, s *Service, body T, err error) (*output[T], error) {
	if err != nil {
		return nil, s.problem(ctx, err)
	}
	return &output[T]{body}, nil
}

type applyInput struct {
	Body struct {
		UserID string `json:"user_id" doc:"Whose the workflow is." minLength:"1"`
		Application
	}
}

func (s *Service) applyRoute(ctx context.Context, in *applyInput) (*output[Applied], error) {
	done, err := s.Apply(ctx, in.Body.UserID, in.Body.Application)
	return answer(ctx, s, done, err)
}

func (s *Service) validateRoute(ctx context.Context, in *applyInput) (*output[Validation], error) {
	v, err := s.validate(ctx, in.Body.UserID, &in.Body.Application)
	return answer(ctx, s, v, err)
}

func (s *Service) diffRoute(ctx context.Context, in *applyInput) (*output[Comparison], error) {
	c, err := s.diff(ctx, in.Body.UserID, &in.Body.Application)
	return answer(ctx, s, c, err)
}

type listInput struct {
	UserID string `query:"user_id" doc:"Only this user's."`
	Status Status `query:"status" doc:"Only with this status." enum:"draft,enabled,disabled"`
	Cursor string `query:"cursor" doc:"next_cursor of the page before." maxLength:"400"`
	Limit  int    `query:"limit" doc:"How many." minimum:"1" maximum:"200" default:"50"`
}

func (s *Service) listRoute(ctx context.Context, in *listInput) (*output[page], error) {
	p, err := s.page(ctx, query{User: in.UserID, Status: in.Status, Cursor: in.Cursor, Limit: in.Limit})
	return answer(ctx, s, p, err)
}

type oneInput struct {
	Name   string `path:"name" doc:"Name of the workflow." maxLength:"64"`
	UserID string `query:"user_id" doc:"Whose it is." required:"true" minLength:"1"`
}

type versionInput struct {
	Name    string `path:"name" doc:"Name of the workflow." maxLength:"64"`
	UserID  string `query:"user_id" doc:"Whose it is." required:"true" minLength:"1"`
	Version int    `query:"version" doc:"Left out: the latest." minimum:"1"`
}

func (s *Service) getRoute(ctx context.Context, in *versionInput) (*output[Detail], error) {
	d, err := s.detail(ctx, in.UserID, in.Name, in.Version)
	return answer(ctx, s, d, err)
}

func (s *Service) versionsRoute(ctx context.Context, in *oneInput) (*output[history], error) {
	h, err := s.versions(ctx, in.UserID, in.Name)
	return answer(ctx, s, h, err)
}

type exportInput struct {
	Name    string `path:"name" doc:"Name of the workflow." maxLength:"64"`
	UserID  string `query:"user_id" doc:"Whose it is." required:"true" minLength:"1"`
	Version int    `query:"version" doc:"Left out: the latest." minimum:"1"`
	Form    Form   `query:"form" enum:"source,yaml,json" default:"source" doc:"As it was applied, or in the canonical form."`
}

func (s *Service) exportRoute(ctx context.Context, in *exportInput) (*output[Export], error) {
	e, err := s.export(ctx, in.UserID, in.Name, in.Version, in.Form)
	return answer(ctx, s, e, err)
}

type compareInput struct {
	Name   string `path:"name" doc:"Name of the workflow." maxLength:"64"`
	UserID string `query:"user_id" doc:"Whose it is." required:"true" minLength:"1"`
	From   int    `query:"from" minimum:"1" required:"true"`
	To     int    `query:"to" minimum:"1" doc:"Left out: the latest."`
}

func (s *Service) compareRoute(ctx context.Context, in *compareInput) (*output[Comparison], error) {
	c, err := s.between(ctx, in.UserID, in.Name, in.From, in.To)
	return answer(ctx, s, c, err)
}

type statsInput struct {
	Name   string `path:"name" doc:"Name of the workflow." maxLength:"64"`
	UserID string `query:"user_id" doc:"Whose it is." required:"true" minLength:"1"`
	Since  string `query:"since" doc:"How far back, such as 1h or 7d, which is as long as the history is kept." maxLength:"20" default:"7d"`
}

func (s *Service) statsRoute(ctx context.Context, in *statsInput) (*output[Stats], error) {
	found, err := s.stats(ctx, in.UserID, in.Name, statsQuery{Since: in.Since})
	return answer(ctx, s, found, err)
}

// oneRoute is an operation on one workflow that has no other input.
func (s *Service) oneRoute(do func(ctx context.Context, user, name string) (*record, error)) func(context.Context, *oneInput) (*output[View], error) {
	return func(ctx context.Context, in *oneInput) (*output[View], error) {
		r, err := do(ctx, in.UserID, in.Name)
		if err != nil {
			return nil, s.problem(ctx, err)
		}
		return &output[View]{r.view()}, nil
	}
}

func (s *Service) deleteRoute(ctx context.Context, in *oneInput) (*struct{}, error) {
	if err := s.remove(ctx, in.UserID, in.Name); err != nil {
		return nil, s.problem(ctx, err)
	}
	return nil, nil
}
