package auth

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/tink-crypto/tink-go/v2/aead"
	"github.com/tink-crypto/tink-go/v2/keyset"
)

// newKeyset is a keyset of n keys, the last one primary, and its record.
func newKeyset(t testing.TB, n int) (*keyset.Handle, keyRecord) {
	t.Helper()
	handle, err := keyset.NewHandle(aead.AES256GCMKeyTemplate())
	must(t, err)
	r, err := firstRecord(handle)
	must(t, err)
	for range n - 1 {
		var id uint32
		handle, id, err = addKey(handle)
		must(t, err)
		state, err := newKeyState(handle, id, keyStaged)
		must(t, err)
		r.Keys = append(r.Keys, state)
		r.promote(id, state.CreatedAt)
	}
	return handle, r
}

func TestKeysetRoundTrip(t *testing.T) {
	handle, r := newKeyset(t, 3)
	text, err := encodeKeyset(handle)
	must(t, err)
	again, err := parseKeyset(text)
	must(t, err)
	if diff := cmp.Diff(keyIDs(handle), keyIDs(again)); diff != "" {
		t.Error(diff)
	}
	value, err := r.encode()
	must(t, err)
	decoded, err := decodeKeyRecord(value)
	if diff := cmp.Diff(r, decoded); err != nil || diff != "" {
		t.Error(err, diff)
	}
	a, err := newRing(r, handle)
	must(t, err)
	b, err := newRing(decoded, again)
	must(t, err)
	sealed, err := a.keys.Encrypt([]byte("t"), []byte("p"))
	must(t, err)
	if id, ok := keyIDOf(sealed); !ok || id != r.primary() {
		t.Errorf("encrypted under key %d, the primary one is %d", id, r.primary())
	}
	if text, err := b.keys.Decrypt(sealed, []byte("p")); err != nil || string(text) != "t" {
		t.Error(err)
	}
}

func TestParseKeysetRefuses(t *testing.T) {
	for name, template := range map[string]func() (*keyset.Handle, error){
		"without a prefix": func() (*keyset.Handle, error) { return keyset.NewHandle(aead.AES256GCMNoPrefixKeyTemplate()) },
	} {
		handle, err := template()
		must(t, err)
		text, err := encodeKeyset(handle)
		must(t, err)
		if _, err := parseKeyset(text); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}

func TestNewRingRefusesAnotherKeyset(t *testing.T) {
	handle, r := newKeyset(t, 3)
	tests := []struct {
		name string
		edit func(r *keyRecord) *keyset.Handle
	}{
		{"another keyset", func(*keyRecord) *keyset.Handle { other, _ := newKeyset(t, 3); return other }},
		{"without the primary key", func(r *keyRecord) *keyset.Handle {
			left, err := withoutKey(handle, r.Keys[0].ID, r.primary())
			must(t, err)
			return left
		}},
		{"without an old key", func(r *keyRecord) *keyset.Handle {
			left, err := withoutKey(handle, r.primary(), r.Keys[0].ID)
			must(t, err)
			return left
		}},
		{"canary of another key", func(r *keyRecord) *keyset.Handle { r.Keys[0].Canary = r.Keys[1].Canary; return handle }},
		{"canary damaged", func(r *keyRecord) *keyset.Handle {
			r.Keys[1].Canary = slices.Clone(r.Keys[1].Canary)
			r.Keys[1].Canary[20] ^= 1
			return handle
		}},
		{"no canary", func(r *keyRecord) *keyset.Handle { r.Keys[2].Canary = nil; return handle }},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			edited := r.clone()
			_, err := newRing(edited, tt.edit(&edited))
			var wrong wrongKeyset
			if !errors.As(err, &wrong) || !strings.Contains(err.Error(), "is not the one that this data was written with") {
				t.Errorf("got %v", err)
			}
		})
	}
}

// TestADisabledKeyOpensNothing, and is not needed for the others.
func TestADisabledKeyOpensNothing(t *testing.T) {
	handle, r := newKeyset(t, 2)
	old := r.Keys[0].ID
	before, err := onlyKeys(handle, old, []uint32{old})
	must(t, err)
	primitive, err := aead.New(before)
	must(t, err)
	sealed, err := primitive.Encrypt([]byte("t"), nil)
	must(t, err)
	g, err := newRing(r, handle)
	must(t, err)
	if _, err := g.keys.Decrypt(sealed, nil); err != nil {
		t.Fatal("enabled, it does not open:", err)
	}
	r.set(old, keyDisabled, r.Keys[0].CreatedAt)
	g, err = newRing(r, handle)
	must(t, err)
	if _, err := g.keys.Decrypt(sealed, nil); err == nil || g.lacks(sealed) {
		t.Error("disabled, it opens or is looked for")
	}
	left, err := withoutKey(handle, r.primary(), old)
	must(t, err)
	if _, err := newRing(r, left); err != nil {
		t.Error(err)
	}
}

