package events

import (
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// TestSubscriberReconnects restarts the server twice while many publish: each
// publishes until its message is acknowledged, and all come.
func TestSubscriberReconnects(t *testing.T) {
	for _, maxInFlight := range []int{1, 100} {
		t.Run(fmt.Sprint(maxInFlight), func(t *testing.T) {
			const publishers, each = 20, 50
			b := startBroker(t)
			js := b.connect(t)
			stream := addStream(t, js, "reconnect")
			pub, err := NewPublisher(PublisherConfig{JetStream: js, Timeout: 200 * time.Millisecond})
			if err != nil {
				t.Fatal(err)
			}
			messages := subscribe(t, newTestSubscriber(t, SubscriberConfig{
				JetStream: js, Durable: durable("d"), MaxInFlight: maxInFlight, AckWait: 2 * time.Second,
			}), "reconnect.>")

			var publishing sync.WaitGroup
			restart := make(chan struct{}, publishers*each)
			for p := range publishers {
				publishing.Go(func() {
					for i := range each {
						m := message.NewMessage("", nil)
						m.Metadata.Set(nats.MsgIdHdr, fmt.Sprintf("%d-%d", p, i))
						for pub.Publish("reconnect.a", m) != nil {
							time.Sleep(20 * time.Millisecond)
						}
						restart <- struct{}{}
					}
				})
			}
			publishing.Go(func() {
				for range 2 {
					for range publishers * each / 3 {
						<-restart
					}
					b.stop()
					b.start(t)
				}
			})
			seen := map[string]bool{}
			for len(seen) < publishers*each {
				m := receive(t, messages)
				seen[m.UUID] = true
				m.Ack()
			}
			publishing.Wait()
			eventually(t, "connected again", js.Conn().IsConnected)
			if n := stored(t, stream); n != publishers*each {
				t.Errorf("stream has %d messages, want %d", n, publishers*each)
			}
		})
	}
}

// TestSubscriberKeepsAnswers acks while the server is away: the message is not
// handled again.
func TestSubscriberKeepsAnswers(t *testing.T) {
	b := startBroker(t)
	js := b.connect(t)
	addStream(t, js, "answer")
	store(t, js, "answer.a", "x")
	messages := subscribe(t, newTestSubscriber(t, SubscriberConfig{JetStream: js, Durable: durable("d"), AckWait: 300 * time.Millisecond}), "answer.a")
	m := receive(t, messages)
	b.stop()
	eventually(t, "the loss is noticed", func() bool { return !js.Conn().IsConnected() })
	m.Ack()
	b.start(t)
	eventually(t, "connected again", js.Conn().IsConnected)
	eventually(t, "the ack arrives", func() bool { return consumerInfo(t, js, "ANSWER", "d").NumAckPending == 0 })
	store(t, js, "answer.a", "y")
	receiveBodies(t, messages, "y")
}

// TestSubscriberOutlastsOutage has messages handed out and waiting while the
// server is away for longer than AckWait: each is handled once.
func TestSubscriberOutlastsOutage(t *testing.T) {
	const ackWait = 500 * time.Millisecond
	b := startBroker(t)
	js := b.connect(t)
	addStream(t, js, "outage")
	bodies := numbered(10)
	store(t, js, "outage.a", bodies...)
	messages := subscribe(t, newTestSubscriber(t, SubscriberConfig{JetStream: js, Durable: durable("d"), MaxInFlight: 1, AckWait: ackWait}), "outage.a")
	running := receive(t, messages)
	eventually(t, "all are held", func() bool { return consumerInfo(t, js, "OUTAGE", "d").NumAckPending == 10 })
	b.stop()
	time.Sleep(2 * ackWait)
	b.start(t)
	eventually(t, "connected again", js.Conn().IsConnected)
	eventually(t, "all are delivered again", func() bool { return consumerInfo(t, js, "OUTAGE", "d").Delivered.Consumer >= 20 })
	if err := js.Conn().Flush(); err != nil {
		t.Fatal(err)
	}
	running.Ack()
	receiveBodies(t, messages, bodies[1:]...)
	eventually(t, "all are acked", func() bool { return consumerInfo(t, js, "OUTAGE", "d").NumAckPending == 0 })
	store(t, js, "outage.a", "after")
	receiveBodies(t, messages, "after")
}

// TestSubscriberRecreatesConsumer deletes the consumer under a subscription:
// it goes on where it stood, what was published meanwhile included.
func TestSubscriberRecreatesConsumer(t *testing.T) {
	for _, c := range []struct {
		name    string
		durable func(string) string
		deliver jetstream.DeliverPolicy
		first   []string // of what was there before
	}{
		{"durable", durable("d"), jetstream.DeliverAllPolicy, []string{"0", "1"}},
		{"durable, new", durable("d"), jetstream.DeliverNewPolicy, nil},
		{"ephemeral", nil, jetstream.DeliverAllPolicy, []string{"0", "1"}},
		{"ephemeral, new", nil, jetstream.DeliverNewPolicy, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			js := startBroker(t).connect(t)
			stream := addStream(t, js, "again")
			store(t, js, "again.a", "0", "1")
			messages := subscribe(t, newTestSubscriber(t, SubscriberConfig{JetStream: js, Durable: c.durable, Deliver: c.deliver}), "again.a")
			receiveBodies(t, messages, c.first...)
			for name := range stream.ConsumerNames(t.Context()).Name() {
				if err := stream.DeleteConsumer(t.Context(), name); err != nil {
					t.Fatal(err)
				}
			}
			store(t, js, "again.a", "2", "3")
			receiveBodies(t, messages, "2", "3")
		})
	}
}

// TestSubscriberRecreatedHoldsUnfinished deletes the consumer while a message is
// handled that is nacked afterwards: it comes again.
func TestSubscriberRecreatedHoldsUnfinished(t *testing.T) {
	js := startBroker(t).connect(t)
	stream := addStream(t, js, "unfinished")
	store(t, js, "unfinished.a", "0", "1")
	messages := subscribe(t, newTestSubscriber(t, SubscriberConfig{JetStream: js, Durable: durable("d")}), "unfinished.a")
	unfinished := receive(t, messages)
	receiveBodies(t, messages, "1")
	if err := stream.DeleteConsumer(t.Context(), "d"); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the new consumer delivers", func() bool {
		consumer, err := js.Consumer(t.Context(), "UNFINISHED", "d")
		return err == nil && consumer.CachedInfo().NumAckPending > 0
	})
	unfinished.Nack()
	for {
		m := receive(t, messages)
		m.Ack()
		if string(m.Payload) == "0" {
			return
		}
	}
}

// TestSubscriberRecreatedStream deletes the stream and makes it again, with
// sequences from 1.
func TestSubscriberRecreatedStream(t *testing.T) {
	js := startBroker(t).connect(t)
	addStream(t, js, "reborn")
	store(t, js, "reborn.a", "0", "1", "2")
	messages := subscribe(t, newTestSubscriber(t, SubscriberConfig{JetStream: js, Durable: durable("d")}), "reborn.a")
	receiveBodies(t, messages, "0", "1")
	held := receive(t, messages)
	if err := js.DeleteStream(t.Context(), "REBORN"); err != nil {
		t.Fatal(err)
	}
	addStream(t, js, "reborn")
	store(t, js, "reborn.a", "a", "b", "c", "d")
	receiveBodies(t, messages, "a", "b", "c", "d")
	held.Ack()
	store(t, js, "reborn.a", "e")
	receiveBodies(t, messages, "e")
}
