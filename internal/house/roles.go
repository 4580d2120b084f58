package house

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"path/filepath"

	"github.com/nats-io/nats.go"
	"github.com/redis/go-redis/v9"
	"github.com/rs/zerolog"

	"github.com/plugfn/plugfn/internal/bus"
	"github.com/plugfn/plugfn/internal/limiter"
	"github.com/plugfn/plugfn/internal/outbound"
	"github.com/plugfn/plugfn/internal/secretfile"
	"github.com/plugfn/plugfn/pkg/providers"
	"github.com/plugfn/plugfn/services/auth"
	"github.com/plugfn/plugfn/services/auth/oauth"
	"github.com/plugfn/plugfn/services/executor"
	"github.com/plugfn/plugfn/services/ingress"
	"github.com/plugfn/plugfn/services/scheduler"
	"github.com/plugfn/plugfn/services/scheduler/heal"
	"github.com/plugfn/plugfn/services/scheduler/polls"
	"github.com/plugfn/plugfn/services/scheduler/runs"
	"github.com/plugfn/plugfn/services/scheduler/schedules"
	"github.com/plugfn/plugfn/services/scheduler/workflows"
)

// The services by the names that `plugfn serve` takes, which are those of their
// roles on the bus.
const (
	RoleIngress   = "ingress"
	RoleExecutor  = "executor"
	RoleAuth      = "auth"
	RoleScheduler = "scheduler"
)

// AllRoles lists the roles.
func AllRoles() []string { return []string{RoleIngress, RoleExecutor, RoleAuth, RoleScheduler} }

// service runs until its context ends and the work in hand is done.
type service interface {
	Run(ctx context.Context) error
}

// mounter is a service that has HTTP routes.
type mounter interface {
	Mount(mux *http.ServeMux)
}

// build makes the service of a role, with a connection of its own to the bus.
// It starts nothing.
func (p *Process) build(ctx context.Context, role string) (service, error) {
	log := p.log.With().Str("service", role).Logger()
	b, err := p.as(ctx, role)
	if err != nil {
		return nil, err
	}
	switch role {
	case RoleIngress:
		return p.buildIngress(ctx, b, log)
	case RoleExecutor:
		return p.buildExecutor(ctx, b, log)
	case RoleAuth:
		return p.buildAuth(ctx, b, log)
	default:
		return p.buildScheduler(b, log)
	}
}

func (p *Process) buildIngress(ctx context.Context, b *bus.Bus, log zerolog.Logger) (service, error) {
	secrets, err := auth.NewWebhookSecrets(auth.WebhookSecretsConfig{Conn: b.Conn(), JetStream: b.JetStream(), Log: log})
	if err != nil {
		return nil, err
	}
	endpoints, err := auth.NewEndpoints(auth.EndpointsConfig{Conn: b.Conn(), JetStream: b.JetStream(), Providers: p.registry, Log: log})
	if err != nil {
		return nil, err
	}
	spool, err := p.openSpool(ctx, log)
	if err != nil {
		return nil, err
	}
	caller := ingress.NewCaller(p.registry, p.outbound(outbound.Config{}))
	s, err := ingress.New(ingress.Config{
		JetStream: b.JetStream(), Providers: p.registry, Secrets: secrets, Endpoints: endpoints, Log: log, Tracer: p.cfg.Tracer, Reached: p.reachedLater(),
		MaxInFlight: int64(p.cfg.IngressMaxInFlight), MaxBytes: p.cfg.IngressMaxBytes,
		GroupCommit: b.Durability() == bus.Single, Spool: spool, Rate: p.cfg.IngressRate, PublicURL: p.publicURL(),
		Keys:   &exampleKeys{p.signers, ingress.NewKeys(ingress.KeysConfig{HTTP: p.outbound(outbound.Config{})})},
		Caller: caller, Confirm: caller.Confirm,
	})
	return &receiving{s, secrets, endpoints}, err
}

// receiving is an ingress with the clients that follow stored webhook secrets
// and endpoints for it.
type receiving struct {
	*ingress.Service
	secrets   *auth.WebhookSecrets
	endpoints *auth.Endpoints
}

// Run ends when the ingress does.
func (r *receiving) Run(ctx context.Context) error {
	return runGroup(ctx, r.Service.Run, r.secrets.Run, r.endpoints.Run)
}

