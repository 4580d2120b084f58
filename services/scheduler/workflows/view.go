package workflows

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/plugfn/plugfn/internal/api"
	"github.com/plugfn/plugfn/pkg/events"
	"github.com/plugfn/plugfn/pkg/workflow"
)

// View is a workflow as it is shown.
type View struct {
	Name        string    `json:"name"`
	UserID      string    `json:"user_id"`
	Status      Status    `json:"status" enum:"draft,enabled,disabled"`
	Version     int       `json:"version" doc:"The latest, which is the one that new runs go by."`
	Description string    `json:"description,omitempty"`
	Trigger     Trigger   `json:"trigger"`
	Steps       int       `json:"steps" doc:"Those inside steps and of on_error among them."`
	CreatedAt   time.Time `json:"created_at"`
	AppliedAt   time.Time `json:"applied_at" doc:"When the latest version was made."`
	UpdatedAt   time.Time `json:"updated_at"`
}

// Detail is a workflow with one version of its definition.
type Detail struct {
	View
	Shown      int             `json:"shown_version" doc:"The version of the definition below."`
	Definition json.RawMessage `json:"definition" doc:"In the canonical form."`
}

// Export is the text of one version.
type Export struct {
	Name    string `json:"name"`
	Version int    `json:"version"`
	Form    Form   `json:"form"`
	Text    string `json:"text"`
}

// Form is how a definition is written.
type Form string

// The forms of a definition.
const (
	Source Form = "source" // as it was applied
	YAML   Form = "yaml"   // canonical
	JSON   Form = "json"   // the same
)

func (r *record) view() View {
	return View{
		Name: r.Name, UserID: r.UserID, Status: r.Status, Version: r.Version, Description: r.Description, Trigger: r.Trigger, Steps: r.Steps,
		CreatedAt: r.CreatedAt, AppliedAt: r.latest().AppliedAt, UpdatedAt: r.UpdatedAt,
	}
}

func conflict(format string, args ...any) error {
	return &api.Problem{Title: http.StatusText(http.StatusConflict), Status: http.StatusConflict, Detail: fmt.Sprintf(format, args...)}
}

// asProblem gives what none of the codes is about a form of its own: what is not
// there, and what is wrong with a definition.
func asProblem(err error) error {
	var problems workflow.Problems
	switch {
	case errors.Is(err, errNone), errors.Is(err, errOld):
		return api.New(http.StatusNotFound, "", err.Error())
	case errors.As(err, &problems):
		p := api.New(http.StatusUnprocessableEntity, events.CodeInvalidParams, problems.Error())
		for _, one := range problems {
			p.Faults = append(p.Faults, api.Fault{Location: one.Path, Message: one.Message, Line: one.Line, Column: one.Column})
		}
		return p
	}
	return err
}
