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
	c := r.connect(t, "u1", "github", "ghp_1")
	again, created, err := OpenKeys(t.Context(), r.keys)
	if err != nil || created {
		t.Fatalf("created %v, %v", created, err)
	}
	value, err := r.keys.Connections.Get(t.Context(), recordKey(c))
	if err != nil {
		t.Fatal(err)
	}
	kept, err := decodeRecord(value.Key(), value.Value())
	if err != nil {
		t.Fatal(err)
	}
	token, err := again.openCredential(kept.Connection, kept.Credential)
	if err != nil || !token.Equal(secret("ghp_1")) {
		t.Errorf("the credential does not open again: %v", err)
	}
}

func TestOpenKeysRefusesAnotherKey(t *testing.T) {
	r := newRig(t)
	r.connect(t, "u1", "github", "ghp_1")
	writeOtherKey(t, r.keys.Path)
	wantRefusal(t, r, "is not the one that this data was written with; nothing was changed; put the old file back")
}

func TestOpenKeysRefusesAMissingFile(t *testing.T) {
	r := newRig(t)
	if err := os.Remove(r.keys.Path); err != nil {
		t.Fatal(err)
	}
	const refusal = "nothing was destroyed; restore this file"
	wantRefusal(t, r, refusal) // there is a canary
	r.connect(t, "u1", "github", "ghp_1")
	if err := r.keys.Bucket.Purge(t.Context(), canaryKey); err != nil {
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
		"too long":  string(whole) + strings.Repeat(" ", maxKeyFile),
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

func TestOpenKeysWithoutACanaryTriesTheData(t *testing.T) {
	r := newRig(t)
	c := r.connect(t, "u1", "github", "ghp_1")
	r.overwrite(t, r.connect(t, "u0", "github", "ghp_0"), []byte("not a record"))
	if err := r.keys.Bucket.Purge(t.Context(), canaryKey); err != nil {
		t.Fatal(err)
	}
	if _, created, err := OpenKeys(t.Context(), r.keys); err != nil || created {
		t.Fatalf("the right key: created %v, %v", created, err)
	}
	if _, err := r.keys.Bucket.Get(t.Context(), canaryKey); err != nil {
		t.Errorf("the canary is not back: %v", err)
	}
	if err := r.keys.Bucket.Purge(t.Context(), canaryKey); err != nil {
		t.Fatal(err)
	}
	writeOtherKey(t, r.keys.Path)
	wantRefusal(t, r, "is not the one that this data was written with")
	if err := r.store.delete(t.Context(), "", c.ID); err != nil {
		t.Fatal(err)
	}
}

func TestOpenKeysTogetherMakesOneKey(t *testing.T) {
	r := newRig(t)
	if err := errors.Join(os.RemoveAll(filepath.Dir(r.keys.Path)), r.keys.Bucket.Purge(t.Context(), canaryKey)); err != nil {
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
	c := events.Connection{UserID: "u", Provider: "p", ID: "c"}
	sealed, err := opened[0].sealCredential(c, secret("t"))
	if err != nil {
		t.Fatal(err)
	}
	for _, keys := range opened {
		if _, err := keys.openCredential(c, sealed); err != nil {
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
	if err := r.keys.Bucket.Purge(t.Context(), canaryKey); err != nil {
		t.Fatal(err)
	}
	wantRefusal(t, r, "writing the encryption key") // there is nothing
}

// late puts the key file in place while it is looked for the canary.
type late struct {
	jetstream.KeyValue
	put func()
}

func (l *late) Get(ctx context.Context, key string) (jetstream.KeyValueEntry, error) {
	l.put()
	return l.KeyValue.Get(ctx, key)
}

func TestOpenKeysSeesAFileThatHasJustComeThere(t *testing.T) {
	r := newRig(t)
	away := r.keys.Path + "-away"
	if err := os.Rename(r.keys.Path, away); err != nil {
		t.Fatal(err)
	}
	cfg := r.keys
	cfg.Bucket = &late{KeyValue: r.keys.Bucket, put: func() { _ = os.Rename(away, r.keys.Path) }}
	if _, created, err := OpenKeys(t.Context(), cfg); err != nil || created {
		t.Errorf("created %v, %v", created, err)
	}
}

// blind does not see the canary when it is first looked for, as when another
// process writes it a moment later.
type blind struct {
	jetstream.KeyValue
	once sync.Once
}

func (b *blind) Get(ctx context.Context, key string) (entry jetstream.KeyValueEntry, err error) {
	err = jetstream.ErrKeyNotFound
	first := false
	b.once.Do(func() { first = true })
	if first {
		return nil, err
	}
	return b.KeyValue.Get(ctx, key)
}

func TestOpenKeysYieldsToTheFirstOfTwoProcesses(t *testing.T) {
	r := newRig(t)
	cfg := r.keys
	cfg.Path = filepath.Join(t.TempDir(), "elsewhere.json")
	cfg.Bucket = &blind{KeyValue: r.keys.Bucket}
	stored := r.stored(t)
	_, created, err := OpenKeys(t.Context(), cfg)
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
