package main

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/plugfn/plugfn/cmd/plugfn/settings"
	"github.com/plugfn/plugfn/services/ingress"
)

func newWebhookRejectedCommand() *cobra.Command {
	provider, limit := "", 0
	cmd := &cobra.Command{
		Use:   "rejected",
		Short: "Show the deliveries that were refused last, and why",
		Long: "Rejected asks every ingress which deliveries it refused last: when, of which provider, for what reason, and which " +
			"headers they had. Bodies and values are not kept. What is asked for is in memory: it goes when the ingress ends.",
		Example: `plugfn webhook rejected
plugfn webhook rejected --provider github -o json`,
		Args:              noArgs,
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE:              func(cmd *cobra.Command, _ []string) error { return runRejected(cmd, provider, limit) },
	}
	cmd.Flags().StringVar(&provider, "provider", "", "only those of this provider")
	cmd.Flags().IntVar(&limit, "limit", 50, "how many at most, up to 1000")
	_ = cmd.RegisterFlagCompletionFunc("provider", completeProviders) // the flag is there
	return withTarget(settings.Bus, withOutput(cmd))
}

func runRejected(cmd *cobra.Command, provider string, limit int) error {
	p, err := newPrinter(cmd)
	if err != nil {
		return err
	}
	if limit < 1 || limit > 1000 {
		return usage("", "--limit %d: must be from 1 to 1000", limit)
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
	all, err := ingress.Refusals(cmd.Context(), conn, provider, limit)
	if errors.Is(err, ingress.ErrNobody) {
		return &failure{exit: exitUnreachable, what: err.Error(), fix: startFix}
	}
	if err != nil {
		return err
	}
	if len(all) == 0 && p.forPeople() {
		of := ""
		if provider != "" {
			of = " of " + safe(provider)
		}
		hint(cmd, "nothing"+of+" was refused since the ingress started")
	}
	return listRejected(p, all)
}

func listRejected(p *printer, all []ingress.Refusal) error {
	type row = ingress.Refusal
	return list(p, all, func(r row) string { return r.Time.Format(time.RFC3339Nano) }, []column[row]{
		{title: "time", value: func(r row) string { return r.Time.Local().Format("2006-01-02 15:04:05") }},
		{title: "provider", value: func(r row) string { return safe(r.Provider) }},
		{title: "reason", value: func(r row) string { return broken(safe(r.Reason)) }},
		{title: "status", value: func(r row) string { return fmt.Sprint(r.Status) }},
		{title: "bytes", value: func(r row) string { return sizeOf(r.Bytes) }},
		{title: "skipped", value: func(r row) string { return fmt.Sprint(r.Skipped) }},
		{title: "endpoint", wide: true, value: func(r row) string { return firstOf(r.Endpoint, "app") }},
		{title: "replica", wide: true, value: func(r row) string { return safe(r.Replica) }},
		{title: "headers", wide: true, value: func(r row) string { return safe(strings.Join(r.Headers, " ")) }},
	})
}

func sizeOf(n int64) string {
	if n < 0 {
		return "?"
	}
	return fmt.Sprint(n)
}
