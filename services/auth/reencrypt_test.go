package auth

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"pgregory.net/rapid"

	"github.com/plugfn/plugfn/internal/bus"
	"github.com/plugfn/plugfn/pkg/events"
)

func TestReencrypt(t *testing.T) {
	r, k := newKeyRig(t, nil)
	const records = 2*sweepBatch + 7
	all := map[string]events.Connection{}
	for i := range records {
		id := fmt.Sprintf("con_%d", i)
		all[id] = r.keep(t, id, id)
	}
	old := k.primaryID()
	must(t, k.rotate(t.Context()))

	stored := r.stored(t)
	if n, failures := sweepAll(t, k, true); n != records || failures != nil {
		t.Errorf("a dry run finds %d, %v", n, failures)
	}
	if r.stored(t) != stored {
		t.Error("a dry run has changed something")
	}

	cursor, calls, examined := "", 0, 0
	for calls == 0 || cursor != "" {
		done, err := k.reencrypt(t.Context(), cursor, false)
		must(t, err)
		if done.total != records || done.examined > sweepBatch {
			t.Fatalf("%+v", done)
		}
		examined += done.examined
		cursor = done.next
		calls++
	}
	if calls > 9 || examined > 2*records+sweepBatch {
		t.Errorf("%d calls, %d examined", calls, examined)
	}
	used, err := k.count(t.Context())
	if err != nil || used.under[old] != 0 || used.under[k.primaryID()] != records {
		t.Fatal(used, err)
	}
	for id, c := range all {
		if got := r.kept(t, k, c); got != id {
			t.Fatalf("%s holds %s", id, got)
		}
	}
	stored = r.stored(t)
	if n, _ := sweepAll(t, k, false); n != 0 || r.stored(t) != stored {
		t.Errorf("the second time it rewrites %d", n)
	}
}

// TestReencryptKeepsTheRest: what else stands in a record, also of a later
// version, stays as it is.
func TestReencryptKeepsTheRest(t *testing.T) {
	r, k := newKeyRig(t, nil)
	c := events.Connection{ID: "con_1", UserID: "u1", Provider: "github"}
	value := strings.Replace(string(sealRecord(t, k, c, "t")), `{`, `{ "of_a_later_version" : {"number":12345678901234567890,"text":"<\u00e9>"} , `, 1)
	r.overwrite(t, c, []byte(value))
	must(t, k.rotate(t.Context()))
	if n, failures := sweepAll(t, k, false); n != 1 || failures != nil {
		t.Fatal(n, failures)
	}
	entry, err := r.connections.Get(t.Context(), recordKey(c))
	must(t, err)
	before, after := strings.Split(value, `"credential":"`), strings.Split(string(entry.Value()), `"credential":"`)
	if len(after) != 2 || before[0] != after[0] || before[1] == after[1] || len(before[1]) != len(after[1]) {
		t.Errorf("before %s\nafter  %s", value, entry.Value())
	}
	if r.kept(t, k, c) != "t" {
		t.Error("it does not open")
	}
}

func TestReencryptNamesWhatItLeaves(t *testing.T) {
	r, k := newKeyRig(t, nil)
	good := r.keep(t, "con_good", "t")
	first := k.primaryID()
	damage := map[string]func(events.Connection) string{
		"con_no_json": func(events.Connection) string { return "}" },
		"con_copied":  func(events.Connection) string { return string(sealRecord(t, k, good, "t")) },
		"con_short": func(events.Connection) string {
			return `{"id":"con_short","user_id":"u1","provider":"github","credential":"AQ=="}`
		},
		"con_damaged": func(c events.Connection) string {
			return strings.Replace(string(sealRecord(t, k, c, "t")), `=="`, `A="`, 1)
		},
		"con_moved": func(c events.Connection) string {
			return strings.Replace(string(sealRecord(t, k, good, "t")), "con_good", "con_moved", 1)
		},
		"con_unknown": func(events.Connection) string {
			return `{"id":"con_unknown","user_id":"u1","provider":"github","credential":"AQAAAAEAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"}`
		},
	}
	before := map[string]string{}
	for id, damaged := range damage {
		c := events.Connection{ID: id, UserID: "u1", Provider: "github"}
		before[id] = damaged(c)
		r.overwrite(t, c, []byte(before[id]))
	}
	must(t, k.rotate(t.Context()))
	n, failures := sweepAll(t, k, false)
	if n != 1 || len(failures) != len(damage) {
		t.Fatalf("%d rewritten, failures %v", n, failures)
	}
	said := fmt.Sprint(failures)
	for id := range damage {
		entry, err := r.connections.Get(t.Context(), "u1.github."+id)
		if err != nil || string(entry.Value()) != before[id] || !strings.Contains(said, events.BucketConnections+"/u1.github."+id) {
			t.Errorf("%s: %v, named in %s", id, err, said)
		}
	}
	used, err := k.count(t.Context())
	if err != nil || used.unreadable < 3 || used.under[1] != 1 || used.under[first] == 0 {
		t.Error(used, err)
	}
	if used.under[k.primaryID()] != 1 || r.kept(t, k, good) != "t" {
		t.Error("the good one is not rewritten")
	}
	wantKeyRefusal(t, k.disable(t.Context(), first), 409, "values are encrypted under key")

	// One under a disabled key, which can only be of a write that was slower
	// than all that.
	c := r.keep(t, "con_late", "t")
	entry, err := r.connections.Get(t.Context(), recordKey(c))
	must(t, err)
	must(t, r.connections.Delete(t.Context(), recordKey(c)))
	second := k.primaryID()
	must(t, k.rotate(t.Context()))
	sweepAll(t, k, false)
	must(t, k.disable(t.Context(), second))
	r.overwrite(t, c, entry.Value())
	_, failures = sweepAll(t, k, false)
	if !strings.Contains(fmt.Sprint(failures), fmt.Sprintf("is disabled: plugfn key enable %d", second)) {
		t.Error(failures)
	}
	must(t, k.enable(t.Context(), second))
	if n, _ := sweepAll(t, k, false); n != 1 || r.kept(t, k, c) != "t" {
		t.Error("enabled again, it is not rewritten")
	}
}

