package events

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// publishWindow is how many messages of one Publish await their
// acknowledgement at the same time.
const publishWindow = 256

var errPublisherClosed = errors.New("publisher is closed")

// PublisherConfig is what a [Publisher] works with.
type PublisherConfig struct {
	// JetStream publishes. Where many publish at once it should be made with
	// WithPublishAsyncTimeout: nats.go keeps a place for each acknowledgement
	// that never came.
	JetStream jetstream.JetStream
	// Timeout bounds the wait for one acknowledgement; 0: 5 s. A message whose
	// own context ends sooner is given up sooner.
	Timeout time.Duration
}

// Publisher is a Watermill publisher to streams: a topic is a subject.
//
// Metadata travels as NATS headers, one for one; Nats-Msg-Id among them makes
// the stream drop repetitions. It is safe for concurrent use.
type Publisher struct {
	js      jetstream.JetStream
	timeout time.Duration

	mu     sync.RWMutex // read-locked while publishing
	closed bool
}

var _ message.Publisher = (*Publisher)(nil)

// NewPublisher makes a Publisher.
func NewPublisher(cfg PublisherConfig) (*Publisher, error) {
	if cfg.JetStream == nil {
		return nil, errors.New("PublisherConfig.JetStream is missing")
	}
	if cfg.Timeout < 0 {
		return nil, fmt.Errorf("PublisherConfig.Timeout %s: must not be negative", cfg.Timeout)
	}
	if cfg.Timeout == 0 {
		cfg.Timeout = 5 * time.Second
	}
	return &Publisher{js: cfg.JetStream, timeout: cfg.Timeout}, nil
}

// Publish stores messages under the subject topic, in their order, and returns
// once the stream has acknowledged all of them.
//
// A bad subject or bad metadata is an error before anything is sent. After any
// other error some of the messages may be stored: publish all of them again,
// with Nats-Msg-Id if they must not be stored twice.
func (p *Publisher) Publish(topic string, messages ...*message.Message) error {
	p.mu.RLock()
	defer p.mu.RUnlock()
	if p.closed {
		return errPublisherClosed
	}
	if err := checkSubject(topic, false); err != nil {
		return err
	}
	msgs := make([]*nats.Msg, len(messages))
	for i, m := range messages {
		msgs[i] = &nats.Msg{Subject: topic, Header: HeaderOf(m), Data: m.Payload}
		if err := checkHeader(msgs[i].Header); err != nil {
			return err
		}
	}
	if len(msgs) == 1 {
		return p.publishOne(messages[0].Context(), msgs[0])
	}
	return p.publishAll(messages, msgs)
}

// Close waits for the calls of Publish under way; later ones fail. It may be
// called again.
func (p *Publisher) Close() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.closed = true
	return nil
}

func (p *Publisher) publishOne(ctx context.Context, msg *nats.Msg) error {
	ctx, cancel := context.WithTimeout(ctx, p.timeout)
	defer cancel()
	if _, err := p.js.PublishMsg(ctx, msg); err != nil {
		return fmt.Errorf("publishing to %s: %w", msg.Subject, err)
	}
	return nil
}

// sent is a message whose acknowledgement is awaited.
type sent struct {
	ack   jetstream.PubAckFuture
	until time.Time
}

// publishAll sends up to publishWindow messages ahead of their
// acknowledgements. After an error it sends no more, but still awaits what was
// sent, so that nothing is under way when it returns.
func (p *Publisher) publishAll(messages []*message.Message, msgs []*nats.Msg) error {
	pending := make([]sent, 0, len(msgs))
	awaited := 0
	var failed error
	await := func() {
		if err := pending[awaited].await(messages[awaited].Context()); err != nil && failed == nil {
			failed = fmt.Errorf("publishing message %d of %d to %s: %w", awaited+1, len(msgs), msgs[awaited].Subject, err)
		}
		awaited++
	}
	for i := range msgs {
		if i-awaited == publishWindow {
			await()
		}
		if failed != nil {
			break
		}
		ack, err := p.js.PublishMsgAsync(msgs[i], jetstream.WithStallWait(p.timeout))
		if err != nil {
			failed = fmt.Errorf("publishing message %d of %d to %s: %w", i+1, len(msgs), msgs[i].Subject, err)
			break
		}
		pending = append(pending, sent{ack, time.Now().Add(p.timeout)})
	}
	for awaited < len(pending) {
		await()
	}
	return failed
}

func (s sent) await(ctx context.Context) error {
	ctx, cancel := context.WithDeadline(ctx, s.until)
	defer cancel()
	select {
	case <-s.ack.Ok():
		return nil
	case err := <-s.ack.Err():
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}
