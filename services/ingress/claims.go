package ingress

import (
	"context"
	"maps"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"github.com/plugfn/plugfn/pkg/events"
)

const (
	// claimWindow is how old events for nobody may be that a new connection gets
	// by itself: a provider tells of an installation before its user is back.
	claimWindow = time.Hour
	// claimPause lets connections that appear together be served together, and
	// several ingresses not look at the very same time. claimPauseLong is after a
	// failure.
	claimPause     = 300 * time.Millisecond
	claimPauseLong = 10 * time.Second

	maxClaims     = 10_000 // accounts that wait
	claimAttempts = 5
	claimTimeout  = time.Minute
)

// claims are the accounts that have a connection since lately, for which there
// may be events that came before it.
type claims struct {
	wake chan struct{}

	mu       sync.Mutex
	accounts map[account]int // :: account → failed attempts
	dropped  int             // since they were taken, because too many waited
}

func newClaims() *claims {
	return &claims{wake: make(chan struct{}, 1), accounts: map[account]int{}}
}

// add notes an account.
func (c *claims) add(a account, attempts int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if _, waits := c.accounts[a]; !waits && len(c.accounts) >= maxClaims {
		c.dropped++
		return
	}
	c.accounts[a] = attempts
	select {
	case c.wake <- struct{}{}:
	default:
	}
}

// take returns all that wait, by provider, and how many were left out.
func (c *claims) take() (byProvider map[string]map[string]int, dropped int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	byProvider = map[string]map[string]int{}
	for a, attempts := range c.accounts {
		if byProvider[a.provider] == nil {
			byProvider[a.provider] = map[string]int{}
		}
		byProvider[a.provider][a.id] = attempts
	}
	clear(c.accounts)
	dropped, c.dropped = c.dropped, 0
	return byProvider, dropped
}

// appeared notes that an account has a connection, which is in the index. Those
// that were there when this process started count only if they are of late: no
// ingress may have been there to see them come.
func (s *Service) appeared(a account, c *events.Connection, atStart bool) {
	if !atStart || s.Now().Sub(c.UpdatedAt) < claimWindow {
		s.claims.add(a, 0)
	}
}

// notice looks whether accounts have got a connection while events of theirs
// were being stored for nobody.
func (s *Service) notice(rt *route, stored []addressed) {
	for _, e := range stored {
		if e.to == (owner{}) && len(s.index.owners(rt.pack.Name, e.Account)) > 0 {
			s.claims.add(account{rt.pack.Name, e.Account}, 0)
		}
	}
}

// reroute serves the claims until ctx ends.
func (s *Service) reroute(ctx context.Context) {
	pause := claimPause
	for {
		select {
		case <-ctx.Done():
			return
		case <-s.claims.wake:
		}
		wait := time.NewTimer(pause + rand.N(claimPause)) //nolint:gosec // spreads the ingresses, protects nothing
		select {
		case <-ctx.Done():
			wait.Stop()
			return
		case <-wait.C:
		}
		byProvider, dropped := s.claims.take()
		if dropped > 0 {
			s.Log.Warn().Int("accounts", dropped).Msg("too many connections at once: events that came before some of them stay with nobody; see plugfn event reroute")
		}
		pause = claimPause
		for provider, accounts := range byProvider {
			if !s.serveClaims(ctx, provider, accounts) {
				pause = claimPauseLong
			}
		}
	}
}

// serveClaims reports whether it could; otherwise the claims wait again, unless
// that happened too often.
func (s *Service) serveClaims(ctx context.Context, provider string, accounts map[string]int) bool {
	limited, cancel := context.WithTimeout(ctx, claimTimeout)
	defer cancel()
	out, err := s.rerouter.Reroute(limited, Rerouting{Provider: provider, Accounts: slices.Collect(maps.Keys(accounts)), Since: claimWindow})
	log := s.Log.With().Str("provider", provider).Int("accounts", len(accounts)).Int("events", out.Published).Logger()
	if err == nil {
		if out.Published > 0 {
			log.Info().Msg("events that came before their connection given to it")
		}
		return true
	}
	if ctx.Err() == nil {
		log.Warn().Err(err).Msg("events that came before their connection not given to it")
	}
	for id, attempts := range accounts {
		if attempts+1 < claimAttempts {
			s.claims.add(account{provider, id}, attempts+1)
		}
	}
	return false
}
