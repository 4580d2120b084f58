// Package telemetry brings the spans of the services to where the operator wants
// them: to a collector by OTLP, to standard output, or to a file.
//
// It is set by the OTEL_* variables of every OpenTelemetry SDK. Traces are off
// until one of them says where to.
//
// Allowed imports: the standard library and OpenTelemetry.
package telemetry
