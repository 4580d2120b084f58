package bus

import (
	"context"
	"errors"
	"fmt"

	"github.com/nats-io/nats.go"
)

// As connects once more to the same server, in a role. The connection may do
// what the role may and no more, where the server asks who connects: the
// embedded one with Config.Secure, or one outside if Config.NKey is a directory
// with a key for each role. On an open server it is a connection like any other.
//
// It declares nothing: what the role uses must be there. The caller closes it,
// before b; that ends the connection only.
func (b *Bus) As(ctx context.Context, role Role) (*Bus, error) {
	if err := role.check(); err != nil {
		return nil, fmt.Errorf("connecting to the bus: %w", err)
	}
	cfg := b.cfg
	cfg.Role = role
	guest := newBus(cfg)
	guest.server, guest.guest = b.server, true
	if err := guest.open(ctx); err != nil {
		return nil, fmt.Errorf("connecting to the bus as %s: %w", role, errors.Join(err, guest.abort()))
	}
	cfg.Log.Debug().Str("role", string(role)).Msg("bus connected")
	return guest, nil
}

// Role is what the connection is for.
func (b *Bus) Role() Role { return b.cfg.Role }

// Access says in one line who may do what on this bus.
func (b *Bus) Access() string {
	switch {
	case !b.settled.Load():
		return "not known: the bus is not reached yet"
	case b.Embedded() && b.cfg.Secure:
		return "closed: a key for each role, and " + count(len(b.server.gate.names()), "user")
	case b.Embedded() && !b.server.listens():
		return "open: to this process only"
	case b.Embedded() && b.server.isPublic():
		return "open: whoever reaches this machine may do anything"
	case b.Embedded():
		return "open: every program on this machine may do anything"
	case b.conn.AuthRequired():
		return "closed: the server's own configuration says who may do what"
	default:
		return "open: whoever reaches the server may do anything"
	}
}

func count(n int, what string) string {
	if n != 1 {
		what += "s"
	}
	return fmt.Sprintf("%d %s", n, what)
}

// Application connects as an application does: to the embedded server within this
// process, or to that of the configuration, with none of our own credentials. On
// a bus that asks who connects, options have the application's. The caller closes
// the connection, before b.
func (b *Bus) Application(options ...nats.Option) (*nats.Conn, error) {
	if b.server != nil {
		return nats.Connect("", append(options, nats.InProcessServer(b.server.Server))...)
	}
	return nats.Connect(b.cfg.URL, options...)
}
