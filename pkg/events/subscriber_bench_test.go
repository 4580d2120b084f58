package events

import (
	"context"
	"sync"
	"testing"
	"time"

	"github.com/ThreeDotsLabs/watermill"
	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/nats-io/nats.go/jetstream"
)

const (
	benchInFlight = 1000
	benchHandling = 50 * time.Millisecond
	benchMessages = 40_000 // two seconds at the ideal rate
)

// BenchmarkSubscriber50ms measures how close a handler that waits for 50 ms
// comes to what 1,000 of it at once can do: 20,000 messages a second. The pool
// of goroutines over nats.go's Consume is there to compare with.
func BenchmarkSubscriber50ms(b *testing.B) {
	for _, c := range []struct {
		name string
		run  func(b *testing.B, js jetstream.JetStream, handled func())
	}{
		{"router", benchRouter},
		{"pool", benchPool},
	} {
		b.Run(c.name, func(b *testing.B) {
			js := startBroker(b).connect(b)
			addStream(b, js, "bench")
			preload(b, js)
			for b.Loop() {
				var all sync.WaitGroup
				all.Add(benchMessages)
				start := time.Now()
				c.run(b, js, func() {
					time.Sleep(benchHandling)
					all.Done()
				})
				all.Wait()
				rate := benchMessages / time.Since(start).Seconds()
				b.ReportMetric(rate, "msgs/s")
				b.ReportMetric(100*rate*benchHandling.Seconds()/benchInFlight, "%ideal")
			}
		})
	}
}

// preload stores messages like events: 512 bytes and six headers.
func preload(b *testing.B, js jetstream.JetStream) {
	pub, err := NewPublisher(PublisherConfig{JetStream: js})
	if err != nil {
		b.Fatal(err)
	}
	messages := make([]*message.Message, benchMessages)
	for i := range messages {
		e := Event{ID: watermill.NewShortUUID(), Source: "/plugfn/bench/_/_", Type: "dev.plugfn.bench", UserID: "u1", Data: make([]byte, 512)}
		messages[i] = MessageOf(e.Msg(""))
	}
	if err := pub.Publish("bench.events", messages...); err != nil {
		b.Fatal(err)
	}
}

func benchRouter(b *testing.B, js jetstream.JetStream, handled func()) {
	sub, err := NewSubscriber(SubscriberConfig{JetStream: js, MaxInFlight: benchInFlight})
	if err != nil {
		b.Fatal(err)
	}
	router, err := message.NewRouter(message.RouterConfig{}, watermill.NopLogger{})
	if err != nil {
		b.Fatal(err)
	}
	router.AddConsumerHandler("bench", "bench.events", sub, func(*message.Message) error {
		handled()
		return nil
	})
	var running sync.WaitGroup
	running.Go(func() {
		if err := router.Run(context.Background()); err != nil {
			b.Error(err)
		}
	})
	b.Cleanup(func() {
		if err := router.Close(); err != nil {
			b.Error(err)
		}
		running.Wait()
	})
}

func benchPool(b *testing.B, js jetstream.JetStream, handled func()) {
	consumer, err := js.CreateConsumer(b.Context(), "BENCH", jetstream.ConsumerConfig{
		AckPolicy:     jetstream.AckExplicitPolicy,
		MaxAckPending: 4 * benchInFlight,
	})
	if err != nil {
		b.Fatal(err)
	}
	work := make(chan jetstream.Msg, benchInFlight)
	var running sync.WaitGroup
	for range benchInFlight {
		running.Go(func() {
			for m := range work {
				handled()
				if err := m.Ack(); err != nil {
					b.Error(err)
				}
			}
		})
	}
	consuming, err := consumer.Consume(func(m jetstream.Msg) { work <- m },
		jetstream.PullMaxMessages(benchInFlight), jetstream.PullExpiry(2*time.Second), jetstream.PullHeartbeat(500*time.Millisecond))
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		consuming.Stop()
		<-consuming.Closed()
		close(work)
		running.Wait()
	})
}
