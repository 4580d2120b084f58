// Command hasty is an ingress that answers before the bus has acknowledged. It
// exists to prove that the prober finds out.
package main

import (
	"bytes"
	"context"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"os"

	"github.com/plugfn/plugfn/internal/bus"
	"github.com/plugfn/plugfn/pkg/providers"
	"github.com/plugfn/plugfn/pkg/providers/catalog"
	"github.com/plugfn/plugfn/services/ingress"
)

func main() {
	ctx := context.Background()
	packs, err := providers.LoadAll(catalog.FS)
	check(err)
	registry, err := providers.NewRegistry(packs, map[string]providers.App{
		"github": {WebhookSecrets: []providers.Secret{providers.NewSecret([]byte(os.Getenv("PLUGFN_GITHUB_WEBHOOK_SECRET")))}},
	})
	check(err)
	b, err := bus.Open(ctx, bus.Config{URL: os.Getenv("PLUGFN_NATS_URL")})
	check(err)
	service, err := ingress.New(ingress.Config{JetStream: b.JetStream(), Providers: registry})
	check(err)
	mux, hasty := http.NewServeMux(), http.NewServeMux()
	service.Mount(mux)
	go func() { check(service.Run(ctx)) }()
	hasty.HandleFunc("GET /readyz", func(w http.ResponseWriter, r *http.Request) {
		if service.Ready(r.Context()) != nil {
			w.WriteHeader(http.StatusServiceUnavailable)
		}
	})
	hasty.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			return
		}
		later := r.Clone(ctx)
		later.Body = io.NopCloser(bytes.NewReader(body))
		go mux.ServeHTTP(httptest.NewRecorder(), later)
		w.WriteHeader(http.StatusOK)
	})
	check(http.ListenAndServe(os.Getenv("PLUGFN_HTTP_ADDR"), hasty)) //nolint:gosec // for a test on this machine
}

func check(err error) {
	if err != nil {
		log.Fatal(err)
	}
}
