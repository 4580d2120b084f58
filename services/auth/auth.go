package auth

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/rs/zerolog"

	"github.com/plugfn/plugfn/pkg/events"
	"github.com/plugfn/plugfn/pkg/providers"
)

// openTimeout bounds what New asks of the bus.
const openTimeout = 10 * time.Second

// Config holds what a Service needs. All fields but Log and Now must be set.
type Config struct {
	Conn      *nats.Conn
	JetStream jetstream.JetStream
	Providers *providers.Registry
	Keys      *Keys
	APIKey    providers.Secret // what callers of the HTTP API show
	Log       zerolog.Logger
	Now       func() time.Time // nil: time.Now
}

// Service keeps connections. Several may run on one bus, with one encryption
// key. It is safe for concurrent use.
type Service struct {
	conn   *nats.Conn
	apiKey providers.Secret
	log    zerolog.Logger
	store  *store
}

// New checks cfg, finds the bucket of connections and returns a Service that
// does nothing until Run and Mount.
func New(cfg Config) (*Service, error) {
	if err := cfg.check(); err != nil {
		return nil, err
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	ctx, cancel := context.WithTimeout(context.Background(), openTimeout)
	defer cancel()
	kv, err := cfg.JetStream.KeyValue(ctx, events.BucketConnections)
	if err != nil {
		return nil, fmt.Errorf("auth: opening bucket %s: %w", events.BucketConnections, err)
	}
	return &Service{
		conn:   cfg.Conn,
		apiKey: cfg.APIKey,
		log:    cfg.Log,
		store: &store{
			kv:        kv,
			js:        cfg.JetStream,
			providers: cfg.Providers,
			keys:      cfg.Keys,
			log:       cfg.Log,
			now:       cfg.Now,
		},
	}, nil
}

func (cfg *Config) check() error {
	switch {
	case cfg.Conn == nil || cfg.JetStream == nil:
		return errors.New("auth: Conn and JetStream are needed")
	case cfg.Providers == nil:
		return errors.New("auth: Providers is needed")
	case cfg.Keys == nil || cfg.Keys.primitive == nil:
		return errors.New("auth: Keys is needed: see OpenKeys")
	case cfg.APIKey.IsZero():
		return errors.New("auth: APIKey is empty: without one, anybody could read and delete connections")
	case !fitsHeader(cfg.APIKey):
		return errors.New("auth: APIKey holds a space, a line break or another byte that no Authorization header can carry")
	}
	return nil
}

func fitsHeader(key providers.Secret) bool {
	text := key.Reveal()
	defer clear(text)
	return !bytes.ContainsFunc(text, func(c rune) bool { return c <= ' ' || c > '~' })
}
