package main

import (
	"context"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"time"

	"github.com/plugfn/plugfn/internal/sandbox"
	"github.com/plugfn/plugfn/pkg/providers"
)

// playProviders starts the sandbox and has the providers' base URLs point at
// it, but for those that the operator set and those that nobody calls. stop ends
// it and waits for it.
func (d *dev) playProviders(ctx context.Context, p *process) (stop func() error, err error) {
	played := maps.Clone(p.packs)
	maps.DeleteFunc(played, func(name string, pack *providers.Pack) bool {
		return d.apps[name].BaseURL != "" || len(pack.Actions) == 0 && len(pack.Auth) == 0
	})
	if len(played) == 0 {
		return func() error { return nil }, nil
	}
	box, err := sandbox.New(sandbox.Config{Packs: played, Log: p.log.With().Str("service", "sandbox").Logger()})
	if err != nil {
		return nil, err
	}
	l, err := listen(ctx, "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	d.sandboxURL = "http://" + l.Addr().String()
	for name := range played {
		app := d.apps[name]
		app.AuthBaseURL = sandbox.BaseURL(d.sandboxURL, name)
		if app.ClientID == "" { // the sandbox takes any
			app.ClientID, app.ClientSecret = "plugfn-dev", providers.NewSecret([]byte("plugfn-dev"))
		}
		app.BaseURL = sandbox.BaseURL(d.sandboxURL, name)
		d.apps[name] = app
	}
	d.sandboxed = slices.Sorted(maps.Keys(played))

	serving, cancel := context.WithCancel(context.WithoutCancel(ctx))
	ended := make(chan error, 1)
	go func() { ended <- serveHTTP(serving, newServer(box.Handler(), p.log), l, time.Second) }()
	return func() error { cancel(); return <-ended }, nil
}

// connectDemo connects the demo user to each provider in the sandbox, unless
// he is. It asks for that as any client does.
func (d *dev) connectDemo(ctx context.Context) error {
	key, err := d.apiKey()
	if err != nil {
		return err
	}
	api := &apiClient{base: d.url(), key: key, http: &http.Client{Timeout: answerTimeout}}
	defer api.http.CloseIdleConnections()
	for _, name := range d.sandboxed {
		if err := connectDemo(ctx, api, d.packs[name]); err != nil {
			return fmt.Errorf("connecting user %s to the sandbox of %s: %w", demoUser, name, err)
		}
	}
	return nil
}

func connectDemo(ctx context.Context, api *apiClient, pack *providers.Pack) error {
	auth := slices.IndexFunc(pack.Auth, func(a *providers.Auth) bool { return a.Type == providers.AuthAPIKey })
	if auth < 0 {
		return nil // there is nothing to connect with
	}
	have, _, err := api.connections(ctx, url.Values{"user_id": {demoUser}, "provider": {pack.Name}}, 1)
	if err != nil || len(have) > 0 {
		return err
	}
	account, err := demoAccount(pack)
	if err != nil {
		return err
	}
	_, err = api.connect(ctx, newConnection{
		UserID: demoUser, Provider: pack.Name, Name: "sandbox", Auth: pack.Auth[auth].ID, Account: account, Token: "sandbox",
		Fields: demoFields(pack.Auth[auth]),
	})
	return err
}

// demoFields are what a person would enter beside the token.
func demoFields(auth *providers.Auth) map[string]string {
	fields := map[string]string{}
	for _, f := range auth.Fields {
		if f.Name != "token" {
			fields[f.Name] = "sandbox"
		}
	}
	return fields
}

// demoAccount is the account that the pack's example deliveries are from, so
// that they reach the demo user.
func demoAccount(pack *providers.Pack) (string, error) {
	if pack.Webhooks == nil {
		return "", nil
	}
	fixtures, err := pack.DeliveryFixtures()
	for _, f := range fixtures {
		if account := f.Expect.FirstAccount(); account != "" {
			return account, nil
		}
	}
	return "", err
}
