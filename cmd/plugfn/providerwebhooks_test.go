package main

import (
	"flag"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/plugfn/plugfn/pkg/providers"
	"github.com/plugfn/plugfn/pkg/providers/catalog"
)

var update = flag.Bool("update", false, "write the files that tests compare with")

func TestDocsTellTheSetUpOfEachProvider(t *testing.T) {
	packs, err := providers.LoadAll(catalog.FS)
	if err != nil {
		t.Fatal(err)
	}
	for name, pack := range packs {
		if pack.Webhooks != nil && pack.Webhooks.Hint == "" {
			t.Errorf("%s: webhooks.hint is missing: where is the webhook set up?", name)
		}
	}
	path := filepath.FromSlash("../../docs/webhook-providers.md")
	want := webhooksMarkdown(packs)
	if *update {
		if err := os.WriteFile(path, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, string(got)); diff != "" {
		t.Errorf("%s is not what the packs say; run go test ./cmd/plugfn -run DocsTell -update:\n%s", path, diff)
	}
}

func TestShort(t *testing.T) {
	for d, want := range map[time.Duration]string{
		800 * time.Millisecond: "800ms", 4 * time.Second: "4s", 15 * time.Minute: "15m", 72 * time.Hour: "72h",
		90 * time.Minute: "1h30m", 0: "0s", time.Hour + time.Second: "1h0m1s",
	} {
		if got := short(d); got != want {
			t.Errorf("%s is written %s, want %s", d, got, want)
		}
	}
}

func TestSomeOf(t *testing.T) {
	names := []string{"a", "b", "c", "d"}
	for few, want := range map[int]string{4: "a, b, c, d", 3: "a, b and 2 more", 5: "a, b, c, d"} {
		if got := someOf(names, few); got != want {
			t.Errorf("%d of them: %s, want %s", few, got, want)
		}
	}
}
