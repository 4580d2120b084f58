package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/spf13/cobra"

	"github.com/plugfn/plugfn/cmd/plugfn/settings"
	"github.com/plugfn/plugfn/pkg/events"
	"github.com/plugfn/plugfn/services/executor"
)

func newActionShowCommand() *cobra.Command {
	user, params := "", false
	cmd := &cobra.Command{
		Use:   "show <id>",
		Short: "Show a request, how far it is, and how it ended",
		Long: "Show gathers what the bus keeps of one request: when and for what it was asked, its last attempts and what it waits for, its " +
			"result, and what a person found out about an unknown one. Parameters may hold secrets and are shown with --params only.",
		Example: "plugfn action show req_01kav8z6c5fn1rx8ye0a0wq3jb --user u1",
		Args:    exactly("id"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return withUser(cmd, user, func(p *printer, conn *nats.Conn) error {
				s, err := lookUp(cmd.Context(), conn, user, args[0], params)
				if err != nil {
					return err
				}
				if err := p.object(s, s.ID, s.fields()); err != nil || !p.forPeople() {
					return err
				}
				return s.tellAttempts(p)
			})
		},
	}
	cmd.Flags().StringVar(&user, "user", "", "whose request it is")
	cmd.Flags().BoolVar(&params, "params", false, "show its parameters as well")
	return withTarget(settings.Bus, withOutput(cmd))
}

// withUser opens the bus for a command about one user's request.
func withUser(cmd *cobra.Command, user string, do func(*printer, *nats.Conn) error) error {
	p, err := newPrinter(cmd)
	if err != nil {
		return err
	}
	t, err := newTarget(cmd)
	if err != nil {
		return err
	}
	if user == "" {
		return usage("", "--user is missing: it says whose request it is")
	}
	conn, err := t.connect()
	if err != nil {
		return err
	}
	defer conn.Close()
	return do(p, conn)
}

// shownAction is all that is kept of one request.
type shownAction struct {
	ID         string             `json:"id"`
	User       string             `json:"user"`
	Provider   string             `json:"provider,omitempty"`
	Action     string             `json:"action,omitempty"`
	Connection string             `json:"connection,omitempty"`
	Asked      time.Time          `json:"asked,omitzero"` // zero: the request is not kept any more
	RetryOf    string             `json:"retry_of,omitempty"`
	Params     json.RawMessage    `json:"params,omitempty"`
	Progress   *executor.Progress `json:"progress,omitempty"`
	Result     *events.Result     `json:"result,omitempty"`
	Resolution *events.Resolution `json:"resolution,omitempty"`
}

func lookUp(ctx context.Context, conn *nats.Conn, user, id string, params bool) (*shownAction, error) {
	js, err := jetstream.New(conn)
	if err != nil {
		return nil, err
	}
	s := &shownAction{ID: id, User: user}
	if err := s.ask(ctx, conn, params); err != nil {
		return nil, err
	}
	if s.Progress, err = executor.ProgressOf(ctx, js, user, id); err != nil {
		return nil, &failure{exit: exitUnreachable, what: "the attempts cannot be read", cause: err, fix: startFix}
	}
	if s.Result, err = findResult(ctx, conn, user, id); err != nil && failureOf(err).exit != exitNotFound {
		return nil, err
	}
	if s.Result != nil {
		if err := fetchData(ctx, conn, s.Result); err != nil && failureOf(err).exit != exitNotFound {
			return nil, err
		}
		s.Provider, s.Action, s.Connection = s.Result.Provider, s.Result.Action, s.Result.ConnectionID
	}
	if s.Resolution, err = findResolution(ctx, js, user, id); err != nil {
		return nil, err
	}
	if s.Asked.IsZero() && s.Progress == nil && s.Result == nil {
		return nil, &failure{exit: exitNotFound, what: fmt.Sprintf("user %s has no request %s", safe(user), clip(id, 80)), fix: "plugfn action list --user " + safe(user)}
	}
	return s, nil
}

