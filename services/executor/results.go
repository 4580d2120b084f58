package executor

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// headerFingerprint tells, on a result, which request it answers: another one
// with the same id is a mistake of the caller.
const headerFingerprint = "Plugfn-Fingerprint"

// results is the stream of results. It takes one for each user and request id,
// whatever the outcome and however long after the first.
type results struct {
	js     jetstream.JetStream
	stream jetstream.Stream
}

// add stores a result, or returns errTaken when t has one. The provider has
// answered, so it does not give up while ctx lasts: a bus that is away or full
// holds its callers back, and no outcome is lost for it.
func (r results) add(ctx context.Context, t *task, msg *nats.Msg) error {
	for pause := 10 * time.Millisecond; ; pause = min(2*pause, time.Second) {
		_, err := r.js.PublishMsg(ctx, msg, jetstream.WithExpectLastSequenceForSubject(0, t.resultSubject("")))
		switch {
		case err == nil:
			return nil
		case isConflict(err):
			return errTaken
		case errors.Is(err, nats.ErrMaxPayload):
			return fmt.Errorf("publishing the result: %w", err)
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("publishing the result: %w", err)
		case <-time.After(pause):
		}
	}
}

// find returns the result of t, nil when there is none.
func (r results) find(ctx context.Context, t *task) (*nats.Msg, error) {
	return r.last(ctx, t.resultSubject(""))
}
