package auth

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/rs/zerolog"

	"github.com/plugfn/plugfn/internal/bus"
	"github.com/plugfn/plugfn/internal/id"
	"github.com/plugfn/plugfn/internal/outbound"
	"github.com/plugfn/plugfn/pkg/events"
	"github.com/plugfn/plugfn/pkg/providers"
	"github.com/plugfn/plugfn/services/auth/oauth"
)

// openTimeout bounds what New asks of the bus.
const openTimeout = 10 * time.Second

// Config holds what a Service needs. All fields but OAuth, Log, Now and the
// settings below them must be set.
type Config struct {
	Conn      *nats.Conn
	JetStream jetstream.JetStream
	Parking   Parking
	Providers *providers.Registry
	Keys      *Keys
	OAuth     *oauth.Client    // asks the providers; nil: one that calls public addresses and the operator's own base URLs
	APIKey    providers.Secret // what callers of the HTTP API show
	Log       zerolog.Logger
	Now       func() time.Time // nil: time.Now

	// PublicURL is where browsers and providers reach this service, without a
	// slash at its end: https, or http on this computer. "": not known, and no
	// account is connected through a browser.
	PublicURL string
	// ReturnTo lists where browsers may be sent in the end: origins, or origins
	// with a path that all has to be below. nil: nowhere.
	ReturnTo []string
	// SpillDir is where refreshed credentials are kept, encrypted, that the bus
	// does not take. "": in memory only.
	SpillDir string
	// ConfirmAfter is how long after a provider has said that a grant is gone
	// it is asked once more, before the user has to connect again. 0: 30 s.
	ConfirmAfter time.Duration
}

// Service keeps connections. Several may run on one bus, with one encryption
// key. It is safe for concurrent use.
type Service struct {
	conn      *nats.Conn
	apiKey    providers.Secret
	log       zerolog.Logger
	store     *store
	refresher *refresher
	flows     *flows
	endpoints *endpoints
	audit     *audit
	counts    chan struct{} // holds one for each count of results under way
	serving   atomic.Bool   // requests for credentials are taken
}

// New checks cfg, finds the buckets and returns a Service that does nothing
// until Run and Mount.
func New(cfg Config) (*Service, error) {
	if err := cfg.check(); err != nil {
		return nil, err
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.OAuth == nil {
		web := outbound.New(outbound.Config{Trusted: cfg.Providers.OperatorURLs(), NoReuse: true})
		cfg.OAuth = oauth.New(oauth.Config{HTTP: web, Now: cfg.Now})
	}
	ctx, cancel := context.WithTimeout(context.Background(), openTimeout)
	defer cancel()
	st, err := newStore(ctx, &cfg)
	if err != nil {
		return nil, err
	}
	connecting, err := newFlows(ctx, &cfg, st)
	if err != nil {
		return nil, err
	}
	st.app = connecting.apps.minted
	times := defaultTiming()
	if cfg.ConfirmAfter > 0 {
		times.confirm = cfg.ConfirmAfter
	}
	s := &Service{
		conn:      cfg.Conn,
		apiKey:    cfg.APIKey,
		log:       cfg.Log,
		store:     st,
		refresher: newRefresher(st, oauthAuthority{cfg.OAuth}, id.New("auth"), times, &spill{dir: cfg.SpillDir}),
		flows:     connecting,
		audit:     st.audit,
		counts:    make(chan struct{}, maxCounts),
	}
	connecting.create = s.create
	kept, err := openBucket(ctx, cfg.JetStream, bus.BucketEndpoints)
	if err != nil {
		return nil, err
	}
	s.endpoints = &endpoints{
		kv: kept, keys: cfg.Keys, providers: cfg.Providers, store: st, public: connecting.public, audit: st.audit, log: cfg.Log, now: cfg.Now,
	}
	return s, nil
}

func newStore(ctx context.Context, cfg *Config) (*store, error) {
	kv, err := openBucket(ctx, cfg.JetStream, events.BucketConnections)
	if err != nil {
		return nil, err
	}
	revocations, err := openBucket(ctx, cfg.JetStream, bus.BucketRevocations)
	if err != nil {
		return nil, err
	}
	st := &store{
		kv:          kv,
		revocations: revocations,
		js:          cfg.JetStream,
		providers:   cfg.Providers,
		keys:        cfg.Keys,
		parking:     cfg.Parking,
		audit:       newAudit(cfg.JetStream, cfg.Log, cfg.Now),
		log:         cfg.Log,
		now:         cfg.Now,
	}
	st.index = newIndex(func(r *record) bool {
		_, err := st.keys.openCredential(r.Connection, r.Credential)
		return err == nil
	}, func(r *record) time.Time { return r.dueAt(st.rules(r)) })
	return st, nil
}

func openBucket(ctx context.Context, js jetstream.JetStream, name string) (jetstream.KeyValue, error) {
	kv, err := js.KeyValue(ctx, name)
	if err != nil {
		return nil, fmt.Errorf("auth: opening bucket %s: %w", name, err)
	}
	return kv, nil
}

func (cfg *Config) check() error {
	switch {
	case cfg.Conn == nil || cfg.JetStream == nil:
		return errors.New("auth: Conn and JetStream are needed")
	case cfg.Parking == nil:
		return errors.New("auth: Parking is needed")
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

// Run hands out credentials on the bus and keeps them fresh, until ctx ends and
// the work in hand is done: requests within ten seconds, refreshes within a
// minute, because a credential that a provider has handed out and that is not
// written is lost. It returns an error only when it cannot serve. Call it once.
func (s *Service) Run(ctx context.Context) error {
	// What serves the others goes on until they have ended.
	support, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer stop()
	var background sync.WaitGroup
	background.Go(func() { s.store.follow(support) })
	background.Go(func() { s.store.keys.follow(support) })
	background.Go(func() { s.audit.run(support) })
	background.Go(s.refresher.unspillAll)

	serving, cancel := context.WithCancel(ctx)
	defer cancel()
	ended := make(chan error, 4)
	go func() { ended <- newTokens(s).run(serving) }()
	go func() { ended <- (&jobs{refresher: s.refresher, js: s.store.js}).run(serving) }()
	go func() { ended <- s.flows.run(serving, s.conn) }()
	go func() { ended <- s.endpoints.serve(serving, s.conn) }()
	err := <-ended
	cancel() // where one of them cannot go on, the others have to end as well
	err = errors.Join(err, <-ended, <-ended, <-ended, s.refresher.drain())
	stop()
	background.Wait()
	if err != nil {
		return fmt.Errorf("auth: %w", err)
	}
	return nil
}

// Ready says why the service should not be asked now. nil: it can be. It is not
// ready while it holds a credential that the bus does not take.
func (s *Service) Ready(context.Context) error {
	switch unkept := s.refresher.unkept.Load(); {
	case !s.serving.Load():
		return errors.New("it does not answer on the bus")
	case !s.store.index.isLoaded():
		return errors.New("it is still reading its connections")
	case unkept > 0:
		return fmt.Errorf("the bus does not take %d refreshed credentials", unkept)
	}
	return nil
}
