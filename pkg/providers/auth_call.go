package providers

import (
	"cmp"
	"context"
	"encoding/json"
	"net/http"
)

// compile makes the action that the call is.
func (c *AuthCall) compile(path string, a *Auth, r report) {
	c.auth = a
	if c.Method != http.MethodGet && c.Method != http.MethodPost {
		r(path+".method", "must be GET or POST")
	}
	if c.Path.IsZero() {
		r(path+".path", "is missing")
		return
	}
	segments, err := compilePath(c.Path)
	if err != nil {
		r(path+".path", "%v", err)
		return
	}
	checkFields(path+".path", c.Path, nil, r)
	pack := a.pack
	if !c.Success.IsZero() {
		own := *pack
		own.HTTP.Success = c.Success
		pack = &own
	}
	c.action = &Action{
		Name:    path,
		Effect:  EffectRead,
		Request: Request{Method: c.Method, Path: c.Path, segments: segments},
		pack:    pack,
	}
}

// NewRequest makes the HTTP request of the call. A credential that cannot be
// applied gives an *events.Error with code needs_reauth; any other error is a
// mistake in the base URL of app.
func (c *AuthCall) NewRequest(ctx context.Context, app App, cred Credential) (*http.Request, error) {
	cred.Auth = c.auth.ID
	return c.action.NewRequest(ctx, cmp.Or(app.BaseURL, c.action.pack.HTTP.BaseURL), json.RawMessage(`{}`), cred)
}

// Read says what the response means, as [Action.Read] does.
func (c *AuthCall) Read(resp *http.Response) (json.RawMessage, error) { return c.action.Read(resp) }
