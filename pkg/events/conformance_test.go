package events

import (
	"strings"
	"testing"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/ThreeDotsLabs/watermill/pubsub/tests"
)

// TestConformance runs Watermill's own suite for brokers.
//
// Its TestReconnect needs a RestartServiceCommand and has a data race on its
// list of published messages; TestSubscriberReconnects does the same here.
func TestConformance(t *testing.T) {
	for _, c := range []struct {
		name        string
		maxInFlight int
		ordered     bool
	}{
		{"ordered", 1, true},
		{"concurrent", 100, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := startBroker(t)
			addStream(t, b.connect(t), "conformance")
			group := func(t *testing.T, name string) (message.Publisher, message.Subscriber) {
				return newPubSub(t, b, SubscriberConfig{
					Durable:     func(topic string) string { return name + "-" + strings.TrimPrefix(topic, "conformance.") },
					MaxInFlight: c.maxInFlight,
				})
			}
			tests.TestPubSub(t, tests.Features{
				ConsumerGroups:                      true,
				ExactlyOnceDelivery:                 false,
				GuaranteedOrder:                     c.ordered,
				GuaranteedOrderWithSingleSubscriber: true,
				Persistent:                          true,
				GenerateTopicFunc:                   conformanceTopic,
			}, func(t *testing.T) (message.Publisher, message.Subscriber) {
				return group(t, "default")
			}, group)
		})
	}

	// Without a durable each subscriber sees everything that was ever stored.
	t.Run("ephemeral", func(t *testing.T) {
		b := startBroker(t)
		addStream(t, b.connect(t), "conformance")
		tests.TestNewSubscriberReceivesOldMessages(t, tests.TestContext{
			TestID: tests.NewTestID(),
			Features: tests.Features{
				NewSubscriberReceivesOldMessages: true,
				Persistent:                       true,
				GenerateTopicFunc:                conformanceTopic,
			},
		}, func(t *testing.T) (message.Publisher, message.Subscriber) {
			return newPubSub(t, b, SubscriberConfig{})
		})
	})
}

func conformanceTopic(tctx tests.TestContext) string {
	return "conformance." + tctx.TestID.String()
}

// newPubSub completes cfg. The suite nacks hundreds of times, closes with a
// message that it never acks, and leaves some subscribers open.
func newPubSub(t *testing.T, b *broker, cfg SubscriberConfig) (*Publisher, *Subscriber) {
	cfg.JetStream = b.connect(t)
	cfg.NakDelay = func(uint64) time.Duration { return 0 }
	cfg.CloseTimeout = time.Second
	pub, err := NewPublisher(PublisherConfig{JetStream: cfg.JetStream})
	if err != nil {
		t.Fatal(err)
	}
	return pub, newTestSubscriber(t, cfg)
}
