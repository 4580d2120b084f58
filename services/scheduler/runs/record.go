package runs

import (
	"crypto/sha256"
	"encoding/base32"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/plugfn/plugfn/internal/id"
	"github.com/plugfn/plugfn/pkg/events"
	"github.com/plugfn/plugfn/services/scheduler/runs/machine"
)

// record is the value of a key in the bucket of runs.
type record struct {
	State  *machine.State `json:"state"`
	Cause  Cause          `json:"cause"`
	Parent *parent        `json:"parent,omitempty"`
	// Trace is where the run began, as it travels; "": in no trace.
	Trace string `json:"trace,omitempty"`
	// Depth counts the runs and events of runs that led to this one.
	Depth int `json:"depth,omitempty"`
	// Seen is the last event that came before the run.
	Seen uint64 `json:"seen,omitempty"`
	// Turn is the key of the queue that the run is in; "": there is none.
	Turn string `json:"turn,omitempty"`
	// Place is its place in that.
	Place uint64 `json:"place,omitempty"`
	// Nonce makes message ids that nobody can guess: a stream drops the second
	// message with an id, whoever sent the first.
	Nonce     string           `json:"nonce"`
	CreatedAt time.Time        `json:"created_at"`
	Kept      map[string]int64 `json:"kept,omitempty"` // :: SHA-256 of a value that is kept apart → its bytes
}

// Cause is what a run was started by.
type Cause struct {
	Kind CauseKind `json:"kind" enum:"manual,event,schedule,run,call,replay"`
	ID   string    `json:"id,omitempty" doc:"Of the event, the tick or the run; of manual, the key that was given."`
	// Source is that of the event.
	Source string `json:"source,omitempty"`
}

// CauseKind is a kind of causes.
type CauseKind string

// The kinds of causes.
const (
	ByHand     CauseKind = "manual"
	ByEvent    CauseKind = "event"
	BySchedule CauseKind = "schedule"
	ByRun      CauseKind = "run"  // the end of another run
	ByCall     CauseKind = "call" // a step of another run
	ByReplay   CauseKind = "replay"
)

// parent is the step that called a run.
type parent struct {
	Run      string `json:"run"`
	Workflow string `json:"workflow"`
	ID       string `json:"id"`             // of the effect
	Wait     bool   `json:"wait,omitempty"` // until the end
}

const (
	idPrefix = "run_"
	wordSize = 8 // characters for the workflow in an id
)

func letters(parts ...string) string {
	sum := sha256.Sum256([]byte(strings.Join(parts, "\x00")))
	return strings.ToLower(base32.HexEncoding.WithPadding(base32.NoPadding).EncodeToString(sum[:]))
}

// The id of a run is run_<workflow>_<what tells it from others>, each of them
// letters and digits, so that its key follows from the user and the id.

// newID names a run that is like no other.
func newID(workflow string) string {
	return runID(workflow, strings.TrimPrefix(id.New("run"), idPrefix))
}

// derivedID names the run of a cause: the same whoever starts it, and whenever.
func derivedID(user, workflow string, c Cause) string {
	return runID(workflow, letters(user, workflow, string(c.Kind), c.ID, c.Source)[:id.Size])
}

func runID(workflow, rest string) string {
	return idPrefix + letters(workflow)[:wordSize] + "_" + rest
}

// requestSize is how long the ids are of what a run asks for.
const (
	hashSize    = 16
	runSize     = len(idPrefix) + wordSize + 1 + id.Size
	requestSize = runSize + 1 + hashSize
)

// requestID names what an effect of a run asks for. It is one token of a subject
// as it stands.
func requestID(run, effect string) string { return run + "-" + letters(effect)[:hashSize] }

// runOf is the run of a request id; not ok when it is none of these.
func runOf(request string) (run string, ok bool) {
	if len(request) != requestSize || !strings.HasPrefix(request, idPrefix) || request[runSize] != '-' {
		return "", false
	}
	return request[:runSize], true
}

// keyOf is the key of a run of a user; not ok when it is no id of a run. The user
// may be "*" for any.
func keyOf(user, run string) (key string, ok bool) {
	if user != "*" {
		user = events.Token(user)
	}
	return keyAt(user, run)
}

// keyAt is keyOf for the token of a user.
func keyAt(token, run string) (key string, ok bool) {
	if len(run) != runSize || !strings.HasPrefix(run, idPrefix) || run[len(idPrefix)+wordSize] != '_' {
		return "", false
	}
	for _, c := range []byte(run[len(idPrefix):]) {
		if (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '_' {
			return "", false
		}
	}
	return token + "." + run[len(idPrefix):len(idPrefix)+wordSize] + "." + run[len(idPrefix)+wordSize+1:], true
}

func (r *record) key() string {
	key, _ := keyOf(r.State.User, r.State.Run)
	return key
}

// messageID is the id by which a stream drops repetitions of something of the run.
func (r *record) messageID(of string) string { return r.State.Run + ":" + of + ":" + r.Nonce }

// waiting is the step that waits for the answer to a request; "" where none does.
func (r *record) waiting(request string) (effect string) {
	for key, e := range r.State.Steps {
		if e.Status != machine.Waiting {
			continue
		}
		if effect := machine.EffectID(key, e); requestID(r.State.Run, effect) == request {
			return effect
		}
	}
	return ""
}

// decode reads the record at key. One that was copied from another key is
// refused.
func decode(key string, value []byte) (*record, error) {
	r := &record{}
	if err := json.Unmarshal(value, r); err != nil {
		return nil, fmt.Errorf("the run is not JSON of the known form: %w", err)
	}
	if r.State == nil || r.key() != key {
		return nil, errors.New("the run belongs to another key")
	}
	return r, nil
}
