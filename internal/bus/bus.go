package bus

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// Bus is an open bus. It is safe for concurrent use.
type Bus struct {
	cfg     Config
	server  *embedded // nil: the server is outside
	guest   bool      // the server belongs to another Bus
	conn    *nats.Conn
	js      jetstream.JetStream
	version atomic.Value // string
	faults  atomic.Uint64
	refusal atomic.Pointer[error] // the last refused permission
	later   gauge
	parked  atomic.Pointer[jetstream.Stream] // that of parked messages; nil until it was needed

	settled  atomic.Bool           // what the role uses is known to be there
	obstacle atomic.Pointer[error] // why it is not

	unfollow func() // ends the goroutine that learns who may connect; nil: there is none

	gone     chan struct{} // closed once conn is closed for good
	closing  sync.Once
	closed   chan struct{} // closed once closeErr is set and nothing runs any more
	closeErr error
}

// Open starts the embedded server or connects to the one of cfg.URL, and
// declares the streams and buckets of the wire contract there. An unreachable
// server is an error after ten seconds or when ctx ends.
//
// The caller closes the bus. ctx is for opening only.
func Open(ctx context.Context, cfg Config) (*Bus, error) {
	cfg, err := cfg.checked()
	if err != nil {
		return nil, fmt.Errorf("opening bus: %w", err)
	}
	b := newBus(cfg)
	began := time.Now()
	if err := b.open(ctx); err != nil {
		return nil, fmt.Errorf("opening bus: %w", errors.Join(err, b.abort()))
	}
	b.logOpen(time.Since(began))
	return b, nil
}

func newBus(cfg Config) *Bus {
	return &Bus{cfg: cfg, gone: make(chan struct{}), closed: make(chan struct{})}
}

func (b *Bus) open(ctx context.Context) (err error) {
	if b.cfg.URL == "" && !b.guest {
		if b.server, err = startServer(b.cfg); err != nil {
			return err
		}
	}
	if err := b.connect(ctx); err != nil {
		return err
	}
	if b.isAway() {
		return nil
	}
	return b.settle(ctx)
}

// settle makes sure that the server is one that will do, and that what the role
// uses is there.
func (b *Bus) settle(ctx context.Context) error {
	if err := b.checkServer(ctx); err != nil {
		return err
	}
	if err := b.prepare(ctx); err != nil {
		return err
	}
	b.settled.Store(true)
	return nil
}

// prepare declares what is stored, or looks whether it is there.
func (b *Bus) prepare(ctx context.Context) error {
	if b.guest || b.cfg.Role != RoleAdmin {
		return patiently(ctx, b.passing, func() error { return b.verify(ctx) })
	}
	if err := patiently(ctx, b.passing, func() error { return b.Declare(ctx) }); err != nil {
		return err
	}
	if b.cfg.Secure {
		return b.followUsers(ctx)
	}
	return nil
}

func (b *Bus) logOpen(took time.Duration) {
	if !b.settled.Load() {
		b.cfg.Log.Warn().Str("role", string(b.cfg.Role)).Msg("bus away: not reached yet")
		return
	}
	e := b.cfg.Log.Info().
		Stringer("durability", b.cfg.Durability).
		Str("promise", b.Promise()).
		Str("access", b.Access()).
		Str("version", b.ServerVersion()).
		Bool("embedded", b.Embedded()).
		Dur("took", took)
	if b.Embedded() {
		e = e.Str("dir", b.cfg.Dir).Str("url", b.ClientURL())
	} else {
		e = e.Str("url", b.conn.ConnectedUrlRedacted())
	}
	e.Msg("bus open")
	b.logRisks()
}

// logRisks warns of settings that are legal and seldom meant.
func (b *Bus) logRisks() {
	if b.Embedded() && b.server.isPublic() && !b.cfg.Secure {
		b.cfg.Log.Warn().Str("addr", b.cfg.Addr).Bool("authentication", false).Msg("bus open to other machines")
	}
	cluster := b.conn.ConnectedClusterName()
	if !b.Embedded() && b.cfg.Durability.Replicas() == 1 && cluster != "" {
		b.cfg.Log.Warn().Stringer("durability", b.cfg.Durability).Int("replicas", 1).
			Str("cluster", cluster).Stringer("better", HA).Msg("bus keeps one copy on a cluster")
	}
}

// Conn is the connection. It reconnects for ever; what is published while it
// is away fails at once.
func (b *Bus) Conn() *nats.Conn { return b.conn }

// JetStream is the stored side of the connection.
func (b *Bus) JetStream() jetstream.JetStream { return b.js }

// Durability is the mode that the bus was opened with.
func (b *Bus) Durability() Durability { return b.cfg.Durability }

// Promise says in one line what an acknowledged message survives on this bus.
func (b *Bus) Promise() string {
	promise := b.cfg.Durability.Describe()
	if b.cfg.Durability == Single && !b.Embedded() {
		promise += "; if the server runs with sync_interval: always"
	}
	return promise
}

// Embedded reports whether the server runs in this process.
func (b *Bus) Embedded() bool { return b.server != nil }

// ClientURL is where other programs reach the embedded server. It is empty if
// the server does not listen or is not embedded.
func (b *Bus) ClientURL() string {
	if b.server == nil {
		return ""
	}
	return b.server.url()
}

// ServerVersion is the version of the server as it was when the bus was opened,
// "" while it was never reached.
func (b *Bus) ServerVersion() string {
	version, _ := b.version.Load().(string)
	return version
}

// Faults counts the errors since Open that no call returned, such as a refused
// permission or a reader that was too slow. Each is in the log.
func (b *Bus) Faults() uint64 { return b.faults.Load() }

// Ready says why the bus cannot be used now: the connection is away, or a
// stream that the role uses is missing or without a leader. nil: it can.
func (b *Bus) Ready(ctx context.Context) error {
	if err := b.connected(); err != nil {
		return err
	}
	for _, name := range b.cfg.Role.grants().streams {
		if _, err := b.js.Stream(ctx, name); err != nil {
			return fmt.Errorf("asking for stream %s: %w", name, err)
		}
	}
	return nil
}

// Close lets readers finish with the messages they have, then ends the
// connection and, unless b is one of [Bus.As], the embedded server, and unlocks
// its directory. It may be called more than once; each call waits for the same
// end.
//
// When ctx ends first, Close cuts the connection and returns an error, and the
// rest ends without being waited for. A ctx that has ended already therefore
// means: do not drain.
func (b *Bus) Close(ctx context.Context) error {
	b.closing.Do(func() { go b.shutdown() })
	select {
	case <-b.closed:
		return b.closeErr
	case <-ctx.Done():
		b.conn.Close()
		return fmt.Errorf("closing bus: %w", ctx.Err())
	}
}

func (b *Bus) shutdown() {
	defer close(b.closed)
	b.stopFollowing()
	if err := b.conn.Drain(); err != nil {
		b.conn.Close() // it is not connected: nothing to drain
	}
	<-b.gone
	b.closeErr = b.stopServer()
}

func (b *Bus) stopFollowing() {
	if b.unfollow != nil {
		b.unfollow()
	}
}

// abort undoes a failed open.
func (b *Bus) abort() error {
	b.stopFollowing()
	if b.conn != nil {
		b.conn.Close()
		<-b.gone
	}
	return b.stopServer()
}

func (b *Bus) stopServer() error {
	if b.server == nil || b.guest {
		return nil
	}
	if err := b.server.stop(); err != nil {
		return fmt.Errorf("closing bus: %w", err)
	}
	return nil
}
