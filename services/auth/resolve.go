package auth

import (
	"context"
	"errors"
	"fmt"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/plugfn/plugfn/pkg/events"
)

// maxNamed is how many connections a message lists.
const maxNamed = 5

// resolve finds the record of the connection that a user means: the one of that
// id, else his default one to the provider, else his only one. Where there is
// none, or several, or one that cannot be used now, the error is an
// *events.Error that says so.
func (s *store) resolve(ctx context.Context, user, provider, connectionID string) (kept, error) {
	if user == "" {
		return kept{}, events.Errorf(events.CodeConnectionNotFound, "the request names no user")
	}
	entry, err := s.pick(ctx, user, provider, connectionID)
	if err != nil {
		return kept{}, err
	}
	k, err := s.read(entry)
	if err != nil {
		return kept{}, unusable(k.record, err)
	}
	if k.Status != events.ConnectionActive {
		return kept{}, mustReauthorise(&k.record)
	}
	return k, nil
}

// unusable is what an asker learns of a record or a credential that cannot be
// read: a case for a new authorisation.
func unusable(r record, err error) *events.Error {
	return events.Errorf(events.CodeNeedsReauth, "connection %s: %v; connect the account again", r.ID, err)
}

func mustReauthorise(r *record) *events.Error {
	return events.Errorf(events.CodeNeedsReauth, "connection %s must be authorised again", r.ID)
}

func (s *store) pick(ctx context.Context, user, provider, connectionID string) (jetstream.KeyValueEntry, error) {
	if connectionID == "" {
		return s.elected(ctx, user, provider)
	}
	entry, err := s.kv.Get(ctx, events.Key(user, provider, connectionID))
	switch {
	case err == nil && belongsTo(entry, user):
		return entry, nil
	case err == nil || errors.Is(err, jetstream.ErrKeyNotFound):
		return nil, events.Errorf(events.CodeConnectionNotFound, "the user has no connection %s to %s", quote(connectionID), quote(provider))
	default:
		return nil, fmt.Errorf("reading the record: %w", err)
	}
}

// elected returns the connection that a user means who names none. Only where
// the index does not know it, the bucket is looked through.
func (s *store) elected(ctx context.Context, user, provider string) (jetstream.KeyValueEntry, error) {
	if key, ok := s.index.elect(user, provider); ok {
		entry, err := s.kv.Get(ctx, key)
		if err == nil || !errors.Is(err, jetstream.ErrKeyNotFound) {
			return entry, err
		}
	}
	var all election
	var found jetstream.KeyValueEntry // the winner so far
	err := scan(ctx, s.kv, events.Key(user, provider)+".*", func(entry jetstream.KeyValueEntry) bool {
		r, err := decodeRecord(entry.Key(), entry.Value())
		c := newCandidate(entry.Key(), &r, err == nil)
		if !c.belongsTo(user) {
			return true
		}
		all.add(c)
		if found == nil || found.Key() == c.key || all.chief.key == c.key {
			found = entry
		}
		return true
	})
	if err != nil {
		return nil, err
	}
	if _, ok := all.winner(); !ok {
		return nil, all.refusal(provider)
	}
	return found, nil
}
