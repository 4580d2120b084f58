package events

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/google/go-cmp/cmp"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"pgregory.net/rapid"
)

func newTestPublisher(tb testing.TB, js jetstream.JetStream) *Publisher {
	tb.Helper()
	pub, err := NewPublisher(PublisherConfig{JetStream: js})
	if err != nil {
		tb.Fatal(err)
	}
	return pub
}

func TestNewPublisherRefuses(t *testing.T) {
	if _, err := NewPublisher(PublisherConfig{}); err == nil || !strings.Contains(err.Error(), "JetStream") {
		t.Errorf("without JetStream: %v", err)
	}
	js := startBroker(t).connect(t)
	if _, err := NewPublisher(PublisherConfig{JetStream: js, Timeout: -1}); err == nil || !strings.Contains(err.Error(), "Timeout") {
		t.Errorf("with a negative timeout: %v", err)
	}
}

// TestPublishRoundTrip publishes what checkHeader lets pass: all of it must
// arrive unchanged.
func TestPublishRoundTrip(t *testing.T) {
	js := startBroker(t).connect(t)
	addStream(t, js, "trip")
	pub := newTestPublisher(t, js)
	messages := subscribe(t, newTestSubscriber(t, SubscriberConfig{JetStream: js}), "trip.>")

	name := rapid.StringOf(rapid.RuneFrom([]rune(headerNameBytes))).Filter(func(s string) bool {
		return s != "" && s != HeaderMessageID && !strings.HasPrefix(strings.ToLower(s), "nats-")
	})
	value := rapid.String().Filter(func(s string) bool { return checkHeader(nats.Header{"X": {s}}) == nil })
	rapid.Check(t, func(t *rapid.T) {
		sent := message.NewMessage(value.Draw(t, "uuid")+"x", rapid.SliceOf(rapid.Byte()).Draw(t, "body"))
		sent.Metadata = rapid.MapOf(name, value).Draw(t, "metadata")
		if err := pub.Publish("trip.a", sent); err != nil {
			t.Fatal(err)
		}
		var got *message.Message
		select {
		case got = <-messages:
		case <-time.After(patience):
			t.Fatal("no message came")
		}
		got.Ack()
		for name := range got.Metadata {
			if strings.HasPrefix(name, metaPrefix) {
				delete(got.Metadata, name)
			}
		}
		if got.UUID != sent.UUID || string(got.Payload) != string(sent.Payload) {
			t.Errorf("got %q %q, want %q %q", got.UUID, got.Payload, sent.UUID, sent.Payload)
		}
		if diff := cmp.Diff(map[string]string(sent.Metadata), map[string]string(got.Metadata)); diff != "" {
			t.Error(diff)
		}
	})
}

// TestPublishKeepsOrder sends more messages in one call than may be
// unacknowledged at the same time.
func TestPublishKeepsOrder(t *testing.T) {
	js := startBroker(t).connect(t)
	stream := addStream(t, js, "order")
	bodies := numbered(3*publishWindow + 1)
	messages := make([]*message.Message, len(bodies))
	for i, body := range bodies {
		messages[i] = message.NewMessage("", []byte(body))
	}
	if err := newTestPublisher(t, js).Publish("order.a", messages...); err != nil {
		t.Fatal(err)
	}
	if n := stored(t, stream); n != len(bodies) {
		t.Fatalf("stream has %d messages, want %d at once", n, len(bodies))
	}
	receiveBodies(t, subscribe(t, newTestSubscriber(t, SubscriberConfig{JetStream: js, MaxInFlight: 1}), "order.a"), bodies...)
}

func TestPublishDropsRepetitions(t *testing.T) {
	js := startBroker(t).connect(t)
	stream := addStream(t, js, "twice")
	pub := newTestPublisher(t, js)
	for range 2 {
		m := message.NewMessage("", []byte("x"))
		m.Metadata.Set(nats.MsgIdHdr, "delivery-1")
		if err := pub.Publish("twice.a", m); err != nil {
			t.Fatal(err)
		}
	}
	if n := stored(t, stream); n != 1 {
		t.Errorf("stream has %d messages, want 1", n)
	}
}

// TestPublishRefuses sees that nothing was sent: the good message of the same
// call neither.
func TestPublishRefuses(t *testing.T) {
	js := startBroker(t).connect(t)
	stream := addStream(t, js, "refuse")
	pub := newTestPublisher(t, js)
	good, bad := message.NewMessage("", nil), message.NewMessage("", nil)
	bad.Metadata.Set("reason", "two\nlines")
	if err := pub.Publish("refuse.a", good, bad); err == nil || !strings.Contains(err.Error(), "reason") {
		t.Errorf("bad metadata: %v", err)
	}
	if err := pub.Publish("refuse.*", good); err == nil || !strings.Contains(err.Error(), "refuse.*") {
		t.Errorf("bad subject: %v", err)
	}
	if n := stored(t, stream); n != 0 {
		t.Errorf("stream has %d messages, want none", n)
	}
}

func TestPublishWithoutStream(t *testing.T) {
	t.Parallel()
	pub := newTestPublisher(t, startBroker(t).connect(t))
	for n := 1; n <= 2; n++ {
		err := pub.Publish("nobody.keeps.this", blanks(n)...)
		if !errors.Is(err, jetstream.ErrNoStreamResponse) {
			t.Errorf("%d messages: %v, want %v", n, err, jetstream.ErrNoStreamResponse)
		}
	}
}

func blanks(n int) []*message.Message {
	messages := make([]*message.Message, n)
	for i := range messages {
		messages[i] = message.NewMessage("", nil)
	}
	return messages
}

// TestPublishGivesUp publishes to somebody who listens and never answers.
func TestPublishGivesUp(t *testing.T) {
	b := startBroker(t)
	js := b.connect(t)
	if _, err := b.dial(t).Subscribe("silent.>", func(*nats.Msg) {}); err != nil {
		t.Fatal(err)
	}
	pub, err := NewPublisher(PublisherConfig{JetStream: js, Timeout: 50 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	canceled, cancel := context.WithCancel(t.Context())
	cancel()
	for _, n := range []int{1, 300} {
		if err := pub.Publish("silent.a", blanks(n)...); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("%d messages: %v, want %v", n, err, context.DeadlineExceeded)
		}
		messages := blanks(n)
		messages[0].SetContext(canceled)
		if err := pub.Publish("silent.a", messages...); !errors.Is(err, context.Canceled) {
			t.Errorf("%d messages, the first canceled: %v, want %v", n, err, context.Canceled)
		}
	}
	if n := js.PublishAsyncPending(); n > 2*publishWindow {
		t.Errorf("%d acknowledgements are awaited, want at most %d for each of two calls", n, publishWindow)
	}
}

func TestPublisherClose(t *testing.T) {
	js := startBroker(t).connect(t)
	addStream(t, js, "close")
	pub := newTestPublisher(t, js)
	for range 2 {
		if err := pub.Close(); err != nil {
			t.Error(err)
		}
	}
	if err := pub.Publish("close.a", message.NewMessage("", nil)); err == nil {
		t.Error("a closed publisher publishes")
	}
}
