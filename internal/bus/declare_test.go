package bus_test

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/plugfn/plugfn/internal/bus"
	"github.com/plugfn/plugfn/internal/bus/bustest"
	"github.com/plugfn/plugfn/pkg/events"
)

// shape is what the contract says about a stream.
type shape struct {
	Subjects  []string
	Age       time.Duration
	MaxBytes  int64
	Refuses   bool // what is new when it is full
	PerKey    int64
	Dedupe    time.Duration
	Schedules bool
	Packed    bool
	Batches   bool
}

func shapes(t *testing.T, b *bus.Bus) map[string]shape {
	t.Helper()
	got := map[string]shape{}
	list := b.JetStream().ListStreams(t.Context())
	for i := range list.Info() {
		c := i.Config
		if c.Storage != jetstream.FileStorage || c.Retention != jetstream.LimitsPolicy || c.Replicas != 1 || !c.AllowDirect {
			t.Errorf("%s: storage %s, retention %s, %d replicas, direct %v", c.Name, c.Storage, c.Retention, c.Replicas, c.AllowDirect)
		}
		got[c.Name] = shape{
			c.Subjects, c.MaxAge, c.MaxBytes, c.Discard == jetstream.DiscardNew, c.MaxMsgsPerSubject, c.Duplicates,
			c.AllowMsgSchedules && c.AllowMsgTTL && c.AllowRollup, c.Compression == jetstream.S2Compression, c.AllowAtomicPublish,
		}
	}
	if err := list.Err(); err != nil {
		t.Fatal(err)
	}
	return got
}

func TestDeclaredShapes(t *testing.T) {
	const (
		day    = 24 * time.Hour
		minute = time.Minute
		gib    = 1 << 30
	)
	b := bustest.New(t)
	want := map[string]shape{
		"PLUGFN_ACTIONS":        {[]string{"plugfn.action.>"}, 7 * day, gib, true, -1, 15 * minute, false, true, true},
		"PLUGFN_RESULTS":        {[]string{"plugfn.result.>"}, 7 * day, gib, true, -1, 15 * minute, false, true, true},
		"PLUGFN_EVENTS":         {[]string{"plugfn.event.>", "plugfn.connection.>"}, 7 * day, gib, true, -1, 15 * minute, false, true, true},
		"PLUGFN_RUNS":           {[]string{"plugfn.run.>"}, 7 * day, gib, true, -1, 15 * minute, false, true, false},
		"PLUGFN_DEAD":           {[]string{"plugfn.dead.>"}, 30 * day, gib, true, -1, 15 * minute, false, true, false},
		"PLUGFN_AUDIT":          {[]string{"plugfn.audit.>"}, 90 * day, gib, true, 20, 15 * minute, false, true, false},
		"PLUGFN_PAYLOADS":       {[]string{"plugfn.payload.>"}, 8 * day, gib, true, 1, 15 * minute, false, true, false},
		"PLUGFN_LATER":          {[]string{"plugfn.later.>", "plugfn.due.>"}, 0, -1, false, -1, 15 * minute, true, false, false},
		"KV_PLUGFN_CONNECTIONS": {[]string{"$KV.PLUGFN_CONNECTIONS.>"}, 0, gib, true, 1, 2 * minute, false, false, false},
		"KV_PLUGFN_JOURNAL":     {[]string{"$KV.PLUGFN_JOURNAL.>"}, 8 * day, gib, true, 1, 2 * minute, false, false, true},
		"KV_PLUGFN_WAITING":     {[]string{"$KV.PLUGFN_WAITING.>"}, time.Hour, gib, true, 1, 2 * minute, false, false, false},
		"KV_PLUGFN_KEYS":        {[]string{"$KV.PLUGFN_KEYS.>"}, 0, 1 << 20, true, 1, 2 * minute, false, false, false},
		"KV_PLUGFN_APPS":        {[]string{"$KV.PLUGFN_APPS.>"}, 0, 64 << 20, true, 1, 2 * minute, false, false, false},
		"KV_PLUGFN_ENDPOINTS":   {[]string{"$KV.PLUGFN_ENDPOINTS.>"}, 0, 256 << 20, true, 1, 2 * minute, false, false, false},
		"KV_PLUGFN_REVOCATIONS": {[]string{"$KV.PLUGFN_REVOCATIONS.>"}, 25 * time.Hour, 64 << 20, true, 1, 2 * minute, false, false, false},
		"KV_PLUGFN_STATES":      {[]string{"$KV.PLUGFN_STATES.>"}, time.Hour, 128 << 20, true, 1, 2 * minute, false, false, false},
		"KV_PLUGFN_USERS":       {[]string{"$KV.PLUGFN_USERS.>"}, 0, 64 << 20, true, 1, 2 * minute, false, false, false},
		"KV_PLUGFN_HEALING":     {[]string{"$KV.PLUGFN_HEALING.>"}, 0, 64 << 20, true, 1, 2 * minute, false, false, false},
		"KV_PLUGFN_DELIVERIES":  {[]string{"$KV.PLUGFN_DELIVERIES.>"}, 32 * day, gib, true, 1, 2 * minute, false, false, true},
		"KV_PLUGFN_SCHEDULES":   {[]string{"$KV.PLUGFN_SCHEDULES.>"}, 0, gib, true, 1, 2 * minute, false, false, false},
		"KV_PLUGFN_WORKFLOWS":   {[]string{"$KV.PLUGFN_WORKFLOWS.>"}, 0, 64 << 20, true, 1, 2 * minute, false, false, false},
		"KV_PLUGFN_DEFINITIONS": {[]string{"$KV.PLUGFN_DEFINITIONS.>"}, 0, 256 << 20, true, 1, 2 * minute, false, false, false},
		"KV_PLUGFN_RUNS":        {[]string{"$KV.PLUGFN_RUNS.>"}, 0, gib, true, 1, 2 * minute, false, false, false},
		"KV_PLUGFN_WAITS":       {[]string{"$KV.PLUGFN_WAITS.>"}, 0, 256 << 20, true, 1, 2 * minute, false, false, false},
		"KV_PLUGFN_TURNS":       {[]string{"$KV.PLUGFN_TURNS.>"}, 0, 64 << 20, true, 1, 2 * minute, false, false, false},
		"KV_PLUGFN_POLLS":       {[]string{"$KV.PLUGFN_POLLS.>"}, 31 * day, 256 << 20, true, 1, 2 * minute, false, false, false},
		"KV_PLUGFN_LANES":       {[]string{"$KV.PLUGFN_LANES.>"}, 0, 64 << 20, true, 1, 2 * minute, false, false, false},
		"KV_PLUGFN_ORDER":       {[]string{"$KV.PLUGFN_ORDER.>"}, 8 * day, 128 << 20, true, 1, 2 * minute, false, false, false},
		"KV_PLUGFN_LIMITS":      {[]string{"$KV.PLUGFN_LIMITS.>"}, 0, 1 << 20, true, 1, 2 * minute, false, false, false},
	}
	if d := cmp.Diff(want, shapes(t, b)); d != "" {
		t.Error(d)
	}
}

