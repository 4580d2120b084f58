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
	*worker
	micro  micro.Service
	places chan struct{}
	wait   sync.WaitGroup
}

func serveCalls(w *worker) (*calls, error) {
	c := &calls{worker: w, places: make(chan struct{}, maxCalls)}
	var err error
	c.micro, err = micro.AddService(w.Conn, micro.Config{
		Name: "plugfn-executor", Version: "1.0.0", Description: "executes actions and answers with their result",
		QueueGroup: "executor",
	})
	if err != nil {
		return nil, err
	}
	if err := c.micro.AddEndpoint("call", micro.HandlerFunc(c.serve), micro.WithEndpointSubject(events.PrefixCall+">")); err != nil {
		return nil, errors.Join(err, c.micro.Stop())
	}
	if err := c.serveDesk(); err != nil {
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
		msg := request(r)
		if err := c.store(ctx, msg); err != nil {
			c.Log.Warn().Err(err).Str("request", msg.Header.Get(events.HeaderID)).Msg("call not stored")
			c.refuse(r, msg, err)
		}
	})
}

// request is the action request that a call is.
func request(r micro.Request) *nats.Msg {
	msg := nats.NewMsg(events.PrefixAction + strings.TrimPrefix(r.Subject(), events.PrefixCall))
	msg.Data = r.Data()
	msg.Header = events.CarriedHeader(nats.Header(r.Headers()))
	if events.HeaderValue(msg.Header, events.HeaderID) == "" {
		msg.Header.Set(events.HeaderID, id.New("req"))
	}
	msg.Header.Set(events.HeaderReply, r.Reply())
	return msg
}

// store publishes the call as a request.
func (c *calls) store(ctx context.Context, msg *nats.Msg) error {
	_, err := c.JetStream.PublishMsg(ctx, msg, jetstream.WithRetryAttempts(0))
	return err
}

// refuse tells the caller that his call was not stored. Where it may have been,
// because the acknowledgement is missing, he is told nothing: a "try again"
// could make it two.
func (c *calls) refuse(r micro.Request, msg *nats.Msg, err error) {
	var api *jetstream.APIError
	if !errors.As(err, &api) && !errors.Is(err, nats.ErrMaxPayload) && !errors.Is(err, jetstream.ErrNoStreamResponse) && !errors.Is(err, nats.ErrNoResponders) {
		return
	}
	asked, _ := events.ParseActionRequest(msg.Subject, msg.Header, nil)
	t := task{ActionRequest: asked, startedAt: c.Now()}
	result, err := t.failed(c.Now(), events.Errorf(events.CodeInternal, "the bus did not store the request; try again")).Msg()
	if err == nil {
		err = r.Respond(result.Data, micro.WithHeaders(micro.Headers(result.Header)))
	}
	if err != nil {
		c.Log.Warn().Err(err).Msg("answering a call")
	}
}
