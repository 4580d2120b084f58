package runs

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/rs/zerolog"

	"github.com/ThreeDotsLabs/watermill/message"

	"github.com/plugfn/plugfn/internal/bus"
	"github.com/plugfn/plugfn/internal/tracing"
	"github.com/plugfn/plugfn/pkg/events"
	"github.com/plugfn/plugfn/pkg/providers"
)

// Parking holds back timers.
type Parking interface {
	Park(ctx context.Context, later bus.Later) error
	Unpark(ctx context.Context, kind, user, id string) error
}

// Config holds what a Service needs. Conn, JetStream, Parking and Definitions must
// be set, and APIKey for HTTP.
type Config struct {
	Conn        *nats.Conn
	JetStream   jetstream.JetStream
	Parking     Parking
	Definitions Definitions
	APIKey      providers.Secret // zero: no HTTP request is let through
	Log         zerolog.Logger
	Tracer      *tracing.Tracer // nil: no traces

	MaxPerUser   int              // runs of one user that have not ended; 0: 10,000
	MaxSteps     int              // that the runs of one user begin within an hour, before no more of them are started here; 0: 1,000,000
	MaxInFlight  int              // messages of each kind that are worked on at once; 0: 64
	Keep         time.Duration    // how long a run that has ended is kept; 0: 30 days
	AckWait      time.Duration    // how long a dead scheduler holds what it worked on; 0: 10 s
	DrainTimeout time.Duration    // how long Run lets the work in hand go on after its context ends; 0: 10 s
	Now          func() time.Time // nil: time.Now
}

// Service drives runs. Several may work on one bus.
type Service struct {
	Config
	store     *store
	payloads  events.Payloads
	waits     *waits
	locks     locks
	releases  releases
	quota     quota
	steps     steps
	workers   []*bus.Worker
	keepAgain time.Duration                   // between storing the values of a run and storing them again
	reached   func(at step, run string) error // where tests have the work break off; nil: nowhere
}

// New checks cfg and returns a Service that does nothing until Run.
func New(cfg Config) (*Service, error) {
	if cfg.Conn == nil || cfg.JetStream == nil || cfg.Parking == nil || cfg.Definitions == nil {
		return nil, errors.New("runs: Conn, JetStream, Parking and Definitions are needed")
	}
	if cfg.MaxPerUser < 0 || cfg.MaxSteps < 0 || cfg.MaxInFlight < 0 || cfg.Keep < 0 {
		return nil, errors.New("runs: MaxPerUser, MaxSteps, MaxInFlight and Keep must not be below zero")
	}
	for _, d := range []struct {
		value  *time.Duration
		unless time.Duration
	}{{&cfg.Keep, 30 * 24 * time.Hour}, {&cfg.AckWait, 10 * time.Second}, {&cfg.DrainTimeout, 10 * time.Second}} {
		if *d.value == 0 {
			*d.value = d.unless
		}
	}
	if cfg.MaxPerUser == 0 {
		cfg.MaxPerUser = 10_000
	}
	if cfg.MaxSteps == 0 {
		cfg.MaxSteps = 1_000_000
	}
	if cfg.MaxInFlight == 0 {
		cfg.MaxInFlight = 64
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	store := &store{conn: cfg.Conn, js: cfg.JetStream, recent: recent[held]{size: maxRecent}}
	s := &Service{Config: cfg, store: store, payloads: events.Payloads{Conn: cfg.Conn}, waits: newWaits(store, cfg.Log), quota: quota{most: cfg.MaxPerUser}}
	s.steps, s.keepAgain = steps{most: cfg.MaxSteps}, keepAgain
	s.releases = releases{wanted: make(chan release, maxReleases)}
	for _, w := range []struct {
		name, topic, stream string
		handle              message.NoPublishHandlerFunc
	}{
		{"runs", events.PrefixRun + "*.*.signal", events.StreamRuns, s.onSignal},
		{"runs-results", events.PrefixResult + "*.*.*.*", events.StreamResults, s.onResult},
		{"runs-events", events.PrefixEvent + ">", events.StreamEvents, s.onEvent},
	} {
		worker, err := s.worker(w.name, w.topic, w.stream, w.handle)
		if err != nil {
			return nil, fmt.Errorf("runs: %w", err)
		}
		s.workers = append(s.workers, worker)
	}
	return s, nil
}

const (
	maxRecent   = 2_000 // records that are remembered, twice
	maxReleases = 10_000

	// handleTimeout bounds the work on one message.
	handleTimeout = 30 * time.Second
)

func (s *Service) worker(name, topic, stream string, handle message.NoPublishHandlerFunc) (*bus.Worker, error) {
	deliver := jetstream.DeliverAllPolicy
	if stream == events.StreamEvents {
		deliver = jetstream.DeliverNewPolicy // what came before there were workflows starts nothing
	}
	subscriber, err := events.NewSubscriber(events.SubscriberConfig{
		JetStream: s.JetStream, Stream: stream, Durable: func(string) string { return name }, Deliver: deliver,
		MaxInFlight: s.MaxInFlight, AckWait: s.AckWait, CloseTimeout: s.DrainTimeout, Log: s.Log,
	})
	if err != nil {
		return nil, err
	}
	return &bus.Worker{
		Topic: topic, Subscriber: subscriber, Handle: handle, CloseTimeout: s.DrainTimeout + 5*time.Second, Log: s.Log,
	}, nil
}

// Run drives runs and answers on the bus, until ctx ends and what is in hand is
// done. It returns an error only when it cannot go on.
func (s *Service) Run(ctx context.Context) error {
	answering, err := s.serve()
	if err != nil {
		return fmt.Errorf("runs: %w", err)
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var all sync.WaitGroup
	faults := make(chan error, len(s.workers)+1)
	follow, unfollow := context.WithCancel(context.WithoutCancel(ctx)) // longer than the workers
	var helping sync.WaitGroup
	helping.Go(func() { _ = s.waits.Run(follow) })
	helping.Go(func() { s.release(follow) })
	for _, w := range s.workers {
		all.Go(func() {
			if err := w.Run(ctx); err != nil {
				faults <- err
				cancel()
			}
		})
	}
	<-ctx.Done()
	answering.Close()
	all.Wait()
	unfollow()
	helping.Wait()
	select {
	case err := <-faults:
		return fmt.Errorf("runs: %w", err)
	default:
		return nil
	}
}

// Ready says why runs do not go on, nil while they do.
func (s *Service) Ready(context.Context) error {
	for _, w := range s.workers {
		if err := w.Ready(); err != nil {
			return err
		}
	}
	return nil
}

// step is where tests can have the work on a signal break off, as if the process
// had ended there.
type step string

const (
	stepRead    step = "read"
	stepKept    step = "kept"
	stepWritten step = "written"
	stepDone    step = "done"
)

func (s *Service) reach(at step, run string) error {
	if s.reached == nil {
		return nil
	}
	return s.reached(at, run)
}
