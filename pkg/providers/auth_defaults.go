package providers

import (
	"cmp"
	"net/http"
	"reflect"
	"time"
)

const defaultJWTLifetime = 5 * time.Minute

// setDefaults fills in what the pack leaves out.
func (a *Auth) setDefaults() {
	switch a.Type {
	case AuthAPIKey:
		a.setFields(AuthField{Name: "token", Label: "API key"})
	case AuthBasic:
		a.setFields(AuthField{Name: "username", Label: "User name", Public: true}, AuthField{Name: "password", Label: "Password"})
		if reflect.ValueOf(a.Apply).IsZero() {
			a.Apply.Basic = &BasicAuth{Username: known("{{credential.username}}"), Password: known("{{credential.password}}")}
		}
	case AuthGitHubApp:
		a.setGitHubApp()
	}
	if a.Type != AuthAPIKey && reflect.ValueOf(a.Apply).IsZero() {
		a.Apply = Apply{Header: "Authorization", Value: known("Bearer {{credential.token}}")}
	}
	a.setEndpoints()
	a.Extract.setDefaults()
	setSources(&a.Errors.Code, "/error", "/error/code", "/error/type")
}

func (a *Auth) setFields(fields ...AuthField) {
	if len(a.Fields) == 0 {
		a.Fields = fields
	}
}

// setGitHubApp says how installation tokens are made: an assertion of the app
// asks for the token of an installation.
func (a *Auth) setGitHubApp() {
	a.Fields = []AuthField{{
		Name: "installation_id", Label: "Installation id", Public: true,
		Help: "The number at the end of the URL of the app's installation settings.",
	}}
	a.JWT = &JWT{
		Algorithm: "RS256",
		Key:       known("{{app.private_key}}"),
		Claims:    map[string]Template{"iss": known("{{app.client_id}}")},
		Lifetime:  9 * time.Minute, // GitHub takes at most 10
		Backdate:  time.Minute,
	}
	a.Token = &TokenRequest{
		Encoding:   EncodingJSON,
		ClientAuth: ClientAuthNone,
		Headers:    map[string]Template{"Authorization": known("Bearer {{assertion}}")},
	}
	a.Token.URL, _ = parseAddress("/app/installations/{{credential.installation_id}}/access_tokens")
	setSources(&a.Extract.AccessToken, "/token")
	setSources(&a.Extract.ExpiresAt, "/expires_at")
	a.Lifetime = time.Hour
	a.Errors = AuthErrors{
		Dead:          []string{"http_404"}, // the app is not installed there any more
		Misconfigured: []string{"http_401"}, // no such app, or another key
	}
	if a.Identity == nil {
		a.Identity = &Identity{Field: "installation_id"}
	}
}

func (a *Auth) setEndpoints() {
	if s := a.Authorize; s != nil {
		s.Scope.Param = cmp.Or(s.Scope.Param, "scope")
		s.Scope.Separator = cmp.Or(s.Scope.Separator, " ")
	}
	if a.Token != nil {
		a.Token.Encoding = cmp.Or(a.Token.Encoding, EncodingForm)
	}
	if a.Device != nil && a.Token != nil {
		a.Device.ClientAuth = cmp.Or(a.Device.ClientAuth, a.Token.ClientAuth)
	}
	if a.JWT != nil {
		a.JWT.Lifetime = cmp.Or(a.JWT.Lifetime, defaultJWTLifetime)
		a.JWT.KeyEncoding = cmp.Or(a.JWT.KeyEncoding, "utf8")
	}
	if v := a.Revoke; v != nil {
		v.Method = cmp.Or(v.Method, http.MethodPost)
		v.Encoding = cmp.Or(v.Encoding, EncodingForm)
		v.ClientAuth = cmp.Or(v.ClientAuth, ClientAuthNone)
		if v.Params == nil && len(fieldsOf(v.Headers)) == 0 {
			v.Params = map[string]Template{"token": known("{{credential.grant}}")}
		}
	}
}

func (e *Extract) setDefaults() {
	setSources(&e.AccessToken, "/access_token")
	setSources(&e.RefreshToken, "/refresh_token")
	setSources(&e.ExpiresIn, "/expires_in")
	setSources(&e.RefreshExpiresIn, "/refresh_token_expires_in", "/refresh_expires_in")
	setSources(&e.Scope, "/scope")
}

// setSources fills in JSON pointers where nothing is written.
func setSources(to *Sources, pointers ...string) {
	if len(*to) > 0 {
		return
	}
	for _, pointer := range pointers {
		s, _ := parseSource("json:" + pointer) // written here: right
		*to = append(*to, s)
	}
}

// known compiles a template that is written in this package, and so right.
func known(text string) Template {
	t, _ := parseTemplate(text)
	return t
}
