package bench

import (
	"fmt"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/plugfn/plugfn/internal/bus"
	"github.com/plugfn/plugfn/pkg/events"
)

const (
	noisyBacklog  = 100_000 // twice as many where the disk is not waited for: it must last
	quietRequests = 300
	quietPause    = 20 * time.Millisecond
)

// BenchmarkNoisyNeighbour: how long a user's request takes from its publication
// to its result, while nobody else asks and while another user has a backlog of
// 100,000 or more.
func BenchmarkNoisyNeighbour(b *testing.B) {
	for _, mode := range modes() {
		b.Run(mode.String(), func(b *testing.B) {
			on := newBus(b, mode)
			startExecutor(b, on, quickProvider(b), "")
			alone := quietWaits(b, on)
			backlog := uint64(noisyBacklog)
			if mode == bus.Dev {
				backlog *= 2
			}
			fill(b, on, int(backlog))
			beside := quietWaits(b, on)
			if done := stored(b, on, events.StreamResults); done >= backlog {
				b.Fatalf("the backlog was done before the quiet requests: %d results", done)
			}
			report := func(name string, waits []time.Duration) time.Duration {
				p99 := percentile(waits, 99)
				b.ReportMetric(float64(percentile(waits, 50).Microseconds())/1000, name+"-p50-ms")
				b.ReportMetric(float64(p99.Microseconds())/1000, name+"-p99-ms")
				return p99
			}
			before, after := report("alone", alone), report("beside", beside)
			b.ReportMetric(float64(after)/float64(before), "ratio")
			b.ReportMetric(0, "ns/op")
		})
	}
}

// fill publishes the backlog.
func fill(b *testing.B, on *bus.Bus, n int) {
	b.Helper()
	js, subject := on.JetStream(), events.ActionSubject("noisy", "quick", "thing.create")
	spread(256, n, func() {
		if _, err := js.Publish(b.Context(), subject, []byte(`{"id":"1"}`)); err != nil {
			b.Error(err)
		}
	})
}

// quietWaits makes requests one after another, and returns how long each took.
func quietWaits(b *testing.B, on *bus.Bus) []time.Duration {
	b.Helper()
	results, err := on.Conn().SubscribeSync(events.PrefixResult + "quiet.>")
	if err != nil {
		b.Fatal(err)
	}
	defer func() { _ = results.Unsubscribe() }()
	waits := make([]time.Duration, 0, quietRequests)
	for i := range quietRequests {
		began := time.Now()
		msg := nats.NewMsg(events.ActionSubject("quiet", "quick", "thing.create"))
		msg.Data = []byte(fmt.Sprintf(`{"id":"%d"}`, i))
		if _, err := on.JetStream().PublishMsg(b.Context(), msg); err != nil {
			b.Fatal(err)
		}
		if _, err := results.NextMsg(time.Minute); err != nil {
			b.Fatal(err)
		}
		waits = append(waits, time.Since(began))
		time.Sleep(quietPause)
	}
	return waits
}

func stored(b *testing.B, on *bus.Bus, stream string) uint64 {
	b.Helper()
	s, err := on.JetStream().Stream(b.Context(), stream)
	if err != nil {
		b.Fatal(err)
	}
	return s.CachedInfo().State.Msgs
}
