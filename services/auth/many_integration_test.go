//go:build integration

package auth

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/plugfn/plugfn/pkg/events"
	"github.com/plugfn/plugfn/services/auth/oauthtest"
)

// instant is a provider that answers at once, with tokens for a day.
type instant struct {
	authority
	asked atomic.Int64
}

func (a *instant) renew(context.Context, hand) (minted, error) {
	n := a.asked.Add(1)
	return minted{secrets: secrets{AccessToken: secret(fmt.Sprint("at_", n)), RefreshToken: secret(fmt.Sprint("rt_", n))}, ExpiresAt: time.Now().Add(24 * time.Hour)}, nil
}

// Ten thousand connections are listed, and refreshed when each is due, while the
// bucket is looked through once: when the service starts.
func TestTenThousandConnections(t *testing.T) {
	const connections = 10_000
	f := newFleet(t, oauthtest.Config{})
	provider := &instant{}
	counting := &counted{}
	s := f.add(t, func(s *Service) {
		provider.authority = s.refresher.authority
		s.refresher.authority = provider
		counting.KeyValue = s.store.kv
		s.store.kv = counting
	})
	f.move(t)
	f.start(t, s)
	began := time.Now()
	var wait sync.WaitGroup
	for worker := range 20 {
		wait.Go(func() {
			for i := worker; i < connections; i += 20 {
				_, err := s.store.connect(t.Context(), grantInput{
					UserID: fmt.Sprint("user ", i%1000), Provider: "strict", Auth: "oauth", App: "client", Name: fmt.Sprint("connection ", i),
					Credential: minted{secrets: secrets{AccessToken: secret("a"), RefreshToken: secret("r")}, ExpiresAt: time.Now().Add(30 * time.Second)},
				})
				if err != nil {
					t.Error(err)
				}
			}
		})
	}
	wait.Wait()
	t.Logf("made in %s", time.Since(began))

	began = time.Now()
	seen, q := 0, query{limit: maxPage}
	for {
		items, next, err := s.store.list(t.Context(), q)
		if err != nil {
			t.Fatal(err)
		}
		seen += len(items)
		if q.cursor = next; next == "" {
			break
		}
	}
	if seen != connections {
		t.Errorf("listed %d", seen)
	}
	t.Logf("listed in %s", time.Since(began))
	if items, _, err := s.store.list(t.Context(), query{user: "user 7", limit: maxPage}); err != nil || len(items) != connections/1000 {
		t.Errorf("of one user: %d, %v", len(items), err)
	}

	stale := func() (n int) {
		s.store.index.of("", "", func(e *indexed) {
			if time.Until(e.due) < time.Hour {
				n++
			}
		})
		return n
	}
	for deadline := time.Now().Add(3 * time.Minute); stale() > 0 && time.Now().Before(deadline); time.Sleep(100 * time.Millisecond) {
	}
	t.Logf("refreshed %s after the list; the provider was asked %d times", time.Since(began), provider.asked.Load())
	if n := stale(); n > 0 || provider.asked.Load() != connections {
		t.Errorf("%d are not refreshed; asked %d times", n, provider.asked.Load())
	}
	if n := f.changes(t, events.Refreshed); n == 0 {
		t.Error("nothing was announced")
	}
	if counting.scans != 1 {
		t.Errorf("the bucket was looked through %d times", counting.scans)
	}
}
