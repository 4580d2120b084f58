package workflows

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/rs/zerolog"

	"github.com/plugfn/plugfn/internal/bus"
	"github.com/plugfn/plugfn/pkg/events"
	"github.com/plugfn/plugfn/pkg/providers"
	"github.com/plugfn/plugfn/pkg/workflow"
	"github.com/plugfn/plugfn/services/scheduler/upkeep"
)

// Schedules keeps the schedules of triggers.
type Schedules interface {
	// Keep has the trigger of a workflow fire as t says, and does nothing where it
	// does.
	Keep(ctx context.Context, user, name string, t workflow.Schedule) error
	// Drop takes it away, if there is one.
	Drop(ctx context.Context, user, name string) error
	// Kept calls visit for each that there is.
	Kept(ctx context.Context, visit func(user, name string)) error
}

// Config holds what a Service needs. Conn, JetStream and Providers must be set,
// and APIKey for HTTP.
type Config struct {
	Conn      *nats.Conn
	JetStream jetstream.JetStream
	Providers *providers.Registry
	Schedules Schedules        // nil: workflows with a schedule are not started by it
	APIKey    providers.Secret // zero: no HTTP request is let through
	Log       zerolog.Logger

	MaxPerUser  int              // workflows of one user; 0: 200
	MaxVersions int              // of one workflow that are listed; 0: 100
	MaxCompiled int              // versions that are kept compiled; 0: 2,000
	LookEvery   time.Duration    // from one look for what is left of changes that broke off to the next; 0: 5 min
	Now         func() time.Time // nil: time.Now
}

// Service keeps workflows. Several may run on one bus.
type Service struct {
	Config
	store   atomic.Pointer[store] // nil until it was needed
	index   *index
	mirror  *bus.Mirror
	cache   *cache
	looking *upkeep.Upkeep
}

// New checks cfg and returns a Service that does nothing until Run.
func New(cfg Config) (*Service, error) {
	if cfg.Conn == nil || cfg.JetStream == nil || cfg.Providers == nil {
		return nil, errors.New("workflows: Conn, JetStream and Providers are needed")
	}
	for _, n := range []struct {
		value  *int
		unless int
	}{{&cfg.MaxPerUser, 200}, {&cfg.MaxVersions, 100}, {&cfg.MaxCompiled, 2000}} {
		if *n.value < 0 {
			return nil, errors.New("workflows: MaxPerUser, MaxVersions and MaxCompiled must not be below zero")
		}
		if *n.value == 0 {
			*n.value = n.unless
		}
	}
	if cfg.LookEvery == 0 {
		cfg.LookEvery = 5 * time.Minute
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	s := &Service{Config: cfg, index: newIndex(cfg.Log), cache: newCache(cfg.MaxCompiled)}
	s.looking = upkeep.New(cfg.LookEvery, s.look, func(err error) {
		cfg.Log.Warn().Err(err).Msg("workflows not looked after: trying again")
	})
	s.mirror = bus.NewMirror(cfg.JetStream, bus.BucketWorkflows, s.index.see, cfg.Log)
	return s, nil
}

// opened is the store of the workflows.
func (s *Service) opened(ctx context.Context) (*store, error) {
	if known := s.store.Load(); known != nil {
		return known, nil
	}
	opened, err := openStore(ctx, s.JetStream, s.Log)
	if err != nil {
		return nil, err
	}
	s.store.Store(opened)
	return opened, nil
}

func invalid(field, format string, args ...any) error {
	return events.Errorf(events.CodeInvalidParams, "%s: %s", field, fmt.Sprintf(format, args...))
}
