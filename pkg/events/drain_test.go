package events

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"
)

// TestSubscriberDrain closes a subscriber with one handler running and nine
// messages waiting: those go to the next subscriber long before AckWait, in
// their order, and the handler finishes.
func TestSubscriberDrain(t *testing.T) {
	js := startBroker(t).connect(t)
	addStream(t, js, "drain")
	bodies := numbered(10)
	store(t, js, "drain.a", bodies...)
	cfg := SubscriberConfig{JetStream: js, Durable: durable("d"), MaxInFlight: 1, AckWait: time.Hour}
	closing := newTestSubscriber(t, cfg)
	messages := subscribe(t, closing, "drain.a")
	running := receive(t, messages)
	eventually(t, "all are held", func() bool { return consumerInfo(t, js, "DRAIN", "d").NumAckPending == 10 })

	closed := make(chan struct{})
	go func() {
		defer close(closed)
		closeSubscriber(t, closing)
	}()
	receiveBodies(t, subscribe(t, newTestSubscriber(t, cfg), "drain.a"), bodies[1:]...)
	select {
	case <-closed:
		t.Fatal("closed under a running handler")
	case <-running.Context().Done():
		t.Fatal("the running handler was told to end")
	default:
	}
	running.Ack()
	<-closed
	if m, ok := <-messages; ok {
		t.Errorf("the closed channel brings %q", m.Payload)
	}
	eventually(t, "all are acked", func() bool { return consumerInfo(t, js, "DRAIN", "d").AckFloor.Stream == 10 })
}

// TestSubscriberNakWhileClosing has a message that is nacked on the way out come
// to the next subscriber at once, however long it would rest otherwise.
func TestSubscriberNakWhileClosing(t *testing.T) {
	js := startBroker(t).connect(t)
	addStream(t, js, "leave")
	bodies := numbered(2)
	store(t, js, "leave.a", bodies...)
	cfg := SubscriberConfig{
		JetStream: js, Durable: durable("d"), MaxInFlight: 1, AckWait: time.Hour,
		NakDelay: func(uint64) time.Duration { return time.Hour },
	}
	closing := newTestSubscriber(t, cfg)
	running := receive(t, subscribe(t, closing, "leave.a"))
	eventually(t, "both are held", func() bool { return consumerInfo(t, js, "LEAVE", "d").NumAckPending == 2 })
	closed := make(chan struct{})
	go func() {
		defer close(closed)
		closeSubscriber(t, closing)
	}()
	next := subscribe(t, newTestSubscriber(t, cfg), "leave.a")
	receiveBodies(t, next, bodies[1])
	running.Nack()
	receiveBodies(t, next, bodies[0])
	<-closed
}

// TestSubscriberDrainUnderLoad moves a backlog through many short-lived
// subscribers: with an AckWait of an hour, nothing may be lost on the way out.
func TestSubscriberDrainUnderLoad(t *testing.T) {
	t.Parallel()
	js := startBroker(t).connect(t)
	addStream(t, js, "load")
	pub := newTestPublisher(t, js)
	const total = 3000
	if err := pub.Publish("load.a", blanks(total)...); err != nil {
		t.Fatal(err)
	}
	seen := map[uint64]bool{}
	for len(seen) < total {
		sub := newTestSubscriber(t, SubscriberConfig{JetStream: js, Durable: durable("d"), MaxInFlight: 200, AckWait: time.Hour})
		messages := subscribe(t, sub, "load.a")
		for range min(100, total-len(seen)) {
			m := receive(t, messages)
			r, err := ReceivedOf(m)
			if err != nil {
				t.Fatal(err)
			}
			if seen[r.Sequence] {
				t.Fatalf("message %d comes again after its ack", r.Sequence)
			}
			seen[r.Sequence] = true
			m.Ack()
		}
		closeSubscriber(t, sub)
	}
	eventually(t, "all are acked", func() bool { return consumerInfo(t, js, "LOAD", "d").AckFloor.Stream == total })
}

