package tracing

import (
	"github.com/rs/zerolog"
	"go.opentelemetry.io/otel/trace"
)

// Hook adds the trace to the lines of a log that were given a context.
type Hook struct{}

// Run is how the log asks for it.
func (Hook) Run(line *zerolog.Event, _ zerolog.Level, _ string) {
	if at := trace.SpanContextFromContext(line.GetCtx()); at.IsValid() {
		line.Str("trace_id", at.TraceID().String()).Str("span_id", at.SpanID().String())
	}
}
