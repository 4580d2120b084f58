//go:build unix

package bench

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"runtime"
	"testing"
	"time"

	"github.com/plugfn/plugfn/internal/bus"
)

// discard is an answer that nobody reads.
type discard struct {
	header http.Header
	status int
}

func (d *discard) Header() http.Header         { return d.header }
func (d *discard) Write(p []byte) (int, error) { return len(p), nil }
func (d *discard) WriteHeader(status int)      { d.status = status }

// SetReadDeadline is there on real connections.
func (d *discard) SetReadDeadline(time.Time) error { return nil }

// BenchmarkWebhookAllocs counts what the handler allocates for one delivery, and
// the client of the bus for it; the bus is in another process, and there is no
// net/http around it.
func BenchmarkWebhookAllocs(b *testing.B) {
	server := startChild(b, child{Role: "bus", Durability: bus.Dev})
	on, err := bus.Open(context.Background(), bus.Config{URL: server.at, Name: "bench"})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { on.Close(context.Background()) })
	service, err := newReceiving(on, newSpool(b))
	if err != nil {
		b.Fatal(err)
	}
	run(b, service)
	routes, err := service.routes(context.Background())
	if err != nil {
		b.Fatal(err)
	}
	s := newSender(b)
	b.ResetTimer()
	plain := s.allocs(b, handMade(on.JetStream()), b.N)
	ours := s.allocs(b, routes, b.N)
	b.ReportMetric(plain, "baseline-allocs")
	b.ReportMetric(ours, "plugfn-allocs")
	b.ReportMetric(ours/plain, "ratio")
}

// allocs returns how many objects are allocated for one delivery, beside those
// of the request itself.
func (s *sender) allocs(b *testing.B, h http.Handler, n int) float64 {
	r := &http.Request{
		Method: http.MethodPost, URL: &url.URL{Path: "/webhooks/github"}, RemoteAddr: "192.0.2.1:4711", ContentLength: int64(len(s.body)),
		Header: http.Header{
			"Content-Type": {"application/json"}, "X-Github-Event": {"issues"},
			"X-Github-Delivery": {""}, "X-Hub-Signature-256": {s.signature},
		},
	}
	body, w := bytes.NewReader(nil), &discard{header: http.Header{}}
	r.Body = io.NopCloser(body)
	id := r.Header["X-Github-Delivery"]
	ids := make([]string, n)
	for i := range ids {
		ids[i] = fmt.Sprint("a-", s.next.Add(1))
	}
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	for i := range ids {
		body.Reset(s.body)
		id[0] = ids[i]
		h.ServeHTTP(w, r)
		if w.status != http.StatusOK {
			b.Fatalf("status %d", w.status)
		}
	}
	runtime.ReadMemStats(&after)
	return float64(after.Mallocs-before.Mallocs) / float64(n)
}
