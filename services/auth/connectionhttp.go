package auth

import (
	"context"
	"net/http"

	"github.com/danielgtaylor/huma/v2"

	"github.com/plugfn/plugfn/pkg/events"
	"github.com/plugfn/plugfn/pkg/providers"
)

const (
	pathConnections = "/v1/connections"
	pathConnection  = "/v1/connections/{id}"
)

// registerConnections adds the operations on connections.
func (s *Service) registerConnections(api huma.API) {
	register(api, huma.Operation{
		OperationID: "create-connection", Method: http.MethodPost, Path: pathConnections, DefaultStatus: http.StatusCreated,
		Summary: "Connect an account with a credential that you have",
	}, s.createConnection)
	register(api, huma.Operation{
		OperationID: "list-connections", Method: http.MethodGet, Path: pathConnections,
		Summary: "List connections",
	}, s.listConnections)
	register(api, huma.Operation{
		OperationID: "get-connection", Method: http.MethodGet, Path: pathConnection,
		Summary: "Show a connection",
	}, s.getConnection)
	register(api, huma.Operation{
		OperationID: "amend-connection", Method: http.MethodPatch, Path: pathConnection,
		Summary: "Rename a connection, or make it the default",
	}, s.amendConnection)
	register(api, huma.Operation{
		OperationID: "delete-connection", Method: http.MethodDelete, Path: pathConnection,
		Summary: "Delete a connection and its credential, also at the provider",
	}, s.deleteConnection)
	register(api, huma.Operation{
		OperationID: "refresh-connection", Method: http.MethodPost, Path: pathConnection + "/refresh",
		Summary: "Get a newer credential now",
	}, s.refreshConnection)
	register(api, huma.Operation{
		OperationID: "test-connection", Method: http.MethodPost, Path: pathConnection + "/test",
		Summary: "Ask the provider whether the credential is good",
	}, s.testConnection)
	register(api, huma.Operation{
		OperationID: "reconnect-connection", Method: http.MethodPost, Path: pathConnection + "/reconnect",
		Summary: "Replace the credential by another one that you have",
	}, s.reconnectConnection)
	register(api, huma.Operation{
		OperationID: "list-connection-audit", Method: http.MethodGet, Path: pathConnection + "/audit",
		Summary: "List who used and who changed a connection, the latest first",
	}, s.auditConnection)
}

type createInput struct {
	Body struct {
		UserID   string            `json:"user_id" doc:"Whose connection it is: an id of the application's own, at most 256 bytes." minLength:"1"`
		Provider string            `json:"provider" doc:"Name of the provider." example:"github"`
		Token    string            `json:"token,omitempty" doc:"The API token, at most 8 KiB: short for the field of that name. It is stored encrypted and never given out." writeOnly:"true"`
		Fields   map[string]string `json:"fields,omitempty" doc:"What the auth block asks for, by name, at most 8 KiB each. Stored as the token is." writeOnly:"true"`
		Auth     string            `json:"auth,omitempty" doc:"Id of the provider's auth block; its first one that takes a credential if left out."`
		Name     string            `json:"name,omitempty" doc:"The user's own word for the connection." maxLength:"100"`
		Account  string            `json:"account,omitempty" doc:"The provider's id of the account. Deliveries of the account's webhooks become the user's events."`
	}
}

// secretsOf hides what a caller has sent in the clear.
func secretsOf(fields map[string]string) map[string]providers.Secret {
	hidden := make(map[string]providers.Secret, len(fields))
	for name, value := range fields {
		hidden[name] = providers.NewSecret([]byte(value))
	}
	return hidden
}

type connectionOutput struct {
	Body connection
}

func (s *Service) createConnection(ctx context.Context, in *createInput) (*connectionOutput, error) {
	return s.shown(ctx)(s.create(ctx, newConnection{
		UserID:   in.Body.UserID,
		Provider: in.Body.Provider,
		Name:     in.Body.Name,
		Account:  in.Body.Account,
		Auth:     in.Body.Auth,
		Token:    providers.NewSecret([]byte(in.Body.Token)),
		Fields:   secretsOf(in.Body.Fields),
	}))
}

// shown makes the answer of what an operation on a connection came to.
func (s *Service) shown(ctx context.Context) func(connection, error) (*connectionOutput, error) {
	return func(c connection, err error) (*connectionOutput, error) {
		if err != nil {
			return nil, s.problem(ctx, err)
		}
		return &connectionOutput{Body: c}, nil
	}
}

