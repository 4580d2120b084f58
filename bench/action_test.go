package bench

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/fstest"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/redis/go-redis/v9"

	"github.com/plugfn/plugfn/internal/bus"
	"github.com/plugfn/plugfn/internal/bus/bustest"
	"github.com/plugfn/plugfn/internal/limiter"
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
limits:
  - {id: calls, key: [connection], rate: 1000/1ms, burst: 1000000}
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

const (
	actionsInFlight        = 256
	actionUsers     uint64 = 64
)

// token is what an auth service would hand out, without one: the executor is
// measured here.
type token struct{}

func (token) Credential(_ context.Context, user, _, _ string) (providers.Credential, error) {
	return providers.Credential{Auth: "token", Token: providers.NewSecret([]byte("t")), ConnectionID: "con_" + user, Version: 1}, nil
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
	users   uint64 // who ask in turn
	results atomic.Int64
	next    atomic.Uint64
}

func newRequester(b *testing.B, on *bus.Bus, users uint64) *requester {
	r := &requester{js: on.JetStream(), users: users}
	follow(b, on, events.StreamResults, events.PrefixResult+">", func(jetstream.Msg) { r.results.Add(1) })
	return r
}

// run publishes n requests and returns when all of them have their result.
func (r *requester) run(b *testing.B, action string, n int) {
	want := r.results.Load() + int64(n)
	spread(64, n, func() {
		n := r.next.Add(1)
		subject := events.ActionSubject(fmt.Sprint("u", n%r.users), "quick", action)
		if _, err := r.js.Publish(context.Background(), subject, fmt.Appendf(nil, `{"id":"%d"}`, n)); err != nil {
			b.Error(err)
		}
	})
	for deadline := time.Now().Add(2 * time.Minute); r.results.Load() < want; time.Sleep(200 * time.Microsecond) {
		if time.Now().After(deadline) {
			b.Fatalf("%d of %d results", r.results.Load()-want+int64(n), n)
		}
	}
}

// gcra is the script that one would write, or take from redis_rate: one limit,
// one key, one trip.
const gcra = `
local now = redis.call('TIME')
now = now[1] * 1000000 + now[2]
local interval, burst = tonumber(ARGV[1]), tonumber(ARGV[2])
local tat = math.max(tonumber(redis.call('GET', KEYS[1]) or now), now) + interval
if tat - now > burst * interval then return 0 end
redis.call('SET', KEYS[1], string.format('%d', tat), 'PX', math.ceil((tat - now) / 1000) + 1)
return 1`

// handWorker is the executor of an afternoon: consume, ask the limiter, call,
// publish, acknowledge.
type handWorker struct {
	js       jetstream.JetStream
	client   *http.Client
	provider string
	redis    *redis.Client // nil: nothing is limited
	limit    *redis.Script
}

// run starts as many workers as the executor has places.
func (h *handWorker) run(b *testing.B) {
	b.Helper()
	consumer, err := h.js.CreateOrUpdateConsumer(context.Background(), events.StreamActions, jetstream.ConsumerConfig{
		Durable: "worker", AckPolicy: jetstream.AckExplicitPolicy, MaxAckPending: 4 * actionsInFlight,
	})
	if err != nil {
		b.Fatal(err)
	}
	work := make(chan jetstream.Msg)
	var workers sync.WaitGroup
	for range actionsInFlight {
		workers.Go(func() {
			for m := range work {
				if err := h.execute(m); err != nil {
					b.Error(err)
				}
			}
		})
	}
	consuming, err := consumer.Consume(func(m jetstream.Msg) { work <- m }, jetstream.PullMaxMessages(1000))
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		consuming.Drain()
		<-consuming.Closed()
		close(work)
		workers.Wait()
		h.client.CloseIdleConnections()
	})
}

