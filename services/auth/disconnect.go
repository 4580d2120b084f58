package auth

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/plugfn/plugfn/pkg/events"
)

const (
	fieldRevocation = "revocation"    // where a credential waits to be given back
	revokeFor       = 24 * time.Hour  // it is tried for so long
	revokePause     = time.Minute     // after the first attempt, doubled up to revokePauseMax
	revokePauseMax  = 2 * time.Hour   //
	revokeNow       = 8 * time.Second // the longest that who disconnects waits for the provider
)

// disconnected is how deleting a connection ended.
type disconnected struct {
	Attempted bool `json:"remote_revoke_attempted" doc:"The provider was asked to take the credential back. false: its pack knows no way."`
	Succeeded bool `json:"remote_revoke_succeeded" doc:"It did. Otherwise it is asked again for 24 hours."`
	Deleted   bool `json:"deleted" doc:"The connection and its credential are gone from PlugFn."`
}

// revocation is the value of a key in the bucket of revocations: a connection
// that is deleted here and not yet at its provider.
type revocation struct {
	events.Connection
	App        string    `json:"app,omitempty"`
	Since      time.Time `json:"since"`
	Attempts   int       `json:"attempts"`
	Credential []byte    `json:"credential"` // sealed secrets
}

// disconnect deletes the connection of that id and has its credential given back
// at the provider. The deletion does not wait for that. An empty user stands for
// any. A record that cannot be read goes as well.
func (s *Service) disconnect(ctx context.Context, user, connectionID string) (disconnected, error) {
	for range maxTries {
		entry, err := s.store.find(ctx, user, connectionID)
		if err != nil {
			return disconnected{}, err
		}
		k, in := s.revocable(ctx, entry)
		// First, so that who is told of a failure here can try again.
		if err := s.endpoints.deleteOf(ctx, k.UserID, k.ID); err != nil {
			return disconnected{}, err
		}
		if in != nil {
			if err := s.refresher.plan(ctx, &k, in); err != nil {
				return disconnected{}, err
			}
		}
		err = s.store.erase(ctx, &k)
		if isOvertaken(err) {
			continue // changed or deleted since we looked
		}
		if err != nil {
			return disconnected{}, err
		}
		out := disconnected{Deleted: true}
		if in != nil {
			out.Attempted, out.Succeeded = s.refresher.giveBack(ctx, k.key, *in)
		}
		return out, nil
	}
	return disconnected{}, keepsChanging(connectionID)
}

// revocable returns the record of entry, and its credential if there is a way to
// give it back.
func (s *Service) revocable(ctx context.Context, entry jetstream.KeyValueEntry) (kept, *hand) {
	k, err := s.store.read(entry)
	if err != nil {
		return k, nil
	}
	in, err := s.store.hand(ctx, &k)
	if err != nil || in.auth.Revoke == nil {
		return k, nil
	}
	return k, &in
}

// erase removes a record with its credential, and announces it.
func (s *store) erase(ctx context.Context, k *kept) error {
	if err := s.kv.Purge(ctx, k.key, jetstream.LastRevision(k.revision)); err != nil {
		return fmt.Errorf("deleting the record: %w", err)
	}
	s.index.note(k.key, k.revision+1, nil)
	if err := s.unpark(ctx, refreshJob(&k.record)); err != nil {
		s.log.Debug().Err(err).Str("connection", k.ID).Msg("schedule of a deleted connection left to run out")
	}
	s.announce(ctx, k.Connection, events.Deleted, k.revision)
	return nil
}

// plan writes down that the credential of k is to be given back, before k goes.
// Until k is gone the plan does nothing.
func (f *refresher) plan(ctx context.Context, k *kept, in *hand) error {
	r := revocation{Connection: k.Connection, App: k.App, Since: f.now().UTC()}
	var err error
	if r.Credential, err = f.keys.sealSecrets(place(k.Connection, fieldRevocation), in.secrets); err != nil {
		return err
	}
	value, err := json.Marshal(r)
	if err != nil {
		return fmt.Errorf("encoding the revocation: %w", err)
	}
	if _, err := f.revocations.Put(ctx, k.key, value); err != nil {
		return fmt.Errorf("writing the revocation: %w", err)
	}
	return f.park(ctx, revokeJob(&k.Connection), f.now().Add(revokePause))
}

func revokeJob(c *events.Connection) job {
	return job{Job: jobRevoke, UserID: c.UserID, Provider: c.Provider, ConnectionID: c.ID}
}

