// Package tracing makes the spans of the services, and carries a trace over the
// bus: in ce-traceparent of what is stored, and in traceparent of a request.
//
// What holds:
//
//   - A nil [Tracer] makes no spans and costs nothing; neither does a zero [Span].
//   - A trace is never taken from a provider's delivery, and never told to a
//     provider: it begins where PlugFn does, and ends there.
//   - An attribute says which, never what: no body, no token, no address.
//
// It knows the API of OpenTelemetry alone. Whoever runs the services brings what
// takes the spans.
//
// Allowed imports: the standard library, OpenTelemetry's API and zerolog.
package tracing
