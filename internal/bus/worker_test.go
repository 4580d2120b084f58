package bus_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/rs/zerolog"
	"go.uber.org/goleak"

	"github.com/plugfn/plugfn/internal/bus"
	"github.com/plugfn/plugfn/internal/bus/bustest"
	"github.com/plugfn/plugfn/pkg/events"
)

// newWorker makes a worker on the runs of workflows, where nobody else listens.
func newWorker(t *testing.T, b *bus.Bus, handle message.NoPublishHandlerFunc) *bus.Worker {
	t.Helper()
	subscriber, err := events.NewSubscriber(events.SubscriberConfig{
		JetStream: b.JetStream(), Stream: events.StreamRuns, Durable: func(string) string { return "worker" },
		MaxInFlight: 8, AckWait: time.Minute, CloseTimeout: time.Second,
		NakDelay: func(uint64) time.Duration { return time.Millisecond },
	})
	if err != nil {
		t.Fatal(err)
	}
	return &bus.Worker{
		Topic: events.PrefixRun + "_.worker.>", Subscriber: subscriber, Handle: handle, CloseTimeout: time.Minute, Log: zerolog.Nop(),
	}
}

func tell(t *testing.T, b *bus.Bus, n int) {
	t.Helper()
	for i := range n {
		if _, err := b.JetStream().Publish(t.Context(), events.PrefixRun+"_.worker.x", fmt.Append(nil, i)); err != nil {
			t.Error(err)
		}
	}
}

func TestWorkerRepeatsWhatFails(t *testing.T) {
	b := bustest.New(t)
	const n = 50
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	var times [n]atomic.Int32
	var done atomic.Int32
	w := newWorker(t, b, func(m *message.Message) error {
		var i int
		if _, err := fmt.Sscan(string(m.Payload), &i); err != nil {
			return err
		}
		switch time := times[i].Add(1); {
		case i%3 == 0 && time == 1:
			return errors.New("not now")
		case i%3 == 1 && time == 1:
			panic("not now")
		}
		if done.Add(1) == n {
			stop()
		}
		return nil
	})
	if w.Ready() == nil {
		t.Error("ready before Run")
	}
	tell(t, b, n)
	if err := w.Run(ctx); err != nil {
		t.Fatal(err)
	}
	if w.Ready() == nil {
		t.Error("ready after Run")
	}
	for i := range n {
		if got, want := times[i].Load(), int32(2); i%3 < 2 && got != want || i%3 == 2 && got != 1 {
			t.Errorf("message %d came %d times", i, got)
		}
	}
}

// The end of the context lets the message in hand end, and be acknowledged.
func TestWorkerDrains(t *testing.T) {
	b := bustest.New(t)
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	ended := false
	w := newWorker(t, b, func(*message.Message) error {
		stop()
		time.Sleep(20 * time.Millisecond)
		ended = true
		return nil
	})
	tell(t, b, 1)
	if err := w.Run(ctx); err != nil {
		t.Fatal(err)
	}
	if !ended {
		t.Error("Run returned before the message in hand was handled")
	}
	consumer, err := b.JetStream().Consumer(t.Context(), events.StreamRuns, "worker")
	if err != nil {
		t.Fatal(err)
	}
	for { // an acknowledgement has no answer
		info, err := consumer.Info(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if info.NumAckPending == 0 {
			break
		}
	}
}

func TestWorkerThatCannotSubscribe(t *testing.T) {
	b := bustest.New(t)
	defer goleak.VerifyNone(t, goleak.IgnoreCurrent())
	ended, stop := context.WithCancel(t.Context())
	stop()
	if err := newWorker(t, b, nil).Run(ended); err != nil {
		t.Errorf("its context had ended: %v", err)
	}
	w := newWorker(t, b, nil)
	w.Topic = "not a subject"
	if err := w.Run(t.Context()); err == nil || !strings.Contains(err.Error(), "not a subject") {
		t.Errorf("got %v", err)
	}
}
