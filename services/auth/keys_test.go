package auth

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/tink-crypto/tink-go/v2/aead"
	"github.com/tink-crypto/tink-go/v2/keyset"
	"github.com/tink-crypto/tink-go/v2/mac"

	"github.com/plugfn/plugfn/pkg/events"
)

// writeOtherKey puts another key in the place of the file.
func writeOtherKey(t *testing.T, path string) {
	t.Helper()
	handle, err := keyset.NewHandle(aead.AES256GCMKeyTemplate())
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		t.Fatal(err)
	}
	if err := writeKeyset(path, handle); err != nil {
		t.Fatal(err)
	}
}

// wantRefusal opens the keys, wants an error with each of the texts, and wants
// the buckets and the file to stay as they are.
func wantRefusal(t *testing.T, r *rig, texts ...string) {
	t.Helper()
	stored := r.stored(t)
	file, _ := os.ReadFile(r.keys.Path)
	_, created, err := OpenKeys(t.Context(), r.keys)
	if err == nil || created {
		t.Fatal("accepted")
	}
	for _, text := range append(texts, r.keys.Path) {
		if !strings.Contains(err.Error(), text) {
			t.Errorf("error %q does not say %q", err, text)
		}
	}
	if r.stored(t) != stored {
		t.Error("the buckets have changed")
	}
	if now, _ := os.ReadFile(r.keys.Path); string(now) != string(file) {
		t.Error("the key file has changed")
	}
	if left, _ := filepath.Glob(r.keys.Path + ".*"); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}

func TestOpenKeysFindsItsKeyAgain(t *testing.T) {
	r := newRig(t)
	entry, err := os.Stat(r.keys.Path)
	if err != nil || entry.Mode().Perm() != 0o600 {
		t.Fatalf("key file: %v, %v", entry, err)
	}
	c := r.keep(t, "con_1", "ghp_1")
	again, created, err := OpenKeys(t.Context(), r.keys)
	if err != nil || created {
		t.Fatalf("created %v, %v", created, err)
	}
	if got := r.kept(t, again, c); got != "ghp_1" {
		t.Errorf("the credential opens as %q", got)
	}
}

// keep writes the record of a connection that holds a text.
func (r *rig) keep(t testing.TB, id, text string) events.Connection {
	t.Helper()
	c := events.Connection{ID: id, UserID: "u1", Provider: "github", Status: events.ConnectionActive}
	r.overwrite(t, c, sealRecord(t, r.cfg.Keys, c, text))
	return c
}

