package executor

import (
	"context"
	"testing"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/plugfn/plugfn/internal/bus"
	"github.com/plugfn/plugfn/pkg/events"
)

// move brings what is due to its target until the end of the test, as the
// scheduler does.
func move(t *testing.T, b *bus.Bus) {
	t.Helper()
	consumer, err := b.JetStream().CreateOrUpdateConsumer(t.Context(), events.StreamLater, jetstream.ConsumerConfig{
		Durable: "mover", FilterSubject: events.PrefixDue + ">", AckPolicy: jetstream.AckExplicitPolicy,
	})
	if err != nil {
		t.Fatal(err)
	}
	consuming, err := consumer.Consume(func(m jetstream.Msg) {
		meta, err := m.Metadata()
		if err != nil {
			t.Error(err)
			return
		}
		firing, err := bus.Due(m.Subject(), m.Headers(), meta.Sequence.Stream)
		if err != nil {
			t.Error(err)
			return
		}
		out := &nats.Msg{Subject: firing.Target, Header: firing.Header, Data: m.Data()}
		out.Header.Set(jetstream.MsgIDHeader, firing.ID)
		if _, err := b.JetStream().PublishMsg(context.Background(), out); err != nil {
			return // delivered again
		}
		_ = m.Ack()
		_ = b.Moved(context.Background(), meta.Sequence.Stream)
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { consuming.Stop(); <-consuming.Closed() })
}