// TestBuckets uses each bucket through the key-value client, as services do.
func TestBuckets(t *testing.T) {
	b := bustest.New(t)
	for _, name := range []string{events.BucketConnections, bus.BucketJournal, bus.BucketWaiting, bus.BucketKeys, bus.BucketApps, bus.BucketStates, bus.BucketRevocations, bus.BucketUsers} {
		kv, err := b.JetStream().KeyValue(t.Context(), name)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		first, err := kv.Create(t.Context(), "u1.github.c1", []byte("1"))
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if _, err := kv.Update(t.Context(), "u1.github.c1", []byte("2"), first); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if _, err := kv.Update(t.Context(), "u1.github.c1", []byte("3"), first); !errors.Is(err, jetstream.ErrKeyExists) {
			t.Errorf("%s: an update of an old revision: %v", name, err)
		}
		if err := kv.Purge(t.Context(), "u1.github.c1"); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestStatesExpire: only a bucket that is declared so takes a time to live.
func TestStatesExpire(t *testing.T) {
	b := bustest.New(t)
	for name, takes := range map[string]bool{bus.BucketStates: true, bus.BucketApps: false} {
		kv, err := b.JetStream().KeyValue(t.Context(), name)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := kv.Create(t.Context(), "k", nil, jetstream.KeyTTL(time.Minute)); (err == nil) != takes {
			t.Errorf("%s: a key that expires: %v", name, err)
		}
	}
}

// TestDeclareAgain changes the configuration of a store that is in use.
func TestDeclareAgain(t *testing.T) {
	dir := t.TempDir()
	big := func(c *bus.Config) { c.MaxBytes = 8 << 20 }
	b := bustest.New(t, bustest.Dir(dir), big)
	const n = 3
	for range n {
		publish(t, b, "plugfn.event.u1.p.e", make([]byte, 600<<10))
	}
	before := shapes(t, b)
	if err := b.Declare(t.Context()); err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(before, shapes(t, b)); d != "" {
		t.Errorf("declared twice:\n%s", d)
	}
	bustest.Close(t, b)

	b = bustest.New(t, bustest.Dir(dir), func(c *bus.Config) { c.MaxBytes = 1 << 20 })
	i := info(t, b, events.StreamEvents)
	if i.State.Msgs != n || i.Config.MaxBytes != 1<<20 {
		t.Errorf("%d messages below %d bytes, want %d below %d", i.State.Msgs, i.Config.MaxBytes, n, 1<<20)
	}
	if _, err := b.JetStream().Publish(t.Context(), "plugfn.event.u1.p.e", nil); !isFull(err) {
		t.Errorf("a full stream says %v", err)
	}
	bustest.Close(t, b)

	b = bustest.New(t, bustest.Dir(dir), big)
	publish(t, b, "plugfn.event.u1.p.e", nil)
}

// isFull recognises the refusal of a full stream.
func isFull(err error) bool {
	var api *jetstream.APIError
	return errors.As(err, &api) && api.ErrorCode == 10077
}

// change edits the configuration of a stream as an operator would.
func change(t *testing.T, b *bus.Bus, stream string, edit func(*jetstream.StreamConfig)) {
	t.Helper()
	cfg := info(t, b, stream).Config
	edit(&cfg)
	if _, err := b.JetStream().UpdateStream(t.Context(), cfg); err != nil {
		t.Fatal(err)
	}
}

func TestDeclareKeepsWhatOperatorsSet(t *testing.T) {
	b := bustest.New(t)
	change(t, b, events.StreamDead, func(c *jetstream.StreamConfig) {
		c.MaxAge = 90 * 24 * time.Hour
		c.Description = "look here first"
		c.Metadata = map[string]string{"owner": "ops"}
		c.MaxMsgs = 7 // takes from what the contract promises
		c.Duplicates = time.Minute
	})
	if err := b.Declare(t.Context()); err != nil {
		t.Fatal(err)
	}
	c := info(t, b, events.StreamDead).Config
	if c.MaxAge != 90*24*time.Hour || c.Description != "look here first" || c.Metadata["owner"] != "ops" {
		t.Errorf("age %s, description %q, metadata %v", c.MaxAge, c.Description, c.Metadata)
	}
	if c.MaxMsgs != -1 || c.Duplicates != 15*time.Minute {
		t.Errorf("at most %d messages, duplicates %s", c.MaxMsgs, c.Duplicates)
	}
}

// TestDeclareIncompatible starts on stores that hold something else under
// PlugFn's names.
func TestDeclareIncompatible(t *testing.T) {
	b := bustest.New(t)
	other := map[string]struct {
		cfg  jetstream.StreamConfig
		want []string
	}{
		"retention": {
			jetstream.StreamConfig{Name: events.StreamActions, Subjects: []string{"plugfn.action.>"}, Retention: jetstream.WorkQueuePolicy},
			[]string{"stream PLUGFN_ACTIONS", "retention", "Limits", "nats stream rm PLUGFN_ACTIONS"},
		},
		"storage": {
			jetstream.StreamConfig{Name: events.StreamRuns, Subjects: []string{"plugfn.run.>"}, Storage: jetstream.MemoryStorage},
			[]string{"stream PLUGFN_RUNS", "storage"},
		},
		"transform": {
			jetstream.StreamConfig{
				Name: events.StreamEvents, Subjects: []string{"plugfn.event.>"},
				SubjectTransform: &jetstream.SubjectTransformConfig{Source: "plugfn.event.>", Destination: "e.>"},
			},
			[]string{"stream PLUGFN_EVENTS", "subject_transform"},
		},
		"mirror": {
			jetstream.StreamConfig{Name: events.StreamDead, Mirror: &jetstream.StreamSource{Name: events.StreamRuns}},
			[]string{"stream PLUGFN_DEAD", "mirror"},
		},
		"no deleting": {
			jetstream.StreamConfig{Name: events.StreamLater, Subjects: []string{"plugfn.later.>"}, DenyDelete: true},
			[]string{"stream PLUGFN_LATER", "deny_delete"},
		},
		"overlap": {
			jetstream.StreamConfig{Name: "MINE", Subjects: []string{"plugfn.result.u1.>"}},
			[]string{"stream PLUGFN_RESULTS", "another stream keeps plugfn subjects"},
		},
	}
	for _, name := range slices.Sorted(maps.Keys(other)) {
		t.Run(name, func(t *testing.T) {
			c := other[name]
			wipe(t, b)
			if c.cfg.Mirror != nil {
				create(t, b, jetstream.StreamConfig{Name: c.cfg.Mirror.Name, Subjects: []string{"plugfn.run.>"}})
			}
			create(t, b, c.cfg)
			wantError(t, b.Declare(t.Context()), c.want...)
			if got := info(t, b, c.cfg.Name).Config; got.Retention != c.cfg.Retention || got.Storage != c.cfg.Storage {
				t.Errorf("it was replaced: %s, %s", got.Retention, got.Storage)
			}
		})
	}
}

func create(t *testing.T, b *bus.Bus, cfg jetstream.StreamConfig) {
	t.Helper()
	if _, err := b.JetStream().CreateStream(t.Context(), cfg); err != nil {
		t.Fatal(err)
	}
}

// wipe removes all streams but one: the server tidies up behind the last and
// may then take away the folder of the next.
func wipe(t *testing.T, b *bus.Bus) {
	t.Helper()
	names := b.JetStream().StreamNames(t.Context())
	for name := range names.Name() {
		if name == "KV_"+bus.BucketKeys {
			continue
		}
		if err := b.JetStream().DeleteStream(t.Context(), name); err != nil {
			t.Fatal(err)
		}
	}
}

// TestDeclareAtOnce lets several processes start on one new server.
func TestDeclareAtOnce(t *testing.T) {
	owner := bustest.New(t, bustest.Listen)
	wipe(t, owner)
	errs := make(chan error)
	for i := range 4 {
		go func() {
			errs <- open(t, bus.Config{URL: owner.ClientURL(), Name: fmt.Sprint("p", i), MaxBytes: int64(i+1) << 20})
		}()
	}
	for range 4 {
		if err := <-errs; err != nil {
			t.Error(err)
		}
	}
}
