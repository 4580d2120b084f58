package auth

import (
	"context"
	"encoding/json"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/plugfn/plugfn/internal/endpoint"
	"github.com/plugfn/plugfn/pkg/providers"
)

const (
	pathEndpoints = "/v1/webhooks"
	pathEndpoint  = "/v1/webhooks/{id}"
)

// registerEndpoints adds the operations on webhook endpoints.
func (s *Service) registerEndpoints(api huma.API) {
	register(api, huma.Operation{
		OperationID: "create-webhook", Method: http.MethodPost, Path: pathEndpoints, DefaultStatus: http.StatusCreated,
		Summary: "Make a webhook endpoint for one connection",
	}, s.createEndpoint)
	register(api, huma.Operation{
		OperationID: "list-webhooks", Method: http.MethodGet, Path: pathEndpoints,
		Summary: "List webhook endpoints",
	}, s.listEndpoints)
	register(api, huma.Operation{
		OperationID: "get-webhook", Method: http.MethodGet, Path: pathEndpoint,
		Summary: "Show a webhook endpoint",
	}, s.getEndpoint)
	register(api, huma.Operation{
		OperationID: "amend-webhook", Method: http.MethodPatch, Path: pathEndpoint,
		Summary: "Rename a webhook endpoint, or change how its deliveries are read",
	}, s.amendEndpoint)
	register(api, huma.Operation{
		OperationID: "delete-webhook", Method: http.MethodDelete, Path: pathEndpoint, DefaultStatus: http.StatusNoContent,
		Summary: "Delete a webhook endpoint and its secrets",
	}, s.deleteEndpoint)
	register(api, huma.Operation{
		OperationID: "rotate-webhook", Method: http.MethodPost, Path: pathEndpoint + "/rotate",
		Summary: "Give a webhook endpoint a new secret, good at once; the one before is good for a while",
	}, s.rotateEndpoint)
	register(api, huma.Operation{
		OperationID: "pause-webhook", Method: http.MethodPost, Path: pathEndpoint + "/pause",
		Summary: "Refuse the deliveries to a webhook endpoint, as if it were not there",
	}, s.pauseEndpoint)
	register(api, huma.Operation{
		OperationID: "resume-webhook", Method: http.MethodPost, Path: pathEndpoint + "/resume",
		Summary: "Take the deliveries to a webhook endpoint again",
	}, s.resumeEndpoint)
}

// endpointView is an endpoint as the API shows it.
type endpointView struct {
	ID             string               `json:"id"`
	Provider       string               `json:"provider"`
	UserID         string               `json:"user_id"`
	ConnectionID   string               `json:"connection_id,omitempty"`
	Name           string               `json:"name,omitempty"`
	State          endpoint.State       `json:"state" enum:"pending,active,paused" doc:"pending: it waits for its secret, or for the first genuine delivery."`
	URL            string               `json:"url,omitempty" doc:"What to register at the provider; who knows it can send to it. Absent while neither PLUGFN_PUBLIC_URL nor a URL of its own is set."`
	Path           string               `json:"path" doc:"Where deliveries arrive at PlugFn."`
	Hint           string               `json:"hint,omitempty" doc:"Where to register it at the provider."`
	Webhooks       map[string]any       `json:"webhooks,omitempty" doc:"What it adds to the webhooks block of the provider's pack."`
	Secrets        []endpointSecretView `json:"secrets" nullable:"false" doc:"What its deliveries may be signed with, the latest first."`
	Secret         string               `json:"secret,omitempty" doc:"The secret that was made just now. It is shown this once."`
	LastDeliveryAt time.Time            `json:"last_delivery_at,omitzero" doc:"When a genuine delivery came last, to the minute; absent if none did in the last 90 days."`
	CreatedAt      time.Time            `json:"created_at"`
	UpdatedAt      time.Time            `json:"updated_at"`
}

type endpointSecretView struct {
	ID        string    `json:"id"`
	NotAfter  time.Time `json:"not_after,omitzero" doc:"Until when it is good; absent: for ever."`
	Learned   bool      `json:"learned,omitempty" doc:"A handshake of the provider brought it."`
	CreatedAt time.Time `json:"created_at"`
}

