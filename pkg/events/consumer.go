package events

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// ephemeralInactive is how long a consumer without a durable name outlives its
// last pull, so that a lost connection does not lose it.
const ephemeralInactive = 5 * time.Minute

// consumer is the server's half of a subscription.
type consumer struct {
	js     jetstream.JetStream
	topic  string
	stream string                   // empty until it was looked up
	wanted jetstream.ConsumerConfig // when it does not exist yet
	found  bool                     // it is only looked up

	name    string    // on the server; empty until it exists
	born    time.Time // when the stream was created: its sequences mean nothing in another one
	start   uint64    // sequence that had been delivered when it was first created or found
	request string    // subject of its pull requests
}

func newConsumer(cfg *SubscriberConfig, topic, durable string) *consumer {
	c := &consumer{js: cfg.JetStream, topic: topic, stream: cfg.Stream, name: durable, found: cfg.Existing}
	c.wanted = jetstream.ConsumerConfig{
		Durable:       durable,
		FilterSubject: topic,
		DeliverPolicy: cfg.Deliver,
		AckPolicy:     jetstream.AckExplicitPolicy,
		AckWait:       cfg.AckWait,
		MaxDeliver:    cfg.MaxDeliver,
		MaxAckPending: cfg.MaxAckPending,
	}
	if !cfg.Since.IsZero() {
		c.wanted.DeliverPolicy, c.wanted.OptStartTime = jetstream.DeliverByStartTimePolicy, &cfg.Since
	}
	if durable == "" {
		c.wanted.InactiveThreshold = ephemeralInactive
	}
	return c
}

// ephemeral tells a consumer that belongs to this subscription alone.
func (c *consumer) ephemeral() bool { return c.wanted.Durable == "" }

// create makes the consumer, or updates the settings of the one that exists and
// lets its position be. A consumer that is gone is made again to go on with the
// stream sequence next; 0: where its configuration says.
func (c *consumer) create(ctx context.Context, next uint64) error {
	if c.found {
		return c.find(ctx)
	}
	if c.stream == "" {
		name, err := c.js.StreamNameBySubject(ctx, c.topic)
		if err != nil {
			return fmt.Errorf("looking up the stream: %w", err)
		}
		c.stream = name
	}
	stream, err := c.js.Stream(ctx, c.stream)
	if err != nil {
		return fmt.Errorf("finding stream %s: %w", c.stream, err)
	}
	born := stream.CachedInfo().Created
	if !born.Equal(c.born) {
		next = 0
	}
	cfg, err := c.config(ctx, stream, next)
	if err != nil {
		return err
	}
	created, err := stream.CreateOrUpdateConsumer(ctx, cfg)
	if err != nil {
		return fmt.Errorf("creating consumer: %w", err)
	}
	c.use(created.CachedInfo(), born)
	return nil
}

// find looks up a consumer that somebody else has made.
func (c *consumer) find(ctx context.Context) error {
	existing, err := c.js.Consumer(ctx, c.stream, c.name)
	if err != nil {
		return fmt.Errorf("finding consumer %s of %s: %w", c.name, c.stream, err)
	}
	c.use(existing.CachedInfo(), existing.CachedInfo().Created)
	return nil
}

func (c *consumer) use(info *jetstream.ConsumerInfo, born time.Time) {
	c.name, c.born, c.start = info.Name, born, info.Delivered.Stream
	c.request = apiPrefix(c.js) + "CONSUMER.MSG.NEXT." + c.stream + "." + c.name
}

// config is what the server is asked for. Where a consumer begins cannot be
// changed, so an existing one keeps that, like all else that is not ours.
func (c *consumer) config(ctx context.Context, stream jetstream.Stream, next uint64) (jetstream.ConsumerConfig, error) {
	cfg := c.wanted
	if c.name == "" {
		return cfg, nil
	}
	existing, err := stream.Consumer(ctx, c.name)
	switch {
	case errors.Is(err, jetstream.ErrConsumerNotFound):
		cfg.Name = c.name
		if next > 0 {
			cfg.DeliverPolicy, cfg.OptStartSeq, cfg.OptStartTime = jetstream.DeliverByStartSequencePolicy, next, nil
		}
		return cfg, nil
	case err != nil:
		return cfg, fmt.Errorf("finding consumer %s: %w", c.name, err)
	}
	cfg = existing.CachedInfo().Config
	cfg.FilterSubject, cfg.FilterSubjects = c.wanted.FilterSubject, nil
	cfg.AckPolicy = c.wanted.AckPolicy
	cfg.AckWait = c.wanted.AckWait
	cfg.MaxDeliver = c.wanted.MaxDeliver
	cfg.MaxAckPending = c.wanted.MaxAckPending
	cfg.InactiveThreshold = c.wanted.InactiveThreshold
	return cfg, nil
}

// look asks about the consumer, and nothing of the answer.
func (c *consumer) look(ctx context.Context) error {
	if _, err := c.js.Consumer(ctx, c.stream, c.name); err != nil {
		return fmt.Errorf("finding consumer %s: %w", c.name, err)
	}
	return nil
}

// discard deletes an ephemeral consumer.
func (c *consumer) discard(ctx context.Context) error {
	if !c.ephemeral() {
		return nil
	}
	if err := c.js.DeleteConsumer(ctx, c.stream, c.name); err != nil && !errors.Is(err, jetstream.ErrConsumerNotFound) {
		return fmt.Errorf("deleting consumer %s: %w", c.name, err)
	}
	return nil
}

// apiPrefix is what js puts before the subjects of the JetStream API.
func apiPrefix(js jetstream.JetStream) string {
	switch o := js.Options(); {
	case o.APIPrefix != "" && o.APIPrefix[len(o.APIPrefix)-1] != '.':
		return o.APIPrefix + "."
	case o.APIPrefix != "":
		return o.APIPrefix
	case o.Domain != "":
		return "$JS." + o.Domain + ".API."
	default:
		return jetstream.DefaultAPIPrefix
	}
}
