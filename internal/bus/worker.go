package bus

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/rs/zerolog"
)

// Worker hands the messages of a topic to a function, many at a time: as many as
// the subscriber lets be in flight. It is what of Watermill's router is needed
// here. That one starts a goroutine for each message, whose stack has to grow
// anew, and leaves one behind when it cannot subscribe.
type Worker struct {
	Topic      string
	Subscriber message.Subscriber // closed when Run returns
	// Handle acknowledges a message with nil; after an error or a panic it is
	// delivered again.
	Handle message.NoPublishHandlerFunc
	// CloseTimeout bounds the wait for messages in hand after the end of Run's
	// context; it is not below the subscriber's own.
	CloseTimeout time.Duration
	Log          zerolog.Logger // of panics

	running atomic.Bool
}

// Run works until ctx ends and the messages in hand are handled. It returns an
// error only when it cannot go on.
func (w *Worker) Run(ctx context.Context) error {
	subscription, end := context.WithCancel(ctx)
	defer end()
	messages, err := w.Subscriber.Subscribe(subscription, w.Topic)
	if err != nil {
		closed := w.Subscriber.Close()
		if ctx.Err() != nil {
			return nil
		}
		return fmt.Errorf("consuming %s: %w", w.Topic, errors.Join(err, closed))
	}
	w.running.Store(true)
	done := make(chan struct{})
	go func() {
		defer close(done)
		w.spread(messages)
	}()
	select {
	case <-ctx.Done():
	case <-done: // the subscription has ended by itself
	}
	w.running.Store(false)
	end()
	err = w.Subscriber.Close() // waits for the messages in hand, as long as it may
	select {
	case <-done:
	case <-time.After(w.CloseTimeout):
		w.Log.Warn().Str("topic", w.Topic).Dur("after", w.CloseTimeout).Msg("messages in hand abandoned")
	}
	if ctx.Err() != nil {
		return nil
	}
	if err == nil {
		err = errors.New("the subscription has ended")
	}
	return fmt.Errorf("consuming %s: %w", w.Topic, err)
}

// maxIdle is how many goroutines stay when there is less to do.
const maxIdle = 64

// spread hands messages to goroutines that stay for the next one, and starts
// another when all are busy. It returns when the last one is done.
func (w *Worker) spread(messages <-chan *message.Message) {
	var all sync.WaitGroup
	defer all.Wait()
	idle := make(chan *message.Message)
	defer close(idle)
	var waiting atomic.Int32
	stay := func() (*message.Message, bool) {
		defer waiting.Add(-1)
		if waiting.Add(1) > maxIdle {
			return nil, false
		}
		msg, ok := <-idle
		return msg, ok
	}
	for msg := range messages {
		select {
		case idle <- msg:
		default:
			all.Go(func() {
				for next, ok := msg, true; ok; next, ok = stay() {
					w.handle(next)
				}
			})
		}
	}
}

func (w *Worker) handle(msg *message.Message) {
	defer func() {
		if cause := recover(); cause != nil {
			w.Log.Error().Str("topic", w.Topic).Str("message_id", msg.UUID).Str("stack", string(debug.Stack())).Interface("cause", cause).Msg("panic")
			msg.Nack()
		}
	}()
	if err := w.Handle(msg); err != nil {
		msg.Nack()
		return
	}
	msg.Ack()
}

// Ready says why no messages are being handled, nil while they are.
func (w *Worker) Ready() error {
	if !w.running.Load() {
		return errors.New("not consuming " + w.Topic + " yet")
	}
	return nil
}
