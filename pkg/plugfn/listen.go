package plugfn

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/plugfn/plugfn/pkg/events"
)

// Filter says which events are wanted, and who remembers how far they were
// handled.
type Filter struct {
	User     string // empty: every user that the application may hear
	Provider string // empty: every provider
	Event    string // such as issues.opened, issues.* or issues.>; empty: every event

	// Name is that of a durable consumer: the bus remembers how far it is, also
	// while no program runs, and programs with the same name share the events. One
	// name stands for one filter. Empty: what comes while this runs.
	//
	// An application that connects as a user, see [As], has one such consumer,
	// which was made with its key: Name and the fields above stay empty, and
	// From does not count.
	Name string
	// From is where a consumer begins that does not exist yet; zero: with what
	// comes from now on.
	From From

	// InFlight is how many events are handled at once; 0: 16. With 1 they come in
	// their order.
	InFlight int
	// MaxDeliver is after how many deliveries an event that is given back is not
	// brought again; 0: never.
	MaxDeliver int
}

// From is a place in the stream of events, see [Beginning] and [Since].
type From struct {
	all   bool
	since time.Time
}

// Beginning is the first event that is kept.
func Beginning() From { return From{all: true} }

// Since is the first event that was stored at a time or after it.
func Since(t time.Time) From { return From{since: t} }

// Subject is the subject on the bus that f means, for a Watermill router.
func (f Filter) Subject() string {
	token := func(s string) string {
		if s == "" {
			return "*"
		}
		return events.Token(s)
	}
	event := f.Event
	if event == "" {
		event = ">"
	}
	return events.PrefixEvent + token(f.User) + "." + token(f.Provider) + "." + event
}

// Event is an event with what the bus knows of it.
type Event struct {
	events.Event
	Subject    string    // on the bus; Event.Subject is the provider's object
	Sequence   uint64    // in the stream, from 1
	Deliveries uint64    // how often it was brought, from 1
	Stored     time.Time // when the stream stored it
}

// dropped is an error after which an event does not come again.
type dropped struct{ error }

// Unwrap returns the reason.
func (d dropped) Unwrap() error { return d.error }

// Drop is an error with which a function says that an event is not to come
// again: to handle it is of no use. The reason goes to the log.
func Drop(reason error) error { return dropped{reason} }

// Events calls handle for each event of a filter until ctx ends or the client is
// closed, then waits for those in hand and returns nil.
//
// An event comes at least once: handle has to bear a repetition, which has the
// same ID. When handle returns nil the event is done; with an error it is given
// back and comes again, after a pause that grows from 100 ms to a minute; with
// [Drop] it does not. The context of handle has the trace of the event, and ends
// when the wait for those in hand is over.
func (c *Client) Events(ctx context.Context, f Filter, handle func(context.Context, *Event) error) error {
	sub, err := c.Subscriber(f)
	if err != nil {
		return err
	}
	defer sub.Close()
	messages, err := sub.Subscribe(ctx, f.Subject())
	if err != nil {
		return fmt.Errorf("plugfn: listening to events: %w", err)
	}
	var handling sync.WaitGroup
	for range f.inFlight() {
		handling.Go(func() {
			for m := range messages {
				c.handle(m, handle)
			}
		})
	}
	handling.Wait()
	if ctx.Err() == nil && c.closing.Err() == nil {
		return fmt.Errorf("plugfn: listening to events: the connection was closed: %w", ErrUnavailable)
	}
	return nil
}

func (f *Filter) inFlight() int {
	if f.InFlight == 0 {
		return usualInFlight
	}
	return f.InFlight
}

// handle has one message handled, and says how that ended.
func (c *Client) handle(m *message.Message, handle func(context.Context, *Event) error) {
	e, err := c.Event(m.Context(), m)
	if err == nil {
		err = handle(c.traced(m.Context(), e.TraceParent), e)
	}
	var drop dropped
	switch {
	case err == nil:
		m.Ack()
	case errors.As(err, &drop):
		c.log.Warn().Err(err).Str("event", m.UUID).Msg("event dropped")
		m.Ack()
	default:
		c.log.Warn().Err(err).Str("event", m.UUID).Msg("event given back")
		m.Nack()
	}
}