func (h *handWorker) execute(m jetstream.Msg) error {
	ctx := context.Background()
	var params struct {
		ID string `json:"id"`
	}
	if err := json.Unmarshal(m.Data(), &params); err != nil {
		return err
	}
	user := strings.Split(m.Subject(), ".")[2]
	if h.redis != nil {
		if err := h.limit.Run(ctx, h.redis, []string{"hand:" + user}, 1, 1_000_000).Err(); err != nil {
			return err
		}
	}
	method, url, body := http.MethodPost, h.provider+"/things", bytes.NewReader(m.Data())
	if strings.HasSuffix(m.Subject(), ".get") {
		method, url, body = http.MethodGet, h.provider+"/things/"+params.ID, bytes.NewReader(nil)
	}
	r, err := http.NewRequestWithContext(ctx, method, url, body)
	if err != nil {
		return err
	}
	r.Header.Set("Authorization", "Bearer t")
	w, err := h.client.Do(r)
	if err != nil {
		return err
	}
	defer w.Body.Close()
	data, err := io.ReadAll(w.Body)
	if err != nil {
		return err
	}
	if _, err := h.js.Publish(ctx, "plugfn.result."+user+".quick.succeeded."+params.ID, data); err != nil {
		return err
	}
	return m.Ack()
}

// handMadeWorker runs it; limits is the URL of a Redis, "" for none.
func handMadeWorker(b *testing.B, on *bus.Bus, provider, limits string) {
	b.Helper()
	h := handWorker{
		js: on.JetStream(), provider: provider, limit: redis.NewScript(gcra),
		client: &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: actionsInFlight}},
	}
	if limits != "" {
		options, err := redis.ParseURL(limits)
		if err != nil {
			b.Fatal(err)
		}
		h.redis = redis.NewClient(options)
		b.Cleanup(func() { _ = h.redis.Close() })
	}
	h.run(b)
}

// startExecutor runs the real service against provider; limits is the URL of a
// Redis, "" for limits in the process.
func startExecutor(b *testing.B, on *bus.Bus, provider, limits string) *limiter.Limiter {
	b.Helper()
	pack, err := providers.Load(fstest.MapFS{"quick/provider.yaml": {Data: []byte(quickPack)}}, "quick")
	if err != nil {
		b.Fatal(err)
	}
	registry, err := providers.NewRegistry(map[string]*providers.Pack{"quick": pack}, map[string]providers.App{"quick": {BaseURL: provider}})
	if err != nil {
		b.Fatal(err)
	}
	keeps := newLimiter(b, limits)
	service, err := executor.New(executor.Config{
		Conn: on.Conn(), JetStream: on.JetStream(), Providers: registry, Credentials: token{}, Parking: on, MaxInFlight: actionsInFlight,
		Limiter: keeps, GroupCommit: on.Durability() == bus.Single,
	})
	if err != nil {
		b.Fatal(err)
	}
	run(b, service)
	return keeps
}

func newLimiter(b *testing.B, limits string) *limiter.Limiter {
	b.Helper()
	if limits == "" {
		return limiter.New(limiter.Config{})
	}
	client, err := limiter.NewRedisClient(limits)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = client.Close() })
	return limiter.New(limiter.Config{Redis: client})
}

