package events

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/google/go-cmp/cmp"
	"github.com/nats-io/nats.go/jetstream"
	"pgregory.net/rapid"
)

func TestNewSubscriberRefuses(t *testing.T) {
	js := startBroker(t).connect(t)
	for field, cfg := range map[string]SubscriberConfig{
		"JetStream":             {},
		"MaxInFlight":           {JetStream: js, MaxInFlight: -1},
		"MaxAckPending":         {JetStream: js, MaxAckPending: -1},
		"MaxAckPending 7":       {JetStream: js, MaxAckPending: 7, MaxInFlight: 4, Prefetch: 4},
		"MaxDeliver":            {JetStream: js, MaxDeliver: -1},
		"AckWait 1ms":           {JetStream: js, AckWait: time.Millisecond},
		"CloseTimeout":          {JetStream: js, CloseTimeout: -1},
		"Existing":              {JetStream: js, Existing: true},
		"Deliver by_start_time": {JetStream: js, Deliver: jetstream.DeliverByStartTimePolicy},
	} {
		if _, err := NewSubscriber(cfg); err == nil || !strings.Contains(err.Error(), "SubscriberConfig."+field) {
			t.Errorf("%s: %v", field, err)
		}
	}
}

func TestNakDelayDefault(t *testing.T) {
	sub := newTestSubscriber(t, SubscriberConfig{JetStream: startBroker(t).connect(t)})
	for deliveries, want := range map[uint64]time.Duration{
		1: 100 * time.Millisecond, 2: 200 * time.Millisecond, 9: 25600 * time.Millisecond,
		10: 51200 * time.Millisecond, 11: time.Minute, 1 << 63: time.Minute,
	} {
		if got := sub.cfg.NakDelay(deliveries); got != want {
			t.Errorf("after %d deliveries: %s, want %s", deliveries, got, want)
		}
	}
}

func TestSubscribeRefuses(t *testing.T) {
	js := startBroker(t).connect(t)
	addStream(t, js, "refuse")
	sub := newTestSubscriber(t, SubscriberConfig{JetStream: js, Durable: durable("one")})
	subscribe(t, sub, "refuse.a")
	subscribe(t, sub, "refuse.a") // competes with the first
	for topic, want := range map[string]string{
		"refuse.b":  "refuse.a",
		"refuse..a": "token is empty",
	} {
		if _, err := sub.Subscribe(t.Context(), topic); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("topic %q: %v, want %q", topic, err, want)
		}
	}
	other := newTestSubscriber(t, SubscriberConfig{JetStream: js})
	if _, err := other.Subscribe(t.Context(), "elsewhere"); !errors.Is(err, jetstream.ErrStreamNotFound) {
		t.Errorf("topic without a stream: %v", err)
	}
}

