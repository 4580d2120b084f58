package executor

import (
	"context"
	"errors"
	"fmt"
	"hash/maphash"
	"math/rand/v2"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/redis/go-redis/v9"
	"github.com/rs/zerolog"

	"github.com/plugfn/plugfn/internal/bus"
	"github.com/plugfn/plugfn/internal/limiter"
	"github.com/plugfn/plugfn/internal/outbound"
	"github.com/plugfn/plugfn/internal/tracing"
	"github.com/plugfn/plugfn/pkg/events"
	"github.com/plugfn/plugfn/pkg/providers"
	"github.com/plugfn/plugfn/services/executor/answers"
)

// Credentials finds the connection that a request means and opens its
// credential. An *events.Error (connection_not_found, connection_ambiguous,
// needs_reauth) is the request's result; one with the code internal and any
// other error is trouble of ours, and the request is tried again.
type Credentials interface {
	Credential(ctx context.Context, user, provider, connectionID string) (providers.Credential, error)
	// Refused returns a newer credential than one that the provider has refused.
	Refused(ctx context.Context, user, provider string, refused providers.Credential) (providers.Credential, error)
}

// Parking holds a request until its time has come.
type Parking interface {
	Park(ctx context.Context, later bus.Later) error
	// Hasten has what is parked on a subject come at another time; false: there
	// is nothing.
	Hasten(ctx context.Context, schedule string, at time.Time) (bool, error)
}

// Config holds what a Service needs.
type Config struct {
	Conn        *nats.Conn
	JetStream   jetstream.JetStream
	Providers   *providers.Registry
	Credentials Credentials
	Parking     Parking
	Limiter     Limiter            // nil: one that keeps the limits in this process, for a single executor
	Overrides   *limiter.Overrides // of limits, by the operator; nil: none. Who made it runs it
	Log         zerolog.Logger
	Tracer      *tracing.Tracer // nil: no traces

	Redis        redis.UniversalClient // keeps answers to reads for all executors, encrypted; nil: each keeps its own. Whoever made it closes it
	HTTP         *http.Client          // calls the providers; nil: one of internal/outbound that trusts the operator's base URLs
	Now          func() time.Time      // nil: time.Now
	MaxInFlight  int                   // requests worked on at once; 0: 256
	MaxPerUser   int                   // of them those of one user, while others ask as well; 0: a quarter of MaxInFlight
	AckWait      time.Duration         // how long a dead executor holds its requests; 0: 10 s
	GroupCommit  bool                  // what waits for the disk shares a write, see package commit: for a bus that syncs every write and has one copy
	DrainTimeout time.Duration         // how long Run lets the work in hand go on after its context ends; 0: 30 s
}

// Service executes action requests. Several may run on one bus.
type Service struct {
	Config
	requests atomic.Pointer[bus.Worker]          // nil before Run
	reached  func(p point, request string) error // of tests; nil otherwise
	keeper   keeper                              // of the journal, in tests; nil otherwise
	luck     func() float64                      // in [0,1)
	storing  time.Duration                       // of data beside a result
	answers  *answers.Memory
	shared   answers.Store // of all executors; nil: there is none
	flights  answers.Flights
	crowd    crowd
	health   *health
	meter    *meter
}

