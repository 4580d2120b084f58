package main

import (
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"time"

	"github.com/charmbracelet/colorprofile"
	"github.com/spf13/cobra"

	"github.com/plugfn/plugfn/cmd/plugfn/settings"
	"github.com/plugfn/plugfn/internal/bus"
	"github.com/plugfn/plugfn/internal/house"
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

	*house.House
	settings *settings.Settings
	sandbox  *house.Sandbox // nil: there is none
}

// run serves until ctx ends.
func (d *dev) run(ctx context.Context, s *settings.Settings) (err error) {
	d.settings = s
	log := newLog(s, os.Stderr)
	traces, err := openTraces(ctx, s, log, house.AllRoles())
	if err != nil {
		return err
	}
	defer traces.end()
	p, apps, err := open(ctx, s, log, traces.tracer(), false, "")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, p.Close()) }()
	if err := p.Secure(apps); err != nil {
		return err
	}
	if d.withSandbox {
		if d.sandbox, err = p.Play(ctx, apps); err != nil {
			return err
		}
		defer func() { err = errors.Join(err, d.sandbox.Close()) }() // after the services, which call it
	}
	if err := p.Register(apps); err != nil {
		return err
	}
	if d.House, err = p.Assemble(ctx, house.AllRoles()); err != nil {
		return err
	}
	return d.Run(ctx, d.present)
}

// present tells the person once everything works, and then what happens. It is
// one of the tasks of the house.
func (d *dev) present(ctx context.Context) error {
	if err := d.Wait(ctx); err != nil {
		return nil //nolint:nilerr // ctx ended: another task says why
	}
	if err := d.connectDemo(ctx); err != nil {
		return err
	}
	feed, err := newFeed(d.Bus().Conn())
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
	c := contextFile{HTTPURL: d.URL(), NATSURL: d.natsURL()}
	if d.sandbox != nil {
		c.SandboxURL = d.sandbox.URL
	}
	if d.settings.APIKey.IsZero() {
		c.APIKeyFile = d.APIKeyFile()
	}
	c.AdminKey = d.adminKey()
	c.SecretsDir, c.ProvidersDir = d.SecretsDir(), d.settings.ProvidersDir
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
	if d.Bus().Embedded() {
		return d.Bus().ClientURL()
	}
	return hosts(d.settings.NATSURL)
}
