//go:build linux

package bench

import (
	"os"
	"regexp"
	"runtime/debug"
	"strconv"
	"testing"
	"time"
)

// BenchmarkWaitingRuns has 100,000 runs of ten users wait for an event, or for
// thirty days, whichever comes first. It reports the memory of the process, in
// which bus and scheduler are both, as a share of a gibibyte, and what it uses of
// a processor while all wait, beside what it used when there were none. It takes
// one round, whatever -benchtime says.
func BenchmarkWaitingRuns(b *testing.B) {
	const waiting, batch = 100_000, 1000
	on := driveRuns(b, longWait)
	start := starter(b, on)
	idleBefore, before := idle(), resident(b)
	began := time.Now()
	for range waiting / batch {
		start(batch)
	}
	b.ReportMetric(waiting/time.Since(began).Seconds(), "runs/s")
	settled := time.Now().Add(time.Minute)
	for idle() > 2*idleBefore+0.01 && time.Now().Before(settled) {
		continue // what the start of so many leaves to do is done soon
	}
	after := resident(b)
	b.ReportMetric(float64(before)/(1<<20), "MiB-before")
	b.ReportMetric(float64(after)/(1<<20), "MiB")
	b.ReportMetric(float64(after)/(1<<30), "ratio")
	b.ReportMetric(idleBefore, "baseline-cpu-s/s")
	b.ReportMetric(idle(), "plugfn-cpu-s/s")
	b.ReportMetric(0, "ns/op")
}

// idle is what the process uses of a processor while nothing is asked of it.
func idle() float64 {
	const long = 5 * time.Second
	before := processorTime()
	time.Sleep(long)
	return (processorTime() - before).Seconds() / long.Seconds()
}

// resident is the memory of the process in bytes, without what the runtime could
// give back.
func resident(b *testing.B) int64 {
	b.Helper()
	debug.FreeOSMemory()
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		b.Fatal(err)
	}
	found := regexp.MustCompile(`VmRSS:\s+(\d+) kB`).FindSubmatch(status)
	if found == nil {
		b.Fatal("/proc/self/status has no VmRSS")
	}
	kib, err := strconv.ParseInt(string(found[1]), 10, 64)
	if err != nil {
		b.Fatal(err)
	}
	return kib << 10
}
