package main

import (
	"time"

	"github.com/spf13/cobra"

	"github.com/plugfn/plugfn/services/scheduler/schedules"
)

// ruleFlags say when a schedule has its ticks, and what becomes of those that
// cannot fire in time.
type ruleFlags struct {
	name, cron, zone, every, at, start, end, jitter, misfire, overlap string
}

func (f *ruleFlags) add(cmd *cobra.Command) {
	flags := cmd.Flags()
	flags.StringVar(&f.name, "name", "", "the user's own word for it")
	flags.StringVar(&f.cron, "cron", "", `at these times: five fields, six with the seconds first, or @daily and the like`)
	flags.StringVar(&f.zone, "zone", "", "time zone of --cron, such as Europe/Berlin; UTC if not given")
	flags.StringVar(&f.every, "every", "", "at this distance, such as 90s")
	flags.StringVar(&f.at, "at", "", "once: a time such as 2026-01-02T15:04:05Z, or a duration from now such as 10m")
	flags.StringVar(&f.start, "start", "", "no tick before: a time, or a duration from now")
	flags.StringVar(&f.end, "end", "", "no tick after: a time, or a duration from now")
	flags.StringVar(&f.jitter, "jitter", "", "up to how much later a tick fires, such as 30s")
	flags.StringVar(&f.misfire, "misfire", "", "what becomes of ticks that were missed: fire_once (if not given), skip, all")
	flags.StringVar(&f.overlap, "overlap", "", "what becomes of a tick while the action of the one before goes on: allow (if not given), skip, queue")
	fixed := func(name string, words ...string) {
		_ = cmd.RegisterFlagCompletionFunc(name, cobra.FixedCompletions(words, cobra.ShellCompDirectiveNoFileComp)) // the flag is there
	}
	fixed("misfire", "fire_once", "skip", "all")
	fixed("overlap", "allow", "skip", "queue")
}

// change is what the flags that were given say.
func (f *ruleFlags) change(cmd *cobra.Command, now time.Time) (a schedules.Amendment, err error) {
	given := func(name string, value *string) *string {
		if cmd.Flags().Changed(name) {
			return value
		}
		return nil
	}
	a = schedules.Amendment{
		Name: given("name", &f.name), Cron: given("cron", &f.cron), Zone: given("zone", &f.zone),
		Every: given("every", &f.every), Jitter: given("jitter", &f.jitter),
	}
	if given("misfire", &f.misfire) != nil {
		m := schedules.Misfire(f.misfire)
		a.Misfire = &m
	}
	if given("overlap", &f.overlap) != nil {
		o := schedules.Overlap(f.overlap)
		a.Overlap = &o
	}
	for name, into := range map[string]struct {
		text  string
		field **time.Time
	}{"at": {f.at, &a.At}, "start": {f.start, &a.Start}, "end": {f.end, &a.End}} {
		if !cmd.Flags().Changed(name) {
			continue
		}
		when, err := moment("--"+name, into.text, now)
		if err != nil {
			return a, err
		}
		*into.field = &when
	}
	return a, nil
}

// moment reads a time, or a duration from now.
func moment(flag, text string, now time.Time) (time.Time, error) {
	if at, err := time.Parse(time.RFC3339, text); err == nil {
		return at, nil
	}
	d, err := time.ParseDuration(text)
	if err != nil {
		return time.Time{}, usage("", "%s %q: must be a time such as 2026-01-02T15:04:05Z or a duration from now such as 10m", flag, text)
	}
	return now.Add(d).UTC().Truncate(time.Millisecond), nil
}
