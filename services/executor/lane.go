package executor

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"

	"github.com/nats-io/nats.go/jetstream"
)

// lane is a user's own way through the stream of requests, for one who has so
// many that others would wait behind them. From a place in the stream on, his
// requests are passed over where everybody's are taken up, and a consumer of his
// own brings them.
//
// Nothing is passed over that the lane would not bring: before a request is, the
// record of the lane says so, and it is only removed by who knows that all of
// that has been brought. Both are a compare-and-swap of the one record, so it
// does not matter how late an executor hears of either. A request that is brought
// twice, because one executor had taken it up before it heard of the lane, is one
// request as ever: its id has one claim and one result.
type lane struct {
	kv   jetstream.KeyValue
	user string // token
	name string // of the consumer
	from uint64 // the first sequence that may be passed over

	mu       sync.Mutex
	through  uint64        // the last that may have been passed over, as far as is known here
	wanted   uint64        // the last that is to be
	revision uint64        // of the record with that
	closed   bool          // there is no such record any more
	writing  chan struct{} // closed when the write under way is over; nil: none is
	end      context.CancelFunc
}

// laneRecord is a lane in bus.BucketLanes, under the user's token.
type laneRecord struct {
	Consumer string `json:"consumer"`
	From     uint64 `json:"from"`
	Through  uint64 `json:"through"`
}

// errLaneClosed says that a lane brings nothing any more.
var errLaneClosed = errors.New("the lane is closed")

// cover has the lane answer for the request at a sequence: it may be passed over
// once this returns nil. Many wait for the same write.
func (l *lane) cover(ctx context.Context, sequence uint64) error {
	const tries = 10
	for range tries {
		l.mu.Lock()
		switch {
		case sequence < l.from:
			l.mu.Unlock()
			return errLaneClosed
		case l.through >= sequence:
			l.mu.Unlock()
			return nil
		case l.closed:
			l.mu.Unlock()
			return errLaneClosed
		}
		l.wanted = max(l.wanted, sequence)
		writing := l.writing
		if writing == nil {
			l.writing = make(chan struct{})
			l.mu.Unlock()
			if err := l.write(ctx); err != nil {
				return err
			}
			continue
		}
		l.mu.Unlock()
		select {
		case <-writing:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return fmt.Errorf("the lane of %s is changed too often", l.user)
}

// write moves the record on to what is wanted.
func (l *lane) write(ctx context.Context) error {
	l.mu.Lock()
	record, revision := laneRecord{l.name, l.from, l.wanted}, l.revision
	l.mu.Unlock()
	body, err := json.Marshal(record)
	if err == nil {
		revision, err = l.kv.Update(ctx, l.user, body, revision)
	}
	if isConflict(err) {
		var entry jetstream.KeyValueEntry
		if entry, err = l.kv.Get(ctx, l.user); err == nil {
			l.heard(entry)
		} else if errors.Is(err, jetstream.ErrKeyNotFound) {
			l.heard(nil)
			err = nil
		}
	} else if err == nil {
		l.advance(record.Through, revision)
	}
	l.mu.Lock()
	close(l.writing)
	l.writing = nil
	l.mu.Unlock()
	if err != nil {
		return fmt.Errorf("writing down the lane of %s: %w", l.user, err)
	}
	return nil
}

func (l *lane) advance(through, revision uint64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if revision > l.revision {
		l.through, l.revision = through, revision
	}
}

// heard takes the newest record of the user; nil or one of another lane: this
// one is closed. It reports whether the lane is still open.
func (l *lane) heard(entry jetstream.KeyValueEntry) bool {
	var record laneRecord
	if entry != nil && entry.Operation() == jetstream.KeyValuePut && json.Unmarshal(entry.Value(), &record) == nil && record.Consumer == l.name {
		l.advance(record.Through, entry.Revision())
		return true
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if entry != nil && entry.Revision() <= l.revision { // older than what is known
		return true
	}
	l.closed = true
	return false
}

// close closes the lane if all that was passed over has been brought and
// settled. It reports whether the lane is closed now.
func (l *lane) close(ctx context.Context, consumer jetstream.Consumer) (bool, error) {
	l.mu.Lock()
	through, revision, closed := l.through, l.revision, l.closed
	l.mu.Unlock()
	if closed {
		return true, nil
	}
	info, err := consumer.Info(ctx)
	if err != nil {
		return false, fmt.Errorf("looking how far the lane of %s is: %w", l.user, err)
	}
	if info.AckFloor.Stream < through || info.NumAckPending > 0 {
		return false, nil
	}
	err = l.kv.Delete(ctx, l.user, jetstream.LastRevision(revision))
	if isConflict(err) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("closing the lane of %s: %w", l.user, err)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.closed = true
	return true, nil
}
