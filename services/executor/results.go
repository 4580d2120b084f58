package executor

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/plugfn/plugfn/internal/commit"
)

// headerFingerprint tells, on a result, which request it answers: another one
// with the same id is a mistake of the caller.
const headerFingerprint = "Plugfn-Fingerprint"

// results is the stream of results. It takes one for each user and request id,
// whatever the outcome and however long after the first.
type results struct {
	store  *commit.Store
	stream jetstream.Stream
}

// storeTimeout is how long the bus has for a write before it is asked again.
const storeTimeout = 5 * time.Second

// results opens those in stream.
func (s *Service) results(stream jetstream.Stream) (results, error) {
	store, err := commit.New(commit.Config{JetStream: s.JetStream, Grouped: s.GroupCommit})
	return results{store, stream}, err
}

// add stores a result, or returns errTaken when t has one. The provider has
// answered, so it does not give up while ctx lasts: a bus that is away or full
// holds its callers back, and no outcome is lost for it.
func (r results) add(ctx context.Context, t *task, msg *nats.Msg) error {
	msg.Header[jetstream.ExpectedLastSubjSeqSubjHeader] = []string{t.resultSubject("")}
	msg.Header[jetstream.ExpectedLastSubjSeqHeader] = []string{"0"}
	for pause := 10 * time.Millisecond; ; pause = min(2*pause, time.Second) {
		err := r.put(ctx, msg)
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

func (r results) put(ctx context.Context, msg *nats.Msg) error {
	ctx, cancel := context.WithTimeout(ctx, storeTimeout)
	defer cancel()
	_, err := r.store.Publish(ctx, msg)
	return err
}

// find returns the result of t, nil when there is none.
func (r results) find(ctx context.Context, t *task) (*nats.Msg, error) {
	return r.last(ctx, t.resultSubject(""))
}
