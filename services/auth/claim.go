package auth

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/plugfn/plugfn/pkg/events"
)

// claim is the right to refresh one connection: the record with our name in it.
// Lease, intent and fence are that one write. Nobody else may refresh until the
// record changes, or was seen unchanged for a whole lease.
type claim struct {
	kept            // as it was claimed
	hand            // to refresh with
	fence uint64    // the revision of the claim
	until time.Time // when others may take over, by the monotonic clock
	leave func()    // gives the place at the provider back
}

// isOvertaken reports whether a swap failed because the record is another one.
func isOvertaken(err error) bool { return errors.Is(err, jetstream.ErrKeyRevisionMismatch) }

// obtain waits for its turn and claims the record at key. It returns no claim
// but the record where that is as wanted already, whoever got it.
func (f *refresher) obtain(ctx context.Context, key string, want want) (*claim, kept, error) {
	w := wake{refresher: f, key: key, seen: map[uint64]time.Time{}}
	for {
		w.arm()
		entry, err := f.kv.Get(ctx, key)
		if errors.Is(err, jetstream.ErrKeyNotFound) {
			return nil, kept{}, errNoConnection(namedBy(key).ID)
		}
		if err != nil {
			return nil, kept{}, fmt.Errorf("reading the record: %w", err)
		}
		k, err := f.read(entry)
		if err != nil {
			return nil, k, unusable(k.record, err)
		}
		if k.Version > want.after {
			return nil, k, nil
		}
		if left := w.leaseLeft(&k); left > 0 {
			if err := w.wait(ctx, left); err != nil {
				return nil, k, errUnderWay(k.ID)
			}
			continue
		}
		c, err := f.claimInPlace(ctx, &k, want.now)
		if isOvertaken(err) {
			// By what we see at once; or our copy of the record is a late one.
			if err := w.wait(ctx, overtakenPause); err != nil {
				return nil, k, errUnderWay(k.ID)
			}
			continue
		}
		return c, k, err
	}
}

// overtakenPause is how long who was overtaken waits at most before he looks
// again.
const overtakenPause = 50 * time.Millisecond

// claimInPlace claims once there is a place at the provider, because the lease
// runs from then on.
func (f *refresher) claimInPlace(ctx context.Context, k *kept, now bool) (*claim, error) {
	leave, err := f.enter(ctx, k.Provider)
	if err != nil {
		return nil, err
	}
	c, err := f.claim(ctx, k, now)
	if err != nil {
		leave()
		return nil, err
	}
	c.leave = leave
	return c, nil
}

// claim puts our name into the record.
func (f *refresher) claim(ctx context.Context, k *kept, now bool) (*claim, error) {
	in, err := f.mayTry(ctx, k, now)
	if err != nil {
		return nil, err
	}
	began := time.Now()
	if f.unclaimed {
		return &claim{kept: *k, hand: in, fence: k.revision, until: began.Add(f.timing.lease)}, nil
	}
	next := k.record
	next.Refresh.Holder = f.holder + "-" + strconv.FormatUint(f.claims.Add(1), 10)
	next.Refresh.Since = f.now().UTC()
	next.Refresh.NextAttempt = time.Time{}
	next.Refresh.Attempt++
	if k.Refresh.Holder != "" {
		next.Refresh.Cut++
		f.log.Warn().Str("connection", k.ID).Str("provider", k.Provider).Int("attempt", next.Refresh.Attempt).Msg("refresh taken over from a process that is gone")
	}
	written, err := f.swap(ctx, k, &next)
	if err != nil {
		if written, err = f.reread(ctx, k.key, next.Refresh.Holder, err); err != nil {
			return nil, err
		}
	}
	return &claim{kept: written, hand: in, fence: written.revision, until: began.Add(f.timing.lease)}, nil
}

