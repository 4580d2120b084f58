//go:build integration

package executor

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"github.com/plugfn/plugfn/internal/bus"
	"github.com/plugfn/plugfn/pkg/events"
)

// instant is a provider inside the process that answers at once.
func instant(r *http.Request) (*http.Response, error) {
	if r.Body != nil {
		_, _ = io.Copy(io.Discard, r.Body)
	}
	return &http.Response{
		StatusCode: http.StatusOK, ProtoMajor: 1, ProtoMinor: 1, Request: r,
		Header: http.Header{"Content-Type": {"application/json"}}, Body: io.NopCloser(strings.NewReader(`{"ok":true}`)),
	}, nil
}

// What requests leave behind is their results, on the disk: after thousands of
// them there are as many goroutines as before, and as much memory. The runtime and
// the server, which is in this process too, keep room for the most that they ever
// had at once, so what counts is the least of each half, and one KiB kept of each
// action would be twice what is allowed. The benchmark ActionMemory makes 100,000.
func TestGoroutinesAndMemoryStayFlat(t *testing.T) {
	const (
		first, rounds, each = 1, 8, 1200            // the first round fills pools and buffers
		allowed             = rounds / 2 * each / 2 // KiB
	)
	s := tellPack(t, limitedPack("  - {id: all, key: [connection], rate: 1000000/1s, burst: 1000000}\n"), nil, func(c *Config) {
		c.Log, c.HTTP = zerolog.Nop(), &http.Client{Transport: tripper(instant)}
	})
	s.start()
	var goroutines, heap [first + rounds]int
	for round := range goroutines {
		for i := range each {
			r := events.ActionRequest{UserID: "u1", Provider: "fake", Action: "things.create", Params: json.RawMessage(fmt.Sprintf(`{"title":"%d"}`, i))}
			if i%2 == 0 {
				r.Action, r.Params = "things.get", json.RawMessage(`{"id":"1"}`)
			}
			if err := s.app.PublishMsg(r.Msg(r.Subject())); err != nil {
				t.Fatal(err)
			}
		}
		s.purge(each)
		goroutines[round], heap[round] = settledMemory()
	}
	t.Logf("after each %d actions: goroutines %v, heap in KiB %v", each, goroutines, heap)
	if early, late := leastOfHalves(goroutines[first:]); late > early+10 {
		t.Errorf("at least %d goroutines, %d before", late, early)
	}
	if early, late := leastOfHalves(heap[first:]); late > early+allowed {
		t.Errorf("at least %d KiB in use, %d before", late, early)
	}
}

// leastOfHalves is the least of what came first, and of what came later.
func leastOfHalves(all []int) (early, late int) {
	return slices.Min(all[:len(all)/2]), slices.Min(all[len(all)/2:])
}

// purge waits for that many results and then empties the streams: the server is
// in this process, and remembers each message that it keeps.
func (s *story) purge(results uint64) {
	s.Helper()
	js := s.bus.JetStream()
	s.eventually("results", func() bool {
		stream, err := js.Stream(s.Context(), events.StreamResults)
		return err == nil && stream.CachedInfo().State.Msgs >= results
	})
	s.eventually("an end of the work", func() bool {
		stream, err := js.Stream(s.Context(), events.StreamActions)
		if err != nil {
			return false
		}
		consumer, err := js.Consumer(s.Context(), events.StreamActions, "executor")
		return err == nil && consumer.CachedInfo().AckFloor.Stream >= stream.CachedInfo().State.LastSeq
	})
	for _, name := range []string{events.StreamResults, events.StreamActions, "KV_" + bus.BucketJournal} {
		stream, err := js.Stream(s.Context(), name)
		if err != nil {
			s.Fatal(err)
		}
		if err := stream.Purge(s.Context()); err != nil {
			s.Fatal(err)
		}
	}
}

// settledMemory is what is there once nothing moves any more.
func settledMemory() (goroutines, heapKiB int) {
	const looks = 12
	var m runtime.MemStats
	goroutines, heapKiB = 1<<30, 1<<30
	for range looks { // timers and connections take a moment to go
		time.Sleep(25 * time.Millisecond)
		runtime.GC()
		runtime.ReadMemStats(&m)
		goroutines, heapKiB = min(goroutines, runtime.NumGoroutine()), min(heapKiB, int(m.HeapAlloc>>10))
	}
	return goroutines, heapKiB
}

// Many answers that unpack to far more than may be read take no more memory than
// may be read, each.
func TestBombsDoNotFillTheMemory(t *testing.T) {
	const n, most = 32, 2 << 20
	packed := bomb(t)
	s := tell(t, nil, func(c *Config) {
		c.Log = zerolog.Nop()
	})
	s.provider.serve = func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Encoding", "gzip")
		_, _ = io.Copy(w, bytes.NewReader(packed))
	}
	s.start()
	runtime.GC()
	var before, now runtime.MemStats
	runtime.ReadMemStats(&before)
	ctx, stop := context.WithCancel(t.Context())
	var peak uint64
	var wait sync.WaitGroup
	wait.Go(func() {
		for ctx.Err() == nil {
			runtime.ReadMemStats(&now)
			peak = max(peak, now.HeapInuse)
			time.Sleep(time.Millisecond)
		}
	})
	for i := range n {
		s.request(events.ActionRequest{ID: fmt.Sprint("r", i), Action: "things.get", Params: json.RawMessage(`{"id":"1"}`)})
	}
	for _, r := range s.results(n) {
		if r.Outcome != events.Failed || r.Error.Code != events.CodeProviderRejected {
			t.Errorf("%s: %s, %v", r.ID, r.Outcome, r.Error)
		}
	}
	stop()
	wait.Wait()
	grown := peak - min(peak, before.HeapInuse)
	t.Logf("%d bombs of 32 MiB: the heap grew by %d MiB at most", n, grown>>20)
	if grown > 2*n*most {
		t.Errorf("the heap grew by %d MiB", grown>>20)
	}
}
