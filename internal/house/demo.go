package house

import (
	"context"
	"fmt"
	"slices"

	"github.com/plugfn/plugfn/pkg/plugfn"
	"github.com/plugfn/plugfn/pkg/providers"
)

// ConnectTo connects a user to each provider that a sandbox plays, unless he is.
// It asks for that as any application does.
func (h *House) ConnectTo(ctx context.Context, s *Sandbox, user string) error {
	key, err := h.APIKey()
	if err != nil {
		return err
	}
	// A bus that asks who connects lets no application in; here HTTP will do.
	client, err := plugfn.New(h.bus.Conn(), plugfn.WithAPI(LocalURL, string(key.Reveal())), plugfn.WithHTTPClient(h.Local()))
	if err != nil {
		return err
	}
	for _, name := range s.Providers {
		if err := connect(ctx, client.Connections(), h.packs[name], user); err != nil {
			return fmt.Errorf("connecting user %s to the sandbox of %s: %w", user, name, err)
		}
	}
	return client.Close()
}

func connect(ctx context.Context, connections plugfn.Connections, pack *providers.Pack, user string) error {
	auth := slices.IndexFunc(pack.Auth, func(a *providers.Auth) bool { return a.Type == providers.AuthAPIKey })
	if auth < 0 {
		return nil // there is nothing to connect with
	}
	for _, err := range connections.List(ctx, plugfn.ConnectionFilter{User: user, Provider: pack.Name}) {
		return err // nil: there is one
	}
	account, err := ExampleAccount(pack)
	if err != nil {
		return err
	}
	_, err = connections.Create(ctx, plugfn.NewConnection{
		User: user, Provider: pack.Name, Name: "sandbox", Auth: pack.Auth[auth].ID, Account: account, Token: "sandbox",
		Fields: ExampleFields(pack.Auth[auth]),
	})
	return err
}

// ExampleFields are what a person would enter beside the token.
func ExampleFields(auth *providers.Auth) map[string]string {
	fields := map[string]string{}
	for _, f := range auth.Fields {
		if f.Name != "token" {
			fields[f.Name] = "sandbox"
		}
	}
	return fields
}

// ExampleAccount is the account that the pack's example deliveries are from, so
// that they reach the user.
func ExampleAccount(pack *providers.Pack) (string, error) {
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