func sealRecord(t testing.TB, k *Keys, c events.Connection, text string) []byte {
	t.Helper()
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

// kept is the text in the record of a connection.
func (r *rig) kept(t testing.TB, k *Keys, c events.Connection) string {
	t.Helper()
	entry, err := r.connections.Get(t.Context(), recordKey(c))
	if err != nil {
		t.Fatal(err)
	}
	got, err := decodeRecord(entry.Key(), entry.Value())
	if err != nil {
		t.Fatal(err)
	}
	text, err := k.primitive.Decrypt(got.Credential, place(c, fieldCredential))
	if err != nil {
		t.Fatalf("connection %s: %v", c.ID, err)
	}
	return string(text)
}

func TestOpenKeysRefusesAnotherKey(t *testing.T) {
	r := newRig(t)
	r.connect(t, "u1", "github", "ghp_1")
	writeOtherKey(t, r.keys.Path)
	wantRefusal(t, r, "is not the one that this data was written with", "nothing was changed; put the right file back")
}

func TestOpenKeysRefusesAMissingFile(t *testing.T) {
	r := newRig(t)
	if err := os.Remove(r.keys.Path); err != nil {
		t.Fatal(err)
	}
	const refusal = "nothing was destroyed; restore this file"
	wantRefusal(t, r, refusal) // there is a canary
	r.connect(t, "u1", "github", "ghp_1")
	if err := r.keysets.Purge(t.Context(), keysetKey); err != nil {
		t.Fatal(err)
	}
	wantRefusal(t, r, refusal) // there is a connection
}

func TestOpenKeysRefusesAFileThatOthersMayOpen(t *testing.T) {
	r := newRig(t)
	for _, mode := range []os.FileMode{0o604, 0o640, 0o644, 0o620, 0o601} {
		if err := os.Chmod(r.keys.Path, mode); err != nil {
			t.Fatal(err)
		}
		wantRefusal(t, r, "chmod 600 "+r.keys.Path)
	}
	if err := os.Chmod(r.keys.Path, 0o400); err != nil {
		t.Fatal(err)
	}
	if _, _, err := OpenKeys(t.Context(), r.keys); err != nil {
		t.Errorf("mode 0400 is safe, and refused: %v", err)
	}
}

func TestOpenKeysRefusesADamagedFile(t *testing.T) {
	r := newRig(t)
	whole, err := os.ReadFile(r.keys.Path)
	if err != nil {
		t.Fatal(err)
	}
	tests := map[string]string{
		"empty":     "",
		"truncated": string(whole[:len(whole)/2]),
		"no keys":   `{"primaryKeyId":1,"key":[]}`,
		"too long":  string(whole) + strings.Repeat(" ", maxKeyset),
		"for MACs":  macKeyset(t),
	}
	for name, text := range tests {
		t.Run(name, func(t *testing.T) {
			if err := os.WriteFile(r.keys.Path, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
			wantRefusal(t, r, "damaged", "restore the file")
		})
	}
	t.Run("a directory", func(t *testing.T) {
		if err := errors.Join(os.Remove(r.keys.Path), os.Mkdir(r.keys.Path, 0o700)); err != nil {
			t.Fatal(err)
		}
		wantRefusal(t, r, "not a regular file")
	})
}

func macKeyset(t *testing.T) string {
	t.Helper()
	handle, err := keyset.NewHandle(mac.HMACSHA256Tag256KeyTemplate())
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "mac.json")
	if err := writeKeyset(path, handle); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func TestOpenKeysWithoutARecordTriesTheData(t *testing.T) {
	r := newRig(t)
	r.keep(t, "con_1", "ghp_1")
	r.overwrite(t, r.keep(t, "con_0", "ghp_0"), []byte("not a record"))
	if err := r.keysets.Purge(t.Context(), keysetKey); err != nil {
		t.Fatal(err)
	}
	if _, created, err := OpenKeys(t.Context(), r.keys); err != nil || created {
		t.Fatalf("the right key: created %v, %v", created, err)
	}
	if _, err := r.keysets.Get(t.Context(), keysetKey); err != nil {
		t.Errorf("the record is not back: %v", err)
	}
	if err := r.keysets.Purge(t.Context(), keysetKey); err != nil {
		t.Fatal(err)
	}
	writeOtherKey(t, r.keys.Path)
	wantRefusal(t, r, "is not the one that this data was written with")
}

func TestOpenKeysTogetherMakesOneKey(t *testing.T) {
	r := newRig(t)
	if err := errors.Join(os.RemoveAll(filepath.Dir(r.keys.Path)), r.keysets.Purge(t.Context(), keysetKey)); err != nil {
		t.Fatal(err)
	}
	const processes = 8
	var mu sync.Mutex
	var opened []*Keys
	makers := 0
	var wait sync.WaitGroup
	for range processes {
		wait.Go(func() {
			keys, created, err := OpenKeys(context.Background(), r.keys)
			mu.Lock()
			defer mu.Unlock()
			if err != nil {
				t.Error(err)
				return
			}
			opened = append(opened, keys)
			if created {
				makers++
			}
		})
	}
	wait.Wait()
	if len(opened) != processes || makers != 1 {
		t.Fatalf("%d of %d opened, %d made the key", len(opened), processes, makers)
	}
	sealed, err := opened[0].primitive.Encrypt([]byte("t"), []byte("place"))
	if err != nil {
		t.Fatal(err)
	}
	for _, keys := range opened {
		if _, err := keys.primitive.Decrypt(sealed, []byte("place")); err != nil {
			t.Fatal("two of them have different keys")
		}
	}
}

func TestOpenKeysRefusesALinkToNothing(t *testing.T) {
	r := newRig(t)
	if err := errors.Join(os.Remove(r.keys.Path), os.Symlink("nowhere", r.keys.Path)); err != nil {
		t.Fatal(err)
	}
	wantRefusal(t, r, "is missing") // there is a canary
	if err := r.keysets.Purge(t.Context(), keysetKey); err != nil {
		t.Fatal(err)
	}
	wantRefusal(t, r, "writing the encryption key") // there is nothing
}

// openBlind opens the keys as if the record were not there the first times that
// it is looked for.
func openBlind(t *testing.T, cfg KeysConfig, times int) (bool, error) {
	t.Helper()
	k, err := newKeys(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	k.bucket = &shy{KeyValue: k.bucket, times: times}
	return k.open(t.Context())
}

// shy does not show a record the first times that it is looked for.
type shy struct {
	jetstream.KeyValue
	times int
}

func (s *shy) Get(ctx context.Context, key string) (jetstream.KeyValueEntry, error) {
	if s.times--; s.times >= 0 {
		return nil, jetstream.ErrKeyNotFound
	}
	return s.KeyValue.Get(ctx, key)
}

// TestOpenKeysSeesWhatHasJustComeThere: file and record are written by another
// process after they were found missing.
func TestOpenKeysSeesWhatHasJustComeThere(t *testing.T) {
	r := newRig(t)
	created, err := openBlind(t, r.keys, 1)
	if err != nil || created {
		t.Errorf("with its file: created %v, %v", created, err)
	}
	wrapped := r.keys
	wrapped.Wrapper = newKEK(t)
	if _, _, err := OpenKeys(t.Context(), wrapped); err != nil { // takes the keyset to the bus
		t.Fatal(err)
	}
	wrapped.Path = ""
	for times := range 3 {
		created, err = openBlind(t, wrapped, times)
		if err != nil || created {
			t.Errorf("wrapped, seen at look %d: created %v, %v", times+1, created, err)
		}
	}
}

func TestOpenKeysYieldsToTheFirstOfTwoProcesses(t *testing.T) {
	r := newRig(t)
	cfg := r.keys
	cfg.Path = filepath.Join(t.TempDir(), "elsewhere.json")
	stored := r.stored(t)
	created, err := openBlind(t, cfg, 2)
	if err == nil || created || !strings.Contains(err.Error(), "another process") {
		t.Fatalf("created %v, %v", created, err)
	}
	if _, err := os.Stat(cfg.Path); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a key that nothing was written with stays behind: %v", err)
	}
	if r.stored(t) != stored {
		t.Error("the buckets have changed")
	}
}

func TestOpenKeysWithoutABus(t *testing.T) {
	r := newRig(t)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, _, err := OpenKeys(ctx, r.keys); !errors.Is(err, context.Canceled) {
		t.Errorf("with a file: %v", err)
	}
	if err := os.Remove(r.keys.Path); err != nil {
		t.Fatal(err)
	}
	if _, _, err := OpenKeys(ctx, r.keys); !errors.Is(err, context.Canceled) {
		t.Errorf("without: %v", err)
	}
	if _, err := os.Stat(r.keys.Path); !errors.Is(err, fs.ErrNotExist) {
		t.Error("a key was generated although nobody knows whether there is data")
	}
	if _, _, err := OpenKeys(t.Context(), KeysConfig{}); err == nil {
		t.Error("an empty configuration was accepted")
	}
}
