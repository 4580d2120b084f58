package plugfn

import (
	"context"
	"encoding/json"
	"iter"
	"time"
)

// Workflows are the workflows of one user.
type Workflows struct {
	c    *Client
	user string
}

// Workflows returns the workflows of a user.
func (c *Client) Workflows(user string) Workflows { return Workflows{c, user} }

// Workflow is a workflow as it stands.
type Workflow struct {
	Name        string          `json:"name"`
	User        string          `json:"user_id"`
	Status      string          `json:"status"`  // draft, enabled or disabled
	Version     int             `json:"version"` // the latest, which new runs go by
	Description string          `json:"description,omitempty"`
	Trigger     WorkflowTrigger `json:"trigger"`
	Steps       int             `json:"steps"` // those inside steps and of error handlers among them
	CreatedAt   time.Time       `json:"created_at"`
	AppliedAt   time.Time       `json:"applied_at"` // when the latest version was made
	UpdatedAt   time.Time       `json:"updated_at"`
}

// WorkflowTrigger is what starts runs, in short.
type WorkflowTrigger struct {
	Kind       string   `json:"kind"`                 // event, schedule, manual or run
	Provider   string   `json:"provider,omitempty"`   // of events
	Events     []string `json:"events,omitempty"`     // names; one that ends in * is all that begin so
	Connection string   `json:"connection,omitempty"` // only its events
	Cron       string   `json:"cron,omitempty"`
	Zone       string   `json:"zone,omitempty"`
	Every      string   `json:"every,omitempty"`
	Workflow   string   `json:"workflow,omitempty"` // whose runs have ended
	States     []string `json:"states,omitempty"`   // how they have
}

// ApplyOptions say how a definition is applied. The zero value enables a workflow
// that is new, and replaces whatever version there is.
type ApplyOptions struct {
	Draft     bool // a workflow that is new is not enabled yet; one that is there keeps its status
	IfVersion *int // only if this is the latest version; 0: only if there is no such workflow
}

// Applied is what an application has come to.
type Applied struct {
	Workflow
	Changed bool `json:"changed"` // there is a new version; the same text makes none
}

// Apply makes a new version of a workflow, or the first, of a definition in YAML
// or JSON. What is wrong with it is an [Error] of code invalid_params that says
// where; nothing is applied then.
func (w Workflows) Apply(ctx context.Context, definition []byte, o ApplyOptions) (Applied, error) {
	var out Applied
	err := w.ask(ctx, "apply", "", struct {
		Definition string `json:"definition"`
		Draft      bool   `json:"draft,omitempty"`
		IfVersion  *int   `json:"if_version,omitempty"`
	}{string(definition), o.Draft, o.IfVersion}, &out)
	return out, err
}

// Validate says what is wrong with a definition, as Apply does, and applies
// nothing.
func (w Workflows) Validate(ctx context.Context, definition []byte) error {
	return w.ask(ctx, "validate", "", map[string]string{"definition": string(definition)}, nil)
}

// List yields the workflows, page by page as they are asked for. An error is the
// last thing that it yields.
func (w Workflows) List(ctx context.Context) iter.Seq2[Workflow, error] {
	return pages(func(cursor string) ([]Workflow, string, error) {
		var page struct {
			Workflows  []Workflow `json:"workflows"`
			NextCursor string     `json:"next_cursor"`
		}
		query := map[string]string{}
		if cursor != "" {
			query["cursor"] = cursor
		}
		err := w.ask(ctx, "list", "", query, &page)
		return page.Workflows, page.NextCursor, err
	})
}

// Get returns a workflow. The error is [ErrNotFound] where there is none.
func (w Workflows) Get(ctx context.Context, name string) (Workflow, error) {
	return w.one(ctx, "get", name)
}

// Definition returns the latest version of a definition as it was applied.
func (w Workflows) Definition(ctx context.Context, name string) ([]byte, error) {
	var out struct {
		Text string `json:"text"`
	}
	err := w.ask(ctx, "export", name, map[string]string{"form": "source"}, &out)
	return []byte(out.Text), err
}

// Enable lets a workflow start runs.
func (w Workflows) Enable(ctx context.Context, name string) (Workflow, error) {
	return w.one(ctx, "enable", name)
}

// Disable has a workflow start no more runs; those under way go on.
func (w Workflows) Disable(ctx context.Context, name string) (Workflow, error) {
	return w.one(ctx, "disable", name)
}

// Delete removes a workflow; runs under way go on.
func (w Workflows) Delete(ctx context.Context, name string) error {
	return w.ask(ctx, "delete", name, nil, nil)
}

func (w Workflows) one(ctx context.Context, verb, name string) (Workflow, error) {
	var out Workflow
	err := w.ask(ctx, verb, name, nil, &out)
	return out, err
}

func (w Workflows) ask(ctx context.Context, verb, name string, in, out any) error {
	return w.c.askScheduler(ctx, "workflows", w.user, verb, name, in, out)
}

// Start starts a run of a workflow by hand. Input is a JSON object, as the
// workflow's input says, or nil. The same key, if it is not empty, starts one run,
// for as long as that is kept.
func (w Workflows) Start(ctx context.Context, name, key string, input any) (Run, error) {
	order := struct {
		Workflow string          `json:"workflow"`
		Key      string          `json:"key,omitempty"`
		Input    json.RawMessage `json:"input,omitempty"`
	}{Workflow: name, Key: key}
	if input != nil {
		body, err := json.Marshal(input)
		if err != nil {
			return Run{}, refused("input: %v", err)
		}
		order.Input = body
	}
	return w.c.Runs(w.user).start(ctx, order)
}
