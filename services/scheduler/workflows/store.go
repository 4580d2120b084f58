package workflows

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/rs/zerolog"

	"github.com/plugfn/plugfn/internal/bus"
	"github.com/plugfn/plugfn/pkg/events"
	"github.com/plugfn/plugfn/pkg/workflow"
)

const (
	defaultPage = 50
	maxPage     = 200
	maxTries    = 20 // of a change by compare-and-swap

	// oldAge is how long what a workflow has left behind stays: longer than the
	// longest run, and what may follow it.
	oldAge = workflow.MaxTimeout + 35*24*time.Hour
)

var (
	errTaken = errors.New("the workflow was changed meanwhile")
	errNone  = errors.New("there is no such workflow; see: plugfn workflow list")
	errOld   = errors.New("there is no such version of the workflow; see: plugfn workflow versions")
)

// store keeps the records and the texts.
type store struct {
	js      jetstream.JetStream
	records jetstream.KeyValue
	texts   jetstream.KeyValue
	log     zerolog.Logger
}

func openStore(ctx context.Context, js jetstream.JetStream, log zerolog.Logger) (*store, error) {
	s := &store{js: js, log: log}
	for bucket, kv := range map[string]*jetstream.KeyValue{bus.BucketWorkflows: &s.records, bus.BucketDefinitions: &s.texts} {
		opened, err := js.KeyValue(ctx, bucket)
		if err != nil {
			return nil, fmt.Errorf("opening bucket %s: %w", bucket, err)
		}
		*kv = opened
	}
	return s, nil
}

// find reads the record of a workflow; errNone where there is none, or where it
// was deleted.
func (s *store) find(ctx context.Context, user, name string) (*record, uint64, error) {
	r, revision, err := s.left(ctx, user, name)
	if err == nil && r.Status == deleted {
		return nil, revision, errNone
	}
	return r, revision, err
}

// left is find that also returns what is left of a workflow that was deleted.
func (s *store) left(ctx context.Context, user, name string) (*record, uint64, error) {
	key := keyOf(user, name)
	entry, err := s.records.Get(ctx, key)
	switch {
	case errors.Is(err, jetstream.ErrKeyNotFound), errors.Is(err, jetstream.ErrInvalidKey):
		return nil, 0, errNone
	case err != nil:
		return nil, 0, fmt.Errorf("reading the workflow: %w", err)
	}
	r, err := decode(key, entry.Value())
	return r, entry.Revision(), err
}

// put stores r unless somebody else has since revision, which is errTaken; with
// 0 there must be none.
func (s *store) put(ctx context.Context, r *record, revision uint64) error {
	value, err := encode(r)
	if err != nil {
		return fmt.Errorf("encoding the workflow: %w", err)
	}
	msg := message(bus.BucketWorkflows, r.key(), value)
	opts := []jetstream.PublishOpt{jetstream.WithExpectLastSequencePerSubject(revision)}
	if r.Status == deleted {
		opts = append(opts, jetstream.WithMsgTTL(oldAge))
	}
	_, err = s.js.PublishMsg(ctx, msg, opts...)
	return storing(err)
}

// message is a put to a bucket, that can say more than the library lets it.
func message(bucket, key string, value []byte) *nats.Msg {
	return &nats.Msg{Subject: "$KV." + bucket + "." + key, Header: nats.Header{}, Data: value}
}

func storing(err error) error {
	var api *jetstream.APIError
	switch {
	case err == nil:
		return nil
	case errors.As(err, &api) && api.ErrorCode == jetstream.JSErrCodeStreamWrongLastSequence:
		return errTaken
	default:
		return fmt.Errorf("storing the workflow: %w", err)
	}
}

func textKey(user, name string, version int) string {
	return keyOf(user, name) + "." + strconv.Itoa(version)
}

// add stores a version that must not be there yet, otherwise errTaken.
func (s *store) add(ctx context.Context, t *text) error {
	value, err := encode(t)
	if err != nil {
		return fmt.Errorf("encoding the definition: %w", err)
	}
	msg := message(bus.BucketDefinitions, textKey(t.UserID, t.Name, t.Version), value)
	_, err = s.js.PublishMsg(ctx, msg, jetstream.WithExpectLastSequencePerSubject(0))
	return storing(err)
}

