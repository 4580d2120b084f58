package bench

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"runtime"
	"sync/atomic"
	"testing"
	"testing/fstest"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/plugfn/plugfn/internal/bus"
	"github.com/plugfn/plugfn/pkg/events"
	"github.com/plugfn/plugfn/pkg/providers"
	"github.com/plugfn/plugfn/services/executor"
)

// quickPack is a provider that answers at once.
const quickPack = `
apiVersion: plugfn.dev/v1
kind: Provider
name: quick
version: 1.0.0
display: {name: Quick}
event_prefix: test.quick
auth: [{id: token, type: api_key, apply: {header: Authorization, value: "Bearer {{credential.token}}"}}]
http: {base_url: "https://quick.invalid"}
actions:
  thing.get:
    summary: Reads a thing
    effect: read
    request: {method: GET, path: "/things/{{params.id}}"}
    params: {type: object, required: [id], additionalProperties: false, properties: {id: {type: string}}}
  thing.create:
    summary: Makes a thing
    effect: none
    request: {method: POST, path: /things, body: {encoding: json}}
    params: {type: object, required: [id], additionalProperties: false, properties: {id: {type: string}}}
`

const actionsInFlight = 256

// token is what an auth service would hand out, without one: the executor is
// measured here.
type token struct{}

func (token) Credential(context.Context, string, string, string) (providers.Credential, error) {
	return providers.Credential{Auth: "token", Token: providers.NewSecret([]byte("t")), ConnectionID: "con_1", Version: 1}, nil
}

func (t token) Refused(ctx context.Context, user, provider string, refused providers.Credential) (providers.Credential, error) {
	return refused, nil
}

func quickProvider(b *testing.B) string { return slowProvider(b, 0) }

// slowProvider answers after a while.
func slowProvider(b *testing.B, takes time.Duration) string {
	return serve(b, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		time.Sleep(takes)
		w.Header().Set("Content-Type", "application/json")
		_, _ = io.WriteString(w, `{"id":"1","ok":true}`)
	}))
}

// requester publishes requests and waits until as many results came back.
type requester struct {
	js      jetstream.JetStream
	results atomic.Int64
	next    atomic.Uint64
}

func newRequester(b *testing.B, on *bus.Bus) *requester {
	r := &requester{js: on.JetStream()}
	follow(b, on, events.StreamResults, events.PrefixResult+">", func(jetstream.Msg) { r.results.Add(1) })
	return r
}

// run publishes n requests and returns when all of them have their result.
func (r *requester) run(b *testing.B, action string, n int) {
	want := r.results.Load() + int64(n)
	spread(64, n, func() {
		subject := events.ActionSubject("u1", "quick", action)
		if _, err := r.js.Publish(context.Background(), subject, []byte(fmt.Sprintf(`{"id":"%d"}`, r.next.Add(1)))); err != nil {
			b.Error(err)
		}
	})
	for deadline := time.Now().Add(2 * time.Minute); r.results.Load() < want; time.Sleep(200 * time.Microsecond) {
		if time.Now().After(deadline) {
			b.Fatalf("%d of %d results", r.results.Load()-want+int64(n), n)
		}
	}
}

// handMadeWorker is the executor of an afternoon: consume, call, publish, ack.
func handMadeWorker(b *testing.B, on *bus.Bus, provider string) {
	b.Helper()
	js := on.JetStream()
	consumer, err := js.CreateOrUpdateConsumer(context.Background(), events.StreamActions, jetstream.ConsumerConfig{
		Durable: "worker", AckPolicy: jetstream.AckExplicitPolicy, MaxAckPending: 4 * actionsInFlight,
	})
	if err != nil {
		b.Fatal(err)
	}
	client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 64, MaxConnsPerHost: 128}}
	places := make(chan struct{}, actionsInFlight)
	consuming, err := consumer.Consume(func(m jetstream.Msg) {
		places <- struct{}{}
		go func() {
			defer func() { <-places }()
			if err := handMadeCall(js, client, provider, m); err != nil {
				b.Error(err)
			}
		}()
	}, jetstream.PullMaxMessages(1000))
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		consuming.Drain()
		<-consuming.Closed()
		client.CloseIdleConnections()
	})
}

func handMadeCall(js jetstream.JetStream, client *http.Client, provider string, m jetstream.Msg) error {
	var params struct {
		ID string `json:"id"`
	}
	if err := json.Unmarshal(m.Data(), &params); err != nil {
		return err
	}
	method, url, body := http.MethodPost, provider+"/things", bytes.NewReader(m.Data())
	if bytes.HasSuffix([]byte(m.Subject()), []byte(".get")) {
		method, url, body = http.MethodGet, provider+"/things/"+params.ID, bytes.NewReader(nil)
	}
	r, err := http.NewRequestWithContext(context.Background(), method, url, body)
	if err != nil {
		return err
	}
	r.Header.Set("Authorization", "Bearer t")
	w, err := client.Do(r)
	if err != nil {
		return err
	}
	defer w.Body.Close()
	data, err := io.ReadAll(w.Body)
	if err != nil {
		return err
	}
	if _, err := js.Publish(context.Background(), "plugfn.result.u1.quick.succeeded."+params.ID, data); err != nil {
		return err
	}
	return m.Ack()
}

