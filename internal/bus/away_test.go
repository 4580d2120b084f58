package bus_test

import (
	"strings"
	"testing"
	"time"

	"github.com/plugfn/plugfn/internal/bus"
	"github.com/plugfn/plugfn/internal/bus/bustest"
	"github.com/plugfn/plugfn/pkg/events"
)

// A bus that is away when it is opened is of use once its server runs, and its
// guests with it.
func TestOpenWithoutTheServer(t *testing.T) {
	first := bustest.New(t, bustest.Listen) // to find a port
	url := first.ClientURL()
	bustest.Close(t, first)
	b := bustest.New(t, func(c *bus.Config) { c.URL, c.MayBeAway = url, true })
	guest, err := b.As(t.Context(), bus.RoleIngress)
	if err != nil {
		t.Fatal(err)
	}
	defer bustest.Close(t, guest)
	for _, b := range []*bus.Bus{b, guest} {
		if err := b.Ready(t.Context()); err == nil || !strings.Contains(err.Error(), "not reached") {
			t.Errorf("%s: ready: %v", b.Role(), err)
		}
		if b.ServerVersion() != "" || !strings.HasPrefix(b.Access(), "not known") {
			t.Errorf("version %q, access %q", b.ServerVersion(), b.Access())
		}
	}
	settled := make(chan struct{})
	go func() {
		defer close(settled)
		b.Settle(t.Context())
		guest.Settle(t.Context())
	}()
	bustest.New(t, func(c *bus.Config) { c.Addr = strings.TrimPrefix(url, "nats://") })
	select {
	case <-settled:
	case <-time.After(20 * time.Second):
		t.Fatal("not settled")
	}
	for _, b := range []*bus.Bus{b, guest} {
		if err := b.Ready(t.Context()); err != nil || b.ServerVersion() == "" {
			t.Errorf("%s: %v, version %q", b.Role(), err, b.ServerVersion())
		}
	}
	if _, err := guest.JetStream().Publish(t.Context(), events.EventSubject("u1", "p", "e"), nil); err != nil {
		t.Error(err)
	}
}
