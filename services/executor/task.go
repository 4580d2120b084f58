package executor

import (
	"cmp"
	"strconv"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/nats-io/nats.go"

	"github.com/plugfn/plugfn/internal/tracing"
	"github.com/plugfn/plugfn/pkg/events"
)

// task is one delivery of a request from the stream.
type task struct {
	events.ActionRequest
	subject     string
	user        string // token of the user, as it stands in the subject
	provider    string // and of the provider
	storedAt    time.Time
	header      nats.Header
	fingerprint string // of the request as it was sent, before a connection was chosen for it
	sequence    uint64
	redelivered bool   // it may have been taken up before
	lane        string // the consumer that brought it; "": everybody's
	resumed     uint64 // the sequence of the message that waited and comes again as this one; 0: it is the first
	explicitID  bool   // the caller chose the id, so it may have been used before
	startedAt   time.Time
	parkedUntil time.Time // zero: it was not
	turnAt      time.Time // when it had its turn, of an action with an order
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
		ActionRequest: request, subject: received.Subject, header: header, startedAt: now, storedAt: received.Time,
		fingerprint: fingerprint(&request), sequence: received.Sequence, redelivered: received.Deliveries > 1, explicitID: request.ID != "",
		resumed: events.Resumed(header),
	}
	t.user, t.provider = events.SubjectTokens(received.Subject)
	if !t.explicitID {
		t.ID = derivedID(received)
	}
	return t, err
}

// describe says in the trace what is worked on.
func (t *task) describe(span tracing.Span) {
	span.Set("plugfn.request", t.ID)
	span.Set("plugfn.user", t.UserID)
	span.Set("plugfn.provider", t.Provider)
	span.Set("plugfn.action", t.Action)
}

// first is the sequence of the request's first message.
func (t *task) first() uint64 { return cmp.Or(t.resumed, t.sequence) }

// derivedID is the id of a request without one: the same at each redelivery,
// and another one if the stream is ever made anew and counts from 1 again.
func derivedID(r events.Received) string {
	return "seq-" + strconv.FormatUint(r.Sequence, 10) + "-" + strconv.FormatInt(r.Time.UnixMilli(), 36)
}

// resultSubject is where the result of t is published: under the tokens that
// the request was published under, whatever they stand for. An empty outcome is
// a wildcard, for any provider: an id is the user's, not the provider's.
func (t *task) resultSubject(outcome events.Outcome) string {
	if outcome == "" {
		return events.PrefixResult + t.user + ".*.*." + events.Token(t.ID)
	}
	return events.PrefixResult + t.user + "." + t.provider + "." + events.Token(string(outcome)) + "." + events.Token(t.ID)
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

// over is the result of a request that may have been tried, and failed.
func (t *task) over(now time.Time, e *entry, err *events.Error) *events.Result {
	r := t.failed(now, err)
	e.tell(r)
	return r
}

// succeeded is the result of a request that was carried out, without its data.
func (t *task) succeeded(now time.Time, e *entry) *events.Result {
	r := t.result(now, events.Succeeded)
	e.tell(r)
	return r
}

// lost is the result of a request that may have been sent, and of which nobody
// knows what came of it.
func (t *task) lost(now time.Time, e *entry) *events.Result {
	r := t.over(now, e, events.Errorf(events.CodeOutcomeUnknown, "the executor stopped after it had begun to send the request and before it had the answer; look at %s before sending it again", t.Provider))
	r.Outcome, r.Attempts = events.Unknown, max(1, e.Sent)
	return r
}
