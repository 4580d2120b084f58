package main

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestFindContextWalksUp(t *testing.T) {
	root := t.TempDir()
	below := filepath.Join(root, "a", "b")
	if err := os.MkdirAll(below, 0o700); err != nil {
		t.Fatal(err)
	}
	t.Chdir(below)
	want := contextFile{HTTPURL: "http://h", NATSURL: "nats://n", SecretsDir: "/s"}
	if err := want.write(filepath.Join(root, ".plugfn", contextName)); err != nil {
		t.Fatal(err)
	}
	got, err := findContext("")
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if got, err := findContext(below); err != nil || got != (contextFile{}) {
		t.Errorf("in a directory without one: %+v, %v", got, err)
	}
	if err := os.WriteFile(filepath.Join(below, contextName), []byte("http_url: [1]"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := findContext(below); err == nil {
		t.Error("a broken file is accepted")
	}
	if err := os.Chmod(filepath.Join(root, ".plugfn", contextName), 0o622); err != nil {
		t.Fatal(err)
	}
	if got, err := findContext(""); err != nil || got != (contextFile{}) {
		t.Errorf("one that others can write is believed: %+v, %v", got, err)
	}
}
