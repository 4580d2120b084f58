package executor

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/plugfn/plugfn/internal/bus"
	"github.com/plugfn/plugfn/internal/commit"
	"github.com/plugfn/plugfn/internal/limiter"
	"github.com/plugfn/plugfn/pkg/events"
)

// journal keeps, per user and request id, which writes were handed to their
// provider, and what became of the attempts of a request that waits for another
// one. It is advanced by compare-and-swap only, so that of two executors with
// the same request one goes on and the other learns of it. How a request ended
// is not in here: that is the result itself.
type journal struct {
	kv    jetstream.KeyValue // read
	store keeper             // and written
}

// keeper stores messages.
type keeper interface {
	Publish(ctx context.Context, msg *nats.Msg) (commit.Ack, error)
	// Wait returns when nothing is on its way any more.
	Wait()
}

// journal opens the one in kv.
func (s *Service) journal(kv jetstream.KeyValue) (journal, error) {
	if s.keeper != nil {
		return journal{kv, s.keeper}, nil
	}
	store, err := commit.New(commit.Config{JetStream: s.JetStream, Grouped: s.GroupCommit})
	return journal{kv, store}, err
}

// entry is a claim on a request id: the request waits, or may have been sent. A
// read that has not waited has none.
type entry struct {
	Sequence    uint64    `json:"sequence"`              // of the request's message, which is redelivered until there is a result
	Lane        string    `json:"lane,omitempty"`        // the consumer that brought it; empty: everybody's
	Fingerprint string    `json:"fingerprint,omitempty"` // empty: canceled before it was seen
	SentAt      time.Time `json:"sent_at,omitzero"`      // of the attempt under way; zero: none is
	FirstSent   time.Time `json:"first_sent,omitzero"`   // the first attempt that may have arrived
	TakenUp     time.Time `json:"taken_up,omitzero"`     // when the request was stored first
	Attempts    int       `json:"attempts,omitempty"`    // so far, with the one under way
	Sent        int       `json:"sent,omitempty"`        // those of them that may have reached the provider
	Deferrals   int       `json:"deferrals,omitempty"`   // how often it was put off otherwise
	Looks       int       `json:"looks,omitempty"`       // for what the last attempt came to
	Doubt       bool      `json:"doubt,omitempty"`       // an attempt may have been carried out
	Wait        wait      `json:"wait,omitempty"`
	Until       time.Time `json:"until,omitzero"`
	Connection  string    `json:"connection,omitempty"` // that the attempts were made with
	Version     int       `json:"version,omitempty"`    // of its credential, the last that was refused
	Canceled    bool      `json:"canceled,omitempty"`

	Log    []events.Attempt `json:"log,omitempty"`    // the last attempts
	Held   int64            `json:"held,omitempty"`   // milliseconds by which limits hold up the next attempt
	Waited int64            `json:"waited,omitempty"` // and have held up those of before

	Permit *limiter.Permit `json:"permit,omitempty"` // of a slot that is the request's own, at Until; nil: none

	Queued bool `json:"queued,omitempty"` // its turn for a slot was far ahead

	Orphaned bool `json:"orphaned,omitempty"` // the executor of the last attempt went away, which is not the provider's fault

	Last *events.Error `json:"last,omitempty"` // what the last attempt came to

	revision uint64 // 0: not in the bucket yet
}

// wait is what a request waits for.
type wait string

const (
	waitTime   wait = "time"   // Plugfn-Not-Before
	waitRetry  wait = "retry"  // the next attempt
	waitSlot   wait = "slot"   // a provider that wants to be asked less
	waitLook   wait = "look"   // a look whether the last attempt was carried out
	waitTurn   wait = "turn"   // a request that is to be carried out before
	waitReauth wait = "reauth" // a connection that works again
)

// attempted reports whether an attempt is under way, or was when its executor
// went away.
func (e *entry) attempted() bool { return !e.SentAt.IsZero() }

// hold notes that limits hold up the next attempt.
func (e *entry) hold(d time.Duration) { e.Held += max(0, d.Milliseconds()) }

// note adds an attempt to the log.
func (e *entry) note(a events.Attempt) {
	a.WaitedMS = e.Held
	e.Waited, e.Held = e.Waited+e.Held, 0
	if len(e.Log) >= events.MaxAttemptLog {
		e.Log = slices.Delete(e.Log, 0, len(e.Log)-events.MaxAttemptLog+1)
	}
	e.Log = append(e.Log, a)
}

// tell puts what is known of the attempts into a result.
func (e *entry) tell(r *events.Result) {
	r.Attempts, r.AttemptLog, r.WaitedMS = e.Sent, e.Log, e.Waited+e.Held
}

// errTaken says that another executor advanced the entry first.
var errTaken = errors.New("journal entry was advanced by another executor")

func (j journal) key(t *task) string { return events.Key(t.UserID, t.ID) }

// load returns the entry of t, nil when there is none.
func (j journal) load(ctx context.Context, t *task) (*entry, error) { return j.get(ctx, j.key(t)) }

func (j journal) get(ctx context.Context, key string) (*entry, error) {
	kve, err := j.kv.Get(ctx, key)
	if errors.Is(err, jetstream.ErrKeyNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("reading the journal: %w", err)
	}
	e := entry{revision: kve.Revision()}
	if err := json.Unmarshal(kve.Value(), &e); err != nil {
		return nil, fmt.Errorf("reading the journal: entry %s: %w", kve.Key(), err)
	}
	return &e, nil
}

// save writes e as the successor of the revision it was read at.
func (j journal) save(ctx context.Context, t *task, e *entry) error { return j.put(ctx, j.key(t), e) }

func (j journal) put(ctx context.Context, key string, e *entry) error {
	body, err := json.Marshal(e)
	if err != nil {
		return fmt.Errorf("writing the journal: %w", err)
	}
	msg := &nats.Msg{Subject: "$KV." + bus.BucketJournal + "." + key, Data: body, Header: nats.Header{
		jetstream.ExpectedLastSubjSeqHeader: {strconv.FormatUint(e.revision, 10)},
	}}
	ctx, cancel := context.WithTimeout(ctx, storeTimeout)
	defer cancel()
	ack, err := j.store.Publish(ctx, msg)
	if isConflict(err) {
		return errTaken
	}
	if err != nil {
		return fmt.Errorf("writing the journal: %w", err)
	}
	e.revision = ack.Sequence
	return nil
}

// errCodeInProcess is nats-server's JSStreamWrongLastSequenceConstantErr: on a
// cluster, another change of the same subject is on its way.
const errCodeInProcess jetstream.ErrorCode = 10164

func isConflict(err error) bool {
	var api *jetstream.APIError
	return errors.Is(err, jetstream.ErrKeyExists) || errors.As(err, &api) &&
		(api.ErrorCode == jetstream.JSErrCodeStreamWrongLastSequence || api.ErrorCode == errCodeInProcess)
}

// fingerprint tells two requests apart that bear the same id.
func fingerprint(r *events.ActionRequest) string {
	text := make([]byte, 0, 128+len(r.Params))
	for _, part := range [...]string{r.Provider, r.Action, r.ConnectionID, string(r.Params)} {
		text = append(append(strconv.AppendInt(text, int64(len(part)), 10), ':'), part...)
	}
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:12])
}
