package auth

import (
	"context"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/plugfn/plugfn/pkg/events"
	"github.com/plugfn/plugfn/pkg/providers"
)

const (
	pathApps = "/v1/apps"
	pathApp  = "/v1/apps/{provider}"

	pathWebhooks = pathApp + "/webhook-secrets"
)

func (s *Service) registerApps(api huma.API) {
	register(api, huma.Operation{
		OperationID: "list-apps", Method: http.MethodGet, Path: pathApps,
		Summary: "List the OAuth clients that are set",
	}, s.listApps)
	register(api, huma.Operation{
		OperationID: "set-app", Method: http.MethodPut, Path: pathApp,
		Summary: "Set an OAuth client: new connections are made with it",
	}, s.setApp)
	register(api, huma.Operation{
		OperationID: "delete-app", Method: http.MethodDelete, Path: pathApp, DefaultStatus: http.StatusNoContent,
		Summary: "Delete an OAuth client that is stored",
	}, s.deleteApp)
	s.registerWebhooks(api)
}

// appView is an app as the API shows it.
type appView struct {
	Provider        string    `json:"provider"`
	UserID          string    `json:"user_id,omitempty" doc:"The user whose own client it is; absent where it is for everybody."`
	ClientID        string    `json:"client_id"`
	HasClientSecret bool      `json:"has_client_secret"`
	HasPrivateKey   bool      `json:"has_private_key"`
	Source          string    `json:"source" enum:"environment,store" doc:"Where it is set: in the settings of the program, or here."`
	InUse           bool      `json:"in_use" doc:"New connections are made with it."`
	RedirectURI     string    `json:"redirect_uri,omitempty" doc:"What to register at the provider as the redirect or callback URL. Absent while PLUGFN_PUBLIC_URL is not set."`
	UpdatedAt       time.Time `json:"updated_at,omitzero"`
}

type listAppsInput struct {
	Provider string `query:"provider" doc:"Only those of this provider."`
	UserID   string `query:"user_id" doc:"Only this user's own, and those for everybody."`
}

type listAppsOutput struct {
	Body struct {
		Apps []appView `json:"apps" nullable:"false"`
	}
}

func (s *Service) listApps(ctx context.Context, in *listAppsInput) (*listAppsOutput, error) {
	if _, ok := s.flows.providers.Pack(in.Provider); !ok && in.Provider != "" {
		return nil, s.problem(ctx, unknownProvider(s.flows.providers, in.Provider))
	}
	views, err := s.flows.appViews(ctx, in.Provider, in.UserID)
	if err != nil {
		return nil, s.problem(ctx, err)
	}
	var out listAppsOutput
	out.Body.Apps = views
	return &out, nil
}

// appViews lists the apps of all providers or one, "" for all.
func (f *flows) appViews(ctx context.Context, provider, user string) ([]appView, error) {
	views := []appView{}
	for _, name := range f.providers.Names() {
		if provider != "" && provider != name {
			continue
		}
		settings := f.providers.App(name)
		if settings.ClientID != "" {
			views = append(views, appView{
				Provider: name, ClientID: settings.ClientID, HasClientSecret: !settings.ClientSecret.IsZero(),
				HasPrivateKey: !settings.PrivateKey.IsZero(), Source: fromEnvironment, InUse: true, RedirectURI: f.redirectURI(name),
			})
		}
		stored, err := f.apps.scan(ctx, prefixClient+events.Token(name)+".*.*", func(a app) bool {
			return a.Provider == name && (user == "" || a.UserID == "" || a.UserID == user)
		})
		if err != nil {
			return nil, err
		}
		views = append(views, f.storedViews(stored, settings.ClientID != "")...)
	}
	return views, nil
}

// storedViews shows the stored apps of a provider, of each user the latest
// first.
func (f *flows) storedViews(stored []app, isSet bool) []appView {
	var views []appView
	for i, a := range stored {
		latest := i == 0 || stored[i-1].UserID != a.UserID
		view := f.view(&a)
		view.InUse = latest && (a.UserID != "" || !isSet)
		views = append(views, view)
	}
	return views
}

