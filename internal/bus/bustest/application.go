package bustest

import (
	"testing"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nkeys"

	"github.com/plugfn/plugfn/internal/bus"
)

// Application adds a user to a bus that is [Secure] and connects as him, as an
// application does, until the end of the test.
func Application(t testing.TB, b *bus.Bus, user string) *nats.Conn {
	t.Helper()
	c, err := b.AddUser(t.Context(), user)
	if err != nil {
		t.Fatal(err)
	}
	pair, err := nkeys.FromSeed(c.Seed())
	if err != nil {
		t.Fatal(err)
	}
	conn, err := nats.Connect(b.ClientURL(), nats.Nkey(c.Key, pair.Sign), nats.CustomInboxPrefix(c.InboxPrefix()),
		nats.ErrorHandler(func(*nats.Conn, *nats.Subscription, error) {})) // what is refused is part of tests
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(conn.Close)
	return conn
}
