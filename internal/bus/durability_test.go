package bus

import (
	"context"
	"testing"
)

func TestDurability(t *testing.T) {
	seen := map[string]Durability{}
	for _, c := range []struct {
		name     string
		want     Durability
		replicas int
		sync     bool
	}{
		{"dev", Dev, 1, false},
		{"single", Single, 1, true},
		{"ha", HA, 3, false},
		{"strict", Strict, 3, true},
	} {
		d, err := ParseDurability(c.name)
		if err != nil || d != c.want || d.String() != c.name {
			t.Errorf("%s reads as %s, %v", c.name, d, err)
		}
		if d.Replicas() != c.replicas || d.syncAlways() != c.sync {
			t.Errorf("%s: %d copies, synced %v", d, d.Replicas(), d.syncAlways())
		}
		if other, twice := seen[d.Describe()]; twice {
			t.Errorf("%s promises what %s does", d, other)
		}
		seen[d.Describe()] = d
	}
	if d, err := ParseDurability(""); d != Single || err != nil {
		t.Errorf("empty reads as %s, %v", d, err)
	}
	var zero Durability
	if zero.String() != "single" || zero.Describe() != Single.Describe() || !zero.syncAlways() || zero.Replicas() != 1 {
		t.Error("the zero value is not single")
	}
	for _, wrong := range []string{"Single", "none", " dev"} {
		if d, err := ParseDurability(wrong); err == nil {
			t.Errorf("%q reads as %s", wrong, d)
		}
	}
}

// TestSyncReachesTheStore asks the running server, not its options.
func TestSyncReachesTheStore(t *testing.T) {
	for d, want := range map[Durability]bool{Dev: false, Single: true, "": true} {
		b, err := Open(t.Context(), Config{Dir: t.TempDir(), Addr: "-", Durability: d})
		if err != nil {
			t.Fatal(err)
		}
		if got := b.server.JetStreamConfig().SyncAlways; got != want {
			t.Errorf("durability %q: sync always %v, want %v", d, got, want)
		}
		if err := b.Close(context.Background()); err != nil {
			t.Error(err)
		}
	}
}
