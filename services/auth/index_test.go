package auth

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"pgregory.net/rapid"

	"github.com/plugfn/plugfn/pkg/events"
)

// counted is a bucket that counts how often it is looked through.
type counted struct {
	jetstream.KeyValue
	mu    sync.Mutex
	scans int
}

func (c *counted) WatchAll(ctx context.Context, opts ...jetstream.WatchOpt) (jetstream.KeyWatcher, error) {
	return c.Watch(ctx, ">", opts...)
}

func (c *counted) Watch(ctx context.Context, keys string, opts ...jetstream.WatchOpt) (jetstream.KeyWatcher, error) {
	c.mu.Lock()
	c.scans++
	c.mu.Unlock()
	return c.KeyValue.Watch(ctx, keys, opts...)
}

func TestNothingIsScannedForWhatTheIndexKnows(t *testing.T) {
	r := newRig(t)
	counting := &counted{KeyValue: r.store.kv}
	r.store.kv = counting
	one := r.connect(t, "one", "github", "t")
	two := r.connect(t, "one", "slack", "t")
	for range 3 {
		for _, id := range []string{"", one.ID} {
			if _, err := r.credential(t.Context(), "one", "github", id); err != nil {
				t.Fatal(err)
			}
		}
	}
	if items, _, err := r.store.list(t.Context(), query{user: "one"}); err != nil || len(items) != 2 {
		t.Errorf("list: %v, %v", items, err)
	}
	if _, err := r.store.amend(t.Context(), "one", two.ID, amendment{Default: ptr(true)}); err != nil {
		t.Error(err)
	}
	if err := r.delete(t.Context(), "one", one.ID); err != nil {
		t.Error(err)
	}
	if counting.scans != 0 {
		t.Errorf("%d scans", counting.scans)
	}
	// What it does not know is looked for, before anybody hears that there is none.
	_, err := r.credential(t.Context(), "one", "github", "")
	wantCode(t, err, events.CodeConnectionNotFound)
	if counting.scans != 1 {
		t.Errorf("%d scans", counting.scans)
	}
}

// What another process has made is there at once, however late the index is.
func TestALateIndexHidesNothing(t *testing.T) {
	r := newRig(t)
	late := *r.store
	late.index = newIndex(late.index.opens, late.index.due) // nobody feeds it
	c := r.connect(t, "u1", "github", "t")
	if k, err := late.resolve(t.Context(), "u1", "github", ""); err != nil || k.ID != c.ID {
		t.Errorf("got %s, %v", k.ID, err)
	}
	if shown, err := late.get(t.Context(), "u1", c.ID); err != nil || shown.ID != c.ID {
		t.Errorf("got %s, %v", shown.ID, err)
	}
	// And what it still knows does not come back.
	late.index = r.store.index
	stale := newIndex(late.index.opens, late.index.due)
	value, err := (&record{Connection: c}).encode()
	if err != nil {
		t.Fatal(err)
	}
	stale.note(recordKey(c), 1, value)
	if err := r.delete(t.Context(), "u1", c.ID); err != nil {
		t.Fatal(err)
	}
	late.index = stale
	_, err = late.resolve(t.Context(), "u1", "github", "")
	wantCode(t, err, events.CodeConnectionNotFound)
	_, err = late.get(t.Context(), "u1", c.ID)
	wantCode(t, err, events.CodeConnectionNotFound)
}

func TestTheIndexFollowsOthersAndStartsAnew(t *testing.T) {
	r := newRig(t)
	x := newIndex(r.store.index.opens, r.store.index.due)
	follow := func(load int, until func() bool) {
		ctx, stop := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- x.follow(ctx, r.connections, load) }()
		eventually(t, "the index", until)
		stop()
		if err := <-ended; !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
	}
	one, two := r.connect(t, "u1", "github", "t"), r.connect(t, "u1", "slack", "t")
	follow(1, func() bool { return x.isLoaded() && len(x.keysOf(two.ID)) == 1 })
	// While nobody follows, one goes, one changes and one comes.
	if err := r.delete(t.Context(), "u1", one.ID); err != nil {
		t.Fatal(err)
	}
	r.change(t, two, func(r *record) { r.Account = "4711" })
	three := r.connect(t, "u1", "github", "t")
	follow(2, func() bool {
		return len(x.keysOf(one.ID)) == 0 && len(x.keysOf(three.ID)) == 1 &&
			x.sameAccount(&grantInput{UserID: "u1", Provider: "slack", Auth: "bot", Credential: minted{Account: "4711"}}) == two.ID
	})
	if key, ok := x.elect("u1", "github"); !ok || key != recordKey(three) {
		t.Errorf("meant: %s", key)
	}
}

// Whatever comes in whatever order from the watch and from one's own writes, the
// index ends with what the watch said last.
func TestIndexProperty(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		x := newIndex(func(*record) bool { return true }, func(*record) time.Time { return time.Time{} })
		type change struct {
			key   string
			value []byte
		}
		var log []change // the bucket's, revision 1 first
		watched := 0
		for range rapid.IntRange(1, 60).Draw(t, "steps") {
			if rapid.Bool().Draw(t, "write") || watched == len(log) {
				c := events.Connection{UserID: "u", Provider: "p", ID: fmt.Sprint("c", rapid.IntRange(0, 3).Draw(t, "id"))}
				one := change{key: recordKey(c)}
				if !rapid.Bool().Draw(t, "delete") {
					one.value, _ = (&record{Connection: c, Fence: uint64(len(log) + 1)}).encode()
				}
				log = append(log, one)
				if rapid.Bool().Draw(t, "own") {
					x.note(one.key, uint64(len(log)), one.value)
				}
				continue
			}
			x.take(newFakeEntry(log[watched].key, log[watched].value, uint64(watched+1)), 1)
			watched++
		}
		for ; watched < len(log); watched++ {
			x.take(newFakeEntry(log[watched].key, log[watched].value, uint64(watched+1)), 1)
		}
		last := map[string]int{}
		for i, c := range log {
			last[c.key] = i
		}
		for key, i := range last {
			revision, _ := x.sight(key)
			if want := uint64(i + 1); log[i].value == nil && revision != 0 || log[i].value != nil && revision != want {
				t.Errorf("%s: revision %d is known, %d is the last", key, revision, want)
			}
		}
	})
}

// fakeEntry is what a watch brings.
type fakeEntry struct {
	jetstream.KeyValueEntry
	key      string
	value    []byte
	revision uint64
}

func newFakeEntry(key string, value []byte, revision uint64) jetstream.KeyValueEntry {
	return &fakeEntry{key: key, value: value, revision: revision}
}

func (e *fakeEntry) Key() string      { return e.key }
func (e *fakeEntry) Value() []byte    { return e.value }
func (e *fakeEntry) Revision() uint64 { return e.revision }
func (e *fakeEntry) Operation() jetstream.KeyValueOp {
	if e.value == nil {
		return jetstream.KeyValuePurge
	}
	return jetstream.KeyValuePut
}

func TestWaitingForAChange(t *testing.T) {
	x := newIndex(func(*record) bool { return true }, func(*record) time.Time { return time.Time{} })
	changed := x.changed("u.p.c")
	select {
	case <-changed:
		t.Fatal("nothing has changed")
	default:
	}
	before := time.Now()
	x.note("u.p.c", 7, []byte("{"))
	<-changed
	if revision, since := x.sight("u.p.c"); revision != 7 || since.Before(before) {
		t.Errorf("revision %d since %s", revision, since)
	}
	if keys := x.keysOf("c"); !slices.Equal(keys, []string{"u.p.c"}) {
		t.Errorf("keys %v", keys)
	}
}