// text reads a version; errOld where it is not kept.
func (s *store) text(ctx context.Context, user, name string, version int) (*text, error) {
	entry, err := s.texts.Get(ctx, textKey(user, name, version))
	switch {
	case errors.Is(err, jetstream.ErrKeyNotFound), errors.Is(err, jetstream.ErrInvalidKey):
		return nil, errOld
	case err != nil:
		return nil, fmt.Errorf("reading the definition: %w", err)
	}
	t := &text{}
	if err := json.Unmarshal(entry.Value(), t); err != nil {
		return nil, errors.New("the definition is not JSON of the known form")
	}
	if t.Name != name || t.UserID != user || t.Version != version {
		return nil, errors.New("the definition belongs to another key")
	}
	return t, nil
}

// retire lets a version go once no run of it can go on.
func (s *store) retire(ctx context.Context, user, name string, version int) error {
	t, err := s.text(ctx, user, name, version)
	if errors.Is(err, errOld) {
		return nil
	}
	if err != nil {
		return err
	}
	value, err := encode(t)
	if err != nil {
		return fmt.Errorf("encoding the definition: %w", err)
	}
	msg := message(bus.BucketDefinitions, textKey(user, name, version), value)
	_, err = s.js.PublishMsg(ctx, msg, jetstream.WithMsgTTL(oldAge))
	return storing(err)
}

// withdraw takes away a version that never counted.
func (s *store) withdraw(ctx context.Context, t *text) {
	if err := s.texts.Purge(ctx, textKey(t.UserID, t.Name, t.Version), jetstream.PurgeTTL(time.Hour)); err != nil {
		s.log.Debug().Err(err).Str("workflow", t.Name).Msg("a version that was not applied is left behind")
	}
}

// each calls visit for all records, of a user or, for "", of everybody, those of
// deleted workflows among them. One that changes meanwhile may come twice.
func (s *store) each(ctx context.Context, user string, visit func(*record)) error {
	filter := "*.*"
	if user != "" {
		filter = events.Token(user) + ".*"
	}
	return bus.Scan(ctx, s.records, filter, func(entry jetstream.KeyValueEntry) bool {
		r, err := decode(entry.Key(), entry.Value())
		if err != nil {
			s.log.Error().Err(err).Uint64("revision", entry.Revision()).Msg("workflow unreadable")
			return true
		}
		visit(r)
		return true
	})
}

// query selects a page of workflows; an empty field stands for any.
type query struct {
	User   string `json:"-"`
	Status Status `json:"status"`
	Cursor string `json:"cursor"`
	Limit  int    `json:"limit"` // 0: 50
}

// cursor is where a record stands in the order of all.
func (r *record) cursor() string { return r.Name + "/" + r.UserID }

// list returns a page of workflows by name, and the cursor of the next.
func (s *store) list(ctx context.Context, q query) ([]*record, string, error) {
	q.Limit = cmp.Or(q.Limit, defaultPage)
	switch {
	case q.Limit < 1 || q.Limit > maxPage:
		return nil, "", invalid("limit", "must be from 1 to %d", maxPage)
	case q.Status != "" && q.Status != Draft && q.Status != Enabled && q.Status != Disabled:
		return nil, "", invalid("status", "must be %s, %s or %s", Draft, Enabled, Disabled)
	}
	var all []*record // in order, one more than the page
	err := s.each(ctx, q.User, func(r *record) {
		if r.Status == deleted || q.Status != "" && r.Status != q.Status || r.cursor() <= q.Cursor {
			return
		}
		i, double := slices.BinarySearchFunc(all, r.cursor(), func(r *record, cursor string) int { return strings.Compare(r.cursor(), cursor) })
		if double {
			all[i] = r
			return
		}
		all = slices.Insert(all, i, r)
		all = all[:min(len(all), q.Limit+1)]
	})
	if err != nil || len(all) <= q.Limit {
		return all, "", err
	}
	return all[:q.Limit], all[q.Limit-1].cursor(), nil
}

// encode is json.Marshal without the escapes for HTML.
func encode(v any) ([]byte, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		return nil, err
	}
	return bytes.TrimSuffix(b.Bytes(), []byte("\n")), nil
}
