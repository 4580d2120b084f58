package auth

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/plugfn/plugfn/internal/endpoint"
	"github.com/plugfn/plugfn/pkg/events"
)

// endpointQuery selects a page of endpoints; an empty field stands for any.
type endpointQuery struct {
	user, provider, connection string

	state  endpoint.State
	cursor string // "" for the first page
	limit  int    // 0: 50
}

// list returns a page of endpoints, the oldest first, and the cursor of the
// next.
func (e *endpoints) list(ctx context.Context, q endpointQuery) ([]endpointRecord, string, error) {
	q.limit = cmp.Or(q.limit, defaultPage)
	connection := "*"
	if q.connection != "" {
		connection = events.Token(q.connection)
	}
	found := map[string]endpointRecord{} // one that changes meanwhile comes twice
	err := scan(ctx, e.kv, anyToken(q.user)+"."+connection+".*", func(entry jetstream.KeyValueEntry) bool {
		r, err := decodeEndpoint(entry.Key(), entry.Value())
		switch {
		case err != nil:
			e.log.Error().Err(err).Msg("endpoint unreadable")
		case q.user != "" && r.UserID != q.user, q.provider != "" && r.Provider != q.provider,
			q.connection != "" && r.ConnectionID != q.connection, q.state != "" && r.State != q.state, r.ID <= q.cursor:
		default:
			found[r.ID] = r
		}
		return true
	})
	if err != nil {
		return nil, "", err
	}
	all := make([]endpointRecord, 0, len(found))
	for _, r := range found {
		all = append(all, r)
	}
	slices.SortFunc(all, func(a, b endpointRecord) int { return strings.Compare(a.ID, b.ID) })
	if len(all) <= q.limit {
		return all, "", nil
	}
	return all[:q.limit], all[q.limit-1].ID, nil
}

// address is the path of an endpoint, and its whole URL as the provider has it,
// "" while that is not known.
func (e *endpoints) address(r *endpointRecord) (path, whole string, err error) {
	token, err := e.keys.openAt(r.Token, r.place(fieldEndpointToken))
	if err != nil {
		return "", "", fmt.Errorf("opening the endpoint %s: %w", r.ID, err)
	}
	path = endpoint.Path(r.Provider, string(token))
	switch {
	case r.URL != "":
		return path, r.URL, nil
	case e.public != nil:
		return path, e.public.String() + path, nil
	}
	return path, "", nil
}
