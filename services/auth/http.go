package auth

import (
	"context"
	"encoding/json"
	"net/http"
	"reflect"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"

	"github.com/plugfn/plugfn/pkg/providers"
)

const (
	pathConnections = "/v1/connections"
	pathConnection  = "/v1/connections/{id}"
	pathOpenAPI     = "/v1/openapi.json"

	maxBody     = 64 << 10
	bodyTimeout = 10 * time.Second
	apiKeyName  = "apiKey"
)

// Mount adds the HTTP routes of the service to mux. All of them want the API
// key. Call it once per mux.
func (s *Service) Mount(mux *http.ServeMux) {
	guarded := s.guard(s.routes())
	mux.Handle(pathConnections, guarded)
	mux.Handle(pathConnections+"/", guarded)
	mux.Handle(pathOpenAPI, guarded)
}

func (s *Service) routes() *http.ServeMux {
	mux := http.NewServeMux()
	api := humago.New(mux, apiConfig())
	register(api, huma.Operation{
		OperationID:   "create-connection",
		Method:        http.MethodPost,
		Path:          pathConnections,
		Summary:       "Connect an account with an API token",
		DefaultStatus: http.StatusCreated,
	}, s.createConnection)
	register(api, huma.Operation{
		OperationID: "list-connections",
		Method:      http.MethodGet,
		Path:        pathConnections,
		Summary:     "List connections",
	}, s.listConnections)
	register(api, huma.Operation{
		OperationID: "get-connection",
		Method:      http.MethodGet,
		Path:        pathConnection,
		Summary:     "Show a connection",
	}, s.getConnection)
	register(api, huma.Operation{
		OperationID:   "delete-connection",
		Method:        http.MethodDelete,
		Path:          pathConnection,
		Summary:       "Delete a connection and its credential",
		DefaultStatus: http.StatusNoContent,
	}, s.deleteConnection)
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

type createInput struct {
	Body struct {
		UserID   string `json:"user_id" doc:"Whose connection it is: an id of the application's own, at most 256 bytes." minLength:"1"`
		Provider string `json:"provider" doc:"Name of the provider." example:"github"`
		Token    string `json:"token" doc:"The API token, at most 8 KiB. It is stored encrypted and never given out." writeOnly:"true" minLength:"1"`
		Auth     string `json:"auth,omitempty" doc:"Id of the provider's auth block; its first one if left out."`
		Name     string `json:"name,omitempty" doc:"The user's own word for the connection." maxLength:"100"`
		Account  string `json:"account,omitempty" doc:"The provider's id of the account. Deliveries of the account's webhooks become the user's events."`
	}
}

type connectionOutput struct {
	Body connection
}

func (s *Service) createConnection(ctx context.Context, in *createInput) (*connectionOutput, error) {
	created, err := s.store.create(ctx, newConnection{
		UserID:   in.Body.UserID,
		Provider: in.Body.Provider,
		Name:     in.Body.Name,
		Account:  in.Body.Account,
		Auth:     in.Body.Auth,
		Token:    providers.NewSecret([]byte(in.Body.Token)),
	})
	if err != nil {
		return nil, s.problem(ctx, err)
	}
	return &connectionOutput{Body: created}, nil
}

type listInput struct {
	UserID   string `query:"user_id" doc:"Only this user's connections."`
	Provider string `query:"provider" doc:"Only connections to this provider."`
	Cursor   string `query:"cursor" doc:"next_cursor of the page before."`
	Limit    int    `query:"limit" doc:"How many." minimum:"1" maximum:"200" default:"50"`
}

type listOutput struct {
	Body struct {
		Connections []connection `json:"connections" nullable:"false"`
		NextCursor  string       `json:"next_cursor,omitempty" doc:"Cursor of the next page; absent on the last one."`
	}
}

func (s *Service) listConnections(ctx context.Context, in *listInput) (*listOutput, error) {
	items, next, err := s.store.list(ctx, query{user: in.UserID, provider: in.Provider, cursor: in.Cursor, limit: in.Limit})
	if err != nil {
		return nil, s.problem(ctx, err)
	}
	var out listOutput
	out.Body.Connections, out.Body.NextCursor = items, next
	return &out, nil
}

type oneInput struct {
	ID     string `path:"id" doc:"Id of the connection."`
	UserID string `query:"user_id" doc:"The user that it must belong to. Left out: any."`
}

func (s *Service) getConnection(ctx context.Context, in *oneInput) (*connectionOutput, error) {
	found, err := s.store.get(ctx, in.UserID, in.ID)
	if err != nil {
		return nil, s.problem(ctx, err)
	}
	return &connectionOutput{Body: found}, nil
}

func (s *Service) deleteConnection(ctx context.Context, in *oneInput) (*struct{}, error) {
	if err := s.store.delete(ctx, in.UserID, in.ID); err != nil {
		return nil, s.problem(ctx, err)
	}
	return nil, nil
}
