package bus_test

import (
	"fmt"
	"net/url"
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

func TestCluster(t *testing.T) {
	t.Parallel()
	servers, urls := serveCluster(t)
	t0 := time.Now()
	b := bustest.New(t, func(c *bus.Config) { c.URL, c.Durability = urls, bus.HA })
	t.Log("open", time.Since(t0))
	for name := range shapes2(t, b) {
		if n := info(t, b, name).Config.Replicas; n != 3 {
			t.Errorf("%s: %d replicas", name, n)
		}
	}
	const n = 20
	due := time.Now().Add(2*time.Second)
	for i := range n {
		park(t, b, parked(fmt.Sprint(i), due))
	}
	leader := info(t, b, events.StreamLater).Cluster.Leader
	for _, s := range servers {
		if s.Name() == leader {
			halt(s)
		}
	}
	t.Log("halted", time.Until(due))
	for b.Ready(t.Context()) != nil {
		time.Sleep(10*time.Millisecond)
	}
	t.Log("ready", time.Until(due))
	m := newMover(t, b)
	seen := map[string]int{}
	for len(seen) < n {
		_, data, arrived, _ := m.next()
		if arrived.Before(due) {
			t.Error("early")
		}
		seen[data]++
		if len(seen)==n {
		t.Log(arrived.Sub(due))
		}
	}
	t.Log(seen)
}
func shapes2(t *testing.T, b *bus.Bus) map[string]int {
	r := map[string]int{}
	for x := range b.JetStream().StreamNames(t.Context()).Name() { r[x]=1 }
	return r
}
