package plugfn

import (
	"context"
	"encoding/json"
	"iter"
	"time"
)

// Schedules are the time rules of one user.
type Schedules struct {
	c    *Client
	user string
}

// Schedules returns the schedules of a user.
func (c *Client) Schedules(user string) Schedules { return Schedules{c, user} }

// Plan is a schedule as it is asked for. Exactly one of Cron, Every and At is
// set, and exactly one field of Target.
type Plan struct {
	Name    string         `json:"name,omitempty"`    // the user's own word for it
	Cron    string         `json:"cron,omitempty"`    // five fields, six with the seconds first, or @daily
	Zone    string         `json:"zone,omitempty"`    // of Cron, such as Europe/Berlin; empty: UTC
	Every   string         `json:"every,omitempty"`   // a duration from 1s
	At      time.Time      `json:"at,omitzero"`       // the only tick
	Start   time.Time      `json:"start,omitzero"`    // no tick before it
	End     time.Time      `json:"end,omitzero"`      // no tick after it
	Jitter  string         `json:"jitter,omitempty"`  // up to how much later a tick fires
	Misfire string         `json:"misfire,omitempty"` // fire_once, skip or all; empty: fire_once
	Overlap string         `json:"overlap,omitempty"` // allow, skip or queue; empty: allow
	Target  ScheduleTarget `json:"target"`
}

// ScheduleTarget is where ticks go.
type ScheduleTarget struct {
	Action *ScheduledAction `json:"action,omitempty"`
	Event  *ScheduledEvent  `json:"event,omitempty"`
}

// ScheduledAction has each tick ask for an action.
type ScheduledAction struct {
	Provider   string          `json:"provider"`
	Action     string          `json:"action"`
	Connection string          `json:"connection_id,omitempty"`
	Params     json.RawMessage `json:"params,omitempty"` // a JSON object
}

// ScheduledEvent has each tick be an event plugfn.event.<user>.schedule.<name>.
type ScheduledEvent struct {
	Name string          `json:"name"`
	Data json.RawMessage `json:"data,omitempty"`
}

// Schedule is a schedule as it stands.
type Schedule struct {
	ID   string `json:"id"`
	User string `json:"user_id"`
	Plan
	State     string    `json:"state"`            // active, paused or done
	Next      time.Time `json:"next_at,omitzero"` // when the next tick fires
	CreatedAt time.Time `json:"created_at"`
	UpdatedAt time.Time `json:"updated_at"`
}

func (s Schedules) ask(ctx context.Context, verb, id string, in, out any) error {
	return s.c.askScheduler(ctx, "schedules", s.user, verb, id, in, out)
}

// Create makes a schedule.
func (s Schedules) Create(ctx context.Context, p Plan) (Schedule, error) {
	var out Schedule
	err := s.ask(ctx, "create", "", p, &out)
	return out, err
}

// List yields the schedules, page by page as they are asked for. An error is the
// last thing that it yields.
func (s Schedules) List(ctx context.Context) iter.Seq2[Schedule, error] {
	return pages(func(cursor string) ([]Schedule, string, error) {
		var page struct {
			Schedules  []Schedule `json:"schedules"`
			NextCursor string     `json:"next_cursor"`
		}
		query := map[string]string{}
		if cursor != "" {
			query["cursor"] = cursor
		}
		err := s.ask(ctx, "list", "", query, &page)
		return page.Schedules, page.NextCursor, err
	})
}

// Get returns a schedule. The error is [ErrNotFound] where there is none.
func (s Schedules) Get(ctx context.Context, id string) (Schedule, error) {
	return s.one(ctx, "get", id)
}

// Pause has a schedule have no ticks until it is resumed.
func (s Schedules) Pause(ctx context.Context, id string) (Schedule, error) {
	return s.one(ctx, "pause", id)
}

// Resume has a paused schedule go on from now.
func (s Schedules) Resume(ctx context.Context, id string) (Schedule, error) {
	return s.one(ctx, "resume", id)
}

// Run has a tick fire now, beside those of the rule.
func (s Schedules) Run(ctx context.Context, id string) (Schedule, error) {
	return s.one(ctx, "run", id)
}

func (s Schedules) one(ctx context.Context, verb, id string) (Schedule, error) {
	var out Schedule
	err := s.ask(ctx, verb, id, nil, &out)
	return out, err
}

// Delete removes a schedule.
func (s Schedules) Delete(ctx context.Context, id string) error {
	return s.ask(ctx, "delete", id, nil, nil)
}

// Next returns the next n ticks of a schedule.
func (s Schedules) Next(ctx context.Context, id string, n int) ([]time.Time, error) {
	var out struct {
		Ticks []struct {
			At time.Time `json:"at"`
		} `json:"ticks"`
	}
	err := s.ask(ctx, "next", id, map[string]int{"n": n}, &out)
	times := make([]time.Time, 0, len(out.Ticks))
	for _, tick := range out.Ticks {
		times = append(times, tick.At)
	}
	return times, err
}