// Subscriber is a Watermill subscriber to events, for a router that there is
// already; its topic is [Filter.Subject]. [Client.Event] reads its messages. It is
// closed with the client.
func (c *Client) Subscriber(f Filter) (message.Subscriber, error) {
	cfg, err := c.subscription(&f)
	if err != nil {
		return nil, err
	}
	sub, err := events.NewSubscriber(cfg)
	if err != nil {
		return nil, fmt.Errorf("plugfn: %w", err)
	}
	return c.keep(&subscriber{Subscriber: sub, client: c})
}

func (c *Client) subscription(f *Filter) (events.SubscriberConfig, error) {
	var cfg events.SubscriberConfig
	if f.InFlight < 0 {
		return cfg, refused("Filter.InFlight %d: must not be negative", f.InFlight)
	}
	cfg = events.SubscriberConfig{
		JetStream: c.js, Log: c.log, Stream: events.StreamEvents, Deliver: jetstream.DeliverNewPolicy,
		MaxInFlight: f.inFlight(), MaxDeliver: f.MaxDeliver, Since: f.From.since,
	}
	if f.From.all {
		cfg.Deliver = jetstream.DeliverAllPolicy
	}
	name := f.Name
	if c.user != "" {
		if f.Name != "" || f.User != "" || f.Provider != "" || f.Event != "" {
			return cfg, refused("Filter: an application that connects as a user has one consumer, with all events: leave Name, User, Provider and Event empty")
		}
		cfg.Existing, name = true, events.ApplicationName(c.user)
	}
	if strings.ContainsAny(name, " .*>/\\\t\r\n") {
		return cfg, refused("Filter.Name %q: must be without spaces, dots, slashes, * and >", name)
	}
	if name != "" {
		cfg.Durable = func(string) string { return name }
	}
	return cfg, nil
}

// subscriber ends with its client.
type subscriber struct {
	*events.Subscriber
	client *Client
}

// Close drains the subscriptions and returns when they have ended.
func (s *subscriber) Close() error {
	s.client.mu.Lock()
	delete(s.client.subscribers, s)
	s.client.mu.Unlock()
	return s.Subscriber.Close()
}

func (c *Client) keep(s *subscriber) (*subscriber, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closing.Err() != nil {
		return nil, errClosed
	}
	c.subscribers[s] = true
	return s, nil
}

// Event reads a message of a [Client.Subscriber], and fetches its data where that
// is too long for the message.
func (c *Client) Event(ctx context.Context, m *message.Message) (*Event, error) {
	about, err := events.ReceivedOf(m)
	if err != nil {
		return nil, fmt.Errorf("plugfn: %w", err)
	}
	e := &Event{Subject: about.Subject, Sequence: about.Sequence, Deliveries: about.Deliveries, Stored: about.Time}
	if e.Event, err = events.ParseEvent(events.HeaderOf(m), m.Payload); err != nil {
		return nil, Drop(fmt.Errorf("plugfn: message %s: %w", m.UUID, err))
	}
	if c.maxData < 0 {
		return e, nil
	}
	if err := (events.Payloads{Conn: c.conn}).Resolve(ctx, &e.Event, c.maxData); err != nil {
		if errors.Is(err, ErrDataGone) {
			err = Drop(err)
		}
		return nil, fmt.Errorf("plugfn: %w", err)
	}
	return e, nil
}

// Forget has the bus forget how far the consumer of a name is, so that the next
// [Client.Events] of that name begins where its From says: that is how events
// are replayed. It is no error if there is none.
func (c *Client) Forget(ctx context.Context, name string) error {
	err := c.js.DeleteConsumer(ctx, events.StreamEvents, name)
	if err != nil && !errors.Is(err, jetstream.ErrConsumerNotFound) {
		return fmt.Errorf("plugfn: forgetting consumer %s: %w", name, err)
	}
	return nil
}
