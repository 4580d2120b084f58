package executor

import (
	"context"
	"errors"
	"fmt"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/plugfn/plugfn/pkg/events"
)

// headerFingerprint tells, on a result, which request it answers: another one
// with the same id is a mistake of the caller.
const headerFingerprint = "Plugfn-Fingerprint"

// results is the stream of results. It takes one for each user, provider and
// request id, whatever the outcome and however long after the first.
type results struct {
	js     jetstream.JetStream
	stream jetstream.Stream
}

// subjects is where the result of t is, whatever its outcome.
func (results) subjects(t *task) string {
	return events.PrefixResult + events.Token(t.UserID) + "." + events.Token(t.Provider) + ".*." + events.Token(t.ID)
}

// add stores a result, or returns errTaken when t has one.
func (r results) add(ctx context.Context, t *task, msg *nats.Msg) error {
	_, err := r.js.PublishMsg(ctx, msg, jetstream.WithExpectLastSequenceForSubject(0, r.subjects(t)))
	if isConflict(err) {
		return errTaken
	}
	if err != nil {
		return fmt.Errorf("publishing the result: %w", err)
	}
	return nil
}

// find returns the result of t, nil when there is none.
func (r results) find(ctx context.Context, t *task) (*nats.Msg, error) {
	raw, err := r.stream.GetLastMsgForSubject(ctx, r.subjects(t))
	if errors.Is(err, jetstream.ErrMsgNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("looking for an earlier result: %w", err)
	}
	return &nats.Msg{Subject: raw.Subject, Header: raw.Header, Data: raw.Data}, nil
}
