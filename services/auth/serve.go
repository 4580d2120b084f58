package auth

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"runtime/debug"
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
	maxQueued      = 4096     // requests waiting for that
	maxQueuedBytes = 16 << 20 // of these requests
	tokenTimeout   = 5 * time.Second
	drainTimeout   = 10 * time.Second
)

// Run hands out credentials on the bus until ctx ends and the requests in hand
// are answered. It returns an error only when it cannot serve.
func (s *Service) Run(ctx context.Context) error {
	slots := make(chan struct{}, maxRequests)
	stopped := make(chan struct{})
	defer close(stopped)
	handler := micro.HandlerFunc(func(request micro.Request) {
		select {
		case slots <- struct{}{}:
		case <-stopped: // too late for this process; the asker tries again
			return
		}
		go func() {
			defer func() { <-slots }()
			s.serveToken(request.Data(), request.Reply())
		}()
	})
	service, err := s.addService(handler)
	if err != nil {
		return fmt.Errorf("auth: serving %s: %w", subjectToken, err)
	}
	<-ctx.Done()
	if err := s.drain(service, slots); err != nil {
		return fmt.Errorf("auth: draining %s: %w", subjectToken, err)
	}
	return nil
}

func (s *Service) addService(handler micro.Handler) (micro.Service, error) {
	service, err := micro.AddService(s.conn, micro.Config{
		Name:        "plugfn-auth",
		Version:     apiVersion,
		Description: "connections and their credentials",
		QueueGroup:  queueGroup,
	})
	if err != nil {
		return nil, err
	}
	err = service.AddEndpoint("token", handler,
		micro.WithEndpointSubject(subjectToken),
		micro.WithEndpointPendingLimits(maxQueued, maxQueuedBytes))
	if err == nil {
		err = s.conn.Flush() // from here on requests arrive
	}
	if err != nil {
		return nil, errors.Join(err, service.Stop())
	}
	return service, nil
}

// drain takes no more requests and waits for those in hand. One that is in the
// client's queue at this moment may get no answer; its asker tries again.
func (s *Service) drain(service micro.Service, slots chan struct{}) error {
	err := service.Stop()
	if s.conn.IsClosed() {
		err = nil // nothing to drain, and nobody to answer
	}
	ctx, cancel := context.WithTimeout(context.Background(), drainTimeout)
	defer cancel()
	_ = s.conn.FlushWithContext(ctx) // what was sent before the stop has arrived now
	for range cap(slots) {
		select {
		case slots <- struct{}{}:
		case <-ctx.Done():
			return errors.Join(err, errors.New("requests in hand take too long"))
		}
	}
	return err
}

// serveToken answers one request. Whatever goes wrong in it stays in it.
func (s *Service) serveToken(data []byte, inbox string) {
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
	reply, err := s.grantToken(ctx, data)
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