func (p *Process) buildExecutor(ctx context.Context, b *bus.Bus, log zerolog.Logger) (service, error) {
	credentials, err := auth.NewClient(b.Conn())
	if err != nil {
		return nil, err
	}
	kv, err := b.JetStream().KeyValue(ctx, bus.BucketLimits)
	if err != nil {
		return nil, fmt.Errorf("opening the limits that are set: %w", err)
	}
	e := &executing{
		credentials: credentials, overrides: limiter.NewOverrides(kv, log), presence: limiter.NewPresence(b.Conn()),
		conn: b.Conn(), log: log,
	}
	var answers redis.UniversalClient
	cfg := limiter.Config{Replicas: e.presence.Replicas, Log: log}
	if address := string(p.cfg.RedisURL.Reveal()); address != "" {
		redis.SetLogger(redisLog{log})
		if cfg.Redis, err = limiter.NewRedisClient(address); err != nil {
			return nil, fmt.Errorf("PLUGFN_REDIS_URL: %w", err)
		}
		if answers, err = limiter.NewRedisClient(address); err != nil { // apart, so that long values do not hold up limits
			return nil, fmt.Errorf("PLUGFN_REDIS_URL: %w", err)
		}
		e.redis = []io.Closer{cfg.Redis, answers}
	}
	e.limits = limiter.New(cfg)
	e.Service, err = executor.New(executor.Config{
		Conn: b.Conn(), JetStream: b.JetStream(), Providers: p.registry, Limiter: e.limits, Overrides: e.overrides,
		Credentials: credentials, Parking: b, Log: log, Tracer: p.cfg.Tracer, Redis: answers, HTTP: p.outbound(outbound.Config{ConnsPerHost: p.cfg.ExecutorMaxInFlight}),
		MaxInFlight: p.cfg.ExecutorMaxInFlight, MaxPerUser: p.cfg.ExecutorMaxPerUser, DrainTimeout: p.cfg.DrainTimeout,
		GroupCommit: b.Durability() == bus.Single,
	})
	return e, err
}

// redisLog takes what the client library says by itself, which is about
// connections. It has one logger for the whole process.
type redisLog struct{ log zerolog.Logger }

// Printf is how the library says something.
func (l redisLog) Printf(_ context.Context, format string, v ...any) {
	l.log.Debug().Str("said", fmt.Sprintf(format, v...)).Msg("redis")
}

// executing is an executor with what it works with: the client that remembers
// credentials for it, and the limits.
type executing struct {
	*executor.Service
	credentials *auth.Client
	limits      *limiter.Limiter
	overrides   *limiter.Overrides
	presence    *limiter.Presence
	redis       []io.Closer // empty: there is none
	conn        *nats.Conn
	log         zerolog.Logger
}

// Run ends when the executor does.
func (e *executing) Run(ctx context.Context) error {
	err := runGroup(ctx, e.Service.Run, e.credentials.Run, e.overrides.Run, e.presence.Run, func(ctx context.Context) error {
		return e.limits.Serve(ctx, e.conn, e.log)
	})
	for _, client := range e.redis {
		err = errors.Join(err, client.Close())
	}
	return err
}

