package main

import (
	"time"

	"github.com/spf13/pflag"

	"github.com/plugfn/plugfn/pkg/events"
)

// maxAhead is how far ahead a time of a request may be.
const maxAhead = 365 * 24 * time.Hour

// requestLimits are the flags that bound how a request is carried out.
type requestLimits struct {
	deadline string

	maxPages, maxAttempts int

	cache   time.Duration
	noCache bool
}

func (l *requestLimits) addTo(flags *pflag.FlagSet) {
	flags.StringVar(&l.deadline, "deadline", "", "start no attempt after it: a duration such as 5m, or a time such as 2026-01-02T15:04:05Z")
	flags.IntVar(&l.maxAttempts, "max-attempts", 0, "how often to try, from 1 to 100; the action's own if not given")
	flags.IntVar(&l.maxPages, "max-pages", 0, "of a list: how many pages to join, from 1 to 1000; one if not given")
	flags.DurationVar(&l.cache, "cache", 0, "of a read: how old its answer may be, such as 60s; the action's own if not given")
	flags.BoolVar(&l.noCache, "no-cache", false, "of a read: ask anew, whatever is kept")
	for _, name := range []string{"max-attempts", "max-pages", "cache"} {
		flags.Lookup(name).DefValue = "" // none of ours
	}
}

// apply puts what is given into a request.
func (l *requestLimits) apply(r *events.ActionRequest, now time.Time) (err error) {
	const maxPages, maxAttempts = 1000, 100
	switch {
	case l.maxAttempts < 0 || l.maxAttempts > maxAttempts:
		return usage("", "--max-attempts %d: must be from 1 to %d", l.maxAttempts, maxAttempts)
	case l.maxPages < 0 || l.maxPages > maxPages:
		return usage("", "--max-pages %d: must be from 1 to %d", l.maxPages, maxPages)
	case l.cache < 0:
		return usage("", "--cache %s: must be above zero; --no-cache asks anew", l.cache)
	case l.cache > 0 && l.noCache:
		return usage("", "--cache and --no-cache: leave one of them out")
	}
	r.MaxAttempts, r.MaxPages, r.Cache = l.maxAttempts, l.maxPages, l.cache
	if l.noCache {
		r.Cache = events.NoCache
	}
	r.Deadline, err = aheadFlag("--deadline", l.deadline, now)
	return err
}

// aheadFlag reads a duration from now or a time.
func aheadFlag(name, s string, now time.Time) (time.Time, error) {
	if s == "" {
		return time.Time{}, nil
	}
	at, err := time.Parse(time.RFC3339, s)
	if err != nil {
		d, derr := time.ParseDuration(s)
		if derr != nil || d < 0 {
			return at, usage("", "%s %q: must be a duration such as 10m or a time such as 2026-01-02T15:04:05Z", name, s)
		}
		at = now.Add(d)
	}
	if at.After(now.Add(maxAhead)) {
		return at, usage("", "%s %q: is more than a year ahead", name, s)
	}
	return at, nil
}
