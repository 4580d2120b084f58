package auth

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/rs/zerolog"

	"github.com/plugfn/plugfn/pkg/events"
	"github.com/plugfn/plugfn/pkg/providers"
)

// maxTries is how often a change is tried again that others were faster with.
const maxTries = 8

// store keeps the records of connections.
type store struct {
	kv          jetstream.KeyValue
	revocations jetstream.KeyValue
	js          jetstream.JetStream
	index       *index
	providers   *providers.Registry
	keys        *Keys
	parking     Parking
	audit       *audit
	log         zerolog.Logger
	now         func() time.Time
	// app returns the operator's client of that id at a provider, for a user's
	// connection. Where it is gone, the result has no ClientID.
	app func(ctx context.Context, provider, user, id string) (providers.App, error)
}

// kept is a record as it stands in the bucket.
type kept struct {
	record
	key      string
	revision uint64
}

// read decodes what stands in the bucket. On an error, which is logged, the
// returned record still names the connection.
func (s *store) read(entry jetstream.KeyValueEntry) (kept, error) {
	r, err := decodeRecord(entry.Key(), entry.Value())
	if err != nil {
		s.logUnreadable(&r, entry.Revision(), err)
	}
	return kept{record: r, key: entry.Key(), revision: entry.Revision()}, err
}

// open decrypts what is secret of a record. An error is logged.
func (s *store) open(k *kept) (secrets, error) {
	opened, err := s.keys.openCredential(k.Connection, k.Credential)
	if err != nil {
		s.logUnreadable(&k.record, k.revision, err)
	}
	return opened, err
}

func (s *store) logUnreadable(r *record, revision uint64, err error) {
	s.log.Error().Err(err).Str("connection", r.ID).Str("provider", r.Provider).Uint64("revision", revision).Msg("connection unreadable")
}

// swap replaces a record by the next one, if it is still the one that was read.
// Otherwise the error is jetstream.ErrKeyRevisionMismatch.
func (s *store) swap(ctx context.Context, k *kept, next *record) (kept, error) {
	value, err := next.encode()
	if err != nil {
		return kept{}, err
	}
	revision, err := s.kv.Update(ctx, k.key, value, k.revision)
	if err != nil {
		return kept{}, fmt.Errorf("writing the record: %w", err)
	}
	s.index.note(k.key, revision, value)
	return kept{record: *next, key: k.key, revision: revision}, nil
}

// edit changes the record of an id by compare-and-swap. change may be called
// again, on a later record. An empty user stands for any.
func (s *store) edit(ctx context.Context, user, connectionID string, change func(*record) error) (kept, error) {
	for range maxTries {
		entry, err := s.find(ctx, user, connectionID)
		if err != nil {
			return kept{}, err
		}
		k, err := s.read(entry)
		if err != nil {
			return kept{}, unusable(k.record, err)
		}
		next := k.record
		if err := change(&next); err != nil {
			return kept{}, err
		}
		next.UpdatedAt = s.now().UTC()
		written, err := s.swap(ctx, &k, &next)
		if !errors.Is(err, jetstream.ErrKeyRevisionMismatch) {
			return written, err
		}
	}
	return kept{}, keepsChanging(connectionID)
}

func keepsChanging(connectionID string) *events.Error {
	return events.Errorf(events.CodeInternal, "connection %s keeps changing; try again", quote(connectionID))
}

// find looks for the record of that id. A user other than its own gets the same
// answer as for no record at all.
func (s *store) find(ctx context.Context, user, connectionID string) (jetstream.KeyValueEntry, error) {
	for _, key := range s.index.keysOf(connectionID) {
		entry, err := s.kv.Get(ctx, key)
		if err == nil && belongsTo(entry, user) {
			return entry, nil
		}
	}
	// The index may be late; the bucket itself knows.
	var found jetstream.KeyValueEntry
	filter := anyToken(user) + ".*." + events.Token(connectionID)
	err := scan(ctx, s.kv, filter, func(entry jetstream.KeyValueEntry) bool {
		if belongsTo(entry, user) {
			found = entry
		}
		return found == nil
	})
	if err != nil {
		return nil, err
	}
	if found == nil {
		return nil, events.Errorf(events.CodeConnectionNotFound, "there is no connection %s", quote(connectionID))
	}
	return found, nil
}

// belongsTo tells users apart whose tokens in a key are the same hash.
func belongsTo(entry jetstream.KeyValueEntry, user string) bool {
	r, err := decodeRecord(entry.Key(), entry.Value())
	return user == "" || err != nil || r.UserID == user
}

// anyToken is the part of a filter that stands for s, or for anything.
func anyToken(s string) string {
	if s == "" {
		return "*"
	}
	return events.Token(s)
}

// rules is what the provider of r says about refreshing.
func (s *store) rules(r *record) rules {
	if pack, ok := s.providers.Pack(r.Provider); ok {
		if auth, ok := pack.AuthByID(r.Auth); ok {
			return rules{margin: auth.Refresh.Margin, keepAlive: auth.Refresh.KeepAlive}
		}
	}
	return rules{}
}

// renewable reports whether a newer credential can be got of s without the user.
func renewable(auth *providers.Auth, s *secrets) bool {
	return auth.Type.Mints() || auth.Type == providers.AuthOAuth2 && !s.RefreshToken.IsZero()
}

// followPause is between two attempts to follow the bucket.
const followPause = time.Second

// follow keeps the index up to date until ctx ends.
func (s *store) follow(ctx context.Context) {
	for load := 1; ; load++ {
		err := s.index.follow(ctx, s.kv, load)
		if ctx.Err() != nil {
			return
		}
		s.log.Warn().Err(err).Msg("connections not followed, trying again")
		select {
		case <-ctx.Done():
			return
		case <-time.After(followPause):
		}
	}
}
