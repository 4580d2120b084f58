package executor

import (
	"context"
	"errors"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/nats-io/nats.go/micro"

	"github.com/plugfn/plugfn/internal/id"
	"github.com/plugfn/plugfn/pkg/events"
)

const (
	maxCalls    = 256             // calls being stored at once
	callTimeout = 5 * time.Second // for the bus to store a call
)

// calls serves plugfn.call.>: a call is stored as a request whose result goes
// to the caller's inbox as well, so it survives this process and may be
// executed by any other.
type calls struct {
	*Service
	micro  micro.Service
	places chan struct{}
	wait   sync.WaitGroup
}

func serveCalls(s *Service) (*calls, error) {
	c := &calls{Service: s, places: make(chan struct{}, maxCalls)}
	var err error
	c.micro, err = micro.AddService(s.Conn, micro.Config{
		Name: "plugfn-executor", Version: "1.0.0", Description: "executes actions and answers with their result",
		QueueGroup: "executor",
	})
	if err != nil {
		return nil, err
	}
	if err := c.micro.AddEndpoint("call", micro.HandlerFunc(c.serve), micro.WithEndpointSubject(events.PrefixCall+">")); err != nil {
		return nil, errors.Join(err, c.micro.Stop())
	}
	return c, nil
}

// stop takes no more calls and waits until those in hand are stored.
func (c *calls) stop() {
	if err := c.micro.Stop(); err != nil {
		c.Log.Warn().Err(err).Msg("stopping the call service")
	}
	c.wait.Wait()
}

func (c *calls) serve(r micro.Request) {
	// Anybody can put any subject there; this service may publish to more of
	// them than the caller.
	if err := events.CheckInbox(r.Reply()); err != nil {
		c.Log.Warn().Str("subject", r.Subject()).Msg("call without an inbox dropped")
		return
	}
	c.places <- struct{}{}
	c.wait.Go(func() {
		defer func() { <-c.places }()
		ctx, cancel := context.WithTimeout(context.Background(), callTimeout)
		defer cancel()
		if err := c.store(ctx, r); err != nil {
			c.Log.Warn().Err(err).Msg("call not stored")
			c.refuse(r)
		}
	})
}

// store publishes the call as a request.
func (c *calls) store(ctx context.Context, r micro.Request) error {
	msg := nats.NewMsg(events.PrefixAction + strings.TrimPrefix(r.Subject(), events.PrefixCall))
	msg.Data = r.Data()
	for name, values := range r.Headers() {
		if !strings.HasPrefix(name, "Nats-") {
			msg.Header[name] = values
		}
	}
	if msg.Header.Get(events.HeaderID) == "" {
		msg.Header.Set(events.HeaderID, id.New("req"))
	}
	msg.Header.Set(events.HeaderReply, r.Reply())
	_, err := c.JetStream.PublishMsg(ctx, msg, jetstream.WithRetryAttempts(1))
	return err
}

// refuse tells the caller that his call was not stored.
func (c *calls) refuse(r micro.Request) {
	request, _ := events.ParseActionRequest(r.Subject(), nats.Header(r.Headers()), nil)
	t := task{ActionRequest: request, startedAt: c.Now()}
	msg, err := t.failed(c.Now(), events.Errorf(events.CodeInternal, "the bus did not store the request; try again")).Msg()
	if err == nil {
		err = r.Respond(msg.Data, micro.WithHeaders(micro.Headers(msg.Header)))
	}
	if err != nil {
		c.Log.Warn().Err(err).Msg("answering a call")
	}
}
