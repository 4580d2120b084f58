package executor

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/plugfn/plugfn/pkg/events"
)

// scraped is what Prometheus reads of a service.
func scraped(t *testing.T, s *Service) string {
	t.Helper()
	registry := prometheus.NewPedanticRegistry()
	registry.MustRegister(s)
	answer := httptest.NewRecorder()
	promhttp.HandlerFor(registry, promhttp.HandlerOpts{}).ServeHTTP(answer, httptest.NewRequest(http.MethodGet, "/metrics", nil))
	if answer.Code != http.StatusOK {
		t.Fatalf("%d %s", answer.Code, answer.Body)
	}
	return answer.Body.String()
}

func TestAttemptsAreRemembered(t *testing.T) {
	asked := 0
	pack := strings.Replace(fakePack, "max_response: 2MiB", "max_response: 2MiB\n  request_id: header:X-Request", 1)
	s := tellPack(t, pack, func(w http.ResponseWriter, _ *http.Request) {
		asked++ // one after the other
		w.Header().Set("X-Request", fmt.Sprint("r", asked, strings.Repeat("x", 200)))
		if asked == 1 {
			w.WriteHeader(http.StatusServiceUnavailable)
		}
		_, _ = w.Write([]byte(`{"secret":"t0p"}`))
	})
	var service *Service
	s.tune = func(running *Service) { service = running }
	s.start()
	s.request(events.ActionRequest{ID: "a", Action: "things.get", Params: json.RawMessage(`{"id":"1"}`)})
	r := s.results(1)[0]
	if len(r.AttemptLog) != 2 || r.Attempts != 2 {
		t.Fatalf("got %+v", r)
	}
	first, second := r.AttemptLog[0], r.AttemptLog[1]
	if first.Status != 503 || first.Class != "uncertain" || first.Code != events.CodeProviderUnavailable || !strings.HasPrefix(first.RequestID, "r1x") {
		t.Errorf("first: %+v", first)
	}
	if second.Status != 200 || second.Class != "done" || second.Code != "" || !strings.HasPrefix(second.RequestID, "r2x") || len(second.RequestID) != maxRequestID {
		t.Errorf("second: %+v", second)
	}
	if second.At.Before(first.At) || first.At.IsZero() || second.MS < 0 {
		t.Errorf("times: %+v", r.AttemptLog)
	}
	text := scraped(t, service)
	for _, line := range []string{
		`plugfn_actions_total{action="things.get",outcome="succeeded",provider="fake"} 1`,
		`plugfn_action_duration_seconds_count{action="things.get",provider="fake"} 1`,
		`plugfn_action_attempts_total{class="uncertain",provider="fake"} 1`,
		`plugfn_action_attempts_total{class="done",provider="fake"} 1`,
		`plugfn_provider_http_responses_total{code_class="5xx",provider="fake"} 1`,
		`plugfn_provider_http_responses_total{code_class="2xx",provider="fake"} 1`,
		`plugfn_ratelimit_wait_seconds_count{provider="fake"} 2`,
		`plugfn_circuit_state{provider="fake"} 0`,
	} {
		if !strings.Contains(text, line+"\n") {
			t.Errorf("not scraped: %s", line)
		}
	}
}

// Labels are names of packs, whatever a request names.
func TestLabelsAreBounded(t *testing.T) {
	s := tell(t, nil)
	var service *Service
	s.tune = func(running *Service) { service = running }
	s.start()
	s.request(events.ActionRequest{ID: "a", Provider: "made-up", Action: "things.get"})
	s.request(events.ActionRequest{ID: "b", Action: "made.up", UserID: "somebody"})
	s.results(2)
	text := scraped(t, service)
	for _, line := range []string{`{action="unknown",outcome="failed",provider="unknown"} 1`, `{action="unknown",outcome="failed",provider="fake"} 1`} {
		if !strings.Contains(text, "plugfn_actions_total"+line+"\n") {
			t.Errorf("not scraped: %s", line)
		}
	}
	if strings.Contains(text, "made") || strings.Contains(text, "somebody") {
		t.Error("a label is what a request says")
	}
}

func TestAttemptLogIsBounded(t *testing.T) {
	e := &entry{}
	for i := range 3 * events.MaxAttemptLog {
		e.hold(time.Duration(i) * time.Millisecond)
		e.note(events.Attempt{Status: i})
	}
	e.hold(-time.Second)
	e.hold(time.Second)
	var r events.Result
	e.tell(&r)
	last := r.AttemptLog[len(r.AttemptLog)-1]
	if len(r.AttemptLog) != events.MaxAttemptLog || last.Status != 59 || last.WaitedMS != 59 || r.AttemptLog[0].Status != 40 || r.WaitedMS != 59*60/2+1000 {
		t.Errorf("%d attempts, the last %+v, waited %d ms", len(r.AttemptLog), last, r.WaitedMS)
	}
}
