package providers

import (
	"reflect"
	"slices"
	"strings"
	"time"
)

const (
	maxAuthFields = 20
	maxMargin     = 24 * time.Hour
)

func (p *Pack) checkAuth(r report) {
	if len(p.Auth) == 0 {
		r("auth", "needs at least one way to authorise (type: none where there is none)")
	}
	seen := map[string]bool{}
	for i, a := range p.Auth {
		path := item("auth", i)
		if !idName.MatchString(a.ID) {
			r(path+".id", "must be a-z, then a-z, 0-9 and _")
		} else if seen[a.ID] {
			r(path+".id", "%s is there twice", a.ID)
		}
		seen[a.ID] = true
		a.check(path, r)
	}
}

// authTypes lists the types of credentials.
func authTypes() []AuthType {
	return []AuthType{AuthAPIKey, AuthBasic, AuthOAuth2, AuthClientCredentials, AuthJWT, AuthGitHubApp, AuthNone}
}

// blocks lists what an auth of the type may say besides id, type and hint.
func (t AuthType) blocks() []string {
	given := []string{"fields", "apply", "probe", "identity"}
	minted := []string{"default_scopes", "token", "extract", "lifetime", "errors", "refresh", "revoke"}
	switch t {
	case AuthAPIKey, AuthBasic:
		return given
	case AuthOAuth2:
		return slices.Concat(given[1:], minted, []string{"authorize", "device"})
	case AuthClientCredentials:
		return slices.Concat(given, minted)
	case AuthJWT:
		return slices.Concat(given, minted, []string{"jwt"})
	case AuthGitHubApp: // the rest of it is GitHub's
		return []string{"apply", "probe", "identity", "refresh", "revoke"}
	default:
		return nil
	}
}

// check reports what is wrong with the block, fills in the defaults and
// compiles what takes several fields.
func (a *Auth) check(path string, r report) {
	if !slices.Contains(authTypes(), a.Type) {
		var names []string
		for _, t := range authTypes() {
			names = append(names, string(t))
		}
		checkWord(path+".type", string(a.Type), r, names...)
		return
	}
	a.checkBlocks(path, r)
	if a.Type == AuthNone {
		return
	}
	a.setDefaults()
	a.checkGiven(path, r)
	a.checkApply(path+".apply", r)
	if a.Probe != nil {
		a.Probe.compile(path+".probe", a, r)
	}
	a.checkIdentity(path+".identity", r)
	a.checkScopes(path+".default_scopes", a.DefaultScopes, r)
	a.checkAuthorize(path+".authorize", r)
	a.checkJWT(path+".jwt", r)
	a.checkToken(path, r)
	a.checkRefresh(path+".refresh", r)
	a.checkRevoke(path+".revoke", r)
}

// checkBlocks makes sure that the type has what it needs, and nothing that
// would have no meaning with it.
func (a *Auth) checkBlocks(path string, r report) {
	allowed := a.Type.blocks()
	for i := range reflect.TypeFor[Auth]().NumField() {
		name := reflect.TypeFor[Auth]().Field(i).Tag.Get("yaml")
		if name == "" || name == "id" || name == "type" || name == "hint" {
			continue
		}
		if !reflect.ValueOf(a).Elem().Field(i).IsZero() && !slices.Contains(allowed, name) {
			r(path+"."+name, "has no place with type: %s", a.Type)
		}
	}
	switch {
	case a.Type == AuthJWT && a.JWT == nil:
		r(path+".jwt", "is missing: it says what is signed")
	case a.Token == nil && (a.Type == AuthOAuth2 || a.Type == AuthClientCredentials):
		r(path+".token", "is missing: it says where tokens come from")
	case a.Type == AuthJWT && a.Token == nil && !reflect.ValueOf(a.Extract).IsZero():
		r(path+".extract", "goes with a token block: without one the assertion is the token")
	}
	if a.Type == AuthOAuth2 && a.Authorize == nil && a.Device == nil {
		r(path+".authorize", "is missing: type %s needs authorize, device or both", a.Type)
	}
}

