package schedules

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/rs/zerolog"

	"github.com/plugfn/plugfn/internal/bus"
	"github.com/plugfn/plugfn/pkg/events"
)

const (
	defaultPage = 50
	maxPage     = 200
	maxTries    = 20 // of a change by compare-and-swap

	// markerAge is how long a deleted schedule leaves a mark of itself: longer
	// than anybody works with what he has read.
	markerAge = time.Hour
)

var (
	errTaken = errors.New("the schedule was changed meanwhile")
	errNone  = errors.New("there is no such schedule; see: plugfn schedule list")
)

// store keeps the records.
type store struct {
	kv  jetstream.KeyValue
	log zerolog.Logger
}

func openStore(ctx context.Context, js jetstream.JetStream, log zerolog.Logger) (*store, error) {
	kv, err := js.KeyValue(ctx, bus.BucketSchedules)
	if err != nil {
		return nil, fmt.Errorf("opening bucket %s: %w", bus.BucketSchedules, err)
	}
	return &store{kv, log}, nil
}

// get reads the record at key; errNone where there is none.
func (s *store) get(ctx context.Context, key string) (record, uint64, error) {
	entry, err := s.kv.Get(ctx, key)
	switch {
	case errors.Is(err, jetstream.ErrKeyNotFound), errors.Is(err, jetstream.ErrInvalidKey):
		return record{}, 0, errNone
	case err != nil:
		return record{}, 0, fmt.Errorf("reading the schedule: %w", err)
	}
	r, err := decode(key, entry.Value())
	return r, entry.Revision(), err
}

// put stores r unless somebody else has since revision, which is errTaken; with
// 0 there must be none.
func (s *store) put(ctx context.Context, r *record, revision uint64) error {
	value, err := json.Marshal(r)
	if err != nil {
		return fmt.Errorf("encoding the schedule: %w", err)
	}
	_, err = s.kv.Update(ctx, r.key(), value, revision)
	var api *jetstream.APIError
	if errors.As(err, &api) && api.ErrorCode == jetstream.JSErrCodeStreamWrongLastSequence {
		return errTaken
	}
	if err != nil {
		return fmt.Errorf("storing the schedule: %w", err)
	}
	return nil
}

// create stores r where there is none, also where there was one that was deleted.
func (s *store) create(ctx context.Context, r *record) error {
	value, err := json.Marshal(r)
	if err != nil {
		return fmt.Errorf("encoding the schedule: %w", err)
	}
	_, err = s.kv.Create(ctx, r.key(), value)
	if errors.Is(err, jetstream.ErrKeyExists) {
		return errTaken
	}
	if err != nil {
		return fmt.Errorf("storing the schedule: %w", err)
	}
	return nil
}

func (s *store) delete(ctx context.Context, r *record) error {
	if err := s.kv.Purge(ctx, r.key(), jetstream.PurgeTTL(markerAge)); err != nil {
		return fmt.Errorf("deleting the schedule: %w", err)
	}
	return nil
}

// find returns the schedule of an id, of a user or, for "", of whoever has it.
func (s *store) find(ctx context.Context, user, id string) (record, uint64, error) {
	if user != "" {
		return s.get(ctx, events.Key(user, id))
	}
	key := ""
	err := bus.Scan(ctx, s.kv, "*."+events.Token(id), func(entry jetstream.KeyValueEntry) bool {
		key = entry.Key()
		return false
	}, jetstream.MetaOnly())
	if err == nil && key == "" {
		err = errNone
	}
	if err != nil {
		return record{}, 0, err
	}
	return s.get(ctx, key)
}

// each calls visit for all schedules, of a user or, for "", of everybody. One
// that changes meanwhile may come twice.
func (s *store) each(ctx context.Context, user string, visit func(*record)) error {
	filter := "*.*"
	if user != "" {
		filter = events.Token(user) + ".*"
	}
	return bus.Scan(ctx, s.kv, filter, func(entry jetstream.KeyValueEntry) bool {
		r, err := decode(entry.Key(), entry.Value())
		if err != nil {
			s.log.Error().Err(err).Uint64("revision", entry.Revision()).Msg("schedule unreadable")
			return true
		}
		visit(&r)
		return true
	})
}

// query selects a page of schedules; an empty field stands for any.
type query struct {
	User   string `json:"-"`
	State  State  `json:"state"`
	Cursor string `json:"cursor"`
	Limit  int    `json:"limit"` // 0: 50
}

// list returns a page of schedules, the oldest first, and the cursor of the next.
func (s *store) list(ctx context.Context, q query) ([]record, string, error) {
	q.Limit = cmp.Or(q.Limit, defaultPage)
	switch {
	case q.Limit < 1 || q.Limit > maxPage:
		return nil, "", invalid("limit", "must be from 1 to %d", maxPage)
	case q.State != "" && q.State != Active && q.State != Paused && q.State != Done:
		return nil, "", invalid("state", "must be %s, %s or %s", Active, Paused, Done)
	}
	var all []record // in order, one more than the page
	err := s.each(ctx, q.User, func(r *record) {
		if q.State != "" && r.State != q.State || r.ID <= q.Cursor {
			return
		}
		i, double := slices.BinarySearchFunc(all, r.ID, func(r record, id string) int { return strings.Compare(r.ID, id) })
		if double {
			all[i] = *r
			return
		}
		all = slices.Insert(all, i, *r)
		all = all[:min(len(all), q.Limit+1)]
	})
	if err != nil || len(all) <= q.Limit {
		return all, "", err
	}
	return all[:q.Limit], all[q.Limit-1].ID, nil
}

// count is how many schedules a user has that are not done.
func (s *store) count(ctx context.Context, user string) (int, error) {
	ids := map[string]bool{}
	err := s.each(ctx, user, func(r *record) {
		if r.State != Done {
			ids[r.ID] = true
		}
	})
	return len(ids), err
}
