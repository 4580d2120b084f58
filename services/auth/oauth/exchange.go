package oauth

import (
	"context"
	"net/url"

	"github.com/plugfn/plugfn/pkg/providers"
)

// ExchangeInput is what one authorization came to.
type ExchangeInput struct {
	Code        providers.Secret // of Callback
	Verifier    providers.Secret // as given to AuthorizeURL
	RedirectURI string           // likewise
	Scopes      []string         // likewise
}

// Exchange trades the code of a callback for tokens. It can be done once: an
// error leaves nothing to try again with, but for Sent being false.
func (c *Client) Exchange(ctx context.Context, auth *providers.Auth, app providers.App, in ExchangeInput) (*Grant, error) {
	const op = "exchanging the code"
	if auth.Token == nil {
		return nil, unsent(op, Misconfigured, "auth "+auth.ID+" has no token endpoint")
	}
	params := url.Values{
		"grant_type":   {"authorization_code"},
		"code":         {reveal(in.Code)},
		"redirect_uri": {in.RedirectURI},
	}
	if auth.Authorize != nil && auth.Authorize.WithoutPKCE == "" {
		params.Set("code_verifier", reveal(in.Verifier))
	}
	joined, err := joinScopes(auth, in.Scopes)
	if err != nil {
		return nil, err
	}
	f := fields{app: app, scopes: joined, sent: []providers.Secret{in.Code, in.Verifier}}
	return c.grant(ctx, tokenAsk(op, auth, f, params), scopesOf(auth, in.Scopes))
}

// Refresh gets new tokens for a refresh token. Where tokens rotate, a success
// has spent the given one, and so has any failure that was Sent, perhaps. A grant
// without a new refresh token keeps the given one.
func (c *Client) Refresh(ctx context.Context, auth *providers.Auth, app providers.App, refreshToken providers.Secret) (*Grant, error) {
	const op = "refreshing the token"
	switch {
	case auth.Token == nil:
		return nil, unsent(op, Misconfigured, "auth "+auth.ID+" has no token endpoint")
	case refreshToken.IsZero():
		return nil, unsent(op, Dead, "there is no refresh token")
	}
	k := tokenAsk(op, auth, fields{app: app, refresh: refreshToken}, url.Values{
		"grant_type":    {"refresh_token"},
		"refresh_token": {reveal(refreshToken)},
	})
	if !auth.Refresh.URL.IsZero() {
		k.url = auth.Refresh.URL
	}
	return c.grant(ctx, k, nil)
}
