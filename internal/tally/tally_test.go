package tally

import (
	"context"
	"errors"
	"fmt"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/plugfn/plugfn/internal/bus/bustest"
	"github.com/plugfn/plugfn/pkg/events"
)

func TestCounter(t *testing.T) {
	t.Parallel()
	groups := counter{by: ByAction, of: map[string]*Group{}}
	add := func(action string, outcome events.Outcome, ms int64, attempts int, failure *events.Error) {
		t.Helper()
		r := &events.Result{ID: "a", UserID: "u", Provider: "p", Action: action, Outcome: outcome, DurationMS: ms, Attempts: attempts, Error: failure}
		if failure != nil {
			r.WaitedMS = 100 * int64(attempts+1) / 2
		}
		msg, err := r.Msg()
		if err != nil {
			t.Fatal(err)
		}
		groups.add(msg.Header)
	}
	for ms := int64(1); ms <= 97; ms++ {
		add("x.a", events.Succeeded, 10*ms, 1, nil)
	}
	add("x.a", events.Failed, 980, 1, events.Errorf(events.CodeRateLimited, "slow down"))
	add("x.a", events.Failed, 990, 3, events.Errorf(events.CodeTimeout, "late"))
	add("x.a", events.Unknown, 1000, 1, nil)
	add("y", events.Succeeded, 0, 1, nil)
	report := groups.report()
	all := report.Groups
	if len(all) != 2 || all[0].Group != "p.x.a" || all[1].Group != "p.y" {
		t.Fatalf("groups %+v", all)
	}
	m := all[0]
	if m.Total != 100 || m.Succeeded != 97 || m.Failed != 2 || m.Unknown != 1 || m.RateLimited != 1 || m.Retried != 1 {
		t.Errorf("counted %+v", m)
	}
	if m.SuccessRate != 0.97 || m.Average != 505 || math.Abs(m.P95-950) > 0.05*950 {
		t.Errorf("success rate %v, average %v, p95 %v; want 0.97, 505, 950 ±5%%", m.SuccessRate, m.Average, m.P95)
	}
	if sum := report.All; sum.Total != 101 || sum.Succeeded != 98 || sum.Group != "" || m.LimitWaits != 2 || m.LimitWait != 150 {
		t.Errorf("all together: %+v, waits of the first %d of %v ms", sum, m.LimitWaits, m.LimitWait)
	}
	if all[1].P95 != 0 || all[1].Average != 0 {
		t.Errorf("of no time at all: %+v", all[1])
	}
}

func TestBuckets(t *testing.T) {
	if got := bucketOf(math.MaxInt64); got != maxBuckets-1 {
		t.Errorf("the longest is in bucket %d, want the last", got)
	}
	for ms := int64(1); ms < 1<<31; ms = ms*3/2 + 1 {
		upper := math.Pow(bucketGrowth, float64(bucketOf(ms))) - 1
		if upper < float64(ms)-0.001 || upper > bucketGrowth*float64(ms)+0.06 {
			t.Errorf("%d ms count as %v", ms, upper)
		}
	}
}

func TestParseRange(t *testing.T) {
	for text, want := range map[string]time.Duration{"90m": 90 * time.Minute, "1d": 24 * time.Hour, "7d": MaxRange, "168h": MaxRange, "0.5d": 12 * time.Hour} {
		if d, err := ParseRange(text); err != nil || d != want {
			t.Errorf("%s: %s, %v", text, d, err)
		}
	}
	for _, text := range []string{"", "d", "8d", "-1d", "0d", "169h", "0s", "-1h", "1w", "1h7d", "1e9h", "7dd"} {
		if d, err := ParseRange(text); err == nil {
			t.Errorf("%q is %s", text, d)
		}
	}
}

func TestCount(t *testing.T) {
	b := bustest.New(t)
	js := b.JetStream()
	if r, err := Count(t.Context(), js, Query{Since: time.Now().Add(-time.Hour)}); err != nil || r.All.Total != 0 || len(r.Groups) != 0 {
		t.Fatalf("of nothing: %+v, %v", r, err)
	}
	put := func(id, user, provider string) {
		t.Helper()
		msg, err := (&events.Result{ID: id, UserID: user, Provider: provider, Action: "x", Outcome: events.Succeeded, Data: []byte(`"long"`)}).Msg()
		if err != nil {
			t.Fatal(err)
		}
		if _, err := js.PublishMsg(t.Context(), msg); err != nil {
			t.Fatal(err)
		}
	}
	put("1", "u 1", "slack")
	put("2", "u 1", "github")
	put("3", "u2", "slack")
	if _, err := js.Publish(t.Context(), events.PrefixResult+"u2.slack.succeeded.4", []byte("no result")); err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		query Query
		want  string
	}{
		{Query{}, "slack 2, github 1"},
		{Query{By: ByUser}, "u 1 2, u2 1"},
		{Query{By: ByAction, User: "u 1"}, "github.x 1, slack.x 1"},
		{Query{Provider: "slack", By: ByUser}, "u 1 1, u2 1"},
		{Query{User: "nobody"}, ""},
		{Query{Since: time.Now().Add(time.Hour)}, ""},
	}
	for _, tt := range tests {
		if tt.query.Since.IsZero() {
			tt.query.Since = time.Now().Add(-time.Hour)
		}
		r, err := Count(t.Context(), js, tt.query)
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, g := range r.Groups {
			got = append(got, fmt.Sprintf("%s %d", g.Group, g.Total))
		}
		if text := strings.Join(got, ", "); text != tt.want {
			t.Errorf("%+v: %s, want %s", tt.query, text, tt.want)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := Count(ctx, js, Query{}); !errors.Is(err, context.Canceled) {
		t.Errorf("after its end: %v", err)
	}
}
