package auth

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/nats-io/nats.go/jetstream"
	"pgregory.net/rapid"

	"github.com/plugfn/plugfn/pkg/events"
)

func TestCreateRefuses(t *testing.T) {
	r := newRig(t)
	tests := []struct {
		name string
		edit func(*newConnection)
		code events.Code
		want string
	}{
		{"unknown provider", func(n *newConnection) { n.Provider = "gihub" }, events.CodeUnknownProvider, `"gihub", did you mean github?`},
		{"strange provider", func(n *newConnection) { n.Provider = "zzzzzzzzzzzz" }, events.CodeUnknownProvider, "plugfn provider list"},
		{"unknown auth", func(n *newConnection) { n.Auth = "pta" }, events.CodeInvalidParams, `auth: provider github has no "pta"; it has: pat, app`},
		{"auth that is not a token", func(n *newConnection) { n.Auth = "app" }, events.CodeInvalidParams, "auth: app of provider github is not made from a token"},
		{"auth none", func(n *newConnection) { n.Provider = "weather" }, events.CodeInvalidParams, "auth: provider weather takes no credential"},
		{"no auth block", func(n *newConnection) { n.Provider = "clock" }, events.CodeInvalidParams, "auth: provider clock takes no credential"},
		{"no user", func(n *newConnection) { n.UserID = "" }, events.CodeInvalidParams, "user_id: must not be empty"},
		{"long user", func(n *newConnection) { n.UserID = strings.Repeat("ü", 129) }, events.CodeInvalidParams, "user_id: longer than 256 bytes"},
		{"user with control characters", func(n *newConnection) { n.UserID = "u\n1" }, events.CodeInvalidParams, "user_id: must be valid UTF-8 without control"},
		{"user that is not UTF-8", func(n *newConnection) { n.UserID = "u\xff" }, events.CodeInvalidParams, "user_id: must be valid UTF-8"},
		{"long name", func(n *newConnection) { n.Name = strings.Repeat("ü", 101) }, events.CodeInvalidParams, "name: longer than 100 characters"},
		{"name with control characters", func(n *newConnection) { n.Name = "\x1b[31m" }, events.CodeInvalidParams, "name: must be"},
		{"long account", func(n *newConnection) { n.Account = strings.Repeat("a", 257) }, events.CodeInvalidParams, "account: longer than 256 bytes"},
		{"account with control characters", func(n *newConnection) { n.Account = "\u0085" }, events.CodeInvalidParams, "account: must be"},
		{"no token", func(n *newConnection) { n.Token = secret("") }, events.CodeInvalidParams, "token: must not be empty"},
		{"long token", func(n *newConnection) { n.Token = secret(strings.Repeat("t", 8<<10+1)) }, events.CodeInvalidParams, "token: longer than 8192 bytes"},
		{"token with line break", func(n *newConnection) { n.Token = secret("ghp_canary\n") }, events.CodeInvalidParams, "token: must be valid UTF-8 without line breaks"},
		{"token that is not UTF-8", func(n *newConnection) { n.Token = secret("ghp_canary\xff") }, events.CodeInvalidParams, "token: must be valid UTF-8"},
		{"token with a space", func(n *newConnection) { n.Token = secret(" ghp_canary") }, events.CodeInvalidParams, "token: must not begin or end with a space"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			in := newConnection{UserID: "u1", Provider: "github", Token: secret("ghp_canary")}
			tt.edit(&in)
			_, err := r.store.create(t.Context(), in)
			e := wantCode(t, err, tt.code)
			if !strings.Contains(e.Message, tt.want) {
				t.Errorf("message %q does not say %q", e.Message, tt.want)
			}
			if strings.Contains(e.Message, "ghp_canary") {
				t.Errorf("message %q shows the token", e.Message)
			}
		})
	}
	if left, _, err := r.store.list(t.Context(), query{}); err != nil || len(left) > 0 {
		t.Errorf("refused and kept: %v, %v", left, err)
	}
}