type listInput struct {
	UserID   string                  `query:"user_id" doc:"Only this user's connections."`
	Provider string                  `query:"provider" doc:"Only connections to this provider."`
	Status   events.ConnectionStatus `query:"status" doc:"Only connections with this status." enum:"pending,active,needs_reauth,revoked,error"`
	Cursor   string                  `query:"cursor" doc:"next_cursor of the page before."`
	Limit    int                     `query:"limit" doc:"How many." minimum:"1" maximum:"200" default:"50"`
}

type listOutput struct {
	Body struct {
		Connections []connection `json:"connections" nullable:"false"`
		NextCursor  string       `json:"next_cursor,omitempty" doc:"Cursor of the next page; absent on the last one."`
	}
}

func (s *Service) listConnections(ctx context.Context, in *listInput) (*listOutput, error) {
	items, next, err := s.store.list(ctx, query{user: in.UserID, provider: in.Provider, status: in.Status, cursor: in.Cursor, limit: in.Limit})
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
	return s.shown(ctx)(s.store.get(ctx, in.UserID, in.ID))
}

type amendInput struct {
	ID     string `path:"id" doc:"Id of the connection."`
	UserID string `query:"user_id" doc:"The user that it must belong to. Left out: any."`
	Body   struct {
		Name    *string `json:"name,omitempty" doc:"The user's own word for the connection; left out: as it is." maxLength:"100"`
		Default *bool   `json:"default,omitempty" doc:"Whether it is meant where a request names no connection and the user has several to the provider. There is one default: the latest."`
	}
}

func (s *Service) amendConnection(ctx context.Context, in *amendInput) (*connectionOutput, error) {
	return s.shown(ctx)(s.store.amend(ctx, in.UserID, in.ID, amendment{Name: in.Body.Name, Default: in.Body.Default}))
}

type deleteOutput struct {
	Body disconnected
}

func (s *Service) deleteConnection(ctx context.Context, in *oneInput) (*deleteOutput, error) {
	gone, err := s.disconnect(ctx, in.UserID, in.ID)
	if err != nil {
		return nil, s.problem(ctx, err)
	}
	return &deleteOutput{Body: gone}, nil
}

func (s *Service) refreshConnection(ctx context.Context, in *oneInput) (*connectionOutput, error) {
	return s.shown(ctx)(s.refreshNow(ctx, in.UserID, in.ID))
}

type testOutput struct {
	Body tested
}

func (s *Service) testConnection(ctx context.Context, in *oneInput) (*testOutput, error) {
	found, err := s.test(ctx, in.UserID, in.ID)
	if err != nil {
		return nil, s.problem(ctx, err)
	}
	return &testOutput{Body: found}, nil
}

type reconnectInput struct {
	ID     string `path:"id" doc:"Id of the connection."`
	UserID string `query:"user_id" doc:"The user that it must belong to. Left out: any."`
	Body   struct {
		Token   string            `json:"token,omitempty" doc:"As for a new connection." writeOnly:"true"`
		Fields  map[string]string `json:"fields,omitempty" doc:"As for a new connection." writeOnly:"true"`
		Auth    string            `json:"auth,omitempty" doc:"Id of the provider's auth block; that of the connection if left out."`
		Account string            `json:"account,omitempty" doc:"The provider's id of the account. It must be that of the connection, where that is known."`
	}
}

func (s *Service) reconnectConnection(ctx context.Context, in *reconnectInput) (*connectionOutput, error) {
	return s.shown(ctx)(s.replace(ctx, in.ID, newConnection{
		UserID:  in.UserID,
		Account: in.Body.Account,
		Auth:    in.Body.Auth,
		Token:   providers.NewSecret([]byte(in.Body.Token)),
		Fields:  secretsOf(in.Body.Fields),
	}))
}

type auditOutput struct {
	Body struct {
		Entries []entry `json:"entries" nullable:"false"`
	}
}

func (s *Service) auditConnection(ctx context.Context, in *oneInput) (*auditOutput, error) {
	all, err := s.store.history(ctx, in.UserID, in.ID)
	if err != nil {
		return nil, s.problem(ctx, err)
	}
	var out auditOutput
	out.Body.Entries = all
	return &out, nil
}
