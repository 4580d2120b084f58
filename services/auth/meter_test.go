package auth

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/plugfn/plugfn/pkg/events"
	"github.com/plugfn/plugfn/services/auth/oauthtest"
)

// scrape is what Prometheus reads of a service.
func scrape(t *testing.T, s *Service) string {
	t.Helper()
	registry := prometheus.NewPedanticRegistry()
	registry.MustRegister(s)
	answer := httptest.NewRecorder()
	promhttp.HandlerFor(registry, promhttp.HandlerOpts{}).ServeHTTP(answer, httptest.NewRequest(http.MethodGet, "/metrics", http.NoBody))
	if answer.Code != http.StatusOK {
		t.Fatalf("%d %s", answer.Code, answer.Body)
	}
	return answer.Body.String()
}

func TestRefreshesAreCounted(t *testing.T) {
	s := newScene(t, oauthtest.Config{})
	s.clock.add(59*time.Minute + 30*time.Second)
	s.provider.Fail(oauthtest.Fault{Status: http.StatusServiceUnavailable, RetryAfter: time.Second})
	s.want(t, 1)
	s.clock.add(time.Hour)
	s.want(t, 2)
	text := scrape(t, s.Service)
	for _, want := range []string{
		`plugfn_oauth_refresh_total{outcome="transient",provider="strict"} 1`,
		`plugfn_oauth_refresh_total{outcome="refreshed",provider="strict"} 1`,
	} {
		if !strings.Contains(text, want+"\n") {
			t.Errorf("%s is not in %s", want, text)
		}
	}
	if strings.Contains(text, "plugfn_connections{") {
		t.Errorf("connections are counted before all are known: %s", text)
	}
}

func TestConnectionsAreCounted(t *testing.T) {
	s := newScene(t, oauthtest.Config{})
	active, gone := group{"strict", events.ConnectionActive}, group{"strict", events.ConnectionError}
	want := func(groups map[group]int) {
		t.Helper()
		got := s.store.index.counted()
		for _, g := range []group{active, gone} {
			if got[g] != groups[g] {
				t.Errorf("counted %v, want %v", got, groups)
				return
			}
		}
	}
	want(map[group]int{active: 1})
	second := s.connect(t, "u2")
	want(map[group]int{active: 2})
	s.clock.add(2 * time.Hour)
	s.want(t, 2) // a change is no further connection
	want(map[group]int{active: 2})
	key := events.Key(second.UserID, second.Provider, second.ID)
	s.store.index.note(key, 1<<40, []byte("unreadable"))
	want(map[group]int{active: 1, gone: 1})
	s.store.index.note(key, 1<<41, nil)
	want(map[group]int{active: 1})
	s.store.index.once.Do(func() { close(s.store.index.loaded) })
	if text := scrape(t, s.Service); !strings.Contains(text, `plugfn_connections{provider="strict",status="active"} 1`+"\n") {
		t.Errorf("scraped %s", text)
	}
}