func TestCreateTakesTheLongest(t *testing.T) {
	r := newRig(t)
	want := newConnection{
		UserID: strings.Repeat("ü", 128), Provider: "github", Auth: "pat",
		Name: strings.Repeat("ü", 100), Account: strings.Repeat("a", 256), Token: secret(strings.Repeat("t", 8<<10)),
	}
	made, err := r.store.create(t.Context(), want)
	if err != nil {
		t.Fatal(err)
	}
	got, err := r.store.credential(t.Context(), want.UserID, "github", made.ID)
	if err != nil || !got.Token.Equal(want.Token) || got.Auth != "pat" || got.Version != 1 || got.ConnectionID != made.ID {
		t.Errorf("got %+v, %v", got, err)
	}
}

func TestLifeOfAConnection(t *testing.T) {
	r := newRig(t)
	now := time.Date(2026, 3, 4, 5, 6, 7, 8, time.UTC)
	r.store.now = func() time.Time { return now }
	made, err := r.store.create(t.Context(), newConnection{UserID: "u 1", Provider: "github", Name: "work", Account: "4711", Token: secret("ghp_1")})
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
		"delete of another user": func() error { return r.store.delete(t.Context(), "u2", made.ID) },
		"delete with a wildcard": func() error { return r.store.delete(t.Context(), "*", ">") },
	} {
		if err := ask(); err == nil {
			t.Errorf("%s: found", name)
		} else {
			wantCode(t, err, events.CodeConnectionNotFound)
		}
	}
	if err := r.store.delete(t.Context(), "u 1", made.ID); err != nil {
		t.Fatal(err)
	}
	wantCode(t, r.store.delete(t.Context(), "u 1", made.ID), events.CodeConnectionNotFound)
	_, err = r.store.credential(t.Context(), "u 1", "github", made.ID)
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

func TestListInPages(t *testing.T) {
	r := newRig(t)
	var mine, all []string
	for i := range 7 {
		provider := []string{"github", "slack"}[i%2]
		mine = append(mine, provider+" "+r.connect(t, "u1", provider, "t").ID)
		r.connect(t, "u2", provider, "t")
	}
	slices.Sort(mine)
	tests := []struct {
		name string
		query
		want int
	}{
		{"all", query{}, 14},
		{"of a user", query{user: "u1"}, 7},
		{"of a provider", query{provider: "github"}, 8},
		{"of both", query{user: "u1", provider: "github"}, 4},
		{"of nobody", query{user: "u3"}, 0},
		{"of a wildcard", query{user: "*"}, 0},
		{"of all wildcards", query{user: ">"}, 0},
	}
	for _, tt := range tests {
		for _, limit := range []int{1, 2, 3, 200} {
			t.Run(fmt.Sprintf("%s by %d", tt.name, limit), func(t *testing.T) {
				all = nil
				q := tt.query
				q.limit = limit
				for {
					items, next, err := r.store.list(t.Context(), q)
					if err != nil {
						t.Fatal(err)
					}
					if len(items) > limit || next != "" && len(items) < limit {
						t.Fatalf("page of %d, next %q", len(items), next)
					}
					for _, c := range items {
						all = append(all, c.UserID+" "+c.Provider+" "+c.ID)
					}
					if next == "" {
						break
					}
					q.cursor = next
				}
				if len(all) != tt.want || !slices.IsSorted(all) || len(slices.Compact(all)) != tt.want {
					t.Errorf("got %v, want %d in order", all, tt.want)
				}
			})
		}
	}
	items, _, err := r.store.list(t.Context(), query{user: "u1"})
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, c := range items {
		got = append(got, c.Provider+" "+c.ID)
	}
	if diff := cmp.Diff(mine, got); diff != "" {
		t.Error(diff)
	}
}

func TestListRefuses(t *testing.T) {
	r := newRig(t)
	for name, q := range map[string]query{
		"limit":  {limit: maxPage + 1},
		"limit ": {limit: -1},
		"cursor": {cursor: "%"},
		// well-formed base64, of no key
		"cursor ":  {cursor: "Zm9v"},
		"cursor  ": {cursor: strings.Repeat("A", maxCursor+4)},
	} {
		_, _, err := r.store.list(t.Context(), q)
		e := wantCode(t, err, events.CodeInvalidParams)
		if !strings.HasPrefix(e.Message, strings.TrimSpace(name)+": ") {
			t.Errorf("message %q does not name %s", e.Message, name)
		}
	}
}

