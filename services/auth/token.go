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
	"github.com/nats-io/nkeys"

	"github.com/plugfn/plugfn/internal/id"
	"github.com/plugfn/plugfn/pkg/events"
)

const (
	subjectToken = events.PrefixService + "auth.token"
	queueGroup   = "auth"
	apiVersion   = "1.0.0" // of the endpoint

	maxRequests  = 64       // worked on at once
	maxQueued    = 4096     // waiting for that, messages
	maxQueuedLen = 16 << 20 // and bytes
	maxRequest   = 8 << 10  // bytes of one
	maxProvider  = 64       // bytes
	maxNonce     = 64       // bytes
	curveKeySize = 56       // characters of a public curve key
	tokenTimeout = 5 * time.Second
	drainTimeout = 10 * time.Second
)

// tokenRequest asks for the credential of a connection.
type tokenRequest struct {
	UserID       string `json:"user_id"`
	Provider     string `json:"provider"`
	ConnectionID string `json:"connection_id,omitempty"` // "": the user's only one
	Recipient    string `json:"recipient"`               // public curve key that the reply is sealed to
	Nonce        string `json:"nonce"`                   // chosen anew for each request
}

// tokenReply holds either Error or all the rest.
type tokenReply struct {
	ConnectionID string        `json:"connection_id,omitempty"`
	Auth         string        `json:"auth,omitempty"`
	Version      int           `json:"version,omitempty"`
	Sender       string        `json:"sender,omitempty"` // public curve key of this one reply
	Sealed       []byte        `json:"sealed,omitempty"` // a grant
	Error        *events.Error `json:"error,omitempty"`
}

// grant is what is sealed. It repeats the request, so that a reply answers that
// request and no other.
type grant struct {
	Nonce        string `json:"nonce"`
	UserID       string `json:"user_id"`
	Provider     string `json:"provider"`
	ConnectionID string `json:"connection_id"`
	Auth         string `json:"auth"`
	Version      int    `json:"version"`
	Token        string `json:"token"`
}

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
		micro.WithEndpointPendingLimits(maxQueued, maxQueuedLen))
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
	if inbox == "" {
		return
	}
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

// grantToken reads a request and seals the credential that it asks for.
func (s *Service) grantToken(ctx context.Context, data []byte) (tokenReply, error) {
	request, err := parseTokenRequest(data)
	if err != nil {
		return tokenReply{}, err
	}
	c, err := s.store.credential(ctx, request.UserID, request.Provider, request.ConnectionID)
	if err != nil {
		return tokenReply{}, err
	}
	revealed := c.Token.Reveal()
	defer clear(revealed)
	sender, sealed, err := seal(request.Recipient, grant{
		Nonce:        request.Nonce,
		UserID:       request.UserID,
		Provider:     request.Provider,
		ConnectionID: c.ConnectionID,
		Auth:         c.Auth,
		Version:      c.Version,
		Token:        string(revealed),
	})
	if err != nil {
		return tokenReply{}, err
	}
	s.log.Debug().Str("connection", c.ConnectionID).Int("version", c.Version).Msg("credential handed out")
	return tokenReply{ConnectionID: c.ConnectionID, Auth: c.Auth, Version: c.Version, Sender: sender, Sealed: sealed}, nil
}

func parseTokenRequest(data []byte) (tokenRequest, error) {
	var r tokenRequest
	if len(data) > maxRequest || json.Unmarshal(data, &r) != nil {
		return r, events.Errorf(events.CodeInvalidParams, "a token request is a JSON object of at most %d bytes", maxRequest)
	}
	for _, field := range []struct {
		name, value string
		limit       int
	}{
		{"user_id", r.UserID, maxUser},
		{"provider", r.Provider, maxProvider},
		{"connection_id", r.ConnectionID, events.MaxID},
		{"nonce", r.Nonce, maxNonce},
	} {
		if len(field.value) > field.limit {
			return r, invalid(field.name, "longer than %d bytes", field.limit)
		}
	}
	if r.Nonce == "" {
		return r, invalid("nonce", "must not be empty")
	}
	// nkeys trusts the length of what it decodes.
	if len(r.Recipient) != curveKeySize || !nkeys.IsValidPublicCurveKey(r.Recipient) {
		return r, invalid("recipient", "must be a public curve key (X…)")
	}
	return r, nil
}

// seal encrypts g to a public curve key, with a key of its own for this once.
func seal(recipient string, g grant) (sender string, sealed []byte, err error) {
	pair, err := nkeys.CreateCurveKeys()
	if err != nil {
		return "", nil, fmt.Errorf("making a curve key: %w", err)
	}
	defer pair.Wipe()
	plain, err := json.Marshal(g)
	if err != nil {
		return "", nil, fmt.Errorf("encoding the grant: %w", err)
	}
	defer clear(plain)
	if sender, err = pair.PublicKey(); err != nil {
		return "", nil, fmt.Errorf("sealing the grant: %w", err)
	}
	if sealed, err = pair.Seal(plain, recipient); err != nil {
		return "", nil, fmt.Errorf("sealing the grant: %w", err)
	}
	return sender, sealed, nil
}
