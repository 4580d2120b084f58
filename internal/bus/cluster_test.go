//go:build integration

package bus_test

import (
	"context"
	"fmt"
	"net/url"
	"slices"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"

	"github.com/plugfn/plugfn/internal/bus"
	"github.com/plugfn/plugfn/internal/bus/bustest"
	"github.com/plugfn/plugfn/pkg/events"
)

// serveCluster runs three servers that make one, and returns them with the
// URL of all.
func serveCluster(t *testing.T) (servers []*server.Server, urls string) {
	t.Helper()
	var routes []*url.URL
	ports := []int{freePort(t), freePort(t), freePort(t)}
	for _, port := range ports {
		routes = append(routes, &url.URL{Scheme: "nats", Host: fmt.Sprintf("127.0.0.1:%d", port)})
	}
	for i, port := range ports {
		s := serve(t, server.Options{
			ServerName: fmt.Sprint("n", i),
			JetStream:  true,
			Cluster:    server.ClusterOpts{Name: "test", Host: "127.0.0.1", Port: port},
			Routes:     routes,
		})
		servers = append(servers, s)
		urls += "," + s.ClientURL()
	}
	return servers, urls[1:]
}

// TestClusterLosesLeader parks on three servers and stops the one that leads
// the parked messages before they are due.
func TestClusterLosesLeader(t *testing.T) {
	t.Parallel()
	servers, urls := serveCluster(t)
	b := bustest.New(t, func(c *bus.Config) { c.URL, c.Durability = urls, bus.HA })
	checkReplicas(t, b)

	const n = 20
	due := time.Now().Add(time.Second)
	for i := range n {
		park(t, b, parked(fmt.Sprint(i), due))
	}
	leader := info(t, b, events.StreamLater).Cluster.Leader
	halt(servers[slices.IndexFunc(servers, func(s *server.Server) bool { return s.Name() == leader })])
	waitReady(t, b)

	m := newMover(t, b)
	for seen := map[string]bool{}; len(seen) < n; {
		_, id, arrived, _ := m.next()
		if arrived.Before(due) {
			t.Errorf("%s fired %s early", id, due.Sub(arrived))
		}
		seen[id] = true
	}
}

func checkReplicas(t *testing.T, b *bus.Bus) {
	t.Helper()
	names := b.JetStream().StreamNames(t.Context())
	for name := range names.Name() {
		if n := info(t, b, name).Config.Replicas; n != 3 {
			t.Errorf("%s: %d replicas, want 3", name, n)
		}
	}
	if err := names.Err(); err != nil {
		t.Fatal(err)
	}
}

// waitReady waits for the cluster to have its leaders again.
func waitReady(t *testing.T, b *bus.Bus) {
	t.Helper()
	for {
		ctx, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond)
		err := b.Ready(ctx)
		cancel()
		if err == nil {
			return
		}
		if t.Context().Err() != nil {
			t.Fatal(err)
		}
		time.Sleep(10 * time.Millisecond)
	}
}
