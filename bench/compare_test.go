package bench

import (
	"context"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/plugfn/plugfn/internal/bus"
	"github.com/plugfn/plugfn/internal/bus/bustest"
	"github.com/plugfn/plugfn/pkg/events"
)

// modes are the durabilities that are measured: the answer to "what does it
// cost to be sure" is the difference between the two.
func modes() []bus.Durability { return []bus.Durability{bus.Single, bus.Dev} }

// newBus opens a bus for one side of a comparison.
func newBus(b *testing.B, mode bus.Durability) *bus.Bus {
	b.Helper()
	return bustest.New(b, func(c *bus.Config) { c.Durability = mode })
}

// compare runs both sides for b.N operations each, in alternating rounds so that
// a noisy neighbour meets both, each first in every other round because what one
// leaves behind slows the next. It reports operations per second of the whole,
// and as the ratio the median of the rounds'.
func compare(b *testing.B, baseline, ours func(n int)) {
	b.Helper()
	const fewest, most, each = 10, 60, 500
	rounds := min(max(b.N/each, fewest), most)
	n := max(b.N/rounds, 1)
	var sum, busy [2]time.Duration
	ratios := make([]float64, rounds)
	b.ResetTimer()
	for round := range rounds {
		var spent [2]time.Duration
		for turn := range 2 {
			i := (round + turn) % 2
			began, before := time.Now(), processorTime()
			[]func(int){baseline, ours}[i](n)
			busy[i] += processorTime() - before
			spent[i] = time.Since(began)
			sum[i] += spent[i]
		}
		ratios[round] = spent[0].Seconds() / spent[1].Seconds()
	}
	b.StopTimer()
	slices.Sort(ratios)
	done := float64(rounds * n)
	b.ReportMetric(done/sum[0].Seconds(), "baseline/s")
	b.ReportMetric(done/sum[1].Seconds(), "plugfn/s")
	b.ReportMetric((ratios[(rounds-1)/2]+ratios[rounds/2])/2, "ratio")
	b.ReportMetric(busy[0].Seconds()/done*1000, "baseline-cpu-s/1000")
	b.ReportMetric(busy[1].Seconds()/done*1000, "plugfn-cpu-s/1000")
	b.ReportMetric(0, "ns/op")
}

// spread runs work n times in all, on some workers at once.
func spread(workers, n int, work func()) {
	var left atomic.Int64
	left.Store(int64(n))
	var wait sync.WaitGroup
	for range workers {
		wait.Go(func() {
			for left.Add(-1) >= 0 {
				work()
			}
		})
	}
	wait.Wait()
}

// percentile returns the p-th percentile of times, which it sorts.
func percentile(times []time.Duration, p float64) time.Duration {
	slices.Sort(times)
	return times[min(int(float64(len(times))*p/100), len(times)-1)]
}

// run runs a service until the end of the benchmark.
func run(b *testing.B, service interface{ Run(context.Context) error }) {
	b.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- service.Run(ctx) }()
	b.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			b.Error(err)
		}
	})
}

// newClient is a client that keeps its connections, like a provider's: as many as
// the most clients there are, to each side.
func newClient(b *testing.B) *http.Client {
	const most = 512
	t := &http.Transport{MaxIdleConns: 3 * most, MaxIdleConnsPerHost: most, ExpectContinueTimeout: 5 * time.Second}
	b.Cleanup(t.CloseIdleConnections)
	return &http.Client{Transport: t}
}

// follow counts what is published below a prefix and hands each message on.
func follow(b *testing.B, on *bus.Bus, stream, filter string, each func(jetstream.Msg)) {
	b.Helper()
	consumer, err := on.JetStream().CreateOrUpdateConsumer(context.Background(), stream, jetstream.ConsumerConfig{
		FilterSubject: filter, AckPolicy: jetstream.AckNonePolicy, DeliverPolicy: jetstream.DeliverNewPolicy,
	})
	if err != nil {
		b.Fatal(err)
	}
	consuming, err := consumer.Consume(each, jetstream.PullMaxMessages(5000))
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		consuming.Stop()
		<-consuming.Closed()
	})
}

// reader subscribes to events, as an application does.
func reader(b *testing.B, on *bus.Bus, each func(id string)) {
	b.Helper()
	follow(b, on, events.StreamEvents, events.PrefixEvent+">", func(m jetstream.Msg) { each(m.Headers().Get("ce-id")) })
}
