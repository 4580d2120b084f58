package tracing

import (
	"bytes"
	"context"
	"strings"
	"testing"

	"github.com/rs/zerolog"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"go.opentelemetry.io/otel/trace"
)

func TestNoTracerCostsNothing(t *testing.T) {
	var none *Tracer
	ctx := t.Context()
	work := func() {
		c, s := none.Root(ctx, Receives, "a", "")
		c, s2 := none.From(c, Works, "b", "x", "")
		c, s3 := none.Child(c, Calls, "c", "")
		c, s4 := none.Beside(c, Sends, "d", "")
		s.Set("a", "b")
		s2.Count("n", 1)
		s3.Link("")
		s4.Fail("no")
		for _, s := range [...]Span{s, s2, s3, s4} {
			s.End()
		}
		if c != ctx || Parent(c) != "" {
			t.Error("something was put into the context")
		}
	}
	if n := testing.AllocsPerRun(100, work); n != 0 {
		t.Errorf("%v allocations without a tracer", n)
	}
	if New(nil) != nil {
		t.Error("no provider gives a tracer")
	}
}

func TestATraceTravels(t *testing.T) {
	spans := tracetest.NewSpanRecorder()
	provider := sdktrace.NewTracerProvider(sdktrace.WithSpanProcessor(spans))
	tracer := New(provider)

	ctx, first := tracer.Root(t.Context(), Receives, "first", "")
	parent := Parent(ctx)
	_, second := tracer.From(context.Background(), Works, "second", "", parent)
	_, many := tracer.Beside(ctx, Sends, "many", "")
	_, lost := tracer.From(ctx, Works, "lost", "", "00-not-a-parent")
	lost.Link(parent)
	lost.Link("")
	for _, s := range []Span{first, second, many, lost} {
		s.End()
	}
	is := map[string]sdktrace.ReadOnlySpan{}
	for _, s := range spans.Ended() {
		is[s.Name()] = s
	}
	root := is["first"].SpanContext()
	if got := is["second"]; got.Parent().SpanID() != root.SpanID() || got.SpanContext().TraceID() != root.TraceID() {
		t.Errorf("second is below %v", got.Parent())
	}
	for _, name := range []string{"many", "lost"} {
		s := is[name]
		if s.Parent().IsValid() || s.SpanContext().TraceID() == root.TraceID() || len(s.Links()) != 1 || s.Links()[0].SpanContext.SpanID() != root.SpanID() {
			t.Errorf("%s is no trace of its own with one link to the first: below %v, links %v", name, s.Parent(), s.Links())
		}
	}

	var out bytes.Buffer
	log := zerolog.New(&out).Hook(Hook{})
	log.Info().Ctx(ctx).Msg("with")
	log.Info().Msg("without")
	with, without, _ := strings.Cut(out.String(), "\n")
	if !strings.Contains(with, `"trace_id":"`+trace.SpanContextFromContext(ctx).TraceID().String()+`"`) || strings.Contains(without, "trace_id") {
		t.Errorf("logged %s", &out)
	}
}
