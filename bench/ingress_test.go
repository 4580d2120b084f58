package bench

import (
	"context"
	"net/http"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"golang.org/x/sync/errgroup"

	"github.com/plugfn/plugfn/internal/bus"
	"github.com/plugfn/plugfn/pkg/providers"
	"github.com/plugfn/plugfn/pkg/providers/catalog"
	"github.com/plugfn/plugfn/services/auth"
	"github.com/plugfn/plugfn/services/ingress"
)

// receiving is an ingress with all that it has in a program: the spool, and what
// follows stored secrets and endpoints.
type receiving struct {
	*ingress.Service
	secrets   *auth.WebhookSecrets
	endpoints *auth.Endpoints
}

func newReceiving(on *bus.Bus, spool jetstream.JetStream) (*receiving, error) {
	packs, err := providers.LoadAll(catalog.FS)
	if err != nil {
		return nil, err
	}
	registry, err := providers.NewRegistry(packs, map[string]providers.App{
		"github": {WebhookSecrets: []providers.Secret{providers.NewSecret([]byte(webhookSecret))}},
	})
	if err != nil {
		return nil, err
	}
	r := &receiving{}
	if r.secrets, err = auth.NewWebhookSecrets(auth.WebhookSecretsConfig{Conn: on.Conn(), JetStream: on.JetStream()}); err != nil {
		return nil, err
	}
	if r.endpoints, err = auth.NewEndpoints(auth.EndpointsConfig{Conn: on.Conn(), JetStream: on.JetStream(), Providers: registry}); err != nil {
		return nil, err
	}
	r.Service, err = ingress.New(ingress.Config{
		JetStream: on.JetStream(), Providers: registry, Secrets: r.secrets, Endpoints: r.endpoints, Spool: spool,
		GroupCommit: on.Durability() == bus.Single, PublicURL: "https://hooks.example.com",
		Rate: 1 << 20, // one endpoint gets more here than any provider sends
	})
	return r, err
}

// Run ends when ctx does.
func (r *receiving) Run(ctx context.Context) error {
	all, ctx := errgroup.WithContext(ctx)
	for _, run := range []func(context.Context) error{r.Service.Run, r.secrets.Run, r.endpoints.Run} {
		all.Go(func() error { return run(ctx) })
	}
	return all.Wait()
}

// routes returns the routes, once deliveries are taken.
func (r *receiving) routes(ctx context.Context) (*http.ServeMux, error) {
	const patience = 20 * time.Second
	for limit := time.Now().Add(patience); r.Ready(ctx) != nil; time.Sleep(time.Millisecond) {
		if time.Now().After(limit) {
			return nil, r.Ready(ctx)
		}
	}
	mux := http.NewServeMux()
	r.Mount(mux)
	return mux, nil
}