// ask looks for the request itself.
func (s *shownAction) ask(ctx context.Context, conn *nats.Conn, params bool) error {
	store, err := openEvents(ctx, conn, &eventFilter{
		keptIn: events.StreamActions, keptAs: events.PrefixAction + events.Token(s.User) + ".>",
		also: func(e *storedEvent) bool { return events.HeaderValue(e.header, events.HeaderID) == s.ID },
	})
	if err != nil {
		return err
	}
	found, _, err := store.newest(ctx, store.last(), 1)
	if err != nil || len(found) == 0 {
		return err
	}
	e := found[0]
	asked, _ := events.ParseActionRequest(e.subject, e.header, nil) // as far as it can be read
	s.Asked, s.Provider, s.Action, s.Connection = e.stored.UTC(), asked.Provider, asked.Action, asked.ConnectionID
	s.RetryOf = events.HeaderValue(e.header, events.HeaderRetryOf)
	if !params {
		return nil
	}
	if e, err = store.whole(ctx, e.sequence); err == nil && json.Valid(e.Data) {
		s.Params = e.Data
	}
	return err
}

func findResolution(ctx context.Context, js jetstream.JetStream, user, id string) (*events.Resolution, error) {
	stream, err := js.Stream(ctx, events.StreamResults)
	if err != nil {
		return nil, err
	}
	msg, err := stream.GetLastMsgForSubject(ctx, events.PrefixResult+events.Token(user)+".*."+events.Resolved+"."+events.Token(id)+".*")
	if errors.Is(err, jetstream.ErrMsgNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, &failure{exit: exitUnreachable, what: "the resolution cannot be read", cause: err}
	}
	var r events.Resolution
	return &r, json.Unmarshal(msg.Data, &r)
}

func (s *shownAction) fields() []field {
	fields := []field{
		{"id", safe(s.ID)},
		{"user", safe(s.User)},
		{"action", safe(s.Provider + "." + s.Action)},
		{"connection", safe(s.Connection)},
		{"asked", localTime(s.Asked, time.RFC3339)},
		{"retry of", safe(s.RetryOf)},
		{"params", safe(string(s.Params))},
	}
	if r := s.Result; r != nil {
		fields = append(fields, field{"status", stateOf(string(r.Outcome)) + "  " + faint(strings.Join(aboutResult(r), ", "))},
			field{"finished", localTime(r.FinishedAt, time.RFC3339)})
		if r.Error != nil {
			fields = append(fields, field{"error", safe(r.Error.Error())})
		}
		fields = append(fields, field{"output", outputOf(r)})
	} else {
		fields = append(fields, field{"status", stateOf(s.state())})
		if p := s.Progress; p != nil {
			fields = append(fields, field{"attempts", fmt.Sprintf("%d, put off %d times", p.Attempts, p.Deferrals)})
			if p.Last != nil {
				fields = append(fields, field{"last error", safe(p.Last.Error())})
			}
		}
	}
	if r := s.Resolution; r != nil {
		fields = append(fields, field{"resolved", strings.TrimSpace(fmt.Sprintf("%s at %s %s", r.Outcome, localTime(r.ResolvedAt, time.RFC3339), safe(r.Note)))})
	}
	return fields
}

// tellAttempts shows the attempts that are remembered.
func (s *shownAction) tellAttempts(p *printer) error {
	var all []events.Attempt
	switch {
	case s.Result != nil:
		all = s.Result.AttemptLog
	case s.Progress != nil:
		all = s.Progress.Log
	}
	if len(all) == 0 {
		return nil
	}
	if err := p.line(""); err != nil {
		return err
	}
	type row = events.Attempt
	return table(p, all, []column[row]{
		{title: "attempt", value: func(r row) string { return localTime(r.At, time.RFC3339) }},
		{title: "status", value: func(r row) string { return above(r.Status) }},
		{title: "class", value: func(r row) string { return safe(r.Class) }},
		{title: "error", value: func(r row) string { return safe(string(r.Code)) }},
		{title: "took", value: func(r row) string { return fmt.Sprintf("%d ms", r.MS) }},
		{title: "waited", value: func(r row) string { return fmt.Sprintf("%d ms", r.WaitedMS) }},
		{title: "provider request", value: func(r row) string { return clip(r.RequestID, 60) }},
	})
}

// state is where a request is that has no result.
func (s *shownAction) state() string {
	p := s.Progress
	switch {
	case p == nil:
		return "queued or being executed"
	case p.Canceled:
		return "canceled when its turn comes"
	case p.InFlight:
		return "in flight"
	default:
		return fmt.Sprintf("waits (%s) until %s", p.Waits, localTime(p.Until, time.RFC3339))
	}
}
