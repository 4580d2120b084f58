package telemetry

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"
)

func TestWhereTracesGo(t *testing.T) {
	arrived := make(chan []byte, 1)
	collector := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		if r.URL.Path == "/v1/traces" {
			arrived <- body
		}
	}))
	defer collector.Close()
	t.Setenv("OTEL_EXPORTER_OTLP_ENDPOINT", collector.URL) // the exporter reads it itself
	t.Setenv("OTEL_RESOURCE_ATTRIBUTES", "deployment.environment.name=here")
	file := filepath.Join(t.TempDir(), "traces")

	for name, row := range map[string]struct {
		environ        map[string]string
		file           string
		off, otlp, out bool
		fault          string
	}{
		"nothing set":   {off: true},
		"disabled":      {environ: map[string]string{"OTEL_SDK_DISABLED": "true", "OTEL_TRACES_EXPORTER": "console"}, file: file, off: true},
		"none":          {environ: map[string]string{"OTEL_TRACES_EXPORTER": "none", "OTEL_EXPORTER_OTLP_ENDPOINT": "x"}, off: true},
		"endpoint":      {environ: map[string]string{"OTEL_EXPORTER_OTLP_ENDPOINT": collector.URL}, otlp: true},
		"console":       {environ: map[string]string{"OTEL_TRACES_EXPORTER": "console"}, out: true},
		"unknown":       {environ: map[string]string{"OTEL_TRACES_EXPORTER": "zipkin"}, fault: "must be otlp, console or none"},
		"wrong wire":    {environ: map[string]string{"OTEL_TRACES_EXPORTER": "otlp", "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"}, fault: "must be http/protobuf"},
		"no such place": {file: filepath.Join(file, "below"), fault: "PLUGFN_TRACE_FILE"},
	} {
		t.Run(name, func(t *testing.T) {
			var out bytes.Buffer
			traces, err := Open(t.Context(), Config{
				Version: "1", Services: []string{"executor"}, File: row.file, Stdout: &out,
				Getenv: func(name string) string { return row.environ[name] },
			})
			if row.fault != "" {
				if err == nil || !strings.Contains(err.Error(), row.fault) {
					t.Fatalf("got %v, want %q", err, row.fault)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			p := traces.Provider()
			if (p == nil) != row.off {
				t.Fatalf("the provider is %v", p)
			}
			if p != nil {
				_, span := p.Tracer("test").Start(context.Background(), "a span")
				span.End()
			}
			if err := traces.Close(t.Context()); err != nil {
				t.Fatal(err)
			}
			got := out.Bytes()
			if row.otlp {
				got = <-arrived
			}
			for _, want := range []string{"a span", "plugfn-executor", "here"} {
				if (row.otlp || row.out) && !bytes.Contains(got, []byte(want)) {
					t.Errorf("%q is missing in %q", want, got)
				}
			}
		})
	}
}
