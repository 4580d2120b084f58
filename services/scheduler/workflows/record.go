package workflows

import (
	"encoding/json"
	"errors"
	"time"

	"github.com/plugfn/plugfn/pkg/events"
	"github.com/plugfn/plugfn/pkg/workflow"
)

// Status says what may start runs of a workflow.
type Status string

// The statuses of a workflow.
const (
	Draft    Status = "draft" // nothing yet
	Enabled  Status = "enabled"
	Disabled Status = "disabled" // nothing any more

	deleted Status = "deleted" // what is left of it counts versions
)

// record is the value of a key in the bucket of workflows.
type record struct {
	Name        string    `json:"name"`
	UserID      string    `json:"user_id"`
	Status      Status    `json:"status"`
	Version     int       `json:"version"` // the latest, which is the one that counts
	Description string    `json:"description,omitempty"`
	Trigger     Trigger   `json:"trigger"`
	Steps       int       `json:"steps"`
	Versions    []Version `json:"versions"` // the oldest first
	CreatedAt   time.Time `json:"created_at"`
	UpdatedAt   time.Time `json:"updated_at"`
}

// Version is one version of a workflow.
type Version struct {
	Version   int       `json:"version"`
	AppliedAt time.Time `json:"applied_at"`
	Digest    string    `json:"digest" doc:"SHA-256 of its text, in hex."`
	Bytes     int       `json:"bytes"`
}

// Trigger is what starts runs of a workflow, in short.
type Trigger struct {
	Kind       string   `json:"kind" enum:"event,schedule,manual,run"`
	Provider   string   `json:"provider,omitempty"`
	Events     []string `json:"events,omitempty" doc:"Names of events; one that ends in * is all that begin so."`
	Connection string   `json:"connection,omitempty" doc:"Only its events."`
	Cron       string   `json:"cron,omitempty"`
	Zone       string   `json:"zone,omitempty"`
	Every      string   `json:"every,omitempty"`
	Workflow   string   `json:"workflow,omitempty" doc:"Whose runs have ended."`
	States     []string `json:"states,omitempty" doc:"How."`
}

func triggerOf(t workflow.Trigger) Trigger {
	switch {
	case t.Event != nil:
		return Trigger{Kind: "event", Provider: t.Event.Provider, Events: t.Event.Event, Connection: t.Event.Connection}
	case t.Schedule != nil:
		out := Trigger{Kind: "schedule", Cron: t.Schedule.Cron, Zone: t.Schedule.Zone}
		if t.Schedule.Every > 0 {
			out.Every = t.Schedule.Every.String()
		}
		return out
	case t.Run != nil:
		return Trigger{Kind: "run", Workflow: t.Run.Workflow, States: t.Run.State}
	default:
		return Trigger{Kind: "manual"}
	}
}

func keyOf(user, name string) string { return events.Key(user, name) }

func (r *record) key() string { return keyOf(r.UserID, r.Name) }

func (r *record) latest() Version { return r.Versions[len(r.Versions)-1] }

// version is what is known of a version that is listed.
func (r *record) version(n int) (Version, bool) {
	for _, v := range r.Versions {
		if v.Version == n {
			return v, true
		}
	}
	return Version{}, false
}

// decode reads the record at key. One that was copied from another key is
// refused.
func decode(key string, value []byte) (*record, error) {
	r := &record{}
	if err := json.Unmarshal(value, r); err != nil {
		return nil, errors.New("the workflow is not JSON of the known form")
	}
	if r.Name == "" || r.key() != key {
		return nil, errors.New("the workflow belongs to another key")
	}
	if r.Status != deleted && len(r.Versions) == 0 {
		return nil, errors.New("the workflow has no version")
	}
	return r, nil
}

// text is the value of a key in the bucket of definitions: one version.
type text struct {
	Name    string `json:"name"`
	UserID  string `json:"user_id"`
	Version int    `json:"version"`
	Text    string `json:"text"` // YAML or JSON, as it was applied
}
