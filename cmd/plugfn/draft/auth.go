package draft

import (
	"cmp"
	"maps"
	"net/url"
	"regexp"
	"slices"
	"strings"
)

type schemeKind string

const (
	schemeKey    schemeKind = "apiKey"
	schemeBearer schemeKind = "bearer"
	schemeBasic  schemeKind = "basic"
	schemeOAuth  schemeKind = "oauth2"
	schemeClient schemeKind = "clientCredentials"
	schemeOther  schemeKind = "other"
)

// Google's OAuth endpoints, which its descriptions do not name.
const (
	googleAuthorize = "https://accounts.google.com/o/oauth2/v2/auth"
	googleToken     = "https://oauth2.googleapis.com/token" //nolint:gosec // an address
	googleRevoke    = "https://oauth2.googleapis.com/revoke"
)

// scheme is one way to authorise, as the description has it.
type scheme struct {
	kind             schemeKind
	in, name         string // of apiKey
	prefix           string // in front of the token
	authorize, token string // URLs
	revoke           string
	offline          bool // Google's way to ask for a refresh token
	hint             string
	why              string // why a pack cannot do it, or what is guessed
}

// authBlock is one way to authorise, as the pack has it.
type authBlock struct {
	id     string
	scheme scheme
	named  string   // in the description
	scopes []string // that the actions need
}

func (a *api) addScheme(name string, s scheme) {
	a.schemes[name] = s
	a.order = append(a.order, name)
}

func schemeOf3(def map[string]any) scheme {
	s := scheme{hint: oneLine(textOf(def["description"]), 120)}
	switch kind := textOf(def["type"]); {
	case kind == "http" && strings.EqualFold(textOf(def["scheme"]), "basic"):
		s.kind = schemeBasic
	case kind == "http":
		s.kind = schemeBearer
		if word := textOf(def["scheme"]); word != "" && !strings.EqualFold(word, "bearer") {
			s.why = "the scheme " + clip(word, 40) + " is drafted as a Bearer token"
		}
	case kind == "apiKey":
		setKey(&s, def)
	case kind == "oauth2":
		flows := objectOf(def["flows"])
		if code := objectOf(flows["authorizationCode"]); code != nil {
			s.kind, s.authorize, s.token = schemeOAuth, textOf(code["authorizationUrl"]), textOf(code["tokenUrl"])
		} else if client := objectOf(flows["clientCredentials"]); client != nil {
			s.kind, s.token = schemeClient, textOf(client["tokenUrl"])
		} else {
			s.kind, s.why = schemeBearer, "its OAuth flow is none that keeps a connection: an access token is asked for"
		}
	case kind == "openIdConnect":
		s.kind, s.why = schemeBearer, "OpenID Connect is drafted as a Bearer token: an auth block of type oauth2 needs the addresses"
	default:
		s.kind, s.why = schemeOther, "its type is none that a pack has"
	}
	if strings.Contains(textOf(def["x-amazon-apigateway-authtype"]), "awsSigv4") {
		s.why = "AWS Signature 4 signs each request, which a pack cannot do: requests will be refused until a proxy signs them"
	}
	return s
}

func setKey(s *scheme, def map[string]any) {
	s.kind, s.in, s.name = schemeKey, textOf(def["in"]), textOf(def["name"])
	switch {
	case s.in == "header" && strings.EqualFold(s.name, "Authorization"):
		if hint := strings.ToLower(textOf(def["description"])); strings.Contains(hint, "bearer") {
			s.prefix = "Bearer "
		}
	case s.in == "header" && isHeader(s.name), s.in == "query" && s.name != "":
	case s.in == "header" && strings.HasPrefix(strings.ToLower(s.name), "proxy-"), s.in == "cookie":
		s.kind, s.why = schemeOther, "a pack sends no credential in a cookie or to a proxy"
	default:
		s.kind, s.why = schemeOther, "its name is none that a header can have"
	}
}

func schemeOf2(def map[string]any) scheme {
	s := scheme{hint: oneLine(textOf(def["description"]), 120)}
	switch textOf(def["type"]) {
	case "basic":
		s.kind = schemeBasic
	case "apiKey":
		setKey(&s, def)
	case "oauth2":
		switch textOf(def["flow"]) {
		case "accessCode":
			s.kind, s.authorize, s.token = schemeOAuth, textOf(def["authorizationUrl"]), textOf(def["tokenUrl"])
		case "application":
			s.kind, s.token = schemeClient, textOf(def["tokenUrl"])
		default:
			s.kind, s.why = schemeBearer, "its OAuth flow is none that keeps a connection: an access token is asked for"
		}
	default:
		s.kind, s.why = schemeOther, "its type is none that a pack has"
	}
	return s
}

