package auth

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/plugfn/plugfn/pkg/events"
	"github.com/plugfn/plugfn/pkg/providers"
)

// maxNamed is how many connections a message lists.
const maxNamed = 5

// resolve finds the connection that a user means: the one of that id, or his
// only one to the provider. Where there is none, several, or one that cannot be
// used now, the error is an *events.Error that says so.
//
// Connections that need a new authorisation count too: an action never goes to
// another account than it would have gone to a minute ago.
func (s *store) resolve(ctx context.Context, user, provider, connectionID string) (jetstream.KeyValueEntry, error) {
	if user == "" {
		return nil, events.Errorf(events.CodeConnectionNotFound, "the request names no user")
	}
	entry, err := s.pick(ctx, user, provider, connectionID)
	if err != nil {
		return nil, err
	}
	r, err := decodeRecord(entry.Key(), entry.Value())
	if err == nil && r.Status != events.ConnectionActive {
		return nil, events.Errorf(events.CodeNeedsReauth, "connection %s must be authorised again", r.ID)
	}
	return entry, nil
}

func (s *store) pick(ctx context.Context, user, provider, connectionID string) (jetstream.KeyValueEntry, error) {
	if connectionID == "" {
		return s.only(ctx, user, provider)
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

// only returns the one connection of a user to a provider.
func (s *store) only(ctx context.Context, user, provider string) (jetstream.KeyValueEntry, error) {
	var found jetstream.KeyValueEntry
	all := page{limit: maxNamed}
	filter := events.Key(user, provider) + ".*"
	err := scan(ctx, s.kv, filter, func(entry jetstream.KeyValueEntry) bool {
		if belongsTo(entry, user) {
			found = entry
			all.add(entry.Key())
		}
		return true
	})
	switch {
	case err != nil:
		return nil, err
	case found == nil:
		return nil, events.Errorf(events.CodeConnectionNotFound, "the user has no connection to %s", quote(provider))
	case len(all.keys) > 1:
		return nil, ambiguous(provider, &all)
	}
	return found, nil
}

func ambiguous(provider string, all *page) *events.Error {
	keys, more := all.cut()
	ids := make([]string, len(keys))
	for i, key := range keys {
		ids[i] = namedBy(key).ID
	}
	list := strings.Join(ids, ", ")
	if more != "" {
		list += " and more"
	}
	return events.Errorf(events.CodeConnectionAmbiguous, "the user has several connections to %s: %s; name one in %s", provider, list, events.HeaderConnection)
}

// credential returns the credential of the connection that a user means. One
// that cannot be read is a case for a new authorisation.
func (s *store) credential(ctx context.Context, user, provider, connectionID string) (providers.Credential, error) {
	entry, err := s.resolve(ctx, user, provider, connectionID)
	if err != nil {
		return providers.Credential{}, err
	}
	r, token, err := s.open(entry)
	if err != nil {
		return providers.Credential{}, events.Errorf(events.CodeNeedsReauth, "connection %s: %v; connect the account again", r.ID, err)
	}
	return providers.Credential{Auth: r.Auth, Token: token, ConnectionID: r.ID, Version: r.Version}, nil
}
