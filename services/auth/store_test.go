package auth

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/plugfn/plugfn/pkg/events"
)

func TestLifeOfAConnection(t *testing.T) {
	r := newRig(t)
	now := time.Date(2026, 3, 4, 5, 6, 7, 8, time.UTC)
	r.store.now = func() time.Time { return now }
	made, err := r.create(t.Context(), newConnection{UserID: "u 1", Provider: "github", Name: "work", Account: "4711", Token: secret("ghp_1")})
	if err != nil {
		t.Fatal(err)
	}
	want := connection{Connection: events.Connection{
		ID: made.ID, UserID: "u 1", Provider: "github", Name: "work", Auth: "pat", Account: "4711",
		Status: events.ConnectionActive, Version: 1, CreatedAt: now, UpdatedAt: now,
	}}
	if diff := cmp.Diff(want, made); diff != "" {
		t.Error(diff)
	}
	if !strings.HasPrefix(made.ID, "con_") || len(made.ID) != 30 {
		t.Errorf("id %q", made.ID)
	}
	for _, user := range []string{"", "u 1"} {
		got, err := r.store.get(t.Context(), user, made.ID)
		if diff := cmp.Diff(want, got); err != nil || diff != "" {
			t.Errorf("get for user %q: %v %s", user, err, diff)
		}
	}
	for name, ask := range map[string]func() error{
		"get of another user":    func() error { _, err := r.store.get(t.Context(), "u2", made.ID); return err },
		"get of another id":      func() error { _, err := r.store.get(t.Context(), "u 1", made.ID+"x"); return err },
		"get with a wildcard":    func() error { _, err := r.store.get(t.Context(), "", "*"); return err },
		"get with two wildcards": func() error { _, err := r.store.get(t.Context(), "*", ">"); return err },
		"delete of another user": func() error { return r.delete(t.Context(), "u2", made.ID) },
		"delete with a wildcard": func() error { return r.delete(t.Context(), "*", ">") },
	} {
		if err := ask(); err == nil {
			t.Errorf("%s: found", name)
		} else {
			wantCode(t, err, events.CodeConnectionNotFound)
		}
	}
	if err := r.delete(t.Context(), "u 1", made.ID); err != nil {
		t.Fatal(err)
	}
	wantCode(t, r.delete(t.Context(), "u 1", made.ID), events.CodeConnectionNotFound)
	_, err = r.credential(t.Context(), "u 1", "github", made.ID)
	wantCode(t, err, events.CodeConnectionNotFound)
	if text := r.stored(t); strings.Contains(text, "ghp_1") || strings.Contains(text, "credential") {
		t.Errorf("the bucket still holds %s", text)
	}
	wantAnnouncements(t, r, made.Connection, events.Created, events.Deleted)
}

// wantAnnouncements wants these changes of c, and no others, in the stream.
func wantAnnouncements(t *testing.T, r *rig, c events.Connection, changes ...events.Change) {
	t.Helper()
	stream, err := r.bus.JetStream().Stream(t.Context(), events.StreamEvents)
	if err != nil {
		t.Fatal(err)
	}
	if n := stream.CachedInfo().State.Msgs; n != uint64(len(changes)) {
		t.Fatalf("%d announcements, want %d", n, len(changes))
	}
	seen := map[string]bool{}
	for i, change := range changes {
		msg, err := stream.GetMsg(t.Context(), uint64(i+1))
		if err != nil {
			t.Fatal(err)
		}
		if want := events.ConnectionSubject(c.UserID, c.Provider, change); msg.Subject != want {
			t.Errorf("subject %s, want %s", msg.Subject, want)
		}
		e, err := events.ParseEvent(msg.Header, msg.Data)
		if err != nil {
			t.Fatal(err)
		}
		if e.Type != "dev.plugfn.connection."+string(change) || e.UserID != c.UserID || e.ConnectionID != c.ID || e.Provider != c.Provider || e.Account != c.Account {
			t.Errorf("announcement %+v", e)
		}
		if seen[e.ID] || msg.Header.Get(jetstream.MsgIDHeader) != e.ID {
			t.Errorf("id %q, message id %q", e.ID, msg.Header.Get(jetstream.MsgIDHeader))
		}
		seen[e.ID] = true
		var body events.Connection
		if err := json.Unmarshal(e.Data, &body); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(c, body); diff != "" {
			t.Error(diff)
		}
	}
}

func TestUsersWithTheSameHashAreToldApart(t *testing.T) {
	r := newRig(t)
	long, other := strings.Repeat("a", 100), strings.Repeat("b", 100)
	c := r.connect(t, long, "github", "t")
	// As if the hashes of the two were the same: the record of one at the key
	// that belongs to the other.
	entry, err := r.connections.Get(t.Context(), recordKey(c))
	if err != nil {
		t.Fatal(err)
	}
	if !belongsTo(entry, long) || belongsTo(entry, other) || !belongsTo(entry, "") {
		t.Error("the record is not told apart by its user")
	}
}

