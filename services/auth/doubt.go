package auth

import (
	"context"
	"errors"
	"fmt"

	"github.com/plugfn/plugfn/pkg/events"
)

// What stands in the place of a provider's code that there is none of.
const (
	codeExpired = "expired" // and there is nothing to renew it with
	codeRefused = "refused" // by the provider's API
)

// doubt looks into a connection whose credential a provider has refused, or
// which has expired without a way to renew it. It returns at once.
func (f *refresher) doubt(k kept, refused bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	key := "doubt " + k.key
	if f.stopped || f.flights[key] != nil {
		return
	}
	f.flights[key] = &flight{}
	f.flying.Go(func() {
		defer func() {
			f.mu.Lock()
			delete(f.flights, key)
			f.mu.Unlock()
		}()
		if err := f.settleDoubt(&k, refused); err != nil {
			f.log.Warn().Err(err).Str("connection", k.ID).Str("provider", k.Provider).Msg("refused credential not looked into")
		}
	})
}

// settleDoubt has the user connect again if the credential is of no use. What a
// provider says to one request may be about that request alone, so it is asked
// once more where there is something harmless to ask for.
func (f *refresher) settleDoubt(k *kept, refused bool) (err error) {
	defer func() {
		if cause := recover(); cause != nil {
			err = fmt.Errorf("panicked: %T", cause)
		}
	}()
	ctx, cancel := context.WithTimeout(f.working, f.timing.call)
	defer cancel()
	if !refused {
		return f.giveUp(ctx, k, failure{Class: failDead, Code: codeExpired})
	}
	in, err := f.hand(ctx, k)
	if err != nil {
		return err
	}
	asked, err := f.authority.probe(ctx, in)
	var r *refusal
	switch {
	case err == nil && asked:
		return nil // it is good, whatever was refused
	case err == nil && k.Renewable:
		return nil // it is brand-new: the provider has just handed it out
	case err == nil:
		return f.giveUp(ctx, k, failure{Class: failDead, Code: codeRefused})
	case errors.As(err, &r) && r.Class == failDead:
		return f.giveUp(ctx, k, r.failure)
	default:
		return err
	}
}

// giveUp marks a connection as one that the user has to connect again, unless it
// has changed since k was read.
func (f *refresher) giveUp(ctx context.Context, k *kept, why failure) error {
	now := f.now().UTC()
	why.At = now
	next := k.record
	next.Status, next.UpdatedAt = events.ConnectionNeedsReauth, now
	next.Refresh = refreshing{Failure: &why}
	written, err := f.swap(ctx, k, &next)
	if isOvertaken(err) {
		return nil
	}
	if err != nil {
		return err
	}
	f.log.Warn().Str("connection", k.ID).Str("provider", k.Provider).Str("code", why.Code).Int("status", why.Status).Msg("connection needs a new authorisation")
	f.announce(ctx, written.Connection, events.NeedsReauth, written.revision)
	return nil
}
