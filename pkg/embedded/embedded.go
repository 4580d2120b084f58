package embedded

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/rs/zerolog"

	"github.com/plugfn/plugfn/internal/bus"
	"github.com/plugfn/plugfn/internal/house"
	"github.com/plugfn/plugfn/pkg/plugfn"
	"github.com/plugfn/plugfn/pkg/providers"
)

// Config says how to run. The zero value but for Dir keeps everything in this
// process, and calls the real providers.
type Config struct {
	Dir string         // for everything that is kept; made if need be; needed
	Log zerolog.Logger // zero: none

	// HTTPAddr is where HTTP is served, such as 127.0.0.1:8484. Empty: nowhere;
	// mount [PlugFn.Handler] in a router of the application.
	HTTPAddr string
	// PublicURL is where browsers and providers reach the handler, with the path
	// that it is mounted at, such as https://app.example.com/plugfn. Empty: the
	// address of HTTPAddr if that is this machine's own; without one, nobody can
	// connect an account in a browser.
	PublicURL string
	ReturnTo  []string // where browsers may go after that; nil: nowhere
	// NATSAddr is where NATS clients connect. Empty: this process only. Whoever
	// reaches it may do anything.
	NATSAddr string

	APIKey       providers.Secret         // zero: one is made in Dir
	KEK          providers.Secret         // wraps the key of credentials: 32 bytes in base64; zero: it lies in Dir as it is
	ProvidersDir string                   // packs beside the built-in ones; empty: none
	Apps         map[string]providers.App // the operator's OAuth apps and webhook secrets :: provider → app

	// Sandbox has a fake of each provider answer, so that no account is needed;
	// SandboxUser is connected to all of them, empty: nobody.
	Sandbox     bool
	SandboxUser string

	// LazySync leaves it to the operating system when what is stored reaches the
	// disk: for tests, and for data that may be lost with the power.
	LazySync bool

	InFlight         int           // actions at once; 0: 256
	SchedulesPerUser int           // 0: 1000
	WorkflowsPerUser int           // 0: 200
	RunsPerUser      int           // of workflows, that have not ended; 0: 10,000
	StepsPerUser     int           // that these begin within an hour; 0: 1,000,000
	HealEvery        time.Duration // between questions for deliveries that did not arrive; 0: 5 minutes; below: never
	DrainTimeout     time.Duration // for work in hand, when it closes; 0: 30 s
}

const (
	maxIngressBytes = 256 << 20
	maxIngress      = 512
	ingressRate     = 1000
	maxPerUser      = 64
	maxStream       = 1 << 30
)

func (c Config) house() (house.Config, error) {
	if c.Dir == "" {
		return house.Config{}, errors.New("embedded: Config.Dir is missing: the directory for what is kept")
	}
	h := house.Config{
		Log: c.Log, Version: "embedded", DataDir: c.Dir, ProvidersDir: c.ProvidersDir, APIKey: c.APIKey,
		HTTPAddr: cmp.Or(c.HTTPAddr, house.NoHTTP), PublicURL: c.PublicURL, ReturnTo: c.ReturnTo,
		NATSAddr: cmp.Or(c.NATSAddr, "-"), Durability: bus.Single, StreamMaxBytes: maxStream, SpoolDir: "-",
		IngressMaxInFlight: maxIngress, IngressMaxBytes: maxIngressBytes, IngressRate: ingressRate,
		ExecutorMaxInFlight: cmp.Or(c.InFlight, 256), ExecutorMaxPerUser: maxPerUser, SchedulesPerUser: cmp.Or(c.SchedulesPerUser, 1000),
		WorkflowsPerUser: cmp.Or(c.WorkflowsPerUser, 200), RunsPerUser: cmp.Or(c.RunsPerUser, 10_000), StepsPerUser: cmp.Or(c.StepsPerUser, 1_000_000),
		HealEvery: max(0, cmp.Or(c.HealEvery, 5*time.Minute)), DrainTimeout: cmp.Or(c.DrainTimeout, 30*time.Second),
	}
	if c.LazySync {
		h.Durability = bus.Dev
	}
	if c.KEK.IsZero() {
		return h, nil
	}
	var err error
	if h.Wrapper, err = house.KEK(c.KEK); err != nil {
		return h, fmt.Errorf("embedded: Config.KEK %w", err)
	}
	return h, nil
}

// PlugFn is one that runs in this process.
type PlugFn struct {
	process *house.Process
	house   *house.House
	sandbox *house.Sandbox // nil: there is none
	client  *plugfn.Client
	stop    context.CancelFunc
	ended   chan struct{} // closed once everything has ended
	err     error         // what it ended with; set before
}

