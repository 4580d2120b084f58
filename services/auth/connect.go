package auth

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/plugfn/plugfn/internal/id"
	"github.com/plugfn/plugfn/pkg/events"
)

// minted is a credential as a provider handed it out, or as a caller gave it.
type minted struct {
	secrets
	ExpiresAt, RefreshExpiresAt time.Time // zero: not known
	Scopes, Missing             []string  // granted, and asked for in vain; nil: not known
	Account, Label              string    // "" for not known
}

// grantInput is a credential that becomes a connection, or renews one.
type grantInput struct {
	UserID, Provider string
	Auth             string // id of the pack's auth block
	App              string // id of the app that minted it; "": the operator's own
	// ConnectionID is the connection to renew. "": the one that the user has to
	// the same account by the same auth, else a new one.
	ConnectionID string
	Name         string // "": as it was
	Credential   minted
}

// connect keeps a credential: as a new connection, or as the newer credential
// of one that there is already, which is usable from then on. The change is
// announced. A credential for another account than that of the connection is an
// *events.Error, and so is a connection that the user has not.
func (s *store) connect(ctx context.Context, in grantInput) (connection, error) {
	if in.ConnectionID != "" {
		return s.reconnect(ctx, in)
	}
	if in.ConnectionID = s.index.sameAccount(&in); in.ConnectionID != "" {
		c, err := s.reconnect(ctx, in)
		if !isNotFound(err) { // otherwise deleted meanwhile
			return c, err
		}
	}
	return s.add(ctx, in)
}

func isNotFound(err error) bool {
	var e *events.Error
	return errors.As(err, &e) && e.Code == events.CodeConnectionNotFound
}

// sameAccount returns the id of the connection that in is another grant of, ""
// for none.
func (x *index) sameAccount(in *grantInput) (connectionID string) {
	if in.Credential.Account == "" {
		return ""
	}
	x.of(in.UserID, in.Provider, func(e *indexed) {
		if e.account == in.Credential.Account && e.auth == in.Auth && e.user != "" {
			connectionID = e.id
		}
	})
	return connectionID
}

// add keeps a new connection and announces it.
func (s *store) add(ctx context.Context, in grantInput) (connection, error) {
	now := s.now().UTC()
	r := record{Connection: events.Connection{
		ID:        id.New("con"),
		UserID:    in.UserID,
		Provider:  in.Provider,
		CreatedAt: now,
	}}
	if err := s.renew(&r, &in, now); err != nil {
		return connection{}, err
	}
	// The schedule comes first: a connection that nobody would renew must not
	// exist, while a schedule without a connection does nothing.
	if err := s.scheduleNext(ctx, &r); err != nil {
		return connection{}, err
	}
	value, err := r.encode()
	if err != nil {
		return connection{}, err
	}
	revision, err := s.kv.Create(ctx, recordKey(r.Connection), value)
	if err != nil {
		return connection{}, fmt.Errorf("writing the record: %w", err)
	}
	s.index.note(recordKey(r.Connection), revision, value)
	s.announce(ctx, r.Connection, events.Created, revision)
	return connection{Connection: r.Connection}, nil
}

// reconnect gives a connection a newer credential, whatever became of its
// former one.
func (s *store) reconnect(ctx context.Context, in grantInput) (connection, error) {
	for range maxTries {
		entry, err := s.find(ctx, in.UserID, in.ConnectionID)
		if err != nil {
			return connection{}, err
		}
		k, err := s.read(entry)
		if err != nil {
			return connection{}, unusable(k.record, err)
		}
		if err := sameAsBefore(&k.record, &in); err != nil {
			return connection{}, err
		}
		next := k.record
		// What is refreshed under a claim of before counts no more. Revisions of
		// claims after this one are higher.
		next.Fence = k.revision + 1
		if err := s.renew(&next, &in, s.now().UTC()); err != nil {
			return connection{}, err
		}
		if err := s.scheduleNext(ctx, &next); err != nil {
			return connection{}, err
		}
		written, err := s.swap(ctx, &k, &next)
		if err == nil {
			s.announce(ctx, written.Connection, events.Recovered, written.revision)
			return connection{Connection: written.Connection}, nil
		}
		if !isOvertaken(err) {
			return connection{}, err
		}
	}
	return connection{}, keepsChanging(in.ConnectionID)
}

// sameAsBefore refuses a credential that is not for what the connection is for.
func sameAsBefore(r *record, in *grantInput) error {
	switch {
	case r.Provider != in.Provider:
		return errNoConnection(in.ConnectionID)
	case r.Account != "" && in.Credential.Account != "" && r.Account != in.Credential.Account:
		return invalid("connection_id", "connection %s is for another account than the one that was authorised now; log in to the provider as that account, or make a new connection", r.ID)
	}
	return nil
}

// renew puts a credential into r, as its next version.
func (s *store) renew(r *record, in *grantInput, now time.Time) error {
	pack, ok := s.providers.Pack(in.Provider)
	if !ok {
		return unknownProvider(s.providers, in.Provider)
	}
	auth, ok := pack.AuthByID(in.Auth)
	if !ok {
		return errors.New("the credential is for no auth of the pack")
	}
	if in.Name != "" {
		r.Name = in.Name
	}
	r.Auth, r.App = auth.ID, in.App
	r.Status = events.ConnectionActive
	return s.put(r, in.Credential, renewable(auth, &in.Credential.secrets), now)
}

// put makes m the next credential of r. What m does not tell stays as it was,
// but for when it expires.
func (s *store) put(r *record, m minted, renewable bool, now time.Time) error {
	r.Version++
	r.UpdatedAt, r.ObtainedAt = now, now
	r.ExpiresAt, r.RefreshExpiresAt = m.ExpiresAt.UTC(), m.RefreshExpiresAt.UTC()
	r.Renewable = renewable
	r.Refresh = refreshing{}
	if m.Scopes != nil {
		r.Scopes, r.MissingScopes = m.Scopes, m.Missing
	}
	if m.Account != "" {
		r.Account = m.Account
	}
	if m.Label != "" {
		r.Label = m.Label
	}
	var err error
	r.Credential, err = s.keys.sealCredential(r.Connection, m.secrets)
	return err
}
