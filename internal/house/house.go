package house

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"slices"
)

// IsOnlyIngress reports whether these services only take deliveries, which they
// can while the bus is away.
func IsOnlyIngress(roles []string) bool { return slices.Equal(roles, []string{RoleIngress}) }

// House is the services of one process behind one HTTP handler.
type House struct {
	*Process
	mux      *http.ServeMux
	health   *health
	services []service
}

// Assemble opens the port and builds the services of some roles. It serves
// nothing yet.
func (p *Process) Assemble(ctx context.Context, roles []string) (h *House, err error) {
	if p.cfg.HTTPAddr != NoHTTP {
		if p.listener, err = listen(ctx, p.cfg.HTTPAddr); err != nil {
			return nil, err
		}
	}
	defer func() {
		if err != nil && p.listener != nil {
			err = errors.Join(err, p.listener.Close())
		}
	}()
	h = &House{Process: p, mux: http.NewServeMux()}
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
	h.mux.Handle("GET /metrics", newScrape(p.bus, h.services, p.cfg.Version, p.log))
	return h, nil
}

// readiness says whether a service takes work: by itself, or for those that
// serve requests on the bus, by whether they answer there.
func (p *Process) readiness(role string, s service) func(context.Context) error {
	if r, ok := s.(interface{ Ready(context.Context) error }); ok {
		return r.Ready
	}
	name, ok := map[string]string{RoleExecutor: "plugfn-executor", RoleAuth: "plugfn-auth"}[role]
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

// Handler is the HTTP side of the services, for what does not come through the
// port. It works while the house runs.
func (h *House) Handler() http.Handler { return h.mux }

// Wait returns when all services take work, or with an error when ctx ends.
func (h *House) Wait(ctx context.Context) error { return h.health.wait(ctx) }

// URL is where other programs on this machine reach the HTTP server; "" where
// nothing listens.
func (h *House) URL() string {
	if h.listener == nil {
		return ""
	}
	addr := *h.listener.Addr().(*net.TCPAddr)
	if addr.IP.IsUnspecified() {
		addr.IP = net.IPv4(127, 0, 0, 1)
	}
	return "http://" + addr.String()
}

// Run serves until ctx ends or something breaks, together with tasks. It stops
// in this order: readiness, HTTP, the services. They get a context that ends
// only once HTTP has ended, so that a delivery in hand finds them at work.
func (h *House) Run(ctx context.Context, tasks ...func(context.Context) error) error {
	serving, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer stop()
	tasks = append(tasks, func(ctx context.Context) error {
		defer stop()
		return h.serve(ctx)
	})
	for _, s := range h.services {
		tasks = append(tasks, func(context.Context) error { return s.Run(serving) })
	}
	return runGroup(ctx, tasks...)
}

// serve serves HTTP until ctx ends. Where nothing listens, whoever passes
// requests to the handler has none in hand by then.
func (h *House) serve(ctx context.Context) error {
	if h.listener == nil {
		<-ctx.Done()
		h.health.draining.Store(true)
		return nil
	}
	server := newServer(h.mux, h.log)
	server.RegisterOnShutdown(func() { h.health.draining.Store(true) })
	return serveHTTP(ctx, server, h.listener, h.cfg.DrainTimeout)
}