// TestSubscriberAbandons closes over a handler that does not end.
func TestSubscriberAbandons(t *testing.T) {
	t.Parallel()
	js := startBroker(t).connect(t)
	addStream(t, js, "abandon")
	store(t, js, "abandon.a", "x")
	cfg := SubscriberConfig{JetStream: js, Durable: durable("d"), AckWait: 200 * time.Millisecond, CloseTimeout: 50 * time.Millisecond}
	sub := newTestSubscriber(t, cfg)
	stuck := receive(t, subscribe(t, sub, "abandon.a"))
	closeSubscriber(t, sub)
	if !errors.Is(stuck.Context().Err(), context.Canceled) {
		t.Errorf("context of the abandoned handler: %v", stuck.Context().Err())
	}
	again := receive(t, subscribe(t, newTestSubscriber(t, cfg), "abandon.a"))
	if got := deliveries(t, again); got < 2 {
		t.Errorf("it comes for time %d, want the second at least", got)
	}
	again.Ack()
}

func TestSubscriberDiscardsEphemeral(t *testing.T) {
	js := startBroker(t).connect(t)
	stream := addStream(t, js, "gone")
	sub := newTestSubscriber(t, SubscriberConfig{JetStream: js})
	subscribe(t, sub, "gone.a")
	ctx, cancel := context.WithCancel(t.Context())
	ended, err := sub.Subscribe(ctx, "gone.b")
	if err != nil {
		t.Fatal(err)
	}
	count := func() int {
		info, err := stream.Info(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		return info.State.Consumers
	}
	if n := count(); n != 2 {
		t.Errorf("%d consumers, want 2", n)
	}
	cancel()
	<-ended
	if n := count(); n != 1 {
		t.Errorf("%d consumers after one subscription ended, want 1", n)
	}
	closeSubscriber(t, sub)
	if n := count(); n != 0 {
		t.Errorf("%d consumers after Close, want none", n)
	}
}

// TestSubscriberCloseRaces closes while subscriptions begin: each of them either
// fails or brings a channel that closes.
func TestSubscriberCloseRaces(t *testing.T) {
	js := startBroker(t).connect(t)
	addStream(t, js, "race")
	store(t, js, "race.a", numbered(20)...)
	for i := range 20 {
		sub := newTestSubscriber(t, SubscriberConfig{JetStream: js, Durable: durable("d"), CloseTimeout: time.Millisecond})
		var calls sync.WaitGroup
		for range 4 {
			calls.Go(func() {
				messages, err := sub.Subscribe(context.Background(), "race.a")
				if err != nil {
					if !errors.Is(err, errSubscriberClosed) {
						t.Errorf("Subscribe: %v", err)
					}
					return
				}
				for range messages { // never acked
				}
			})
		}
		for range 2 {
			calls.Go(func() {
				time.Sleep(time.Duration(i) * 100 * time.Microsecond)
				closeSubscriber(t, sub)
			})
		}
		calls.Wait()
		if _, err := sub.Subscribe(t.Context(), "race.a"); !errors.Is(err, errSubscriberClosed) {
			t.Errorf("Subscribe after Close: %v", err)
		}
		if err := sub.SubscribeInitialize("race.a"); !errors.Is(err, errSubscriberClosed) {
			t.Errorf("SubscribeInitialize after Close: %v", err)
		}
	}
}

// TestSubscriberEndsWithConnection closes the connection for good.
func TestSubscriberEndsWithConnection(t *testing.T) {
	t.Parallel()
	b := startBroker(t)
	js := b.connect(t)
	addStream(t, js, "severed")
	store(t, js, "severed.a", "x")
	messages := subscribe(t, newTestSubscriber(t, SubscriberConfig{JetStream: js}), "severed.a")
	m := receive(t, messages)
	js.Conn().Close()
	m.Ack()
	select {
	case m, ok := <-messages:
		if ok {
			t.Errorf("got %q", m.Payload)
		}
	case <-time.After(patience):
		t.Error("the channel stays open")
	}
}
