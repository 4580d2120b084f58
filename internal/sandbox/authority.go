package sandbox

import (
	"bytes"
	"cmp"
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/plugfn/plugfn/pkg/providers"
)

const (
	maxKept  = 10_000 // codes, devices and consents, of each kind
	codeLife = 10 * time.Minute
)

// authority plays the authorization server of a provider, for each of its auth
// blocks.
type authority struct {
	pack      *providers.Pack
	now       func() time.Time
	endpoints []endpoint
	account   string // whose account every token is for

	authorised   func(*http.Request) bool
	unauthorised *answer

	mu       sync.Mutex          // guards all below
	codes    map[string]*consent // :: code → what it is for
	devices  map[string]*device  // :: device code → what is asked for there
	families map[string]*family  // :: id → what came of a consent; one that is not known is from before the start
}

// endpoint is one route of an authority.
type endpoint struct {
	method string
	path   []string
	serve  func(s *authority, auth *providers.Auth, r *asked) *answer
	auth   *providers.Auth
	bears  bool // only for requests that bear a credential
}

// asked is a request to an endpoint.
type asked struct {
	*http.Request
	root string // of the provider in this sandbox, as the client sees it
	form url.Values
}

func newAuthority(pack *providers.Pack, account string, now func() time.Time) *authority {
	s := &authority{
		pack: pack, now: now, account: account,
		codes: map[string]*consent{}, devices: map[string]*device{}, families: map[string]*family{},
	}
	add := func(method, path string, auth *providers.Auth, serve func(*authority, *providers.Auth, *asked) *answer) {
		if path != "" {
			s.endpoints = append(s.endpoints, endpoint{method: method, path: segments(path), serve: serve, auth: auth})
		}
	}
	for _, auth := range pack.Auth {
		if auth.Authorize != nil {
			add(http.MethodGet, pathOf(auth.Authorize.URL), auth, (*authority).authorize)
		}
		if auth.Device != nil {
			add(http.MethodPost, pathOf(auth.Device.URL), auth, (*authority).startDevice)
			add(http.MethodGet, devicePage+auth.ID, auth, (*authority).decideDevice)
		}
		if auth.Token != nil {
			add(http.MethodPost, pathOf(auth.Token.URL), auth, (*authority).token)
		}
		add(http.MethodPost, pathOf(auth.Refresh.URL), auth, (*authority).token)
		if auth.Revoke != nil {
			add(auth.Revoke.Method, pathOf(auth.Revoke.URL), auth, (*authority).revoke)
		}
		for _, call := range calls(auth) {
			if _, isAction := pack.Match(call.Method, call.Path.String()); !isAction {
				add(call.Method, call.Path.String(), auth, (*authority).tell)
				s.endpoints[len(s.endpoints)-1].bears = true
			}
		}
	}
	return s
}

// calls lists the requests with which an auth block asks about a credential.
func calls(auth *providers.Auth) []*providers.AuthCall {
	var all []*providers.AuthCall
	if auth.Identity != nil && auth.Identity.Request != nil {
		all = append(all, auth.Identity.Request)
	}
	if auth.Probe != nil {
		all = append(all, auth.Probe)
	}
	return all
}

// pathOf is where an address is in the sandbox: both kinds are below the root of
// the provider.
func pathOf(at providers.Address) string {
	path := at.String()
	if _, rest, absolute := strings.Cut(path, "://"); absolute {
		_, path, _ = strings.Cut(rest, "/")
	}
	return path
}

func segments(path string) []string { return strings.Split(strings.Trim(path, "/"), "/") }

// match returns the endpoint of a request; path is escaped and without the
// provider. Of several auth blocks that share one, the first of the type that
// asks in this way gets it, else the first.
func (s *authority) match(method, path string, form url.Values) (endpoint, bool) {
	var found *endpoint
	for i, e := range s.endpoints {
		if e.method != method || !fits(e.path, segments(path)) {
			continue
		}
		if e.auth.Type == typeOfGrant(form) {
			return e, true
		}
		if found == nil {
			found = &s.endpoints[i]
		}
	}
	if found == nil {
		return endpoint{}, false
	}
	return *found, true
}

