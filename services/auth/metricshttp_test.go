package auth

import (
	"net/http"
	"strings"
	"testing"

	"github.com/plugfn/plugfn/internal/tally"
	"github.com/plugfn/plugfn/pkg/events"
)

func TestHTTPMetrics(t *testing.T) {
	r := newRig(t)
	w := newWeb(t, r)
	for id, outcome := range map[string]events.Outcome{"1": events.Succeeded, "2": events.Succeeded, "3": events.Failed, "4": events.Unknown} {
		msg, err := (&events.Result{ID: id, UserID: "u" + id, Provider: "github", Action: "issues.get", Outcome: outcome, DurationMS: 10}).Msg()
		if err != nil {
			t.Fatal(err)
		}
		if _, err := r.bus.JetStream().PublishMsg(t.Context(), msg); err != nil {
			t.Fatal(err)
		}
	}
	type body struct {
		GroupBy string `json:"group_by"`
		All     tally.Group
		Groups  []tally.Group
	}
	got := w.do(t, "GET", pathMetrics+"?range=1h&group_by=action", "")
	m := parse[body](t, got.body)
	if got.status != http.StatusOK || m.GroupBy != "action" || len(m.Groups) != 1 || m.Groups[0].Group != "github.issues.get" {
		t.Fatalf("%d %s", got.status, got.body)
	}
	if g := m.Groups[0]; g.Total != 4 || g.Succeeded != 2 || g.Failed != 1 || g.Unknown != 1 || g.SuccessRate != 0.5 || g.Average != 10 || m.All.Total != 4 {
		t.Errorf("counted %s", got.body)
	}
	m = parse[body](t, w.do(t, "GET", pathMetrics+"?user_id=u3", "").body)
	if m.All.Total != 1 || m.All.Failed != 1 || m.GroupBy != "provider" {
		t.Errorf("of one user: %+v", m)
	}
	if got := w.do(t, "GET", pathMetrics+"?provider=slack", ""); !strings.Contains(got.body, `"groups":[]`) {
		t.Errorf("of nothing: %s", got.body)
	}
	for query, field := range map[string]string{"range=8d": "range", "range=soon": "range", "group_by=colour": "group_by", "by=user": "by", "user_id=": "user_id"} {
		got := w.do(t, "GET", pathMetrics+"?"+query, "")
		if p := got.problem(t); got.status != http.StatusUnprocessableEntity || p.Code != events.CodeInvalidParams || !strings.Contains(p.Detail, field) {
			t.Errorf("%s: %d %s", query, got.status, got.body)
		}
	}
	for range maxCounts {
		r.counts <- struct{}{}
	}
	if got := w.do(t, "GET", pathMetrics, ""); got.status != http.StatusTooManyRequests || got.problem(t).Code != events.CodeRateLimited {
		t.Errorf("with too many at once: %d %s", got.status, got.body)
	}
	w.key = ""
	if got := w.do(t, "GET", pathMetrics, ""); got.status != http.StatusUnauthorized {
		t.Errorf("without the key: %d", got.status)
	}
}
