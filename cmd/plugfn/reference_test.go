package main

import (
	"os"
	"path/filepath"
	"testing"
	"time"
)

// TestDocsTellTheCommands compares docs/cli.md with the program.
func TestDocsTellTheCommands(t *testing.T) {
	path := filepath.FromSlash("../../docs/cli.md")
	want := reference(newRoot(time.Time{}))
	if *update {
		if err := os.WriteFile(path, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(path)
	if err != nil || string(got) != want {
		t.Errorf("%s is not what the program says (%v); run go test ./cmd/plugfn -run DocsTell -update", path, err)
	}
}
