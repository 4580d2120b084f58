package oauth

import (
	"context"
	"net/http"
	"net/url"
	"slices"
	"time"

	"github.com/plugfn/plugfn/pkg/providers"
)

// Grant is what a token response grants.
type Grant struct {
	AccessToken      providers.Secret // never empty
	RefreshToken     providers.Secret // the old one where a refresh gave no new one; empty: there is none
	ExpiresAt        time.Time        // zero: it never expires
	RefreshExpiresAt time.Time        // zero: not said; after a refresh that gave no new refresh token what was known still holds

	Scopes  []string // granted; nil: not said and not asked for
	Missing []string // asked for and not granted

	Account, Label string // as far as the token response says whose account it is
}

// tokenAsk is a request to the token endpoint.
func tokenAsk(op string, auth *providers.Auth, f fields, params url.Values) ask {
	t := auth.Token
	return ask{
		op: op, auth: auth, fields: f,
		method: http.MethodPost, url: t.URL, encoding: t.Encoding, client: t.ClientAuth,
		params: params, own: t.Params, headers: t.Headers,
		namesItsID: auth.Type == providers.AuthOAuth2 || auth.Type == providers.AuthClientCredentials,
	}
}

// grant asks for a token. requested are the scopes that were asked for, nil when
// that is not known.
func (c *Client) grant(ctx context.Context, k ask, requested []string) (*Grant, error) {
	asked := c.now() // a token's life begins before its answer arrives
	a, failure := c.do(ctx, k)
	if failure != nil {
		return nil, failure
	}
	if g := k.read(a, asked, requested); g != nil {
		return g, nil
	}
	return nil, a.failure(k, c.now())
}

// read makes a grant of an answer; nil when it is none. A token in it counts
// for more than an error next to it.
func (k ask) read(a answer, asked time.Time, requested []string) *Grant {
	if !isSuccess(a.status) {
		return nil
	}
	from := k.auth.Extract
	v, _ := a.find(from.AccessToken)
	access, ok := token(v)
	if !ok {
		return nil
	}
	g := &Grant{AccessToken: access, RefreshToken: k.fields.refresh, ExpiresAt: k.expiry(a, asked)}
	if v, present := a.find(from.RefreshToken); present {
		if g.RefreshToken, ok = token(v); !ok {
			return nil
		}
	}
	if life := seconds(a.text(from.RefreshExpiresIn)); life > 0 {
		g.RefreshExpiresAt = asked.Add(life)
	}
	g.setScopes(k.auth, a, requested)
	g.setAccount(k, a)
	return g
}

// expiry is when the access token ends: as the answer says, or as the pack does.
func (k ask) expiry(a answer, asked time.Time) time.Time {
	if at := instant(a.text(k.auth.Extract.ExpiresAt)); !at.IsZero() {
		return at
	}
	life := seconds(a.text(k.auth.Extract.ExpiresIn))
	if life == 0 {
		life = k.auth.Lifetime
	}
	if life == 0 {
		return time.Time{}
	}
	return asked.Add(life)
}

// setScopes compares what was granted with what was asked for. A provider that
// says nothing granted all of it (RFC 6749, section 5.1).
func (g *Grant) setScopes(auth *providers.Auth, a answer, requested []string) {
	granted, said := a.list(auth.Extract.Scope)
	if !said {
		g.Scopes = slices.Clone(requested)
		return
	}
	g.Scopes = append([]string{}, granted...)
	covered := slices.Clone(granted)
	if auth.Authorize != nil {
		for i := 0; i < len(covered) && i < maxScopes; i++ {
			covered = append(covered, auth.Authorize.Scope.Implies[covered[i]]...)
		}
	}
	for _, scope := range requested {
		if !slices.Contains(covered, scope) {
			g.Missing = append(g.Missing, scope)
		}
	}
}

func (g *Grant) setAccount(k ask, a answer) {
	id := k.auth.Identity
	switch {
	case id == nil:
	case id.Field != "":
		s, _ := k.fields.cred.Field(id.Field)
		g.Account = line(reveal(s))
	case id.Request == nil:
		g.Account, g.Label = line(a.text(id.Account)), line(a.text(id.Label))
	}
}
