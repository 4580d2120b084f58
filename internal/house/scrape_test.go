package house

import (
	"context"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"github.com/plugfn/plugfn/internal/bus/bustest"
	"github.com/plugfn/plugfn/internal/limiter"
)

func TestAboutLimits(t *testing.T) {
	since := time.Date(2026, 3, 14, 9, 26, 53, 0, time.UTC)
	for want, s := range map[string]limiter.Status{
		"kept in Redis, shared": {Store: "redis"},
		"kept in this process; more than one executor needs PLUGFN_REDIS_URL":                                  {Store: "memory"},
		"Redis does not answer since 2026-03-14T09:26:53Z: this process keeps to 40 % of each limit by itself": {Store: "local", Since: since, Share: 0.4},
	} {
		if got := aboutLimits(s); got != want {
			t.Errorf("%s: %q, want %q", s.Store, got, want)
		}
	}
}

// A bus that was never used, or is away, leaves its series out and fails nothing.
func TestScrapeWithoutExecutor(t *testing.T) {
	b := bustest.New(t)
	scrape := newScrape(b, []service{runner(func(context.Context) error { return nil })}, "dev", zerolog.Nop())
	read := func() string {
		answer := httptest.NewRecorder()
		scrape.ServeHTTP(answer, httptest.NewRequest(http.MethodGet, "/metrics", nil))
		if answer.Code != http.StatusOK {
			t.Errorf("%d %s", answer.Code, answer.Body)
		}
		return answer.Body.String()
	}
	if text := read(); !strings.Contains(text, "plugfn_dlq_messages 0\n") || strings.Contains(text, "plugfn_consumer_pending{") {
		t.Errorf("scraped %s", text)
	}
	b.Conn().Close()
	if text := read(); strings.Contains(text, "plugfn_dlq_messages 0") || !strings.Contains(text, "plugfn_build_info{") {
		t.Errorf("scraped without a bus: %s", text)
	}
}
