package main

import (
	"context"
	"errors"
	"os"
	"slices"
	"time"

	"github.com/rs/zerolog"
	"github.com/spf13/cobra"

	"github.com/plugfn/plugfn/cmd/plugfn/settings"
	"github.com/plugfn/plugfn/internal/house"
	"github.com/plugfn/plugfn/internal/tracing"
	"github.com/plugfn/plugfn/pkg/providers"
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
		ValidArgs: append([]string{"all"}, house.AllRoles()...),
		Args:      oneOf(append([]string{"all"}, house.AllRoles()...)...),
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
	wanted := slices.DeleteFunc(house.AllRoles(), func(role string) bool {
		return len(roles) > 0 && !slices.Contains(roles, role) && !slices.Contains(roles, "all")
	})
	if s.NATSURL == "" && len(wanted) < len(house.AllRoles()) {
		return usage("set PLUGFN_NATS_URL, or run: plugfn serve all",
			"serve: some services alone need a NATS server that the others use too")
	}
	log := newLog(s, os.Stderr)
	traces, err := openTraces(ctx, s, log, wanted)
	if err != nil {
		return err
	}
	defer traces.end()
	p, apps, err := open(ctx, s, log, traces.tracer(), house.IsOnlyIngress(wanted), onlyRole(s, wanted))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, p.Close()) }()
	if err := p.Register(apps); err != nil {
		return err
	}
	h, err := p.Assemble(ctx, wanted)
	if err != nil {
		return err
	}
	log.Info().Strs("services", wanted).Str("http", h.URL()).Str("access", p.Bus().Access()).Str("version", version).Msg("serving")
	return h.Run(ctx, p.Settle)
}

// onlyRole is the role of a single service that has its own key and not the
// admin's; "" for all others.
func onlyRole(s *settings.Settings, roles []string) string {
	if s.NATSURL == "" || s.NATSNKey == "" || len(roles) != 1 {
		return ""
	}
	if info, err := os.Stat(s.NATSNKey); err != nil || !info.IsDir() {
		return ""
	}
	if _, err := os.Stat(roleKey(s.NATSNKey)); !errors.Is(err, os.ErrNotExist) {
		return ""
	}
	return roles[0]
}

// open opens the process that the settings mean, and reads the operator's
// settings for the packs that there are. Whoever calls it closes the process.
func open(ctx context.Context, s *settings.Settings, log zerolog.Logger, tracer *tracing.Tracer, mayBeAway bool, role string) (*house.Process, map[string]providers.App, error) {
	wrapper, err := keysetWrapper(s)
	if err != nil {
		return nil, nil, err
	}
	p, err := house.Open(ctx, house.Config{
		Log: log, Tracer: tracer, Version: version, Origin: s.Origin,
		DataDir: s.DataDir, ProvidersDir: s.ProvidersDir, KeysetFile: s.KeysetFile, Wrapper: wrapper, APIKey: s.APIKey,
		HTTPAddr: s.HTTPAddr, PublicURL: s.PublicURL, ReturnTo: s.ReturnTo,
		NATSAddr: s.NATSAddr, NATSURL: s.NATSURL, NATSCreds: s.NATSCreds, NATSNKey: s.NATSNKey, NATSSecure: s.NATSSecure, Role: role,
		Durability: s.Durability, StreamMaxBytes: s.StreamMaxBytes, MayBeAway: mayBeAway,
		IngressMaxInFlight: s.IngressMaxInFlight, IngressMaxBytes: s.IngressMaxBytes, IngressRate: s.IngressRate,
		SpoolDir: s.SpoolDir, SpoolMaxBytes: s.SpoolMaxBytes,
		ExecutorMaxInFlight: s.ExecutorMaxInFlight, ExecutorMaxPerUser: s.ExecutorMaxPerUser,
		RedisURL: s.RedisURL, AllowPrivate: s.AllowPrivate, DrainTimeout: s.DrainTimeout,
		HealEvery: s.HealEvery, SchedulesPerUser: s.SchedulesPerUser, WorkflowsPerUser: s.WorkflowsPerUser, RunsPerUser: s.RunsPerUser, StepsPerUser: s.StepsPerUser,
	})
	if err != nil {
		return nil, nil, err
	}
	known := names(p.Packs())
	for _, v := range s.Unknown(known) {
		log.Warn().Str("variable", v.Name).Str("nearest", v.Nearest).Msg("unknown variable sets nothing")
	}
	apps, err := s.Apps(known)
	if err != nil {
		wrong := &failure{exit: exitUsage, what: "the settings of a provider are wrong", cause: err, fix: "plugfn provider list"}
		return nil, nil, errors.Join(wrong, p.Close())
	}
	return p, apps, nil
}

// newLog makes the log of a server.
func newLog(s *settings.Settings, w *os.File) zerolog.Logger {
	if s.LogFormat == "json" || s.LogFormat == "auto" && !isTerminal(w) {
		return zerolog.New(w).Level(s.LogLevel).With().Timestamp().Logger().Hook(tracing.Hook{})
	}
	console := zerolog.ConsoleWriter{Out: w, TimeFormat: time.TimeOnly, NoColor: !isTerminal(w) || os.Getenv("NO_COLOR") != ""}
	return zerolog.New(console).Level(s.LogLevel).With().Timestamp().Logger().Hook(tracing.Hook{})
}
