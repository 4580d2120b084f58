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

// The services by the names that `plugfn serve` takes, which are those of their
// roles on the bus.
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

// build makes the service of a role, with a connection of its own to the bus.
// It starts nothing.
func (p *process) build(ctx context.Context, role string) (service, error) {
	log := p.log.With().Str("service", role).Logger()
	b, err := p.as(ctx, role)
	if err != nil {
		return nil, err
	}
	switch role {
	case roleIngress:
		return p.buildIngress(b, log)
	case roleExecutor:
		return p.buildExecutor(b, log)
	case roleAuth:
		return p.buildAuth(ctx, b, log)
	default:
		return p.buildScheduler(b, log)
	}
}

func (p *process) buildIngress(b *bus.Bus, log zerolog.Logger) (service, error) {
	return ingress.New(ingress.Config{
		JetStream: b.JetStream(), Providers: p.registry, Log: log,
		MaxInFlight: int64(p.settings.IngressMaxInFlight), MaxBytes: p.settings.IngressMaxBytes,
	})
}

func (p *process) buildExecutor(b *bus.Bus, log zerolog.Logger) (service, error) {
	credentials, err := auth.NewClient(b.Conn())
	if err != nil {
		return nil, err
	}
	return executor.New(executor.Config{
		Conn: b.Conn(), JetStream: b.JetStream(), Providers: p.registry,
		Credentials: credentials, Parking: b, Log: log,
		MaxInFlight: p.settings.ExecutorMaxInFlight, DrainTimeout: p.settings.DrainTimeout,
	})
}

func (p *process) buildScheduler(b *bus.Bus, log zerolog.Logger) (service, error) {
	return scheduler.New(scheduler.Config{
		JetStream: b.JetStream(), Firings: b, Log: log, DrainTimeout: p.settings.DrainTimeout,
	})
}

func (p *process) buildAuth(ctx context.Context, b *bus.Bus, log zerolog.Logger) (service, error) {
	key, err := p.apiKey()
	if err != nil {
		return nil, err
	}
	keys, err := p.openKeys(ctx, b)
	if err != nil {
		return nil, err
	}
	return auth.New(auth.Config{
		Conn: b.Conn(), JetStream: b.JetStream(), Providers: p.registry,
		Keys: keys, APIKey: key, Log: log,
	})
}

// openKeys opens the encryption keys of the credentials.
func (p *process) openKeys(ctx context.Context, b *bus.Bus) (*auth.Keys, error) {
	bucket, err := b.JetStream().KeyValue(ctx, bus.BucketKeys)
	if err != nil {
		return nil, fmt.Errorf("opening bucket %s: %w", bus.BucketKeys, err)
	}
	connections, err := b.JetStream().KeyValue(ctx, events.BucketConnections)
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
