package executor

import (
	"strconv"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/nats-io/nats.go"

	"github.com/plugfn/plugfn/pkg/events"
)

// task is one delivery of a request from the stream.
type task struct {
	events.ActionRequest
	subject     string
	header      nats.Header
	fingerprint string // of the request as it was sent, before a connection was chosen for it
	sequence    uint64
	redelivered bool
	explicitID  bool // the caller chose the id, so it may have been used before
	startedAt   time.Time
}

// newTask reads a request. With an *events.Error the task still tells who asked
// for what, as far as it could be read; any other error means that the message
// did not come from a stream.
func newTask(msg *message.Message, now time.Time) (*task, error) {
	received, err := events.ReceivedOf(msg)
	if err != nil {
		return nil, err
	}
	header := events.HeaderOf(msg)
	request, err := events.ParseActionRequest(received.Subject, header, msg.Payload)
	t := &task{
		ActionRequest: request, subject: received.Subject, header: header, startedAt: now,
		fingerprint: fingerprint(&request), sequence: received.Sequence, redelivered: received.Deliveries > 1, explicitID: request.ID != "",
	}
	if !t.explicitID {
		t.ID = derivedID(received)
	}
	return t, err
}

// derivedID is the id of a request without one: the same at each redelivery,
// and another one if the stream is ever made anew and counts from 1 again.
func derivedID(r events.Received) string {
	return "seq-" + strconv.FormatUint(r.Sequence, 10) + "-" + strconv.FormatInt(r.Time.UnixMilli(), 36)
}

// result starts the result of t.
func (t *task) result(now time.Time, outcome events.Outcome) *events.Result {
	return &events.Result{
		ID: t.ID, UserID: t.UserID, Provider: t.Provider, Action: t.Action, ConnectionID: t.ConnectionID,
		Outcome: outcome, StartedAt: t.startedAt.UTC(), FinishedAt: now.UTC(),
		DurationMS: now.Sub(t.startedAt).Milliseconds(),
	}
}

// failed is the result of a request that did nothing.
func (t *task) failed(now time.Time, err *events.Error) *events.Result {
	r := t.result(now, events.Failed)
	r.Error = err
	return r
}
