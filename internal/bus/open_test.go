package bus_test

import (
	"context"
	"fmt"
	"net"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/rs/zerolog"

	"github.com/plugfn/plugfn/internal/bus"
	"github.com/plugfn/plugfn/internal/bus/bustest"
	"github.com/plugfn/plugfn/pkg/events"
)

// background is for what outlives the context of a test: closing.
var background = context.Background()

func publish(t *testing.T, b *bus.Bus, subject string, data []byte) {
	t.Helper()
	if _, err := b.JetStream().Publish(t.Context(), subject, data); err != nil {
		t.Fatal(err)
	}
}

func info(t *testing.T, b *bus.Bus, stream string) *jetstream.StreamInfo {
	t.Helper()
	s, err := b.JetStream().Stream(t.Context(), stream)
	if err != nil {
		t.Fatal(err)
	}
	return s.CachedInfo()
}

// wantError asserts that err holds each of the texts.
func wantError(t *testing.T, err error, texts ...string) {
	t.Helper()
	if err == nil {
		t.Fatalf("no error, want one with %q", texts)
	}
	for _, text := range texts {
		if !strings.Contains(err.Error(), text) {
			t.Errorf("error %q does not say %q", err, text)
		}
	}
}

func TestOpenEmbedded(t *testing.T) {
	b := bustest.New(t)
	if err := b.Ready(t.Context()); err != nil {
		t.Error(err)
	}
	if !b.Embedded() || b.ClientURL() != "" || b.Durability() != bus.Dev {
		t.Errorf("embedded %v, url %q, durability %s", b.Embedded(), b.ClientURL(), b.Durability())
	}
	if b.ServerVersion() != b.Conn().ConnectedServerVersion() {
		t.Errorf("version %q, want %q", b.ServerVersion(), b.Conn().ConnectedServerVersion())
	}
	if inbox := b.Conn().NewInbox(); strings.HasPrefix(inbox, events.InboxPrefix) {
		t.Errorf("inbox %q could be named in %s", inbox, events.HeaderReply)
	}
	if b.Promise() != bus.Dev.Describe() {
		t.Errorf("promise %q", b.Promise())
	}
	if b.Faults() != 0 {
		t.Errorf("%d faults", b.Faults())
	}
}

// TestOpenShared is two processes as production has them: one holds the
// server, the other connects to it.
func TestOpenShared(t *testing.T) {
	owner := bustest.New(t, bustest.Listen)
	guest := bustest.New(t, func(c *bus.Config) { c.URL, c.Durability = owner.ClientURL(), "" })
	if guest.Embedded() || guest.ClientURL() != "" {
		t.Errorf("embedded %v, url %q", guest.Embedded(), guest.ClientURL())
	}
	if guest.Durability() != bus.Single || !strings.Contains(guest.Promise(), "if the server runs with sync_interval: always") {
		t.Errorf("durability %s promises %q: nobody knows how a server outside writes", guest.Durability(), guest.Promise())
	}
	publish(t, guest, "plugfn.event.u1.github.push", []byte("hi"))
	if n := info(t, owner, events.StreamEvents).State.Msgs; n != 1 {
		t.Errorf("owner sees %d messages, want 1", n)
	}
}

// TestOpenToOthers listens on every address of this machine.
func TestOpenToOthers(t *testing.T) {
	for addr, public := range map[string]bool{"0.0.0.0:0": true, "127.0.0.1:0": false, "-": false} {
		var log lockedBuffer
		b := bustest.New(t, func(c *bus.Config) { c.Addr, c.Log = addr, zerolog.New(&log) })
		if public && !strings.HasPrefix(b.ClientURL(), "nats://127.0.0.1:") {
			t.Errorf("%s: url %q", addr, b.ClientURL())
		}
		if warned := strings.Contains(log.String(), `"authentication":false`); warned != public {
			t.Errorf("%s: warned %v, want %v:\n%s", addr, warned, public, log.String())
		}
	}
}

func TestRestartKeepsMessages(t *testing.T) {
	for _, d := range []bus.Durability{bus.Dev, bus.Single} {
		t.Run(d.String(), func(t *testing.T) {
			mode := func(c *bus.Config) { c.Durability = d }
			dir := t.TempDir()
			b := bustest.New(t, bustest.Dir(dir), mode)
			publish(t, b, "plugfn.event.u1.github.push", []byte("hi"))
			bustest.Close(t, b)
			b = bustest.New(t, bustest.Dir(dir), mode)
			if n := info(t, b, events.StreamEvents).State.Msgs; n != 1 {
				t.Errorf("%d messages, want 1", n)
			}
		})
	}
}

// TestKilled kills the process that holds a store: nobody else gets in while
// it lives, nothing is lost and nothing stays locked when it is gone.
func TestKilled(t *testing.T) {
	for _, d := range []bus.Durability{bus.Dev, bus.Single} {
		t.Run(d.String(), func(t *testing.T) {
			dir := t.TempDir()
			child := startChild(t, dir, d)
			_, err := bus.Open(t.Context(), bus.Config{Dir: dir, Addr: "-"})
			wantError(t, err, dir, "in use by process "+strconv.Itoa(child.Process.Pid))

			kill(child)
			b := bustest.New(t, bustest.Dir(dir))
			if n := info(t, b, events.StreamActions).State.Msgs; n != childMessages {
				t.Errorf("%d messages, want %d", n, childMessages)
			}
		})
	}
}

