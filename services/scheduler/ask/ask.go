// Package ask has actions done by the executor and waits for what they came to.
//
// Subjects:
//
//	plugfn.action.<user>.<provider>.<action>    published
//	plugfn.result.<user>.<provider>.*.<id>      subscribed to for as long as a request takes
//
// Allowed imports: pkg, internal; never another service.
package ask

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/plugfn/plugfn/pkg/events"
)

// Patience is how long a request may take: the executor may have to wait for its
// turn.
const Patience = time.Minute

// maxAnswer is how many bytes of data a result may have.
const maxAnswer = 64 << 20

// For publishes a request and waits for its result, at most Patience. A request
// whose id has a result already is not published. A result that is not a success
// is an error, that of an action an *events.Error.
func For(ctx context.Context, js jetstream.JetStream, r events.ActionRequest) (events.Result, error) {
	ctx, cancel := context.WithTimeout(ctx, Patience)
	defer cancel()
	r.Deadline = time.Now().Add(Patience)
	subject := events.PrefixResult + events.Token(r.UserID) + "." + events.Token(r.Provider) + ".*." + events.Token(r.ID)
	sub, err := js.Conn().SubscribeSync(subject)
	if err != nil {
		return events.Result{}, fmt.Errorf("listening for results: %w", err)
	}
	defer sub.Unsubscribe() //nolint:errcheck // the connection may be gone, and the subscription with it
	body, err := resultOf(ctx, js, subject)
	if errors.Is(err, jetstream.ErrMsgNotFound) {
		body, err = request(ctx, js, sub, &r)
	}
	if err != nil {
		return events.Result{}, fmt.Errorf("asking for %s: %w", r.Action, err)
	}
	result, err := events.ParseResult(body)
	switch {
	case err != nil:
		return result, err
	case result.Error != nil:
		return result, fmt.Errorf("%s: %w", r.Action, result.Error)
	case result.Outcome != events.Succeeded:
		return result, fmt.Errorf("%s ended as %s", r.Action, result.Outcome)
	}
	return result, events.Payloads{Conn: js.Conn()}.ResolveResult(ctx, &result, maxAnswer)
}

// resultOf reads a result that is there already.
func resultOf(ctx context.Context, js jetstream.JetStream, subject string) ([]byte, error) {
	stream, err := js.Stream(ctx, events.StreamResults)
	if err != nil {
		return nil, err
	}
	msg, err := stream.GetLastMsgForSubject(ctx, subject)
	if err != nil {
		return nil, err
	}
	return msg.Data, nil
}

func request(ctx context.Context, js jetstream.JetStream, sub *nats.Subscription, r *events.ActionRequest) ([]byte, error) {
	if _, err := js.PublishMsg(ctx, r.Msg(r.Subject()), jetstream.WithExpectStream(events.StreamActions)); err != nil {
		return nil, err
	}
	msg, err := sub.NextMsgWithContext(ctx)
	if err != nil {
		return nil, fmt.Errorf("no result: %w", err)
	}
	return msg.Data, nil
}
