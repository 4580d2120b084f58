package events

import (
	"context"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/nats-io/nats.go"
	"github.com/rs/zerolog"
)

// flushTimeout bounds the last round trip to the server.
const flushTimeout = 2 * time.Second

// subscription is one Subscribe: it pulls messages, holds them, hands them out
// and tells the server how they ended.
//
// It pulls by itself, not by the Consume or Fetch of nats.go. Those take every
// empty message with a Status header for the server's word, so that a sender
// could stop the consumer of everybody with one message; here the subject tells
// them apart. And what is pulled fits what can be handled, so that a subscriber
// does not hoard what others could do.
//
// One goroutine, run, owns all the fields. A message that was handed out is
// watched by a goroutine of its own, which reports to verdicts.
type subscription struct {
	cfg      *SubscriberConfig
	log      zerolog.Logger
	conn     *nats.Conn
	consumer *consumer

	out      chan *message.Message
	handling context.Context // parent of the messages' contexts
	abandon  context.CancelFunc

	inbox    string // prefix of the reply subjects of pull requests
	arrivals chan *nats.Msg
	interest *nats.Subscription

	pull     pull
	gone     bool       // the consumer has to be made again
	creating bool       // and that is under way
	created  chan error // how making the consumer again went

	held     map[position]*held
	heldSize int     // bytes
	queue    []*held // not handed out, in order of arrival
	running  int     // handed out
	verdicts chan verdict

	born time.Time // of the stream that last belongs to
	last uint64    // highest sequence that arrived
}

func newSubscription(ctx context.Context, cfg *SubscriberConfig, c *consumer) (*subscription, error) {
	if err := c.create(ctx, 0); err != nil {
		return nil, err
	}
	s := &subscription{
		cfg:      cfg,
		log:      cfg.Log.With().Str("topic", c.topic).Str("stream", c.stream).Str("consumer", c.name).Logger(),
		conn:     cfg.JetStream.Conn(),
		consumer: c,
		out:      make(chan *message.Message),
		arrivals: make(chan *nats.Msg, 4*cfg.window()+64), // see pull.lost
		created:  make(chan error, 1),
		held:     map[position]*held{},
		verdicts: make(chan verdict, cfg.MaxInFlight),
		born:     c.born,
		last:     c.start,
	}
	s.inbox = s.conn.NewInbox() + "."
	interest, err := s.conn.ChanSubscribe(s.inbox+"*", s.arrivals)
	if err != nil {
		return nil, err
	}
	s.interest = interest
	s.handling, s.abandon = context.WithCancel(context.WithoutCancel(ctx))
	return s, nil
}

// run delivers until ctx ends, drains, and closes out.
func (s *subscription) run(ctx context.Context) {
	defer close(s.out)
	defer s.abandon()
	ticks := time.NewTicker(pullTick)
	defer ticks.Stop()
	beats := time.NewTicker(s.cfg.AckWait / 3)
	defer beats.Stop()

	for ctx.Err() == nil {
		s.topUp(ctx)
		out, next := s.next()
		select {
		case <-ctx.Done():
		case m := <-s.arrivals:
			s.arrive(m)
		case out <- next:
			s.handOut()
		case v := <-s.verdicts:
			s.settle(v)
		case <-beats.C:
			s.beat()
		case <-ticks.C:
			s.tick()
		case err := <-s.created:
			s.recreated(ctx, err)
		}
	}
	s.drain(beats.C)
}

// drain gives back what was not handed out and waits for the rest.
func (s *subscription) drain(beats <-chan time.Time) {
	flushed := s.stopPulling()
	timeout := time.NewTimer(s.cfg.CloseTimeout)
	defer timeout.Stop()

	for s.giveBack(); s.running > 0 || s.creating || flushed != nil || len(s.arrivals) > 0; s.giveBack() {
		select {
		case m := <-s.arrivals:
			s.arrive(m)
		case v := <-s.verdicts:
			s.settle(v)
		case <-beats:
			s.beat()
		case <-flushed:
			flushed = nil
		case <-s.created:
			s.creating = false
		case <-timeout.C:
			s.log.Warn().Int("running", s.running).Msg("handlers abandoned")
			s.abandon()
		}
	}
	s.finish()
}

// stopPulling ends the interest in messages. When the returned channel closes,
// all that the server had sent until then have arrived.
func (s *subscription) stopPulling() <-chan struct{} {
	s.pull.reply = ""
	flushed := make(chan struct{})
	if !s.conn.IsConnected() || s.interest.Drain() != nil {
		_ = s.interest.Unsubscribe() // fails only where there is nothing left to end
		close(flushed)
		return flushed
	}
	go func() {
		defer close(flushed)
		_ = s.conn.FlushTimeout(flushTimeout) // what is still missing is redelivered after AckWait
	}()
	return flushed
}

// finish brings the last acks to the server.
func (s *subscription) finish() {
	if len(s.held) > 0 {
		s.log.Warn().Int("messages", len(s.held)).Msg("messages left to redelivery")
	}
	if !s.conn.IsConnected() {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), flushTimeout)
	defer cancel()
	err := s.conn.FlushWithContext(ctx)
	if err == nil {
		err = s.consumer.discard(ctx)
	}
	if err != nil {
		s.log.Warn().Err(err).Msg("subscription closed untidily")
	}
}