// TestSubscriberConsumer sees what the server was asked for.
func TestSubscriberConsumer(t *testing.T) {
	js := startBroker(t).connect(t)
	addStream(t, js, "consumer")
	sub := newTestSubscriber(t, SubscriberConfig{
		JetStream: js, Stream: "CONSUMER", Durable: durable("d"), Deliver: jetstream.DeliverNewPolicy,
		MaxInFlight: 3, Prefetch: 4, MaxAckPending: 20, AckWait: 7 * time.Second, MaxDeliver: 5,
	})
	subscribe(t, sub, "consumer.a.*")
	got := consumerInfo(t, js, "CONSUMER", "d").Config
	want := jetstream.ConsumerConfig{
		Name: "d", Durable: "d", FilterSubject: "consumer.a.*",
		DeliverPolicy: jetstream.DeliverNewPolicy, AckPolicy: jetstream.AckExplicitPolicy,
		AckWait: 7 * time.Second, MaxDeliver: 5, MaxAckPending: 20,
		MaxWaiting: got.MaxWaiting, Metadata: got.Metadata, // the server's own
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

// TestSubscriberSince begins in the middle of a stream.
func TestSubscriberSince(t *testing.T) {
	js := startBroker(t).connect(t)
	stream := addStream(t, js, "since")
	store(t, js, "since.a", "0", "1", "2")
	second, err := stream.GetMsg(t.Context(), 2)
	if err != nil {
		t.Fatal(err)
	}
	sub := newTestSubscriber(t, SubscriberConfig{JetStream: js, Durable: durable("d"), Since: second.Time})
	receiveBodies(t, subscribe(t, sub, "since.>"), "1", "2")
}

// TestSubscriberExisting uses a consumer that somebody else has made, and lets it
// be as it is.
func TestSubscriberExisting(t *testing.T) {
	js := startBroker(t).connect(t)
	stream := addStream(t, js, "there")
	sub := newTestSubscriber(t, SubscriberConfig{JetStream: js, Stream: "THERE", Durable: durable("d"), Existing: true})
	if _, err := sub.Subscribe(t.Context(), "there.a"); !errors.Is(err, jetstream.ErrConsumerNotFound) {
		t.Errorf("one that is not there: %v", err)
	}
	want := jetstream.ConsumerConfig{Durable: "d", FilterSubject: "there.*", AckPolicy: jetstream.AckExplicitPolicy, AckWait: 7 * time.Second, MaxDeliver: 3}
	if _, err := stream.CreateConsumer(t.Context(), want); err != nil {
		t.Fatal(err)
	}
	before := consumerInfo(t, js, "THERE", "d").Config
	store(t, js, "there.a", "0")
	store(t, js, "there.b", "1")
	receiveBodies(t, subscribe(t, sub, "there.a"), "0", "1")
	if diff := cmp.Diff(before, consumerInfo(t, js, "THERE", "d").Config); diff != "" {
		t.Error(diff)
	}
}

// TestSubscriberKeepsPosition changes the settings of a durable that exists,
// among them one that the server does not let change.
func TestSubscriberKeepsPosition(t *testing.T) {
	js := startBroker(t).connect(t)
	addStream(t, js, "keep")
	store(t, js, "keep.a", "0", "1", "2")

	first := newTestSubscriber(t, SubscriberConfig{JetStream: js, Durable: durable("d"), MaxInFlight: 1})
	receiveBodies(t, subscribe(t, first, "keep.a"), "0")
	closeSubscriber(t, first)

	second := newTestSubscriber(t, SubscriberConfig{
		JetStream: js, Durable: durable("d"), MaxInFlight: 1,
		Deliver: jetstream.DeliverNewPolicy, MaxDeliver: 9, AckWait: time.Second,
	})
	receiveBodies(t, subscribe(t, second, "keep.>"), "1", "2")
	if got := consumerInfo(t, js, "KEEP", "d").Config; got.MaxDeliver != 9 || got.FilterSubject != "keep.>" {
		t.Errorf("settings were not changed: %+v", got)
	}
}

func TestSubscribeInitialize(t *testing.T) {
	js := startBroker(t).connect(t)
	addStream(t, js, "init")
	store(t, js, "init.a", "before")
	sub := newTestSubscriber(t, SubscriberConfig{JetStream: js, Durable: durable("d"), Deliver: jetstream.DeliverNewPolicy})
	if err := sub.SubscribeInitialize("init.a"); err != nil {
		t.Fatal(err)
	}
	store(t, js, "init.a", "after")
	receiveBodies(t, subscribe(t, sub, "init.a"), "after")
	if err := sub.SubscribeInitialize("init..a"); err == nil {
		t.Error("a bad topic is not refused")
	}
}

// TestSubscriberDomain reaches JetStream under another API prefix.
func TestSubscriberDomain(t *testing.T) {
	b := startBroker(t)
	b.stop()
	b.opts.JetStreamDomain = "hub"
	b.start(t)
	nc := b.dial(t)
	byDomain, err := jetstream.NewWithDomain(nc, "hub")
	if err != nil {
		t.Fatal(err)
	}
	byPrefix, err := jetstream.NewWithAPIPrefix(nc, "$JS.hub.API")
	if err != nil {
		t.Fatal(err)
	}
	addStream(t, byDomain, "domain")
	store(t, byDomain, "domain.a", "x")
	for _, js := range []jetstream.JetStream{byDomain, byPrefix} {
		receiveBodies(t, subscribe(t, newTestSubscriber(t, SubscriberConfig{JetStream: js}), "domain.a"), "x")
	}
}

type ctxKey struct{}

func TestSubscriberContext(t *testing.T) {
	js := startBroker(t).connect(t)
	addStream(t, js, "ctx")
	store(t, js, "ctx.a", "acked", "nacked", "running")
	sub := newTestSubscriber(t, SubscriberConfig{JetStream: js, NakDelay: func(uint64) time.Duration { return time.Hour }})
	ctx, cancel := context.WithCancel(context.WithValue(t.Context(), ctxKey{}, "value"))
	defer cancel()
	messages, err := sub.Subscribe(ctx, "ctx.a")
	if err != nil {
		t.Fatal(err)
	}
	for _, end := range []func(*message.Message) bool{(*message.Message).Ack, (*message.Message).Nack} {
		m := receive(t, messages)
		if m.Context().Value(ctxKey{}) != "value" {
			t.Error("the context's values do not reach the message")
		}
		if err := m.Context().Err(); err != nil {
			t.Errorf("context of a running handler: %v", err)
		}
		end(m)
		<-m.Context().Done()
	}
	running := receive(t, messages)
	cancel()
	select {
	case <-running.Context().Done():
		t.Error("the end of the subscription ends a running handler at once")
	case m, ok := <-messages:
		t.Errorf("got %v, %v while a handler runs", m, ok)
	case <-time.After(50 * time.Millisecond):
	}
	running.Ack()
	if _, ok := <-messages; ok {
		t.Error("a message came after the end")
	}
}

// TestSubscriberNak sees the delays asked for with the right count and kept.
func TestSubscriberNak(t *testing.T) {
	t.Parallel()
	const delay = 200 * time.Millisecond
	js := startBroker(t).connect(t)
	addStream(t, js, "nak")
	store(t, js, "nak.a", "x")
	var asked []uint64
	sub := newTestSubscriber(t, SubscriberConfig{JetStream: js, NakDelay: func(deliveries uint64) time.Duration {
		asked = append(asked, deliveries)
		return delay
	}})
	messages := subscribe(t, sub, "nak.a")
	for n := uint64(1); n <= 3; n++ {
		m := receive(t, messages)
		if got := deliveries(t, m); got != n {
			t.Errorf("delivery %d says it is delivery %d", n, got)
		}
		nacked := time.Now()
		m.Nack()
		if n == 3 {
			break
		}
		select {
		case again := <-messages:
			t.Fatalf("delivery %d came %s after the nack", deliveries(t, again), time.Since(nacked))
		case <-time.After(delay - 20*time.Millisecond):
		}
	}
	closeSubscriber(t, sub)
	if diff := cmp.Diff([]uint64{1, 2, 3}, asked); diff != "" {
		t.Error(diff)
	}
}

// TestSubscriberHeartbeat holds messages for several times AckWait, handed out
// and waiting: the server must not deliver any of them again.
func TestSubscriberHeartbeat(t *testing.T) {
	t.Parallel()
	const ackWait = 2 * time.Second
	js := startBroker(t).connect(t)
	addStream(t, js, "beat")
	store(t, js, "beat.a", numbered(10)...)
	sub := newTestSubscriber(t, SubscriberConfig{JetStream: js, Durable: durable("d"), MaxInFlight: 1, AckWait: ackWait})
	messages := subscribe(t, sub, "beat.a")
	m := receive(t, messages)
	time.Sleep(3 * ackWait)
	if info := consumerInfo(t, js, "BEAT", "d"); info.Delivered.Consumer != 10 || info.NumAckPending != 10 {
		t.Errorf("server delivered %d times and awaits %d acks, want 10 and 10", info.Delivered.Consumer, info.NumAckPending)
	}
	m.Ack()
	receiveBodies(t, messages, numbered(10)[1:]...)
}

// TestSubscriberBounds hands messages to concurrent handlers of any speed: never
// more than MaxInFlight of them run, each message comes once, one at a time
// keeps the order.
func TestSubscriberBounds(t *testing.T) {
	js := startBroker(t).connect(t)
	addStream(t, js, "bounds")
	topic := 0
	rapid.Check(t, func(t *rapid.T) {
		maxInFlight := rapid.IntRange(1, 6).Draw(t, "in flight")
		cfg := SubscriberConfig{JetStream: js, MaxInFlight: maxInFlight, Prefetch: rapid.IntRange(-1, 4).Draw(t, "prefetch")}
		handling := rapid.SliceOfN(rapid.IntRange(0, 300), 1, 40).Draw(t, "µs of handling")
		topic++
		subject := fmt.Sprintf("bounds.%d", topic)
		for i := range handling {
			if _, err := js.Publish(context.Background(), subject, []byte{byte(i)}); err != nil {
				t.Fatal(err)
			}
		}
		sub, err := NewSubscriber(cfg)
		if err != nil {
			t.Fatal(err)
		}
		messages, err := sub.Subscribe(context.Background(), subject)
		if err != nil {
			t.Fatal(err)
		}
		var (
			handlers sync.WaitGroup
			mu       sync.Mutex
			order    []byte
			running  int
			most     int
		)
		for range handling {
			m := <-messages
			mu.Lock()
			order = append(order, m.Payload[0])
			running++
			most = max(most, running)
			mu.Unlock()
			handlers.Go(func() {
				time.Sleep(time.Duration(handling[m.Payload[0]]) * time.Microsecond)
				mu.Lock()
				running--
				mu.Unlock()
				m.Ack()
			})
		}
		handlers.Wait()
		if err := sub.Close(); err != nil {
			t.Error(err)
		}
		for m := range messages {
			t.Errorf("one too many: %d", m.Payload)
		}
		if most > maxInFlight {
			t.Errorf("%d handlers at once, want at most %d", most, maxInFlight)
		}
		for i := range order {
			if order[i] != byte(i) {
				t.Fatalf("order %v", order)
			}
		}
	})
}

// TestSubscriberHoldsBytes has more in the stream than may wait in memory.
func TestSubscriberHoldsBytes(t *testing.T) {
	js := startBroker(t).connect(t)
	addStream(t, js, "large")
	large := make([]string, 70)
	for i := range large {
		large[i] = strings.Repeat(string(rune('0'+i)), 1<<20-100)
	}
	store(t, js, "large.a", large...)
	sub := newTestSubscriber(t, SubscriberConfig{JetStream: js, Durable: durable("d"), MaxInFlight: 100})
	messages := subscribe(t, sub, "large.a")
	eventually(t, "messages wait", func() bool { return consumerInfo(t, js, "LARGE", "d").NumAckPending >= 60 })
	if n := consumerInfo(t, js, "LARGE", "d").NumAckPending; n > maxHeldSize>>20 {
		t.Errorf("%d messages of 1 MiB wait, want at most %d", n, maxHeldSize>>20)
	}
	receiveBodies(t, messages, large...)
}