func TestDecodeKeyRecordRefuses(t *testing.T) {
	key := func(id, status string) string {
		return `{"id":` + id + `,"status":"` + status + `"}`
	}
	record := func(keys ...string) string { return `{"generation":1,"keys":[` + strings.Join(keys, ",") + `]}` }
	if _, err := decodeKeyRecord([]byte(record(key("1", "primary"), key("2", "enabled"), key("3", "disabled"), key("4", "staged")))); err != nil {
		t.Fatal(err)
	}
	for name, value := range map[string]string{
		"no JSON":        "}",
		"empty":          "",
		"no keys":        record(),
		"no primary":     record(key("1", "enabled")),
		"two primaries":  record(key("1", "primary"), key("2", "primary")),
		"a key twice":    record(key("1", "primary"), key("1", "enabled")),
		"key 0":          record(key("1", "primary"), key("0", "enabled")),
		"later status":   record(key("1", "primary"), key("2", "asleep")),
		"large id":       record(key("4294967296", "primary")),
		"no generation":  `{"keys":[` + key("1", "primary") + `]}`,
		"too many":       record(slices.Repeat([]string{key("1", "primary")}, maxKeys+1)...),
		"wrapped to big": `{"generation":1,"keys":[` + key("1", "primary") + `],"wrapped":"` + strings.Repeat("AAAA", maxKeyset) + `"}`,
	} {
		if _, err := decodeKeyRecord([]byte(value)); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}

func FuzzDecodeKeyRecord(f *testing.F) {
	_, r := newKeyset(f, 3)
	value, err := r.encode()
	must(f, err)
	f.Add(value)
	f.Add([]byte(`{"generation":1,"keys":[{"id":1,"status":"primary","canary":"AQ=="}],"wrapped":"AQ=="}`))
	f.Add([]byte(`{"generation":1,"keys":[null]}`))
	handle, _ := newKeyset(f, 1)
	f.Fuzz(func(t *testing.T, value []byte) {
		r, err := decodeKeyRecord(value)
		if err != nil {
			return
		}
		if r.key(r.primary()) == nil || len(r.Keys) > maxKeys {
			t.Errorf("accepted %+v", r)
		}
		if _, err := newRing(r, handle); err == nil {
			t.Error("a keyset fits a record that was not made for it")
		}
	})
}

// FuzzReadKeyset reads files. What is accepted must work, and nothing of a file
// may stand in the error.
func FuzzReadKeyset(f *testing.F) {
	handle, _ := newKeyset(f, 2)
	text, err := encodeKeyset(handle)
	must(f, err)
	f.Add(text)
	f.Add(text[:len(text)/2])
	f.Add([]byte(`{"primaryKeyId":1,"key":[{"keyData":{"typeUrl":"type.googleapis.com/google.crypto.tink.AesGcmKey","value":"GhA=","keyMaterialType":"SYMMETRIC"},"status":"ENABLED","keyId":1,"outputPrefixType":"TINK"}]}`))
	f.Add([]byte(`{"encryptedKeyset":"AAAA"}`))
	f.Add([]byte(`{"primaryKeyId":1,"key":[{"status":"DESTROYED","keyId":1}]}`))
	path := filepath.Join(f.TempDir(), "keyset.json")
	f.Fuzz(func(t *testing.T, text []byte) {
		must(t, os.WriteFile(path, text, 0o600))
		handle, err := readKeyset(path)
		if err != nil {
			if want := "encryption key in " + path + " is damaged"; !strings.HasPrefix(err.Error(), want) || errors.Is(err, fs.ErrNotExist) {
				t.Errorf("the error is %v", err)
			}
			return
		}
		r, err := firstRecord(handle)
		if err != nil {
			t.Fatal("accepted, and of no use:", err)
		}
		g, err := newRing(r, handle)
		if err != nil {
			t.Fatal("accepted, and of no use:", err)
		}
		sealed, err := g.keys.Encrypt(text, nil)
		must(t, err)
		if id, ok := keyIDOf(sealed); !ok || id != r.primary() {
			t.Errorf("encrypts under key %d, not %d", id, r.primary())
		}
	})
}
