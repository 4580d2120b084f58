package bus_test

import (
	"context"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/plugfn/plugfn/internal/bus"
	"github.com/plugfn/plugfn/internal/bus/bustest"
	"github.com/plugfn/plugfn/pkg/events"
)

func as(t *testing.T, b *bus.Bus, role bus.Role) *bus.Bus {
	t.Helper()
	guest, err := b.As(t.Context(), role)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { bustest.Close(t, guest) })
	return guest
}

// TestAsEachRole connects in all roles, to each kind of server.
func TestAsEachRole(t *testing.T) {
	dir := t.TempDir()
	closed := newClosed(t, bustest.Dir(dir))
	for name, b := range map[string]*bus.Bus{
		"open":           bustest.New(t),
		"closed":         closed,
		"outside open":   bustest.New(t, func(c *bus.Config) { c.URL = bustest.New(t, bustest.Listen).ClientURL() }),
		"outside closed": bustest.New(t, func(c *bus.Config) { c.URL, c.NKey = closed.ClientURL(), filepath.Join(dir, "nkeys") }),
	} {
		for _, role := range bus.Roles() {
			guest := as(t, b, role)
			if err := guest.Ready(t.Context()); err != nil {
				t.Errorf("%s: %s: %v", name, role, err)
			}
			if inbox := guest.Conn().NewInbox(); !strings.HasPrefix(inbox, "_PLUGFN_INBOX."+string(role)+".") {
				t.Errorf("%s: %s: inbox %q", name, role, inbox)
			}
			if guest.Role() != role || guest.Embedded() != b.Embedded() || guest.ClientURL() != b.ClientURL() || guest.Faults() != 0 {
				t.Errorf("%s: %s: role %s, embedded %v, url %q, %d faults", name, role, guest.Role(), guest.Embedded(), guest.ClientURL(), guest.Faults())
			}
		}
	}
}

// TestRolesPark parks and unparks as the services do.
func TestRolesPark(t *testing.T) {
	b := newClosed(t)
	e, s := as(t, b, executor), as(t, b, scheduler)
	park(t, e, parked("a", time.Now().Add(time.Hour)))
	park(t, s, parked("b", time.Now().Add(time.Hour)))
	for _, id := range []string{"a", "b"} {
		if err := s.Unpark(t.Context(), bus.KindAction, "u1", id); err != nil {
			t.Error(err)
		}
	}
	if err := s.Moved(t.Context(), 1); err != nil { // it is gone
		t.Error(err)
	}
	if n := info(t, b, events.StreamLater).State.Msgs; n != 0 || e.Faults()+s.Faults() != 0 {
		t.Errorf("%d messages, %d and %d faults", n, e.Faults(), s.Faults())
	}
}

// TestCloseOfAGuest ends one connection and nothing else.
func TestCloseOfAGuest(t *testing.T) {
	b := newClosed(t)
	guest := as(t, b, ingress)
	other := as(t, b, ingress)
	bustest.Close(t, guest)
	wantError(t, guest.Ready(t.Context()), "CLOSED")
	for _, open := range []*bus.Bus{b, other} {
		if err := open.Ready(t.Context()); err != nil {
			t.Error(err)
		}
	}
	publish(t, other, "plugfn.event.u1.p.e", nil)
}

// TestRoleDeclaresNothing starts a role before there are streams.
func TestRoleDeclaresNothing(t *testing.T) {
	t.Parallel() // it waits
	b := bustest.New(t, bustest.Listen)
	if err := b.JetStream().DeleteStream(t.Context(), events.StreamResults); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	_, err := bus.Open(ctx, bus.Config{URL: b.ClientURL(), Role: executor})
	wantError(t, err, "streams are missing", "PLUGFN_RESULTS", "plugfn serve", "plugfn stream apply")

	opened := make(chan error)
	go func() { opened <- open(t, bus.Config{URL: b.ClientURL(), Role: executor}) }() // and waits
	if err := open(t, bus.Config{URL: b.ClientURL(), Role: ingress}); err != nil {
		t.Errorf("what another role needs is missing: %v", err)
	}
	if err := b.Declare(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := <-opened; err != nil {
		t.Error(err)
	}
}

// TestWrongKey opens with the key of another role.
func TestWrongKey(t *testing.T) {
	t.Parallel() // a refusal shows as a time-out
	dir := t.TempDir()
	b := newClosed(t, bustest.Dir(dir))
	err := open(t, bus.Config{URL: b.ClientURL(), NKey: filepath.Join(dir, "nkeys", "ingress.nk"), Role: executor})
	wantError(t, err, "Permissions Violation", "_PLUGFN_INBOX.executor", "role executor")
	err = open(t, bus.Config{URL: b.ClientURL(), NKey: filepath.Join(dir, "nkeys", "ingress.nk")})
	wantError(t, err, "Permissions Violation", "role admin")
	wantError(t, open(t, bus.Config{URL: b.ClientURL()}), "Authorization Violation")
	wantError(t, open(t, bus.Config{URL: b.ClientURL(), NKey: t.TempDir()}), "admin.nk")
	if err := open(t, bus.Config{URL: b.ClientURL(), NKey: filepath.Join(dir, "nkeys", "ingress.nk"), Role: ingress}); err != nil {
		t.Error(err)
	}
}
