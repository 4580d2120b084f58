package scheduler

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/rs/zerolog"
	"go.uber.org/goleak"

	"github.com/plugfn/plugfn/internal/bus"
	"github.com/plugfn/plugfn/internal/bus/bustest"
	"github.com/plugfn/plugfn/pkg/events"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// start runs n schedulers on b until the end of the test.
func start(t *testing.T, b *bus.Bus, n int, firings Firings) {
	t.Helper()
	for range n {
		s, err := New(Config{JetStream: b.JetStream(), Firings: firings, Log: zerolog.Nop(), AckWait: time.Second})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- s.Run(ctx) }()
		t.Cleanup(func() {
			cancel()
			if err := <-done; err != nil {
				t.Errorf("Run: %v", err)
			}
		})
	}
}

func park(t *testing.T, b *bus.Bus, id string, at time.Time) {
	t.Helper()
	err := b.Park(t.Context(), bus.Later{
		Kind: bus.KindAction, User: "u 1", ID: id, At: at, Target: events.ActionSubject("u 1", "github", "issues.create"),
		Header: nats.Header{events.HeaderID: {id}}, Data: []byte(`{"id":"` + id + `"}`),
	})
	if err != nil {
		t.Fatal(err)
	}
}

func state(t *testing.T, b *bus.Bus, stream string) jetstream.StreamState {
	t.Helper()
	s, err := b.JetStream().Stream(t.Context(), stream)
	if err != nil {
		t.Fatal(err)
	}
	return s.CachedInfo().State
}

func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); !ok(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("waited in vain for %s", what)
		}
	}
}

func TestDueRequestReachesItsTargetOnce(t *testing.T) {
	b := bustest.New(t)
	start(t, b, 2, b)
	at := time.Now().Add(600 * time.Millisecond)
	const n = 50
	for i := range n {
		park(t, b, fmt.Sprint("r", i), at)
	}
	eventually(t, "all requests", func() bool { return state(t, b, events.StreamActions).Msgs >= n })
	stream, err := b.JetStream().Stream(t.Context(), events.StreamActions)
	if err != nil {
		t.Fatal(err)
	}
	seen := map[string]bool{}
	for seq := uint64(1); seq <= n; seq++ {
		msg, err := stream.GetMsg(t.Context(), seq)
		if err != nil {
			t.Fatal(err)
		}
		id := msg.Header.Get(events.HeaderID)
		if seen[id] || msg.Subject != "plugfn.action.u=201.github.issues.create" || string(msg.Data) != `{"id":"`+id+`"}` {
			t.Errorf("request %q on %s: %s", id, msg.Subject, msg.Data)
		}
		if msg.Time.Before(at) {
			t.Errorf("request %q came %s early", id, at.Sub(msg.Time))
		}
		seen[id] = true
	}
	eventually(t, "an empty store of schedules", func() bool { return state(t, b, events.StreamLater).Msgs == 0 })
	if got := state(t, b, events.StreamActions).Msgs; got != n {
		t.Errorf("%d requests, want %d", got, n)
	}
}

func TestDueJobOfAConnection(t *testing.T) {
	b := bustest.New(t)
	start(t, b, 1, b)
	target := events.ConnectionSubject("u 1", "github", events.Due)
	err := b.Park(t.Context(), bus.Later{Kind: bus.KindConnection, User: "u 1", ID: "refresh-con_1", At: time.Now(), Target: target, Data: []byte("{}")})
	if err != nil {
		t.Fatal(err)
	}
	eventually(t, "the job", func() bool { return state(t, b, events.StreamEvents).Msgs == 1 })
	stream, err := b.JetStream().Stream(t.Context(), events.StreamEvents)
	if err != nil {
		t.Fatal(err)
	}
	msg, err := stream.GetLastMsgForSubject(t.Context(), target)
	if err != nil || msg.Header.Get(jetstream.MsgTTLHeader) != "24h0m0s" {
		t.Errorf("got %+v, %v: it would be kept among the events", msg, err)
	}
}

// stuck never removes a firing and so has each moved again.
type stuck struct{}

func (stuck) Moved(context.Context, uint64) error { return errors.New("cannot remove") }

func TestFiringThatIsDeliveredAgainIsMovedOnce(t *testing.T) {
	b := bustest.New(t)
	start(t, b, 1, stuck{})
	park(t, b, "r1", time.Now())
	eventually(t, "the request", func() bool { return state(t, b, events.StreamActions).Msgs == 1 })
	// A crash before the acknowledgement: the same firing comes to a new consumer.
	if err := b.JetStream().DeleteConsumer(t.Context(), events.StreamLater, "mover"); err != nil {
		t.Fatal(err)
	}
	start(t, b, 1, b)
	eventually(t, "the firing to be removed", func() bool { return state(t, b, events.StreamLater).Msgs == 0 })
	if got := state(t, b, events.StreamActions).Msgs; got != 1 {
		t.Errorf("%d requests, want 1", got)
	}
}

func TestForgedFiringIsADeadLetter(t *testing.T) {
	b := bustest.New(t)
	start(t, b, 1, b)
	msg := nats.NewMsg("plugfn.due.action.u1")
	msg.Header.Set(bus.HeaderTarget, "plugfn.action.u2.github.issues.create")
	msg.Data = []byte("{}")
	if _, err := b.JetStream().PublishMsg(t.Context(), msg); err != nil {
		t.Fatal(err)
	}
	eventually(t, "a dead letter", func() bool { return state(t, b, events.StreamDead).Msgs == 1 })
	if got := state(t, b, events.StreamActions).Msgs; got != 0 {
		t.Errorf("the forged firing became %d requests", got)
	}
}

func TestNewRefusesWhatIsMissing(t *testing.T) {
	if _, err := New(Config{}); err == nil {
		t.Error("a scheduler without a bus was made")
	}
}
