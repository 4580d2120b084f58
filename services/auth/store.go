package auth

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/rs/zerolog"

	"github.com/plugfn/plugfn/internal/id"
	"github.com/plugfn/plugfn/pkg/events"
	"github.com/plugfn/plugfn/pkg/providers"
)

// maxTries is how often a change is tried again that others were faster with.
const maxTries = 8

// statusUnreadable is the status of a connection whose record or credential
// cannot be read. It stands in answers only, never in a record.
const statusUnreadable events.ConnectionStatus = "unreadable"

// store keeps the records of connections.
type store struct {
	kv        jetstream.KeyValue
	js        jetstream.JetStream
	providers *providers.Registry
	keys      *Keys
	log       zerolog.Logger
	now       func() time.Time
}

// connection is a connection as the API shows it.
type connection struct {
	events.Connection
	Error *events.Error `json:"error,omitempty" doc:"Why the connection cannot be used; its status is then \"unreadable\"."`
}

// create keeps a new connection and announces it.
func (s *store) create(ctx context.Context, in newConnection) (connection, error) {
	auth, err := s.checkNew(&in)
	if err != nil {
		return connection{}, err
	}
	now := s.now().UTC()
	r := record{Connection: events.Connection{
		ID:        id.New("con"),
		UserID:    in.UserID,
		Provider:  in.Provider,
		Name:      in.Name,
		Auth:      auth.ID,
		Account:   in.Account,
		Status:    events.ConnectionActive,
		Version:   1,
		CreatedAt: now,
		UpdatedAt: now,
	}}
	if r.Credential, err = s.keys.sealCredential(r.Connection, in.Token); err != nil {
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
	s.announce(ctx, r.Connection, events.Created, revision)
	return connection{Connection: r.Connection}, nil
}

// get returns the connection of that id. An empty user stands for any.
func (s *store) get(ctx context.Context, user, connectionID string) (connection, error) {
	entry, err := s.find(ctx, user, connectionID)
	if err != nil {
		return connection{}, err
	}
	return s.show(entry), nil
}

// delete removes the connection of that id, with its credential, and announces
// it. An empty user stands for any. A record that cannot be read goes as well.
func (s *store) delete(ctx context.Context, user, connectionID string) error {
	for range maxTries {
		entry, err := s.find(ctx, user, connectionID)
		if err != nil {
			return err
		}
		err = s.kv.Purge(ctx, entry.Key(), jetstream.LastRevision(entry.Revision()))
		if errors.Is(err, jetstream.ErrKeyRevisionMismatch) {
			continue // changed or deleted since we looked
		}
		if err != nil {
			return fmt.Errorf("deleting the record: %w", err)
		}
		gone, _ := decodeRecord(entry.Key(), entry.Value()) // or what its key tells
		s.announce(ctx, gone.Connection, events.Deleted, entry.Revision())
		return nil
	}
	return events.Errorf(events.CodeInternal, "connection %s keeps changing; try again", quote(connectionID))
}

// find looks for the record of that id. A user other than its own gets the same
// answer as for no record at all.
func (s *store) find(ctx context.Context, user, connectionID string) (jetstream.KeyValueEntry, error) {
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

// show returns the connection of a record. One that cannot be read is shown as
// such and does not hide the others.
func (s *store) show(entry jetstream.KeyValueEntry) connection {
	r, _, err := s.open(entry)
	if err == nil {
		return connection{Connection: r.Connection}
	}
	c := connection{
		Connection: r.Connection,
		Error:      events.Errorf(events.CodeNeedsReauth, "%v; connect the account again, or restore the record from your backup", err),
	}
	c.Status = statusUnreadable
	return c
}

// open reads a record and its credential. On an error, which is logged, the
// returned record still names the connection.
func (s *store) open(entry jetstream.KeyValueEntry) (record, providers.Secret, error) {
	r, err := decodeRecord(entry.Key(), entry.Value())
	var token providers.Secret
	if err == nil {
		token, err = s.keys.openCredential(r.Connection, r.Credential)
	}
	if err != nil {
		s.log.Error().Err(err).Str("connection", r.ID).Str("provider", r.Provider).Uint64("revision", entry.Revision()).Msg("connection unreadable")
	}
	return r, token, err
}