// view shows an endpoint, with the secret that was made for it if there is one.
func (e *endpoints) view(ctx context.Context, r *endpointRecord, made providers.Secret) (endpointView, error) {
	path, whole, err := e.address(r)
	if err != nil {
		return endpointView{}, err
	}
	v := endpointView{
		ID: r.ID, Provider: r.Provider, UserID: r.UserID, ConnectionID: r.ConnectionID, Name: r.Name, State: r.State,
		URL: whole, Path: path, Secrets: []endpointSecretView{}, Secret: string(made.Reveal()),
		LastDeliveryAt: e.lastDelivery(ctx, r), CreatedAt: r.CreatedAt, UpdatedAt: r.UpdatedAt,
	}
	if pack, ok := e.providers.Pack(r.Provider); ok && pack.Webhooks != nil {
		v.Hint = pack.Webhooks.Hint
	}
	if len(r.Webhooks) > 0 {
		_ = json.Unmarshal(r.Webhooks, &v.Webhooks) // it was an object when it was stored
	}
	for _, s := range r.Secrets {
		v.Secrets = append(v.Secrets, endpointSecretView{ID: s.ID, NotAfter: s.NotAfter, Learned: s.Learned, CreatedAt: s.CreatedAt})
	}
	return v, nil
}

type endpointOutput struct{ Body endpointView }

// shownEndpoint makes the answer of what an operation on an endpoint came to.
func (s *Service) shownEndpoint(ctx context.Context, r endpointRecord, made providers.Secret, err error) (*endpointOutput, error) {
	if err != nil {
		return nil, s.problem(ctx, err)
	}
	v, err := s.endpoints.view(ctx, &r, made)
	if err != nil {
		return nil, s.problem(ctx, err)
	}
	return &endpointOutput{Body: v}, nil
}

type createEndpointInput struct {
	Body struct {
		Provider     string         `json:"provider" doc:"Name of the provider." example:"github"`
		UserID       string         `json:"user_id" doc:"Whose the events are." minLength:"1"`
		ConnectionID string         `json:"connection_id,omitempty" doc:"The user's connection that the deliveries are about; none: they are the user's alone."`
		Name         string         `json:"name,omitempty" doc:"The user's own word for it." maxLength:"100"`
		Secret       string         `json:"secret,omitempty" doc:"What the provider signs its deliveries with, at most 8 KiB. Left out, one is made and shown once." writeOnly:"true"`
		SecretLater  bool           `json:"secret_later,omitempty" doc:"The provider shows its secret only once it has the URL, or its handshake brings it: until then the endpoint is pending."`
		URL          string         `json:"url,omitempty" doc:"The URL as the provider will have it, where deliveries reach PlugFn by another one than its own."`
		Webhooks     map[string]any `json:"webhooks,omitempty" doc:"What the endpoint adds to the webhooks block of the pack, such as for the provider generic."`
	}
}

func (s *Service) createEndpoint(ctx context.Context, in *createEndpointInput) (*endpointOutput, error) {
	fragment, err := fragmentOf(in.Body.Webhooks)
	if err != nil {
		return nil, s.problem(ctx, err)
	}
	r, made, err := s.endpoints.create(ctx, endpointInput{
		Provider: in.Body.Provider, UserID: in.Body.UserID, ConnectionID: in.Body.ConnectionID, Name: in.Body.Name, URL: in.Body.URL,
		Webhooks: fragment, Secret: providers.NewSecret([]byte(in.Body.Secret)), Later: in.Body.SecretLater,
	})
	return s.shownEndpoint(ctx, r, made, err)
}

func fragmentOf(webhooks map[string]any) (json.RawMessage, error) {
	if webhooks == nil {
		return nil, nil
	}
	text, err := json.Marshal(webhooks)
	if err != nil {
		return nil, invalid("webhooks", "must be a JSON object")
	}
	return text, nil
}

type listEndpointsInput struct {
	UserID       string         `query:"user_id" doc:"Only this user's."`
	Provider     string         `query:"provider" doc:"Only of this provider."`
	ConnectionID string         `query:"connection_id" doc:"Only of this connection."`
	State        endpoint.State `query:"state" doc:"Only with this state." enum:"pending,active,paused"`
	Cursor       string         `query:"cursor" doc:"next_cursor of the page before." maxLength:"64"`
	Limit        int            `query:"limit" doc:"How many." minimum:"1" maximum:"200" default:"50"`
}

type listEndpointsOutput struct {
	Body struct {
		Webhooks   []endpointView `json:"webhooks" nullable:"false"`
		NextCursor string         `json:"next_cursor,omitempty" doc:"Cursor of the next page; absent on the last one."`
	}
}

