package plugfn

import (
	"context"
	"encoding/json"
	"iter"
	"time"

	"github.com/plugfn/plugfn/pkg/events"
)

// Runs are the runs of the workflows of one user.
type Runs struct {
	c    *Client
	user string
}

// Runs returns the runs of a user.
func (c *Client) Runs(user string) Runs { return Runs{c, user} }

// Run is a run of a workflow as it stands.
type Run struct {
	ID        string           `json:"id"`
	User      string           `json:"user_id"`
	Workflow  string           `json:"workflow"`
	Version   int              `json:"version"`          // of the workflow, to the run's end
	Status    string           `json:"status"`           // pending, running, waiting, completed, failed or canceled
	Reason    string           `json:"reason,omitempty"` // of completed: filtered; of canceled: what was said
	Error     *events.RunError `json:"error,omitempty"`  // why it has failed
	Cause     RunCause         `json:"cause"`
	Parent    string           `json:"parent,omitempty"` // the run that called it
	Retries   int              `json:"retries,omitempty"`
	CreatedAt time.Time        `json:"created_at"`
	StartedAt time.Time        `json:"started_at,omitzero"` // zero while it is pending
	EndedAt   time.Time        `json:"ended_at,omitzero"`
	Deadline  time.Time        `json:"deadline,omitzero"` // when it is given up

	// Of a single run, absent in lists:

	Input  json.RawMessage `json:"input,omitempty"`
	Output json.RawMessage `json:"output,omitempty"` // what it responded
	Steps  []RunStep       `json:"steps,omitempty"`  // in the order in which they began
}

// Ended reports whether the run has come to its end.
func (r *Run) Ended() bool {
	return r.Status == "completed" || r.Status == "failed" || r.Status == "canceled"
}

// RunCause is what started a run.
type RunCause struct {
	Kind string `json:"kind"`         // manual, event, schedule, run, call or replay
	ID   string `json:"id,omitempty"` // of the event, the tick or the run; of manual, the key that was given
}

// RunStep is a step of a run.
type RunStep struct {
	Step      string           `json:"step"`   // its id, in an iteration each[3].id
	Status    string           `json:"status"` // running, waiting, completed, failed, canceled or skipped
	StartedAt time.Time        `json:"started_at"`
	EndedAt   time.Time        `json:"ended_at,omitzero"`
	Until     time.Time        `json:"until,omitzero"` // of a delay and a wait: when it is over at the latest
	Error     *events.RunError `json:"error,omitempty"`
	Result    json.RawMessage  `json:"result,omitempty"` // unless it is longer than 64 KiB
}

// RunFilter selects runs; an empty field stands for any.
type RunFilter struct {
	Workflow string `json:"workflow,omitempty"`
	Status   string `json:"status,omitempty"`
}

// List yields runs, those that changed last first, page by page as they are asked
// for. An error is the last thing that it yields.
func (r Runs) List(ctx context.Context, f RunFilter) iter.Seq2[Run, error] {
	return pages(func(cursor string) ([]Run, string, error) {
		var page struct {
			Runs       []Run  `json:"runs"`
			NextCursor string `json:"next_cursor"`
		}
		err := r.ask(ctx, "list", "", struct {
			RunFilter
			Cursor string `json:"cursor,omitempty"`
		}{f, cursor}, &page)
		return page.Runs, page.NextCursor, err
	})
}

// Get returns a run with its steps and values. The error is [ErrNotFound] where
// there is none.
func (r Runs) Get(ctx context.Context, id string) (Run, error) { return r.one(ctx, "get", id, nil) }

// Wait returns a run once it has ended. It waits until then or until ctx ends.
func (r Runs) Wait(ctx context.Context, id string) (Run, error) {
	for {
		run, err := r.one(ctx, "wait", id, nil) // the scheduler answers after some seconds at the latest
		if err != nil || run.Ended() {
			return run, err
		}
	}
}

// Cancel ends a run; the steps under way are not waited for.
func (r Runs) Cancel(ctx context.Context, id, reason string) (Run, error) {
	return r.one(ctx, "cancel", id, map[string]string{"reason": reason})
}

// Retry has a failed run go on from the step that failed.
func (r Runs) Retry(ctx context.Context, id string) (Run, error) {
	return r.one(ctx, "retry", id, nil)
}

// Replay starts another run by what had started this one, on the workflow's
// latest version. The same key, if it is not empty, makes one run.
func (r Runs) Replay(ctx context.Context, id, key string) (Run, error) {
	return r.one(ctx, "replay", id, map[string]string{"key": key})
}

// Logs returns the transitions of a run in their order, which are kept for seven
// days.
func (r Runs) Logs(ctx context.Context, id string) ([]events.RunChange, error) {
	var out struct {
		Transitions []events.RunChange `json:"transitions"`
	}
	err := r.ask(ctx, "logs", id, nil, &out)
	return out.Transitions, err
}

func (r Runs) start(ctx context.Context, order any) (Run, error) {
	var out Run
	err := r.ask(ctx, "start", "", order, &out)
	return out, err
}

func (r Runs) one(ctx context.Context, verb, id string, in any) (Run, error) {
	var out Run
	err := r.ask(ctx, verb, id, in, &out)
	return out, err
}

func (r Runs) ask(ctx context.Context, verb, id string, in, out any) error {
	return r.c.askScheduler(ctx, "runs", r.user, verb, id, in, out)
}
