package oauth

import (
	"context"
	"net/http"

	"github.com/plugfn/plugfn/pkg/providers"
)

// Revocation is how giving a grant back ended. The zero value: the provider has
// no way to do it.
type Revocation struct {
	Attempted bool // the provider was asked, or could have been
	Succeeded bool // the grant is gone there
}

// Revoke gives a grant back to the provider. cred holds the access token, and
// refreshToken is empty where there is none. It can be repeated: a *Failure of
// class Transient says to, any other that it would not help.
func (c *Client) Revoke(ctx context.Context, auth *providers.Auth, app providers.App, cred providers.Credential, refreshToken providers.Secret) (Revocation, error) {
	const op = "revoking the grant"
	v := auth.Revoke
	if v == nil {
		return Revocation{}, nil
	}
	k := ask{
		op: op, auth: auth, fields: fields{app: ownApp(app, cred), cred: cred, refresh: refreshToken},
		method: v.Method, url: v.URL, encoding: v.Encoding, client: v.ClientAuth, own: v.Params, headers: v.Headers,
	}
	a, failure := c.do(ctx, k)
	if failure != nil {
		return Revocation{Attempted: true}, failure
	}
	if !a.cut && v.Success.Holds(a.status, a.header, a.body) {
		return Revocation{Attempted: true, Succeeded: true}, nil
	}
	f := a.failure(k, c.now())
	f.Body = providers.Secret{} // nothing in it is needed again
	switch {
	case f.Status == http.StatusUnauthorized && v.ClientAuth != providers.ClientAuthNone:
		f.Class = Misconfigured
	case f.Class == Ambiguous, f.Code == "" && f.Status >= 400 && f.Status < 500 && !isLater(f.Status):
		f.Class = Dead // asked again it would say the same
	}
	return Revocation{Attempted: true}, f
}

// isLater tells the statuses that ask to come again.
func isLater(status int) bool {
	return status == http.StatusTooManyRequests || status == http.StatusRequestTimeout || status == http.StatusTooEarly
}
