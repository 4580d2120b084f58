package oauth

import (
	"errors"
	"net/url"
	"slices"
	"strings"
	"unicode"

	"golang.org/x/oauth2"

	"github.com/plugfn/plugfn/pkg/events"
	"github.com/plugfn/plugfn/pkg/providers"
)

const (
	maxScopes = 100
	maxHint   = 256
	maxInput  = 4 << 10 // bytes of a parameter of a callback
)

// NewVerifier makes the secret of one PKCE flow.
func NewVerifier() providers.Secret {
	return providers.NewSecret([]byte(oauth2.GenerateVerifier()))
}

// AuthorizeInput is what one authorization asks for.
type AuthorizeInput struct {
	RedirectURI string           // exactly as it will be given to Exchange
	State       string           // comes back with the callback; unguessable, for one use
	Verifier    providers.Secret // of NewVerifier; kept for Exchange
	Scopes      []string         // nil: the pack's default_scopes
	LoginHint   string           // the account that the user probably wants; "": he is asked
}

// AuthorizeURL is where to send the user. Scopes and hints that cannot be sent
// give an *events.Error with code invalid_params; an app without client id gives
// a *Failure.
func AuthorizeURL(auth *providers.Auth, app providers.App, in AuthorizeInput) (string, error) {
	const op = "building the authorization URL"
	at := auth.Authorize
	switch {
	case at == nil:
		return "", unsent(op, Misconfigured, "auth "+auth.ID+" has no authorization page")
	case app.ClientID == "":
		return "", unsent(op, Misconfigured, "the app has no client id; set it with plugfn app set "+auth.Pack().Name)
	case in.RedirectURI == "" || in.State == "":
		return "", errors.New(op + ": RedirectURI and State are needed")
	case at.WithoutPKCE == "" && in.Verifier.IsZero():
		return "", errors.New(op + ": Verifier is needed: the provider takes PKCE")
	}
	scopes, err := joinScopes(auth, in.Scopes)
	if err != nil {
		return "", err
	}
	if len(in.LoginHint) > maxHint || strings.ContainsFunc(in.LoginHint, unicode.IsControl) {
		return "", events.Errorf(events.CodeInvalidParams, "login_hint: must be at most %d bytes without control characters", maxHint)
	}
	f := fields{app: app}
	u, err := auth.Resolve(at.URL, app, f.value)
	if err != nil {
		return "", ask{op: op}.unbuilt(err)
	}
	cfg := oauth2.Config{ClientID: app.ClientID, RedirectURL: in.RedirectURI, Endpoint: oauth2.Endpoint{AuthURL: u.String()}}
	var options []oauth2.AuthCodeOption
	set := func(name, value string) {
		if name != "" && value != "" {
			options = append(options, oauth2.SetAuthURLParam(name, value))
		}
	}
	for name, template := range at.Params {
		value, _ := template.Expand(f.value)
		set(name, value)
	}
	set(at.Scope.Param, scopes)
	set(at.LoginHint, in.LoginHint)
	if at.WithoutPKCE == "" {
		options = append(options, oauth2.S256ChallengeOption(reveal(in.Verifier)))
	}
	return cfg.AuthCodeURL(in.State, options...), nil
}

// scopesOf is what is asked for: those given, or the pack's default ones for nil.
func scopesOf(auth *providers.Auth, given []string) []string {
	if given == nil {
		return auth.DefaultScopes
	}
	return given
}

// joinScopes writes scopes as the provider wants them. Its errors are
// *events.Error with code invalid_params.
func joinScopes(auth *providers.Auth, given []string) (string, error) {
	if len(given) > maxScopes {
		return "", events.Errorf(events.CodeInvalidParams, "scopes: has %d entries, at most %d are allowed", len(given), maxScopes)
	}
	for i, scope := range given {
		if err := auth.CheckScope(scope); err != nil {
			return "", events.Errorf(events.CodeInvalidParams, "scopes[%d]: %v", i, err)
		}
	}
	separator := " "
	if auth.Authorize != nil {
		separator = auth.Authorize.Scope.Separator
	}
	var scopes []string
	for _, scope := range scopesOf(auth, given) {
		if !slices.Contains(scopes, scope) {
			scopes = append(scopes, scope)
		}
	}
	return strings.Join(scopes, separator), nil
}

// Callback reads the query with which the provider sent the user back: the code
// for Exchange. The state is the caller's to check, before this. An error is a
// *Failure: Denied when the user said no.
func Callback(auth *providers.Auth, query url.Values) (code providers.Secret, err error) {
	const op = "reading the callback"
	k := ask{op: op, auth: auth}
	for name, values := range query {
		if len(values) > 1 && slices.Contains([]string{"code", "state", "error", "iss"}, name) {
			return providers.Secret{}, unsent(op, Transient, name+" is there twice")
		}
	}
	issuer := ""
	if auth.Authorize != nil {
		issuer = auth.Authorize.Issuer
	}
	text := query.Get("code")
	switch refused := query.Get("error"); {
	case issuer != "" && query.Has("iss") && query.Get("iss") != issuer:
		return providers.Secret{}, unsent(op, Transient, "iss is that of another provider")
	case refused != "":
		f := &Failure{Op: op, Code: k.shown(refused)}
		if f.Class, f.reason = k.classify(0, refused); f.Class == Ambiguous {
			f.Class = Transient
		}
		return providers.Secret{}, f
	case text == "":
		return providers.Secret{}, unsent(op, Transient, "it has no code")
	case len(text) > maxInput || strings.ContainsFunc(text, unicode.IsControl):
		return providers.Secret{}, unsent(op, Transient, "its code cannot be one")
	}
	return providers.NewSecret([]byte(text)), nil
}
