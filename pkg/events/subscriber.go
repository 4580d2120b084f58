package events

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/rs/zerolog"
)

var errSubscriberClosed = errors.New("subscriber is closed")

// SubscriberConfig is what a [Subscriber] works with.
type SubscriberConfig struct {
	JetStream jetstream.JetStream
	Log       zerolog.Logger // zero: silent

	// Stream is read; empty: the one that keeps the topic.
	Stream string
	// Durable names the consumer of a topic. Subscribers that share a durable
	// share its messages, and what one of them acked stays acked after a
	// restart. nil or an empty name: a consumer of this subscription alone,
	// gone with it or after five minutes out of reach.
	Durable func(topic string) string
	// Existing says that the durable was made by somebody else, who alone may
	// change it: it is looked up in Stream, and used as it is. What it delivers
	// may then be more than the topic.
	Existing bool
	// Deliver says where a consumer begins that does not exist yet: all (zero),
	// new, last or last per subject. A consumer that was deleted under a running
	// subscription goes on where this subscription stood.
	Deliver jetstream.DeliverPolicy
	// Since is the time from which such a consumer begins; zero: as Deliver says.
	Since time.Time

	// MaxInFlight is how many messages of one subscription may be handed out and
	// neither acked nor nacked; 0: 64. With 1, messages come in stream order; a
	// nacked one comes again after those that were prefetched.
	MaxInFlight int
	// Prefetch is how many messages of one subscription wait here to be handed
	// out; 0: as many as MaxInFlight, at least 16; negative: none. What waits
	// here is not available to other subscribers of the durable.
	Prefetch int
	// MaxAckPending bounds what all subscribers of the durable hold, including
	// what waits for its redelivery; 0: 16 times MaxInFlight and Prefetch
	// together, at least 10,000.
	MaxAckPending int

	// AckWait is how long after a crash of its subscriber a message is
	// redelivered; 0: 30 s, at least 100 ms. A living subscriber keeps what it
	// holds for as long as the handler takes: bound the handler.
	AckWait time.Duration
	// NakDelay is how long a nacked message rests, given how often it was
	// delivered; it must not block. nil: 100 ms, doubled each time up to 1 min.
	// Resting messages count against MaxAckPending: park what rests long. What is
	// nacked while the subscription closes does not rest.
	NakDelay func(deliveries uint64) time.Duration
	// MaxDeliver is after how many deliveries the stream stops; 0: never.
	MaxDeliver int
	// CloseTimeout bounds the wait for running handlers; 0: 30 s.
	CloseTimeout time.Duration
}

func (c SubscriberConfig) withDefaults() (SubscriberConfig, error) {
	if err := c.check(); err != nil {
		return c, err
	}
	if c.Durable == nil {
		c.Durable = func(string) string { return "" }
	}
	setDefault(&c.MaxInFlight, 64)
	setDefault(&c.Prefetch, max(16, c.MaxInFlight))
	c.Prefetch = max(0, c.Prefetch)
	setDefault(&c.MaxAckPending, max(10_000, 16*c.window()))
	if c.MaxAckPending < c.window() {
		return c, fmt.Errorf("SubscriberConfig.MaxAckPending %d: must not be below MaxInFlight and Prefetch together, %d", c.MaxAckPending, c.window())
	}
	setDefault(&c.AckWait, 30*time.Second)
	setDefault(&c.CloseTimeout, 30*time.Second)
	if c.NakDelay == nil {
		c.NakDelay = func(deliveries uint64) time.Duration {
			return min(time.Minute, 100*time.Millisecond<<min(deliveries-1, 10))
		}
	}
	return c, nil
}

func (c *SubscriberConfig) check() error {
	switch {
	case c.JetStream == nil:
		return errors.New("SubscriberConfig.JetStream is missing")
	case c.MaxInFlight < 0:
		return fmt.Errorf("SubscriberConfig.MaxInFlight %d: must not be negative", c.MaxInFlight)
	case c.MaxAckPending < 0:
		return fmt.Errorf("SubscriberConfig.MaxAckPending %d: must not be negative", c.MaxAckPending)
	case c.MaxDeliver < 0:
		return fmt.Errorf("SubscriberConfig.MaxDeliver %d: must not be negative", c.MaxDeliver)
	case c.AckWait != 0 && c.AckWait < 100*time.Millisecond:
		return fmt.Errorf("SubscriberConfig.AckWait %s: must be at least 100ms", c.AckWait)
	case c.CloseTimeout < 0:
		return fmt.Errorf("SubscriberConfig.CloseTimeout %s: must not be negative", c.CloseTimeout)
	case c.Existing && (c.Durable == nil || c.Stream == ""):
		return errors.New("SubscriberConfig.Existing: needs Durable and Stream, to find it by")
	}
	switch c.Deliver {
	case jetstream.DeliverAllPolicy, jetstream.DeliverNewPolicy, jetstream.DeliverLastPolicy, jetstream.DeliverLastPerSubjectPolicy:
		return nil
	default:
		return fmt.Errorf("SubscriberConfig.Deliver %s: use all, new, last or last per subject", c.Deliver)
	}
}

