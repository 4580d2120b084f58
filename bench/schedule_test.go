package bench

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/rs/zerolog"

	"github.com/plugfn/plugfn/internal/bus"
	"github.com/plugfn/plugfn/pkg/events"
	"github.com/plugfn/plugfn/pkg/providers"
	"github.com/plugfn/plugfn/services/scheduler"
	"github.com/plugfn/plugfn/services/scheduler/schedules"
)

const (
	herdSize  = 10_000
	herdUsers = 500
)

// herd notes when each of many messages came.
type herd struct {
	b  *testing.B
	at time.Time // when they are due

	mu    sync.Mutex
	times []time.Duration
	seen  map[string]bool
	all   chan struct{}
}

func newHerd(b *testing.B, at time.Time) *herd {
	return &herd{b: b, at: at, seen: map[string]bool{}, all: make(chan struct{})}
}

func (h *herd) came(id string, stored time.Time) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.seen[id] {
		h.b.Errorf("%s came twice", id)
		return
	}
	h.seen[id] = true
	h.times = append(h.times, stored.Sub(h.at))
	if len(h.times) == herdSize {
		close(h.all)
	}
}

// isReady makes sure that the herd was there before its time.
func (h *herd) isReady() {
	h.b.Helper()
	if late := time.Since(h.at); late > 0 {
		h.b.Fatalf("preparing the herd took %s too long", late)
	}
}

// report waits for all and tells how late they were.
func (h *herd) report(prefix string) {
	h.b.Helper()
	select {
	case <-h.all:
	case <-time.After(2 * time.Minute):
		h.b.Fatalf("%d of %d came", len(h.times), herdSize)
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if first := percentile(h.times, 0); first < 0 {
		h.b.Errorf("one came %s early", -first)
	}
	h.b.ReportMetric(percentile(h.times, 50).Seconds(), prefix+"-p50-s")
	h.b.ReportMetric(percentile(h.times, 100).Seconds(), prefix+"-last-s")
}

// BenchmarkScheduleHerd: ten thousand schedules of five hundred users are due in the same
// second, and their ticks are stored as events. Beside it ten thousand messages
// that the bus alone holds back and hands out: nothing decides, publishes or goes
// on. It takes one round, whatever -benchtime says.
func BenchmarkScheduleHerd(b *testing.B) {
	for _, mode := range modes() {
		b.Run(mode.String(), func(b *testing.B) {
			bareHerd(b, newBus(b, mode))
			scheduleHerd(b, newBus(b, mode))
			b.ReportMetric(0, "ns/op")
		})
	}
}

// soon is a second far enough ahead to prepare for.
func soon() time.Time { return time.Now().Add(45 * time.Second).Truncate(time.Second) }

func bareHerd(b *testing.B, on *bus.Bus) {
	h := newHerd(b, soon())
	follow(b, on, events.StreamLater, events.PrefixDue+">", func(m jetstream.Msg) {
		meta, err := m.Metadata()
		if err != nil {
			b.Error(err)
			return
		}
		h.came(m.Headers().Get(jetstream.SchedulerHeader), meta.Timestamp)
	})
	many(b, func(i int) error {
		user := fmt.Sprint("u", i%herdUsers)
		return on.Park(context.Background(), bus.Later{
			Kind: bus.KindSchedule, User: user, ID: fmt.Sprint("s", i), At: h.at, Target: bus.WakeTarget(user, fmt.Sprint("s", i)), Data: []byte("{}"),
		})
	})
	h.isReady()
	h.report("baseline")
}

func scheduleHerd(b *testing.B, on *bus.Bus) {
	registry, err := providers.NewRegistry(nil, nil)
	if err != nil {
		b.Fatal(err)
	}
	kept, err := schedules.New(schedules.Config{
		Conn: on.Conn(), JetStream: on.JetStream(), Parking: on, Providers: registry, Log: zerolog.Nop(), MaxPerUser: herdSize,
	})
	if err != nil {
		b.Fatal(err)
	}
	mover, err := scheduler.New(scheduler.Config{JetStream: on.JetStream(), Firings: on, Schedules: kept, Log: zerolog.Nop()})
	if err != nil {
		b.Fatal(err)
	}
	run(b, kept)
	run(b, mover)
	h := newHerd(b, soon())
	follow(b, on, events.StreamEvents, events.PrefixEvent+">", func(m jetstream.Msg) {
		meta, err := m.Metadata()
		if err != nil {
			b.Error(err)
			return
		}
		h.came(m.Headers().Get("ce-id"), meta.Timestamp)
	})
	many(b, func(i int) error {
		_, err := kept.Create(context.Background(), fmt.Sprint("u", i%herdUsers), schedules.Plan{
			Every: "24h", Start: h.at, Target: schedules.Target{Event: &schedules.EventTarget{Name: "herd"}},
		})
		return err
	})
	h.isReady()
	h.report("plugfn")
}

// many prepares the whole herd.
func many(b *testing.B, one func(i int) error) {
	b.Helper()
	const workers = 32
	var wait sync.WaitGroup
	for w := range workers {
		wait.Go(func() {
			for i := w; i < herdSize; i += workers {
				if err := one(i); err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	wait.Wait()
}
