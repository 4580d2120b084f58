//go:build integration

package main

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestForeignClient has a program in Node, with the clients of NATS and of
// CloudEvents that everybody has, use a running PlugFn: it publishes an action and
// reads its result, goes away, and comes back to the events of meanwhile.
func TestForeignClient(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	dir := t.TempDir()
	npm := exec.CommandContext(ctx, "npm", "install", "--prefix", dir, "--no-save", "--ignore-scripts", "--no-audit", "--no-fund",
		"@nats-io/transport-node@3", "@nats-io/jetstream@3", "cloudevents@10")
	if out, err := npm.CombinedOutput(); err != nil {
		t.Fatalf("npm: %v\n%s", err, out)
	}
	script, err := os.ReadFile("testdata/foreign.mjs")
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(dir, "foreign.mjs")
	if err := os.WriteFile(file, script, 0o600); err != nil {
		t.Fatal(err)
	}
	dev, c := startDev(t)
	node := func(phase string) string {
		t.Helper()
		out, err := exec.CommandContext(ctx, "node", file, c.NATSURL, phase).CombinedOutput()
		if err != nil {
			t.Fatalf("node %s: %v\n%s", phase, err, out)
		}
		return strings.TrimSpace(string(out))
	}
	if got := node("act"); got != "acted" {
		t.Errorf("node says %q", got)
	}
	for _, want := range []string{"first", "second"} {
		if code := start(t, dev.Dir, nil, "trigger", "github", "issues.opened").wait(); code != exitOK {
			t.Fatalf("trigger exits with %d", code)
		}
		if got := node("hear"); !strings.HasPrefix(got, "heard ") {
			t.Errorf("%s event: node says %q", want, got)
		}
	}
}