// Open starts a PlugFn and returns when it takes work. It runs until it is closed;
// ctx bounds the start alone. One directory belongs to one process at a time.
func Open(ctx context.Context, cfg Config) (*PlugFn, error) {
	settings, err := cfg.house()
	if err != nil {
		return nil, err
	}
	p := &PlugFn{ended: make(chan struct{})}
	if err := p.assemble(ctx, settings, &cfg); err != nil {
		return nil, fmt.Errorf("embedded: %w", errors.Join(err, p.release()))
	}
	running, stop := context.WithCancel(context.WithoutCancel(ctx))
	p.stop = stop
	go func() {
		defer close(p.ended)
		p.err = errors.Join(p.house.Run(running), p.release())
	}()
	if err := p.start(ctx, &cfg); err != nil {
		return nil, fmt.Errorf("embedded: %w", errors.Join(err, p.Close()))
	}
	return p, nil
}

func (p *PlugFn) assemble(ctx context.Context, settings house.Config, cfg *Config) (err error) {
	if p.process, err = house.Open(ctx, settings); err != nil {
		return err
	}
	apps := map[string]providers.App{}
	for name, app := range cfg.Apps {
		if p.process.Packs()[name] == nil {
			return fmt.Errorf("Config.Apps: there is no provider %q", name)
		}
		apps[name] = app
	}
	if cfg.Sandbox {
		if err := p.process.Secure(apps); err != nil {
			return err
		}
		if p.sandbox, err = p.process.Play(ctx, apps); err != nil {
			return err
		}
	}
	if err := p.process.Register(apps); err != nil {
		return err
	}
	p.house, err = p.process.Assemble(ctx, house.AllRoles())
	return err
}

// start waits until everything works, and connects.
func (p *PlugFn) start(ctx context.Context, cfg *Config) error {
	ready := make(chan error, 1)
	waiting, cancel := context.WithCancel(ctx)
	defer cancel()
	go func() { ready <- p.house.Wait(waiting) }()
	select {
	case err := <-ready:
		if err != nil {
			return err
		}
	case <-p.ended: // Close says why
		cancel()
		return <-ready
	}
	if cfg.Sandbox && cfg.SandboxUser != "" {
		if err := p.house.ConnectTo(ctx, p.sandbox, cfg.SandboxUser); err != nil {
			return err
		}
	}
	key, err := p.house.APIKey()
	if err != nil {
		return err
	}
	conn, err := p.process.Bus().Application()
	if err != nil {
		return err
	}
	p.client, err = plugfn.New(conn, plugfn.WithLog(cfg.Log),
		plugfn.WithAPI(house.LocalURL, string(key.Reveal())), plugfn.WithHTTPClient(p.house.Local()))
	if err != nil {
		conn.Close()
	}
	return err
}

// release gives back what is open beside the services.
func (p *PlugFn) release() error {
	var problems []error
	if p.sandbox != nil {
		problems = append(problems, p.sandbox.Close())
	}
	if p.process != nil {
		problems = append(problems, p.process.Close())
	}
	return errors.Join(problems...)
}

// Client is a client of this PlugFn, with its API. It is closed with it.
func (p *PlugFn) Client() *plugfn.Client { return p.client }

// Handler is the whole HTTP side: webhooks, the flows that connect accounts, the
// API, health and metrics. The API wants its key; for browsers of the
// application's own users there is [plugfn.Client.Handler].
func (p *PlugFn) Handler() http.Handler { return p.house.Handler() }

// URL is where HTTP is served, "" for nowhere.
func (p *PlugFn) URL() string { return p.house.URL() }

// NATSURL is where NATS clients connect, "" where only this process can.
func (p *PlugFn) NATSURL() string { return p.process.Bus().ClientURL() }

// Done is closed when it has ended, by itself or because it was closed.
func (p *PlugFn) Done() <-chan struct{} { return p.ended }

// Close stops taking work, lets what is in hand end, and returns what it ended
// with. It may be called again.
func (p *PlugFn) Close() error {
	if p.client != nil {
		conn := p.client.NATS()
		_ = p.client.Close() // only the connection can fail, which ends now
		conn.Close()
	}
	p.stop()
	<-p.ended
	return p.err
}

// Trigger sends this PlugFn, whose providers are a sandbox's, an example delivery
// of one, signed as the real ones are: the one that makes an event of that name,
// such as github and issues.opened. id is what deliveries are told apart by: a
// second one with it makes no event.
func (p *PlugFn) Trigger(ctx context.Context, provider, event, id string) error {
	if p.sandbox == nil {
		return errors.New("embedded: Trigger needs Config.Sandbox")
	}
	if err := p.house.Trigger(ctx, provider, event, id); err != nil {
		return fmt.Errorf("embedded: %w", err)
	}
	return nil
}