// BenchmarkActionToResult: requests in, results out, with a provider that
// answers at once, and with one that takes 20 ms. A write is noted in the journal
// once, a read not at all. Both sides ask one Redis for leave, each action one
// script; where it says "memory" PlugFn keeps its limits in the process, and the
// other side has none. 64 users ask in turn; where it is one, he has a backlog,
// which PlugFn keeps out of the way of others.
func BenchmarkActionToResult(b *testing.B) {
	for _, mode := range modes() {
		for _, kind := range []struct {
			name, action string
			takes        time.Duration
			users        uint64
			memory       bool
		}{
			{name: "read", action: "thing.get"},
			{name: "write", action: "thing.create"},
			{name: "read 20ms", action: "thing.get", takes: 20 * time.Millisecond},
			{name: "write 20ms", action: "thing.create", takes: 20 * time.Millisecond},
			{name: "read memory", action: "thing.get", memory: true},
			{name: "write memory", action: "thing.create", memory: true},
			{name: "read one user", action: "thing.get", users: 1},
			{name: "write one user", action: "thing.create", users: 1},
		} {
			b.Run(mode.String()+"/"+kind.name, func(b *testing.B) {
				limits, users := "", cmp.Or(kind.users, actionUsers)
				if !kind.memory {
					limits = redisURL(b)
				}
				provider := slowProvider(b, kind.takes)
				plainBus, ourBus := newBus(b, mode), newBus(b, mode)
				handMadeWorker(b, plainBus, provider, limits)
				keeps := startExecutor(b, ourBus, provider, limits)
				plain, ours := newRequester(b, plainBus, users), newRequester(b, ourBus, users)
				var plainAllocs, ourAllocs allocs
				compare(b,
					plainAllocs.of(func(n int) { plain.run(b, kind.action, n) }),
					ourAllocs.of(func(n int) { ours.run(b, kind.action, n) }))
				b.ReportMetric(plainAllocs.each(), "baseline-allocs")
				b.ReportMetric(ourAllocs.each(), "plugfn-allocs")
				b.ReportMetric(float64(keeps.Status().Failures), "redis-failures")
			})
		}
	}
}

// allocs counts the objects that the process allocates, whoever in it does.
type allocs struct{ objects, operations uint64 }

func (a *allocs) of(run func(n int)) func(n int) {
	return func(n int) {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		run(n)
		runtime.ReadMemStats(&after)
		a.objects += after.Mallocs - before.Mallocs
		a.operations += uint64(n)
	}
}

func (a *allocs) each() float64 { return float64(a.objects) / float64(a.operations) }

// BenchmarkCall: what plugfn.call adds to the provider's own time, one call after
// the other. The baseline asks the provider itself.
func BenchmarkCall(b *testing.B) {
	for _, mode := range modes() {
		b.Run(mode.String(), func(b *testing.B) {
			provider := slowProvider(b, 5*time.Millisecond)
			on := bustest.New(b, bustest.Listen, func(c *bus.Config) { c.Durability = mode })
			startExecutor(b, on, provider, "")
			app := application(b, on)
			direct, client := make([]time.Duration, 0, b.N), newClient(b)
			calls, subject := make([]time.Duration, 0, b.N), events.CallSubject("u1", "quick", "thing.get")
			for end, ready := time.Now().Add(20*time.Second), false; !ready; time.Sleep(10 * time.Millisecond) {
				if time.Now().After(end) {
					b.Fatal("no call is answered")
				}
				_, err := app.Request(subject, []byte(`{"id":"1"}`), time.Second)
				ready = err == nil
			}
			b.ResetTimer()
			for range b.N {
				began := time.Now()
				get(b, client, provider+"/things/1")
				direct = append(direct, time.Since(began))
				began = time.Now()
				if _, err := app.Request(subject, []byte(`{"id":"1"}`), 10*time.Second); err != nil {
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

// application is a connection as an application has it: a service's own gets
// replies where no application may.
func application(b *testing.B, on *bus.Bus) *nats.Conn {
	b.Helper()
	app, err := nats.Connect(on.ClientURL())
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(app.Close)
	return app
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
// away after each round: the server is in this process and remembers each
// message.
func BenchmarkActionMemory(b *testing.B) {
	const rounds, each = 10, 10_000
	on := newBus(b, bus.Dev)
	startExecutor(b, on, quickProvider(b), "")
	r := newRequester(b, on, actionUsers)
	for round := range rounds {
		r.run(b, "thing.get", each/2)
		r.run(b, "thing.create", each/2)
		for _, name := range []string{events.StreamResults, events.StreamActions, "KV_" + bus.BucketJournal} {
			stream, err := on.JetStream().Stream(context.Background(), name)
			if err != nil {
				b.Fatal(err)
			}
			if err := stream.Purge(context.Background()); err != nil {
				b.Fatal(err)
			}
		}
		if round > 0 && round < rounds-1 {
			continue
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
		goroutines, heap = min(goroutines, runtime.NumGoroutine()), min(heap, m.HeapAlloc)
	}
	return goroutines, heap
}
