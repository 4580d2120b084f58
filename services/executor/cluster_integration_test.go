//go:build integration

package executor

import (
	"fmt"
	"net"
	"net/url"
	"slices"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"

	"github.com/plugfn/plugfn/internal/bus"
	"github.com/plugfn/plugfn/internal/bus/bustest"
	"github.com/plugfn/plugfn/pkg/events"
)

// cluster runs three servers that make one, and returns the URL of all.
func cluster(t *testing.T) string {
	t.Helper()
	var ports []int
	var routes []*url.URL
	for range 3 {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		ports = append(ports, l.Addr().(*net.TCPAddr).Port)
		routes = append(routes, &url.URL{Scheme: "nats", Host: l.Addr().String()})
		l.Close()
	}
	var urls string
	for i, port := range ports {
		s, err := server.NewServer(&server.Options{
			ServerName: fmt.Sprint("n", i), Host: "127.0.0.1", Port: -1, JetStream: true, StoreDir: t.TempDir(), NoLog: true, NoSigs: true,
			Cluster: server.ClusterOpts{Name: "test", Host: "127.0.0.1", Port: port}, Routes: routes,
		})
		if err != nil {
			t.Fatal(err)
		}
		s.Start()
		t.Cleanup(func() { s.Shutdown(); s.WaitForShutdown() })
		if !s.ReadyForConnections(20 * time.Second) {
			t.Fatal("a server of the cluster does not start")
		}
		urls += "," + s.ClientURL()
	}
	return urls[1:]
}

// On three servers with three replicas of everything: a backlog has its lane and
// delays nobody, and what has an order keeps it.
func TestLanesAndOrderOnACluster(t *testing.T) {
	urls := cluster(t)
	on := bustest.New(t, func(c *bus.Config) { c.URL, c.Durability = urls, bus.HA })
	t.Run("lanes", func(t *testing.T) {
		b := newBarrier()
		s := tellOn(t, on, urls, fakePack, b.ServeHTTP, small)
		s.start()
		s.start()
		const noisy, quiet = 60, 6
		for i := range noisy {
			s.queue("noisy", i)
		}
		s.asked()
		for i := range quiet {
			s.queue(fmt.Sprintf("quiet%d", i%3), i)
		}
		s.asked()
		stream, err := s.bus.JetStream().Stream(s.Context(), events.StreamResults)
		if err != nil {
			t.Fatal(err)
		}
		s.eventually("the others", func() bool {
			info, err := stream.Info(s.Context())
			return err == nil && info.State.Msgs == quiet
		})
		if !s.laneOf("noisy") {
			t.Error("no lane for the noisy one")
		}
		close(b.lifted)
		s.once(b, noisy+quiet)
		s.hasNoLanes("noisy")
		s.stop()
		if err := stream.Purge(t.Context()); err != nil {
			t.Fatal(err)
		}
	})
	t.Run("order", func(t *testing.T) {
		r := newRooms()
		s := tellOn(t, on, urls, orderedPack, r.ServeHTTP)
		s.start()
		s.start()
		const n = 8
		for i := range n {
			s.say("a", i)
			s.say("b", i)
		}
		s.results(2 * n)
		for _, room := range []string{"a", "b"} {
			if !slices.IsSorted(r.said[room]) || len(r.said[room]) != n {
				t.Errorf("in %s was said %v", room, r.said[room])
			}
		}
		if r.together {
			t.Error("two spoke at once in one room")
		}
	})
}
