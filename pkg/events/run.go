package events

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strconv"
	"time"

	"github.com/nats-io/nats.go"
)

// RunChange is one transition of a run of a workflow, and all that happened in
// it. There is one for each transition, so that the last one of a run says how it
// ended. Two with the same run and number are the same.
type RunChange struct {
	Run        string          `json:"run"`
	Workflow   string          `json:"workflow"`
	UserID     string          `json:"user_id"`
	Version    int             `json:"version"`              // of the workflow
	Number     int             `json:"number"`               // of the transition, from 1; 0: the run waits for its turn
	State      string          `json:"state"`                // pending, running, waiting, completed, failed or canceled
	Reason     string          `json:"reason,omitempty"`     // of completed: filtered; of canceled: what was said
	Error      *RunError       `json:"error,omitempty"`      // of failed
	Try        int             `json:"try,omitempty"`        // retries so far
	At         time.Time       `json:"at"`                   // of the transition
	StartedAt  time.Time       `json:"started_at,omitzero"`  // of the run
	EndedAt    time.Time       `json:"ended_at,omitzero"`    // of the run
	DurationMS int64           `json:"duration_ms,omitzero"` // of a run that has ended, since it was started
	Steps      []StepChange    `json:"steps,omitempty"`      // in the order in which they happened
	Output     json.RawMessage `json:"output,omitempty"`     // of completed, what the run responded, unless it is longer than 64 KiB
}

// StepChange is what happened to a step in a transition.
type StepChange struct {
	Step  string    `json:"step"`  // its id, in an iteration each[3].id
	State string    `json:"state"` // waiting, running, completed, failed, canceled or skipped
	Error *RunError `json:"error,omitempty"`
}

// RunError is why a run or a step of one has failed.
type RunError struct {
	Step    string `json:"step,omitempty"` // its id; "" of the run itself
	Code    string `json:"code"`           // that of an action's result, or of the run
	Message string `json:"message"`
}

// RunSubject is where transitions of a run are published; in the place of state
// and run may stand * to subscribe.
func RunSubject(user, workflow, state, run string) string {
	return PrefixRun + Token(user) + "." + wild(workflow) + "." + wild(state) + "." + wild(run)
}

// RunSignalSubject is where it is said what happens to the runs of a workflow.
func RunSignalSubject(user, workflow string) string {
	return PrefixRun + Token(user) + "." + Token(workflow) + ".signal"
}

func wild(s string) string {
	if s == "*" {
		return s
	}
	return Token(s)
}

// Msg makes the message that carries c: JSON in a CloudEvent.
func (c *RunChange) Msg() (*nats.Msg, error) {
	var body bytes.Buffer
	encoder := json.NewEncoder(&body)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(c); err != nil {
		return nil, fmt.Errorf("encoding transition %d of run %s: %w", c.Number, c.Run, err)
	}
	msg := nats.NewMsg(RunSubject(c.UserID, c.Workflow, c.State, c.Run))
	msg.Data = bytes.TrimSuffix(body.Bytes(), []byte("\n"))
	e := Event{
		ID:              c.Run + "." + strconv.Itoa(c.Number),
		Source:          "/plugfn/scheduler",
		Type:            "dev.plugfn.run." + c.State,
		Subject:         c.Workflow + "/" + c.Run,
		Time:            c.At,
		DataContentType: "application/json",
		UserID:          c.UserID,
	}
	e.setHeader(msg.Header)
	return msg, nil
}

// ParseRunChange reads the body of such a message.
func ParseRunChange(body []byte) (RunChange, error) {
	var c RunChange
	if err := json.Unmarshal(body, &c); err != nil {
		return RunChange{}, fmt.Errorf("transition of a run is not JSON: %w", err)
	}
	return c, nil
}
