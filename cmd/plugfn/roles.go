package main

import (
	"context"
	"fmt"
	"net/http"
	"path/filepath"

	"github.com/rs/zerolog"

	"github.com/plugfn/plugfn/internal/bus"
	"github.com/plugfn/plugfn/pkg/events"
	"github.com/plugfn/plugfn/pkg/providers"
	"github.com/plugfn/plugfn/services/auth"
	"github.com/plugfn/plugfn/services/executor"
	"github.com/plugfn/plugfn/services/ingress"
	"github.com/plugfn/plugfn/services/scheduler"
)

// The services by the names that `plugfn serve` takes.
const (
	roleIngress   = "ingress"
	roleExecutor  = "executor"
	roleAuth      = "auth"
	roleScheduler = "scheduler"
)

func allRoles() []string { return []string{roleIngress, roleExecutor, roleAuth, roleScheduler} }

// service runs until its context ends and the work in hand is done.
type service interface {
	Run(ctx context.Context) error
}

// mounter is a service that has HTTP routes.
type mounter interface {
	Mount(mux *http.ServeMux)
}

// build makes the service of a role. It starts nothing.
func (p *process) build(ctx context.Context, role string) (service, error) {
	log := p.log.With().Str("service", role).Logger()
	switch role {
	case roleIngress:
		return p.buildIngress(log)
	case roleExecutor:
		return p.buildExecutor(log)
	case roleAuth:
		return p.buildAuth(ctx, log)
	default:
		return p.buildScheduler(log)
	}
}

func (p *process) buildIngress(log zerolog.Logger) (service, error) {
	return ingress.New(ingress.Config{
		JetStream: p.bus.JetStream(), Providers: p.registry, Log: log,
		MaxInFlight: int64(p.settings.IngressMaxInFlight), MaxBytes: p.settings.IngressMaxBytes,
	})
}

func (p *process) buildExecutor(log zerolog.Logger) (service, error) {
	credentials, err := auth.NewClient(p.bus.Conn())
	if err != nil {
		return nil, err
	}
	return executor.New(executor.Config{
		Conn: p.bus.Conn(), JetStream: p.bus.JetStream(), Providers: p.registry,
		Credentials: credentials, Parking: p.bus, Log: log,
		MaxInFlight: p.settings.ExecutorMaxInFlight, DrainTimeout: p.settings.DrainTimeout,
	})
}

func (p *process) buildScheduler(log zerolog.Logger) (service, error) {
	return scheduler.New(scheduler.Config{
		JetStream: p.bus.JetStream(), Firings: p.bus, Log: log, DrainTimeout: p.settings.DrainTimeout,
	})
}

func (p *process) buildAuth(ctx context.Context, log zerolog.Logger) (service, error) {
	key, err := p.apiKey()
	if err != nil {
		return nil, err
	}
	keys, err := p.openKeys(ctx)
	if err != nil {
		return nil, err
	}
	return auth.New(auth.Config{
		Conn: p.bus.Conn(), JetStream: p.bus.JetStream(), Providers: p.registry,
		Keys: keys, APIKey: key, Log: log,
	})
}

// openKeys opens the encryption keys of the credentials.
func (p *process) openKeys(ctx context.Context) (*auth.Keys, error) {
	bucket, err := p.bus.JetStream().KeyValue(ctx, bus.BucketKeys)
	if err != nil {
		return nil, fmt.Errorf("opening bucket %s: %w", bus.BucketKeys, err)
	}
	connections, err := p.bus.JetStream().KeyValue(ctx, events.BucketConnections)
	if err != nil {
		return nil, fmt.Errorf("opening bucket %s: %w", events.BucketConnections, err)
	}
	path := p.keysetFile()
	keys, created, err := auth.OpenKeys(ctx, auth.KeysConfig{Path: path, Bucket: bucket, Connections: connections})
	if err != nil {
		return nil, &failure{exit: exitFailure, what: "the encryption key does not open", cause: err}
	}
	if created {
		p.log.Warn().Str("path", path).Msg("encryption key made: keep a copy of it, without it credentials are lost")
	}
	return keys, nil
}

func (p *process) keysetFile() string {
	if p.settings.KeysetFile != "" {
		return p.settings.KeysetFile
	}
	return filepath.Join(p.settings.DataDir, "keyset.json")
}

// apiKeyFile is where a key is made when the operator has set none.
func (p *process) apiKeyFile() string { return filepath.Join(p.settings.DataDir, "api_key") }

// apiKey is the operator's, or one made once for this data directory.
func (p *process) apiKey() (providers.Secret, error) {
	if !p.settings.APIKey.IsZero() {
		return p.settings.APIKey, nil
	}
	key, created, err := keepSecret(p.apiKeyFile())
	if err != nil {
		return key, fmt.Errorf("making the API key: %w", err)
	}
	if created {
		p.log.Info().Str("path", p.apiKeyFile()).Msg("API key made")
	}
	return key, nil
}
