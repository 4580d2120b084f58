package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"github.com/charmbracelet/colorprofile"
	"github.com/spf13/cobra"

	"github.com/plugfn/plugfn/cmd/plugfn/settings"
	"github.com/plugfn/plugfn/internal/bus"
	"github.com/plugfn/plugfn/pkg/providers"
)

// demoUser is whose connections the sandbox comes with.
const demoUser = "demo"

func newDevCommand(started time.Time) *cobra.Command {
	noSandbox := false
	cmd := &cobra.Command{
		Use:   "dev",
		Short: "Run everything in one process, with a sandbox for each provider",
		Long: "Dev runs all services, a NATS server and a sandbox that plays the providers, so that everything can be " +
			"tried without an account. Other plugfn commands in the same directory find it by themselves.\n\n" +
			"It makes what is missing in its data directory: keys, webhook secrets, and connections of the user \"demo\" to the sandbox. " +
			"Its log is of warnings unless --log-level says otherwise.",
		Example: `plugfn dev
plugfn dev --http-addr 127.0.0.1:0 --nats-addr 127.0.0.1:0`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			s, err := loadSettings(cmd, map[string]string{"log.level": "warn"})
			if err != nil {
				return err
			}
			d := &dev{started: started, out: colorprofile.NewWriter(cmd.OutOrStdout(), os.Environ()), withSandbox: !noSandbox}
			return d.run(cmd.Context(), s)
		},
	}
	settings.AddFlags(cmd.Flags(), settings.Server)
	cmd.Flags().BoolVar(&noSandbox, "no-sandbox", false, "call the real providers")
	return cmd
}

// dev is everything in one process, for one person.
type dev struct {
	started     time.Time
	out         io.Writer
	withSandbox bool

	*house
	apps       map[string]providers.App
	sandboxed  []string // the providers that the sandbox plays
	sandboxURL string   // empty: none
}

// run serves until ctx ends.
func (d *dev) run(ctx context.Context, s *settings.Settings) (err error) {
	p, err := openProcess(ctx, s, newLog(s, os.Stderr), false)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, p.close()) }()
	if d.apps, err = p.apps(); err != nil {
		return err
	}
	if err := d.secure(p); err != nil {
		return err
	}
	if d.withSandbox {
		stop, err := d.playProviders(ctx, p)
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, stop()) }() // after the services, which call it
	}
	if err := p.register(d.apps); err != nil {
		return err
	}
	if d.house, err = p.assemble(ctx, allRoles()); err != nil {
		return err
	}
	return d.house.run(ctx, d.present)
}

// secure gives each provider that sends deliveries a webhook secret, the same
// one at each start.
func (d *dev) secure(p *process) error {
	for name, pack := range p.packs {
		app := d.apps[name]
		if pack.Webhooks == nil || len(app.WebhookSecrets) > 0 {
			continue
		}
		secret, _, err := keepSecret(secretFile(d.secretsDir(p), name))
		if err != nil {
			return fmt.Errorf("making the webhook secret of %s: %w", name, err)
		}
		signer := pack.Webhooks.NewSigner(nil, secret)
		app.WebhookSecrets = signer.Secrets()
		p.signers = append(p.signers, signer)
		d.apps[name] = app
	}
	return nil
}

func (d *dev) secretsDir(p *process) string { return filepath.Join(p.settings.DataDir, "secrets") }

// present tells the person once everything works, and then what happens. It is
// one of the tasks of the house.
func (d *dev) present(ctx context.Context) error {
	if err := d.health.wait(ctx); err != nil {
		return nil //nolint:nilerr // ctx ended: another task says why
	}
	if err := d.connectDemo(ctx); err != nil {
		return err
	}
	feed, err := newFeed(d.bus.Conn())
	if err != nil {
		return err
	}
	defer feed.close()
	path := filepath.Join(d.settings.DataDir, contextName)
	c, err := d.context()
	if err != nil {
		return err
	}
	if err := c.write(path); err != nil {
		return err
	}
	defer os.Remove(path) // one that is left behind is overwritten by the next start
	d.banner()
	return feed.run(ctx, d.out)
}

func (d *dev) context() (contextFile, error) {
	c := contextFile{HTTPURL: d.url(), NATSURL: d.natsURL(), SandboxURL: d.sandboxURL}
	if d.settings.APIKey.IsZero() {
		c.APIKeyFile = d.apiKeyFile()
	}
	c.AdminKey = d.adminKey()
	c.SecretsDir, c.ProvidersDir = d.secretsDir(d.process), d.settings.ProvidersDir
	for _, path := range []*string{&c.APIKeyFile, &c.AdminKey, &c.SecretsDir, &c.ProvidersDir} {
		if *path == "" {
			continue
		}
		absolute, err := filepath.Abs(*path)
		if err != nil {
			return c, err
		}
		*path = absolute
	}
	return c, nil
}

// adminKey is the path of the key with which commands connect; "" where the bus
// asks for none.
func (d *dev) adminKey() string {
	if d.settings.NATSSecure {
		return filepath.Join(d.settings.DataDir, "nkeys", string(bus.RoleAdmin)+".nk")
	}
	return d.settings.NATSNKey
}

func (d *dev) natsURL() string {
	if d.bus.Embedded() {
		return d.bus.ClientURL()
	}
	return hosts(d.settings.NATSURL)
}
