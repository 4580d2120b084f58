package events

import (
	"context"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/nats-io/nats.go"
	"github.com/rs/zerolog"
)

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
	severed  bool // the connection was closed for good

	pull     pull
	stirred  time.Time  // when something last made messages come
	gone     bool       // the consumer has to be made again
	creating bool       // and that is under way
	created  chan error // how making the consumer again went

	held     map[position]*held
	heldSize int     // bytes
	kept     bool    // some of them have an answer that did not leave
	queue    []*held // not handed out, in order of arrival
	draining bool    // it brings no more
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
		arrivals: make(chan *nats.Msg, 4*cfg.window()+64), // requests that were given up may still bring some
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

// run delivers until ctx ends or the connection is closed for good, drains, and
// closes out.
func (s *subscription) run(ctx context.Context) {
	defer close(s.out)
	defer s.abandon()
	ticks := time.NewTicker(pullTick)
	defer ticks.Stop()
	beats := time.NewTicker(s.cfg.AckWait / 3)
	defer beats.Stop()

	for ctx.Err() == nil && !s.severed {
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
			s.recreated(err)
		}
	}
	s.drain(beats.C)
}
