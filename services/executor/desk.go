package executor

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/nats-io/nats.go/micro"

	"github.com/plugfn/plugfn/internal/bus"
	"github.com/plugfn/plugfn/pkg/events"
)

const (
	deskTimeout = 5 * time.Second
	maxNote     = 1000 // bytes
)

// serveDesk answers those who want to settle a request by hand. User and id are
// in the subject, so that the broker decides whose requests they may be.
func (c *calls) serveDesk() error {
	for name, settle := range map[string]func(context.Context, ticket, []byte) (any, error){
		"cancel": c.cancel, "resolve": c.resolve, "result": c.find,
	} {
		err := c.micro.AddEndpoint(name, micro.HandlerFunc(func(r micro.Request) { c.serveTicket(r, settle) }),
			micro.WithEndpointSubject(events.PrefixService+"executor."+name+".*.*"))
		if err != nil {
			return err
		}
	}
	return c.micro.AddEndpoint("providers", micro.HandlerFunc(func(r micro.Request) {
		c.serveTicket(r, func(ctx context.Context, t ticket, _ []byte) (any, error) {
			name, _ := events.Untoken(t.id) // none has a name that is shortened
			return c.describe(ctx, name)
		})
	}), micro.WithEndpointSubject(events.ProvidersSubject("*")))
}

// ticket is a request by the tokens of its user and its id.
type ticket struct{ user, id string }

func (t ticket) key() string { return t.user + "." + t.id }

func (c *calls) serveTicket(r micro.Request, settle func(context.Context, ticket, []byte) (any, error)) {
	if err := events.CheckInbox(r.Reply()); err != nil && !strings.HasPrefix(r.Reply(), "_PLUGFN_INBOX.") {
		c.Log.Warn().Str("subject", r.Subject()).Msg("request without an inbox dropped")
		return
	}
	c.places <- struct{}{}
	c.wait.Go(func() {
		defer func() { <-c.places }()
		ctx, cancel := context.WithTimeout(context.Background(), deskTimeout)
		defer cancel()
		parts := strings.Split(r.Subject(), ".")
		answer, err := settle(ctx, ticket{user: parts[len(parts)-2], id: parts[len(parts)-1]}, r.Data())
		if err != nil {
			failure := final(err)
			if failure == nil {
				c.Log.Warn().Err(err).Str("subject", r.Subject()).Msg("request not settled by hand")
				failure = events.Errorf(events.CodeInternal, "the bus did not answer; try again")
			}
			answer = struct {
				Error *events.Error `json:"error"`
			}{failure}
		}
		if err := r.RespondJSON(answer); err != nil {
			c.Log.Warn().Err(err).Msg("answering")
		}
	})
}

// cancel takes a request back that has not been sent yet. Its result, canceled,
// is published when its turn comes, which is at once for one that waits.
func (c *calls) cancel(ctx context.Context, t ticket, _ []byte) (any, error) {
	const tries = 3
	for range tries {
		answer, err := c.tryCancel(ctx, t)
		if !errors.Is(err, errTaken) {
			return answer, err
		}
	}
	return events.Cancellation{State: events.CancelTooLate}, nil // it is moving
}

func (c *calls) tryCancel(ctx context.Context, t ticket) (events.Cancellation, error) {
	first, err := c.results.of(ctx, t)
	if err != nil {
		return events.Cancellation{}, err
	}
	if first != nil {
		return events.Cancellation{State: events.CancelFinished, Outcome: first.Outcome}, nil
	}
	e, err := c.journal.get(ctx, t.key())
	switch {
	case err != nil:
		return events.Cancellation{}, err
	case e == nil:
		e = &entry{}
	case e.attempted():
		return events.Cancellation{State: events.CancelTooLate}, nil
	}
	e.Canceled = true
	if err := c.journal.put(ctx, t.key(), e); err != nil {
		return events.Cancellation{}, err
	}
	waited, err := c.Parking.Hasten(ctx, events.PrefixLater+bus.KindAction+"."+t.key(), c.Now())
	if err != nil {
		return events.Cancellation{}, err
	}
	if waited {
		return events.Cancellation{State: events.CancelDone}, nil
	}
	return events.Cancellation{State: events.CancelNoted}, nil
}

// resolve notes what a person found out about a request whose result is
// unknown. The result stays what it is; the resolution stands beside it.
func (c *calls) resolve(ctx context.Context, t ticket, body []byte) (any, error) {
	var wanted struct {
		Outcome events.Outcome `json:"outcome"`
		Note    string         `json:"note"`
	}
	err := json.Unmarshal(body, &wanted)
	switch {
	case err != nil || wanted.Outcome != events.Succeeded && wanted.Outcome != events.Failed:
		return nil, events.Errorf(events.CodeInvalidParams, `/outcome: must be %s or %s`, events.Succeeded, events.Failed)
	case len(wanted.Note) > maxNote || !utf8.ValidString(wanted.Note):
		return nil, events.Errorf(events.CodeInvalidParams, "/note: must be at most %d bytes of UTF-8", maxNote)
	}
	first, err := c.results.of(ctx, t)
	switch {
	case err != nil:
		return nil, err
	case first == nil:
		return nil, events.Errorf(events.CodeInvalidParams, "the request has no result yet")
	case first.Outcome != events.Unknown:
		return nil, events.Errorf(events.CodeInvalidParams, "the outcome is known: %s", first.Outcome)
	}
	resolution := events.Resolution{
		ID: first.ID, UserID: first.UserID, Provider: first.Provider, Action: first.Action, ConnectionID: first.ConnectionID,
		Outcome: wanted.Outcome, Note: wanted.Note, ResolvedAt: c.Now().UTC(),
	}
	return resolution, c.addResolution(ctx, t, &resolution)
}

// addResolution stores a resolution, the first of its request.
func (c *calls) addResolution(ctx context.Context, t ticket, r *events.Resolution) error {
	msg, err := r.Msg()
	if err != nil {
		return err
	}
	any := events.PrefixResult + t.user + ".*." + events.Resolved + "." + t.id + ".*"
	_, err = c.JetStream.PublishMsg(ctx, msg, jetstream.WithExpectLastSequenceForSubject(0, any))
	if isConflict(err) {
		return events.Errorf(events.CodeInvalidParams, "the request was resolved before")
	}
	if err != nil {
		return fmt.Errorf("publishing the resolution: %w", err)
	}
	return nil
}

// of returns the result of a request, nil when there is none.
func (r results) of(ctx context.Context, t ticket) (*events.Result, error) {
	msg, err := r.last(ctx, events.PrefixResult+t.user+".*.*."+t.id)
	if msg == nil || err != nil {
		return nil, err
	}
	result, err := events.ParseResult(msg.Data)
	return &result, err
}

func (r results) last(ctx context.Context, subject string) (*nats.Msg, error) {
	raw, err := r.stream.GetLastMsgForSubject(ctx, subject)
	if errors.Is(err, jetstream.ErrMsgNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("looking for an earlier result: %w", err)
	}
	return &nats.Msg{Subject: raw.Subject, Header: raw.Header, Data: raw.Data}, nil
}
