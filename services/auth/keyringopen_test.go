package auth

import (
	"context"
	"errors"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/plugfn/plugfn/internal/bus"
)

// wantClosed opens the keys and wants an error with the text, and the buckets
// and the file as they were.
func wantClosed(t *testing.T, r *rig, cfg KeysConfig, text string) {
	t.Helper()
	stored := r.stored(t)
	file, _ := os.ReadFile(r.keys.Path)
	_, created, err := OpenKeys(t.Context(), cfg)
	if err == nil || created || !strings.Contains(err.Error(), text) {
		t.Fatalf("created %v, %v, want an error that says %q", created, err, text)
	}
	if now, _ := os.ReadFile(r.keys.Path); r.stored(t) != stored || string(now) != string(file) {
		t.Error("something was changed")
	}
}

func TestAWrongKEKIsRefused(t *testing.T) {
	r, _ := newKeyRig(t, func(c *KeysConfig) { c.Wrapper = newKEK(t) })
	c := r.keep(t, "con_1", "t")
	wrong := r.keys
	wrong.Wrapper = newKEK(t, kekText(9))
	wantClosed(t, r, wrong, "is not the one that it was wrapped with, or it is damaged; nothing was changed")
	wrong.Wrapper = nil
	wantClosed(t, r, wrong, ErrWrapped.Error())
	wrong.Wrapper = awayKMS{}
	wantClosed(t, r, wrong, "the KMS is away; nothing was changed")
	wrong.Wrapper = foreignKMS{}
	wantClosed(t, r, wrong, "is damaged: it is no Tink keyset")
	again, _, err := OpenKeys(t.Context(), r.keys)
	must(t, err)
	if r.kept(t, again, c) != "t" {
		t.Error("it does not open any more")
	}
}

// awayKMS is a KMS that is away.
type awayKMS struct{}

func (awayKMS) Wrap(context.Context, []byte) ([]byte, error) {
	return nil, errors.New("the KMS is away")
}

func (awayKMS) Unwrap(context.Context, []byte) ([]byte, error) {
	return nil, errors.New("the KMS is away")
}

// foreignKMS is a KMS that answers with something else.
type foreignKMS struct{ awayKMS }

func (foreignKMS) Unwrap(context.Context, []byte) ([]byte, error) { return []byte("{}"), nil }

func TestAKMSThatIsAwayMakesNoKey(t *testing.T) {
	r := newRig(t)
	must(t, r.keysets.Purge(t.Context(), keysetKey))
	must(t, os.Remove(r.keys.Path))
	cfg := r.keys
	cfg.Wrapper = awayKMS{}
	wantClosed(t, r, cfg, "the KMS is away; nothing was changed")
}

func TestALostKeysetOnTheBusIsNotMadeAgain(t *testing.T) {
	r, _ := newKeyRig(t, func(c *KeysConfig) { c.Wrapper = newKEK(t) })
	r.keep(t, "con_1", "t")
	must(t, r.keysets.Purge(t.Context(), keysetKey))
	wantClosed(t, r, r.keys, "missing from bucket "+bus.BucketKeys)
}

func TestADamagedRecordIsRefused(t *testing.T) {
	for name, way := range ways(t) {
		t.Run(name, func(t *testing.T) {
			r, _ := newKeyRig(t, way)
			entry, err := r.keysets.Get(t.Context(), keysetKey)
			must(t, err)
			whole := string(entry.Value())
			for _, damaged := range []string{"", whole[:len(whole)/2], "{}", strings.Replace(whole, "primary", "enabled", 1)} {
				if _, err := r.keysets.Put(t.Context(), keysetKey, []byte(damaged)); err != nil {
					t.Fatal(err)
				}
				wantClosed(t, r, r.keys, "restore the bucket from your backup")
			}
		})
	}
}

// TestAKeysetIsTakenToTheBus once there is a KEK, and back to nowhere.
func TestAKeysetIsTakenToTheBus(t *testing.T) {
	r, k := newKeyRig(t, nil)
	must(t, k.rotate(t.Context()))
	c := r.keep(t, "con_1", "t")
	follower := r.replica(t, r.keys) // without the KEK, as long as it runs
	wrapped := r.keys
	wrapped.Wrapper = newKEK(t)
	first, created, err := OpenKeys(t.Context(), wrapped)
	if err != nil || created || !strings.Contains(r.log.String(), "keyset taken to the bus") {
		t.Fatal(created, err)
	}
	if first.primaryID() != k.primaryID() || statuses(t, first) != "enabled primary" {
		t.Error("they are other keys")
	}
	must(t, os.Remove(r.keys.Path))
	second, _, err := OpenKeys(t.Context(), wrapped)
	must(t, err)
	for _, keys := range []*Keys{first, second, follower} {
		if r.kept(t, keys, c) != "t" {
			t.Error("it does not open")
		}
	}
	// Who has no KEK cannot follow, and says so.
	r.awaitReader(t, follower, func(said reader) bool { return strings.Contains(said.Fault, ErrWrapped.Error()) })
	first.patience = 200 * time.Millisecond
	wantKeyRefusal(t, first.rotate(t.Context()), 409, "cannot use the new keys")
	wantStatuses(t, first, "enabled primary staged")
	if strings.Contains(r.log.String(), "AES") || strings.Contains(r.stored(t), "typeUrl") {
		t.Error("the keyset is somewhere in the clear")
	}
}

func TestAKEKIsReplaced(t *testing.T) {
	r, _ := newKeyRig(t, func(c *KeysConfig) { c.Wrapper = newKEK(t) })
	c := r.keep(t, "con_1", "t")
	both, fresh := r.keys, r.keys
	both.Wrapper, fresh.Wrapper = newKEK(t, kekText(2), kekText(1)), newKEK(t, kekText(2))
	wantClosed(t, r, fresh, "nothing was changed")
	k, _, err := OpenKeys(t.Context(), both)
	must(t, err)
	must(t, k.rotate(t.Context()))
	k, _, err = OpenKeys(t.Context(), fresh)
	must(t, err)
	if r.kept(t, k, c) != "t" {
		t.Error("it does not open")
	}
	wantClosed(t, r, r.keys, "nothing was changed") // the old one
}