func TestUnreadableRecordsAreShownAndHarmNoOther(t *testing.T) {
	r := newRig(t)
	good := r.connect(t, "u1", "github", "ghp_good")
	broken := r.connect(t, "u1", "github", "ghp_broken")
	r.overwrite(t, broken, []byte("{"))
	one, two := r.connect(t, "u1", "slack", "xoxb_1"), r.connect(t, "u1", "slack", "xoxb_2")
	var sealed []byte
	r.change(t, one, func(r *record) { sealed = r.Credential })
	r.change(t, two, func(r *record) { r.Credential = sealed })

	items, _, err := r.store.list(t.Context(), query{user: "u1"})
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]events.ConnectionStatus{}
	for _, c := range items {
		got[c.ID] = c.Status
		if unreadable := c.Status == events.ConnectionError; unreadable != (c.Error != nil) || c.UserID != "u1" || c.Provider == "" {
			t.Errorf("shown as %+v, error %v", c.Connection, c.Error)
		}
	}
	want := map[string]events.ConnectionStatus{
		good.ID: events.ConnectionActive, broken.ID: events.ConnectionError, one.ID: events.ConnectionActive, two.ID: events.ConnectionError,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	for _, c := range []events.Connection{broken, two} {
		_, err := r.credential(t.Context(), "u1", c.Provider, c.ID)
		wantCode(t, err, events.CodeNeedsReauth)
		if !strings.Contains(r.log.String(), `"connection":"`+c.ID+`"`) {
			t.Errorf("%s is not in the log", c.ID)
		}
		if shown, err := r.store.get(t.Context(), "u1", c.ID); err != nil || shown.Status != events.ConnectionError {
			t.Errorf("get: %+v, %v", shown, err)
		}
		if err := r.delete(t.Context(), "u1", c.ID); err != nil {
			t.Errorf("it cannot be deleted: %v", err)
		}
	}
	if c, err := r.credential(t.Context(), "u1", "github", ""); err != nil || c.ConnectionID != good.ID {
		t.Errorf("the good one: %+v, %v", c, err)
	}
}

func TestDeleteAtTheSameTimeIsDoneOnce(t *testing.T) {
	r := newRig(t)
	c := r.connect(t, "u1", "github", "t")
	var deleted, absent atomic.Int32
	var wait sync.WaitGroup
	for range 16 {
		wait.Go(func() {
			err := r.delete(context.Background(), "u1", c.ID)
			var e *events.Error
			switch {
			case err == nil:
				deleted.Add(1)
			case errors.As(err, &e) && e.Code == events.CodeConnectionNotFound:
				absent.Add(1)
			default:
				t.Error(err)
			}
		})
	}
	wait.Wait()
	if deleted.Load() != 1 || absent.Load() != 15 {
		t.Errorf("%d deleted it, %d found none", deleted.Load(), absent.Load())
	}
	wantAnnouncements(t, r, c, events.Created, events.Deleted)
}

func TestCreateListAndDeleteAtTheSameTime(t *testing.T) {
	r := newRig(t)
	stay := r.connect(t, "u1", "github", "t")
	var wait sync.WaitGroup
	for range 4 {
		wait.Go(func() {
			for range 10 {
				made, err := r.create(context.Background(), newConnection{UserID: "u1", Provider: "github", Token: secret("t")})
				if err == nil {
					err = r.delete(context.Background(), "u1", made.ID)
				}
				if err != nil {
					t.Error(err)
				}
			}
		})
		wait.Go(func() {
			for range 10 {
				items, _, err := r.store.list(context.Background(), query{user: "u1"})
				if err != nil || !slices.ContainsFunc(items, func(c connection) bool { return c.ID == stay.ID }) {
					t.Errorf("list without the one that stays: %v, %v", items, err)
				}
			}
		})
	}
	wait.Wait()
	items, _, err := r.store.list(t.Context(), query{})
	if err != nil || len(items) != 1 {
		t.Errorf("left: %v, %v", items, err)
	}
}

func TestDeleteSeesAChangeInBetween(t *testing.T) {
	r := newRig(t)
	c := r.connect(t, "u1", "github", "t")
	r.store.kv = &busy{KeyValue: r.store.kv, changes: 2, change: func() {
		r.change(t, c, func(r *record) { r.Version++ })
	}}
	if err := r.delete(t.Context(), "u1", c.ID); err != nil {
		t.Fatal(err)
	}
	c.Version = 3
	wantDeleted(t, r, c)

	c = r.connect(t, "u1", "github", "t")
	r.store.kv = &busy{KeyValue: r.connections, changes: 1000, change: func() {
		r.change(t, c, func(r *record) { r.Version++ })
	}}
	wantCode(t, r.delete(t.Context(), "u1", c.ID), events.CodeInternal)
	if _, err := r.store.get(t.Context(), "u1", c.ID); err != nil {
		t.Errorf("given up and gone: %v", err)
	}
}

// wantDeleted wants the last announcement to be that c, as it was at last, is
// deleted.
func wantDeleted(t *testing.T, r *rig, c events.Connection) {
	t.Helper()
	stream, err := r.bus.JetStream().Stream(t.Context(), events.StreamEvents)
	if err != nil {
		t.Fatal(err)
	}
	msg, err := stream.GetLastMsgForSubject(t.Context(), events.ConnectionSubject(c.UserID, c.Provider, events.Deleted))
	if err != nil {
		t.Fatal(err)
	}
	var body events.Connection
	if err := json.Unmarshal(msg.Data, &body); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(c, body); diff != "" {
		t.Error(diff)
	}
}

// busy is a bucket whose records change right before they are deleted.
type busy struct {
	jetstream.KeyValue
	changes int
	change  func()
}

func (b *busy) Purge(ctx context.Context, key string, opts ...jetstream.KVDeleteOpt) error {
	if b.changes > 0 {
		b.changes--
		b.change()
	}
	return b.KeyValue.Purge(ctx, key, opts...)
}

func TestAChangeThatCannotBeAnnouncedStays(t *testing.T) {
	r := newRig(t)
	if err := r.bus.JetStream().DeleteStream(t.Context(), events.StreamEvents); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	made, err := r.create(ctx, newConnection{UserID: "u1", Provider: "github", Token: secret("t")})
	cancel()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := r.store.get(t.Context(), "u1", made.ID); err != nil {
		t.Error(err)
	}
	if !strings.Contains(r.log.String(), "connection change not announced") {
		t.Errorf("log: %s", r.log)
	}
}