// New checks cfg and returns a Service that does nothing until Run.
func New(cfg Config) (*Service, error) {
	switch {
	case cfg.Conn == nil || cfg.JetStream == nil:
		return nil, errors.New("executor: Conn and JetStream are needed")
	case cfg.Providers == nil:
		return nil, errors.New("executor: Providers is needed")
	case cfg.Credentials == nil:
		return nil, errors.New("executor: Credentials is needed")
	case cfg.Parking == nil:
		return nil, errors.New("executor: Parking is needed")
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Limiter == nil {
		cfg.Limiter = limiter.New(limiter.Config{})
	}
	if cfg.MaxInFlight == 0 {
		cfg.MaxInFlight = 256
	}
	if cfg.MaxPerUser == 0 {
		cfg.MaxPerUser = max(1, cfg.MaxInFlight/4)
	}
	cfg.MaxPerUser = min(cfg.MaxPerUser, cfg.MaxInFlight)
	if cfg.HTTP == nil {
		// Nothing queues for a connection: a write is noted as sent before it is
		// handed over, and one that waited there when the process died would be
		// unknown.
		cfg.HTTP = outbound.New(outbound.Config{Trusted: cfg.Providers.OperatorURLs(), ConnsPerHost: cfg.MaxInFlight})
	}
	if cfg.AckWait == 0 {
		cfg.AckWait = 10 * time.Second
	}
	if cfg.DrainTimeout == 0 {
		cfg.DrainTimeout = 30 * time.Second
	}
	s := &Service{
		Config: cfg, luck: rand.Float64, storing: storing, answers: answers.NewMemory(cacheBytes, cfg.Now), health: newHealth(budgetSecond), meter: newMeter(),
	}
	if cfg.Redis != nil {
		s.shared = answers.NewRedis(cfg.Redis)
	}
	return s, nil
}

// Run executes requests until ctx ends and the work in hand is done. It returns
// an error only when it cannot go on.
func (s *Service) Run(ctx context.Context) error {
	work, stop := outlive(ctx, s.DrainTimeout)
	defer stop()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	w, err := s.worker(ctx, work)
	if err != nil {
		return fmt.Errorf("executor: %w", err)
	}
	defer w.journal.store.Wait()
	defer w.results.store.Wait()
	changes, err := s.subscriber(events.StreamEvents, "executor-connections", 1)
	if err != nil {
		return fmt.Errorf("executor: %w", err)
	}
	defer changes.Close()
	changed, err := changes.Subscribe(ctx, events.PrefixConnection+">")
	if err != nil && ctx.Err() == nil {
		return fmt.Errorf("executor: listening to connections: %w", err)
	}
	subscriber, err := s.subscriber(events.StreamActions, "executor", window*s.MaxInFlight)
	if err != nil {
		return fmt.Errorf("executor: %w", err)
	}
	calls, err := serveCalls(w)
	if err != nil {
		return fmt.Errorf("executor: serving calls: %w", err)
	}
	defer calls.stop()
	requests := &bus.Worker{
		Topic: events.PrefixAction + ">", Subscriber: subscriber, Handle: w.handle,
		CloseTimeout: s.DrainTimeout + 10*time.Second, Log: s.Log,
	}
	s.requests.Store(requests)
	var listening sync.WaitGroup
	defer func() { cancel(); listening.Wait() }()
	listening.Go(func() { w.follows(ctx, changed) })
	listening.Go(w.lanes.run)
	if err := requests.Run(ctx); err != nil {
		return fmt.Errorf("executor: %w", err)
	}
	return nil
}

// worker opens what a Service works with; work ends when the work in hand must
// stop.
func (s *Service) worker(ctx, work context.Context) (*worker, error) {
	w := &worker{Service: s, intake: ctx, work: work, places: newPlaces(s.MaxInFlight, s.MaxPerUser, s.Now)}
	kv, err := s.JetStream.KeyValue(ctx, bus.BucketJournal)
	if err != nil {
		return nil, fmt.Errorf("opening the journal: %w", err)
	}
	if w.journal, err = s.journal(kv); err != nil {
		return nil, err
	}
	if w.waiting, err = s.JetStream.KeyValue(ctx, bus.BucketWaiting); err != nil {
		return nil, fmt.Errorf("opening what waits: %w", err)
	}
	w.lanes = &lanes{worker: w, of: map[string]*lane{}}
	if w.lanes.kv, err = s.JetStream.KeyValue(ctx, bus.BucketLanes); err != nil {
		return nil, fmt.Errorf("opening the lanes: %w", err)
	}
	w.turns = &turns{worker: w, most: maxWaiters, seed: maphash.MakeSeed()}
	if w.turns.kv, err = s.JetStream.KeyValue(ctx, bus.BucketOrder); err != nil {
		return nil, fmt.Errorf("opening the turns: %w", err)
	}
	if w.turns.stream, err = s.JetStream.Stream(ctx, events.StreamActions); err != nil {
		return nil, fmt.Errorf("opening the requests: %w", err)
	}
	stream, err := s.JetStream.Stream(ctx, events.StreamResults)
	if err != nil {
		return nil, fmt.Errorf("opening the results: %w", err)
	}
	w.results, err = s.results(stream)
	return w, err
}

// window is how many requests are taken up for each that is worked on: who has
// many must not keep those out of sight who have few.
const window = 4

// subscriber makes one of a stream.
func (s *Service) subscriber(stream, durable string, inFlight int) (*events.Subscriber, error) {
	return events.NewSubscriber(events.SubscriberConfig{
		JetStream:    s.JetStream,
		Stream:       stream,
		Durable:      func(string) string { return durable },
		MaxInFlight:  inFlight,
		AckWait:      s.AckWait,
		NakDelay:     backoff,
		CloseTimeout: s.DrainTimeout + 5*time.Second,
		Log:          s.Log,
	})
}

// Ready says why no requests are being executed, nil while they are.
func (s *Service) Ready(context.Context) error {
	requests := s.requests.Load()
	if requests == nil {
		return errors.New("executor: not running")
	}
	return requests.Ready()
}

// outlive returns a context that ends d after ctx does: the work in hand may
// finish, but not for ever.
func outlive(ctx context.Context, d time.Duration) (context.Context, context.CancelFunc) {
	work, cancel := context.WithCancel(context.WithoutCancel(ctx))
	stop := context.AfterFunc(ctx, func() {
		t := time.AfterFunc(d, cancel)
		context.AfterFunc(work, func() { t.Stop() })
	})
	return work, func() { stop(); cancel() }
}

// backoff is how long a request waits after trouble of ours (bus, journal,
// auth service): 1 s, doubling up to 8 s. Deliveries that ended with their
// executor count as well, so that it must not grow long: a request that has
// outlived some of them may be claimed, and others with its id wait for it.
func backoff(deliveries uint64) time.Duration {
	return time.Second << min(deliveries-min(deliveries, 1), 3)
}
