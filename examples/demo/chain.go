package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/plugfn/plugfn/pkg/events"
)

// step is one thing that was seen.
type step struct {
	name string
	at   time.Time
	what string
}

// chain is what one delivery causes: the event has the delivery's id, the
// request's id holds that of the event, the result has that of the request.
type chain struct {
	*watcher
	trigger *process // sends the delivery
	example *process // answers the event

	steps []step // seen so far
	event events.Event
	ask   events.ActionRequest
}

// follow waits for each step and returns them in the order in which they have
// to come. With an error it returns those that were seen; the error says which
// one is wrong, or is not there in time.
func (c *chain) follow(ctx context.Context, sent time.Time) ([]step, error) {
	for _, one := range []struct {
		name string
		see  func(context.Context) (step, error)
	}{
		{"delivery", func(ctx context.Context) (step, error) { return c.delivery(ctx, sent) }},
		{"event", c.seeEvent},
		{"request", c.seeRequest},
		{"result", c.seeResult},
		{"provider call", c.seeCall}, // behind the result: who has that finds the call
	} {
		s, err := one.see(ctx)
		if err != nil {
			return c.steps, fmt.Errorf("%s: %w", one.name, err)
		}
		s.name = one.name
		c.steps = append(c.steps, s)
	}
	c.steps[3], c.steps[4] = c.steps[4], c.steps[3]
	if err := inOrder(c.steps); err != nil {
		return c.steps, err
	}
	if err := c.example.wait(ctx); err != nil {
		return c.steps, fmt.Errorf("acknowledgement: issue-to-slack: %w", err)
	}
	return c.steps, nil
}

// inOrder compares when the steps were seen: by one clock, because the bus and
// the sandbox are in one process.
func inOrder(steps []step) error {
	for i, s := range steps[1:] {
		if before := steps[i]; s.at.Before(before.at) {
			return fmt.Errorf("%s: %s before the %s", s.name, before.at.Sub(s.at), before.name)
		}
	}
	return nil
}

// delivery waits until the ingress has accepted the delivery.
func (c *chain) delivery(ctx context.Context, sent time.Time) (step, error) {
	if err := c.trigger.wait(ctx); err != nil {
		return step{}, err
	}
	var told struct {
		Path     string `json:"path"`
		Status   int    `json:"status"`
		Delivery string `json:"delivery"`
	}
	if err := json.Unmarshal([]byte(c.trigger.out.String()), &told); err != nil {
		return step{}, fmt.Errorf("plugfn trigger did not print JSON: %w", err)
	}
	c.event.ID = told.Delivery
	return step{at: sent, what: fmt.Sprintf("POST %s  %d  %s", told.Path, told.Status, told.Delivery)}, nil
}

func (c *chain) seeEvent(ctx context.Context) (step, error) {
	msg, at, err := c.first(ctx, events.StreamEvents, events.PrefixEvent)
	if err != nil {
		return step{}, err
	}
	e, err := events.ParseEvent(msg.Headers(), msg.Data())
	switch {
	case err != nil:
		return step{}, err
	case e.ID != c.event.ID:
		return step{}, fmt.Errorf("its ce-id is %q, the delivery's %q", e.ID, c.event.ID)
	case e.UserID == "":
		return step{}, errors.New("it is nobody's: no connection has its account")
	case msg.Subject() != events.EventSubject(e.UserID, "github", "issues.opened"):
		return step{}, fmt.Errorf("its subject is %s", msg.Subject())
	}
	c.event = e
	return step{at: at, what: msg.Subject()}, nil
}

func (c *chain) seeRequest(ctx context.Context) (step, error) {
	msg, at, err := c.first(ctx, events.StreamActions, events.PrefixAction)
	if err != nil {
		return step{}, err
	}
	r, err := events.ParseActionRequest(msg.Subject(), msg.Headers(), msg.Data())
	switch {
	case err != nil:
		return step{}, err
	case msg.Subject() != events.ActionSubject(c.event.UserID, "slack", "chat.postMessage"):
		return step{}, fmt.Errorf("its subject is %s", msg.Subject())
	case !strings.HasSuffix(r.ID, c.event.ID):
		return step{}, fmt.Errorf("its Plugfn-Id is %q, without the event's %q", r.ID, c.event.ID)
	}
	c.ask = r
	return step{at: at, what: msg.Subject()}, nil
}

func (c *chain) seeResult(ctx context.Context) (step, error) {
	msg, at, err := c.first(ctx, events.StreamResults, events.PrefixResult)
	if err != nil {
		return step{}, err
	}
	r, err := events.ParseResult(msg.Data())
	switch {
	case err != nil:
		return step{}, err
	case r.ID != c.ask.ID:
		return step{}, fmt.Errorf("its id is %q, the request's %q", r.ID, c.ask.ID)
	case r.Error != nil:
		return step{}, r.Error
	case msg.Subject() != events.ResultSubject(c.ask.UserID, "slack", events.Succeeded, c.ask.ID):
		return step{}, fmt.Errorf("its subject is %s", msg.Subject())
	}
	return step{at: at, what: msg.Subject()}, nil
}

// seeCall looks for the one call of Slack.
func (c *chain) seeCall(ctx context.Context) (step, error) {
	calls, err := c.calls(ctx)
	if err != nil {
		return step{}, err
	}
	calls = slices.DeleteFunc(calls, func(one call) bool { return one.Provider != c.ask.Provider })
	if len(calls) != 1 {
		return step{}, fmt.Errorf("%s was called %d times, not once", c.ask.Provider, len(calls))
	}
	one := calls[0]
	what := fmt.Sprintf("%s %s%s  %d", one.Method, one.Provider, one.Path, one.Status)
	if one.Action != c.ask.Action || one.Status != http.StatusOK {
		return step{}, errors.New("it is " + what)
	}
	return step{at: one.At, what: what}, nil
}
