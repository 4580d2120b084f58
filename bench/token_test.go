package bench

import (
	"context"
	"net/http"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/fstest"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/plugfn/plugfn/internal/bus"
	"github.com/plugfn/plugfn/pkg/providers"
	"github.com/plugfn/plugfn/services/auth"
)

const tokenKey = "key-of-the-benchmark"

// startAuth runs the real service with one connection of the user u1.
func startAuth(b *testing.B, on *bus.Bus) {
	b.Helper()
	pack, err := providers.Load(fstest.MapFS{"quick/provider.yaml": {Data: []byte(quickPack)}}, "quick")
	if err != nil {
		b.Fatal(err)
	}
	registry, err := providers.NewRegistry(map[string]*providers.Pack{"quick": pack}, nil)
	if err != nil {
		b.Fatal(err)
	}
	keys, _, err := auth.OpenKeys(b.Context(), auth.KeysConfig{JetStream: on.JetStream(), Path: filepath.Join(b.TempDir(), "keyset.json")})
	if err != nil {
		b.Fatal(err)
	}
	service, err := auth.New(auth.Config{
		Conn: on.Conn(), JetStream: on.JetStream(), Parking: on, Providers: registry, Keys: keys,
		APIKey: providers.NewSecret([]byte(tokenKey)),
	})
	if err != nil {
		b.Fatal(err)
	}
	run(b, service)
	for service.Ready(context.Background()) != nil {
		time.Sleep(time.Millisecond)
	}
	mux := http.NewServeMux()
	service.Mount(mux)
	r, err := http.NewRequestWithContext(b.Context(), http.MethodPost, serve(b, mux)+"/v1/connections",
		strings.NewReader(`{"user_id":"u1","provider":"quick","token":"t0ken"}`))
	if err != nil {
		b.Fatal(err)
	}
	r.Header.Set("Authorization", "Bearer "+tokenKey)
	r.Header.Set("Content-Type", "application/json")
	answer, err := newClient(b).Do(r)
	if err != nil {
		b.Fatal(err)
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusCreated {
		b.Fatalf("connection not made: %s", answer.Status)
	}
}

// BenchmarkTokenRequest: an executor asks for the credential of a connection,
// sealed to its own key, and remembers nothing. Beside it a bare request-reply
// on the same server.
func BenchmarkTokenRequest(b *testing.B) {
	for _, askers := range []int{1, 8} {
		b.Run(map[int]string{1: "alone", 8: "8 askers"}[askers], func(b *testing.B) {
			on := newBus(b, bus.Dev)
			startAuth(b, on)
			echo, err := on.Conn().Subscribe("bench.echo", func(m *nats.Msg) { _ = m.Respond(m.Data) })
			if err != nil {
				b.Fatal(err)
			}
			defer func() { _ = echo.Unsubscribe() }()
			client, err := auth.NewClient(on.Conn())
			if err != nil {
				b.Fatal(err)
			}
			bare := &latency{ask: func() error {
				_, err := on.Conn().RequestWithContext(context.Background(), "bench.echo", make([]byte, 200))
				return err
			}}
			ours := &latency{ask: func() error {
				_, err := client.Credential(context.Background(), "u1", "quick", "")
				return err
			}}
			compare(b, func(n int) { bare.run(b, askers, n) }, func(n int) { ours.run(b, askers, n) })
			b.ReportMetric(float64(percentile(bare.times, 50).Microseconds()), "baseline-p50-µs")
			b.ReportMetric(float64(percentile(bare.times, 99).Microseconds()), "baseline-p99-µs")
			b.ReportMetric(float64(percentile(ours.times, 50).Microseconds()), "p50-µs")
			b.ReportMetric(float64(percentile(ours.times, 99).Microseconds()), "p99-µs")
		})
	}
}

// latency asks and notes how long each answer took.
type latency struct {
	ask func() error

	mu    sync.Mutex
	times []time.Duration
}

func (l *latency) run(b *testing.B, askers, n int) {
	b.Helper()
	spread(askers, n, func() {
		began := time.Now()
		if err := l.ask(); err != nil {
			b.Error(err)
		}
		took := time.Since(began)
		l.mu.Lock()
		defer l.mu.Unlock()
		l.times = append(l.times, took)
	})
}
