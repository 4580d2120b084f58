package main

import (
	"cmp"
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/plugfn/plugfn/cmd/plugfn/settings"
	"github.com/plugfn/plugfn/pkg/events"
)

func newMetricsCommand() *cobra.Command {
	var filter eventFilter
	by, span := "", ""
	cmd := &cobra.Command{
		Use:   "metrics",
		Short: "Count how actions ended, and how long they took",
		Long: "Metrics counts the results that the bus keeps, of all executors together, by their headers. A duration is " +
			"the duration_ms of its result; the 95th percentile is right to 5 %.",
		Example: `plugfn metrics --range 1h
plugfn metrics --range 7d --by action --provider github -o json`,
		Args:              noArgs,
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if !slices.Contains(metricGroups(), by) {
				return usage("", "--by %s: must be one of %s", by, strings.Join(metricGroups(), ", "))
			}
			within, err := spanOf(span)
			if err != nil {
				return err
			}
			filter.since = within.String()
			filter.keptIn = events.StreamResults
			filter.keptAs = events.PrefixResult + wild(filter.user) + "." + wild(filter.provider) + ".*.*"
			return withEvents(cmd, &filter, func(p *printer, s *eventStore) error {
				groups := tally{by: by, of: map[string]*measured{}}
				err := s.scan(cmd.Context(), s.state.FirstSeq, s.last(), func(e *storedEvent) error { groups.add(e); return nil })
				if err != nil {
					return err
				}
				return listMeasured(p, groups.sorted())
			})
		},
	}
	flags := cmd.Flags()
	flags.StringVar(&span, "range", "24h", "how far back, such as 1h, up to 7d")
	flags.StringVar(&by, "by", "provider", "one line for each: provider, action, user")
	flags.StringVar(&filter.user, "user", "", "only this user's")
	flags.StringVar(&filter.provider, "provider", "", "only this provider's")
	_ = cmd.RegisterFlagCompletionFunc("provider", completeProviders)                                                    // the flag is there
	_ = cmd.RegisterFlagCompletionFunc("by", cobra.FixedCompletions(metricGroups(), cobra.ShellCompDirectiveNoFileComp)) // this one, too
	return withTarget(settings.Bus, withOutput(cmd))
}

// spanOf reads how far back to look.
func spanOf(text string) (time.Duration, error) {
	const most = 7 * 24 * time.Hour
	if days, ok := strings.CutSuffix(text, "d"); ok {
		if n, err := strconv.Atoi(days); err == nil && n >= 1 && n <= 7 {
			return time.Duration(n) * 24 * time.Hour, nil
		}
	}
	if d, err := time.ParseDuration(text); err == nil && d > 0 && d <= most {
		return d, nil
	}
	return 0, usage("", "--range %q: must be a duration up to 7d, as long as results are kept", text)
}

func metricGroups() []string { return []string{"provider", "action", "user"} }

// measured is how the actions of a group ended.
type measured struct {
	Group       string  `json:"group"`
	Total       int     `json:"total"`
	Succeeded   int     `json:"succeeded"`
	Failed      int     `json:"failed"`
	Unknown     int     `json:"unknown"`
	RateLimited int     `json:"rate_limited"` // of the failed
	Retried     int     `json:"retried"`      // that took more than one attempt
	SuccessRate float64 `json:"success_rate"` // from 0 to 1
	Average     float64 `json:"average_ms"`   // of those whose duration is known
	P95         float64 `json:"p95_ms"`       // of the same

	timed, sum int64
	durations  [maxBuckets]int
}

// The durations are counted in buckets, each 5 % longer than the one before; the
// last holds all from some 24 days.
const (
	bucketGrowth = 1.05
	maxBuckets   = 445
)

func bucketOf(ms int64) int {
	return min(int(math.Ceil(math.Log(float64(ms)+1)/math.Log(bucketGrowth))), maxBuckets-1)
}

// maxGroups bounds what is counted apart; the rest is one group.
const maxGroups = 10_000

// tally counts results by group.
type tally struct {
	by string
	of map[string]*measured
}

func (t *tally) add(e *storedEvent) {
	name := t.group(e)
	m := t.of[name]
	if m == nil && len(t.of) >= maxGroups {
		name = "(others)"
		m = t.of[name]
	}
	if m == nil {
		m = &measured{Group: name}
		t.of[name] = m
	}
	m.add(e)
}

func (t *tally) group(e *storedEvent) string {
	switch t.by {
	case "action":
		return strings.Replace(e.Subject, "/", ".", 1)
	case "user":
		return e.UserID
	default:
		return e.Provider
	}
}

func (m *measured) add(e *storedEvent) {
	m.Total++
	_, outcome, _ := strings.Cut(e.Type, "plugfn.action.")
	switch events.Outcome(outcome) {
	case events.Succeeded:
		m.Succeeded++
	case events.Unknown:
		m.Unknown++
	default:
		m.Failed++
	}
	if events.HeaderValue(e.header, events.HeaderErrorCode) == string(events.CodeRateLimited) {
		m.RateLimited++
	}
	if n, err := strconv.Atoi(events.HeaderValue(e.header, events.HeaderAttempts)); err == nil && n > 1 {
		m.Retried++
	}
	if ms, err := strconv.ParseInt(events.HeaderValue(e.header, events.HeaderDuration), 10, 64); err == nil && ms >= 0 {
		m.timed++
		m.sum += ms
		m.durations[bucketOf(ms)]++
	}
}

// finish works out what follows from the counts.
func (m *measured) finish() measured {
	m.SuccessRate = float64(m.Succeeded) / float64(m.Total)
	if m.timed == 0 {
		return *m
	}
	m.Average = math.Round(10*float64(m.sum)/float64(m.timed)) / 10
	rest := int64(math.Ceil(0.95 * float64(m.timed)))
	for i, n := range m.durations {
		if rest -= int64(n); rest <= 0 {
			m.P95 = math.Round(math.Pow(bucketGrowth, float64(i)) - 1)
			break
		}
	}
	return *m
}

// sorted is the groups, the largest first.
func (t *tally) sorted() []measured {
	all := make([]measured, 0, len(t.of))
	for _, name := range slices.Sorted(maps.Keys(t.of)) {
		all = append(all, t.of[name].finish())
	}
	slices.SortStableFunc(all, func(a, b measured) int { return cmp.Compare(b.Total, a.Total) })
	return all
}

func listMeasured(p *printer, all []measured) error {
	type row = measured
	return list(p, all, func(r row) string { return safe(r.Group) }, []column[row]{
		{title: "group", value: func(r row) string { return clip(firstOf(r.Group, events.NoUser), 60) }},
		{title: "total", value: func(r row) string { return fmt.Sprint(r.Total) }},
		{title: "succeeded", value: func(r row) string { return fmt.Sprint(r.Succeeded) }},
		{title: "failed", value: func(r row) string { return fmt.Sprint(r.Failed) }},
		{title: "unknown", value: func(r row) string { return fmt.Sprint(r.Unknown) }},
		{title: "success", value: func(r row) string { return fmt.Sprintf("%.1f %%", 100*r.SuccessRate) }},
		{title: "average", value: func(r row) string { return fmt.Sprintf("%.1f ms", r.Average) }},
		{title: "p95", value: func(r row) string { return fmt.Sprintf("%.0f ms", r.P95) }},
		{title: "rate limited", wide: true, value: func(r row) string { return fmt.Sprint(r.RateLimited) }},
		{title: "retried", wide: true, value: func(r row) string { return fmt.Sprint(r.Retried) }},
	})
}
