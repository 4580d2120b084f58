package plugfn

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/plugfn/plugfn/pkg/events"
)

const (
	// usualLook is how often whoever waits for an answer looks whether it was
	// lost on the way, as when a connection broke.
	usualLook    = 5 * time.Second
	storeTimeout = 10 * time.Second // for the bus to store a request, where the context has no deadline
)

// Do has an action carried out and waits for its result, until ctx ends. A result
// that did not succeed is returned with its [*Error].
//
// When ctx ends first, the error is [ErrPending] and the reason of ctx; the
// request is still wanted, and the result that is returned has its id.
func (c *Client) Do(ctx context.Context, r Request) (Result, error) {
	if deadline, ok := ctx.Deadline(); ok && r.Deadline.IsZero() {
		r.Deadline = deadline
	}
	w, err := c.wire(ctx, &r)
	if err != nil {
		return Result{}, err
	}
	inbox, answer, leave := c.answers.expect()
	defer leave()
	msg := w.Msg(events.CallSubject(w.UserID, w.Provider, w.Action))
	msg.Reply = inbox
	if err := c.conn.PublishMsg(msg); err != nil {
		return idOnly(w), sendError(w, err)
	}
	return c.wait(ctx, w.UserID, w.ID, answer)
}

// wait returns the answer to a call, or the result of the request where the
// answer was lost.
func (c *Client) wait(ctx context.Context, user, id string, answer <-chan *nats.Msg) (Result, error) {
	look := time.NewTicker(c.lookAgain)
	defer look.Stop()
	for {
		select {
		case msg := <-answer:
			if isNobody(msg) {
				return Result{ID: id, UserID: user}, fmt.Errorf("plugfn: request %s: %w", id, errors.Join(ErrUnavailable, ErrNobody))
			}
			r, err := events.ParseResult(msg.Data)
			if err != nil {
				return Result{ID: id, UserID: user}, fmt.Errorf("plugfn: request %s: reading the answer: %w", id, err)
			}
			return c.whole(ctx, r)
		case <-look.C:
			if r, err := c.find(ctx, user, id); err == nil && r != nil {
				return c.whole(ctx, *r)
			}
		case <-ctx.Done():
			return Result{ID: id, UserID: user}, fmt.Errorf("plugfn: request %s: %w: %w", id, ErrPending, context.Cause(ctx))
		case <-c.closing.Done():
			return Result{ID: id, UserID: user}, fmt.Errorf("plugfn: request %s: %w: the client was closed", id, ErrPending)
		}
	}
}

// isNobody tells the server's word that nobody listens.
func isNobody(msg *nats.Msg) bool {
	return len(msg.Data) == 0 && msg.Header.Get("Status") == "503"
}

// whole fetches the data of a result that was too long for it, and tells whether
// it succeeded.
func (c *Client) whole(ctx context.Context, r Result) (Result, error) {
	if c.maxData < 0 {
		return r, errorOf(&r)
	}
	if err := (events.Payloads{Conn: c.conn}).ResolveResult(ctx, &r, c.maxData); err != nil {
		return r, fmt.Errorf("plugfn: %w", err)
	}
	return r, errorOf(&r)
}

func idOnly(w *events.ActionRequest) Result {
	return Result{ID: w.ID, UserID: w.UserID, Provider: w.Provider, Action: w.Action}
}

// Submit stores a request and returns its id. It is carried out whatever becomes
// of this program; [Client.Await] returns its result. ctx bounds the storing
// alone: a deadline of the request is Request.Deadline.
func (c *Client) Submit(ctx context.Context, r Request) (id string, err error) {
	w, err := c.wire(ctx, &r)
	if err != nil {
		return "", err
	}
	if _, ok := ctx.Deadline(); !ok {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, storeTimeout)
		defer cancel()
	}
	_, err = c.js.PublishMsg(ctx, w.Msg(w.Subject()), jetstream.WithExpectStream(events.StreamActions))
	if err != nil {
		return w.ID, sendError(w, err)
	}
	return w.ID, nil
}

// sendError says why a request was not stored, or may not have been: to send it
// again with its id does no harm.
func sendError(w *events.ActionRequest, err error) error {
	if errors.Is(err, nats.ErrMaxPayload) {
		return &Error{
			Code: events.CodeInvalidParams, ID: w.ID, Provider: w.Provider, Action: w.Action, Outcome: events.Failed,
			Message: fmt.Sprintf("the parameters have %d bytes, more than a message takes; a file is sent with Upload", len(w.Params)),
		}
	}
	return fmt.Errorf("plugfn: request %s was not stored: %w", w.ID, errors.Join(ErrUnavailable, err))
}

