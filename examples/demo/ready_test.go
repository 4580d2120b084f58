package main

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

func TestReady(t *testing.T) {
	var asked atomic.Int32
	file := filepath.Join(t.TempDir(), "context.yaml")
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		if asked.Add(1) < 3 {
			w.WriteHeader(http.StatusServiceUnavailable)
		}
	}))
	defer server.Close()
	defer http.DefaultClient.CloseIdleConnections()
	texts := []string{"http_url: [", "http_url: " + server.URL, "http_url: " + server.URL + "\nnats_url: nats://n\nsandbox_url: http://s\nmore: 1\n"}
	written := make(chan error)
	go func() {
		for _, text := range texts { // as if it were being written
			if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
				written <- err
				return
			}
		}
		written <- nil
	}()
	at, err := ready(t.Context(), file)
	if err := <-written; err != nil {
		t.Fatal(err)
	}
	want := place{HTTPURL: server.URL, NATSURL: "nats://n", SandboxURL: "http://s"}
	if err != nil || at != want {
		t.Errorf("got %v, %v", at, err)
	}
	if asked.Load() != 3 {
		t.Errorf("it was asked %d times, ready is the third answer", asked.Load())
	}
}

func TestNeverReady(t *testing.T) {
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(errors.New("plugfn: exit status 2"))
	if _, err := ready(ctx, filepath.Join(t.TempDir(), "context.yaml")); err == nil || err.Error() != "plugfn: exit status 2" {
		t.Errorf("got %v", err)
	}
}

func TestScreen(t *testing.T) {
	var out strings.Builder
	s := &screen{out: &out}
	s.title("Title")
	s.note("build", 1234*time.Millisecond, "two programs")
	s.end("End")
	want := "Title\n\n  ✓ build             1.2 s   two programs\n\nEnd\n"
	if out.String() != want {
		t.Errorf("got\n%q, want\n%q", out.String(), want)
	}
	out.Reset()
	s.colour = true
	s.note("build", 0, "x")
	if !strings.Contains(out.String(), "\x1b[32m✓\x1b[0m") {
		t.Errorf("no colour in %q", out.String())
	}
}
