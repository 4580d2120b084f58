package auth

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"runtime/debug"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/micro"

	"github.com/plugfn/plugfn/internal/id"
	"github.com/plugfn/plugfn/pkg/events"
)

const (
	subjectToken = events.PrefixService + "auth.token"
	queueGroup   = "auth"
	apiVersion   = "1.0.0" // of the endpoint

	maxRequests    = 64       // worked on at once
	maxResting     = 2048     // that wait for a refresh
	maxQueued      = 4096     // waiting for that
	maxQueuedBytes = 16 << 20 // of these requests
	// tokenTimeout is a little less than askers wait, so that they hear why.
	tokenTimeout = askTimeout - 500*time.Millisecond
	drainTimeout = 10 * time.Second
)

// tokens serves requests for credentials.
type tokens struct {
	*Service
	slots   chan struct{} // of requests worked on
	resting chan struct{} // of those that wait for a refresh
	stopped chan struct{} // closed when no more are taken

	mu   sync.Mutex // held while one is taken, and while stopped is closed
	wait sync.WaitGroup
}

func newTokens(s *Service) *tokens {
	return &tokens{
		Service: s, stopped: make(chan struct{}),
		slots: make(chan struct{}, maxRequests), resting: make(chan struct{}, maxResting),
	}
}

// run hands out credentials until ctx ends and the requests in hand are
// answered.
func (t *tokens) run(ctx context.Context) error {
	service, err := t.add()
	if err != nil {
		return fmt.Errorf("serving %s: %w", subjectToken, err)
	}
	t.serving.Store(true)
	<-ctx.Done()
	t.serving.Store(false)
	if err := t.drain(service); err != nil {
		return fmt.Errorf("draining %s: %w", subjectToken, err)
	}
	return nil
}

func (t *tokens) add() (micro.Service, error) {
	service, err := micro.AddService(t.conn, micro.Config{
		Name:        "plugfn-auth",
		Version:     apiVersion,
		Description: "connections and their credentials",
		QueueGroup:  queueGroup,
	})
	if err != nil {
		return nil, err
	}
	err = service.AddEndpoint("token", micro.HandlerFunc(t.take),
		micro.WithEndpointSubject(subjectToken),
		micro.WithEndpointPendingLimits(maxQueued, maxQueuedBytes))
	if err == nil {
		err = t.conn.Flush() // from here on requests arrive
	}
	if err != nil {
		return nil, errors.Join(err, service.Stop())
	}
	return service, nil
}

// take begins to work on a request once there is a slot for it.
func (t *tokens) take(request micro.Request) {
	select {
	case t.slots <- struct{}{}:
	case <-t.stopped: // too late for this process; the asker tries again
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	select {
	case <-t.stopped:
		<-t.slots
		return
	default:
	}
	t.wait.Go(func() {
		defer func() { <-t.slots }()
		t.serveToken(request.Data(), request.Reply(), t.rest)
	})
}

// rest gives a request's slot to another one while it waits.
func (t *tokens) rest(wait func()) {
	select {
	case t.resting <- struct{}{}:
		defer func() { <-t.resting }()
	default: // too many wait already: this one waits in its slot
		wait()
		return
	}
	<-t.slots
	defer func() { t.slots <- struct{}{} }()
	wait()
}

// drain takes no more requests and waits for those in hand. One that is in the
// client's queue at this moment may get no answer; its asker tries again.
func (t *tokens) drain(service micro.Service) error {
	err := service.Stop()
	if t.conn.IsClosed() {
		err = nil // nothing to drain, and nobody to answer
	}
	ctx, cancel := context.WithTimeout(context.Background(), drainTimeout)
	defer cancel()
	_ = t.conn.FlushWithContext(ctx) // what was sent before the stop has arrived now
	t.mu.Lock()
	close(t.stopped)
	t.mu.Unlock()
	ended := make(chan struct{})
	go func() { t.wait.Wait(); close(ended) }()
	select {
	case <-ended:
		return err
	case <-ctx.Done():
		return errors.Join(err, errors.New("requests in hand take too long"))
	}
}

// serveToken answers one request. Whatever goes wrong in it stays in it.
func (s *Service) serveToken(data []byte, inbox string, rest rest) {
	defer func() {
		if cause := recover(); cause != nil {
			// The cause may quote what it stumbled over, so only its type is logged.
			s.log.Error().Str("cause", fmt.Sprintf("%T", cause)).Bytes("stack", debug.Stack()).Msg("token request panicked")
			s.answer(inbox, tokenReply{Error: events.Errorf(events.CodeInternal, "the auth service failed")})
		}
	}()
	if inbox == "" {
		return // nobody waits for it
	}
	ctx, cancel := context.WithTimeout(context.Background(), tokenTimeout)
	defer cancel()
	reply, err := s.grantToken(ctx, data, rest)
	if err != nil {
		reply = tokenReply{Error: s.failure(err)}
	}
	s.answer(inbox, reply)
}

func (s *Service) answer(inbox string, reply tokenReply) {
	body, err := json.Marshal(reply)
	msg := nats.NewMsg(inbox)
	msg.Data = body
	if reply.Error != nil {
		msg.Header.Set(micro.ErrorCodeHeader, string(reply.Error.Code))
		msg.Header.Set(micro.ErrorHeader, reply.Error.Code.Meaning().Meaning)
	}
	if err == nil {
		err = s.conn.PublishMsg(msg)
	}
	if err != nil {
		s.log.Warn().Err(err).Msg("token request not answered")
	}
}

// failure is what the asker learns of an error.
func (s *Service) failure(err error) *events.Error {
	var e *events.Error
	if errors.As(err, &e) {
		return e
	}
	e = events.Errorf(events.CodeInternal, "the auth service failed")
	e.RequestID = id.New("req")
	s.log.Error().Err(err).Str("request", e.RequestID).Msg("token request failed")
	return e
}
