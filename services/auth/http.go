package auth

import (
	"context"
	"encoding/json"
	"net/http"
	"reflect"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"
)

const (
	pathOpenAPI = "/v1/openapi.json"

	maxBody     = 64 << 10
	bodyTimeout = 10 * time.Second
	apiKeyName  = "apiKey"
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
	mux.Handle(pathOpenAPI, guarded)
}

func (s *Service) routes() *http.ServeMux {
	mux := http.NewServeMux()
	api := humago.New(mux, apiConfig())
	s.registerConnections(api)
	s.registerFlows(api)
	s.registerApps(api)
	s.registerEndpoints(api)
	s.registerKeys(api)
	s.registerMetrics(api)
	mux.HandleFunc("GET "+pathOpenAPI, serveOpenAPI(api.OpenAPI()))
	return mux
}

// apiConfig is huma without what it would serve by itself: a documentation
// page that loads scripts from elsewhere, and routes beside the API key.
func apiConfig() huma.Config {
	return huma.Config{
		OpenAPI: &huma.OpenAPI{
			OpenAPI: "3.1.0",
			Info:    &huma.Info{Title: "PlugFn", Version: "1"},
			Components: &huma.Components{
				Schemas:         huma.NewMapRegistry("#/components/schemas/", huma.DefaultSchemaNamer),
				SecuritySchemes: map[string]*huma.SecurityScheme{apiKeyName: {Type: "http", Scheme: "bearer"}},
			},
			Security: []map[string][]string{{apiKeyName: {}}},
		},
		Formats: map[string]huma.Format{
			"application/json": huma.DefaultJSONFormat,
			"json":             huma.DefaultJSONFormat, // of the +json types
		},
		DefaultFormat:                "application/json",
		RejectUnknownQueryParameters: true, // a misspelled user_id would select everybody
		Transformers:                 []huma.Transformer{asProblem},
	}
}

// register adds an operation that fails with problems, and only with these.
func register[I, O any](api huma.API, op huma.Operation, handler func(context.Context, *I) (*O, error)) {
	schemas := api.OpenAPI().Components.Schemas
	op.MaxBodyBytes = maxBody + 1 // huma refuses what reaches the limit
	op.BodyReadTimeout = bodyTimeout
	op.Responses = map[string]*huma.Response{"default": {
		Description: "Error",
		Content:     map[string]*huma.MediaType{problemType: {Schema: schemas.Schema(reflect.TypeFor[problem](), true, "Problem")}},
	}}
	huma.Register(api, op, handler)
	delete(schemas.Map(), "ErrorModel") // huma's own, which is never sent
	delete(schemas.Map(), "ErrorDetail")
}

// serveOpenAPI serves the document as it is when all operations are known.
func serveOpenAPI(doc *huma.OpenAPI) http.HandlerFunc {
	text, err := json.Marshal(doc)
	return func(w http.ResponseWriter, _ *http.Request) {
		if err != nil {
			writeProblem(w, &problem{Status: http.StatusInternalServerError, Detail: "the document cannot be encoded"})
			return
		}
		w.Header().Set("Content-Type", "application/openapi+json")
		_, _ = w.Write(text) // the client went away
	}
}
