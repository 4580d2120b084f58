package main

import (
	"math"
	"testing"

	"github.com/plugfn/plugfn/pkg/events"
)

func TestTally(t *testing.T) {
	groups := tally{by: "action", of: map[string]*measured{}}
	add := func(action string, outcome events.Outcome, ms int64, attempts int, failure *events.Error) {
		t.Helper()
		msg, err := (&events.Result{
			ID: "a", UserID: "u", Provider: "p", Action: action, Outcome: outcome, DurationMS: ms, Attempts: attempts, Error: failure,
		}).Msg()
		if err != nil {
			t.Fatal(err)
		}
		e, err := events.ParseEvent(msg.Header, msg.Data)
		if err != nil {
			t.Fatal(err)
		}
		groups.add(&storedEvent{Event: e, header: msg.Header})
	}
	for ms := int64(1); ms <= 97; ms++ {
		add("x.a", events.Succeeded, 10*ms, 1, nil)
	}
	add("x.a", events.Failed, 980, 1, events.Errorf(events.CodeRateLimited, "slow down"))
	add("x.a", events.Failed, 990, 3, events.Errorf(events.CodeTimeout, "late"))
	add("x.a", events.Unknown, 1000, 1, nil)
	add("y", events.Succeeded, 0, 1, nil)
	all := groups.sorted()
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
