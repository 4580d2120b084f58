package events

import (
	"context"
	"fmt"
	"net"
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
	t.Parallel()
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
			eventually(t, "the stream is back and has each message once", func() bool {
				ctx, cancel := context.WithTimeout(t.Context(), time.Second)
				defer cancel()
				info, err := stream.Info(ctx)
				return err == nil && info.State.Msgs == publishers*each
			})
		})
	}
}

// TestSubscriberKeepsAnswers acks while the server is away: it learns of it
// afterwards, long before AckWait.
func TestSubscriberKeepsAnswers(t *testing.T) {
	t.Parallel()
	b := startBroker(t)
	js := b.connect(t)
	addStream(t, js, "answer")
	store(t, js, "answer.a", "x")
	messages := subscribe(t, newTestSubscriber(t, SubscriberConfig{JetStream: js, Durable: durable("d"), AckWait: time.Hour}), "answer.a")
	m := receive(t, messages)
	b.stop()
	eventually(t, "the loss is noticed", func() bool { return !js.Conn().IsConnected() })
	m.Ack()
	<-m.Context().Done()
	b.start(t)
	eventually(t, "connected again", js.Conn().IsConnected)
	eventually(t, "the ack arrives", func() bool { return consumerInfo(t, js, "ANSWER", "d").NumAckPending == 0 })
	store(t, js, "answer.a", "y")
	receiveBodies(t, messages, "y")
}

// gate is a network that can be down.
type gate struct{ up sync.RWMutex }

// Dial waits until the network is up.
func (g *gate) Dial(network, address string) (net.Conn, error) {
	g.up.RLock()
	defer g.up.RUnlock()
	return net.Dial(network, address)
}

// TestSubscriberOutlastsOutage cuts a subscriber off for longer than AckWait,
// with messages handed out and waiting. The server delivers all of them again;
// each is handled once.
func TestSubscriberOutlastsOutage(t *testing.T) {
	t.Parallel()
	const ackWait = time.Second
	b := startBroker(t)
	outside := b.connect(t)
	addStream(t, outside, "outage")
	bodies := numbered(10)
	store(t, outside, "outage.a", bodies...)
	info := func() *jetstream.ConsumerInfo { return consumerInfo(t, outside, "OUTAGE", "d") }

	var g gate
	js := b.connect(t, nats.SetCustomDialer(&g))
	messages := subscribe(t, newTestSubscriber(t, SubscriberConfig{
		JetStream: js, Durable: durable("d"), MaxInFlight: 1, Prefetch: 50, AckWait: ackWait,
	}), "outage.a")
	running := receive(t, messages)
	eventually(t, "all are held", func() bool { return info().NumAckPending == 10 })

	g.up.Lock()
	id, err := js.Conn().GetClientID()
	if err != nil {
		t.Fatal(err)
	}
	if err := b.server.DisconnectClientByID(id); err != nil {
		t.Fatal(err)
	}
	time.Sleep(2 * ackWait)
	g.up.Unlock()
	eventually(t, "all are delivered again", func() bool { return info().Delivered.Consumer >= 20 })
	if err := js.Conn().Flush(); err != nil {
		t.Fatal(err)
	}
	running.Ack()
	receiveBodies(t, messages, bodies[1:]...)
	store(t, outside, "outage.a", "after")
	receiveBodies(t, messages, "after")
}

// TestSubscriberRecreatesConsumer deletes the consumer under a subscription:
// it goes on where it stood, what was published meanwhile included.
func TestSubscriberRecreatesConsumer(t *testing.T) {
	t.Parallel()
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
	t.Parallel()
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
	t.Parallel()
	js := startBroker(t).connect(t)
	addStream(t, js, "reborn")
	store(t, js, "reborn.a", numbered(20)...)
	messages := subscribe(t, newTestSubscriber(t, SubscriberConfig{JetStream: js, Durable: durable("d")}), "reborn.a")
	receiveBodies(t, messages, numbered(19)...)
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

	// Where it stands counts in the new stream.
	if err := js.DeleteConsumer(t.Context(), "REBORN", "d"); err != nil {
		t.Fatal(err)
	}
	store(t, js, "reborn.a", "f")
	receiveBodies(t, messages, "f")
}