func (f *flows) view(a *app) appView {
	return appView{
		Provider: a.Provider, UserID: a.UserID, ClientID: a.ClientID, HasClientSecret: a.HasSecret, HasPrivateKey: a.HasKey,
		Source: fromStore, RedirectURI: f.redirectURI(a.Provider), UpdatedAt: a.UpdatedAt,
	}
}

type setAppInput struct {
	Provider string `path:"provider" doc:"Name of the provider."`
	Body     struct {
		UserID       string `json:"user_id,omitempty" doc:"The user whose own client it is; for everybody if left out."`
		ClientID     string `json:"client_id" doc:"The client id that the provider gave the app." minLength:"1"`
		ClientSecret string `json:"client_secret,omitempty" doc:"Its secret, at most 8 KiB. It is stored encrypted and never given out. Left out, the one that is stored with this client id stays." writeOnly:"true"`
		PrivateKey   string `json:"private_key,omitempty" doc:"Its private key in PEM, where the provider gives one. Likewise." writeOnly:"true"`
	}
}

type appOutput struct{ Body appView }

func (s *Service) setApp(ctx context.Context, in *setAppInput) (*appOutput, error) {
	stored, err := s.flows.apps.set(ctx, appInput{
		Provider: in.Provider, UserID: in.Body.UserID, ClientID: in.Body.ClientID,
		ClientSecret: providers.NewSecret([]byte(in.Body.ClientSecret)), PrivateKey: providers.NewSecret([]byte(in.Body.PrivateKey)),
	})
	if err != nil {
		return nil, s.problem(ctx, err)
	}
	s.refresher.breakers.reset(appName{stored.Provider, stored.ClientID}) // it may be mended
	view := s.flows.view(&stored)
	view.InUse = stored.UserID != "" || s.flows.providers.App(stored.Provider).ClientID == ""
	s.log.Info().Str("provider", stored.Provider).Str("client", stored.ClientID).Bool("in_use", view.InUse).Msg("app set")
	return &appOutput{Body: view}, nil
}

type deleteAppInput struct {
	Provider string `path:"provider" doc:"Name of the provider."`
	ClientID string `query:"client_id" doc:"The client id of the app." required:"true"`
	UserID   string `query:"user_id" doc:"The user whose own client it is; left out: it is for everybody."`
	Force    bool   `query:"force" doc:"Delete it even if connections need it: they cannot be refreshed then, until it is set again."`
}

func (s *Service) deleteApp(ctx context.Context, in *deleteAppInput) (*struct{}, error) {
	if !in.Force {
		n, err := s.store.mintedBy(ctx, in.Provider, in.UserID, in.ClientID)
		if err != nil {
			return nil, s.problem(ctx, err)
		}
		if n > 0 {
			return nil, &problem{
				Title: http.StatusText(http.StatusConflict), Status: http.StatusConflict,
				Detail: "connections were made with this app and cannot be refreshed without it; delete them first, or say force",
			}
		}
	}
	if err := s.flows.apps.delete(ctx, in.Provider, in.UserID, in.ClientID); err != nil {
		return nil, s.problem(ctx, err)
	}
	s.log.Info().Str("provider", in.Provider).Str("client", in.ClientID).Msg("app deleted")
	return nil, nil
}

// mintedBy counts the connections that an app has minted. An empty user stands
// for any.
func (s *store) mintedBy(ctx context.Context, provider, user, clientID string) (n int, err error) {
	seen := map[string]bool{}
	err = scan(ctx, s.kv, anyToken(user)+"."+events.Token(provider)+".*", func(entry jetstream.KeyValueEntry) bool {
		r, err := decodeRecord(entry.Key(), entry.Value())
		if err == nil && r.App == clientID && (user == "" || r.UserID == user) {
			seen[entry.Key()] = true
		}
		return true
	})
	return len(seen), err
}