func (s *Service) listEndpoints(ctx context.Context, in *listEndpointsInput) (*listEndpointsOutput, error) {
	all, next, err := s.endpoints.list(ctx, endpointQuery{
		user: in.UserID, provider: in.Provider, connection: in.ConnectionID, state: in.State, cursor: in.Cursor, limit: in.Limit,
	})
	if err != nil {
		return nil, s.problem(ctx, err)
	}
	var out listEndpointsOutput
	out.Body.Webhooks, out.Body.NextCursor = make([]endpointView, 0, len(all)), next
	for _, r := range all {
		v, err := s.endpoints.view(ctx, &r, providers.Secret{})
		if err != nil {
			s.log.Error().Err(err).Str("endpoint", r.ID).Msg("endpoint unreadable")
			continue // the others are good all the same
		}
		out.Body.Webhooks = append(out.Body.Webhooks, v)
	}
	return &out, nil
}

type oneEndpointInput struct {
	ID     string `path:"id" doc:"Id of the endpoint." maxLength:"64"`
	UserID string `query:"user_id" doc:"The user that it must belong to. Left out: any."`
}

func (s *Service) getEndpoint(ctx context.Context, in *oneEndpointInput) (*endpointOutput, error) {
	k, err := s.endpoints.find(ctx, in.UserID, in.ID)
	return s.shownEndpoint(ctx, k.endpointRecord, providers.Secret{}, err)
}

type amendEndpointInput struct {
	ID     string `path:"id" doc:"Id of the endpoint." maxLength:"64"`
	UserID string `query:"user_id" doc:"The user that it must belong to. Left out: any."`
	Body   struct {
		Name     *string        `json:"name,omitempty" doc:"The user's own word for it; left out: as it is." maxLength:"100"`
		URL      *string        `json:"url,omitempty" doc:"The URL as the provider has it; empty: PlugFn's own; left out: as it is."`
		Webhooks map[string]any `json:"webhooks,omitempty" doc:"What the endpoint adds to the webhooks block of the pack; left out: as it is."`
	}
}

func (s *Service) amendEndpoint(ctx context.Context, in *amendEndpointInput) (*endpointOutput, error) {
	fragment, err := fragmentOf(in.Body.Webhooks)
	if err != nil {
		return nil, s.problem(ctx, err)
	}
	r, err := s.endpoints.amend(ctx, in.UserID, in.ID, endpointAmendment{Name: in.Body.Name, URL: in.Body.URL, Webhooks: fragment})
	return s.shownEndpoint(ctx, r, providers.Secret{}, err)
}

func (s *Service) deleteEndpoint(ctx context.Context, in *oneEndpointInput) (*struct{}, error) {
	if _, err := s.endpoints.delete(ctx, in.UserID, in.ID); err != nil {
		return nil, s.problem(ctx, err)
	}
	return nil, nil
}

type rotateEndpointInput struct {
	ID     string `path:"id" doc:"Id of the endpoint." maxLength:"64"`
	UserID string `query:"user_id" doc:"The user that it must belong to. Left out: any."`
	Body   struct {
		Secret  string `json:"secret,omitempty" doc:"The new secret, where the provider has made it. Left out, one is made and shown once." writeOnly:"true"`
		Overlap *int   `json:"overlap_seconds,omitempty" doc:"For how long the secrets before it are still good; 24 hours if left out, 0: they end now." minimum:"0" maximum:"31536000"`
	}
}

func (s *Service) rotateEndpoint(ctx context.Context, in *rotateEndpointInput) (*endpointOutput, error) {
	overlap := defaultOverlap
	if in.Body.Overlap != nil {
		overlap = time.Duration(*in.Body.Overlap) * time.Second
	}
	r, made, err := s.endpoints.rotate(ctx, in.UserID, in.ID, providers.NewSecret([]byte(in.Body.Secret)), overlap)
	return s.shownEndpoint(ctx, r, made, err)
}

func (s *Service) pauseEndpoint(ctx context.Context, in *oneEndpointInput) (*endpointOutput, error) {
	r, err := s.endpoints.pause(ctx, in.UserID, in.ID, true)
	return s.shownEndpoint(ctx, r, providers.Secret{}, err)
}

func (s *Service) resumeEndpoint(ctx context.Context, in *oneEndpointInput) (*endpointOutput, error) {
	r, err := s.endpoints.pause(ctx, in.UserID, in.ID, false)
	return s.shownEndpoint(ctx, r, providers.Secret{}, err)
}
