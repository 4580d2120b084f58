package bustest_test

import (
	"testing"

	"github.com/nats-io/nats.go"
	"go.uber.org/goleak"

	"github.com/plugfn/plugfn/internal/bus"
	"github.com/plugfn/plugfn/internal/bus/bustest"
	"github.com/plugfn/plugfn/pkg/events"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// TestNew has two buses side by side that do not see each other.
func TestNew(t *testing.T) {
	a, b := bustest.New(t), bustest.New(t)
	if _, err := a.JetStream().Publish(t.Context(), "plugfn.event.u1.p.e", nil); err != nil {
		t.Fatal(err)
	}
	if n := messages(t, b); n != 0 {
		t.Errorf("%d messages on the other bus", n)
	}
}

func TestRestart(t *testing.T) {
	dir := t.TempDir()
	b := bustest.New(t, bustest.Dir(dir))
	if _, err := b.JetStream().Publish(t.Context(), "plugfn.event.u1.p.e", nil); err != nil {
		t.Fatal(err)
	}
	bustest.Close(t, b)
	if n := messages(t, bustest.New(t, bustest.Dir(dir))); n != 1 {
		t.Errorf("%d messages after a restart, want 1", n)
	}
}

func TestListen(t *testing.T) {
	conn, err := nats.Connect(bustest.New(t, bustest.Listen).ClientURL())
	if err != nil {
		t.Fatal(err)
	}
	conn.Close()
}

func messages(t *testing.T, b *bus.Bus) uint64 {
	t.Helper()
	s, err := b.JetStream().Stream(t.Context(), events.StreamEvents)
	if err != nil {
		t.Fatal(err)
	}
	return s.CachedInfo().State.Msgs
}
