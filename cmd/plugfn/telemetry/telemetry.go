package telemetry

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
	"go.opentelemetry.io/otel/exporters/stdout/stdouttrace"
	"go.opentelemetry.io/otel/sdk/resource"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"
)

// Config says what traces are of, and where they go.
type Config struct {
	Version  string
	Services []string            // of this process
	File     string              // takes each span as a line of JSON; "": the environment says where to
	Getenv   func(string) string // of the OTEL_* variables that say whether and where to; the rest the SDK reads itself
	Stdout   io.Writer           // of the exporter "console"
}

// Traces take spans until they are closed.
type Traces struct {
	provider *sdktrace.TracerProvider // nil: there are no traces
	file     io.Closer                // nil: there is none
}

// Open begins to take spans, if the operator wants traces.
func Open(ctx context.Context, cfg Config) (*Traces, error) {
	t := &Traces{}
	export, err := t.exporter(ctx, &cfg)
	if export == nil || err != nil {
		return t, err
	}
	about, err := resource.New(ctx,
		resource.WithTelemetrySDK(),
		resource.WithAttributes(attribute.String("service.name", nameOf(cfg.Services)), attribute.String("service.version", cfg.Version)),
		resource.WithFromEnv(), // what the operator says counts
	)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("OTEL_RESOURCE_ATTRIBUTES: %w", err), t.Close(ctx))
	}
	t.provider = sdktrace.NewTracerProvider(sdktrace.WithBatcher(export), sdktrace.WithResource(about))
	return t, nil
}

// nameOf is plugfn-<service> where there is one, as each has a line of its own in
// what shows traces; plugfn otherwise.
func nameOf(services []string) string {
	if len(services) == 1 {
		return "plugfn-" + services[0]
	}
	return "plugfn"
}

// exporter is nil where traces are off.
func (t *Traces) exporter(ctx context.Context, cfg *Config) (sdktrace.SpanExporter, error) {
	if strings.EqualFold(cfg.Getenv("OTEL_SDK_DISABLED"), "true") {
		return nil, nil
	}
	if cfg.File != "" {
		file, err := os.OpenFile(cfg.File, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
		if err != nil {
			return nil, fmt.Errorf("PLUGFN_TRACE_FILE: %w", err)
		}
		t.file = file
		return stdouttrace.New(stdouttrace.WithWriter(file))
	}
	switch name := cfg.Getenv("OTEL_TRACES_EXPORTER"); name {
	case "none":
		return nil, nil
	case "console":
		return stdouttrace.New(stdouttrace.WithWriter(cfg.Stdout))
	case "":
		if cfg.Getenv("OTEL_EXPORTER_OTLP_ENDPOINT") == "" && cfg.Getenv("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT") == "" {
			return nil, nil
		}
	case "otlp":
	default:
		return nil, fmt.Errorf("OTEL_TRACES_EXPORTER: must be otlp, console or none, is %q", name)
	}
	protocol := cfg.Getenv("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL")
	if protocol == "" {
		protocol = cfg.Getenv("OTEL_EXPORTER_OTLP_PROTOCOL")
	}
	if protocol != "" && protocol != "http/protobuf" {
		return nil, fmt.Errorf("OTEL_EXPORTER_OTLP_PROTOCOL: must be http/protobuf, is %q; a collector takes that at port 4318", protocol)
	}
	return otlptracehttp.New(ctx)
}

// Provider makes the tracers; nil: traces are off.
func (t *Traces) Provider() trace.TracerProvider {
	if t.provider == nil {
		return nil
	}
	return t.provider
}

// Close has what was taken brought away, as long as ctx lasts.
func (t *Traces) Close(ctx context.Context) error {
	var err error
	if t.provider != nil {
		err = t.provider.Shutdown(ctx)
	}
	if t.file != nil {
		err = errors.Join(err, t.file.Close())
	}
	if err != nil {
		return fmt.Errorf("bringing the last traces away: %w", err)
	}
	return nil
}
