package ingress

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/rs/zerolog"
	"golang.org/x/sync/semaphore"

	"github.com/plugfn/plugfn/internal/commit"
	"github.com/plugfn/plugfn/internal/tracing"
	"github.com/plugfn/plugfn/pkg/events"
	"github.com/plugfn/plugfn/pkg/providers"
	"github.com/plugfn/plugfn/services/ingress/repeats"
	"github.com/plugfn/plugfn/services/ingress/spool"
)

// Config holds what a Service needs.
type Config struct {
	JetStream jetstream.JetStream
	Providers *providers.Registry
	Secrets   Secrets             // nil: only those of the settings
	Endpoints Endpoints           // nil: there are none of single connections
	Keys      providers.KeySource // nil: what signers publish cannot be fetched
	Caller    providers.Caller    // nil: providers cannot be asked
	// Confirm calls the address with which a provider wants an endpoint to be
	// confirmed; a pack says on which hosts that may be. nil: nobody does.
	Confirm func(ctx context.Context, url string) error
	Log     zerolog.Logger
	Tracer  *tracing.Tracer // nil: no traces
	// Reached is closed once the bus is of use. nil: it is from the start.
	Reached <-chan struct{}

	PublicURL   string              // where providers reach this service; "": not known, and what signs it is not accepted
	Now         func() time.Time    // nil: time.Now
	Spool       jetstream.JetStream // of a bus.Spool, for deliveries while the bus is away; nil: they are refused
	GroupCommit bool                // the one server of the bus syncs every write: deliveries that wait for it share one
	MaxInFlight int64               // deliveries worked on at once; 0: 512
	MaxBytes    int64               // bytes of bodies held at once; 0: 256 MiB
	Rate        int                 // deliveries a second of one endpoint, twice as many at once; 0: 1,000
}

// Service receives deliveries. Several may run on one bus.
type Service struct {
	Config
	places   *semaphore.Weighted // one each delivery
	bytes    *semaphore.Weighted // its body
	waste    waste
	pool     pool
	rates    *rates
	events   *commit.Store
	dead     *commit.Store
	repeats  *repeats.Memory
	payloads events.Payloads
	spool    *spool.Spool // nil: there is none
	index    *index
	claims   *claims
	apps     map[string]appSettings // :: provider
	decoy    providers.Secret       // of the endpoints that there are not
	refused  zerolog.Logger         // sampled: whoever sends rubbish must not fill the log

	meter    *meter
	refusals refusals
	rerouter *Rerouter
}

