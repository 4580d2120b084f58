package commit

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// The headers of an atomic batch (NATS ADR-50).
const (
	headerBatch    = "Nats-Batch-Id"
	headerSequence = "Nats-Batch-Sequence"
	headerCommit   = "Nats-Batch-Commit"
)

const (
	// errInProcess is nats-server's JSStreamDuplicateMessageConflict.
	errInProcess jetstream.ErrorCode = 10158
	// inProcessPause is between two looks at a message that is being stored.
	inProcessPause = 50 * time.Millisecond
)

// answer is what a stream says to a message.
type answer struct {
	jetstream.PubAck
	Count int                 `json:"count"` // of a batch
	Error *jetstream.APIError `json:"error"`
}

func read(reply *nats.Msg) (answer, error) {
	if a, ok := readPlain(reply.Data); ok {
		return a, nil
	}
	var a answer
	if err := json.Unmarshal(reply.Data, &a); err != nil || a.Error == nil && a.Stream == "" {
		return a, errors.New("the answer is no acknowledgement")
	}
	if a.Error != nil {
		return a, a.Error
	}
	return a, nil
}

// readPlain reads what nearly every answer is: {"stream":"NAME","seq":1}. It is
// done for every message.
func readPlain(text []byte) (a answer, ok bool) {
	rest, ok := bytes.CutPrefix(text, []byte(`{"stream":"`))
	if !ok {
		return a, false
	}
	_, rest, ok = bytes.Cut(rest, []byte(`","seq":`))
	if !ok {
		return a, false
	}
	for i, c := range rest {
		if c == '}' && i > 0 && i == len(rest)-1 {
			return a, true
		}
		if c < '0' || c > '9' {
			return a, false
		}
		a.Sequence = a.Sequence*10 + uint64(c-'0')
	}
	return a, false
}

// single stores one message.
func (s *Store) single(ctx context.Context, msg *nats.Msg) (Ack, error) {
	if s.Grouped {
		s.recent.add(identity(msg))
	}
	for {
		a, err := s.ask(ctx, msg)
		if !isInProcess(err) {
			return Ack{Sequence: a.Sequence, Duplicate: a.Duplicate}, err
		}
		// The same id is being stored at this moment: look again whether it was.
		select {
		case <-ctx.Done():
			return Ack{}, fmt.Errorf("waiting for the same message to be stored: %w", ctx.Err())
		case <-time.After(inProcessPause):
		}
	}
}

func isInProcess(err error) bool {
	if err == nil {
		return false
	}
	var api *jetstream.APIError
	return errors.As(err, &api) && api.ErrorCode == errInProcess
}

func (s *Store) ask(ctx context.Context, msg *nats.Msg) (answer, error) {
	reply, err := s.JetStream.Conn().RequestMsgWithContext(ctx, msg)
	if err != nil {
		return answer{}, err
	}
	return read(reply)
}

// batch stores messages at once, or singly those that must not be in a batch and
// all if it is refused.
func (s *Store) batch(all []*entry) {
	together, apart := s.sort(all)
	if len(together) < batchFrom {
		together, apart = nil, slices.Concat(together, apart)
	}
	if len(together) > 0 {
		first, err := s.publishBatch(together)
		var api *jetstream.APIError
		switch {
		case err == nil:
			for i, e := range together {
				e.settle(Ack{Sequence: first + uint64(i)}, nil)
			}
		case errors.As(err, &api):
			apart = slices.Concat(together, apart)
		default:
			for _, e := range together {
				e.settle(Ack{}, fmt.Errorf("storing %d messages at once: %w", len(together), err))
			}
		}
	}
	s.oneByOne(apart)
}

// sort tells the messages that a batch may hold from those that would have it
// refused. Who waits no more is in neither.
func (s *Store) sort(all []*entry) (together, apart []*entry) {
	for _, e := range all {
		id := identity(e.msg)
		switch {
		case e.ctx.Err() != nil:
			e.settle(Ack{}, e.ctx.Err())
		case s.recent.has(id):
			apart = append(apart, e)
		default:
			s.recent.add(id)
			together = append(together, e)
		}
	}
	return together, apart
}

// identity is what a stream may have only one message of: its id, or the subjects
// that it is to be the next message of. Of two with the same one in a batch the
// server would refuse both, or, where the subjects are a wildcard, neither.
func identity(msg *nats.Msg) string {
	if id := msg.Header.Get(jetstream.MsgIDHeader); id != "" {
		return id
	}
	subject := msg.Header.Get(jetstream.ExpectedLastSubjSeqSubjHeader)
	if subject == "" {
		subject = msg.Subject
	}
	if expected := msg.Header.Get(jetstream.ExpectedLastSubjSeqHeader); expected != "" {
		return expected + " " + subject
	}
	return ""
}

// oneByOne stores messages singly, in their order but for some at once.
func (s *Store) oneByOne(all []*entry) {
	var some sync.WaitGroup
	places := make(chan struct{}, maxSingles)
	for _, e := range all {
		places <- struct{}{}
		some.Go(func() {
			e.settle(s.single(e.ctx, e.msg))
			<-places
		})
	}
	some.Wait()
}

// publishBatch stores all or none, one after the other from first on. Only the
// answer to the last message counts: it is an error if any before did not
// arrive.
func (s *Store) publishBatch(all []*entry) (first uint64, err error) {
	ctx, cancel := context.WithDeadline(context.Background(), latest(all))
	defer cancel()
	conn, id := s.JetStream.Conn(), rand.Text()
	for i, e := range all {
		msg := numbered(e.msg, id, i+1)
		if i < len(all)-1 {
			if err := conn.PublishMsg(msg); err != nil {
				return 0, err
			}
			continue
		}
		msg.Header[headerCommit] = []string{"1"}
		a, err := s.ask(ctx, msg)
		if err != nil {
			return 0, err
		}
		if a.Count != len(all) {
			return 0, fmt.Errorf("%d of %d messages are stored", a.Count, len(all))
		}
		first = a.Sequence + 1 - uint64(a.Count)
	}
	return first, nil
}

// numbered is msg as a part of a batch.
func numbered(msg *nats.Msg, id string, n int) *nats.Msg {
	const added = 3
	h := make(nats.Header, len(msg.Header)+added)
	maps.Copy(h, msg.Header)
	h[headerBatch] = []string{id}
	h[headerSequence] = []string{strconv.Itoa(n)}
	return &nats.Msg{Subject: msg.Subject, Header: h, Data: msg.Data}
}

// latest is until when somebody waits.
func latest(all []*entry) time.Time {
	limit := time.Now().Add(batchTimeout)
	var last time.Time
	for _, e := range all {
		t, ok := e.ctx.Deadline()
		if !ok || t.After(limit) {
			return limit
		}
		if t.After(last) {
			last = t
		}
	}
	return last
}
