package executor

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/nats-io/nuid"

	"github.com/plugfn/plugfn/pkg/events"
)

// lanes are those of all users, as this executor knows them.
type lanes struct {
	*worker
	kv jetstream.KeyValue

	making sync.Mutex // held while a lane is made

	mu   sync.Mutex
	of   map[string]*lane // :: user's token → his
	open sync.WaitGroup   // those that bring requests here
}

const (
	// maxLanes bounds how many users have one. The requests of further ones wait
	// among everybody's.
	maxLanes = 64
	// lanePatience is for how long the server keeps a consumer that has no record
	// yet: its maker went away in between.
	lanePatience = 5 * time.Minute
	// idleLane is after how long without a request a lane is closed.
	idleLane    = 2 * time.Second
	dropTimeout = 5 * time.Second
	laneRemains = time.Second // for how long its consumer is there when it is closed
	// lanePause is between two tries of what went wrong.
	lanePause = time.Second
)

// errTooManyLanes says that the requests of a user have to wait where they are.
var errTooManyLanes = errors.New("too many users have a lane")

// lookup returns a user's lane, nil if he has none.
func (s *lanes) lookup(user string) *lane {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.of[user]
}

// make gives a user a lane from a sequence on, unless he has one.
func (s *lanes) make(ctx context.Context, user string, from uint64) (*lane, error) {
	s.making.Lock()
	defer s.making.Unlock()
	if l := s.lookup(user); l != nil {
		return l, nil
	}
	s.mu.Lock()
	full := len(s.of) >= maxLanes
	s.mu.Unlock()
	if full {
		return nil, errTooManyLanes
	}
	record := laneRecord{Consumer: "executor-lane-" + nuid.Next(), From: from}
	if _, err := s.consumer(ctx, user, &record); err != nil {
		return nil, err
	}
	body, err := json.Marshal(record)
	if err != nil {
		return nil, fmt.Errorf("opening the lane of %s: %w", user, err)
	}
	revision, err := s.kv.Create(ctx, user, body)
	if isConflict(err) {
		s.drop(ctx, record.Consumer)
		return s.find(ctx, user)
	}
	if err != nil {
		return nil, fmt.Errorf("opening the lane of %s: %w", user, err)
	}
	s.Log.Info().Str("user", user).Uint64("from", from).Msg("user has a lane of its own")
	return s.add(user, record, revision), nil
}

// find takes a lane that another executor has made.
func (s *lanes) find(ctx context.Context, user string) (*lane, error) {
	entry, err := s.kv.Get(ctx, user)
	if err != nil {
		return nil, fmt.Errorf("looking for the lane of %s: %w", user, err)
	}
	l := s.heard(entry)
	if l == nil {
		return nil, errLaneClosed
	}
	return l, nil
}

// consumer makes the consumer of a lane, or finds the one that is there.
func (s *lanes) consumer(ctx context.Context, user string, record *laneRecord) (jetstream.Consumer, error) {
	c, err := s.JetStream.Consumer(ctx, events.StreamActions, record.Consumer)
	if errors.Is(err, jetstream.ErrConsumerNotFound) {
		c, err = s.JetStream.CreateConsumer(ctx, events.StreamActions, jetstream.ConsumerConfig{
			Durable: record.Consumer, FilterSubject: laneTopic(user), AckPolicy: jetstream.AckExplicitPolicy, AckWait: s.AckWait,
			DeliverPolicy: jetstream.DeliverByStartSequencePolicy, OptStartSeq: record.From,
			MaxAckPending: s.MaxInFlight, InactiveThreshold: lanePatience,
		})
	}
	if err != nil {
		return nil, fmt.Errorf("making the consumer of the lane of %s: %w", user, err)
	}
	return c, nil
}

func laneTopic(user string) string { return events.PrefixAction + user + ".>" }

// drop has the server remove the consumer of a lane that is closed: soon, when
// nobody asks it for requests any more.
func (s *lanes) drop(ctx context.Context, consumer string) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), dropTimeout)
	defer cancel()
	c, err := s.JetStream.Consumer(ctx, events.StreamActions, consumer)
	if err == nil {
		cfg := c.CachedInfo().Config
		cfg.InactiveThreshold = laneRemains
		_, err = s.JetStream.UpdateConsumer(ctx, events.StreamActions, cfg)
	}
	if err != nil && !errors.Is(err, jetstream.ErrConsumerNotFound) {
		s.Log.Warn().Err(err).Str("consumer", consumer).Msg("consumer of a closed lane not removed")
	}
}

