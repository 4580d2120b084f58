package main

import (
	"context"
	"net/http"
	"net/url"
	"slices"

	"github.com/plugfn/plugfn/internal/house"
	"github.com/plugfn/plugfn/pkg/providers"
)

// sandboxed are the providers that the sandbox plays.
func (d *dev) sandboxed() []string {
	if d.sandbox == nil {
		return nil
	}
	return d.sandbox.Providers
}

// connectDemo connects the demo user to each provider in the sandbox, unless
// he is. It asks for that as any client does.
func (d *dev) connectDemo(ctx context.Context) error {
	key, err := d.APIKey()
	if err != nil {
		return err
	}
	api := &apiClient{base: d.URL(), key: key, http: &http.Client{Timeout: answerTimeout}}
	defer api.http.CloseIdleConnections()
	return connectDemos(ctx, api, d.Packs(), d.sandboxed())
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
	account, err := house.ExampleAccount(pack)
	if err != nil {
		return err
	}
	_, err = api.connect(ctx, newConnection{
		UserID: demoUser, Provider: pack.Name, Name: "sandbox", Auth: pack.Auth[auth].ID, Account: account, Token: "sandbox",
		Fields: house.ExampleFields(pack.Auth[auth]),
	})
	return err
}
