package runs

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/plugfn/plugfn/internal/bus"
)

const (
	maxTries  = 50        // of a change by compare-and-swap
	maxRecord = 512 << 10 // bytes of values in a record; a message has a megabyte

	// headerState says how a run stands, for whoever counts runs without reading
	// them.
	headerState = "Plugfn-State"
)

var (
	errTaken = errors.New("it was changed meanwhile")
	errNone  = errors.New("there is no such run; see: plugfn run list")
)

// store keeps the records of runs, and what else is changed by compare-and-swap.
type store struct {
	conn *nats.Conn
	js   jetstream.JetStream
	// Records that were read or written last are remembered: most are changed
	// several times in a row by one process.
	recent recent[held]
}

// held is a record as it was read or written.
type held struct {
	*record
	revision uint64
	// settled says that all effects of the record are done.
	settled bool
	// fresh says that no later record was there when this one was read.
	fresh bool
}

// get reads the record at key: one that may be old, unless fresh is wanted.
// errNone where there is none.
func (s *store) get(ctx context.Context, key string, fresh bool) (held, error) {
	if known, ok := s.recent.get(key); ok && !fresh {
		return known, nil
	}
	value, revision, err := s.read(ctx, bus.BucketRuns, key)
	if err != nil {
		return held{}, err
	}
	r, err := decode(key, value)
	if err != nil {
		return held{}, err
	}
	h := held{record: r, revision: revision, fresh: true}
	if known, ok := s.recent.get(key); ok && known.revision == revision {
		h.settled = known.settled
	}
	s.recent.put(key, held{record: r, revision: revision, settled: h.settled})
	return h, nil
}

// settled notes that the effects of a record are done.
func (s *store) settled(key string, h held) {
	s.recent.put(key, held{record: h.record, revision: h.revision, settled: true})
}

// put stores r unless somebody else has since revision, which is errTaken; with
// 0 there must be none. A run that has ended is kept for a while.
func (s *store) put(ctx context.Context, r *record, revision uint64, keep time.Duration) (held, error) {
	value, err := json.Marshal(r)
	if err != nil {
		return held{}, fmt.Errorf("encoding run %s: %w", r.State.Run, err)
	}
	if !r.State.Status.Ended() {
		keep = 0
	}
	key := r.key()
	written, err := s.write(ctx, bus.BucketRuns, key, value, revision, keep, nats.Header{headerState: {string(r.State.Status)}})
	if err != nil {
		s.recent.drop(key)
		return held{}, err
	}
	return held{record: r, revision: written, fresh: true}, nil
}

// write stores a value of a bucket unless somebody else has since revision.
func (s *store) write(ctx context.Context, bucket, key string, value []byte, revision uint64, keep time.Duration, header nats.Header) (uint64, error) {
	msg := &nats.Msg{Subject: "$KV." + bucket + "." + key, Data: value, Header: header}
	opts := []jetstream.PublishOpt{jetstream.WithExpectLastSequencePerSubject(revision), jetstream.WithExpectStream("KV_" + bucket)}
	if keep > 0 {
		opts = append(opts, jetstream.WithMsgTTL(keep))
	}
	ack, err := s.js.PublishMsg(ctx, msg, opts...)
	var api *jetstream.APIError
	if errors.As(err, &api) && api.ErrorCode == jetstream.JSErrCodeStreamWrongLastSequence {
		return 0, errTaken
	}
	if err != nil {
		return 0, fmt.Errorf("storing %s in %s: %w", key, bucket, err)
	}
	return ack.Sequence, nil
}

// read is the value at a key as its leader has it: what was acknowledged before
// is in it. A read of any other copy may be older.
func (s *store) read(ctx context.Context, bucket, key string) ([]byte, uint64, error) {
	m, err := s.ask(ctx, "KV_"+bucket, messageRequest{LastFor: "$KV." + bucket + "." + key})
	switch {
	case errors.Is(err, errNone):
		return nil, 0, errNone
	case err != nil:
		return nil, 0, fmt.Errorf("reading %s of %s: %w", key, bucket, err)
	}
	if op := m.Header.Get("KV-Operation"); op == "DEL" || op == "PURGE" {
		return nil, m.sequence, errNone
	}
	return m.Data, m.sequence, nil
}

// messageRequest says which message of a stream is wanted.
type messageRequest struct {
	Sequence uint64 `json:"seq,omitempty"`
	LastFor  string `json:"last_by_subj,omitempty"`
	NextFor  string `json:"next_by_subj,omitempty"`
}

type stored struct {
	*nats.Msg
	sequence uint64
	time     time.Time
}

// ask gets a message from the leader of a stream; errNone where there is none.
func (s *store) ask(ctx context.Context, stream string, wanted messageRequest) (stored, error) {
	body, err := json.Marshal(wanted)
	if err != nil {
		return stored{}, err
	}
	reply, err := s.conn.RequestWithContext(ctx, jetstream.DefaultAPIPrefix+"STREAM.MSG.GET."+stream, body)
	if err != nil {
		return stored{}, err
	}
	var answer struct {
		Error   *jetstream.APIError `json:"error"`
		Message *struct {
			Subject  string    `json:"subject"`
			Sequence uint64    `json:"seq"`
			Header   []byte    `json:"hdrs"`
			Data     []byte    `json:"data"`
			Time     time.Time `json:"time"`
		} `json:"message"`
	}
	switch err := json.Unmarshal(reply.Data, &answer); {
	case err != nil:
		return stored{}, err
	case answer.Error != nil && answer.Error.ErrorCode == jetstream.JSErrCodeMessageNotFound:
		return stored{}, errNone
	case answer.Error != nil:
		return stored{}, answer.Error
	case answer.Message == nil:
		return stored{}, errors.New("the answer has no message")
	}
	m := answer.Message
	header, err := nats.DecodeHeadersMsg(m.Header)
	if len(m.Header) > 0 && err != nil {
		return stored{}, err
	}
	return stored{&nats.Msg{Subject: m.Subject, Header: header, Data: m.Data}, m.Sequence, m.Time}, nil
}

// recent remembers the values that were used last, at most twice its size.
type recent[V any] struct {
	size     int
	mu       sync.Mutex
	new, old map[string]V
}

func (r *recent[V]) get(key string) (V, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	v, ok := r.new[key]
	if !ok {
		if v, ok = r.old[key]; ok {
			r.add(key, v)
		}
	}
	return v, ok
}

func (r *recent[V]) put(key string, v V) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.add(key, v)
}

func (r *recent[V]) add(key string, v V) {
	if r.new == nil || len(r.new) >= r.size {
		r.new, r.old = map[string]V{}, r.new
	}
	r.new[key] = v
}

func (r *recent[V]) drop(key string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.new, key)
	delete(r.old, key)
}

// locks has one of several goroutines work on a key at a time.
type locks struct {
	mu    sync.Mutex
	taken map[string]*lock
}

type lock struct {
	sync.Mutex
	wanted int
}

// take waits for the key; release gives it back.
func (l *locks) take(key string) (release func()) {
	l.mu.Lock()
	if l.taken == nil {
		l.taken = map[string]*lock{}
	}
	one := l.taken[key]
	if one == nil {
		one = &lock{}
		l.taken[key] = one
	}
	one.wanted++
	l.mu.Unlock()
	one.Lock()
	return func() {
		one.Unlock()
		l.mu.Lock()
		defer l.mu.Unlock()
		if one.wanted--; one.wanted == 0 {
			delete(l.taken, key)
		}
	}
}
