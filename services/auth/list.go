package auth

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/plugfn/plugfn/pkg/events"
)

const (
	defaultPage = 50
	maxPage     = 200
	maxCursor   = 400 // bytes
)

// query selects a page of connections.
type query struct {
	user, provider string                  // "" for any
	status         events.ConnectionStatus // "" for any
	cursor         string                  // "" for the first page
	limit          int                     // 0: 50
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
	if q.status != "" && !slices.Contains(events.ConnectionStatuses(), q.status) {
		return nil, "", invalid("status", "there is no %s, only %v", quote(string(q.status)), events.ConnectionStatuses())
	}
	if err := s.index.wait(ctx); err != nil {
		return nil, "", err
	}
	p := page{after: after, limit: q.limit}
	s.index.of(q.user, q.provider, func(e *indexed) {
		if q.status == "" || e.status == q.status {
			p.add(e.key)
		}
	})
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
