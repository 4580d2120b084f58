package providers

import (
	"errors"
	"maps"
	"net/http"
	"slices"
	"strings"
	"time"
)

const (
	maxScope       = 200 // bytes
	maxJWTLifetime = time.Hour
	maxBackdate    = 5 * time.Minute
)

// CheckScope says why a scope cannot be asked for: it has to stand alone among
// others. nil: it can.
func (a *Auth) CheckScope(scope string) error {
	separator := " "
	if a.Authorize != nil && a.Authorize.Scope.Separator != "" {
		separator = a.Authorize.Scope.Separator
	}
	switch {
	case scope == "":
		return errors.New("must not be empty")
	case len(scope) > maxScope:
		return errors.New("is longer than 200 bytes")
	case strings.Contains(scope, separator):
		return errors.New("must not hold the separator of scopes")
	case strings.ContainsFunc(scope, func(c rune) bool { return c <= ' ' || c > '~' || c == '"' || c == '\\' }):
		return errors.New(`must be printable ASCII without spaces, " and \`)
	}
	return nil
}

func (a *Auth) checkAuthorize(path string, r report) {
	au := a.Authorize
	if au == nil {
		return
	}
	checkAddress(path+".url", au.URL, []string{"app.client_id"}, r)
	checkParams(path+".params", au.Params, []string{"app.client_id"}, r,
		"client_id", "redirect_uri", "response_type", "state", "code_challenge", "code_challenge_method", au.Scope.Param, au.LoginHint)
	if s := au.Scope.Separator; len(s) != 1 || !strings.Contains(" ,+;|", s) {
		r(path+".scope.separator", `must be one of " " , + ; |`)
	}
	for _, scope := range slices.Sorted(maps.Keys(au.Scope.Implies)) {
		a.checkScopes(path+".scope.implies."+scope, au.Scope.Implies[scope], r)
	}
	if au.Issuer != "" && checkOriginPath(au.Issuer) != nil {
		r(path+".issuer", "must be a link that begins with https://, as the provider writes its iss")
	}
}

// checkOriginPath judges an issuer.
func checkOriginPath(text string) error {
	u, err := parseBase(strings.TrimRight(text, "/"))
	if err != nil {
		return err
	}
	return checkOrigin(u.Scheme + "://" + u.Host)
}

// checkAddress judges an address that has to be there.
func checkAddress(path string, at Address, known []string, r report) {
	if at.IsZero() {
		r(path, "is missing")
	}
	checkFields(path, at.path, known, r)
}

// checkParams judges parameters that a pack adds to those of the protocol.
func checkParams(path string, params map[string]Template, known []string, r report, reserved ...string) {
	for _, name := range slices.Sorted(maps.Keys(params)) {
		switch {
		case name == "" || strings.ContainsFunc(name, func(c rune) bool { return c <= ' ' || c > '~' }):
			r(path+"."+name, "must be printable ASCII without spaces")
		case slices.Contains(reserved, name):
			r(path+"."+name, "cannot be set: the protocol does")
		}
		checkFields(path+"."+name, params[name], known, r)
	}
}

// checkAuthHeaders judges headers of requests that carry no credential of a user
// by themselves, so that Authorization is theirs unless the client uses it.
func checkAuthHeaders(path string, headers map[string]Template, client ClientAuth, known []string, r report) {
	for _, name := range slices.Sorted(maps.Keys(headers)) {
		if !strings.EqualFold(name, "Authorization") {
			checkHeaderName(path+"."+name, name, r)
		} else if client == ClientAuthBasic {
			r(path+"."+name, "cannot be set: client_auth: basic does")
		}
		checkFields(path+"."+name, headers[name], known, r)
	}
}

func (a *Auth) checkJWT(path string, r report) {
	j := a.JWT
	if j == nil {
		return
	}
	checkWord(path+".algorithm", j.Algorithm, r, "RS256", "ES256", "HS256")
	checkWord(path+".key_encoding", j.KeyEncoding, r, "utf8", "hex", "base64")
	if j.KeyEncoding != "utf8" && j.Algorithm != "HS256" {
		r(path+".key_encoding", "goes with algorithm: HS256; the key of %s is PEM", j.Algorithm)
	}
	if len(j.Key.fields()) == 0 {
		r(path+".key", "must hold a field such as {{credential.private_key}}: a key has no place in a pack")
	}
	checkFields(path+".key", j.Key, append(a.given(), "app.private_key", "app.client_secret"), r)
	checkParams(path+".header", j.Header, append(a.given(), "app.client_id"), r, "alg", "typ")
	checkParams(path+".claims", j.Claims, append(a.given(), "app.client_id", "scopes", "nonce"), r, "iat", "exp", "nbf")
	if j.Lifetime > maxJWTLifetime {
		r(path+".lifetime", "must be at most %s", maxJWTLifetime)
	}
	if j.Backdate > maxBackdate || j.Backdate >= j.Lifetime {
		r(path+".backdate", "must be at most %s, and less than the lifetime", maxBackdate)
	}
}

// checkToken judges the endpoints where tokens come from, and what is read there.
func (a *Auth) checkToken(path string, r report) {
	if d := a.Device; d != nil {
		checkAddress(path+".device.url", d.URL, []string{"app.client_id"}, r)
		checkParams(path+".device.params", d.Params, []string{"app.client_id"}, r, "client_id", "client_secret", "scope")
		if a.Token != nil && d.ClientAuth != a.Token.ClientAuth {
			checkWord(path+".device.client_auth", string(d.ClientAuth), r, clientAuths()...)
		}
	}
	e := a.Extract
	checkSources(path+".extract.access_token", e.AccessToken, r)
	checkSources(path+".extract.refresh_token", e.RefreshToken, r)
	checkSources(path+".extract.expires_in", e.ExpiresIn, r)
	checkSources(path+".extract.expires_at", e.ExpiresAt, r)
	checkSources(path+".extract.refresh_expires_in", e.RefreshExpiresIn, r)
	checkSources(path+".extract.scope", e.Scope, r)
	checkSources(path+".errors.code", a.Errors.Code, r)
	for i, code := range a.Errors.Dead {
		if slices.Contains(a.Errors.Misconfigured, code) {
			r(item(path+".errors.dead", i), "%s is among misconfigured too", clip(code, 60))
		}
	}
	t := a.Token
	if t == nil {
		return
	}
	path += ".token"
	known := append(a.given(), "app.client_id", "app.client_secret", "scopes")
	if a.JWT != nil {
		known = append(known, "assertion")
	}
	reserved := []string{"code", "code_verifier", "redirect_uri", "refresh_token", "device_code"}
	if a.Type == AuthOAuth2 {
		reserved = append(reserved, "grant_type")
	}
	checkAddress(path+".url", t.URL, append(a.given(), "app.client_id"), r)
	checkWord(path+".encoding", string(t.Encoding), r, string(EncodingForm), string(EncodingJSON))
	checkWord(path+".client_auth", string(t.ClientAuth), r, clientAuths()...)
	checkParams(path+".params", t.Params, known, r, reserved...)
	checkAuthHeaders(path+".headers", t.Headers, t.ClientAuth, known, r)
}

func clientAuths() []string {
	return []string{string(ClientAuthBasic), string(ClientAuthPost), string(ClientAuthNone)}
}

func (a *Auth) checkRefresh(path string, r report) {
	f := a.Refresh
	if f.Margin > maxMargin {
		r(path+".margin", "must be at most %s", maxMargin)
	}
	if a.Type != AuthOAuth2 {
		if !f.URL.IsZero() {
			r(path+".url", "has no place with type: %s, which has no refresh tokens", a.Type)
		}
		if f.KeepAlive != 0 {
			r(path+".keep_alive", "has no place with type: %s, which has no refresh tokens", a.Type)
		}
	}
	checkFields(path+".url", f.URL.path, []string{"app.client_id"}, r)
	if f.KeepAlive != 0 && f.KeepAlive < time.Hour {
		r(path+".keep_alive", "must be at least 1h")
	}
}

func (a *Auth) checkRevoke(path string, r report) {
	v := a.Revoke
	if v == nil {
		return
	}
	known := append(a.given(), authField, "credential.refresh_token", "credential.grant", "app.client_id", "app.client_secret")
	checkWord(path+".method", v.Method, r, http.MethodPost, http.MethodDelete, http.MethodGet)
	checkAddress(path+".url", v.URL, []string{"app.client_id"}, r)
	checkWord(path+".encoding", string(v.Encoding), r, string(EncodingForm), string(EncodingJSON))
	checkWord(path+".client_auth", string(v.ClientAuth), r, clientAuths()...)
	checkParams(path+".params", v.Params, known, r)
	checkAuthHeaders(path+".headers", v.Headers, v.ClientAuth, known, r)
	if !slices.ContainsFunc(append(fieldsOf(v.Params), fieldsOf(v.Headers)...), func(field string) bool {
		return strings.HasPrefix(field, "credential.")
	}) {
		r(path, "names no grant: params or headers must hold {{%s}}", authField)
	}
}