func TestPageIsTheSmallestKeys(t *testing.T) {
	key := rapid.StringOfN(rapid.SampledFrom([]rune("abc")), 1, 3, -1)
	rapid.Check(t, func(t *rapid.T) {
		keys := rapid.SliceOf(key).Draw(t, "keys")
		p := page{after: rapid.OneOf(rapid.Just(""), key).Draw(t, "after"), limit: rapid.IntRange(1, 5).Draw(t, "limit")}
		for _, k := range keys {
			p.add(k)
		}
		want := slices.DeleteFunc(slices.Compact(slices.Sorted(slices.Values(keys))), func(k string) bool { return k <= p.after })
		more := len(want) > p.limit
		want = want[:min(len(want), p.limit)]
		got, next := p.cut()
		if !slices.Equal(got, want) || (next != "") != more {
			t.Fatalf("got %q and %q, want %q, more %v", got, next, want, more)
		}
	})
}

func TestUsersWithTheSameHashAreToldApart(t *testing.T) {
	r := newRig(t)
	long, other := strings.Repeat("a", 100), strings.Repeat("b", 100)
	c := r.connect(t, long, "github", "t")
	// As if the hashes of the two were the same: the record of one at the key
	// that belongs to the other.
	entry, err := r.keys.Connections.Get(t.Context(), recordKey(c))
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
		if unreadable := c.Status == statusUnreadable; unreadable != (c.Error != nil) || c.UserID != "u1" || c.Provider == "" {
			t.Errorf("shown as %+v, error %v", c.Connection, c.Error)
		}
	}
	want := map[string]events.ConnectionStatus{
		good.ID: events.ConnectionActive, broken.ID: statusUnreadable, one.ID: events.ConnectionActive, two.ID: statusUnreadable,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	for _, c := range []events.Connection{broken, two} {
		_, err := r.store.credential(t.Context(), "u1", c.Provider, c.ID)
		wantCode(t, err, events.CodeNeedsReauth)
		if !strings.Contains(r.log.String(), `"connection":"`+c.ID+`"`) {
			t.Errorf("%s is not in the log", c.ID)
		}
		if shown, err := r.store.get(t.Context(), "u1", c.ID); err != nil || shown.Status != statusUnreadable {
			t.Errorf("get: %+v, %v", shown, err)
		}
		if err := r.store.delete(t.Context(), "u1", c.ID); err != nil {
			t.Errorf("it cannot be deleted: %v", err)
		}
	}
	if c, err := r.store.credential(t.Context(), "u1", "github", ""); err != nil || c.ConnectionID != good.ID {
		t.Errorf("the good one: %+v, %v", c, err)
	}
}

func TestACredentialOfAnotherRecordDoesNotOpen(t *testing.T) {
	r := newRig(t)
	mine, theirs := r.connect(t, "u1", "github", "ghp_mine"), r.connect(t, "u2", "github", "ghp_theirs")
	var a, b []byte
	r.change(t, mine, func(r *record) { a = r.Credential })
	r.change(t, theirs, func(r *record) { b, r.Credential = r.Credential, a })
	r.change(t, mine, func(r *record) { r.Credential = b })
	for _, c := range []events.Connection{mine, theirs} {
		_, err := r.store.credential(t.Context(), c.UserID, "github", c.ID)
		wantCode(t, err, events.CodeNeedsReauth)
	}
}