// checkGiven judges the fields that a person enters.
func (a *Auth) checkGiven(path string, r report) {
	path += ".fields"
	if len(a.Fields) > maxAuthFields {
		r(path, "must have at most %d entries", maxAuthFields)
	}
	seen := map[string]bool{}
	for i, f := range a.Fields {
		at := item(path, i)
		switch {
		case !idName.MatchString(f.Name):
			r(at+".name", "must be a-z, then a-z, 0-9 and _")
		case f.Name == "refresh_token" || f.Name == "grant":
			r(at+".name", "%s has a meaning of its own", f.Name)
		case f.Name == "token" && a.Type != AuthAPIKey:
			r(at+".name", "token is what type %s gets by itself", a.Type)
		case seen[f.Name]:
			r(at+".name", "%s is there twice", f.Name)
		}
		seen[f.Name] = true
		if f.Label == "" {
			r(at+".label", "is missing: a person has to know what to enter")
		}
	}
	if a.Type == AuthAPIKey && !seen["token"] {
		r(path, "needs one with the name token: it is the credential")
	}
}

// given lists the template fields that a person's entries make.
func (a *Auth) given() []string {
	var known []string
	for _, f := range a.Fields {
		known = append(known, "credential."+f.Name)
	}
	return known
}

// held is given and the access token.
func (a *Auth) held() []string {
	if a.Type == AuthAPIKey || a.Type == AuthBasic {
		return a.given()
	}
	return append(a.given(), authField)
}

func (a *Auth) checkApply(path string, r report) {
	ap := &a.Apply
	places := 0
	for _, written := range []bool{ap.Header != "", ap.Query != "", ap.Basic != nil} {
		if written {
			places++
		}
	}
	switch {
	case places != 1:
		r(path, "needs one of header, query and basic")
	case ap.Basic != nil && !ap.Value.IsZero():
		r(path+".value", "has no place beside basic")
	case ap.Header != "" && !strings.EqualFold(ap.Header, "Authorization"):
		checkHeaderName(path+".header", ap.Header, r)
	}
	if ap.Basic != nil {
		checkFields(path+".basic.username", ap.Basic.Username, a.held(), r)
		checkFields(path+".basic.password", ap.Basic.Password, a.held(), r)
		path += ".basic"
	} else {
		path += ".value"
		checkFields(path, ap.Value, a.held(), r)
	}
	if len(ap.fields()) == 0 {
		r(path, "must hold {{%s}}", a.held()[0])
	}
}

// checkFields judges a template of an auth block by the fields that it may have.
func checkFields(path string, t Template, known []string, r report) {
	for _, field := range t.fields() {
		if slices.Contains(known, field) {
			continue
		}
		if len(known) == 0 {
			r(path, "{{%s}} is not known here, nor is any other field", field)
			return
		}
		r(path, "{{%s}} is not known here, only {{%s}}", field, strings.Join(known, "}}, {{"))
	}
}

func (a *Auth) checkIdentity(path string, r report) {
	id := a.Identity
	if id == nil {
		return
	}
	for _, s := range id.Account {
		if s.kind != sourceHost {
			checkSource(path+".account", s, r)
		}
	}
	checkSources(path+".label", id.Label, r)
	switch {
	case id.Field != "" && !slices.Contains(a.given(), "credential."+id.Field):
		r(path+".field", "%s is not among fields", clip(id.Field, 60))
	case id.Field != "" && len(id.Account) > 0:
		r(path+".field", "has no place beside account")
	case id.Field == "" && len(id.Account) == 0:
		r(path+".account", "is missing")
	case id.Request == nil && a.Token == nil && len(id.Account)+len(id.Label) > 0:
		r(path+".request", "is missing: there is no token response to read")
	}
	if id.Request != nil {
		id.Request.compile(path+".request", a, r)
	}
}

// checkSources refuses what is not in a response.
func checkSources(path string, all Sources, r report) {
	for _, s := range all {
		checkSource(path, s, r)
	}
}

// checkScopes judges scopes by what can be sent.
func (a *Auth) checkScopes(path string, scopes []string, r report) {
	for i, s := range scopes {
		if err := a.CheckScope(s); err != nil {
			r(item(path, i), "%v", err)
		}
	}
}
