package oauthtest

import (
	"crypto/rand"
	"net/http"
	"strings"
	"time"
)

// device is a device that waits for the user's answer.
type device struct {
	client   Client
	userCode string
	scopes   []string
	expires  time.Time
	polled   time.Time
	answered bool
	allowed  bool
}

// deviceCode begins a device flow. The client only says its id.
func (s *Server) deviceCode(w http.ResponseWriter, r *http.Request) {
	params, no := readParams(r)
	s.mu.Lock()
	defer s.mu.Unlock()
	c, ok := s.clients[params.Get("client_id")]
	if no != nil || !ok {
		s.quirks.refuse(w, &refusal{http.StatusUnauthorized, "invalid_client"}, params)
		return
	}
	text := "dc_" + rand.Text()
	d := &device{client: c, userCode: rand.Text()[:8], scopes: strings.Fields(params.Get("scope")), expires: s.cfg.Now().Add(s.cfg.CodeLife)}
	s.devices[text] = d
	s.quirks.answer(w, r, map[string]any{
		"device_code": text, "user_code": d.userCode,
		"verification_uri": s.URL + "/device", "verification_uri_complete": s.URL + "/device?code=" + d.userCode,
		"expires_in": s.cfg.CodeLife.Seconds(), "interval": s.cfg.Interval.Seconds(),
	})
}

// Decide is the user's answer to a device flow. It reports false for a code
// that nobody waits for.
func (s *Server) Decide(userCode string, allow bool) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, d := range s.devices {
		if d.userCode == userCode && !d.answered {
			d.answered, d.allowed = true, allow
			return true
		}
	}
	return false
}

// poll answers a device. The caller holds the lock.
func (s *Server) poll(c Client, text string) (map[string]any, *refusal) {
	d, ok := s.devices[text]
	if !ok || d.client.ID != c.ID {
		return nil, refuse("invalid_grant")
	}
	now := s.cfg.Now()
	early := !d.polled.IsZero() && now.Sub(d.polled) < s.cfg.Interval
	d.polled = now
	switch {
	case now.After(d.expires):
		return nil, refuse("expired_token")
	case early:
		return nil, refuse("slow_down")
	case !d.answered:
		return nil, refuse("authorization_pending")
	}
	delete(s.devices, text)
	if !d.allowed {
		return nil, refuse("access_denied")
	}
	s.ledger.Devices++
	return s.issue(s.newFamily(c, "octo", s.granted(d.scopes)), true), nil
}
