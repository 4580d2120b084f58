package auth

import (
	"context"
	"errors"
	"time"

	"github.com/plugfn/plugfn/pkg/events"
	"github.com/plugfn/plugfn/pkg/providers"
)

// rest calls wait while somebody else works in its place. nil: it just waits.
type rest func(wait func())

// handOut returns the connection that a request means, with a credential that is
// good now as far as is known, and newer than the one that the asker has seen
// refused. Its errors are *events.Error or trouble of ours.
func (s *Service) handOut(ctx context.Context, request *tokenRequest, rest rest) (kept, *hand, error) {
	k, err := s.store.resolve(ctx, request.UserID, request.Provider, request.ConnectionID)
	if err != nil {
		return kept{}, nil, err
	}
	refused := request.SeenVersion >= k.Version
	if s.wantsRefresh(&k, refused) {
		if k, err = s.newer(ctx, &k, refused, rest); err != nil {
			return kept{}, nil, err
		}
	} else if refused || k.isOver(s.store.now()) {
		s.refresher.doubt(k, refused)
		return kept{}, nil, mustReauthorise(&k.record)
	}
	in, err := s.store.held(&k)
	if err != nil {
		return kept{}, nil, err
	}
	return k, &in, nil
}

// wantsRefresh reports whether a newer credential is to be got before one is
// handed out. A brand-new one that is refused is not refreshed: the next would
// be refused as well.
func (s *Service) wantsRefresh(k *kept, refused bool) bool {
	now := s.store.now()
	if !k.Renewable {
		return false
	}
	return k.isStale(now) || refused && now.Sub(k.ObtainedAt) >= k.youth()
}

// youth is how long a credential is brand-new.
func (r *record) youth() time.Duration {
	const longest = 30 * time.Second
	if life := r.life(); life > 0 {
		return min(longest, life/4)
	}
	return longest
}

// newer waits for a newer credential. While there is none, the one in hand is
// good until it expires, but for who has seen it refused.
func (s *Service) newer(ctx context.Context, k *kept, refused bool, rest rest) (kept, error) {
	fresh, err := s.renewedWithin(ctx, k, rest)
	switch {
	case err == nil && fresh.Status != events.ConnectionActive:
		return kept{}, mustReauthorise(&fresh.record)
	case err == nil:
		return fresh, nil
	case refused || k.isOver(s.store.now()) || isFinal(err):
		return kept{}, answerable(err)
	default:
		s.log.Debug().Err(err).Str("connection", k.ID).Msg("credential handed out while its refresh fails")
		return *k, nil
	}
}

func (s *Service) renewedWithin(ctx context.Context, k *kept, rest rest) (fresh kept, err error) {
	wait := func() { fresh, err = s.refresher.renewed(ctx, k.key, want{after: k.Version}) }
	if rest == nil {
		wait()
	} else {
		rest(wait)
	}
	return fresh, err
}

// isFinal reports whether a refresh came to something that the user has to
// settle.
func isFinal(err error) bool {
	var e *events.Error
	return errors.As(err, &e) && e.Code != events.CodeInternal
}

// answerable turns a refresh that did not come about into what an asker may
// know: it is retryable, whatever the reason.
func answerable(err error) error {
	var later *postponed
	if errors.As(err, &later) {
		return events.Errorf(events.CodeInternal, "%v", later)
	}
	return err
}

// handedFields lists what leaves the service beside the token: all that was
// given to connect, but where tokens are minted of it only what is public.
func (h *hand) handedFields() map[string]string {
	fields := map[string]string{}
	for name, value := range h.Fields {
		if !h.auth.Type.Mints() || isPublic(h.auth, name) {
			fields[name] = string(value.Reveal())
		}
	}
	return fields
}

func isPublic(auth *providers.Auth, name string) bool {
	for _, field := range auth.Fields {
		if field.Name == name {
			return field.Public
		}
	}
	return false
}
