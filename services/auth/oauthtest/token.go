package oauthtest

import (
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"net/url"
	"strings"

	"github.com/plugfn/plugfn/pkg/providers"
)

// refusal is an error answer of RFC 6749.
type refusal struct {
	status int
	code   string
}

func refuse(code string) *refusal { return &refusal{http.StatusBadRequest, code} }

// token answers the token endpoint.
func (s *Server) token(w http.ResponseWriter, r *http.Request) {
	fault := s.nextFault()
	if fault.refuses(w) {
		return
	}
	params, no := readParams(r)
	var c Client
	if no == nil {
		c, no = s.authenticate(r, params)
	}
	var out map[string]any
	if no == nil {
		out, no = s.grant(c, params)
	}
	s.mu.Lock()
	quirks := s.quirks
	if no != nil && no.code != "authorization_pending" && no.code != "slow_down" {
		s.ledger.Refused++
	}
	s.mu.Unlock()
	if fault.spoils(w) {
		return
	}
	quirks.wait(r)
	if no != nil {
		quirks.refuse(w, no, params)
		return
	}
	quirks.answer(w, r, out)
}

// readParams reads a form or a JSON object. No parameter may be there twice.
func readParams(r *http.Request) (url.Values, *refusal) {
	if strings.HasPrefix(r.Header.Get("Content-Type"), "application/json") {
		var object map[string]string
		if err := json.NewDecoder(r.Body).Decode(&object); err != nil {
			return nil, refuse("invalid_request")
		}
		params := url.Values{}
		for name, value := range object {
			params.Set(name, value)
		}
		return params, nil
	}
	if err := r.ParseForm(); err != nil {
		return nil, refuse("invalid_request")
	}
	for _, values := range r.PostForm {
		if len(values) > 1 {
			return nil, refuse("invalid_request")
		}
	}
	if r.URL.RawQuery != "" { // secrets do not belong into URLs
		return nil, refuse("invalid_request")
	}
	return r.PostForm, nil
}

// authenticate takes the one way that the client has registered.
func (s *Server) authenticate(r *http.Request, params url.Values) (Client, *refusal) {
	unknown := &refusal{http.StatusUnauthorized, "invalid_client"}
	id, secret, basic := r.BasicAuth()
	if basic {
		id, _ = url.QueryUnescape(id)
		secret, _ = url.QueryUnescape(secret)
	} else {
		id, secret = params.Get("client_id"), params.Get("client_secret")
	}
	c, ok := s.clients[id]
	way := providers.ClientAuthNone
	switch {
	case basic && params.Has("client_secret"):
		return Client{}, refuse("invalid_request") // never two ways at once
	case basic:
		way = providers.ClientAuthBasic
	case params.Has("client_secret"):
		way = providers.ClientAuthPost
	}
	if !ok || way != c.Auth || subtle.ConstantTimeCompare([]byte(secret), []byte(c.Secret)) != 1 {
		return Client{}, unknown
	}
	return c, nil
}

func (s *Server) grant(c Client, params url.Values) (map[string]any, *refusal) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch params.Get("grant_type") {
	case "authorization_code":
		return s.exchange(c, params)
	case "refresh_token":
		return s.renew(c, params.Get("refresh_token"))
	case "client_credentials":
		if c.Secret == "" {
			return nil, refuse("unauthorized_client")
		}
		s.ledger.Minted++
		return s.issue(s.newFamily(c, c.ID, s.granted(strings.Fields(params.Get("scope")))), false), nil
	case "urn:ietf:params:oauth:grant-type:device_code":
		return s.poll(c, params.Get("device_code"))
	default:
		return nil, refuse("unsupported_grant_type")
	}
}

// exchange trades a code. Its second use revokes what the first one gave
// (RFC 6749, section 4.1.2).
func (s *Server) exchange(c Client, params url.Values) (map[string]any, *refusal) {
	held, ok := s.codes[params.Get("code")]
	sum := sha256.Sum256([]byte(params.Get("code_verifier")))
	switch {
	case !ok || held.client.ID != c.ID:
		return nil, refuse("invalid_grant")
	case held.spent:
		s.ledger.Reuses++
		if held.family != nil {
			held.family.dead = true
		}
		return nil, refuse("invalid_grant")
	}
	held.spent = true
	if s.cfg.Now().After(held.expires) || params.Get("redirect_uri") != held.redirectURI ||
		base64.RawURLEncoding.EncodeToString(sum[:]) != held.challenge {
		return nil, refuse("invalid_grant")
	}
	s.ledger.Exchanges++
	held.family = s.newFamily(c, held.user, s.granted(held.scopes))
	return s.issue(held.family, true), nil
}

// renew trades a refresh token for the next one. Its second use revokes the
// family.
func (s *Server) renew(c Client, text string) (map[string]any, *refusal) {
	held, ok := s.refresh[text]
	if !ok || held.family.client.ID != c.ID || held.family.dead {
		return nil, refuse("invalid_grant")
	}
	now := s.cfg.Now()
	switch {
	case !held.expires.IsZero() && now.After(held.expires):
		return nil, refuse("invalid_grant")
	case s.quirks.KeepRefreshToken:
		s.ledger.Refreshes++
		return s.issue(held.family, false), nil
	case !held.used.IsZero() && now.Sub(held.used) >= s.cfg.ReuseGrace:
		s.ledger.Reuses++
		held.family.dead = true
		return nil, refuse("invalid_grant")
	}
	if held.used.IsZero() {
		held.used = now
	}
	s.ledger.Refreshes++
	return s.issue(held.family, true), nil
}