func TestReencryptRefusesAForeignCursor(t *testing.T) {
	_, k := newKeyRig(t, nil)
	for _, cursor := range []string{"x", events.BucketConnections, events.BucketConnections + ".-1", "PLUGFN_KEYS.1", ".1", "1"} {
		_, err := k.reencrypt(t.Context(), cursor, false)
		wantCode(t, err, events.CodeInvalidParams)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := k.reencrypt(ctx, "", false); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}

func TestRecordsThatExpireAreCountedOnly(t *testing.T) {
	r, k := newKeyRig(t, nil)
	k.sealed[0].expires = true
	r.keep(t, "con_1", "t")
	old := k.primaryID()
	must(t, k.rotate(t.Context()))
	stored := r.stored(t)
	if n, _ := sweepAll(t, k, false); n != 0 || r.stored(t) != stored {
		t.Error("rewritten, it would stay for ever")
	}
	wantKeyRefusal(t, k.disable(t.Context(), old), 409, "1 values")
}

// meddler does something each time before a record is updated, one update after
// the other.
type meddler struct {
	jetstream.KeyValue
	mu     sync.Mutex
	before func(key string)
}

func (m *meddler) Update(ctx context.Context, key string, value []byte, revision uint64) (uint64, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.before(key)
	return m.KeyValue.Update(ctx, key, value, revision)
}

// TestReencryptLosesNoUpdate changes every record between the moments at which
// the sweep reads and writes it.
func TestReencryptLosesNoUpdate(t *testing.T) {
	r, k := newKeyRig(t, nil)
	var all []events.Connection
	for i := range 40 {
		all = append(all, r.keep(t, fmt.Sprintf("con_%d", i), "old"))
	}
	old := k.primaryID()
	oldRing := k.current.Load()
	must(t, k.rotate(t.Context()))
	met := map[string]int{}
	k.sealed[0].kv = &meddler{KeyValue: r.connections, before: func(key string) {
		if met[key]++; met[key] > 1 {
			return
		}
		c := namedBy(key).Connection
		switch len(met) % 3 {
		case 0:
			_ = r.connections.Delete(t.Context(), key)
		case 1:
			r.overwrite(t, c, sealRecord(t, k, c, "new"))
		case 2: // by a process that has not heard of the new key
			late := &Keys{}
			late.current.Store(oldRing)
			late.primitive = latest{late}
			r.overwrite(t, c, sealRecord(t, late, c, "new"))
		}
	}}
	sweepAll(t, k, false)
	left := 0
	for _, c := range all {
		if _, err := r.connections.Get(t.Context(), recordKey(c)); errors.Is(err, jetstream.ErrKeyNotFound) {
			continue
		}
		left++
		if got := r.kept(t, k, c); got != "new" {
			t.Errorf("%s holds %q", c.ID, got)
		}
	}
	used, err := k.count(t.Context())
	if err != nil || used.under[old] != 0 || used.under[k.primaryID()] != left || left == 0 || left == len(all) {
		t.Error(used, left, err)
	}
}

// TestSweepProperty: whatever happens in between, a sweep that has reached the
// end leaves nothing under an old key, loses no write and brings nothing back.
func TestSweepProperty(t *testing.T) {
	t.Parallel()
	r, k := newKeyRig(t, nil)
	kv := r.connections
	now, round := time.Now(), 0
	k.cfg.Now = func() time.Time { now = now.Add(restBeforeDestroy); return now }
	rapid.Check(t, func(t *rapid.T) {
		if round == 30 {
			return // a sweep is too slow for all the rounds that others have
		}
		round++
		want := map[string]string{} // :: id → text
		clean(t, kv)
		step := func(t *rapid.T) {
			id := fmt.Sprintf("con_%d", rapid.IntRange(0, 5).Draw(t, "id"))
			c := events.Connection{ID: id, UserID: "u1", Provider: "github"}
			switch rapid.SampledFrom([]string{"write", "write", "delete", "rename"}).Draw(t, "step") {
			case "write":
				text := fmt.Sprintf("%d-%d", round, rapid.IntRange(0, 1000).Draw(t, "text"))
				if _, err := kv.Put(context.Background(), recordKey(c), sealText(t, k, c, text)); err != nil {
					t.Fatal(err)
				}
				want[id] = text
			case "delete":
				if err := kv.Purge(context.Background(), recordKey(c)); err != nil {
					t.Fatal(err)
				}
				delete(want, id)
			case "rename":
				rename(t, kv, c)
			}
		}
		k.sealed[0].kv = &meddler{KeyValue: kv, before: func(string) {
			for range rapid.IntRange(0, 2).Draw(t, "steps meanwhile") {
				step(t)
			}
		}}
		for range rapid.IntRange(0, 8).Draw(t, "steps") {
			step(t)
		}
		rotateOnce(t, k)
		cursor := ""
		for {
			done, err := k.reencrypt(context.Background(), cursor, false)
			if err != nil || done.failures != nil {
				t.Fatal(done, err)
			}
			if cursor = done.next; cursor == "" {
				break
			}
			if rapid.IntRange(0, 9).Draw(t, "killed") == 0 {
				cursor = "" // resumed by somebody who knows nothing
			}
		}
		wantOnly(t, k, kv, want)
	})
}

func sealText(t *rapid.T, k *Keys, c events.Connection, text string) []byte {
	sealed, err := k.primitive.Encrypt([]byte(text), place(c, fieldCredential))
	if err != nil {
		t.Fatal(err)
	}
	value, err := (&record{Connection: c, Credential: sealed}).encode()
	if err != nil {
		t.Fatal(err)
	}
	return value
}

// rename changes a record and leaves its ciphertext as it is. Where the sweep is
// faster it looks again, as everybody does who changes a record.
func rename(t *rapid.T, kv jetstream.KeyValue, c events.Connection) {
	for {
		entry, err := kv.Get(context.Background(), recordKey(c))
		if errors.Is(err, jetstream.ErrKeyNotFound) {
			return
		}
		if err != nil {
			t.Fatal(err)
		}
		got, err := decodeRecord(entry.Key(), entry.Value())
		if err != nil {
			t.Fatal(err)
		}
		got.Name += "x"
		value, err := got.encode()
		if err != nil {
			t.Fatal(err)
		}
		_, err = kv.Update(context.Background(), entry.Key(), value, entry.Revision())
		if err == nil {
			return
		}
		if !errors.Is(err, jetstream.ErrKeyRevisionMismatch) {
			t.Fatal(err)
		}
	}
}

func rotateOnce(t *rapid.T, k *Keys) {
	if err := k.rotate(context.Background()); err != nil {
		t.Fatal(err)
	}
	for _, s := range k.current.Load().record.Keys {
		if s.Status != keyEnabled {
			continue
		}
		used, err := k.count(context.Background())
		if err != nil {
			t.Fatal(err)
		}
		if used.under[s.ID] == 0 {
			if err := k.disable(context.Background(), s.ID); err != nil {
				t.Fatal(err)
			}
			if err := k.destroy(context.Background(), s.ID); err != nil {
				t.Fatal(err)
			}
		}
	}
}

func clean(t *rapid.T, kv jetstream.KeyValue) {
	lister, err := kv.ListKeys(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	for key := range lister.Keys() {
		if err := kv.Purge(context.Background(), key); err != nil {
			t.Fatal(err)
		}
	}
}

// wantOnly wants the bucket to hold these texts, all under the primary key.
func wantOnly(t *rapid.T, k *Keys, kv jetstream.KeyValue, want map[string]string) {
	used, err := k.count(context.Background())
	if err != nil || used.under[k.primaryID()] != len(want) || len(want) > 0 && len(used.under) != 1 || used.unreadable != 0 {
		t.Fatalf("%d records: %+v, %v", len(want), used, err)
	}
	for id, text := range want {
		entry, err := kv.Get(context.Background(), "u1.github."+id)
		if err != nil {
			t.Fatal(id, err)
		}
		got, err := decodeRecord(entry.Key(), entry.Value())
		if err != nil {
			t.Fatal(id, err)
		}
		plain, err := k.primitive.Decrypt(got.Credential, place(got.Connection, fieldCredential))
		if err != nil || string(plain) != text {
			t.Fatalf("%s holds %q, want %q, %v", id, plain, text, err)
		}
	}
}

// TestEveryBucketIsSwept: what each part of the service encrypts is found by
// the row of its bucket, and opens after it was rewritten.
func TestEveryBucketIsSwept(t *testing.T) {
	r, k := newKeyRig(t, nil)
	seal := func(text string, place []byte) []byte {
		sealed, err := k.primitive.Encrypt([]byte(text), place)
		must(t, err)
		return sealed
	}
	c := events.Connection{ID: "con_1", UserID: "u1", Provider: "github"}
	a := app{Provider: "github", UserID: "u1", ClientID: "Iv1.1"}
	a.Credential = seal("app", placeOfApp(&a))
	_, id := newToken()
	f := flow{
		ID: deviceFlow + id, UserID: "u1", Provider: "github", Status: flowPending, ExpiresAt: time.Now().Add(time.Hour),
		Device: &deviceCode{},
	}
	f.Verifier, f.Device.Code = seal("verifier", placeOfFlow(&f, fieldVerifier)), seal("code", placeOfFlow(&f, fieldDevice))
	e := endpointRecord{ID: "whk_1", UserID: "u1", Provider: "github", Secrets: []endpointSecret{{ID: "whs_1"}}}
	e.Token, e.Secrets[0].Credential = seal("token", e.place(fieldEndpointToken)), seal("secret", e.placeOfSecret(&e.Secrets[0]))
	records := map[string]struct {
		key    string
		record any
		values int
	}{
		events.BucketConnections: {recordKey(c), &record{Connection: c, Credential: seal("credential", place(c, fieldCredential))}, 1},
		bus.BucketRevocations:    {recordKey(c), &revocation{Connection: c, Credential: seal("revocation", place(c, fieldRevocation))}, 1},
		bus.BucketEndpoints:      {e.key(), &e, 2},
		bus.BucketApps:           {appKey(a.Provider, a.UserID, a.ClientID), &a, 1},
		bus.BucketStates:         {flowKey(f.ID), &f, 2},
	}
	total := 0
	for name, one := range records {
		value, err := json.Marshal(one.record)
		must(t, err)
		_, err = bucket(t, r.bus, name).Put(t.Context(), one.key, value)
		must(t, err)
		total += one.values
	}
	// What holds nothing encrypted is no damage.
	session, err := json.Marshal(&session{ID: id, UserID: "u1", ExpiresAt: time.Now().Add(time.Hour)})
	must(t, err)
	_, err = bucket(t, r.bus, bus.BucketStates).Put(t.Context(), prefixSession+id, session)
	must(t, err)
	bare := events.Connection{ID: "con_2", UserID: "u1", Provider: "github"}
	value, err := (&record{Connection: bare}).encode()
	must(t, err)
	r.overwrite(t, bare, value)

	old := k.primaryID()
	must(t, k.rotate(t.Context()))
	used, err := k.count(t.Context())
	if err != nil || used.under[old] != total || used.unreadable != 0 {
		t.Fatal(used, err)
	}
	if n, failures := sweepAll(t, k, false); n != 4 || failures != nil {
		t.Fatal(n, failures)
	}
	used, err = k.count(t.Context())
	if err != nil || used.under[old] != 2 || used.under[k.primaryID()] != 5 {
		t.Fatal("those that expire, and no others, stay under the old key:", used, err)
	}
	for _, row := range k.sealed {
		one, known := records[row.name]
		entry, err := row.kv.Get(t.Context(), one.key)
		if !known || err != nil {
			t.Fatal(row.name, err)
		}
		values, err := row.values(entry.Key(), entry.Value())
		if err != nil || len(values) != one.values {
			t.Fatal(row.name, values, err)
		}
		for _, v := range values {
			if _, err := k.primitive.Decrypt(v.text, v.place); err != nil {
				t.Errorf("%s: %v", row.name, err)
			}
		}
		delete(records, row.name)
	}
	if len(records) > 0 {
		t.Errorf("no row of the table: %v", records)
	}
}
