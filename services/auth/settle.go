package auth

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/rs/zerolog"

	"github.com/plugfn/plugfn/pkg/events"
)

// succeeded keeps what the provider handed out for c. The credential before it
// may be void by now, so that there is no giving up: while the bus does not take
// the record it is spilled to disk and tried again.
func (f *refresher) succeeded(c *claim, m minted) (kept, error) {
	f.breakers.reset(appName{c.Provider, c.App})
	next := c.record
	m.secrets = f.joined(c, m.secrets)
	if err := f.put(&next, m, renewable(c.auth, &m.secrets), f.now().UTC()); err != nil {
		return c.kept, err
	}
	next.Status, next.Fence = events.ConnectionActive, c.fence
	written, err := f.keep(c.key, c.revision, &next)
	switch {
	case errors.Is(err, jetstream.ErrKeyNotFound):
		return c.kept, f.orphaned(c, m)
	case err != nil:
		return c.kept, err
	case written.Fence != c.fence:
		f.log.Warn().Str("connection", c.ID).Str("provider", c.Provider).Msg("refreshed credential dropped: a later one is kept")
		return written, nil
	}
	change := events.Refreshed
	if c.Status != events.ConnectionActive {
		change = events.Recovered
	}
	f.announce(f.working, written.Connection, change, written.revision)
	if err := f.scheduleNext(f.working, &written.record); err != nil {
		f.log.Warn().Err(err).Str("connection", c.ID).Msg("next refresh not scheduled yet")
	}
	return written, nil
}

// joined is what a connection has after a refresh: of the old, what the new does
// not replace.
func (f *refresher) joined(c *claim, s secrets) secrets {
	if s.RefreshToken.IsZero() {
		s.RefreshToken = c.RefreshToken
	}
	if s.Fields == nil {
		s.Fields = c.Fields
	}
	return s
}

// keep writes next, which was got under a claim, over the record at revision (0:
// not known) or what has become of it. It returns the record that stands in the
// end, which has another fence where a later credential was there already. The
// error is jetstream.ErrKeyNotFound when the connection is gone.
func (f *refresher) keep(key string, revision uint64, next *record) (kept, error) {
	at := kept{record: *next, key: key, revision: revision}
	spilled := false
	for try := 0; ; try++ {
		written, err := f.putOver(&at, next)
		if err == nil || errors.Is(err, jetstream.ErrKeyNotFound) {
			f.unspill(spilled, key, next)
			return written, err
		}
		if !spilled {
			spilled = f.spillOver(key, next, err)
		}
		if !f.pause(min(100*time.Millisecond<<min(try, 6), 5*time.Second)) {
			return kept{}, fmt.Errorf("keeping a refreshed credential: given up on stopping: %w", err)
		}
	}
}

// putOver writes next over at, or over what it finds in its way, which is put into
// at. A credential that is later stays.
func (f *refresher) putOver(at *kept, next *record) (kept, error) {
	for range maxTries {
		if at.revision != 0 {
			written, err := f.write(at, next)
			if !isOvertaken(err) {
				return written, err
			}
		}
		found, err := f.rebase(at.key, next)
		if err != nil || found.Fence >= next.Fence {
			return found, err
		}
		*at = found
	}
	return kept{}, errors.New("the record keeps changing")
}

func (f *refresher) write(at *kept, next *record) (kept, error) {
	ctx, cancel := context.WithTimeout(f.working, f.timing.write)
	defer cancel()
	return f.swap(ctx, at, next)
}

// rebase reads the record that stands in the way, and puts into next what
// others may have changed meanwhile.
func (f *refresher) rebase(key string, next *record) (kept, error) {
	ctx, cancel := context.WithTimeout(f.working, f.timing.write)
	defer cancel()
	entry, err := f.kv.Get(ctx, key)
	if err != nil {
		return kept{}, err
	}
	now, err := f.read(entry)
	if err != nil { // what nobody can read is no loss
		now.record, now.Fence = *next, 0
		return now, nil
	}
	next.Name, next.Default, next.DefaultSince = now.Name, now.Default, now.DefaultSince
	next.Version = max(next.Version, now.Version+1)
	return now, nil
}

// pause waits, and reports false when the service gives up.
func (f *refresher) pause(d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-f.working.Done():
		return false
	}
}