// startExecutor runs the real service against provider.
func startExecutor(b *testing.B, on *bus.Bus, provider string) {
	b.Helper()
	pack, err := providers.Load(fstest.MapFS{"quick/provider.yaml": {Data: []byte(quickPack)}}, "quick")
	if err != nil {
		b.Fatal(err)
	}
	registry, err := providers.NewRegistry(map[string]*providers.Pack{"quick": pack}, map[string]providers.App{"quick": {BaseURL: provider}})
	if err != nil {
		b.Fatal(err)
	}
	service, err := executor.New(executor.Config{
		Conn: on.Conn(), JetStream: on.JetStream(), Providers: registry, Credentials: token{}, Parking: on, MaxInFlight: actionsInFlight,
	})
	if err != nil {
		b.Fatal(err)
	}
	run(b, service)
}

// BenchmarkActionToResult: requests in, results out, with a provider that
// answers at once, and with one that takes 20 ms. A write is noted in the journal
// once, a read not at all.
func BenchmarkActionToResult(b *testing.B) {
	for _, mode := range modes() {
		for _, kind := range []struct {
			name, action string
			takes        time.Duration
		}{
			{"read", "thing.get", 0},
			{"write", "thing.create", 0},
			{"read 20ms", "thing.get", 20 * time.Millisecond},
			{"write 20ms", "thing.create", 20 * time.Millisecond},
		} {
			b.Run(mode.String()+"/"+kind.name, func(b *testing.B) {
				provider := slowProvider(b, kind.takes)
				plainBus, ourBus := newBus(b, mode), newBus(b, mode)
				handMadeWorker(b, plainBus, provider)
				startExecutor(b, ourBus, provider)
				plain, ours := newRequester(b, plainBus), newRequester(b, ourBus)
				compare(b,
					func(n int) { plain.run(b, kind.action, n) },
					func(n int) { ours.run(b, kind.action, n) })
			})
		}
	}
}

// BenchmarkCall: what plugfn.call adds to the provider's own time, one call after
// the other. The baseline asks the provider itself.
func BenchmarkCall(b *testing.B) {
	for _, mode := range modes() {
		b.Run(mode.String(), func(b *testing.B) {
			provider := slowProvider(b, 5*time.Millisecond)
			on := newBus(b, mode)
			startExecutor(b, on, provider)
			direct, client := make([]time.Duration, 0, b.N), newClient(b)
			calls, subject := make([]time.Duration, 0, b.N), events.CallSubject("u1", "quick", "thing.get")
			for ready := false; !ready; time.Sleep(10 * time.Millisecond) {
				_, err := on.Conn().Request(subject, []byte(`{"id":"1"}`), time.Second)
				ready = err == nil
			}
			b.ResetTimer()
			for range b.N {
				began := time.Now()
				get(b, client, provider+"/things/1")
				direct = append(direct, time.Since(began))
				began = time.Now()
				if _, err := on.Conn().Request(subject, []byte(`{"id":"1"}`), 10*time.Second); err != nil {
					b.Fatal(err)
				}
				calls = append(calls, time.Since(began))
			}
			b.StopTimer()
			own, whole := percentile(direct, 50), percentile(calls, 50)
			b.ReportMetric(own.Seconds()*1000, "provider-p50-ms")
			b.ReportMetric((whole-own).Seconds()*1000, "added-p50-ms")
			b.ReportMetric(0, "ns/op")
		})
	}
}

func get(b *testing.B, client *http.Client, url string) {
	b.Helper()
	w, err := client.Get(url)
	if err != nil {
		b.Fatal(err)
	}
	defer w.Body.Close()
	if _, err := io.Copy(io.Discard, w.Body); err != nil {
		b.Fatal(err)
	}
}

// BenchmarkActionMemory: goroutines and memory in use after the first 10,000
// actions and after 100,000. What is kept of them, results and journal, is taken
// away before each look: the server is in this process and remembers each
// message.
func BenchmarkActionMemory(b *testing.B) {
	const rounds, each = 10, 10_000
	on := newBus(b, bus.Dev)
	startExecutor(b, on, quickProvider(b))
	r := newRequester(b, on)
	for round := range rounds {
		r.run(b, "thing.get", each/2)
		r.run(b, "thing.create", each/2)
		if round > 0 && round < rounds-1 {
			continue
		}
		for _, name := range []string{events.StreamResults, events.StreamActions, "KV_" + bus.BucketJournal} {
			stream, err := on.JetStream().Stream(context.Background(), name)
			if err != nil {
				b.Fatal(err)
			}
			if err := stream.Purge(context.Background()); err != nil {
				b.Fatal(err)
			}
		}
		when := map[bool]string{true: "first", false: "last"}[round == 0]
		goroutines, heap := settledMemory()
		b.ReportMetric(float64(goroutines), when+"-goroutines")
		b.ReportMetric(float64(heap)/(1<<20), when+"-heap-MiB")
	}
	b.ReportMetric(0, "ns/op")
}

// settledMemory is what is in use once nothing moves any more.
func settledMemory() (goroutines int, heap uint64) {
	const looks = 40
	goroutines, heap = 1<<30, 1<<60
	for range looks {
		time.Sleep(50 * time.Millisecond) // connections and timers take a moment to go
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		goroutines, heap = min(goroutines, runtime.NumGoroutine()), min(heap, m.HeapInuse)
	}
	return goroutines, heap
}