func (p *Process) buildScheduler(b *bus.Bus, log zerolog.Logger) (service, error) {
	healer, err := heal.New(heal.Config{
		JetStream: b.JetStream(), Parking: b, Providers: p.registry, Log: log,
		Every: p.cfg.HealEvery, DrainTimeout: p.cfg.DrainTimeout,
	})
	if err != nil {
		return nil, err
	}
	key, err := p.APIKey()
	if err != nil {
		return nil, err
	}
	kept, err := schedules.New(schedules.Config{
		Conn: b.Conn(), JetStream: b.JetStream(), Parking: b, Providers: p.registry, APIKey: key, Log: log,
		MaxPerUser: p.cfg.SchedulesPerUser,
	})
	if err != nil {
		return nil, err
	}
	defined, err := workflows.New(workflows.Config{
		Conn: b.Conn(), JetStream: b.JetStream(), Providers: p.registry, Schedules: kept, APIKey: key, Log: log,
		MaxPerUser: p.cfg.WorkflowsPerUser,
	})
	if err != nil {
		return nil, err
	}
	poller, err := polls.New(polls.Config{
		JetStream: b.JetStream(), Providers: p.registry, Log: log, DrainTimeout: p.cfg.DrainTimeout,
	})
	if err != nil {
		return nil, err
	}
	driven, err := runs.New(runs.Config{
		Conn: b.Conn(), JetStream: b.JetStream(), Parking: b, Definitions: defined, APIKey: key, Log: log, Tracer: p.cfg.Tracer,
		MaxPerUser: p.cfg.RunsPerUser, MaxSteps: p.cfg.StepsPerUser, DrainTimeout: p.cfg.DrainTimeout,
	})
	if err != nil {
		return nil, err
	}
	s, err := scheduler.New(scheduler.Config{
		JetStream: b.JetStream(), Firings: b, Schedules: kept, Log: log, DrainTimeout: p.cfg.DrainTimeout,
	})
	return &scheduling{s, kept, defined, driven, healer, poller}, err
}

// scheduling is a scheduler with the jobs of its own.
type scheduling struct {
	*scheduler.Service
	schedules *schedules.Service
	workflows *workflows.Service
	runs      *runs.Service
	healer    *heal.Service
	poller    *polls.Service
}

// Mount adds the HTTP routes of schedules, workflows and runs.
func (s *scheduling) Mount(mux *http.ServeMux) {
	s.schedules.Mount(mux)
	s.workflows.Mount(mux)
	s.runs.Mount(mux)
}

// Run ends when one of them cannot go on, or ctx ends.
func (s *scheduling) Run(ctx context.Context) error {
	return runGroup(ctx, s.Service.Run, s.schedules.Run, s.workflows.Run, s.runs.Run, s.healer.Run, s.poller.Run)
}

// Ready says why something of it does not work, nil while all does.
func (s *scheduling) Ready(ctx context.Context) error {
	return errors.Join(s.Service.Ready(ctx), s.runs.Ready(ctx))
}

func (p *Process) buildAuth(ctx context.Context, b *bus.Bus, log zerolog.Logger) (service, error) {
	key, err := p.APIKey()
	if err != nil {
		return nil, err
	}
	keys, err := p.openKeys(ctx, b)
	if err != nil {
		return nil, err
	}
	return auth.New(auth.Config{
		Conn: b.Conn(), JetStream: b.JetStream(), Parking: b, Providers: p.registry,
		Keys: keys, APIKey: key, Log: log, SpillDir: filepath.Join(p.cfg.DataDir, "unkept"),
		PublicURL: p.publicURL(), ReturnTo: p.cfg.ReturnTo,
		OAuth: oauth.New(oauth.Config{HTTP: p.outbound(outbound.Config{NoReuse: true})}),
	})
}

// outbound makes a client for calls to the providers, with the operator's own
// hosts and networks added to cfg.
func (p *Process) outbound(cfg outbound.Config) *http.Client {
	cfg.Trusted, cfg.AllowPrivate = p.registry.OperatorURLs(), p.cfg.AllowPrivate
	return outbound.New(cfg)
}

// publicURL is where browsers reach this process: as the operator has set it, or
// as they do on this computer. "": that is not known.
func (p *Process) publicURL() string {
	if p.cfg.PublicURL != "" || p.listener == nil {
		return p.cfg.PublicURL
	}
	addr, ok := p.listener.Addr().(*net.TCPAddr)
	if !ok || !addr.IP.IsLoopback() {
		return ""
	}
	return "http://" + addr.String()
}

// APIKeyFile is where a key is made when the operator has set none.
func (p *Process) APIKeyFile() string { return filepath.Join(p.cfg.DataDir, "api_key") }

// APIKey is the operator's, or one made once for this data directory.
func (p *Process) APIKey() (providers.Secret, error) {
	if !p.cfg.APIKey.IsZero() {
		return p.cfg.APIKey, nil
	}
	key, created, err := secretfile.Keep(p.APIKeyFile())
	if err != nil {
		return key, fmt.Errorf("making the API key: %w", err)
	}
	if created {
		p.log.Info().Str("path", p.APIKeyFile()).Msg("API key made")
	}
	return key, nil
}