// window is how many messages a subscription holds at most.
func (c *SubscriberConfig) window() int { return c.MaxInFlight + c.Prefetch }

func setDefault[T int | time.Duration](v *T, zero T) {
	if *v == 0 {
		*v = zero
	}
}

// Subscriber is a Watermill subscriber to streams: a topic is a subject, which
// may have wildcards.
//
//   - A message comes at least once, until it is acked.
//   - It is not handled twice at the same time by one subscription.
//   - Its context ends when it is acked or nacked, or when its handler outlasts
//     a close by CloseTimeout.
//   - A lost connection, restarted server or deleted consumer heals by itself.
//
// It is safe for concurrent use.
type Subscriber struct {
	cfg SubscriberConfig

	closing context.Context // ends when Close begins
	close   context.CancelFunc

	mu     sync.Mutex
	topics map[string]string // :: durable → the topic it consumes
	open   sync.WaitGroup    // subscriptions; grows only under mu and before closing ends
}

var (
	_ message.Subscriber           = (*Subscriber)(nil)
	_ message.SubscribeInitializer = (*Subscriber)(nil)
)

// NewSubscriber makes a Subscriber. It does not ask the server for anything.
func NewSubscriber(cfg SubscriberConfig) (*Subscriber, error) {
	cfg, err := cfg.withDefaults()
	if err != nil {
		return nil, err
	}
	s := &Subscriber{cfg: cfg, topics: map[string]string{}}
	s.closing, s.close = context.WithCancel(context.Background())
	return s, nil
}

// Subscribe creates the consumer, or brings an existing durable up to date, and
// begins to deliver.
//
// When ctx ends or the Subscriber closes, the subscription drains: what was not
// handed out goes back to the stream at once, running handlers have
// CloseTimeout to finish, then the channel closes. The values of ctx reach each
// message, its end does not.
func (s *Subscriber) Subscribe(ctx context.Context, topic string) (<-chan *message.Message, error) {
	consumer, err := s.enter(topic)
	if err != nil {
		return nil, err
	}
	runCtx, cancel := context.WithCancel(ctx)
	unlink := context.AfterFunc(s.closing, cancel)
	leave := func() { unlink(); cancel(); s.open.Done() }

	sub, err := newSubscription(runCtx, &s.cfg, consumer)
	if err != nil {
		leave()
		return nil, s.subscribeError(topic, err)
	}
	go func() {
		defer leave()
		sub.run(runCtx)
	}()
	return sub.out, nil
}

// SubscribeInitialize creates the durable consumer of topic, so that it sees
// what is published from now on. Without a durable it does nothing.
func (s *Subscriber) SubscribeInitialize(topic string) error {
	consumer, err := s.enter(topic)
	if err != nil {
		return err
	}
	defer s.open.Done()
	if consumer.ephemeral() {
		return nil
	}
	if err := consumer.create(s.closing, 0); err != nil {
		return s.subscribeError(topic, err)
	}
	return nil
}

// Close drains all subscriptions and returns when their channels are closed. It
// may be called again.
func (s *Subscriber) Close() error {
	s.mu.Lock()
	s.close()
	s.mu.Unlock()
	s.open.Wait()
	return nil
}

// enter checks topic and counts one more subscription in.
func (s *Subscriber) enter(topic string) (*consumer, error) {
	if err := checkSubject(topic, true); err != nil {
		return nil, err
	}
	durable := s.cfg.Durable(topic)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closing.Err() != nil {
		return nil, errSubscriberClosed
	}
	if durable != "" {
		if other, ok := s.topics[durable]; ok && other != topic {
			return nil, fmt.Errorf("SubscriberConfig.Durable: %q already consumes %s; name another for %s", durable, other, topic)
		}
		s.topics[durable] = topic
	}
	s.open.Add(1)
	return newConsumer(&s.cfg, topic, durable), nil
}

func (s *Subscriber) subscribeError(topic string, err error) error {
	if s.closing.Err() != nil {
		return errSubscriberClosed
	}
	return fmt.Errorf("subscribing to %s: %w", topic, err)
}
