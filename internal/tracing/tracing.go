package tracing

import (
	"context"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"
)

// Tracer makes spans. nil: none.
type Tracer struct{ tracer trace.Tracer }

// New returns a Tracer whose spans p takes; nil for nil.
func New(p trace.TracerProvider) *Tracer {
	if p == nil {
		return nil
	}
	return &Tracer{p.Tracer("github.com/plugfn/plugfn")}
}

// Kind is which side of a meeting a span is.
type Kind = trace.SpanKind

// The kinds of spans.
const (
	Receives = trace.SpanKindServer   // a request from outside
	Sends    = trace.SpanKindProducer // something that others work on
	Works    = trace.SpanKindConsumer // on what the bus brought
	Calls    = trace.SpanKindClient   // somebody outside
)

// Span is one piece of work. The zero Span is none.
type Span struct{ span trace.Span }

// Root begins a trace. A span is named by what is done, and of what: by a word of
// the house such as a provider, never by an id.
func (t *Tracer) Root(ctx context.Context, kind Kind, name, of string) (context.Context, Span) {
	if t == nil {
		return ctx, Span{}
	}
	return t.start(ctx, name, of, trace.WithSpanKind(kind), trace.WithNewRoot())
}

// Child begins a span below the one of ctx.
func (t *Tracer) Child(ctx context.Context, kind Kind, name, of string) (context.Context, Span) {
	if t == nil {
		return ctx, Span{}
	}
	return t.start(ctx, name, of, trace.WithSpanKind(kind))
}

// Beside begins a trace of its own that has a link to the span of ctx: one of many
// that it led to.
func (t *Tracer) Beside(ctx context.Context, kind Kind, name, of string) (context.Context, Span) {
	if t == nil {
		return ctx, Span{}
	}
	return t.start(ctx, name, of, trace.WithSpanKind(kind), trace.WithNewRoot(), trace.WithLinks(trace.LinkFromContext(ctx)))
}

// From begins a span below one that the bus brought, as [Parent] wrote it. Where
// that is none, it begins a trace.
func (t *Tracer) From(ctx context.Context, kind Kind, name, of, parent string) (context.Context, Span) {
	if t == nil {
		return ctx, Span{}
	}
	if from := read(parent); from.IsValid() {
		return t.start(trace.ContextWithRemoteSpanContext(ctx, from), name, of, trace.WithSpanKind(kind))
	}
	return t.Root(ctx, kind, name, of)
}

// Carry puts a span that the bus brought into ctx, as [Parent] wrote it, without
// one of its own.
func (t *Tracer) Carry(ctx context.Context, parent string) context.Context {
	if t == nil {
		return ctx
	}
	return trace.ContextWithRemoteSpanContext(ctx, read(parent))
}

func (t *Tracer) start(ctx context.Context, name, of string, opts ...trace.SpanStartOption) (context.Context, Span) {
	if of != "" {
		name += " " + of
	}
	ctx, span := t.tracer.Start(ctx, name, opts...)
	return ctx, Span{span}
}

// Parent is the span of ctx as it travels; "" for none.
func Parent(ctx context.Context) string {
	if !trace.SpanContextFromContext(ctx).IsValid() {
		return ""
	}
	carrier := propagation.MapCarrier{}
	propagation.TraceContext{}.Inject(ctx, carrier)
	return carrier[traceParent]
}

const traceParent = "traceparent"

func read(parent string) trace.SpanContext {
	if parent == "" {
		return trace.SpanContext{}
	}
	ctx := propagation.TraceContext{}.Extract(context.Background(), propagation.MapCarrier{traceParent: parent})
	return trace.SpanContextFromContext(ctx)
}

// Set notes something about s.
func (s Span) Set(key, value string) {
	if s.span != nil && value != "" {
		s.span.SetAttributes(attribute.String(key, value))
	}
}

// Count is Set of a number.
func (s Span) Count(key string, n int) {
	if s.span != nil {
		s.span.SetAttributes(attribute.Int(key, n))
	}
}

// Link says that the work goes back to another span too, as [Parent] wrote it.
func (s Span) Link(parent string) {
	if s.span == nil {
		return
	}
	if other := read(parent); other.IsValid() {
		s.span.AddLink(trace.Link{SpanContext: other})
	}
}

// Fail says that the work came to nothing, and in a word why.
func (s Span) Fail(why string) {
	if s.span != nil {
		s.span.SetStatus(codes.Error, why)
	}
}

// End ends s. What is done to it after that is ignored.
func (s Span) End() {
	if s.span != nil {
		s.span.End()
	}
}
