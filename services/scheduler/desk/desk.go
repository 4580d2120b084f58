package desk

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/micro"
	"github.com/rs/zerolog"

	"github.com/plugfn/plugfn/internal/api"
	"github.com/plugfn/plugfn/pkg/events"
)

const (
	maxAsked = 64 // requests answered at once
	patience = 10 * time.Second
)

// Verb is one thing that can be asked for.
type Verb struct {
	Name   string
	Of     bool                                        // of one thing: its id follows the verb
	Answer func(context.Context, Request) (any, error) // what it returns is the answer, as JSON
}

// Config holds what a Desk needs. All of it must be set.
type Config struct {
	Conn        *nats.Conn
	Log         zerolog.Logger
	Name        string // of the NATS micro service
	Description string
	Subject     string // what stands before the user, with its dot
	Verbs       []Verb

	// Problem gives errors that have none a form for who asks.
	Problem func(error) error
}

// Desk answers until it is closed.
type Desk struct {
	Config
	micro  micro.Service
	places chan struct{}
	wait   sync.WaitGroup
}

// Open begins to answer.
func Open(cfg Config) (*Desk, error) {
	d := &Desk{Config: cfg, places: make(chan struct{}, maxAsked)}
	var err error
	d.micro, err = micro.AddService(d.Conn, micro.Config{
		Name: d.Name, Version: "1.0.0", Description: d.Description, QueueGroup: "scheduler",
	})
	if err != nil {
		return nil, fmt.Errorf("serving %s: %w", d.Subject, err)
	}
	for _, verb := range d.Verbs {
		tail := ""
		if verb.Of {
			tail = ".*"
		}
		err := d.micro.AddEndpoint(verb.Name, micro.HandlerFunc(func(r micro.Request) { d.take(r, verb.Answer) }),
			micro.WithEndpointSubject(d.Subject+"*."+verb.Name+tail))
		if err != nil {
			return nil, errors.Join(fmt.Errorf("serving %s: %w", d.Subject, err), d.micro.Stop())
		}
	}
	return d, nil
}

// Close takes no more requests and waits for the answers in hand.
func (d *Desk) Close() {
	if err := d.micro.Stop(); err != nil && !d.Conn.IsClosed() {
		d.Log.Warn().Err(err).Str("service", d.Name).Msg("stopping to answer")
	}
	d.wait.Wait()
}

func (d *Desk) take(r micro.Request, answer func(context.Context, Request) (any, error)) {
	// Anybody can put any subject there; this service may publish to more of them
	// than who asks.
	if err := events.CheckInbox(r.Reply()); err != nil && !strings.HasPrefix(r.Reply(), "_PLUGFN_INBOX.") {
		d.Log.Warn().Str("subject", r.Subject()).Msg("request without an inbox dropped")
		return
	}
	d.places <- struct{}{}
	d.wait.Go(func() {
		defer func() { <-d.places }()
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		reply, err := d.answer(ctx, r, answer)
		if err != nil {
			reply = map[string]*api.Problem{"error": api.Explain(ctx, d.Log, d.Problem(err))}
		}
		if err := r.RespondJSON(reply); err != nil {
			d.Log.Warn().Err(err).Str("service", d.Name).Msg("request not answered")
		}
	})
}

func (d *Desk) answer(ctx context.Context, r micro.Request, answer func(context.Context, Request) (any, error)) (any, error) {
	parts := strings.Split(strings.TrimPrefix(r.Subject(), d.Subject), ".")
	user, err := userOf(parts[0], nats.Header(r.Headers()))
	if err != nil {
		return nil, err
	}
	asked := Request{User: user, Body: r.Data()}
	if len(parts) == 3 {
		asked.ID = parts[2]
	}
	return answer(ctx, asked)
}

// userOf is the user that a token stands for. Where it is shortened, the header
// Plugfn-User has the whole, percent-encoded.
func userOf(token string, header nats.Header) (string, error) {
	if user, ok := events.Untoken(token); ok && user != "" {
		return user, nil
	}
	user, err := url.PathUnescape(events.HeaderValue(header, events.HeaderUser))
	if err != nil || user == "" || events.Token(user) != token {
		return "", invalid("header "+events.HeaderUser, "needed, because %q in the subject does not say who the user is", api.Clip(token))
	}
	return user, nil
}

func invalid(field, format string, args ...any) error {
	return events.Errorf(events.CodeInvalidParams, "%s: %s", field, fmt.Sprintf(format, args...))
}