// heard takes the newest record of a user, and returns his lane, nil if he has
// none now.
func (s *lanes) heard(entry jetstream.KeyValueEntry) *lane {
	if l := s.lookup(entry.Key()); l != nil {
		if l.heard(entry) {
			return l
		}
		s.remove(l)
	}
	var record laneRecord
	if entry.Operation() != jetstream.KeyValuePut || json.Unmarshal(entry.Value(), &record) != nil {
		return nil
	}
	return s.add(entry.Key(), record, entry.Revision())
}

// add has a lane bring requests here.
func (s *lanes) add(user string, record laneRecord, revision uint64) *lane {
	s.mu.Lock()
	defer s.mu.Unlock()
	if l := s.of[user]; l != nil {
		return l
	}
	ctx, end := context.WithCancel(s.intake)
	l := &lane{kv: s.kv, user: user, name: record.Consumer, from: record.From, through: record.Through, revision: revision, end: end}
	s.of[user] = l
	s.open.Go(func() { defer end(); s.bring(ctx, l, record) })
	return l
}

func (s *lanes) remove(l *lane) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.of[l.user] == l {
		delete(s.of, l.user)
	}
	l.end()
}

// run follows the records until intake ends, and then waits for what was
// brought.
func (s *lanes) run() {
	defer s.open.Wait()
	for s.intake.Err() == nil {
		err := s.follow(s.intake)
		if s.intake.Err() != nil {
			return
		}
		s.Log.Warn().Err(err).Msg("lanes not followed, trying again")
		_ = rest(s.intake, lanePause)
	}
}

func (s *lanes) follow(ctx context.Context) error {
	watch, err := s.kv.WatchAll(ctx)
	if err != nil {
		return err
	}
	defer func() { _ = watch.Stop() }()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case entry, ok := <-watch.Updates():
			if !ok {
				return errors.New("the watch ended")
			}
			if entry != nil {
				s.heard(entry)
			}
		}
	}
}

// bring executes what a lane brings until ctx ends or the lane is closed.
func (s *lanes) bring(ctx context.Context, l *lane, record laneRecord) {
	for ctx.Err() == nil {
		err := s.tryBring(ctx, l, record)
		if err == nil {
			break
		}
		if ctx.Err() == nil {
			s.Log.Warn().Err(err).Str("user", l.user).Msg("lane not followed, trying again")
		}
		_ = rest(ctx, lanePause)
	}
	l.mu.Lock()
	closed := l.closed
	l.mu.Unlock()
	if closed {
		s.drop(ctx, l.name)
		s.Log.Info().Str("user", l.user).Msg("lane of a user closed")
	}
}

// tryBring returns nil when the lane is closed.
func (s *lanes) tryBring(ctx context.Context, l *lane, record laneRecord) error {
	consumer, err := s.consumer(ctx, l.user, &record)
	if err != nil {
		return err
	}
	subscriber, err := events.NewSubscriber(events.SubscriberConfig{
		JetStream: s.JetStream, Stream: events.StreamActions, Durable: func(string) string { return l.name },
		MaxInFlight: s.MaxInFlight, Prefetch: -1, MaxAckPending: s.MaxInFlight,
		AckWait: s.AckWait, NakDelay: backoff, CloseTimeout: s.DrainTimeout + 5*time.Second, Log: s.Log,
	})
	if err != nil {
		return err
	}
	var inHand sync.WaitGroup
	defer inHand.Wait()
	defer subscriber.Close()
	brought, err := subscriber.Subscribe(ctx, laneTopic(l.user))
	if err != nil {
		return err
	}
	ticks := time.NewTicker(idleLane)
	defer ticks.Stop()
	for busy := true; ; {
		select {
		case msg, ok := <-brought:
			if !ok {
				return errors.New("the subscription ended")
			}
			busy = true
			inHand.Go(func() {
				if err := s.handleLane(msg, l.name); err != nil {
					msg.Nack()
				} else {
					msg.Ack()
				}
			})
		case <-ticks.C:
			if busy {
				busy = false
				continue
			}
			closed, err := l.close(ctx, consumer)
			if closed {
				s.remove(l)
				return nil
			}
			if err != nil && !errors.Is(err, context.Canceled) {
				s.Log.Debug().Err(err).Str("user", l.user).Msg("lane not closed")
			}
		}
	}
}
