package main

import (
	"context"
	"os"
	"time"

	"github.com/rs/zerolog"
	"go.opentelemetry.io/otel"

	"github.com/plugfn/plugfn/cmd/plugfn/settings"
	"github.com/plugfn/plugfn/cmd/plugfn/telemetry"
	"github.com/plugfn/plugfn/internal/tracing"
)

// lastTraces is how long the end of the program waits for a collector.
const lastTraces = 3 * time.Second

// traces are those of a server.
type traces struct {
	*telemetry.Traces
	log zerolog.Logger
}

// openTraces makes them as the settings and the OTEL_* variables say.
func openTraces(ctx context.Context, s *settings.Settings, log zerolog.Logger, services []string) (*traces, error) {
	t, err := telemetry.Open(ctx, telemetry.Config{
		Version: version, Services: services, File: s.TraceFile, Getenv: os.Getenv, Stdout: os.Stdout,
	})
	if err != nil {
		return nil, usage("plugfn help environment", "traces: %v", err)
	}
	if t.Provider() != nil {
		// The library tells of a collector that is away in this one place.
		otel.SetErrorHandler(otel.ErrorHandlerFunc(func(err error) { log.Warn().Err(err).Msg("traces are lost") }))
	}
	return &traces{t, log}, nil
}

func (t *traces) tracer() *tracing.Tracer { return tracing.New(t.Provider()) }

// end has the last of them brought away. That it fails is no failure of the
// program.
func (t *traces) end() {
	ctx, cancel := context.WithTimeout(context.Background(), lastTraces)
	defer cancel()
	if err := t.Close(ctx); err != nil {
		t.log.Warn().Err(err).Msg("traces are lost")
	}
}
