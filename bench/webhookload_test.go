//go:build unix

package bench

import (
	"fmt"
	"sync"
	"testing"
	"time"
)

func benchmarkClients(b *testing.B, clients int, sides [2]*side) {
	s := newSender(b)
	var before, after [2]usage
	for i, side := range sides {
		spread(clients, 10*clients, func() { s.send(b, side.webhook()) }) // connections, pools
		before[i] = side.usage(b)
	}
	compare(b,
		func(n int) { spread(clients, n, func() { s.send(b, sides[0].webhook()) }) },
		func(n int) { spread(clients, n, func() { s.send(b, sides[1].webhook()) }) })
	for i, side := range sides {
		after[i] = side.usage(b)
	}
	reportCPU(b, before, after)
}

// reportCPU reports processor seconds for 10,000 deliveries, of which b.N went
// to each side.
func reportCPU(b *testing.B, before, after [2]usage) {
	var spent [2]float64
	for i := range spent {
		spent[i] = (after[i].CPU - before[i].CPU).Seconds() / float64(b.N) * 1e4
	}
	b.ReportMetric(spent[0], "baseline-cpu-s/10k")
	b.ReportMetric(spent[1], "plugfn-cpu-s/10k")
	b.ReportMetric(spent[1]/spent[0], "cpu-ratio")
	for i, name := range []string{"baseline", "plugfn"} {
		b.ReportMetric(float64(after[i].Allocated-before[i].Allocated)/float64(b.N)/1024, name+"-KiB/op")
	}
}

// BenchmarkWebhookToPubAck posts 8 KiB deliveries; an operation ends with the
// 200 that follows the bus's acknowledgement. Each side is a process of its own
// with a bus in it: what the clients use does not count.
func BenchmarkWebhookToPubAck(b *testing.B) {
	for _, mode := range modes() {
		for _, clients := range []int{64, 512} {
			b.Run(fmt.Sprintf("%s/%d clients", mode, clients), func(b *testing.B) { benchmarkClients(b, clients, startSides(b, mode)) })
		}
	}
}

// BenchmarkWebhookOpenLoop sends 500 deliveries a second, whether the ones before
// are answered or not; the time of each is from when it was due to its answer.
func BenchmarkWebhookOpenLoop(b *testing.B) {
	const perSecond, rounds = 500, 40
	for _, mode := range modes() {
		b.Run(mode.String(), func(b *testing.B) {
			sides, s := startSides(b, mode), newSender(b)
			var times [2][]time.Duration
			for _, side := range sides {
				spread(webhookClients, 10*webhookClients, func() { s.send(b, side.webhook()) })
			}
			b.ResetTimer()
			for round := range rounds {
				for turn := range sides {
					i := (round + turn) % len(sides) // each first in every other round
					times[i] = append(times[i], openLoop(perSecond, max(b.N/rounds, 1), func() { s.send(b, sides[i].webhook()) })...)
				}
			}
			b.StopTimer()
			for i, side := range sides {
				b.ReportMetric(float64(percentile(times[i], 50).Microseconds()), side.name+"-p50-µs")
				b.ReportMetric(float64(percentile(times[i], 99).Microseconds()), side.name+"-p99-µs")
			}
			b.ReportMetric(float64(percentile(times[1], 99))/float64(percentile(times[0], 99)), "p99-ratio")
			b.ReportMetric(0, "ns/op")
		})
	}
}

// openLoop does work n times at a rate and returns how late after it was due
// each was done.
func openLoop(perSecond, n int, work func()) []time.Duration {
	times := make([]time.Duration, n)
	began := time.Now()
	var wait sync.WaitGroup
	for i := range n {
		due := began.Add(time.Duration(i) * time.Second / time.Duration(perSecond))
		time.Sleep(time.Until(due))
		wait.Go(func() {
			work()
			times[i] = time.Since(due)
		})
	}
	wait.Wait()
	return times
}
