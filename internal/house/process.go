package house

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"

	"github.com/rs/zerolog"

	"github.com/plugfn/plugfn/internal/bus"
	"github.com/plugfn/plugfn/pkg/providers"
	"github.com/plugfn/plugfn/pkg/providers/catalog"
)

// Process is what all services of one process share.
type Process struct {
	signers  []*providers.Signer // of example deliveries, see Secure
	cfg      Config
	log      zerolog.Logger
	packs    map[string]*providers.Pack
	bus      *bus.Bus            // as admin, or in the one role of Config
	guests   []*bus.Bus          // the connections of the services, on the same server
	reached  chan struct{}       // closed once all of them are of use
	spool    *bus.Spool          // of ingress; nil: there is none
	registry *providers.Registry // set by Register
	listener net.Listener        // of HTTP; set by Assemble; nil: nothing listens
}

// Open reads the packs and opens the bus. Whoever calls it closes the process.
func Open(ctx context.Context, s Config) (*Process, error) {
	if s.NATSSecure && s.NATSURL != "" {
		return nil, wrongSetting("leave one of them out; a server of your own gets the configuration of: plugfn user config",
			"PLUGFN_NATS_SECURE and PLUGFN_NATS_URL: only the embedded server can be closed from here")
	}
	packs, err := Packs(s.ProvidersDir)
	if err != nil {
		return nil, err
	}
	b, err := bus.Open(ctx, bus.Config{
		Log: s.Log.With().Str("service", "bus").Logger(), URL: s.NATSURL, Credentials: s.NATSCreds, NKey: s.NATSNKey, Role: bus.Role(s.Role),
		MayBeAway: s.MayBeAway && s.NATSURL != "", Secure: s.NATSSecure, Addr: s.NATSAddr, Dir: s.DataDir, Durability: s.Durability, MaxBytes: s.StreamMaxBytes,
	})
	if err != nil {
		return nil, busTrouble(&s, err)
	}
	return &Process{cfg: s, log: s.Log, packs: packs, bus: b, reached: make(chan struct{})}, nil
}

func busTrouble(c *Config, err error) error {
	t := &Trouble{What: "the bus does not open", Cause: err}
	if c.NATSURL != "" {
		t.Kind = KindUnreachable
	}
	return t
}

// Packs are the provider packs by their names. Nobody changes them.
func (p *Process) Packs() map[string]*providers.Pack { return p.packs }

// Bus is the connection as admin, or in the one role of Config.
func (p *Process) Bus() *bus.Bus { return p.bus }

// as connects to the bus in the role of a service. close ends the connection.
func (p *Process) as(ctx context.Context, role string) (*bus.Bus, error) {
	if p.bus.Role() == bus.Role(role) {
		return p.bus, nil
	}
	b, err := p.bus.As(ctx, bus.Role(role))
	if err != nil {
		return nil, busTrouble(&p.cfg, err)
	}
	p.guests = append(p.guests, b)
	return b, nil
}

// reachedLater is closed once the bus is of use, and nil where that is so already.
func (p *Process) reachedLater() <-chan struct{} {
	for _, b := range append([]*bus.Bus{p.bus}, p.guests...) {
		if !b.IsSettled() {
			return p.reached
		}
	}
	return nil
}

// Settle makes the bus of use once it is there, where it was away at the start,
// and then waits for the end of ctx.
func (p *Process) Settle(ctx context.Context) error {
	for _, b := range append([]*bus.Bus{p.bus}, p.guests...) {
		b.Settle(ctx)
	}
	if ctx.Err() == nil {
		close(p.reached)
	}
	<-ctx.Done()
	return nil
}

// ready says why one of the connections cannot be used now.
func (p *Process) ready(ctx context.Context) error {
	for _, b := range append([]*bus.Bus{p.bus}, p.guests...) {
		if err := b.Ready(ctx); err != nil {
			return fmt.Errorf("as %s: %w", b.Role(), err)
		}
	}
	return nil
}

// Close ends the bus, after the services that use it have ended.
func (p *Process) Close() error {
	ctx, cancel := context.WithTimeout(context.Background(), p.cfg.DrainTimeout)
	defer cancel()
	var problems []error
	for _, b := range append(p.guests, p.bus) {
		problems = append(problems, b.Close(ctx))
	}
	if p.spool != nil {
		problems = append(problems, p.spool.Close())
	}
	return errors.Join(problems...)
}

// Register joins the packs with the operator's settings for them.
func (p *Process) Register(apps map[string]providers.App) error {
	var problems []error
	for name, app := range apps {
		hooks := p.packs[name].Webhooks
		for i, secret := range app.WebhookSecrets {
			if hooks == nil {
				break
			}
			if err := hooks.CheckSecret(secret); err != nil {
				problems = append(problems, fmt.Errorf("%s, line %d: %w", p.cfg.origin("providers."+name+".webhook_secret"), i+1, err))
			}
		}
	}
	registry, err := providers.NewRegistry(p.packs, apps)
	if err := errors.Join(append(problems, err)...); err != nil {
		return &Trouble{Kind: KindSetting, What: "the settings of a provider are wrong", Cause: err, Fix: "plugfn help environment"}
	}
	p.registry = registry
	return nil
}

// Packs reads the built-in packs and those in dir, "" for none.
func Packs(dir string) (map[string]*providers.Pack, error) {
	packs, err := providers.LoadTested(catalog.FS)
	if err != nil {
		return nil, fmt.Errorf("loading the built-in packs: %w", err)
	}
	if dir == "" {
		return packs, nil
	}
	if info, err := os.Stat(dir); err != nil || !info.IsDir() {
		return nil, &Trouble{Kind: KindSetting, What: fmt.Sprintf("PLUGFN_PROVIDERS_DIR: %s is no directory", dir), Cause: err}
	}
	own, err := providers.LoadAll(os.DirFS(dir))
	if err != nil {
		return nil, &Trouble{Kind: KindSetting, What: "a provider pack in " + dir + " is wrong", Cause: err}
	}
	return providers.Overlay(packs, own), nil
}