// drawAuth makes auth blocks of the schemes.
func (a *api) drawAuth(d *Draft) {
	taken := map[string]bool{}
	for _, name := range a.order {
		s := a.schemes[name]
		at := "security scheme " + clip(name, 60)
		if s.why != "" {
			d.note(at, "%s", s.why)
		}
		if s.kind == schemeOther {
			continue
		}
		if s.kind == schemeOAuth || s.kind == schemeClient {
			a.setAddresses(&s, at, d)
		}
		if slices.ContainsFunc(d.auth, func(b authBlock) bool { return b.scheme.sameAs(s) }) || len(d.auth) == maxAuth {
			continue
		}
		d.auth = append(d.auth, authBlock{id: unique(idOf(name), taken), scheme: s, named: name})
	}
	if len(d.auth) > 0 {
		return
	}
	if len(a.order) == 0 && !a.wantsAuth() {
		d.auth = []authBlock{{id: "none"}}
		d.note("security", "the description names no way to authorise: requests carry no credential")
		return
	}
	d.auth = []authBlock{{id: "token", scheme: scheme{kind: schemeBearer}}}
	d.note("security", "no scheme of the description can be used: a Bearer token is asked for")
}

const maxAuth = 6

func (s scheme) sameAs(o scheme) bool {
	return s.kind == o.kind && s.in == o.in && s.name == o.name && s.authorize == o.authorize && s.token == o.token
}

func (a *api) wantsAuth() bool { return len(a.security) > 0 }

// setAddresses makes the addresses of an OAuth flow fit for a pack, or asks for
// a token where they are not.
func (a *api) setAddresses(s *scheme, at string, d *Draft) {
	token, okToken := authAddress(d.base, s.token)
	authorize, okAuthorize := authAddress(d.base, s.authorize)
	if !okToken || s.kind == schemeOAuth && !okAuthorize {
		d.note(at, "its addresses are missing or none that a pack takes: an access token is asked for")
		*s = scheme{kind: schemeBearer, hint: s.hint}
		return
	}
	s.token, s.authorize = token, authorize
}

var addressPath = regexp.MustCompile(`^(/[A-Za-z0-9._~:@!$&'()*+,;=-]+)+/?$`)

// authAddress is a URL of an authorisation server, with https. One without a
// host is at that of the API.
func authAddress(base, text string) (string, bool) {
	at, err := url.Parse(base)
	if err != nil || text == "" {
		return "", false
	}
	u, err := at.Parse(strings.TrimSpace(text))
	if err != nil {
		return "", false
	}
	if u.Scheme == "http" && u.Host == at.Host && at.Scheme == "http" { // this computer
		return "http://" + u.Host + u.Path, addressPath.MatchString(u.Path)
	}
	if u.Scheme != "https" && u.Scheme != "http" || !isHost(u.Host) || !addressPath.MatchString(u.Path) || strings.Contains(u.Path+"/", "/../") {
		return "", false
	}
	return "https://" + strings.ToLower(u.Host) + u.Path, true
}

var hostName = regexp.MustCompile(`^[A-Za-z0-9]([A-Za-z0-9-]*[A-Za-z0-9])?(\.[A-Za-z0-9]([A-Za-z0-9-]*[A-Za-z0-9])?)+(:[0-9]{1,5})?$`)

func isHost(host string) bool { return len(host) < 200 && hostName.MatchString(host) }

func isURL(text string) bool {
	u, err := url.Parse(text)
	return err == nil && u.Scheme == "https" && u.Host != "" && clip(text, 2000) == text && !strings.Contains(text, " ")
}

// idOf makes the id of an auth block.
func idOf(name string) string {
	id := strings.ToLower(strings.ReplaceAll(wordOf(name), ".", "_"))
	return cmp.Or(id[:min(len(id), 36)], "auth")
}

// isCredential reports whether a parameter is what the auth applies.
func (a *api) isCredential(p *param) bool {
	for _, s := range a.schemes {
		if s.kind == schemeKey && s.in == p.in && strings.EqualFold(s.name, p.name) {
			return true
		}
	}
	return false
}

// setActionScopes keeps the scopes of the first way to authorise the operation.
func (a *api) setActionScopes(act *Action) {
	for _, r := range act.op.security {
		for _, name := range slices.Sorted(maps.Keys(r)) {
			for _, scope := range r[name] {
				if isScope(scope) && !slices.Contains(act.scopes, scope) && len(act.scopes) < 20 {
					act.scopes = append(act.scopes, scope)
				}
			}
		}
		if len(act.scopes) > 0 {
			return
		}
	}
}

func isScope(s string) bool {
	return s != "" && len(s) <= 200 && !strings.ContainsFunc(s, func(c rune) bool { return c <= ' ' || c > '~' || c == '"' || c == '\\' })
}

// setScopes has OAuth ask for what the actions need.
func (d *Draft) setScopes() {
	var all []string
	for _, act := range d.Actions {
		all = append(all, act.scopes...)
	}
	slices.Sort(all)
	all = slices.Compact(all)
	for i, b := range d.auth {
		if b.scheme.kind == schemeOAuth || b.scheme.kind == schemeClient {
			d.auth[i].scopes = all[:min(len(all), 30)]
		}
	}
}
