package auth

import (
	"fmt"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/plugfn/plugfn/pkg/events"
)

func TestAssociatedDataIsInjective(t *testing.T) {
	// Few different bytes, those of the format among them, make collisions likely.
	part := rapid.StringOfN(rapid.SampledFrom([]rune("a1:|")), 0, 6, -1)
	rapid.Check(t, func(t *rapid.T) {
		a := rapid.SliceOfN(part, 2, 4).Draw(t, "a")
		// b is a with two neighbours joined, as somebody would who wants the same bytes.
		i := rapid.IntRange(0, len(a)-2).Draw(t, "i")
		joint := rapid.SampledFrom([]string{"", "|", fmt.Sprintf("|%d:", len(a[i+1]))}).Draw(t, "joint")
		b := slices.Concat(a[:i], []string{a[i] + joint + a[i+1]}, a[i+2:])
		if string(associatedData(a...)) == string(associatedData(b...)) {
			t.Errorf("%q and %q give the same", a, b)
		}
	})
}

func TestAssociatedDataIsStable(t *testing.T) {
	const want = "plugfn/v1|3:a|b|0:|5:con_1|10:credential" // what is stored opens with this and nothing else
	if got := string(associatedData("a|b", "", "con_1", "credential")); got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestACredentialOpensOnlyInItsPlace(t *testing.T) {
	r := newRig(t)
	home := events.Connection{UserID: "u1", Provider: "github", ID: "con_1"}
	sealed, err := r.cfg.Keys.sealCredential(home, secrets{AccessToken: secret("ghp_1")})
	if err != nil {
		t.Fatal(err)
	}
	if opened, err := r.cfg.Keys.openCredential(home, sealed); err != nil || !opened.AccessToken.Equal(secret("ghp_1")) {
		t.Fatalf("at home: %v", err)
	}
	tests := map[string]events.Connection{
		"another user":       {UserID: "u2", Provider: "github", ID: "con_1"},
		"another provider":   {UserID: "u1", Provider: "slack", ID: "con_1"},
		"another connection": {UserID: "u1", Provider: "github", ID: "con_2"},
		"moved boundary":     {UserID: "u1|6:github", Provider: "", ID: "con_1"},
	}
	for name, place := range tests {
		t.Run(name, func(t *testing.T) {
			if _, err := r.cfg.Keys.openCredential(place, sealed); err == nil {
				t.Error("opened")
			}
		})
	}
	if _, err := r.cfg.Keys.primitive.Decrypt(sealed, place(home, "another field")); err == nil {
		t.Error("opened in another field")
	}
	for i := range sealed {
		changed := slices.Clone(sealed)
		changed[i] ^= 1
		if _, err := r.cfg.Keys.openCredential(home, changed); err == nil {
			t.Errorf("opened with byte %d changed", i)
		}
	}
}
