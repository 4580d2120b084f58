package auth

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/rs/zerolog"

	"github.com/plugfn/plugfn/internal/id"
	"github.com/plugfn/plugfn/pkg/events"
	"github.com/plugfn/plugfn/pkg/providers"
)

const (
	defaultPage = 50
	maxPage     = 200
	maxCursor   = 400 // bytes

	// maxTries is how often a change is tried again that others were faster with.
	maxTries = 8
)

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

// query selects a page of connections.
type query struct {
	user, provider string // "" for any
	cursor         string // "" for the first page
	limit          int    // 0: 50
}

// list returns a page of connections in the order of their keys, and the cursor
// of the next one, "" after the last.
func (s *store) list(ctx context.Context, q query) ([]connection, string, error) {
	after, err := decodeCursor(q.cursor)
	if err != nil {
		return nil, "", err
	}
	if q.limit == 0 {
		q.limit = defaultPage
	}
	if q.limit < 0 || q.limit > maxPage {
		return nil, "", invalid("limit", "must be from 1 to %d", maxPage)
	}
	p := page{after: after, limit: q.limit}
	filter := anyToken(q.user) + "." + anyToken(q.provider) + ".*"
	err = scan(ctx, s.kv, filter, func(entry jetstream.KeyValueEntry) bool {
		p.add(entry.Key())
		return true
	}, jetstream.MetaOnly())
	if err != nil {
		return nil, "", err
	}
	keys, next := p.cut()
	items := make([]connection, 0, len(keys))
	for _, key := range keys {
		entry, err := s.kv.Get(ctx, key)
		if errors.Is(err, jetstream.ErrKeyNotFound) {
			continue // deleted since
		}
		if err != nil {
			return nil, "", fmt.Errorf("reading the record: %w", err)
		}
		if belongsTo(entry, q.user) {
			items = append(items, s.show(entry))
		}
	}
	return items, next, nil
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

// page collects the smallest keys after one, whatever the order they come in.
type page struct {
	after string
	limit int
	keys  []string // ascending, one more than the limit where there is a next page
}

func (p *page) add(key string) {
	if key <= p.after {
		return
	}
	i, double := slices.BinarySearch(p.keys, key)
	if double || i > p.limit {
		return
	}
	p.keys = slices.Insert(p.keys, i, key)
	p.keys = p.keys[:min(len(p.keys), p.limit+1)]
}

// cut returns the keys of the page and the cursor of the next.
func (p *page) cut() (keys []string, next string) {
	if len(p.keys) <= p.limit {
		return p.keys, ""
	}
	keys = p.keys[:p.limit]
	return keys, base64.RawURLEncoding.EncodeToString([]byte(keys[len(keys)-1]))
}

func decodeCursor(cursor string) (key string, err error) {
	raw, err := base64.RawURLEncoding.DecodeString(cursor)
	if err != nil || len(cursor) > maxCursor || cursor != "" && strings.Count(string(raw), ".") != 2 {
		return "", invalid("cursor", "is not one that this list gave out: take next_cursor as it is")
	}
	return string(raw), nil
}