// typeOfGrant is the type of auth that asks for tokens in this way.
func typeOfGrant(form url.Values) providers.AuthType {
	switch form.Get("grant_type") {
	case "client_credentials":
		return providers.AuthClientCredentials
	case "urn:ietf:params:oauth:grant-type:jwt-bearer":
		return providers.AuthJWT
	default:
		return providers.AuthOAuth2
	}
}

// fits compares a path with a pattern whose segments may hold fields.
func fits(pattern, path []string) bool {
	if len(pattern) != len(path) {
		return false
	}
	for i, p := range pattern {
		plain, err := url.PathUnescape(path[i])
		if err != nil || plain == "" || p != plain && !strings.Contains(p, "{{") {
			return false
		}
	}
	return true
}

// serve answers a request to one of the endpoints, nil for any other.
func (s *authority) serve(w http.ResponseWriter, r *http.Request, path string) *answer {
	first, ok := s.match(r.Method, path, nil)
	if !ok {
		return nil
	}
	if first.bears && !s.authorised(r) {
		return s.unauthorised
	}
	raw, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
	if err != nil {
		return say(http.StatusBadRequest, "the body broke off, or is longer than 1 MiB")
	}
	form, ok := readForm(r, raw)
	if !ok {
		return protocolError(http.StatusBadRequest, "invalid_request")
	}
	e, _ := s.match(r.Method, path, form)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.forget()
	return e.serve(s, e.auth, &asked{Request: r, root: "http://" + r.Host + "/" + s.pack.Name, form: form})
}

// forget drops what has expired, and everything where there is too much of it:
// nobody needs ten thousand consents to try something out.
func (s *authority) forget() {
	now := s.now()
	for code, c := range s.codes {
		if now.After(c.until) {
			delete(s.codes, code)
		}
	}
	for code, d := range s.devices {
		if now.After(d.until) {
			delete(s.devices, code)
		}
	}
	if len(s.codes) > maxKept || len(s.devices) > maxKept || len(s.families) > maxKept {
		clear(s.codes)
		clear(s.devices)
		clear(s.families)
	}
}

// readForm reads parameters as a form or as a JSON object of texts, and those
// of the query.
func readForm(r *http.Request, raw []byte) (url.Values, bool) {
	form, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		return nil, false
	}
	if len(bytes.TrimSpace(raw)) == 0 {
		return form, true
	}
	if strings.HasPrefix(r.Header.Get("Content-Type"), "application/json") {
		var object map[string]any
		if json.Unmarshal(raw, &object) != nil {
			return nil, false
		}
		for name, value := range object {
			if text, ok := value.(string); ok {
				form.Set(name, text)
			}
		}
		return form, true
	}
	posted, err := url.ParseQuery(string(raw))
	for name, values := range posted {
		form[name] = values
	}
	return form, err == nil
}

// protocolError is how an authorization server says what is wrong (RFC 6749,
// section 5.2).
func protocolError(status int, code string) *answer {
	body, _ := encode(map[string]string{"error": code})
	return &answer{status: status, header: http.Header{"Content-Type": {"application/json"}, "Cache-Control": {"no-store"}}, body: body}
}

// client returns the id of the client that asks, if it says who it is in the way
// that the pack declares. Any secret will do.
func (r *asked) client(how providers.ClientAuth) (id string, ok bool) {
	name, secret, basic := r.BasicAuth()
	if basic {
		id, err := url.QueryUnescape(name)
		return id, err == nil && id != "" && secret != "" && how == providers.ClientAuthBasic
	}
	id = r.form.Get("client_id")
	return id, id != "" // without a secret it is a public client
}

// accountOf is whose account the pack's example deliveries are from, so that
// they reach who connects here.
func accountOf(pack *providers.Pack) (string, error) {
	account := ""
	if pack.Webhooks != nil {
		fixtures, err := pack.DeliveryFixtures()
		if err != nil {
			return "", err
		}
		for _, f := range fixtures {
			account = cmp.Or(account, f.Expect.FirstAccount())
		}
	}
	return cmp.Or(account, defaultAccount), nil
}

// defaultAccount is that of a provider without deliveries.
const defaultAccount = "4242"
