package bus

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/ThreeDotsLabs/watermill"
	"github.com/ThreeDotsLabs/watermill/message"
)

// Worker hands the messages of a topic to a handler, through Watermill's
// router: nil acknowledges a message, an error or a panic has it delivered
// again.
type Worker struct {
	Name       string
	Topic      string
	Subscriber message.Subscriber // closed when Run returns
	Handle     message.NoPublishHandlerFunc
	// CloseTimeout bounds the wait for handlers after the end of Run's context;
	// it is not below the subscriber's own.
	CloseTimeout time.Duration

	running atomic.Bool
}

// Run works until ctx ends and the messages in hand are handled. It returns an
// error only when it cannot go on.
func (w *Worker) Run(ctx context.Context) error {
	router, err := message.NewRouter(message.RouterConfig{CloseTimeout: w.CloseTimeout}, watermill.NopLogger{})
	if err != nil {
		return fmt.Errorf("consuming %s: %w", w.Topic, err)
	}
	router.AddConsumerHandler(w.Name, w.Topic, w.Subscriber, w.Handle)
	over := make(chan error, 1)
	go func() { over <- router.Run(ctx) }()
	defer w.running.Store(false)
	select {
	case <-router.Running():
		w.running.Store(true)
		err = <-over
	case err = <-over:
	}
	if err != nil && ctx.Err() == nil {
		return fmt.Errorf("consuming %s: %w", w.Topic, err)
	}
	return nil
}

// Ready says why no messages are being handled, nil while they are.
func (w *Worker) Ready() error {
	if !w.running.Load() {
		return errors.New("not consuming " + w.Topic + " yet")
	}
	return nil
}
