package rule

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"
)

func parse(t testing.TB, s Spec) Rule {
	t.Helper()
	r, err := Parse(s)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func at(t testing.TB, text string) time.Time {
	t.Helper()
	when, err := time.Parse(time.RFC3339, text)
	if err != nil {
		t.Fatal(err)
	}
	return when
}

// TestCron has the changes of the clocks of 2026: Berlin 29 March and 25
// October by an hour, New York 8 March and 1 November by an hour, Lord Howe 5
// April and 4 October by half an hour. Apia left out 30 December 2011.
func TestCron(t *testing.T) {
	for name, tt := range map[string]struct {
		cron, zone, after string
		want              []string
	}{
		"each weekday": {"0 9 * * MON-FRI", "Europe/Berlin", "2026-11-27T09:00:00+01:00", []string{"2026-11-30T09:00:00+01:00", "2026-12-01T09:00:00+01:00"}},
		"seconds":      {"*/20 30 9 * * *", "", "2026-01-01T09:30:00Z", []string{"2026-01-01T09:30:20Z", "2026-01-01T09:30:40Z", "2026-01-02T09:30:00Z"}},
		"named":        {"@hourly", "", "2026-01-01T23:30:00Z", []string{"2026-01-02T00:00:00Z", "2026-01-02T01:00:00Z"}},
		"sunday":       {"@weekly", "", "2026-11-28T12:00:00Z", []string{"2026-11-29T00:00:00Z", "2026-12-06T00:00:00Z"}},
		"leap day":     {"0 0 29 2 *", "", "2026-01-01T00:00:00Z", []string{"2028-02-29T00:00:00Z", "2032-02-29T00:00:00Z"}},

		"Berlin, left out":          {"30 2 * * *", "Europe/Berlin", "2026-03-28T12:00:00+01:00", []string{"2026-03-29T03:00:00+02:00", "2026-03-30T02:30:00+02:00"}},
		"Berlin, all of the gap":    {"*/15 2 * * *", "Europe/Berlin", "2026-03-29T01:59:59+01:00", []string{"2026-03-29T03:00:00+02:00", "2026-03-30T02:00:00+02:00"}},
		"Berlin, gap and its end":   {"0 2,3 * * *", "Europe/Berlin", "2026-03-29T00:00:00+01:00", []string{"2026-03-29T03:00:00+02:00", "2026-03-30T02:00:00+02:00"}},
		"Berlin, twice":             {"30 2 * * *", "Europe/Berlin", "2026-10-24T12:00:00+02:00", []string{"2026-10-25T02:30:00+02:00", "2026-10-26T02:30:00+01:00"}},
		"Berlin, the second time":   {"*/30 2 * * *", "Europe/Berlin", "2026-10-25T02:10:00+01:00", []string{"2026-10-26T02:00:00+01:00"}},
		"Berlin, midnight":          {"@daily", "Europe/Berlin", "2026-10-25T00:00:00+02:00", []string{"2026-10-26T00:00:00+01:00"}},
		"Berlin, hours in spring":   {"0 * * * *", "Europe/Berlin", "2026-03-29T00:30:00+01:00", []string{"2026-03-29T01:00:00+01:00", "2026-03-29T03:00:00+02:00", "2026-03-29T04:00:00+02:00"}},
		"Berlin, hours in autumn":   {"0 * * * *", "Europe/Berlin", "2026-10-25T01:30:00+02:00", []string{"2026-10-25T02:00:00+02:00", "2026-10-25T02:00:00+01:00", "2026-10-25T03:00:00+01:00"}},
		"Berlin, quarters":          {"*/15 * * * *", "Europe/Berlin", "2026-10-25T02:40:00+02:00", []string{"2026-10-25T02:45:00+02:00", "2026-10-25T02:00:00+01:00", "2026-10-25T02:15:00+01:00"}},
		"New York, left out":        {"15 2 * * *", "America/New_York", "2026-03-07T12:00:00-05:00", []string{"2026-03-08T03:00:00-04:00", "2026-03-09T02:15:00-04:00"}},
		"New York, twice":           {"15 1 * * *", "America/New_York", "2026-10-31T12:00:00-04:00", []string{"2026-11-01T01:15:00-04:00", "2026-11-02T01:15:00-05:00"}},
		"New York, every other":     {"0 */2 * * *", "America/New_York", "2026-03-08T00:30:00-05:00", []string{"2026-03-08T04:00:00-04:00"}},
		"Lord Howe, left out":       {"15 2 * * *", "Australia/Lord_Howe", "2026-10-03T12:00:00+10:30", []string{"2026-10-04T02:30:00+11:00", "2026-10-05T02:15:00+11:00"}},
		"Lord Howe, twice":          {"45 1 * * *", "Australia/Lord_Howe", "2026-04-04T12:00:00+11:00", []string{"2026-04-05T01:45:00+11:00", "2026-04-06T01:45:00+10:30"}},
		"Lord Howe, half an hour":   {"*/30 * * * *", "Australia/Lord_Howe", "2026-04-05T01:30:00+11:00", []string{"2026-04-05T01:30:00+10:30", "2026-04-05T02:00:00+10:30"}},
		"Apia, a day left out":      {"0 12 * * *", "Pacific/Apia", "2011-12-29T12:00:00-10:00", []string{"2011-12-31T00:00:00+14:00", "2011-12-31T12:00:00+14:00"}},
		"the moment is not its own": {"0 9 * * *", "", "2026-01-01T09:00:00Z", []string{"2026-01-02T09:00:00Z"}},
	} {
		t.Run(name, func(t *testing.T) {
			r := parse(t, Spec{Cron: tt.cron, Zone: tt.zone})
			when := at(t, tt.after)
			for _, want := range tt.want {
				if when = r.Next(when); !when.Equal(at(t, want)) {
					t.Fatalf("got %s, want %s", when, want)
				}
			}
		})
	}
}

func TestEvery(t *testing.T) {
	anchor := at(t, "2026-01-01T00:00:00Z")
	r := parse(t, Spec{Every: 90 * time.Second, Anchor: anchor})
	for after, want := range map[string]string{
		"2025-01-01T00:00:00Z": "2026-01-01T00:01:30Z",
		"2026-01-01T00:00:00Z": "2026-01-01T00:01:30Z",
		"2026-01-01T00:01:30Z": "2026-01-01T00:03:00Z",
		"2026-01-01T00:02:59Z": "2026-01-01T00:03:00Z",
	} {
		if got := r.Next(at(t, after)); !got.Equal(at(t, want)) {
			t.Errorf("after %s: %s, want %s", after, got, want)
		}
	}
	r = parse(t, Spec{Every: time.Hour, Anchor: anchor, Start: at(t, "2026-02-01T10:00:00Z"), End: at(t, "2026-02-01T11:30:00Z")})
	first := r.Next(anchor)
	if !first.Equal(at(t, "2026-02-01T10:00:00Z")) {
		t.Errorf("the first is at %s and not at the start", first)
	}
	if last := r.Next(first); !last.Equal(at(t, "2026-02-01T11:00:00Z")) || !r.Next(last).IsZero() {
		t.Errorf("the last is at %s, and after it %s", last, r.Next(last))
	}
}

func TestCronWithinStartAndEnd(t *testing.T) {
	start := at(t, "2026-02-01T09:00:00Z")
	r := parse(t, Spec{Cron: "0 9 * * *", Start: start, End: start.Add(24 * time.Hour)})
	first := r.Next(at(t, "2020-01-01T00:00:00Z"))
	if !first.Equal(start) || !r.Next(first).Equal(start.Add(24*time.Hour)) || !r.Next(start.Add(24*time.Hour)).IsZero() {
		t.Errorf("the first is at %s, then %s", first, r.Next(first))
	}
}

func TestParseRefuses(t *testing.T) {
	now := at(t, "2026-11-28T12:00:00Z")
	later := now.Add(time.Hour)
	for name, tt := range map[string]struct {
		spec        Spec
		field, says string
	}{
		"nothing":         {Spec{}, "cron", "set one of"},
		"two":             {Spec{Cron: "@daily", Every: time.Hour}, "cron", "only one"},
		"fields":          {Spec{Cron: "* * *"}, "cron", "has 3 fields"},
		"range":           {Spec{Cron: "99 * * * *"}, "cron", "99"},
		"word":            {Spec{Cron: "a b c d e"}, "cron", "a b c d e"},
		"@every":          {Spec{Cron: "@every 5m"}, "cron", "use the field every"},
		"@odd":            {Spec{Cron: "@fortnightly"}, "cron", "none of @yearly"},
		"TZ":              {Spec{Cron: "CRON_TZ=UTC 0 9 * * *"}, "cron", "use the field zone"},
		"TZ alone":        {Spec{Cron: "TZ="}, "cron", "use the field zone"},
		"long":            {Spec{Cron: strings.Repeat("1,", 120) + "1 * * * *"}, "cron", "longer than"},
		"zone":            {Spec{Cron: "@daily", Zone: "Europe/Berlln"}, "zone", "Europe/Berlin"},
		"zone is a path":  {Spec{Cron: "@daily", Zone: "../../etc/passwd"}, "zone", "name of a time zone"},
		"zone is local":   {Spec{Cron: "@daily", Zone: "Local"}, "zone", "name of a time zone"},
		"zone of every":   {Spec{Every: time.Hour, Zone: "UTC"}, "zone", "goes with cron only"},
		"often":           {Spec{Every: time.Millisecond}, "every", "from 1s"},
		"rare":            {Spec{Every: 9000 * time.Hour}, "every", "from 1s"},
		"below zero":      {Spec{Every: -time.Hour}, "every", "from 1s"},
		"jitter":          {Spec{Every: time.Minute, Jitter: time.Minute}, "jitter", "below every"},
		"jitter of days":  {Spec{Cron: "@daily", Jitter: 48 * time.Hour}, "jitter", "24h"},
		"start of at":     {Spec{At: later, Start: now}, "start", "at is one time"},
		"end first":       {Spec{Cron: "@daily", Start: later, End: later}, "end", "after start"},
		"gone by":         {Spec{At: now}, "at", "has gone by"},
		"never":           {Spec{Cron: "0 0 30 2 *"}, "cron", "no time within"},
		"over":            {Spec{Cron: "@daily", End: later}, "end", "before the first tick"},
		"over long since": {Spec{Every: time.Hour, End: now.Add(-time.Hour)}, "end", "before the first tick"},
		"start of old":    {Spec{Every: time.Hour, Start: at(t, "0004-01-01T00:00:00Z")}, "start", "from 1970"},
		"end of time":     {Spec{Every: time.Hour, End: at(t, "2999-01-01T00:00:00Z")}, "end", "from 1970"},
		"far":             {Spec{At: now.AddDate(20, 0, 0)}, "at", "too far"},
	} {
		r, err := Parse(tt.spec)
		if err == nil {
			err = r.CheckFrom(now)
		}
		var f *Fault
		if !errors.As(err, &f) || f.Field != tt.field || !strings.Contains(f.Message, tt.says) {
			t.Errorf("%s: %v, want %s: …%s…", name, err, tt.field, tt.says)
		}
	}
}

func TestDue(t *testing.T) {
	anchor := at(t, "2026-01-01T00:00:00Z")
	for name, spec := range map[string]Spec{
		"every": {Every: time.Second, Anchor: anchor},
		"cron":  {Cron: "* * * * * *"},
	} {
		r := parse(t, spec)
		ticks, more := r.Due("s", anchor, anchor.Add(90*time.Second+time.Millisecond), 10)
		if len(ticks) != 10 || more != 80 || !ticks[9].Equal(anchor.Add(90*time.Second)) {
			t.Errorf("%s: %d and %d more, up to %s", name, len(ticks), more, ticks[len(ticks)-1])
		}
		began := time.Now()
		year := anchor.AddDate(1, 0, 0)
		ticks, more = r.Due("s", anchor, year, 10)
		if len(ticks) != 10 || more == 0 || !ticks[9].Equal(year) {
			t.Errorf("%s, a year: %d and %d more", name, len(ticks), more)
		}
		t.Logf("%s: a year of seconds took %s", name, time.Since(began))
		if ticks, more := r.Due("s", anchor, anchor, 10); len(ticks) != 0 || more != 0 {
			t.Errorf("%s: %v are due at once", name, ticks)
		}
	}
}

// anyRule draws a rule with a tick in each day, or nearly.
func anyRule(t *rapid.T) Rule {
	zone := rapid.SampledFrom([]string{"", "Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Asia/Kathmandu", "Africa/Casablanca", "America/Sao_Paulo"}).Draw(t, "zone")
	field := func(name string, most int) string {
		return rapid.OneOf(
			rapid.SampledFrom([]string{"*", "*/7", "*/2", "0"}),
			rapid.Custom(func(t *rapid.T) string {
				n := rapid.IntRange(0, most).Draw(t, name)
				return string(rune('0'+n/10)) + string(rune('0'+n%10))
			}),
		).Draw(t, name)
	}
	s := Spec{Zone: zone, Cron: field("minute", 59) + " " + field("hour", 23) + " * * " + rapid.SampledFrom([]string{"*", "1-5"}).Draw(t, "weekday")}
	s.Jitter = time.Duration(rapid.Int64Range(0, int64(3*time.Hour)).Draw(t, "jitter"))
	r, err := Parse(s)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// TestTicks: whatever the rule, its ticks go up, are at times that the
// expression means, and none that it means is left out.
func TestTicks(t *testing.T) {
	from := at(t, "2026-01-01T00:00:00Z")
	rapid.Check(t, func(t *rapid.T) {
		r := anyRule(t)
		when := from.Add(time.Duration(rapid.Int64Range(0, int64(400*24*time.Hour)).Draw(t, "after")))
		shown := map[time.Time]bool{}
		for range 30 {
			next := r.Next(when)
			if !next.After(when) {
				t.Fatalf("%s comes after %s", next, when)
			}
			if between := when.Add(next.Sub(when) / 2); !r.Next(between).Equal(next) {
				t.Fatalf("after %s comes %s, and after %s in between %s", when, next, between, r.Next(between))
			}
			w := wall(next, r.cron.zone)
			if !r.cron.real && shown[w] {
				t.Fatalf("two ticks at %s on the wall", w)
			}
			shown[w] = true
			start, _ := next.In(r.cron.zone).ZoneBounds()
			if matches := r.cron.spec.Next(w.Add(-time.Second)).Equal(w); !matches && (r.cron.real || !start.Equal(next)) {
				t.Fatalf("%s matches not, and no gap ends there", next.In(r.cron.zone))
			}
			if most := 4*24*time.Hour + time.Hour; next.Sub(when) > most {
				t.Fatalf("%s from %s to %s", next.Sub(when), when, next)
			}
			fire := r.Fire("s", next)
			if fire.Before(next) || fire.Sub(next) >= max(r.spec.Jitter, 1) || !fire.Before(r.Next(next)) {
				t.Fatalf("the tick %s fires at %s, the next is at %s", next, fire, r.Next(next))
			}
			when = next
		}
	})
}

// TestRealTime: in all zones and across changes of the clocks, an expression
// with a free hour has each minute that it means, found by looking at each.
func TestRealTime(t *testing.T) {
	for _, zone := range []string{"Europe/Berlin", "Australia/Lord_Howe", "America/New_York"} {
		r := parse(t, Spec{Cron: "7,37 * * * *", Zone: zone})
		for _, day := range []string{"2026-03-08T00:00:00Z", "2026-03-28T20:00:00Z", "2026-04-04T10:00:00Z", "2026-10-03T10:00:00Z", "2026-10-24T20:00:00Z", "2026-11-01T00:00:00Z"} {
			from := at(t, day)
			var want, got []time.Time
			for when := from.Add(time.Minute); when.Before(from.Add(24 * time.Hour)); when = when.Add(time.Minute) {
				if m := when.In(r.cron.zone).Minute(); m == 7 || m == 37 {
					want = append(want, when)
				}
			}
			for when := r.Next(from); when.Before(from.Add(24 * time.Hour)); when = r.Next(when) {
				got = append(got, when)
			}
			if !slices.EqualFunc(want, got, time.Time.Equal) {
				t.Errorf("%s from %s: %d ticks, want %d", zone, day, len(got), len(want))
			}
		}
	}
}

func TestJitterSpreads(t *testing.T) {
	r := parse(t, Spec{Cron: "@daily", Jitter: time.Hour})
	tick := at(t, "2026-01-02T00:00:00Z")
	var early, late int
	for i := range 1000 {
		switch delay := r.Fire(string(rune('a'+i%26))+string(rune('a'+i/26)), tick).Sub(tick); {
		case delay < 20*time.Minute:
			early++
		case delay > 40*time.Minute:
			late++
		}
	}
	if early < 250 || late < 250 {
		t.Errorf("of 1000, %d in the first third and %d in the last", early, late)
	}
}

func FuzzParse(f *testing.F) {
	for _, text := range []string{"0 9 * * MON-FRI", "*/5 * * * * *", "@hourly", "TZ=UTC * * * * *", "? ? ? ? ?", "0 0 31 2 *", "1-0 * * * *", "*/0 * * * *"} {
		f.Add(text, "Europe/Berlin", int64(1795867200))
	}
	f.Fuzz(func(t *testing.T, text, zone string, unix int64) {
		r, err := Parse(Spec{Cron: text, Zone: zone})
		if err != nil {
			var fault *Fault
			if !errors.As(err, &fault) || fault.Field == "" {
				t.Fatalf("%v names no field", err)
			}
			return
		}
		now := time.Unix(unix%(1<<33), 0)
		if next := r.Next(now); !next.IsZero() && !next.After(now) {
			t.Fatalf("%q %q: %s comes after %s", text, zone, next, now)
		}
	})
}
