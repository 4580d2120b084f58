package auth

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/nats-io/nats.go"

	"github.com/plugfn/plugfn/pkg/events"
	"github.com/plugfn/plugfn/pkg/providers"
	"github.com/plugfn/plugfn/services/auth/oauthtest"
)

// storm is many callers who use connections whose tokens live for a moment.
type storm struct {
	*fleet
	connections []connection
	callers     int // of each replica
	lasts       time.Duration
	patience    time.Duration // how long one caller tries to get a token

	requests, failed, refused atomic.Int64
	slowest                   atomic.Int64

	mu      sync.Mutex
	failing map[string]error // :: id of a connection → the first failure of a request for it
}

// rage has everybody use all connections until the time is over.
func (s *storm) rage(t *testing.T) {
	t.Helper()
	until := time.Now().Add(s.lasts)
	var wait sync.WaitGroup
	for i := range len(s.replicas) * s.callers {
		conn, err := nats.Connect(s.bus.ClientURL())
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		client, err := NewClient(conn)
		if err != nil {
			t.Fatal(err)
		}
		web := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 1}}
		defer web.CloseIdleConnections()
		wait.Go(func() {
			for n := i; time.Now().Before(until); n++ {
				s.use(client, web, &s.connections[n%len(s.connections)])
				time.Sleep(rand.N(10 * time.Millisecond))
			}
		})
	}
	wait.Wait()
}

// use acts with a connection as an executor does: with the token in hand, and
// once more with a newer one where that is refused.
func (s *storm) use(client *Client, web *http.Client, c *connection) {
	s.requests.Add(1)
	began := time.Now()
	got, err := s.ask(client.Credential, c)
	if err == nil && !s.call(web, got) {
		s.refused.Add(1)
		got, err = s.ask(func(ctx context.Context, user, provider, id string) (providers.Credential, error) {
			return client.Refused(ctx, user, provider, got)
		}, c)
		if err == nil && !s.call(web, got) {
			err = errors.New("the API refuses the newer token as well")
		}
	}
	for took := int64(time.Since(began)); ; {
		slowest := s.slowest.Load()
		if took <= slowest || s.slowest.CompareAndSwap(slowest, took) {
			break
		}
	}
	if err != nil {
		s.note(c.ID, err)
	}
}

func (s *storm) note(id string, err error) {
	s.failed.Add(1)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.failing == nil {
		s.failing = map[string]error{}
	}
	if s.failing[id] == nil {
		s.failing[id] = err
	}
}

// ask tries again where it is told to, as an executor does.
func (s *storm) ask(ask func(ctx context.Context, user, provider, id string) (providers.Credential, error), c *connection) (got providers.Credential, err error) {
	for deadline := time.Now().Add(s.patience); ; time.Sleep(20 * time.Millisecond) {
		got, err = ask(context.Background(), c.UserID, c.Provider, c.ID)
		var e *events.Error
		if !errors.As(err, &e) || !e.Retryable || time.Now().After(deadline) {
			return got, err
		}
	}
}

// call asks the provider's API for something.
func (s *storm) call(web *http.Client, cred providers.Credential) bool {
	action, _ := s.pack.Action("me.get")
	req, err := action.NewRequest(context.Background(), s.provider.App().BaseURL, []byte(`{}`), cred)
	if err != nil {
		return false
	}
	resp, err := web.Do(req)
	if err != nil {
		return false
	}
	defer resp.Body.Close()
	_, err = action.Read(resp)
	return err == nil
}

// newStorm makes a storm. Without schedules every refresh is one that callers
// wait for, at all replicas at once.
func newStorm(t *testing.T, lasts time.Duration, cfg oauthtest.Config, scheduled bool, edit func(*Service)) *storm {
	t.Helper()
	cfg.AccessLife = 800 * time.Millisecond
	s := &storm{fleet: newFleet(t, cfg), callers: 10, lasts: lasts, patience: 10 * time.Second}
	for range 3 {
		s.add(t, func(one *Service) {
			fast(one)
			if edit != nil {
				edit(one)
			}
		})
	}
	if scheduled {
		s.move(t)
	}
	for _, one := range s.replicas {
		s.start(t, one)
	}
	for i := range 20 {
		s.connections = append(s.connections, s.connect(t, fmt.Sprint("user ", i)))
	}
	return s
}

// dead lists the connections that nobody can use any more.
func (s *storm) dead(t *testing.T) (ids []string) {
	t.Helper()
	for _, c := range s.connections {
		if k := s.record(t, c.Connection); k.Status != events.ConnectionActive {
			ids = append(ids, c.ID)
		}
	}
	slices.Sort(ids)
	return ids
}

// failures lists the connections of which a request failed.
func (s *storm) failures() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Sorted(maps.Keys(s.failing))
}

func (s *storm) report(t *testing.T) {
	t.Helper()
	l := s.provider.Ledger()
	t.Logf("%d requests, %d failed, %d tokens refused at first, slowest %s; %d refreshes, %d reuses, %d families dead",
		s.requests.Load(), s.failed.Load(), s.refused.Load(), time.Duration(s.slowest.Load()), l.Refreshes, l.Reuses, l.DeadFamilies)
}

