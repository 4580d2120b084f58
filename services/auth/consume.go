package auth

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"sync"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/plugfn/plugfn/pkg/events"
)

const (
	subjectDue = events.PrefixConnection + "*.*.due"
	dueDurable = "auth-due"

	dueInFlight = 128 // jobs of a process at once
	dueAckWait  = 15 * time.Second
	dueDrain    = 10 * time.Second
	duePatience = 5 * time.Second // how long a job waits for a refresh before it makes room

	lateAfter  = 2 * time.Minute // a connection that is due for longer has lost its schedule
	lateWithin = 5 * time.Minute // and is looked at within this, with all the others
)

// jobs does what schedules ask for. Firing is the bus's; nothing is scanned.
type jobs struct {
	*refresher
	js jetstream.JetStream
}

// run does jobs until ctx ends and those in hand are done.
func (j *jobs) run(ctx context.Context) error {
	subscriber, err := events.NewSubscriber(events.SubscriberConfig{
		JetStream:    j.js,
		Stream:       events.StreamEvents,
		Durable:      func(string) string { return dueDurable },
		MaxInFlight:  dueInFlight,
		AckWait:      dueAckWait,
		NakDelay:     func(deliveries uint64) time.Duration { return min(time.Second<<min(deliveries, 6), time.Minute) },
		CloseTimeout: dueDrain,
		Log:          j.log,
	})
	if err != nil {
		return err
	}
	messages, err := subscriber.Subscribe(ctx, subjectDue)
	if ctx.Err() != nil {
		return nil
	}
	if err != nil {
		return err
	}
	var inHand sync.WaitGroup
	inHand.Go(func() { j.catchUp(ctx) })
	for msg := range messages { // no more than dueInFlight at once
		inHand.Go(func() { j.settle(msg) })
	}
	inHand.Wait()
	return nil
}

// settle does a job and tells the bus about it. Whatever goes wrong in it stays
// in it.
func (j *jobs) settle(msg *message.Message) {
	defer func() {
		if cause := recover(); cause != nil {
			j.log.Error().Str("cause", fmt.Sprintf("%T", cause)).Bytes("stack", debug.Stack()).Msg("job panicked")
			msg.Nack()
		}
	}()
	if err := j.handle(msg); err != nil {
		msg.Nack()
		return
	}
	msg.Ack()
}

// handle does a job; after an error it is delivered again.
func (j *jobs) handle(msg *message.Message) error {
	received, err := events.ReceivedOf(msg)
	if err != nil {
		return fmt.Errorf("reading a job: %w", err)
	}
	given, err := parseJob(received.Subject, msg.Payload)
	if err != nil {
		j.log.Warn().Err(err).Uint64("sequence", received.Sequence).Msg("job dropped")
		return nil
	}
	ctx := msg.Context()
	switch given.Job {
	case jobRefresh:
		err = j.refreshDue(ctx, given)
	case jobRevoke:
		err = j.revoke(ctx, given)
	}
	if err != nil {
		j.log.Warn().Err(err).Str("job", given.Job).Str("connection", given.ConnectionID).Msg("job not done, trying again")
		return err
	}
	return nil
}

// catchUp has connections looked at soon that should have been long ago: their
// schedules were lost, or fired while no service ran.
func (j *jobs) catchUp(ctx context.Context) {
	select {
	case <-j.index.loaded:
	case <-ctx.Done():
		return
	}
	var late []job
	j.index.of("", "", func(e *indexed) {
		if !e.due.IsZero() && e.due.Before(j.now().Add(-lateAfter)) {
			late = append(late, e.job)
		}
	})
	for _, one := range late {
		if ctx.Err() != nil {
			return
		}
		if err := j.park(ctx, one, j.now().Add(chance(lateWithin))); err != nil {
			j.log.Warn().Err(err).Str("connection", one.ConnectionID).Msg("late connection not scheduled")
		}
	}
	if len(late) > 0 {
		j.log.Info().Int("connections", len(late)).Msg("late connections scheduled")
	}
}

// refreshDue refreshes a connection if that is due, and sees to it that it is
// looked at again. A schedule that came too early, or twice, does no harm.
func (f *refresher) refreshDue(ctx context.Context, given job) error {
	entry, err := f.kv.Get(ctx, given.key())
	if errors.Is(err, jetstream.ErrKeyNotFound) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("reading the record: %w", err)
	}
	k, err := f.read(entry)
	if err != nil {
		return nil // logged; who connects again schedules anew
	}
	due := k.dueAt(f.rules(&k.record))
	switch now := f.now(); {
	case due.IsZero():
		return nil
	case k.Refresh.Holder == "" && now.Before(due):
		return f.scheduleNext(ctx, &k.record)
	case !k.Renewable:
		return f.giveUp(ctx, &k, failure{Class: failDead, Code: codeExpired})
	default:
		return f.refreshSoon(ctx, &k)
	}
}

// refreshSoon refreshes, but does not wait for long: who is slow holds no place
// among the jobs.
func (f *refresher) refreshSoon(ctx context.Context, k *kept) error {
	waiting, cancel := context.WithTimeout(ctx, duePatience)
	defer cancel()
	_, err := f.renewed(waiting, k.key, want{after: k.Version})
	var later *postponed
	switch {
	case err == nil, isFinal(err):
		return nil
	case errors.As(err, &later) && later.noted:
		return nil // it has its schedule
	case errors.As(err, &later):
		return f.park(ctx, refreshJob(&k.record), later.until.Add(chance(breakShortest/4)))
	case waiting.Err() != nil && ctx.Err() == nil:
		return f.park(ctx, refreshJob(&k.record), f.now().Add(f.timing.lease))
	default:
		return err
	}
}
