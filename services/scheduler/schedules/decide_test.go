package schedules

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func at(t testing.TB, text string) time.Time {
	t.Helper()
	when, err := time.Parse(time.RFC3339, text)
	if err != nil {
		t.Fatal(err)
	}
	return when
}

// planned is the record of a plan that was made at a time.
func planned(t testing.TB, p Plan, now time.Time) *record {
	t.Helper()
	r := &record{ID: "sch_1", UserID: "u1", Plan: p, Anchor: now}
	if err := r.checkPolicies(); err != nil {
		t.Fatal(err)
	}
	if err := r.renew(now); err != nil {
		t.Fatal(err)
	}
	return r
}

func mustDecide(t testing.TB, r *record, now time.Time, busy bool) decision {
	t.Helper()
	rules, err := r.rule()
	if err != nil {
		t.Fatal(err)
	}
	return decide(r, rules, now, busy)
}

func clocks(all []firing) []string {
	out := []string{}
	for _, f := range all {
		out = append(out, f.at.Format("15:04:05"))
	}
	return out
}

// TestOutage: a scheduler comes back after five minutes.
func TestOutage(t *testing.T) {
	made := at(t, "2026-11-28T11:59:30Z")
	for name, tt := range map[string]struct {
		plan   Plan
		back   string
		fired  []string
		missed int
		stands int
		next   string
	}{
		"fire once": {
			plan: Plan{Cron: "* * * * *"}, back: "2026-11-28T12:04:30Z",
			fired: []string{"12:04:00"}, missed: 4, stands: 4, next: "12:05:00",
		},
		"skip": {
			plan: Plan{Cron: "* * * * *", Misfire: SkipLate}, back: "2026-11-28T12:04:30Z",
			fired: []string{"12:04:00"}, missed: 4, next: "12:05:00", // half a minute behind is not late
		},
		"all": {
			plan: Plan{Cron: "* * * * *", Misfire: FireAll}, back: "2026-11-28T12:04:30Z",
			fired: []string{"12:00:00", "12:01:00", "12:02:00", "12:03:00", "12:04:00"}, next: "12:05:00",
		},
		"skip, of two hours": {
			plan: Plan{Cron: "0 */2 * * *", Misfire: SkipLate}, back: "2026-11-28T12:05:00Z",
			fired: []string{}, missed: 1, next: "14:00:00",
		},
		"fire once, of two hours": {
			plan: Plan{Cron: "0 */2 * * *"}, back: "2026-11-28T12:05:00Z", fired: []string{"12:00:00"}, next: "14:00:00",
		},
		"fire once, of a second": {
			plan: Plan{Every: "1s"}, back: "2026-11-28T12:04:30Z", fired: []string{"12:04:30"}, missed: 299, stands: 299, next: "12:04:31",
		},
		"skip, of a second": {
			plan: Plan{Every: "1s", Misfire: SkipLate}, back: "2026-11-28T12:04:30Z",
			fired: []string{"12:04:25", "12:04:26", "12:04:27", "12:04:28", "12:04:29", "12:04:30"}, missed: 294, next: "12:04:31",
		},
		"a little behind": {
			plan: Plan{Every: "1s"}, back: "2026-11-28T11:59:33.5Z", fired: []string{"11:59:31", "11:59:32", "11:59:33"}, next: "11:59:34",
		},
		"once, late": {
			plan: Plan{At: at(t, "2026-11-28T12:00:00Z")}, back: "2026-11-28T15:00:00Z", fired: []string{"12:00:00"}, next: "00:00:00",
		},
		"over meanwhile": {
			plan: Plan{Cron: "* * * * *", End: at(t, "2026-11-28T12:02:00Z"), Misfire: FireAll}, back: "2026-11-28T12:04:30Z",
			fired: []string{"12:00:00", "12:01:00", "12:02:00"}, next: "00:00:00",
		},
	} {
		r := planned(t, tt.plan, made)
		d := mustDecide(t, r, at(t, tt.back), false)
		if diff := cmp.Diff(tt.fired, clocks(d.fire)); diff != "" || d.missed != tt.missed || d.next.Format("15:04:05") != tt.next {
			t.Errorf("%s: missed %d, next %s; fired %s", name, d.missed, d.next, diff)
		}
		if last := len(d.fire) - 1; last >= 0 && d.fire[last].missed != tt.stands {
			t.Errorf("%s: stands for %d", name, d.fire[last].missed)
		}
		if again := mustDecide(t, r, at(t, tt.back), false); !cmp.Equal(d, again, cmp.AllowUnexported(decision{}, firing{})) {
			t.Errorf("%s: decided otherwise the second time", name)
		}
		r.apply(&d, at(t, tt.back))
		if d := mustDecide(t, r, at(t, tt.back), false); len(d.fire) != 0 || d.missed != 0 {
			t.Errorf("%s: fired again: %v", name, clocks(d.fire))
		}
		if isDone := r.State == Done; isDone != (tt.next == "00:00:00") {
			t.Errorf("%s: state %s", name, r.State)
		}
	}
}