func TestResolve(t *testing.T) {
	r := newRig(t)
	only := r.connect(t, "one", "github", "t")
	var several []string
	for range 7 {
		several = append(several, r.connect(t, "many", "github", "t").ID)
	}
	asleep := r.connect(t, "asleep", "github", "t")
	r.change(t, asleep, func(r *record) { r.Status = events.ConnectionNeedsReauth })
	later := r.connect(t, "later", "github", "t")
	r.change(t, later, func(r *record) { r.Status = "of a later version" })

	tests := []struct {
		name, user, provider, id string
		want                     string // id
		code                     events.Code
	}{
		{"the only one", "one", "github", "", only.ID, ""},
		{"by id", "one", "github", only.ID, only.ID, ""},
		{"by id among several", "many", "github", several[3], several[3], ""},
		{"of another user", "many", "github", only.ID, "", events.CodeConnectionNotFound},
		{"of another provider", "one", "slack", only.ID, "", events.CodeConnectionNotFound},
		{"none", "one", "slack", "", "", events.CodeConnectionNotFound},
		{"no user", "", "github", only.ID, "", events.CodeConnectionNotFound},
		{"user that is a wildcard", "*", "github", "", "", events.CodeConnectionNotFound},
		{"id that is a wildcard", "one", "github", "*", "", events.CodeConnectionNotFound},
		{"several", "many", "github", "", "", events.CodeConnectionAmbiguous},
		{"needs reauth", "asleep", "github", "", "", events.CodeNeedsReauth},
		{"needs reauth by id", "asleep", "github", asleep.ID, "", events.CodeNeedsReauth},
		{"unknown status", "later", "github", "", "", events.CodeNeedsReauth},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c, err := r.store.credential(t.Context(), tt.user, tt.provider, tt.id)
			if tt.code != "" {
				wantCode(t, err, tt.code)
				return
			}
			if err != nil || c.ConnectionID != tt.want {
				t.Errorf("got %s, %v", c.ConnectionID, err)
			}
		})
	}
	_, err := r.store.resolve(t.Context(), "many", "github", "")
	want := strings.Join(several[:5], ", ") + " and more"
	if e := wantCode(t, err, events.CodeConnectionAmbiguous); !strings.Contains(e.Message, want) {
		t.Errorf("message %q does not list %s", e.Message, want)
	}
}

func TestConnectionsThatNeedReauthCount(t *testing.T) {
	r := newRig(t)
	r.connect(t, "u1", "github", "t")
	asleep := r.connect(t, "u1", "github", "t")
	r.change(t, asleep, func(r *record) { r.Status = events.ConnectionNeedsReauth })
	_, err := r.store.resolve(t.Context(), "u1", "github", "")
	wantCode(t, err, events.CodeConnectionAmbiguous)
}

func TestDeleteAtTheSameTimeIsDoneOnce(t *testing.T) {
	r := newRig(t)
	c := r.connect(t, "u1", "github", "t")
	var deleted, absent atomic.Int32
	var wait sync.WaitGroup
	for range 16 {
		wait.Go(func() {
			err := r.store.delete(context.Background(), "u1", c.ID)
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
				made, err := r.store.create(context.Background(), newConnection{UserID: "u1", Provider: "github", Token: secret("t")})
				if err == nil {
					err = r.store.delete(context.Background(), "u1", made.ID)
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
	if err := r.store.delete(t.Context(), "u1", c.ID); err != nil {
		t.Fatal(err)
	}
	c.Version = 3
	wantDeleted(t, r, c)

	c = r.connect(t, "u1", "github", "t")
	r.store.kv = &busy{KeyValue: r.keys.Connections, changes: 1000, change: func() {
		r.change(t, c, func(r *record) { r.Version++ })
	}}
	wantCode(t, r.store.delete(t.Context(), "u1", c.ID), events.CodeInternal)
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
	made, err := r.store.create(ctx, newConnection{UserID: "u1", Provider: "github", Token: secret("t")})
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

func TestScanEndsEarlyAndWithItsContext(t *testing.T) {
	r := newRig(t)
	value, err := (&record{}).encode()
	if err != nil {
		t.Fatal(err)
	}
	for i := range 600 { // more than a watcher holds
		if _, err := r.keys.Connections.Put(t.Context(), fmt.Sprintf("u.p.%d", i), value); err != nil {
			t.Fatal(err)
		}
	}
	seen := 0
	err = scan(t.Context(), r.keys.Connections, allKeys, func(jetstream.KeyValueEntry) bool { seen++; return seen < 3 })
	if err != nil || seen != 3 {
		t.Errorf("ended early: %d, %v", seen, err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	seen = 0
	err = scan(ctx, r.keys.Connections, allKeys, func(jetstream.KeyValueEntry) bool { seen++; cancel(); return true })
	// Which of the two it notices first is open, but it may not take part for all.
	if err == nil && seen != 600 || err != nil && !errors.Is(err, context.Canceled) {
		t.Errorf("with its context: %d, %v", seen, err)
	}
}
