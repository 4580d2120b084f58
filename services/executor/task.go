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
	sequence    uint64
	redelivered bool
	explicitID  bool // the caller chose the id, so it may have been used before
	startedAt   time.Time
}

// newTask reads a request. With an error the task still tells who asked for
// what, as far as it could be read.
func newTask(msg *message.Message, now time.Time) (*task, error) {
	header := nats.Header{}
	for name, value := range msg.Metadata {
		header[name] = []string{value}
	}
	subject := msg.Metadata.Get(events.MetaSubject)
	request, err := events.ParseActionRequest(subject, header, msg.Payload)
	t := &task{ActionRequest: request, subject: subject, header: header, startedAt: now}
	t.sequence, _ = strconv.ParseUint(msg.Metadata.Get(events.MetaSequence), 10, 64)
	deliveries, _ := strconv.ParseUint(msg.Metadata.Get(events.MetaDeliveries), 10, 64)
	t.redelivered = deliveries > 1
	t.explicitID = t.ID != ""
	if !t.explicitID {
		t.ID = derivedID(t.sequence, msg.Metadata.Get(events.MetaTimestamp))
	}
	return t, err
}

// derivedID is the id of a request without one: the same at each redelivery,
// and another one if the stream is ever made anew and counts from 1 again.
func derivedID(sequence uint64, stored string) string {
	at, err := time.Parse(time.RFC3339Nano, stored)
	if err != nil {
		return "seq-" + strconv.FormatUint(sequence, 10)
	}
	return "seq-" + strconv.FormatUint(sequence, 10) + "-" + strconv.FormatInt(at.UnixMilli(), 36)
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
