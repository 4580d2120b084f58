package oauthtest

import (
	"cmp"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"html"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"
)

// consent is what the user is asked to agree to.
type consent struct {
	client                       Client
	user, redirectURI, challenge string
	state                        string
	scopes                       []string
}

// code is a consent that can be exchanged, once.
type code struct {
	consent
	expires time.Time
	spent   bool
	family  *family // of the exchange
}

const cookie = "session"

const page = `<!DOCTYPE html><title>Consent</title>
<form method="post" action="/authorize"><input type="hidden" name="session" value="%s">
<p>%s asks %s for: %s</p><button name="decision" value="allow">Allow</button></form>
`

// authorize asks the user. What is wrong with the client or the redirect URI is
// never sent to the redirect URI.
func (s *Server) authorize(w http.ResponseWriter, r *http.Request) {
	query := r.URL.Query()
	c, ok := s.clients[query.Get("client_id")]
	redirectURI := query.Get("redirect_uri")
	switch {
	case !ok:
		http.Error(w, "unknown client", http.StatusBadRequest)
		return
	case !slices.Contains(c.RedirectURIs, redirectURI):
		http.Error(w, "the redirect URI is not registered", http.StatusBadRequest)
		return
	}
	for name, values := range query {
		if len(values) > 1 {
			s.back(w, r, redirectURI, query.Get("state"), "error", "invalid_request", "error_description", name+" is there twice")
			return
		}
	}
	why := ""
	switch challenge, err := base64.RawURLEncoding.DecodeString(query.Get("code_challenge")); {
	case query.Get("response_type") != "code":
		why = "unsupported_response_type"
	case query.Get("code_challenge_method") != "S256" || err != nil || len(challenge) != sha256.Size, query.Get("state") == "":
		why = "invalid_request"
	}
	if why != "" {
		s.back(w, r, redirectURI, query.Get("state"), "error", why)
		return
	}
	id := rand.Text()
	ask := consent{
		client: c, user: cmp.Or(query.Get("login_hint"), "octo"), redirectURI: redirectURI,
		challenge: query.Get("code_challenge"), state: query.Get("state"), scopes: strings.Fields(query.Get("scope")),
	}
	s.mu.Lock()
	s.sessions[id] = ask
	s.mu.Unlock()
	http.SetCookie(w, &http.Cookie{Name: cookie, Value: id, HttpOnly: true, SameSite: http.SameSiteLaxMode}) //nolint:gosec // Secure cookies do not go over the test's plain HTTP
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	_, _ = fmt.Fprintf(w, page, id, html.EscapeString(c.ID), html.EscapeString(ask.user), html.EscapeString(query.Get("scope")))
}

// decide takes the user's answer, from the browser that was asked.
func (s *Server) decide(w http.ResponseWriter, r *http.Request) {
	held, err := r.Cookie(cookie)
	id := r.PostFormValue("session")
	s.mu.Lock()
	ask, ok := s.sessions[id]
	delete(s.sessions, id)
	s.mu.Unlock()
	switch {
	case err != nil || !ok || held.Value != id:
		http.Error(w, "another browser was asked", http.StatusForbidden)
	case r.PostFormValue("decision") == "deny":
		s.back(w, r, ask.redirectURI, ask.state, "error", "access_denied")
	default:
		text := "code_" + rand.Text()
		s.mu.Lock()
		s.ledger.Codes++
		s.codes[text] = &code{consent: ask, expires: s.cfg.Now().Add(s.cfg.CodeLife)}
		s.mu.Unlock()
		s.back(w, r, ask.redirectURI, ask.state, "code", text)
	}
}

// back sends the user back to the client.
func (s *Server) back(w http.ResponseWriter, r *http.Request, redirectURI, state string, pairs ...string) {
	u, err := url.Parse(redirectURI)
	if err != nil {
		http.Error(w, "the redirect URI cannot be read", http.StatusBadRequest)
		return
	}
	query := u.Query()
	query.Set("iss", s.URL)
	if state != "" {
		query.Set("state", state)
	}
	for i := 0; i+1 < len(pairs); i += 2 {
		query.Set(pairs[i], pairs[i+1])
	}
	u.RawQuery = query.Encode()
	http.Redirect(w, r, u.String(), http.StatusFound) //nolint:gosec // the URI is a registered one
}
