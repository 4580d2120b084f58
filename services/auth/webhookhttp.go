package auth

import (
	"context"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/plugfn/plugfn/pkg/providers"
)

func (s *Service) registerWebhooks(api huma.API) {
	register(api, huma.Operation{
		OperationID: "list-webhook-secrets", Method: http.MethodGet, Path: pathWebhooks,
		Summary: "List the webhook secrets that are stored",
	}, s.listWebhooks)
	register(api, huma.Operation{
		OperationID: "add-webhook-secret", Method: http.MethodPost, Path: pathWebhooks, DefaultStatus: http.StatusCreated,
		Summary: "Add a webhook secret, beside those that there are or instead of them",
	}, s.addWebhook)
	register(api, huma.Operation{
		OperationID: "delete-webhook-secret", Method: http.MethodDelete, Path: pathWebhooks + "/{id}", DefaultStatus: http.StatusNoContent,
		Summary: "Delete a webhook secret that is stored",
	}, s.deleteWebhook)
}

// webhookView is a webhook secret as the API shows it.
type webhookView struct {
	ID        string    `json:"id"`
	Provider  string    `json:"provider"`
	NotBefore time.Time `json:"not_before,omitzero" doc:"From when on deliveries may be signed with it; absent: always."`
	NotAfter  time.Time `json:"not_after,omitzero" doc:"Until when; absent: for ever."`
	CreatedAt time.Time `json:"created_at"`
}

func viewOfWebhook(w webhookSecret) webhookView {
	return webhookView{ID: w.ID, Provider: w.Provider, NotBefore: w.NotBefore, NotAfter: w.NotAfter, CreatedAt: w.CreatedAt}
}

type listWebhooksInput struct {
	Provider string `path:"provider" doc:"Name of the provider."`
}

type listWebhooksOutput struct {
	Body struct {
		Secrets []webhookView `json:"webhook_secrets" nullable:"false"`
	}
}

func (s *Service) listWebhooks(ctx context.Context, in *listWebhooksInput) (*listWebhooksOutput, error) {
	if _, ok := s.flows.providers.Pack(in.Provider); !ok {
		return nil, s.problem(ctx, unknownProvider(s.flows.providers, in.Provider))
	}
	all, err := s.flows.apps.webhooks(ctx, in.Provider)
	if err != nil {
		return nil, s.problem(ctx, err)
	}
	var out listWebhooksOutput
	out.Body.Secrets = make([]webhookView, len(all))
	for i, one := range all {
		out.Body.Secrets[i] = viewOfWebhook(one)
	}
	return &out, nil
}

type addWebhookInput struct {
	Provider string `path:"provider" doc:"Name of the provider."`
	Body     struct {
		Secret       string    `json:"secret" doc:"What the provider signs its deliveries with, at most 8 KiB. It is stored encrypted and handed to the ingress only." writeOnly:"true" minLength:"1"`
		NotBefore    time.Time `json:"not_before,omitzero" required:"false" doc:"From when on deliveries may be signed with it; at once if left out."`
		NotAfter     time.Time `json:"not_after,omitzero" required:"false" doc:"Until when; for ever if left out."`
		RetireOthers int       `json:"retire_others_after,omitempty" doc:"For how many seconds the others that are stored are still good; as they are if left out." minimum:"1" maximum:"31536000"`
	}
}

type webhookOutput struct{ Body webhookView }

func (s *Service) addWebhook(ctx context.Context, in *addWebhookInput) (*webhookOutput, error) {
	added, err := s.flows.apps.addWebhook(ctx, webhookInput{
		Provider: in.Provider, Secret: providers.NewSecret([]byte(in.Body.Secret)),
		NotBefore: in.Body.NotBefore, NotAfter: in.Body.NotAfter, RetireOthers: time.Duration(in.Body.RetireOthers) * time.Second,
	})
	if err != nil {
		return nil, s.problem(ctx, err)
	}
	s.log.Info().Str("provider", added.Provider).Str("secret", added.ID).Msg("webhook secret added")
	return &webhookOutput{Body: viewOfWebhook(added)}, nil
}

type deleteWebhookInput struct {
	Provider string `path:"provider" doc:"Name of the provider."`
	ID       string `path:"id" doc:"Id of the secret."`
}

func (s *Service) deleteWebhook(ctx context.Context, in *deleteWebhookInput) (*struct{}, error) {
	if err := s.flows.apps.deleteWebhook(ctx, in.Provider, in.ID); err != nil {
		return nil, s.problem(ctx, err)
	}
	s.log.Info().Str("provider", in.Provider).Str("secret", in.ID).Msg("webhook secret deleted")
	return nil, nil
}
