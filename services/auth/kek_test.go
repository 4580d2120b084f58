package auth

import (
	"bytes"
	"encoding/base64"
	"strings"
	"testing"

	"github.com/plugfn/plugfn/pkg/providers"
)

// kekText is a key of 32 times the same byte.
func kekText(b byte) string {
	return base64.StdEncoding.EncodeToString(bytes.Repeat([]byte{b}, kekSize))
}

func newKEK(t testing.TB, lines ...string) *KEK {
	t.Helper()
	if lines == nil {
		lines = []string{kekText(1)}
	}
	kek, err := NewKEK(secret(strings.Join(lines, "\n")))
	if err != nil {
		t.Fatal(err)
	}
	return kek
}

func TestKEK(t *testing.T) {
	old, both, other := newKEK(t), newKEK(t, kekText(2), "", kekText(1)+"\r"), newKEK(t, kekText(2))
	wrap := func(k *KEK) []byte {
		wrapped, err := k.Wrap(t.Context(), []byte("keyset"))
		if err != nil || bytes.Contains(wrapped, []byte("keyset")) {
			t.Fatalf("%q, %v", wrapped, err)
		}
		return wrapped
	}
	for _, tt := range []struct {
		name   string
		by, in *KEK
		opens  bool
	}{
		{"itself", old, old, true},
		{"a new one beside the old", old, both, true},
		{"the new one", both, other, true},
		{"the old one, of what the new one wrapped", both, old, false},
		{"another", old, other, false},
	} {
		plain, err := tt.in.Unwrap(t.Context(), wrap(tt.by))
		if (err == nil) != tt.opens || tt.opens && string(plain) != "keyset" {
			t.Errorf("%s: %q, %v", tt.name, plain, err)
		}
	}
	damaged := wrap(old)
	for i := range damaged {
		damaged[i] ^= 1
		if _, err := old.Unwrap(t.Context(), damaged); err == nil {
			t.Fatalf("opens with byte %d changed", i)
		}
		damaged[i] ^= 1
	}
}

func TestNewKEKRefuses(t *testing.T) {
	for _, text := range []string{
		"", "\n", "secret", kekText(1)[4:], kekText(1) + "AAAA", strings.Repeat("00", 32),
		kekText(1) + "\nnothing", strings.Repeat(kekText(1)+"\n", maxKEKs+1),
	} {
		_, err := NewKEK(providers.NewSecret([]byte(text)))
		if err == nil {
			t.Errorf("%q accepted", text)
		} else if text != "" && strings.Contains(err.Error(), text) && len(text) > 1 {
			t.Errorf("%v shows it", err)
		}
	}
}
