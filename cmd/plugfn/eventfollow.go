package main

import (
	"context"
	"errors"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/plugfn/plugfn/pkg/events"
)

const (
	maxPayload      = 25 << 20 // bytes of data that are fetched: as much as an ingress takes
	payloadPatience = 30 * time.Second
	followAhead     = 32 // events that are asked for at once
)

// fetchPayload puts the data of an event in its place where that is too long for
// a message. With an error the event says where the data should be.
func fetchPayload(ctx context.Context, conn *nats.Conn, e *events.Event) error {
	ctx, cancel := context.WithTimeout(ctx, payloadPatience)
	defer cancel()
	return events.Payloads{Conn: conn}.Resolve(ctx, e, maxPayload)
}

// eventReader reads events as they come.
type eventReader struct {
	conn   *nats.Conn
	stream string
	config jetstream.OrderedConsumerConfig
	limit  int // of events; 0: none
}

// follow calls each with events and their data until ctx ends or there were
// enough. What is no event, and what has no data, comes with a problem.
func (r *eventReader) follow(ctx context.Context, each func(subject string, e *events.Event, problem error) error) error {
	js, err := jetstream.New(r.conn)
	if err != nil {
		return err
	}
	consumer, err := js.OrderedConsumer(ctx, r.stream, r.config)
	if err != nil {
		return &failure{exit: exitUnreachable, what: "the events cannot be read", cause: err, fix: startFix}
	}
	messages, err := consumer.Messages(jetstream.PullMaxMessages(followAhead))
	if err != nil {
		return err
	}
	defer messages.Stop()
	defer context.AfterFunc(ctx, messages.Stop)()
	for n := 0; r.limit == 0 || n < r.limit; n++ {
		msg, err := messages.Next()
		if errors.Is(err, jetstream.ErrMsgIteratorClosed) {
			return nil
		}
		if err != nil {
			return &failure{exit: exitUnreachable, what: "the events broke off", cause: err}
		}
		e, problem := events.ParseEvent(msg.Headers(), msg.Data())
		if problem == nil {
			problem = fetchPayload(ctx, r.conn, &e)
		}
		if ctx.Err() != nil {
			return nil
		}
		if err := each(msg.Subject(), &e, problem); err != nil {
			return err
		}
	}
	return nil
}
