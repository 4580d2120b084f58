package runs

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/plugfn/plugfn/pkg/events"
	"github.com/plugfn/plugfn/services/scheduler/runs/machine"
)

// View is a run as it is shown.
type View struct {
	ID         string           `json:"id"`
	UserID     string           `json:"user_id"`
	Workflow   string           `json:"workflow"`
	Version    int              `json:"version" doc:"Of the workflow; the run ends on the one that it was started with."`
	Status     machine.Status   `json:"status" enum:"pending,running,waiting,completed,failed,canceled"`
	Reason     string           `json:"reason,omitempty" doc:"Of completed: filtered. Of canceled: what was said."`
	Error      *events.RunError `json:"error,omitempty" doc:"Why it has failed."`
	Cause      Cause            `json:"cause" doc:"What started it."`
	Parent     string           `json:"parent,omitempty" doc:"The run that called it."`
	Retries    int              `json:"retries,omitempty"`
	CreatedAt  time.Time        `json:"created_at"`
	StartedAt  time.Time        `json:"started_at,omitzero" doc:"Absent while it is pending."`
	EndedAt    time.Time        `json:"ended_at,omitzero"`
	DurationMS int64            `json:"duration_ms,omitempty" doc:"From its start to its end."`
	Deadline   time.Time        `json:"deadline,omitzero" doc:"When it is given up."`
}

// Detail is a run with its steps and values.
type Detail struct {
	View
	Event  json.RawMessage `json:"event,omitempty" doc:"What it was started by, as expressions see it."`
	Input  json.RawMessage `json:"input,omitempty"`
	Output json.RawMessage `json:"output,omitempty" doc:"What it responded."`
	Steps  []StepView      `json:"steps" nullable:"false" doc:"In the order in which they began. Of the iterations of a foreach those that are under way or have failed."`
}

// StepView is a step of a run as it is shown.
type StepView struct {
	Step       string           `json:"step" doc:"Its id, in an iteration each[3].id."`
	Status     machine.Status   `json:"status" enum:"running,waiting,completed,failed,canceled,skipped"`
	StartedAt  time.Time        `json:"started_at"`
	EndedAt    time.Time        `json:"ended_at,omitzero"`
	DurationMS int64            `json:"duration_ms,omitempty"`
	Until      time.Time        `json:"until,omitzero" doc:"Of a delay and a wait: when it is over at the latest."`
	Request    string           `json:"request,omitempty" doc:"Id of the request of an action that is under way."`
	Done       int              `json:"done,omitempty" doc:"Of a foreach: items that are done."`
	Total      int              `json:"total,omitempty" doc:"Of a foreach: its items."`
	Error      *events.RunError `json:"error,omitempty"`
	Result     json.RawMessage  `json:"result,omitempty" doc:"Unless it is longer than 64 KiB."`
	Long       bool             `json:"long,omitempty" doc:"The result is longer."`
}

func (r *record) view() View {
	s := r.State
	v := View{
		ID: s.Run, UserID: s.User, Workflow: s.Workflow, Version: s.Version, Status: s.Status, Reason: s.Reason, Cause: r.Cause,
		Retries: s.Try, CreatedAt: r.CreatedAt, StartedAt: s.Started, EndedAt: s.Ended, DurationMS: elapsed(s.Started, s.Ended),
	}
	if r.Parent != nil {
		v.Parent = r.Parent.Run
	}
	if s.Status.Ended() {
		v.Error = runError(s.Error)
	} else {
		v.Deadline = s.Deadline
	}
	return v
}

// detail is all of a run. A value that is not stored any more is left out.
func (s *Service) detail(ctx context.Context, r *record) (Detail, error) {
	d := Detail{View: r.view(), Steps: r.steps()}
	for _, v := range []struct {
		of machine.Value
		to *json.RawMessage
	}{{r.State.Event, &d.Event}, {r.State.Input, &d.Input}} {
		data, err := s.json(ctx, r, v.of)
		if err != nil && !errors.Is(err, events.ErrPayloadGone) {
			return d, err
		}
		if string(data) != "null" {
			*v.to = data
		}
	}
	if r.State.Output != nil {
		output, err := s.output(ctx, r)
		if err != nil && !errors.Is(err, events.ErrPayloadGone) {
			return d, err
		}
		d.Output = output
	}
	return d, nil
}

func (r *record) steps() []StepView {
	all := []StepView{}
	for key, e := range r.State.Steps {
		v := StepView{
			Step: key, Status: e.Status, StartedAt: e.Started, EndedAt: e.Ended, DurationMS: elapsed(e.Started, e.Ended),
			Until: e.Until, Error: runError(e.Error),
		}
		if e.Loop != nil {
			v.Done, v.Total = e.Loop.Done, e.Loop.Total
		}
		if e.Result != nil {
			v.Result, v.Long = e.Result.JSON, e.Result.Ref != ""
		}
		if e.Status == machine.Waiting && e.Until.IsZero() {
			v.Request = requestID(r.State.Run, machine.EffectID(key, e))
		}
		all = append(all, v)
	}
	slices.SortFunc(all, func(a, b StepView) int {
		return cmp.Or(a.StartedAt.Compare(b.StartedAt), strings.Compare(a.Step, b.Step))
	})
	return all
}
