package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"time"

	"github.com/rs/zerolog"

	"github.com/plugfn/plugfn/cmd/plugfn/settings"
	"github.com/plugfn/plugfn/internal/bus"
	"github.com/plugfn/plugfn/pkg/providers"
	"github.com/plugfn/plugfn/pkg/providers/catalog"
)

// process is what all services of one process share.
type process struct {
	signers  []*providers.Signer // of example deliveries, in plugfn dev only
	settings *settings.Settings
	log      zerolog.Logger
	packs    map[string]*providers.Pack
	bus      *bus.Bus            // as admin
	guests   []*bus.Bus          // the connections of the services, on the same server
	reached  chan struct{}       // closed once all of them are of use
	spool    *bus.Spool          // of ingress; nil: there is none
	registry *providers.Registry // set by register
	listener net.Listener        // of HTTP; set by assemble
}

// openProcess reads the packs and opens the bus. One outside may be away, if that
// is said. Whoever calls it closes the process.
func openProcess(ctx context.Context, s *settings.Settings, log zerolog.Logger, mayBeAway bool) (*process, error) {
	if s.NATSSecure && s.NATSURL != "" {
		return nil, usage("leave one of them out; a server of your own gets the configuration of: plugfn user config",
			"PLUGFN_NATS_SECURE and PLUGFN_NATS_URL: only the embedded server can be closed from here")
	}
	packs, err := loadPacks(s.ProvidersDir)
	if err != nil {
		return nil, err
	}
	for _, v := range s.Unknown(names(packs)) {
		log.Warn().Str("variable", v.Name).Str("nearest", v.Nearest).Msg("unknown variable sets nothing")
	}
	b, err := bus.Open(ctx, bus.Config{
		Log: log.With().Str("service", "bus").Logger(), URL: s.NATSURL, Credentials: s.NATSCreds, NKey: s.NATSNKey,
		MayBeAway: mayBeAway && s.NATSURL != "", Secure: s.NATSSecure, Addr: s.NATSAddr, Dir: s.DataDir, Durability: s.Durability, MaxBytes: s.StreamMaxBytes,
	})
	if err != nil {
		return nil, busFailure(s, err)
	}
	return &process{settings: s, log: log, packs: packs, bus: b, reached: make(chan struct{})}, nil
}

func busFailure(s *settings.Settings, err error) error {
	if s.NATSURL != "" {
		return &failure{exit: exitUnreachable, what: "the bus does not open", cause: err}
	}
	return &failure{exit: exitFailure, what: "the bus does not open", cause: err}
}

// as connects to the bus in the role of a service. close ends the connection.
func (p *process) as(ctx context.Context, role string) (*bus.Bus, error) {
	b, err := p.bus.As(ctx, bus.Role(role))
	if err != nil {
		return nil, busFailure(p.settings, err)
	}
	p.guests = append(p.guests, b)
	return b, nil
}

// reachedLater is closed once the bus is of use, and nil where that is so already.
func (p *process) reachedLater() <-chan struct{} {
	for _, b := range append([]*bus.Bus{p.bus}, p.guests...) {
		if !b.IsSettled() {
			return p.reached
		}
	}
	return nil
}

// settle makes the bus of use once it is there, where it was away at the start,
// and then waits for the end of ctx.
func (p *process) settle(ctx context.Context) error {
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
func (p *process) ready(ctx context.Context) error {
	for _, b := range append([]*bus.Bus{p.bus}, p.guests...) {
		if err := b.Ready(ctx); err != nil {
			return fmt.Errorf("as %s: %w", b.Role(), err)
		}
	}
	return nil
}

// close ends the bus, after the services that use it have ended.
func (p *process) close() error {
	ctx, cancel := context.WithTimeout(context.Background(), p.settings.DrainTimeout)
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

// register joins the packs with the operator's settings for them.
func (p *process) register(apps map[string]providers.App) error {
	var problems []error
	for name, app := range apps {
		hooks := p.packs[name].Webhooks
		for i, secret := range app.WebhookSecrets {
			if hooks == nil {
				break
			}
			if err := hooks.CheckSecret(secret); err != nil {
				problems = append(problems, fmt.Errorf("%s, line %d: %w", p.settings.Origin("providers."+name+".webhook_secret"), i+1, err))
			}
		}
	}
	registry, err := providers.NewRegistry(p.packs, apps)
	if err := errors.Join(append(problems, err)...); err != nil {
		return &failure{exit: exitUsage, what: "the settings of a provider are wrong", cause: err, fix: "plugfn help environment"}
	}
	p.registry = registry
	return nil
}

// apps returns the operator's settings for the packs that there are.
func (p *process) apps() (map[string]providers.App, error) {
	apps, err := p.settings.Apps(names(p.packs))
	if err != nil {
		return nil, &failure{exit: exitUsage, what: "the settings of a provider are wrong", cause: err, fix: "plugfn provider list"}
	}
	return apps, nil
}

// loadPacks reads the built-in packs and those in dir, "" for none.
func loadPacks(dir string) (map[string]*providers.Pack, error) {
	packs, err := providers.LoadTested(catalog.FS)
	if err != nil {
		return nil, fmt.Errorf("loading the built-in packs: %w", err)
	}
	if dir == "" {
		return packs, nil
	}
	if info, err := os.Stat(dir); err != nil || !info.IsDir() {
		return nil, &failure{exit: exitUsage, what: fmt.Sprintf("PLUGFN_PROVIDERS_DIR: %s is no directory", dir), cause: err}
	}
	own, err := providers.LoadAll(os.DirFS(dir))
	if err != nil {
		return nil, &failure{exit: exitUsage, what: "a provider pack in " + dir + " is wrong", cause: err}
	}
	return providers.Overlay(packs, own), nil
}

// newLog makes the log of a server.
func newLog(s *settings.Settings, w *os.File) zerolog.Logger {
	if s.LogFormat == "json" || s.LogFormat == "auto" && !isTerminal(w) {
		return zerolog.New(w).Level(s.LogLevel).With().Timestamp().Logger()
	}
	console := zerolog.ConsoleWriter{Out: w, TimeFormat: time.TimeOnly, NoColor: !isTerminal(w) || os.Getenv("NO_COLOR") != ""}
	return zerolog.New(console).Level(s.LogLevel).With().Timestamp().Logger()
}
