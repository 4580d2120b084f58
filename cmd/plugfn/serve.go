package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"slices"

	"github.com/spf13/cobra"

	"github.com/plugfn/plugfn/cmd/plugfn/settings"
)

func newServeCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "serve [all|ingress|executor|auth|scheduler]...",
		Short: "Run all services, or some of them, as in production",
		Long: "Serve runs all services in this process, or those that are named. Where they run in " +
			"several processes, all need the same NATS server: set PLUGFN_NATS_URL.\n\n" +
			"It stops on SIGTERM and SIGINT when the work in hand is done; a second signal ends it at once.",
		Example: `plugfn serve
PLUGFN_NATS_URL=nats://nats:4222 plugfn serve executor`,
		ValidArgs: append([]string{"all"}, allRoles()...),
		Args:      oneOf(append([]string{"all"}, allRoles()...)...),
		RunE: func(cmd *cobra.Command, args []string) error {
			s, err := loadSettings(cmd, nil)
			if err != nil {
				return err
			}
			return serve(cmd.Context(), s, args)
		},
	}
	settings.AddFlags(cmd.Flags(), settings.Server)
	return cmd
}

// serve runs the services of some roles until ctx ends.
func serve(ctx context.Context, s *settings.Settings, roles []string) (err error) {
	wanted := slices.DeleteFunc(allRoles(), func(role string) bool {
		return len(roles) > 0 && !slices.Contains(roles, role) && !slices.Contains(roles, "all")
	})
	if s.NATSURL == "" && len(wanted) < len(allRoles()) {
		return usage("set PLUGFN_NATS_URL, or run: plugfn serve all",
			"serve: some services alone need a NATS server that the others use too")
	}
	p, err := openProcess(ctx, s, newLog(s, os.Stderr), isOnlyIngress(wanted))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, p.close()) }()
	apps, err := p.apps()
	if err != nil {
		return err
	}
	if err := p.register(apps); err != nil {
		return err
	}
	h, err := p.assemble(ctx, wanted)
	if err != nil {
		return err
	}
	p.log.Info().Strs("services", wanted).Str("http", h.url()).Str("access", p.bus.Access()).Str("version", version).Msg("serving")
	return h.run(ctx, p.settle)
}

// isOnlyIngress reports whether these services only take deliveries, which they
// can while the bus is away.
func isOnlyIngress(roles []string) bool { return slices.Equal(roles, []string{roleIngress}) }

// house is the services of one process behind one HTTP server.
type house struct {
	*process
	mux      *http.ServeMux
	health   *health
	services []service
}

// assemble opens the port and builds the services of some roles. It serves
// nothing yet.
func (p *process) assemble(ctx context.Context, roles []string) (h *house, err error) {
	if p.listener, err = listen(ctx, p.settings.HTTPAddr); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, p.listener.Close())
		}
	}()
	h = &house{process: p, mux: http.NewServeMux()}
	var checks []check
	for _, role := range roles {
		s, err := p.build(ctx, role)
		if err != nil {
			return nil, err
		}
		h.services = append(h.services, s)
		if m, ok := s.(mounter); ok {
			m.Mount(h.mux)
		}
		checks = append(checks, check{role, p.readiness(role, s)})
	}
	h.health = newHealth(append([]check{{"bus", p.busReadiness(roles)}}, checks...)...)
	h.health.notes = p.notes(roles)
	for _, s := range h.services {
		if n, ok := s.(interface{ notes() []note }); ok {
			h.health.notes = append(h.health.notes, n.notes()...)
		}
	}
	h.health.mount(h.mux)
	h.mux.Handle("GET /metrics", newScrape(p.bus.JetStream(), h.services, p.log))
	return h, nil
}

// readiness says whether a service takes work: by itself, or for those that
// serve requests on the bus, by whether they answer there.
func (p *process) readiness(role string, s service) func(context.Context) error {
	if r, ok := s.(interface{ Ready(context.Context) error }); ok {
		return r.Ready
	}
	name, ok := map[string]string{roleExecutor: "plugfn-executor", roleAuth: "plugfn-auth"}[role]
	if !ok {
		return func(context.Context) error { return nil }
	}
	return func(ctx context.Context) error {
		if _, err := p.bus.Conn().RequestWithContext(ctx, "$SRV.PING."+name, nil); err != nil {
			return fmt.Errorf("it does not answer on the bus: %w", err)
		}
		return nil
	}
}

// url is where other programs on this machine reach the HTTP server.
func (h *house) url() string {
	addr := *h.listener.Addr().(*net.TCPAddr)
	if addr.IP.IsUnspecified() {
		addr.IP = net.IPv4(127, 0, 0, 1)
	}
	return "http://" + addr.String()
}

// run serves until ctx ends or something breaks, together with tasks. It stops
// in this order: readiness, HTTP, the services. They get a context that ends
// only once HTTP has ended, so that a delivery in hand finds them at work.
func (h *house) run(ctx context.Context, tasks ...func(context.Context) error) error {
	serving, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer stop()
	server := newServer(h.mux, h.log)
	server.RegisterOnShutdown(func() { h.health.draining.Store(true) })
	tasks = append(tasks, func(ctx context.Context) error {
		defer stop()
		return serveHTTP(ctx, server, h.listener, h.settings.DrainTimeout)
	})
	for _, s := range h.services {
		tasks = append(tasks, func(context.Context) error { return s.Run(serving) })
	}
	return runGroup(ctx, tasks...)
}
