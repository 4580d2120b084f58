package ingress

import (
	"context"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"github.com/plugfn/plugfn/pkg/events"
	"github.com/plugfn/plugfn/pkg/providers"
)

// vault is what the auth service keeps.
type vault struct {
	mu     sync.Mutex
	stored map[string][]providers.Secret
	partly bool
	loaded chan struct{}
}

func newVault() *vault {
	v := &vault{stored: map[string][]providers.Secret{}, loaded: make(chan struct{})}
	close(v.loaded)
	return v
}

func (v *vault) Loaded() <-chan struct{} { return v.loaded }

func (v *vault) WebhookSecrets(provider string) ([]providers.Secret, bool) {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.stored[provider], !v.partly
}

func (v *vault) set(partly bool, provider string, texts ...string) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.partly, v.stored[provider] = partly, nil
	for _, text := range texts {
		v.stored[provider] = append(v.stored[provider], providers.NewSecret([]byte(text)))
	}
}

func TestStoredSecrets(t *testing.T) {
	v := newVault()
	g := open(t, func(c *Config) { c.Secrets = v })
	pack, _ := g.registry.Pack("github")
	signed := func(text string) *providers.Delivery {
		d := g.issueOpened("d-1", 1)
		if err := pack.Webhooks.NewSigner([]providers.Secret{providers.NewSecret([]byte(text))}, providers.Secret{}).Sign(d, ""); err != nil {
			t.Fatal(err)
		}
		return d
	}
	steps := []struct {
		name   string
		partly bool
		stored []string
		by     string
		status int
	}{
		{"that of the settings", false, nil, secret, 200},
		{"one that nobody has", false, nil, "new", 401},
		{"a stored one", false, []string{"new"}, "new", 200},
		{"a stored one of several", false, []string{"newest", "new"}, "new", 200},
		{"that of the settings beside them", false, []string{"newest", "new"}, secret, 200},
		{"one that is gone", false, []string{"newest"}, "new", 401},
		{"one that may be there", true, []string{"newest"}, "new", 503},
		{"one that is known while others may be there", true, []string{"newest"}, "newest", 200},
	}
	for _, step := range steps {
		t.Run(step.name, func(t *testing.T) {
			v.set(step.partly, "github", step.stored...)
			if status, body := g.send("github", signed(step.by)); status != step.status {
				t.Errorf("status %d %s, want %d", status, body, step.status)
			}
		})
	}
	if log := g.log.String(); strings.Contains(log, "newest") {
		t.Errorf("a secret is in the log: %s", log)
	}
}

func TestNotReadyUntilSecretsAreKnown(t *testing.T) {
	v := newVault()
	v.loaded = make(chan struct{})
	g := open(t)
	service, err := New(Config{JetStream: g.bus.JetStream(), Providers: g.registry, Secrets: v, Log: zerolog.New(g.log).With().Str("which", "second").Logger()})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- service.Run(ctx) }()
	g.eventually("a loaded index", func() bool { return service.index.loaded.Load() })
	if service.Ready(ctx) == nil {
		t.Error("ready without the secrets")
	}
	if strings.Contains(g.log.String(), "second") {
		t.Error("warned before it is known")
	}
	close(v.loaded)
	if err := service.Ready(ctx); err != nil {
		t.Error(err)
	}
	g.eventually("the warning", func() bool { return strings.Contains(g.log.String(), `"which":"second","providers":["slack"]`) })
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

// TestRunFailsAtOnce: it does not wait for secrets when it cannot serve.
func TestRunFailsAtOnce(t *testing.T) {
	v := newVault()
	v.loaded = make(chan struct{})
	g := open(t)
	service, err := New(Config{JetStream: g.bus.JetStream(), Providers: g.registry, Secrets: v, Log: zerolog.New(g.log).With().Str("which", "second").Logger()})
	if err != nil {
		t.Fatal(err)
	}
	if err := g.bus.JetStream().DeleteKeyValue(t.Context(), events.BucketConnections); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if err := service.Run(ctx); err == nil || ctx.Err() != nil {
		t.Errorf("ended with %v", err)
	}
}