func TestOpenTwiceInOneProcess(t *testing.T) {
	dir := t.TempDir()
	bustest.New(t, bustest.Dir(dir))
	_, err := bus.Open(t.Context(), bus.Config{Dir: dir, Addr: "-"})
	wantError(t, err, "opening bus: data directory "+dir, "name another directory")
}

func TestOpenPortInUse(t *testing.T) {
	t.Run("by a NATS server", func(t *testing.T) {
		addr := strings.TrimPrefix(bustest.New(t, bustest.Listen).ClientURL(), "nats://")
		_, err := bus.Open(t.Context(), bus.Config{Dir: t.TempDir(), Addr: addr})
		wantError(t, err, addr, "a NATS server (version 2.", "PLUGFN_NATS_URL", "PLUGFN_NATS_ADDR")
	})
	t.Run("by another program", func(t *testing.T) {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		_, err = bus.Open(t.Context(), bus.Config{Dir: t.TempDir(), Addr: l.Addr().String()})
		wantError(t, err, l.Addr().String(), "another program", "PLUGFN_NATS_ADDR")
	})
	t.Run("and the directory is free again", func(t *testing.T) {
		owner, dir := bustest.New(t, bustest.Listen), t.TempDir()
		addr := strings.TrimPrefix(owner.ClientURL(), "nats://")
		if _, err := bus.Open(t.Context(), bus.Config{Dir: dir, Addr: addr}); err == nil {
			t.Fatal("two servers on one port")
		}
		bustest.New(t, bustest.Dir(dir))
	})
	t.Run("an address of another machine", func(t *testing.T) {
		_, err := bus.Open(t.Context(), bus.Config{Dir: t.TempDir(), Addr: "192.0.2.1:4222"})
		wantError(t, err, "listening on 192.0.2.1:4222", "PLUGFN_NATS_ADDR")
	})
}

func TestOpenUnusableDirectory(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	writeFile(t, file, "")
	_, err := bus.Open(t.Context(), bus.Config{Dir: file, Addr: "-"})
	wantError(t, err, "making the data directory", file)
}

func TestReadyNamesWhatIsMissing(t *testing.T) {
	b := bustest.New(t)
	if err := b.JetStream().DeleteStream(t.Context(), events.StreamRuns); err != nil {
		t.Fatal(err)
	}
	wantError(t, b.Ready(t.Context()), events.StreamRuns)
	if err := b.Declare(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := b.Ready(t.Context()); err != nil {
		t.Error(err)
	}
	bustest.Close(t, b)
	wantError(t, b.Ready(t.Context()), "CLOSED")
}

func TestClose(t *testing.T) {
	t.Run("drains what is under way", func(t *testing.T) {
		b := bustest.New(t)
		started, answer := make(chan struct{}), make(chan struct{})
		_, err := b.Conn().Subscribe("question", func(m *nats.Msg) {
			close(started)
			<-answer
			publishInHandler(t, b)
		})
		if err != nil {
			t.Fatal(err)
		}
		if err := b.Conn().Publish("question", nil); err != nil {
			t.Fatal(err)
		}
		<-started
		done := make(chan struct{})
		go func() { defer close(done); bustest.Close(t, b) }()
		close(answer)
		<-done
	})
	t.Run("ends when its context does", func(t *testing.T) {
		b := bustest.New(t)
		release := make(chan struct{})
		started := make(chan struct{})
		_, err := b.Conn().Subscribe("stuck", func(*nats.Msg) { close(started); <-release })
		if err != nil {
			t.Fatal(err)
		}
		if err := b.Conn().Publish("stuck", nil); err != nil {
			t.Fatal(err)
		}
		<-started
		ctx, cancel := context.WithCancel(background)
		cancel()
		wantError(t, b.Close(ctx), "closing bus", "canceled")
		close(release)
		bustest.Close(t, b) // waits for the end of the first
	})
	t.Run("at once by many", func(t *testing.T) {
		b := bustest.New(t)
		errs := make(chan error)
		for range 8 {
			go func() { errs <- b.Close(background) }()
		}
		for range 8 {
			if err := <-errs; err != nil {
				t.Error(err)
			}
		}
	})
}

// publishInHandler publishes while the bus is closing: what is under way may
// still be finished.
func publishInHandler(t *testing.T, b *bus.Bus) {
	if _, err := b.JetStream().Publish(background, "plugfn.event.u1.github.push", nil); err != nil {
		t.Error(err)
	}
}

func TestOpenLargeStore(t *testing.T) {
	dir := t.TempDir()
	b := bustest.New(t, bustest.Dir(dir))
	const n = 10_000
	for i := range n {
		if _, err := b.JetStream().PublishAsync(fmt.Sprintf("plugfn.action.u%d.p.a", i%100), make([]byte, 512), jetstream.WithStallWait(10*time.Second)); err != nil {
			t.Fatal(err)
		}
	}
	<-b.JetStream().PublishAsyncComplete()
	bustest.Close(t, b)
	b = bustest.New(t, bustest.Dir(dir))
	if got := info(t, b, events.StreamActions).State.Msgs; got != n {
		t.Errorf("%d messages, want %d", got, n)
	}
}