func (f *refresher) spillOver(key string, next *record, cause error) bool {
	f.unkept.Add(1)
	log := f.log.Error().AnErr("cause", cause).Str("connection", next.ID).Str("provider", next.Provider)
	if err := f.spill.put(key, next); err != nil {
		log.Err(err).Msg("refreshed credential kept nowhere but in memory: the bus does not take it")
	} else {
		log.Msg("refreshed credential spilled to disk: the bus does not take it")
	}
	return true
}

func (f *refresher) unspill(spilled bool, key string, next *record) {
	if !spilled {
		return
	}
	f.unkept.Add(-1)
	if err := f.spill.remove(key, next); err != nil {
		f.log.Warn().Err(err).Str("connection", next.ID).Msg("spilled credential not removed")
	}
}

// orphaned gives back what was got for a connection that was deleted meanwhile.
func (f *refresher) orphaned(c *claim, m minted) error {
	in := c.hand
	in.secrets = m.secrets
	ctx, cancel := context.WithTimeout(f.working, f.timing.call)
	defer cancel()
	_, err := f.authority.revoke(ctx, in)
	f.log.Info().AnErr("cause", err).Str("connection", c.ID).Str("provider", c.Provider).Msg("refreshed credential of a deleted connection revoked")
	return errNoConnection(c.ID)
}

// failed notes what a refused refresh means, and ends the claim.
func (f *refresher) failed(c *claim, r *refusal) (kept, error) {
	now := f.now().UTC()
	r.At = now
	verdict := f.verdict(c, r, now)
	written, err := f.release(c, verdict.change)
	if err != nil {
		// The claim stays until its lease is over; then somebody tries again.
		f.log.Warn().Err(err).Str("connection", c.ID).Str("provider", c.Provider).Msg("failed refresh not noted")
		return c.kept, &postponed{until: c.until, failure: &r.failure, connectionID: c.ID}
	}
	verdict.tell(&written)
	if written.Status != events.ConnectionActive {
		return written, mustReauthorise(&written.record)
	}
	if err := f.scheduleNext(f.working, &written.record); err != nil {
		f.log.Warn().Err(err).Str("connection", c.ID).Msg("next refresh not scheduled yet")
	}
	return written, &postponed{until: written.Refresh.NextAttempt, failure: &r.failure, noted: true, connectionID: c.ID}
}

// release ends a claim with a change of the record, as long as the claim is
// ours: what somebody else did since then counts more.
func (f *refresher) release(c *claim, change func(*record)) (kept, error) {
	ctx, cancel := context.WithTimeout(f.working, f.timing.write)
	defer cancel()
	at := c.kept
	for {
		next := at.record
		change(&next)
		next.Refresh.Holder, next.Refresh.Since = "", time.Time{}
		written, err := f.swap(ctx, &at, &next)
		if !isOvertaken(err) {
			return written, err
		}
		entry, err := f.kv.Get(ctx, c.key)
		if err != nil {
			return kept{}, err
		}
		if at, err = f.read(entry); err != nil {
			return kept{}, err
		}
		if at.Refresh.Holder != c.Refresh.Holder {
			return kept{}, errors.New("another refresh was faster")
		}
	}
}

// verdict is what a refusal comes to: a change of the record, and who is told.
type verdict struct {
	change func(*record)
	tell   func(*kept)
}

func (f *refresher) verdict(c *claim, r *refusal, now time.Time) verdict {
	switch r.Class {
	case failDead:
		return f.dead(c, r, now)
	case failMisconfigured:
		return f.misconfigured(c, r, now)
	case failAmbiguous:
		return f.ambiguous(c, r, now)
	default:
		return f.transient(c, r, now)
	}
}

// transient has the refresh tried again after a while. The credential in hand
// is used until it expires.
func (f *refresher) transient(c *claim, r *refusal, now time.Time) verdict {
	wait := max(r.after, f.backoff(c))
	return verdict{
		change: func(next *record) {
			next.Refresh.Failure, next.Refresh.NextAttempt = &r.failure, now.Add(wait)
			if r.lost { // it may have been carried out: should the grant be gone, this is why
				next.Refresh.Cut++
			}
		},
		tell: func(*kept) {
			f.logRefusal(c, r).Dur("wait", wait).Int("attempt", c.Refresh.Attempt).Msg("refresh failed, trying again")
		},
	}
}

