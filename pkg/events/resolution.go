package events

import (
	"encoding/json"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"
)

// Resolved stands in the subject of a resolution where a result has its
// outcome. A resolution has one token more than a result, so that a filter for
// results does not match it.
const Resolved = "resolved"

// Resolution is what a person found out about a request whose result is
// unknown. There is at most one for a request id.
type Resolution struct {
	ID           string    `json:"id"`
	UserID       string    `json:"user_id"`
	Provider     string    `json:"provider"`
	Action       string    `json:"action"`
	ConnectionID string    `json:"connection_id,omitempty"`
	Outcome      Outcome   `json:"outcome"` // succeeded or failed
	Note         string    `json:"note,omitempty"`
	ResolvedAt   time.Time `json:"resolved_at"`
}

// Subject is where r is published:
// plugfn.result.<user>.<provider>.resolved.<id>.<outcome>.
func (r *Resolution) Subject() string {
	return ResultSubject(r.UserID, r.Provider, Resolved, r.ID) + "." + Token(string(r.Outcome))
}

// Msg makes the message that carries r: JSON in a CloudEvent.
func (r *Resolution) Msg() (*nats.Msg, error) {
	body, err := json.Marshal(r)
	if err != nil {
		return nil, fmt.Errorf("encoding the resolution of %s: %w", r.ID, err)
	}
	msg := nats.NewMsg(r.Subject())
	msg.Data = body
	e := Event{
		ID:              r.ID + "." + Resolved,
		Source:          "/plugfn/executor",
		Type:            "dev.plugfn.action." + Resolved,
		Subject:         r.Provider + "/" + r.Action,
		Time:            r.ResolvedAt,
		DataContentType: "application/json",
		UserID:          r.UserID,
		ConnectionID:    r.ConnectionID,
		Provider:        r.Provider,
	}
	e.setHeader(msg.Header)
	return msg, nil
}

// CancelSubject is where it is asked to cancel a request, with an empty body.
// The answer is a [Cancellation], or {"error": …}.
func CancelSubject(user, id string) string {
	return PrefixService + "executor.cancel." + Key(user, id)
}

// ResolveSubject is where it is asked to resolve a request. The body is
// {"outcome": "succeeded" or "failed", "note": …}; the answer is the
// [Resolution], or {"error": …}.
func ResolveSubject(user, id string) string {
	return PrefixService + "executor.resolve." + Key(user, id)
}

// FindSubject is where it is asked for the result of a request, with an empty
// body. The answer is a [FoundResult], or {"error": …}.
func FindSubject(user, id string) string {
	return PrefixService + "executor.result." + Key(user, id)
}

// FoundResult is the answer to the question for a result.
type FoundResult struct {
	Result *Result `json:"result"` // nil: there is none (yet)
}

// ProvidersSubject is where it is asked which providers there are, with an empty
// name, or what one of them offers; "*" stands for any. The body is empty. The
// answer is {"providers": […]} or one of these, or {"error": …}.
func ProvidersSubject(name string) string {
	if name != "*" {
		name = Token(name)
	}
	return PrefixService + "executor.providers." + name
}

// Cancellation is what became of the wish to cancel a request.
type Cancellation struct {
	State   CancelState `json:"state"`
	Outcome Outcome     `json:"outcome,omitempty"` // of a finished request
}

// CancelState says how far a request was when it was to be canceled.
type CancelState string

// The states. Only CancelDone and CancelNoted end in a result with the code
// canceled; where an attempt before may have been carried out, its outcome is
// unknown.
const (
	CancelDone     CancelState = "canceled"  // it waited; its result comes at once
	CancelNoted    CancelState = "noted"     // it waits in its queue, or is unknown: it is canceled when its turn comes, unless it is a read under way
	CancelTooLate  CancelState = "in_flight" // it is being sent
	CancelFinished CancelState = "finished"  // it has a result
)
