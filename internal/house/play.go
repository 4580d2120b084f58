package house

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"path/filepath"
	"slices"

	"github.com/plugfn/plugfn/internal/sandbox"
	"github.com/plugfn/plugfn/internal/secretfile"
	"github.com/plugfn/plugfn/pkg/providers"
)

// SecretsDir is where Secure keeps webhook secrets.
func (p *Process) SecretsDir() string { return filepath.Join(p.cfg.DataDir, "secrets") }

// SecretFile is where the generated webhook secret of a provider is.
func SecretFile(secretsDir, provider string) string {
	return filepath.Join(secretsDir, provider+"_webhook_secret")
}

// Secure gives each provider that sends deliveries a webhook secret, unless it
// has one: the same one at each start. It is for a process that one person
// tries things with; call it before Register.
func (p *Process) Secure(apps map[string]providers.App) error {
	for name, pack := range p.packs {
		app := apps[name]
		if pack.Webhooks == nil || len(app.WebhookSecrets) > 0 {
			continue
		}
		secret, _, err := secretfile.Keep(SecretFile(p.SecretsDir(), name))
		if err != nil {
			return fmt.Errorf("making the webhook secret of %s: %w", name, err)
		}
		signer := pack.Webhooks.NewSigner(nil, secret)
		app.WebhookSecrets = signer.Secrets()
		p.signers = append(p.signers, signer)
		apps[name] = app
	}
	return nil
}

// Sandbox is the server that plays the providers.
type Sandbox struct {
	URL       string   // "": it plays none
	Providers []string // that it plays, in order
	stop      func() error
}

// Close ends the sandbox and waits for it. The services, which call it, have
// ended before.
func (s *Sandbox) Close() error { return s.stop() }

// isCalled tells the packs of providers that PlugFn calls.
func isCalled(pack *providers.Pack) bool { return len(pack.Actions) > 0 || len(pack.Auth) > 0 }

// Play starts the sandbox and has the providers' base URLs in apps point at it,
// but for those that the operator set and those that nobody calls. Call it
// before Register.
func (p *Process) Play(ctx context.Context, apps map[string]providers.App) (*Sandbox, error) {
	played := maps.Clone(p.packs)
	maps.DeleteFunc(played, func(name string, pack *providers.Pack) bool {
		return apps[name].BaseURL != "" || !isCalled(pack)
	})
	if len(played) == 0 {
		return &Sandbox{stop: func() error { return nil }}, nil
	}
	box, err := sandbox.New(sandbox.Config{Packs: played, Log: p.log.With().Str("service", "sandbox").Logger()})
	if err != nil {
		return nil, err
	}
	l, err := listen(ctx, "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	s := &Sandbox{URL: "http://" + l.Addr().String(), Providers: slices.Sorted(maps.Keys(played))}
	for _, name := range s.Providers {
		app := apps[name]
		app.AuthBaseURL = sandbox.BaseURL(s.URL, name)
		if app.ClientID == "" { // the sandbox takes any
			app.ClientID, app.ClientSecret = "plugfn-dev", providers.NewSecret([]byte("plugfn-dev"))
		}
		app.BaseURL = sandbox.BaseURL(s.URL, name)
		apps[name] = app
	}
	server, ended := newServer(box.Handler(), p.log), make(chan error, 1)
	go func() { ended <- server.Serve(l) }()
	s.stop = func() error { // at once: nobody who calls is left
		err := server.Close()
		if e := <-ended; !errors.Is(e, http.ErrServerClosed) {
			err = errors.Join(err, e)
		}
		return err
	}
	return s, nil
}
