package api

import (
	"context"
	"encoding/json"
	"net/http"
	"reflect"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"
)

// PathOpenAPI is where the document of an API is.
const PathOpenAPI = "/v1/openapi.json"

const (
	// MaxBody is how many bytes the body of a request may have, where the operation
	// does not say otherwise.
	MaxBody = 64 << 10

	bodyTimeout = 10 * time.Second
	apiKeyName  = "apiKey"
)

// On makes an API without operations on mux.
func On(mux *http.ServeMux) huma.API { return humago.New(mux, config()) }

// config is huma without what it would serve by itself: a documentation
// page that loads scripts from elsewhere, and routes beside the API key.
func config() huma.Config {
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

// Register adds an operation that fails with problems, and only with these.
func Register[I, O any](api huma.API, op huma.Operation, handler func(context.Context, *I) (*O, error)) {
	schemas := api.OpenAPI().Components.Schemas
	if op.MaxBodyBytes == 0 {
		op.MaxBodyBytes = MaxBody + 1 // huma refuses what reaches the limit
	}
	op.BodyReadTimeout = bodyTimeout
	op.Responses = map[string]*huma.Response{"default": {
		Description: "Error",
		Content:     map[string]*huma.MediaType{ProblemType: {Schema: schemas.Schema(reflect.TypeFor[Problem](), true, "Problem")}},
	}}
	huma.Register(api, op, handler)
	delete(schemas.Map(), "ErrorModel") // huma's own, which is never sent
	delete(schemas.Map(), "ErrorDetail")
}

// ServeOpenAPI serves the document as it is when all operations are known.
func ServeOpenAPI(doc *huma.OpenAPI) http.HandlerFunc {
	text, err := json.Marshal(doc)
	return func(w http.ResponseWriter, _ *http.Request) {
		if err != nil {
			(&Problem{Status: http.StatusInternalServerError, Detail: "the document cannot be encoded"}).Write(w)
			return
		}
		w.Header().Set("Content-Type", "application/openapi+json")
		_, _ = w.Write(text) // the client went away
	}
}
