package bus

import (
	"context"
	"errors"
	"fmt"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/rs/zerolog"
)

// The stream of a [Spool] and what begins its subjects.
const (
	StreamSpool = "PLUGFN_SPOOL"
	PrefixSpool = "plugfn.spool."
)

// spoolPayload is the longest message of a spool. There, data that is too long
// for the bus is not cut into pieces.
const spoolPayload = 28 << 20

// SpoolConfig says where a spool is.
type SpoolConfig struct {
	Log zerolog.Logger // zero: no log
	// Dir is made if it does not exist, and belongs to one process at a time.
	Dir string
	// MaxBytes is the size up to which the spool takes messages; a full one
	// refuses. 0: 1 GiB.
	MaxBytes int64
}

// Spool is a store of messages on the disk of this machine, for the time in
// which the bus is away: a NATS server in this process which nobody else
// reaches, with one stream ([StreamSpool]). It syncs every write before it
// acknowledges it.
type Spool struct {
	server *embedded
	conn   *nats.Conn
	js     jetstream.JetStream
}

// OpenSpool opens the spool of a directory, with what it still has. The caller
// closes it. ctx is for opening only.
func OpenSpool(ctx context.Context, cfg SpoolConfig) (*Spool, error) {
	s, err := openSpool(ctx, cfg)
	if err != nil {
		return nil, fmt.Errorf("opening the spool %s: %w", cfg.Dir, err)
	}
	return s, nil
}

func openSpool(ctx context.Context, cfg SpoolConfig) (s *Spool, err error) {
	local, err := Config{Log: cfg.Log, Dir: cfg.Dir, Addr: "-", Name: "plugfn-spool", MaxBytes: cfg.MaxBytes, payload: spoolPayload}.checked()
	if err != nil {
		return nil, err
	}
	s = &Spool{}
	if s.server, err = startServer(local); err != nil {
		return nil, err
	}
	if err := s.open(ctx, local.MaxBytes); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return s, nil
}

func (s *Spool) open(ctx context.Context, maxBytes int64) (err error) {
	if s.conn, err = nats.Connect("", nats.InProcessServer(s.server.Server), nats.Name("plugfn-spool")); err != nil {
		return err
	}
	if s.js, err = jetstream.New(s.conn); err != nil {
		return err
	}
	_, err = s.js.CreateOrUpdateStream(ctx, jetstream.StreamConfig{
		Name:               StreamSpool,
		Subjects:           []string{PrefixSpool + ">"},
		Storage:            jetstream.FileStorage,
		MaxBytes:           maxBytes,
		Discard:            jetstream.DiscardNew,
		Duplicates:         DedupeWindow,
		AllowAtomicPublish: true,
		AllowDirect:        true,
	})
	return err
}

// JetStream reaches the spool.
func (s *Spool) JetStream() jetstream.JetStream { return s.js }

// SpoolSize is how much a spool has, and how much it takes.
type SpoolSize struct {
	Messages        uint64
	Bytes, MaxBytes int64
}

// Size returns how much there is in the spool.
func (s *Spool) Size(ctx context.Context) (SpoolSize, error) {
	stream, err := s.js.Stream(ctx, StreamSpool)
	if err != nil {
		return SpoolSize{}, fmt.Errorf("asking the spool for its size: %w", err)
	}
	info := stream.CachedInfo()
	return SpoolSize{info.State.Msgs, int64(info.State.Bytes), info.Config.MaxBytes}, nil
}

// Close ends the server and unlocks the directory. What the spool has stays
// there.
func (s *Spool) Close() error {
	if s.conn != nil {
		s.conn.Close()
	}
	if err := s.server.stop(); err != nil {
		return fmt.Errorf("closing the spool: %w", err)
	}
	return nil
}
