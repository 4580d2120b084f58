package main

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/spf13/cobra"

	"github.com/plugfn/plugfn/cmd/plugfn/settings"
	"github.com/plugfn/plugfn/internal/tally"
	"github.com/plugfn/plugfn/pkg/events"
)

func newMetricsCommand() *cobra.Command {
	var query tally.Query
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
			if query.By = tally.By(by); !slices.Contains(tally.Groups(), query.By) {
				return usage("", "--by %s: must be one of %s", by, strings.Join(metricGroups(), ", "))
			}
			within, err := tally.ParseRange(span)
			if err != nil {
				return usage("", "--range %q: %v", span, err)
			}
			query.Since = time.Now().Add(-within)
			return countResults(cmd, query)
		},
	}
	flags := cmd.Flags()
	flags.StringVar(&span, "range", "24h", "how far back, such as 1h, up to 7d")
	flags.StringVar(&by, "by", "provider", "one line for each: provider, action, user")
	flags.StringVar(&query.User, "user", "", "only this user's")
	flags.StringVar(&query.Provider, "provider", "", "only this provider's")
	_ = cmd.RegisterFlagCompletionFunc("provider", completeProviders)                                                    // the flag is there
	_ = cmd.RegisterFlagCompletionFunc("by", cobra.FixedCompletions(metricGroups(), cobra.ShellCompDirectiveNoFileComp)) // this one, too
	return withTarget(settings.Bus, withOutput(cmd))
}

func metricGroups() []string {
	var names []string
	for _, by := range tally.Groups() {
		names = append(names, string(by))
	}
	return names
}

func countResults(cmd *cobra.Command, query tally.Query) error {
	p, err := newPrinter(cmd)
	if err != nil {
		return err
	}
	t, err := newTarget(cmd)
	if err != nil {
		return err
	}
	conn, err := t.connect()
	if err != nil {
		return err
	}
	defer conn.Close()
	js, err := jetstream.New(conn)
	if err != nil {
		return err
	}
	counted, err := tally.Count(cmd.Context(), js, query)
	switch {
	case cmd.Context().Err() != nil:
		return cmd.Context().Err()
	case err != nil:
		return &failure{exit: exitUnreachable, what: "the results cannot be counted", cause: err, fix: startFix}
	}
	return listGroups(p, counted.Groups)
}

func listGroups(p *printer, all []tally.Group) error {
	type row = tally.Group
	return list(p, all, func(r row) string { return safe(r.Group) }, []column[row]{
		{title: "group", value: func(r row) string { return clip(firstOf(r.Group, events.NoUser), 60) }},
		{title: "total", value: func(r row) string { return fmt.Sprint(r.Total) }},
		{title: "succeeded", value: func(r row) string { return fmt.Sprint(r.Succeeded) }},
		{title: "failed", value: func(r row) string { return fmt.Sprint(r.Failed) }},
		{title: "unknown", value: func(r row) string { return fmt.Sprint(r.Unknown) }},
		{title: "success", value: func(r row) string { return fmt.Sprintf("%.1f %%", 100*r.SuccessRate) }},
		{title: "average", value: func(r row) string { return fmt.Sprintf("%.1f ms", r.Average) }},
		{title: "p95", value: func(r row) string { return fmt.Sprintf("%.0f ms", r.P95) }},
		{title: "limit waits", wide: true, value: func(r row) string { return fmt.Sprint(r.LimitWaits) }},
		{title: "waited", wide: true, value: func(r row) string { return fmt.Sprintf("%.0f ms", r.LimitWait) }},
		{title: "rate limited", wide: true, value: func(r row) string { return fmt.Sprint(r.RateLimited) }},
		{title: "retried", wide: true, value: func(r row) string { return fmt.Sprint(r.Retried) }},
	})
}
