package auth

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/plugfn/plugfn/pkg/events"
)

// replica is one more process with the keys of cfg, that follows them.
func (r *rig) replica(t testing.TB, cfg KeysConfig) *Keys {
	t.Helper()
	k, _, err := OpenKeys(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	r.follow(t, k)
	return k
}

// follow has k follow the keys until the end of the test.
func (r *rig) follow(t testing.TB, k *Keys) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() { defer close(ended); k.follow(ctx) }()
	stop = func() { cancel(); <-ended }
	t.Cleanup(stop)
	r.awaitReader(t, k, func(reader) bool { return true })
	return stop
}

// awaitReader waits for what a process says of itself.
func (r *rig) awaitReader(t testing.TB, k *Keys, ok func(reader) bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	watcher, err := r.keysets.Watch(ctx, readersKey)
	if err != nil {
		t.Fatal(err)
	}
	defer endWatch(watcher)
	for entry := range watcher.Updates() {
		if entry == nil {
			continue
		}
		if said, there := decodeReaders(entry.Value())[k.reader]; there && ok(said) {
			return
		}
	}
	t.Fatal("it does not say so")
}

// statuses are the keys in the order of their making.
func statuses(t testing.TB, k *Keys) string {
	t.Helper()
	r, _, err := k.read(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var all []string
	for _, s := range r.Keys {
		all = append(all, string(s.Status))
	}
	return strings.Join(all, " ")
}

func wantStatuses(t testing.TB, k *Keys, want string) {
	t.Helper()
	if got := statuses(t, k); got != want {
		t.Fatalf("the keys are %s, want %s", got, want)
	}
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// wantKeyRefusal wants a refusal for the operator with that status and text.
func wantKeyRefusal(t testing.TB, err error, status int, text string) {
	t.Helper()
	var refusal *keyRefusal
	if !errors.As(err, &refusal) || refusal.status != status || !strings.Contains(refusal.reason, text) {
		t.Fatalf("got %v, want a refusal with status %d that says %q", err, status, text)
	}
}

// sweepAll encrypts everything anew and returns how many records that were.
func sweepAll(t testing.TB, k *Keys, dry bool) (rewritten int, failures []sweepFailure) {
	t.Helper()
	cursor := ""
	for {
		done, err := k.reencrypt(t.Context(), cursor, dry)
		must(t, err)
		rewritten += done.rewritten
		failures = append(failures, done.failures...)
		if cursor = done.next; cursor == "" {
			return rewritten, failures
		}
	}
}

func (k *Keys) primaryID() uint32 { return k.current.Load().record.primary() }

// ways are the two ways in which keys are kept.
func ways(t *testing.T) map[string]func(*KeysConfig) {
	return map[string]func(*KeysConfig){
		"file":    func(*KeysConfig) {},
		"wrapped": func(c *KeysConfig) { c.Wrapper, c.Path = newKEK(t), "" },
	}
}

// newKeyRig is a rig whose keys are kept in that way.
func newKeyRig(t *testing.T, way func(*KeysConfig)) (*rig, *Keys) {
	t.Helper()
	r := newRig(t)
	if way == nil {
		return r, r.cfg.Keys
	}
	must(t, r.keysets.Purge(t.Context(), keysetKey))
	must(t, os.Remove(r.keys.Path))
	way(&r.keys)
	k, created, err := OpenKeys(t.Context(), r.keys)
	if err != nil || !created {
		t.Fatal(created, err)
	}
	r.cfg.Keys, r.store.keys = k, k
	return r, k
}

func TestLifeOfAKey(t *testing.T) {
	for name, way := range ways(t) {
		t.Run(name, func(t *testing.T) {
			now := time.Date(2026, 3, 4, 5, 6, 7, 0, time.UTC)
			r, k := newKeyRig(t, func(c *KeysConfig) { way(c); c.Now = func() time.Time { return now } })
			first := k.primaryID()
			a := r.keep(t, "con_a", "old")
			must(t, k.rotate(t.Context()))
			wantStatuses(t, k, "enabled primary")
			b := r.keep(t, "con_b", "new")
			used, err := k.count(t.Context())
			if err != nil || used.under[first] != 1 || used.under[k.primaryID()] != 1 {
				t.Fatal(used, err)
			}

			wantKeyRefusal(t, k.disable(t.Context(), first), http.StatusConflict, "1 values are encrypted under key")
			wantKeyRefusal(t, k.disable(t.Context(), k.primaryID()), http.StatusConflict, "rotate first")
			wantKeyRefusal(t, k.destroy(t.Context(), first), http.StatusConflict, "is not disabled")
			wantKeyRefusal(t, k.destroy(t.Context(), k.primaryID()), http.StatusConflict, "is not disabled")
			wantKeyRefusal(t, k.enable(t.Context(), first), http.StatusConflict, "is not disabled")
			for _, change := range []func(*Keys, context.Context, uint32) error{(*Keys).disable, (*Keys).enable, (*Keys).destroy} {
				wantKeyRefusal(t, change(k, t.Context(), 7), http.StatusNotFound, "there is no key 7")
			}
			wantStatuses(t, k, "enabled primary")

			if n, failures := sweepAll(t, k, false); n != 1 || failures != nil {
				t.Fatal(n, failures)
			}
			must(t, k.disable(t.Context(), first))
			wantStatuses(t, k, "disabled primary")
			wantKeyRefusal(t, k.destroy(t.Context(), first), http.StatusConflict, "less than a minute ago")
			must(t, k.enable(t.Context(), first))
			must(t, k.disable(t.Context(), first))
			now = now.Add(restBeforeDestroy)
			must(t, k.destroy(t.Context(), first))
			wantStatuses(t, k, "primary")
			wantKeyRefusal(t, k.destroy(t.Context(), first), http.StatusNotFound, "there is no key")

			again, created, err := OpenKeys(t.Context(), r.keys)
			if err != nil || created {
				t.Fatal(created, err)
			}
			if r.kept(t, again, a) != "old" || r.kept(t, again, b) != "new" {
				t.Error("the records do not open any more")
			}
			if _, err := os.Stat(r.keys.Path); r.keys.Wrapper != nil && err == nil {
				t.Error("there is a keyset file beside the wrapped keyset")
			}
		})
	}
}

// TestADestroyedKeyIsGone looks for the material itself.
func TestADestroyedKeyIsGone(t *testing.T) {
	r, k := newKeyRig(t, nil)
	first, now := k.primaryID(), time.Now()
	k.cfg.Now = func() time.Time { return now }
	must(t, k.rotate(t.Context()))
	must(t, k.disable(t.Context(), first))
	now = now.Add(time.Hour)
	must(t, k.destroy(t.Context(), first))
	text, err := os.ReadFile(r.keys.Path)
	if err != nil || strings.Contains(string(text), fmt.Sprint(first)) || !strings.Contains(string(text), fmt.Sprint(k.primaryID())) {
		t.Errorf("%v: the file has %d bytes", err, len(text))
	}
	info, err := os.Stat(r.keys.Path)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Error(info.Mode(), err)
	}
	if left, _ := filepath.Glob(r.keys.Path + ".new*"); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}

// TestADestroyIsFinished: the process was killed between record and file.
func TestADestroyIsFinished(t *testing.T) {
	r, k := newKeyRig(t, nil)
	first, now := k.primaryID(), time.Now()
	k.cfg.Now = func() time.Time { return now }
	must(t, k.rotate(t.Context()))
	must(t, k.disable(t.Context(), first))
	before, err := os.ReadFile(r.keys.Path)
	must(t, err)
	now = now.Add(time.Hour)
	must(t, k.destroy(t.Context(), first))
	must(t, os.WriteFile(r.keys.Path, before, 0o600))

	again, _, err := OpenKeys(t.Context(), r.keys)
	must(t, err)
	must(t, again.destroy(t.Context(), first))
	text, err := os.ReadFile(r.keys.Path)
	if err != nil || strings.Contains(string(text), fmt.Sprint(first)) {
		t.Errorf("%v: still in the file", err)
	}
	wantStatuses(t, again, "primary")
}

func TestRotateGoesOnWithAStagedKey(t *testing.T) {
	for name, way := range ways(t) {
		t.Run(name, func(t *testing.T) {
			_, k := newKeyRig(t, way)
			id, err := k.stage(t.Context())
			must(t, err)
			wantStatuses(t, k, "primary staged")
			must(t, k.rotate(t.Context()))
			wantStatuses(t, k, "enabled primary")
			if k.primaryID() != id {
				t.Error("it made another key")
			}
		})
	}
}

func TestRotateReplacesAStagedKeyThatWasLost(t *testing.T) {
	r, k := newKeyRig(t, nil)
	before, err := os.ReadFile(r.keys.Path)
	must(t, err)
	id, err := k.stage(t.Context())
	must(t, err)
	must(t, os.WriteFile(r.keys.Path, before, 0o600)) // a backup

	again, created, err := OpenKeys(t.Context(), r.keys)
	if err != nil || created {
		t.Fatal("nothing was encrypted under it, and yet:", err)
	}
	must(t, again.rotate(t.Context()))
	wantStatuses(t, again, "enabled primary")
	if again.primaryID() == id {
		t.Error("a key that nobody has is the primary one")
	}
}

func TestAStagedKeyCanBeDropped(t *testing.T) {
	_, k := newKeyRig(t, nil)
	id, err := k.stage(t.Context())
	must(t, err)
	must(t, k.disable(t.Context(), id))
	wantStatuses(t, k, "primary disabled")
	wantKeyRefusal(t, k.promote(t.Context(), id), http.StatusConflict, "was disabled meanwhile")
}

func TestRotateOneAtATime(t *testing.T) {
	for name, way := range ways(t) {
		t.Run(name, func(t *testing.T) {
			r, k := newKeyRig(t, way)
			other := r.replica(t, r.keys)
			r.follow(t, k)
			end, err := k.begin()
			must(t, err)
			wantKeyRefusal(t, k.rotate(t.Context()), http.StatusConflict, "another change")
			if name == "file" {
				wantKeyRefusal(t, other.rotate(t.Context()), http.StatusConflict, "another change")
			}
			end()
			must(t, k.rotate(t.Context()))

			var wait sync.WaitGroup
			for _, k := range []*Keys{k, other, k, other} {
				wait.Go(func() {
					if err := k.rotate(context.Background()); err != nil && !errors.Is(err, errOtherChange) {
						t.Error(err)
					}
				})
			}
			wait.Wait()
			if got := statuses(t, k); strings.Count(got, "primary") != 1 || strings.Contains(got, "staged") {
				t.Error(got)
			}
			if again, _, err := OpenKeys(t.Context(), r.keys); err != nil || again.primaryID() != k.primaryID() {
				t.Error(err)
			}
		})
	}
}

// TestRotateUnderLoad: two processes read, write and rotate at the same time,
// and read what the other one has written. That each waits for the other is
// enough: neither may look for a key that it does not know.
func TestRotateUnderLoad(t *testing.T) {
	for name, way := range ways(t) {
		t.Run(name, func(t *testing.T) {
			r, a := newKeyRig(t, way)
			r.follow(t, a)
			other := r.keys
			if other.Wrapper != nil {
				other.Wrapper = slowKMS{other.Wrapper}
			}
			replicas := []*Keys{a, r.replica(t, other)}
			for _, k := range replicas {
				k.looked = time.Now().Add(time.Hour)
			}
			var all []events.Connection
			for i := range 20 {
				all = append(all, r.keep(t, fmt.Sprintf("con_%d", i), "0"))
			}
			ctx, cancel := context.WithCancel(t.Context())
			var load sync.WaitGroup
			var reads atomic.Int64
			for _, c := range all {
				load.Go(func() { readAndWrite(ctx, t, r, replicas, c, &reads) })
			}
			old := a.primaryID()
			for i := range 4 {
				must(t, replicas[i%2].rotate(t.Context()))
			}
			sweepAll(t, replicas[1], false)
			must(t, replicas[0].disable(t.Context(), old))
			cancel()
			load.Wait()
			if reads.Load() == 0 {
				t.Error("there was no load")
			}
			sweepAll(t, a, false)
			used, err := a.count(t.Context())
			if err != nil || len(used.under) != 1 || used.under[a.primaryID()] != len(all) {
				t.Error(used, err)
			}
		})
	}
}

// slowKMS is a KMS that takes its time, so that who does not wait for it is seen.
type slowKMS struct{ Wrapper }

func (s slowKMS) Unwrap(ctx context.Context, wrapped []byte) ([]byte, error) {
	time.Sleep(50 * time.Millisecond)
	return s.Wrapper.Unwrap(ctx, wrapped)
}

// readAndWrite counts up the text of a connection, which it alone writes: one
// process writes, the other one reads.
func readAndWrite(ctx context.Context, t *testing.T, r *rig, replicas []*Keys, c events.Connection, reads *atomic.Int64) {
	n := 0
	for ctx.Err() == nil {
		k := replicas[n%2] // it reads what the other one has written
		entry, err := r.connections.Get(context.Background(), recordKey(c))
		if err != nil {
			t.Error(err)
			return
		}
		got, err := decodeRecord(entry.Key(), entry.Value())
		if err != nil {
			t.Error(err)
			return
		}
		text, err := k.primitive.Decrypt(got.Credential, place(c, fieldCredential))
		if err != nil || string(text) != fmt.Sprint(n) {
			t.Errorf("%s: %q, want %d, %v", c.ID, text, n, err)
			return
		}
		reads.Add(1)
		_, err = r.connections.Update(context.Background(), entry.Key(), sealRecord(t, k, c, fmt.Sprint(n+1)), entry.Revision())
		switch {
		case err == nil:
			n++
		case !errors.Is(err, jetstream.ErrKeyRevisionMismatch): // re-encrypted since
			t.Error(err)
			return
		}
	}
}

// TestACopyOfTheFileIsNoticed: two processes have a file each.
func TestACopyOfTheFileIsNoticed(t *testing.T) {
	t.Parallel() // it waits
	r, k := newKeyRig(t, nil)
	text, err := os.ReadFile(r.keys.Path)
	must(t, err)
	elsewhere := r.keys
	elsewhere.Path = filepath.Join(t.TempDir(), "copy.json")
	must(t, os.WriteFile(elsewhere.Path, text, 0o600))
	other := r.replica(t, elsewhere)
	k.patience = 300 * time.Millisecond
	first := k.primaryID()

	wantKeyRefusal(t, k.rotate(t.Context()), http.StatusConflict, "its copy of the keyset file has no key")
	wantStatuses(t, k, "primary staged")
	if k.primaryID() != first {
		t.Fatal("it writes with a key that the other process cannot read")
	}
	text, err = os.ReadFile(r.keys.Path)
	must(t, err)
	must(t, os.WriteFile(elsewhere.Path, text, 0o600))
	r.awaitReader(t, other, func(said reader) bool { return said.Fault == "" && said.Generation == 2 })
	must(t, k.rotate(t.Context()))
	wantStatuses(t, k, "enabled primary")
	c := r.keep(t, "con_1", "t")
	if r.kept(t, other, c) != "t" {
		t.Error("the other process cannot read")
	}

	must(t, os.Remove(elsewhere.Path))
	must(t, os.WriteFile(elsewhere.Path, []byte(strings.Replace(string(text), fmt.Sprint(k.primaryID()), "77", 2)), 0o600))
	_, _, err = OpenKeys(t.Context(), elsewhere)
	if err == nil || !strings.Contains(err.Error(), "is not the one that this data was written with") {
		t.Errorf("a copy without the primary key: %v", err)
	}
}

// TestAKilledProcessIsForgotten: it leaves its name behind and never answers.
func TestAKilledProcessIsForgotten(t *testing.T) {
	r, k := newKeyRig(t, nil)
	r.follow(t, k)
	must(t, k.tell(t.Context(), func(all map[string]reader) {
		all["killed"], all["too"] = reader{Generation: 1, Host: "h", PID: 1}, reader{}
	}))
	k.patience = 100 * time.Millisecond
	must(t, k.rotate(t.Context()))
	wantStatuses(t, k, "enabled primary")
	wantReaders(t, r, 1)
	// One that stops cleanly is not waited for at all.
	other, _, err := OpenKeys(t.Context(), r.keys)
	must(t, err)
	stop := r.follow(t, other)
	wantReaders(t, r, 2)
	stop()
	wantReaders(t, r, 1)
	k.patience = time.Hour
	must(t, k.rotate(t.Context()))
	// What nobody can read is said anew.
	if _, err := r.keysets.Put(t.Context(), readersKey, []byte("damaged")); err != nil {
		t.Fatal(err)
	}
	must(t, k.rotate(t.Context()))
	wantReaders(t, r, 1)
}

func wantReaders(t *testing.T, r *rig, n int) {
	t.Helper()
	entry, err := r.keysets.Get(t.Context(), readersKey)
	must(t, err)
	if all := decodeReaders(entry.Value()); len(all) != n {
		t.Fatalf("%d processes use the keys, want %d: %v", len(all), n, all)
	}
}

func TestTheListOfProcessesIsBounded(t *testing.T) {
	all := map[string]reader{}
	for i := range maxReaders + 10 {
		all[fmt.Sprint(i)] = reader{At: time.Unix(int64(i), 0)}
	}
	forgetOldest(all)
	if _, there := all["9"]; there || len(all) != maxReaders || all["10"].At.IsZero() {
		t.Errorf("%d are left", len(all))
	}
}

// TestANewerKeyIsFoundWhenItIsNeeded: a process that does not follow, as before
// it serves.
func TestANewerKeyIsFoundWhenItIsNeeded(t *testing.T) {
	r, k := newKeyRig(t, nil)
	sleeper, _, err := OpenKeys(t.Context(), r.keys)
	must(t, err)
	must(t, k.rotate(t.Context()))
	c := r.keep(t, "con_1", "t")
	if r.kept(t, sleeper, c) != "t" {
		t.Error("a key that is there is not found")
	}
	// What no key opens costs no read each time.
	for _, just := range []bool{true, false} {
		last := time.Now().Add(-time.Hour)
		if just {
			last = time.Now().Add(time.Hour)
		}
		sleeper.looked = last
		if _, err := sleeper.primitive.Decrypt([]byte("\x01\x00\x00\x00\x01 and so on, long enough to be one"), nil); err == nil {
			t.Fatal("opened")
		}
		if sleeper.looked.Equal(last) != just {
			t.Errorf("last looked at %s, then at %s", last, sleeper.looked)
		}
	}
}

func TestAFileThatCannotBeWritten(t *testing.T) {
	r, k := newKeyRig(t, nil)
	file, err := os.ReadFile(r.keys.Path)
	must(t, err)
	stored := r.stored(t)
	k.cfg.Path = filepath.Join(t.TempDir(), "keyset.json")
	must(t, os.WriteFile(k.cfg.Path, file, 0o600))
	dir := filepath.Dir(k.cfg.Path)
	if os.Geteuid() == 0 { // may write everywhere: a link that leads to a directory in the way
		must(t, os.Mkdir(k.cfg.Path+".lock", 0o700))
	} else {
		must(t, os.Chmod(dir, 0o500))
		defer os.Chmod(dir, 0o700) //nolint:errcheck // for the removal
	}
	wantKeyRefusal(t, k.rotate(t.Context()), http.StatusConflict, "cannot be written")
	if r.stored(t) != stored {
		t.Error("the buckets have changed")
	}
}

func TestTooManyKeys(t *testing.T) {
	_, k := newKeyRig(t, nil)
	for range maxKeys - 1 {
		must(t, k.rotate(t.Context()))
	}
	wantKeyRefusal(t, k.rotate(t.Context()), http.StatusConflict, "destroy those")
	if again, _, err := OpenKeys(t.Context(), k.cfg); err != nil || again.primaryID() != k.primaryID() {
		t.Error(err)
	}
}
