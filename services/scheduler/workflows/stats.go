package workflows

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/plugfn/plugfn/internal/bus"
	"github.com/plugfn/plugfn/pkg/events"
	"github.com/plugfn/plugfn/pkg/workflow"
)

const (
	// maxRange is how long the history of runs is kept.
	maxRange = 7 * 24 * time.Hour
	// maxRead bounds what one question goes through.
	maxRead = 200_000
)

// statsQuery is which runs are counted.
type statsQuery struct {
	Since string `json:"since"` // a duration back from now; "": 7d
}

// Stats is what became of the runs of a workflow, from their history.
type Stats struct {
	Name        string      `json:"name"`
	Since       time.Time   `json:"since" doc:"Of runs that had a transition since then."`
	Total       int         `json:"total"`
	Live        int         `json:"live" doc:"They have not ended."`
	Completed   int         `json:"completed"`
	Filtered    int         `json:"filtered" doc:"Of the completed, those that a filter ended."`
	Failed      int         `json:"failed"`
	Canceled    int         `json:"canceled"`
	SuccessRate *float64    `json:"success_rate,omitempty" doc:"Completed of completed and failed, 0 to 1. Absent where none has ended."`
	AverageMS   *int64      `json:"average_ms,omitempty" doc:"How long the completed took."`
	LastRun     *LastRun    `json:"last_run,omitempty" doc:"The run that had the latest transition."`
	Steps       []StepStats `json:"steps" nullable:"false" doc:"In the order of the definition; those that are not in it any more last."`
	Partial     bool        `json:"partial,omitempty" doc:"There was too much to count: a shorter time is exact."`
}

// LastRun is a run as its history has it.
type LastRun struct {
	ID      string    `json:"id"`
	State   string    `json:"state"`
	Version int       `json:"version"`
	At      time.Time `json:"at" doc:"Of its latest transition."`
}

// StepStats is what became of one step, in iterations each time.
type StepStats struct {
	ID        string `json:"id"`
	Completed int    `json:"completed"`
	Failed    int    `json:"failed"`
	Skipped   int    `json:"skipped"`
	Canceled  int    `json:"canceled"`
	AverageMS int64  `json:"average_ms" doc:"From when it began to when it completed or failed."`
	LongestMS int64  `json:"longest_ms"`

	spent int64 // milliseconds of all that completed or failed
}

func (s *Service) stats(ctx context.Context, user, name string, q statsQuery) (Stats, error) {
	back := maxRange
	if q.Since != "" {
		d, err := workflow.ParseDuration(q.Since)
		if err != nil || time.Duration(d) > maxRange {
			return Stats{}, invalid("since", "must be a duration such as 1h or 7d, up to 7d, as long as the history is kept")
		}
		back = time.Duration(d)
	}
	r, err := s.get(ctx, user, name)
	if err != nil {
		return Stats{}, err
	}
	c := counting{runs: map[string]*counted{}, began: map[string]time.Time{}, steps: map[string]*StepStats{}}
	past := bus.History{Stream: events.StreamRuns, Subject: events.RunSubject(user, name, "*", "*"), Since: s.Now().Add(-back)}
	if err := past.Read(ctx, s.JetStream, c.add); err != nil {
		return Stats{}, fmt.Errorf("reading the history of runs: %w", err)
	}
	out := c.stats()
	out.Name, out.Since = name, past.Since.UTC()
	s.order(ctx, r, &out)
	return out, nil
}

// order puts the steps in the order of the definition, as far as they are in it.
func (s *Service) order(ctx context.Context, r *record, out *Stats) {
	places := map[string]int{}
	if p, err := s.compiled(ctx, r.UserID, r.Name, r.Version); err == nil {
		walk(p.Definition.Steps, places)
		walk(p.Definition.OnError, places)
	}
	slices.SortFunc(out.Steps, func(a, b StepStats) int {
		return cmp.Or(cmp.Compare(place(places, a.ID), place(places, b.ID)), strings.Compare(a.ID, b.ID))
	})
}

func walk(steps []*workflow.Step, places map[string]int) {
	for _, s := range steps {
		places[s.ID] = len(places)
		for _, l := range s.Lists() {
			walk(l.Steps, places)
		}
	}
}

func place(places map[string]int, id string) int {
	if at, ok := places[id]; ok {
		return at
	}
	return len(places)
}

// counting goes through the history.
type counting struct {
	read  int
	runs  map[string]*counted
	began map[string]time.Time // :: run and step, while it goes on → since when
	steps map[string]*StepStats
	last  *counted
}

// counted is how a run stands.
type counted struct {
	id, state, reason string
	version, number   int
	at                time.Time
	duration          int64
}

func (c *counting) add(msg jetstream.Msg) bool {
	if c.read++; c.read > maxRead {
		return false
	}
	t, err := events.ParseRunChange(msg.Data())
	if err != nil || t.Run == "" {
		return true // not of ours: applications cannot publish there, operators can
	}
	known := c.runs[t.Run]
	if known == nil {
		known = &counted{id: t.Run, number: -1}
		c.runs[t.Run] = known
	}
	if t.Number <= known.number {
		return true // the same once more
	}
	known.number = t.Number
	if !t.At.Before(known.at) {
		known.state, known.reason, known.version, known.at, known.duration = t.State, t.Reason, t.Version, t.At, t.DurationMS
		if c.last == nil || !t.At.Before(c.last.at) {
			c.last = known
		}
	}
	for _, step := range t.Steps {
		c.step(&t, step)
	}
	return true
}

func (c *counting) step(t *events.RunChange, change events.StepChange) {
	id := change.Step[strings.LastIndexByte(change.Step, '.')+1:]
	if c.steps[id] == nil {
		c.steps[id] = &StepStats{ID: id}
	}
	s := c.steps[id]
	key := t.Run + "/" + change.Step
	began, ok := c.began[key]
	if !ok {
		began = t.At
	}
	switch change.State {
	case "completed":
		s.Completed++
	case "failed":
		s.Failed++
	case "skipped":
		s.Skipped++
	case "canceled":
		s.Canceled++
	default:
		c.began[key] = began
		return
	}
	delete(c.began, key)
	if change.State == "completed" || change.State == "failed" {
		spent := t.At.Sub(began).Milliseconds()
		s.spent += spent
		s.LongestMS = max(s.LongestMS, spent)
	}
}

func (c *counting) stats() Stats {
	out := Stats{Total: len(c.runs), Steps: []StepStats{}, Partial: c.read > maxRead}
	spent := int64(0)
	for _, r := range c.runs {
		switch r.state {
		case "completed":
			out.Completed++
			spent += r.duration
			if r.reason == "filtered" {
				out.Filtered++
			}
		case "failed":
			out.Failed++
		case "canceled":
			out.Canceled++
		default:
			out.Live++
		}
	}
	if ended := out.Completed + out.Failed; ended > 0 {
		rate := float64(out.Completed) / float64(ended)
		out.SuccessRate = &rate
	}
	if out.Completed > 0 {
		average := spent / int64(out.Completed)
		out.AverageMS = &average
	}
	if c.last != nil {
		out.LastRun = &LastRun{ID: c.last.id, State: c.last.state, Version: c.last.version, At: c.last.at}
	}
	for _, s := range c.steps {
		if n := int64(s.Completed + s.Failed); n > 0 {
			s.AverageMS = s.spent / n
		}
		out.Steps = append(out.Steps, *s)
	}
	return out
}