// giveBack makes the first attempt while somebody waits.
func (f *refresher) giveBack(ctx context.Context, key string, in hand) (attempted, succeeded bool) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), revokeNow)
	defer cancel()
	attempted, err := f.authority.revoke(ctx, in)
	if !attempted && err == nil || !f.isOver(err) {
		return attempted, false
	}
	if err := f.conclude(ctx, key, err == nil); err != nil {
		f.log.Warn().Err(err).Str("connection", in.connectionID).Msg("revocation not concluded: it is made once more")
	}
	return attempted, err == nil
}

// isOver reports whether another attempt to give a credential back would not
// help.
func (*refresher) isOver(err error) bool {
	var r *refusal
	return err == nil || errors.As(err, &r) && r.Class != failTransient
}

// conclude forgets the revocation of the connection that was at key.
func (f *refresher) conclude(ctx context.Context, key string, succeeded bool) error {
	entry, err := f.revocations.Get(ctx, key)
	if errors.Is(err, jetstream.ErrKeyNotFound) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("reading the revocation: %w", err)
	}
	var r revocation
	_ = json.Unmarshal(entry.Value(), &r) // what cannot be read goes as well
	if err := f.revocations.Purge(ctx, key); err != nil {
		return fmt.Errorf("deleting the revocation: %w", err)
	}
	if err := f.unpark(ctx, revokeJob(&r.Connection)); err != nil {
		f.log.Debug().Err(err).Str("connection", r.ID).Msg("schedule of a revocation left to run out")
	}
	what := auditRevoked
	if !succeeded {
		what = auditUnrevoked
		f.log.Warn().Str("connection", r.ID).Str("provider", r.Provider).Msg("credential of a deleted connection not revoked at its provider")
	}
	f.audit.note(ctx, newEntry(ctx, what, f.now(), r.Connection))
	return nil
}

// revoke makes the next attempt to give back the credential of a deleted
// connection.
func (f *refresher) revoke(ctx context.Context, j job) error {
	entry, err := f.revocations.Get(ctx, j.key())
	if errors.Is(err, jetstream.ErrKeyNotFound) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("reading the revocation: %w", err)
	}
	var r revocation
	if err := json.Unmarshal(entry.Value(), &r); err != nil || recordKey(r.Connection) != j.key() {
		return f.conclude(ctx, j.key(), false)
	}
	if _, err := f.kv.Get(ctx, j.key()); !errors.Is(err, jetstream.ErrKeyNotFound) {
		// Who wanted to delete it was cut off before he did: it is in use.
		if err == nil {
			err = f.revocations.Purge(ctx, j.key())
		}
		return err
	}
	in, err := f.handOf(ctx, &r)
	if err == nil {
		calling, cancel := context.WithTimeout(ctx, f.timing.call)
		_, err = f.authority.revoke(calling, in)
		cancel()
	}
	if f.isOver(err) || f.now().Sub(r.Since) >= revokeFor {
		return f.conclude(ctx, j.key(), err == nil)
	}
	return f.again(ctx, entry, &r)
}

// handOf opens the credential of a revocation.
func (f *refresher) handOf(ctx context.Context, r *revocation) (hand, error) {
	opened, err := f.keys.openSecrets(place(r.Connection, fieldRevocation), r.Credential)
	if err != nil {
		return hand{}, &refusal{failure: failure{Class: failDead}, text: err.Error()}
	}
	whole := record{Connection: r.Connection, App: r.App}
	in, err := f.handWith(&whole, opened)
	if err != nil {
		return hand{}, err
	}
	err = f.equip(ctx, &in, &whole)
	return in, err
}

// again has the next attempt made after a while, the last one when a day is
// over.
func (f *refresher) again(ctx context.Context, entry jetstream.KeyValueEntry, r *revocation) error {
	wait := min(revokePause<<min(r.Attempts, 10), revokePauseMax)
	last := r.Since.Add(revokeFor).Sub(f.now())
	r.Attempts++
	value, err := json.Marshal(r)
	if err != nil {
		return fmt.Errorf("encoding the revocation: %w", err)
	}
	if err := f.park(ctx, revokeJob(&r.Connection), f.now().Add(min(wait, last))); err != nil {
		return err
	}
	_, err = f.revocations.Update(ctx, entry.Key(), value, entry.Revision())
	if isOvertaken(err) {
		return nil
	}
	return err
}
