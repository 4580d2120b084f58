package auth

import (
	"context"
	"net/http"

	"github.com/danielgtaylor/huma/v2"

	"github.com/plugfn/plugfn/internal/api"
)

// Mount adds the HTTP routes of the service to mux. All of them want the API
// key, but for those that browsers are sent to. Call it once per mux.
func (s *Service) Mount(mux *http.ServeMux) {
	guarded := s.guard(s.routes())
	mux.Handle(pathConnections, guarded)
	mux.Handle(pathConnections+"/", guarded)
	for _, path := range []string{pathSessions, pathFlows + "/", pathApps, pathApps + "/", pathEndpoints, pathEndpoints + "/"} {
		mux.Handle(path, guarded)
	}
	s.flows.mount(mux)
	mux.Handle(pathKeys, guarded)
	mux.Handle(pathKeys+"/", guarded)
	mux.Handle(pathMetrics, guarded)
	mux.Handle(api.PathOpenAPI, guarded)
}

func (s *Service) routes() *http.ServeMux {
	mux := http.NewServeMux()
	mux.HandleFunc("GET "+api.PathOpenAPI, api.ServeOpenAPI(s.describe(mux)))
	return mux
}

// OpenAPI describes the operations of the service.
func OpenAPI() *huma.OpenAPI { return (&Service{}).describe(http.NewServeMux()) }

// describe adds the operations to mux.
func (s *Service) describe(mux *http.ServeMux) *huma.OpenAPI {
	routes := api.On(mux)
	s.registerConnections(routes)
	s.registerFlows(routes)
	s.registerApps(routes)
	s.registerEndpoints(routes)
	s.registerKeys(routes)
	s.registerMetrics(routes)
	return routes.OpenAPI()
}

// register adds an operation that fails with problems, and only with these.
func register[I, O any](on huma.API, op huma.Operation, handler func(context.Context, *I) (*O, error)) {
	api.Register(on, op, handler)
}
