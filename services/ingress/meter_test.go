package ingress

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
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

// TestDeliveriesAreCounted: whatever a sender makes up becomes no label.
func TestDeliveriesAreCounted(t *testing.T) {
	local := newSpool(t, t.TempDir(), 0)
	g := open(t, func(c *Config) { c.Spool = local.JetStream() })
	defer func() { g.close(); _ = local.Close() }()
	genuine := g.issueOpened("d-1", 4242)
	for range 2 {
		if status, _ := g.send("github", genuine); status != http.StatusOK {
			t.Fatalf("status %d", status)
		}
	}
	forged := g.issueOpened("d-2", 4242)
	forged.Body = append(forged.Body, ' ')
	g.send("github", forged)
	g.send("github/"+strings.Repeat("x", 30), genuine)
	g.send("github", g.signed("d-3", "issues", "{"))
	put := g.issueOpened("d-4", 4242)
	put.Method = http.MethodPut
	g.send("github", put)
	for _, made := range []string{"acme", "made-up"} {
		g.send(made, genuine)
	}
	text := scrape(t, g.service)
	for _, want := range []string{
		`plugfn_ingress_webhooks_total{outcome="stored",provider="github"} 2`,
		`plugfn_ingress_webhooks_total{outcome="unverified",provider="github"} 2`,
		`plugfn_ingress_webhooks_total{outcome="unparsed",provider="github"} 1`,
		`plugfn_ingress_webhooks_total{outcome="method",provider="github"} 1`,
		`plugfn_ingress_webhooks_total{outcome="no_provider",provider="unknown"} 2`,
		`plugfn_ingress_webhook_duration_seconds_count 3`,
		`plugfn_ingress_spool_messages 0`,
	} {
		if !strings.Contains(text, want+"\n") {
			t.Errorf("%s is not in %s", want, text)
		}
	}
	if strings.Contains(text, "acme") || strings.Contains(text, "xxx") {
		t.Errorf("a sender has labels: %s", text)
	}
}

// TestEachRefusalHasAWord: no two outcomes share a label.
func TestEachRefusalHasAWord(t *testing.T) {
	seen := map[string]int{kindStored: 0, kindPing: 0, kindHandshake: 0, kindUnparsed: 0}
	for _, status := range []int{400, 401, 404, 405, 413, 415, 429, 503} {
		a := answer{status: status}
		if before, ok := seen[a.outcome()]; ok {
			t.Errorf("%d is %q, as is %d", status, a.outcome(), before)
		}
		seen[a.outcome()] = status
	}
	for _, a := range []answer{{status: 200, kind: kindPing}, {status: 204, kind: kindHandshake}, {status: 200, published: 1}} {
		if _, ok := seen[a.outcome()]; !ok {
			t.Errorf("%+v is %q", a, a.outcome())
		}
	}
}
