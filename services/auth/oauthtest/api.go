package oauthtest

import (
	"encoding/json"
	"net/http"
	"strings"
)

// API answers requests that bear a live access token with whose it is, and all
// others with 401. A dead connection shows there.
func (s *Server) API() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		f := s.live(r)
		s.mu.Lock()
		s.ledger.APICalls++
		if f == nil {
			s.ledger.APIRefused++
		}
		s.mu.Unlock()
		if f == nil {
			w.Header().Set("WWW-Authenticate", `Bearer error="invalid_token"`)
			writeJSON(w, http.StatusUnauthorized, map[string]any{"message": "Bad credentials"})
			return
		}
		writeJSON(w, http.StatusOK, map[string]any{"id": f.user, "login": f.user, "path": r.URL.Path})
	})
}

func (s *Server) userinfo(w http.ResponseWriter, r *http.Request) {
	f := s.live(r)
	if f == nil {
		w.Header().Set("WWW-Authenticate", `Bearer error="invalid_token"`)
		http.Error(w, "invalid token", http.StatusUnauthorized)
		return
	}
	writeJSON(w, http.StatusOK, map[string]any{"sub": f.user, "name": "User " + f.user})
}

// live is the family of a request's access token; nil when that is not good.
func (s *Server) live(r *http.Request) *family {
	text, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	s.mu.Lock()
	defer s.mu.Unlock()
	a, known := s.access[text]
	if !ok || !known || a.family.dead || !s.cfg.Now().Before(a.expires) {
		return nil
	}
	return a.family
}

// revoke kills the family of a token of either kind. Like RFC 7009 it has
// nothing against a token that it does not know.
func (s *Server) revoke(w http.ResponseWriter, r *http.Request) {
	if s.nextFault().refuses(w) {
		return
	}
	params, no := readParams(r)
	var c Client
	if no == nil {
		c, no = s.authenticate(r, params)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if no != nil {
		s.quirks.refuse(w, no, params)
		return
	}
	f := s.familyOf(params.Get("token"))
	if f != nil && f.client.ID == c.ID {
		f.dead = true
		s.ledger.Revocations++
	}
}

func (s *Server) familyOf(token string) *family {
	if t, ok := s.refresh[token]; ok {
		return t.family
	}
	if t, ok := s.access[token]; ok {
		return t.family
	}
	return nil
}

func writeJSON(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(v)
}
