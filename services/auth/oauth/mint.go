package oauth

import (
	"context"
	"net/url"

	"github.com/plugfn/plugfn/pkg/providers"
)

const jwtGrant = "urn:ietf:params:oauth:grant-type:jwt-bearer"

// Mint gets a token for an auth whose type mints ([providers.AuthType.Mints]):
// with the app's client credentials, with a signed assertion, which may be the
// token itself, or for an installation of a GitHub App. It can be done at any
// time and again; there is no refresh token. cred holds what was given to connect,
// in Fields: where client_id and client_secret are among them, they are the app.
// Scopes nil: the pack's default_scopes.
func (c *Client) Mint(ctx context.Context, auth *providers.Auth, app providers.App, cred providers.Credential, scopes []string) (*Grant, error) {
	const op = "minting a token"
	if !auth.Type.Mints() {
		return nil, unsent(op, Misconfigured, "auth "+auth.ID+" does not mint tokens")
	}
	joined, err := joinScopes(auth, scopes)
	if err != nil {
		return nil, err
	}
	f := fields{app: ownApp(app, cred), cred: cred, scopes: joined}
	params := url.Values{}
	if auth.Type == providers.AuthClientCredentials {
		params.Set("grant_type", "client_credentials")
	}
	if auth.JWT != nil {
		signed, failure := assertion(auth.JWT, &f, c.now())
		if failure != nil {
			failure.Op = op
			return nil, failure
		}
		if auth.Token == nil {
			return signed.grant(auth, f), nil
		}
		if auth.Type == providers.AuthJWT {
			params.Set("grant_type", jwtGrant)
			params.Set("assertion", reveal(signed.token))
		}
	}
	if auth.Type == providers.AuthClientCredentials && joined != "" {
		params.Set("scope", joined)
	}
	k := tokenAsk(op, auth, f, params)
	_, k.ownApp = cred.Field("client_id")
	return c.grant(ctx, k, scopesOf(auth, scopes))
}

// ownApp is the app of a connection that brings its own client.
func ownApp(app providers.App, cred providers.Credential) providers.App {
	if id, ok := cred.Field("client_id"); ok {
		app.ClientID = reveal(id)
		app.ClientSecret, _ = cred.Field("client_secret")
	}
	return app
}

// grant is the grant of an assertion that is the token itself.
func (s signed) grant(auth *providers.Auth, f fields) *Grant {
	g := &Grant{AccessToken: s.token, ExpiresAt: s.expires}
	g.setAccount(ask{auth: auth, fields: f}, answer{})
	return g
}
