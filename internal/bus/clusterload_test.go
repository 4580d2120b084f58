//go:build integration

package bus_test

import (
	"context"
	"fmt"
	"net/url"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"golang.org/x/sync/errgroup"

	"github.com/plugfn/plugfn/internal/bus"
	"github.com/plugfn/plugfn/internal/bus/bustest"
	"github.com/plugfn/plugfn/pkg/events"
)

// machines are three servers that make a cluster, each of which can be started
// again with what it has on disk.
type machines struct {
	options []server.Options
	running map[string]*server.Server // :: name → server
	urls    string
}

// newMachines starts three servers that sync every write.
func newMachines(t *testing.T) *machines {
	t.Helper()
	m := &machines{running: map[string]*server.Server{}}
	var routes []*url.URL
	for i := range 3 {
		port := freePort(t)
		routes = append(routes, &url.URL{Scheme: "nats", Host: fmt.Sprintf("127.0.0.1:%d", port)})
		m.options = append(m.options, server.Options{
			ServerName: fmt.Sprint("n", i), Port: freePort(t), JetStream: true, SyncAlways: true, StoreDir: t.TempDir(),
			Cluster: server.ClusterOpts{Name: "test", Host: "127.0.0.1", Port: port},
		})
	}
	for i := range m.options {
		m.options[i].Routes = routes
		m.start(t, m.options[i].ServerName)
		m.urls += "," + m.running[m.options[i].ServerName].ClientURL()
	}
	m.urls = m.urls[1:]
	return m
}

func (m *machines) start(t *testing.T, name string) {
	t.Helper()
	for _, o := range m.options {
		if o.ServerName == name {
			m.running[name] = serve(t, o)
		}
	}
}

// writers publish events as fast as they are acknowledged, and try each again
// under its id until it is.
type writers struct {
	js      jetstream.JetStream
	next    atomic.Int64
	mu      sync.Mutex
	acked   map[string]bool
	longest time.Duration // that one had to wait
}

func (w *writers) run(ctx context.Context) error {
	for ctx.Err() == nil {
		id := fmt.Sprint("e", w.next.Add(1))
		began := time.Now()
		for ctx.Err() == nil {
			asking, cancel := context.WithTimeout(ctx, time.Second)
			m := &nats.Msg{Subject: "plugfn.event.u1.github.push", Data: []byte(id), Header: nats.Header{"ce-id": {id}}}
			_, err := w.js.PublishMsg(asking, m, jetstream.WithMsgID(id))
			cancel()
			if err == nil {
				w.note(id, time.Since(began))
				break
			}
			time.Sleep(10 * time.Millisecond) // the servers choose a leader meanwhile
		}
	}
	return nil
}

func (w *writers) note(id string, took time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.acked[id] = true
	w.longest = max(w.longest, took)
}

func (w *writers) count() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return len(w.acked)
}

// TestClusterLosesLeadersUnderLoad stops the server that leads the events, again
// and again, while events are written: what was acknowledged is there, once.
func TestClusterLosesLeadersUnderLoad(t *testing.T) {
	t.Parallel()
	const kills, between = 3, 200 // events that are acknowledged before the next one
	m := newMachines(t)
	b := bustest.New(t, func(c *bus.Config) { c.URL, c.Durability = m.urls, bus.Strict })
	w := &writers{js: b.JetStream(), acked: map[string]bool{}}
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	var group errgroup.Group
	for range 8 {
		group.Go(func() error { return w.run(ctx) })
	}
	for range kills {
		waitReady(t, b)
		for enough := w.count() + between; w.count() < enough; {
			time.Sleep(5 * time.Millisecond)
		}
		leader := info(t, b, events.StreamEvents).Cluster.Leader
		halt(m.running[leader])
		for enough := w.count() + between; w.count() < enough; { // the other two go on
			time.Sleep(5 * time.Millisecond)
		}
		m.start(t, leader)
	}
	stop()
	if err := group.Wait(); err != nil {
		t.Fatal(err)
	}
	waitReady(t, b)
	t.Logf("%d acknowledged, the longest wait for one was %s", w.count(), w.longest)
	checkStoredOnce(t, b, w.acked)
}

// checkStoredOnce reads the whole stream.
func checkStoredOnce(t *testing.T, b *bus.Bus, acked map[string]bool) {
	t.Helper()
	stream, err := b.JetStream().Stream(t.Context(), events.StreamEvents)
	if err != nil {
		t.Fatal(err)
	}
	seen := map[string]int{}
	for at := uint64(1); at <= stream.CachedInfo().State.LastSeq; at++ {
		seen[string(stored(t, stream, at))]++
	}
	lost, twice := 0, 0
	for id := range acked {
		if seen[id] == 0 {
			lost++
		}
	}
	for _, n := range seen {
		if n > 1 {
			twice++
		}
	}
	if lost > 0 || twice > 0 {
		t.Errorf("of %d acknowledged events %d are lost, and %d are stored twice", len(acked), lost, twice)
	}
}

// stored is the message at a place. A server that was started again may answer
// before it has it.
func stored(t *testing.T, stream jetstream.Stream, at uint64) []byte {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		msg, err := stream.GetMsg(t.Context(), at)
		if err == nil {
			return msg.Data
		}
		if time.Now().After(end) {
			t.Fatalf("message %d: %v", at, err)
		}
	}
}
