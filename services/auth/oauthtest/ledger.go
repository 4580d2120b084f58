package oauthtest

import "slices"

// Ledger counts what happened at a server.
type Ledger struct {
	Codes       int // given to users
	Exchanges   int // codes that became tokens
	Devices     int // device codes that became tokens
	Refreshes   int
	Minted      int // tokens for client credentials
	Refused     int // requests to the token endpoint that got an error
	Reuses      int // of codes and refresh tokens: each killed a family
	Revocations int

	LiveFamilies, DeadFamilies int // consents whose tokens still work, and the others

	APICalls, APIRefused int // calls of the API, and those of them without a live token
}

// Ledger returns the counts so far.
func (s *Server) Ledger() Ledger {
	s.mu.Lock()
	defer s.mu.Unlock()
	l := s.ledger
	for _, f := range s.families {
		if f.dead {
			l.DeadFamilies++
		} else {
			l.LiveFamilies++
		}
	}
	return l
}

// IsLive reports whether an access or refresh token still belongs to a consent
// that stands. It uses nothing up.
func (s *Server) IsLive(token string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	f := s.familyOf(token)
	return f != nil && !f.dead
}

// Forget revokes every consent of a user, as a user does in his settings.
func (s *Server) Forget(user string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, f := range slices.Clone(s.families) {
		if f.user == user {
			f.dead = true
		}
	}
}