// testReplicas has storms of a length, in some of which processes die while they
// hold a claim.
func testReplicas(t *testing.T, lasts time.Duration) {
	t.Run("on schedule", func(t *testing.T) {
		t.Parallel()
		newStorm(t, lasts, oauthtest.Config{}, true, nil).survives(t)
	})
	t.Run("on demand", func(t *testing.T) {
		t.Parallel()
		newStorm(t, lasts, oauthtest.Config{}, false, nil).survives(t)
	})
	t.Run("processes die before they ask", func(t *testing.T) {
		t.Parallel()
		crash := &crashes{point: pointClaimed, of: every(5)}
		newStorm(t, lasts, oauthtest.Config{}, false, crash.into).survives(t)
		crash.wantSome(t)
	})
	t.Run("processes die with the answer, the provider is lenient", func(t *testing.T) {
		t.Parallel()
		crash := &crashes{point: pointAnswered, of: every(5)}
		newStorm(t, lasts, oauthtest.Config{ReuseGrace: time.Minute}, false, crash.into).survives(t)
		crash.wantSome(t)
	})
	t.Run("processes die with the answer", func(t *testing.T) {
		t.Parallel()
		testLostAnswers(t, lasts)
	})
}

// survives wants that nothing comes of the storm.
func (s *storm) survives(t *testing.T) {
	t.Helper()
	s.rage(t)
	s.report(t)
	l := s.provider.Ledger()
	if dead := s.dead(t); len(dead) > 0 || l.DeadFamilies > 0 {
		t.Errorf("connections %v are dead, and %d families", dead, l.DeadFamilies)
	}
	if s.failed.Load() > 0 {
		t.Errorf("%d of %d requests failed, at first %v", s.failed.Load(), s.requests.Load(), s.failing)
	}
}

// What is lost is what a provider has answered to a process that died before it
// could write, and nothing else; and it is said to be lost by our fault.
func testLostAnswers(t *testing.T, lasts time.Duration) {
	const losses = 5
	var taken atomic.Int64
	crash := &crashes{point: pointAnswered, of: func(c *claim) bool { return c.Version == 2 && c.Refresh.Attempt == 1 && taken.Add(1) <= losses }}
	s := newStorm(t, lasts, oauthtest.Config{}, true, crash.into)
	s.rage(t)
	s.report(t)
	eventually(t, "all losses to be announced", func() bool { return s.changes(t, events.NeedsReauth) == losses })
	if dead := s.dead(t); !cmp.Equal(dead, crash.victims()) {
		t.Errorf("connections %v are dead, and processes died with the answers of %v", dead, crash.victims())
	}
	for _, id := range s.failures() {
		if !slices.Contains(crash.victims(), id) {
			t.Errorf("requests for %s failed, and no process died with its answer", id)
		}
	}
	for _, id := range crash.victims() {
		c, err := s.replicas[0].store.get(t.Context(), "", id)
		if err != nil || c.Refresh == nil || !c.Refresh.Interrupted || c.Refresh.Class != failDead || c.Error == nil {
			t.Errorf("shown as %+v, %v", c, err)
		}
	}
}

// crashes has processes die while they hold a claim.
type crashes struct {
	point string
	of    func(*claim) bool // whether the holder of this one dies

	mu  sync.Mutex
	ids map[string]bool // of the connections
}

// every has the holder of each nth claim die.
func every(n int64) func(*claim) bool {
	var claims atomic.Int64
	return func(*claim) bool { return claims.Add(1)%n == 0 }
}

func (c *crashes) into(s *Service) {
	s.refresher.timing.lease, s.refresher.timing.call = 1500*time.Millisecond, 1400*time.Millisecond
	s.refresher.crash = func(point string, held *claim) bool {
		if point != c.point || !c.of(held) {
			return false
		}
		c.mu.Lock()
		defer c.mu.Unlock()
		if c.ids == nil {
			c.ids = map[string]bool{}
		}
		c.ids[held.ID] = true
		return true
	}
}

func (c *crashes) victims() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Sorted(maps.Keys(c.ids))
}

func (c *crashes) wantSome(t *testing.T) {
	t.Helper()
	if len(c.victims()) == 0 {
		t.Error("no process died: the test proves nothing")
	}
}

func TestReplicasKeepConnectionsAlive(t *testing.T) { testReplicas(t, 2*time.Second) }

// The proof that the tests above would find a fault.
func TestReplicasWithoutTheClaimKillConnections(t *testing.T) {
	t.Parallel()
	s := newStorm(t, 2*time.Second, oauthtest.Config{}, false, func(one *Service) { one.refresher.unclaimed = true })
	s.patience = 100 * time.Millisecond
	s.rage(t)
	s.report(t)
	if l := s.provider.Ledger(); l.DeadFamilies == 0 || l.Reuses == 0 || s.failed.Load() == 0 {
		t.Errorf("nothing died of %d refreshes", l.Refreshes)
	}
}
