// Package bustest gives tests a real bus: an embedded server with its store
// in a temporary directory, no mock of one.
package bustest

import (
	"bytes"
	"context"
	"sync"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"github.com/plugfn/plugfn/internal/bus"
)

// closePatience is far more than any close takes: what is not closed by then
// hangs.
const closePatience = 20 * time.Second

// New opens a bus in this process, with durability dev because tests do not
// wait for disks, and closes it at the end of the test. Each edit may change
// the configuration first. A test that fails shows the log of its bus.
func New(t testing.TB, edits ...func(*bus.Config)) *bus.Bus {
	t.Helper()
	log := &journal{}
	cfg := bus.Config{
		Log:        zerolog.New(log),
		Addr:       "-",
		Durability: bus.Dev,
		Name:       "bustest",
	}
	for _, edit := range edits {
		edit(&cfg)
	}
	if cfg.Dir == "" && cfg.URL == "" {
		cfg.Dir = t.TempDir()
	}
	t.Cleanup(func() { log.show(t) })
	b, err := bus.Open(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { Close(t, b) })
	return b
}

// Listen lets the server take connections on any free port of this machine,
// see [bus.Bus.ClientURL].
func Listen(cfg *bus.Config) { cfg.Addr = "127.0.0.1:0" }

// Secure closes the server to whoever has no key, see [bus.Bus.As] and
// [bus.Bus.AddUser].
func Secure(cfg *bus.Config) { cfg.Secure = true }

// Dir makes the store stand in dir. After [Close], New on the same directory
// is the same bus started again.
func Dir(dir string) func(*bus.Config) {
	return func(cfg *bus.Config) { cfg.Dir = dir }
}

// Close closes b now rather than at the end of the test, and fails the test if
// it hangs or cannot be closed.
func Close(t testing.TB, b *bus.Bus) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), closePatience)
	defer cancel()
	if err := b.Close(ctx); err != nil {
		t.Error(err)
	}
}

// journal keeps the first part of the log of a test until it is known whether
// anybody wants to see it.
type journal struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (j *journal) Write(p []byte) (int, error) {
	const limit = 64 << 10
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.text.Len() < limit {
		j.text.Write(p)
	}
	return len(p), nil
}

func (j *journal) show(t testing.TB) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if t.Failed() && j.text.Len() > 0 {
		t.Logf("bus log:\n%s", j.text.String())
	}
}