// New checks cfg and returns a Service that does nothing until Run.
func New(cfg Config) (*Service, error) {
	switch {
	case cfg.JetStream == nil:
		return nil, errors.New("ingress: JetStream is needed")
	case cfg.Providers == nil:
		return nil, errors.New("ingress: Providers is needed")
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.MaxInFlight == 0 {
		cfg.MaxInFlight = 512
	}
	if cfg.Rate == 0 {
		cfg.Rate = 1000
	}
	if cfg.MaxBytes == 0 {
		cfg.MaxBytes = 256 << 20
	}
	store, err := commit.New(commit.Config{JetStream: cfg.JetStream, Grouped: cfg.GroupCommit})
	if err != nil {
		return nil, fmt.Errorf("ingress: %w", err)
	}
	dead, err := commit.New(commit.Config{JetStream: cfg.JetStream})
	if err != nil {
		return nil, fmt.Errorf("ingress: %w", err)
	}
	s := &Service{
		Config:   cfg,
		events:   store,
		dead:     dead,
		payloads: events.Payloads{Conn: cfg.JetStream.Conn()},
		places:   semaphore.NewWeighted(cfg.MaxInFlight),
		bytes:    semaphore.NewWeighted(cfg.MaxBytes),
		waste:    waste{limit: cfg.MaxBytes / 16},
		rates:    newRates(cfg.Rate),
		index:    newIndex(),
		claims:   newClaims(),
		meter:    newMeter(),
		apps:     cfg.appSettings(),
		decoy:    newDecoy(),
		refused:  cfg.Log.Sample(&zerolog.BurstSampler{Burst: 10, Period: time.Second}),
	}
	if s.repeats, err = repeats.New(repeats.Config{JetStream: cfg.JetStream, Grouped: cfg.GroupCommit, Log: cfg.Log}); err != nil {
		return nil, fmt.Errorf("ingress: %w", err)
	}
	if s.spool, err = s.newSpool(); err != nil {
		return nil, fmt.Errorf("ingress: %w", err)
	}
	s.index.appeared = s.appeared
	if s.rerouter, err = newRerouter(cfg.JetStream, s.index, cfg.Now); err != nil {
		return nil, fmt.Errorf("ingress: %w", err)
	}
	s.rerouter.stored = s.rerouted
	return s, nil
}

// Mount registers the routes on mux. Deliveries are answered 503 until Run has
// learned which connections there are.
func (s *Service) Mount(mux *http.ServeMux) {
	mux.HandleFunc("/webhooks/{provider}", s.receive)
	mux.HandleFunc("/webhooks/{provider}/{endpoint}", s.receiveAt)
}

// Ready says why deliveries are not accepted yet, nil when they are. While the bus
// was not reached since the start, it is enough that those of the app level can be
// kept.
func (s *Service) Ready(context.Context) error {
	if err := s.known(); err != nil && (s.spool == nil || s.isReached()) {
		return err
	}
	if s.spool != nil {
		return s.spool.Ready()
	}
	return nil
}

// known says what is not known yet of what the bus tells, nil when all is.
func (s *Service) known() error {
	switch {
	case !s.index.loaded.Load():
		return errors.New("ingress: the index of connections is not loaded yet")
	case !s.isLoaded():
		return errors.New("ingress: it is not known yet which webhook secrets are stored")
	case s.Endpoints != nil && !isClosed(s.Endpoints.Loaded()):
		return errors.New("ingress: it is not known yet which endpoints there are")
	}
	return nil
}

// Unknown says in a few words what is kept and what is refused as long as the
// bus was not reached since the start; "" once it was.
func (s *Service) Unknown() string {
	switch err := s.known(); {
	case err == nil:
		return ""
	case s.spool == nil:
		return "all deliveries are refused with 503: " + err.Error()
	default:
		return "deliveries to /webhooks/{provider} that a secret of the settings verifies are kept, all others refused with 503: " + err.Error()
	}
}

// Run keeps the index of connections up to date, gives new ones the events that
// came before them, and answers questions about refused deliveries, until ctx
// ends.
func (s *Service) Run(ctx context.Context) error {
	waiting, stop := context.WithCancel(ctx)
	var beside sync.WaitGroup
	beside.Go(func() { s.warn(waiting) })
	beside.Go(func() { s.reroute(waiting) })
	beside.Go(func() { s.runSpool(waiting) })
	beside.Go(func() { s.repeats.Run(waiting) })
	beside.Go(func() {
		if err := s.serveRefusals(waiting); err != nil { // deliveries are taken all the same
			s.Log.Warn().Err(err).Msg("refused deliveries cannot be looked at")
		}
	})
	defer func() { stop(); beside.Wait(); s.events.Wait() }()
	if s.awaitBus(ctx); ctx.Err() != nil {
		return nil
	}
	kv, err := s.JetStream.KeyValue(ctx, events.BucketConnections)
	if err != nil {
		return fmt.Errorf("ingress: opening the connections: %w", err)
	}
	if err := s.index.follow(ctx, kv); err != nil {
		return fmt.Errorf("ingress: %w", err)
	}
	return nil
}

// isReached reports whether the bus was of use at some time since the start.
func (s *Service) isReached() bool { return s.Reached == nil || isClosed(s.Reached) }

// awaitBus returns once the bus is of use, or ctx ends.
func (s *Service) awaitBus(ctx context.Context) {
	if s.isReached() {
		return
	}
	s.Log.Warn().Str("deliveries", s.Unknown()).Msg("the bus is not there yet")
	select {
	case <-ctx.Done():
	case <-s.Reached:
	}
}

// Unsecured lists the providers whose deliveries are all refused, because no
// secret is known to verify them with.
func (s *Service) Unsecured() []string {
	var names []string
	for _, name := range s.Providers.Names() {
		pack, _ := s.Providers.Pack(name)
		if pack.Webhooks == nil || !pack.Webhooks.NeedsSecret() {
			continue
		}
		if secrets, all := s.secretsOf(name); len(secrets) == 0 && all {
			names = append(names, name)
		}
	}
	return names
}