func TestFireAllIsBounded(t *testing.T) {
	made := at(t, "2026-11-01T00:00:00Z")
	r := planned(t, Plan{Every: "1s", Misfire: FireAll}, made)
	d := mustDecide(t, r, made.Add(time.Hour), false)
	if len(d.fire) != maxCatchUp || d.missed != 3600-maxCatchUp || !d.fire[maxCatchUp-1].at.Equal(made.Add(time.Hour)) {
		t.Errorf("%d fired, %d missed", len(d.fire), d.missed)
	}
}

// TestOutageOverAChangeOfTheClocks: the night from 24 to 25 October in Berlin.
func TestOutageOverAChangeOfTheClocks(t *testing.T) {
	r := planned(t, Plan{Cron: "30 2 * * *", Zone: "Europe/Berlin", Misfire: FireAll}, at(t, "2026-10-24T12:00:00+02:00"))
	d := mustDecide(t, r, at(t, "2026-10-26T12:00:00+01:00"), false)
	want := []string{"00:30:00", "01:30:00"} // once at 02:30 summer time, once at 02:30 of the next day
	if diff := cmp.Diff(want, clocks(d.fire)); diff != "" {
		t.Error(diff)
	}
}

func TestOverlap(t *testing.T) {
	made := at(t, "2026-11-28T12:00:00Z")
	later := func(n time.Duration) time.Time { return made.Add(n * time.Second) }

	r := planned(t, Plan{Every: "10s", Overlap: SkipBusy}, made)
	if d := mustDecide(t, r, later(10), true); len(d.fire) != 0 || d.skipped != 1 || !d.wake.Equal(later(20)) {
		t.Errorf("skip: %+v", d)
	}
	if d := mustDecide(t, r, later(10), false); len(d.fire) != 1 || d.skipped != 0 {
		t.Errorf("skip, free: %+v", d)
	}

	r = planned(t, Plan{Every: "10s", Overlap: QueueBusy}, made)
	r.Last = &Tick{ID: "before", FiredAt: made.Add(-2 * time.Second)}
	d := mustDecide(t, r, later(10), true)
	if len(d.fire) != 0 || len(d.waiting) != 1 || !d.wake.Equal(later(13)) { // a quarter of twelve seconds
		t.Errorf("queue: %+v", d)
	}
	r.apply(&d, later(10))
	d = mustDecide(t, r, later(13), false)
	if diff := cmp.Diff([]string{"12:00:10"}, clocks(d.fire)); diff != "" || len(d.waiting) != 0 || !d.wake.Equal(later(20)) {
		t.Errorf("queue, free: %+v", d)
	}
	r.Waiting = nil
	for range maxWaiting {
		r.Waiting = append(r.Waiting, later(0))
	}
	r.Settled = later(10)
	if d := mustDecide(t, r, later(20), true); d.skipped != 1 || len(d.waiting) != maxWaiting {
		t.Errorf("queue, full: %d wait, %d skipped", len(d.waiting), d.skipped)
	}

	// What waits is not forgotten when the rule has no more ticks.
	r = planned(t, Plan{At: later(10), Overlap: QueueBusy}, made)
	r.Last = &Tick{ID: "by hand", FiredAt: made}
	d = mustDecide(t, r, later(10), true)
	r.apply(&d, later(10))
	if r.State != Active || len(r.Waiting) != 1 {
		t.Errorf("the last one, busy: %s with %d waiting", r.State, len(r.Waiting))
	}
	d = mustDecide(t, r, later(13), false)
	r.apply(&d, later(13))
	if r.State != Done || r.Counts.Fired != 1 {
		t.Errorf("the last one, free: %s after %d", r.State, r.Counts.Fired)
	}
}