// backoff doubles from attempt to attempt, but not so far while users wait for
// it. Half of it is left to chance.
func (f *refresher) backoff(c *claim) time.Duration {
	longest := retryMax
	if c.isOver(f.now()) {
		longest = retryMaxOver
	}
	d := min(f.timing.retry<<min(max(c.Refresh.Attempt, 1)-1, 20), longest)
	return d/2 + chance(d/2)
}

// dead ends a connection once the provider has said twice that its grant is
// gone. Its ciphertext stays.
func (f *refresher) dead(c *claim, r *refusal, now time.Time) verdict {
	since := c.Refresh.DeadSince
	if since.IsZero() || now.Before(since.Add(f.timing.confirm)) {
		return verdict{
			change: func(next *record) {
				if next.Refresh.DeadSince.IsZero() {
					next.Refresh.DeadSince = now
				}
				next.Refresh.Failure, next.Refresh.NextAttempt = &r.failure, next.Refresh.DeadSince.Add(f.timing.confirm)
			},
			tell: func(*kept) {
				f.logRefusal(c, r).Dur("wait", f.timing.confirm).Msg("provider says that the grant is gone, asking once more")
			},
		}
	}
	return verdict{
		change: func(next *record) {
			next.Status, next.UpdatedAt = events.ConnectionNeedsReauth, now
			next.Refresh.Failure, next.Refresh.NextAttempt = &r.failure, time.Time{}
		},
		tell: func(k *kept) {
			log := f.logRefusal(c, r)
			if k.Refresh.Cut > 0 { // our fault, as far as anybody can tell
				log = f.log.Error().Str("connection", c.ID).Str("provider", c.Provider).Str("code", r.Code).Int("cut", k.Refresh.Cut)
			}
			log.Msg("connection needs a new authorisation")
			if c.Status != events.ConnectionActive {
				return // known, and a person has tried it again
			}
			f.announce(f.working, k.Connection, events.NeedsReauth, k.revision)
		},
	}
}

// misconfigured stops the refreshes of the app, whose operator has to act. No
// connection is to blame.
func (f *refresher) misconfigured(c *claim, r *refusal, now time.Time) verdict {
	pause, news := f.breakers.trip(appName{c.Provider, c.App}, now)
	return verdict{
		change: func(next *record) {
			// Soon: until the app is mended, the breaker answers.
			next.Refresh.Failure, next.Refresh.NextAttempt = &r.failure, now.Add(breakShortest/2+chance(breakShortest/2))
		},
		tell: func(k *kept) {
			if !news {
				return
			}
			f.log.Error().Str("provider", c.Provider).Str("app", c.App).Str("code", r.Code).Int("status", r.Status).
				Dur("pause", pause).Msg("provider refuses the app: see its client id and secret; no connection is lost")
			f.announceApp(f.working, c.Provider, c.App, &r.failure)
		},
	}
}

// ambiguous keeps the answer that cannot be read: the credential is in it.
func (f *refresher) ambiguous(c *claim, r *refusal, now time.Time) verdict {
	opened := c.secrets
	opened.Raw = r.raw
	sealed, err := f.keys.sealCredential(c.Connection, opened)
	return verdict{
		change: func(next *record) {
			if err == nil {
				next.Credential = sealed
			}
			next.Refresh.Cut++
			next.Refresh.Failure, next.Refresh.NextAttempt = &r.failure, now.Add(f.backoff(c))
		},
		tell: func(k *kept) {
			f.log.Error().AnErr("cause", err).Str("connection", c.ID).Str("provider", c.Provider).Int("status", r.Status).
				Msg("refresh answered with something unreadable: kept encrypted in the record")
			f.announce(f.working, k.Connection, events.RefreshUnreadable, k.revision)
		},
	}
}

func (f *refresher) logRefusal(c *claim, r *refusal) *zerolog.Event {
	return f.log.Warn().Str("connection", c.ID).Str("provider", c.Provider).Str("class", string(r.Class)).
		Str("code", strings.ToValidUTF8(r.Code, "")).Int("status", r.Status)
}