// reread looks whether a claim stands in the record although writing it failed
// with err: its acknowledgement may have been lost.
func (f *refresher) reread(ctx context.Context, key, holder string, err error) (kept, error) {
	entry, missing := f.kv.Get(ctx, key)
	if missing != nil {
		return kept{}, err
	}
	k, unreadable := f.read(entry)
	if unreadable != nil || k.Refresh.Holder != holder {
		return kept{}, err
	}
	return k, nil
}

// mayTry says why a connection cannot be refreshed now. What a person asks for
// is tried whatever came of it before.
func (f *refresher) mayTry(ctx context.Context, k *kept, asked bool) (hand, error) {
	now := f.now()
	if k.Status != events.ConnectionActive && !asked {
		return hand{}, mustReauthorise(&k.record)
	}
	if next := k.Refresh.NextAttempt; now.Before(next) && !asked {
		return hand{}, &postponed{until: next, failure: k.Refresh.Failure, connectionID: k.ID}
	}
	in, err := f.hand(ctx, k)
	if err != nil {
		return hand{}, err
	}
	if rest := f.breakers.rest(appName{k.Provider, k.App}, now); rest > 0 {
		return hand{}, &postponed{until: now.Add(rest), failure: &failure{Class: failMisconfigured}, connectionID: k.ID}
	}
	return in, nil
}

// hand opens the credential of a connection for a question to its provider.
func (s *store) hand(ctx context.Context, k *kept) (hand, error) {
	in, err := s.held(k)
	if err != nil {
		return hand{}, err
	}
	err = s.equip(ctx, &in, &k.record)
	return in, err
}

// held opens the credential of a connection to be handed out.
func (s *store) held(k *kept) (hand, error) {
	opened, err := s.open(k)
	if err != nil {
		return hand{}, unusable(k.record, err)
	}
	return s.handWith(&k.record, opened)
}

func (s *store) handWith(r *record, opened secrets) (hand, error) {
	pack, ok := s.providers.Pack(r.Provider)
	if !ok {
		return hand{}, unknownProvider(s.providers, r.Provider)
	}
	auth, ok := pack.AuthByID(r.Auth)
	if !ok {
		return hand{}, events.Errorf(events.CodeNeedsReauth, "provider %s has no auth %s any more; connect the account again", r.Provider, quote(r.Auth))
	}
	return hand{secrets: opened, auth: auth, connectionID: r.ID, version: r.Version, scopes: asked(r)}, nil
}

// equip adds the app that the credential was made with.
func (s *store) equip(ctx context.Context, in *hand, r *record) error {
	app, err := s.app(ctx, r.Provider, r.UserID, r.App)
	if err != nil {
		return fmt.Errorf("finding the app of the connection: %w", err)
	}
	in.app = app
	return nil
}

// asked lists the scopes that were asked for, nil where that is not known.
func asked(r *record) []string {
	if r.Scopes == nil && r.MissingScopes == nil {
		return nil
	}
	return append(append([]string{}, r.Scopes...), r.MissingScopes...)
}

// wake waits for a record to change.
type wake struct {
	*refresher
	key     string
	changed <-chan struct{}
	seen    map[uint64]time.Time // :: revision → since when we see it; by the monotonic clock
}

// arm begins to listen; whoever waits looks at the record after that.
func (w *wake) arm() { w.changed = w.index.changed(w.key) }

// leaseLeft is how long the claim in k still holds for us: a lease from when we
// saw this very revision first. No clock but our own counts.
func (w *wake) leaseLeft(k *kept) time.Duration {
	if k.Refresh.Holder == "" {
		return 0
	}
	since, ok := w.seen[k.revision]
	if !ok {
		since = time.Now()
		if revision, earlier := w.index.sight(w.key); revision == k.revision {
			since = earlier
		}
		w.seen[k.revision] = since
	}
	return w.timing.lease - time.Since(since)
}

// wait returns after the next change, or when d is over. Now and then it
// returns for nothing, in case the index does not follow the bucket.
func (w *wake) wait(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(min(d, w.timing.look))
	defer timer.Stop()
	select {
	case <-w.changed:
	case <-timer.C:
	case <-ctx.Done():
		return ctx.Err()
	}
	return nil
}