// Await returns the result of a request that was sent before, and waits for it
// until ctx ends, when the error is [ErrPending]. A result that did not succeed
// is returned with its [*Error].
func (c *Client) Await(ctx context.Context, user, id string) (Result, error) {
	// Listening comes first, so that no result falls between.
	coming := make(chan *nats.Msg, 1)
	sub, err := c.conn.Subscribe(resultSubject(user, id), func(msg *nats.Msg) {
		select {
		case coming <- msg:
		default: // it is a repetition
		}
	})
	if err == nil {
		defer func() { _ = sub.Unsubscribe() }() // the connection is closed
		err = c.flush(ctx)
	}
	if err != nil && ctx.Err() == nil {
		return Result{ID: id, UserID: user}, fmt.Errorf("plugfn: waiting for %s: %w", id, errors.Join(ErrUnavailable, err))
	}
	if r, err := c.find(ctx, user, id); err != nil && ctx.Err() == nil || r != nil {
		if r == nil {
			return Result{ID: id, UserID: user}, err
		}
		return c.whole(ctx, *r)
	}
	return c.wait(ctx, user, id, coming)
}

// flush returns once the server has taken what was sent so far.
func (c *Client) flush(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, answerTimeout)
	defer cancel()
	return c.conn.FlushWithContext(ctx)
}

// Find returns the result of a request that was sent before, and false where it
// has none (yet). It waits for nothing.
func (c *Client) Find(ctx context.Context, user, id string) (Result, bool, error) {
	r, err := c.find(ctx, user, id)
	if r == nil || err != nil {
		return Result{ID: id, UserID: user}, false, err
	}
	whole, err := c.whole(ctx, *r)
	return whole, true, err
}

func (c *Client) find(ctx context.Context, user, id string) (*Result, error) {
	var found events.FoundResult
	err := c.ask(ctx, events.FindSubject(user, id), nil, &found)
	return found.Result, err
}

// resultSubject is where the result of a request comes.
func resultSubject(user, id string) string {
	return events.PrefixResult + events.Token(user) + ".*.*." + events.Token(id)
}

// Cancel takes back a request that was not sent to its provider yet. What became
// of that is in the answer: only after [events.CancelDone] and, in the end,
// [events.CancelNoted] the result has the code canceled.
func (c *Client) Cancel(ctx context.Context, user, id string) (events.Cancellation, error) {
	var answer events.Cancellation
	err := c.ask(ctx, events.CancelSubject(user, id), nil, &answer)
	return answer, err
}

// ask makes one request to a service on the bus, whose body and answer are JSON.
func (c *Client) ask(ctx context.Context, subject string, in, out any) error {
	var body []byte
	if in != nil {
		var err error
		if body, err = json.Marshal(in); err != nil {
			return fmt.Errorf("plugfn: encoding the question: %w", err)
		}
	}
	return c.askMsg(ctx, &nats.Msg{Subject: subject, Data: body}, out)
}

func (c *Client) askMsg(ctx context.Context, question *nats.Msg, out any) error {
	asking, cancel := context.WithTimeout(ctx, answerTimeout)
	defer cancel()
	msg, err := c.conn.RequestMsgWithContext(asking, question)
	switch {
	case ctx.Err() != nil:
		return fmt.Errorf("plugfn: %w", context.Cause(ctx))
	case errors.Is(err, nats.ErrNoResponders):
		return fmt.Errorf("plugfn: %s: %w", question.Subject, errors.Join(ErrUnavailable, ErrNobody))
	case err != nil:
		return fmt.Errorf("plugfn: no answer from %s: %w", question.Subject, errors.Join(ErrUnavailable, err))
	}
	var refusal struct {
		ID    string   `json:"id"` // what has one is an answer: a failed run has an error, too
		Error *problem `json:"error"`
	}
	if err := json.Unmarshal(msg.Data, &refusal); err != nil {
		return fmt.Errorf("plugfn: reading the answer: %w", err)
	}
	if refusal.Error != nil && refusal.ID == "" {
		return refusal.Error.asError(0)
	}
	if out == nil {
		return nil
	}
	if err := json.Unmarshal(msg.Data, out); err != nil {
		return fmt.Errorf("plugfn: reading the answer: %w", err)
	}
	return nil
}
