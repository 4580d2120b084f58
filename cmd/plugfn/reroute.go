package main

import (
	"fmt"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/spf13/cobra"

	"github.com/plugfn/plugfn/cmd/plugfn/settings"
	"github.com/plugfn/plugfn/services/ingress"
)

func newEventRerouteCommand() *cobra.Command {
	var in ingress.Rerouting
	account := ""
	cmd := &cobra.Command{
		Use:   "reroute",
		Short: "Give events that came for nobody to connections of their account",
		Long: "An event whose account has no connection is kept for nobody. Reroute publishes such events to the connections that the " +
			"account has now, with their ids. What a connection has already is left out, so that it may be repeated.\n\n" +
			"PlugFn does that by itself when a connection appears, for the events of the last hour.",
		Example: `plugfn event reroute --provider github --dry-run
plugfn event reroute --provider github --account 4242 --since 48h`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			switch {
			case in.Provider == "":
				return usage("", "--provider is missing: it says whose events")
			case in.Since <= 0:
				return usage("", "--since %s: must be above zero", in.Since)
			}
			if account != "" {
				in.Accounts = []string{account}
			}
			return runReroute(cmd, in)
		},
	}
	flags := cmd.Flags()
	flags.StringVar(&in.Provider, "provider", "", "whose events")
	flags.StringVar(&account, "account", "", "only those of this account, in the provider's words")
	flags.DurationVar(&in.Since, "since", 24*time.Hour, "how far to look back")
	flags.BoolVar(&in.DryRun, "dry-run", false, "only count")
	_ = cmd.RegisterFlagCompletionFunc("provider", completeProviders) // the flag is there
	return withTarget(settings.Bus|settings.Packs, withOutput(cmd))
}

func runReroute(cmd *cobra.Command, in ingress.Rerouting) error {
	p, err := newPrinter(cmd)
	if err != nil {
		return err
	}
	t, err := newTarget(cmd)
	if err != nil {
		return err
	}
	packs, err := t.packs()
	if err != nil {
		return err
	}
	if _, err := packNamed(packs, in.Provider); err != nil {
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
	r, err := ingress.NewRerouter(cmd.Context(), js)
	if err != nil {
		return &failure{exit: exitUnreachable, what: "the connections cannot be read", cause: err, fix: startFix}
	}
	out, err := r.Reroute(cmd.Context(), in)
	if err != nil {
		return fmt.Errorf("%d events were given: %w", out.Published, err)
	}
	if out.Older > 0 {
		hint(cmd, fmt.Sprintf("%d older events were not looked at, there are too many", out.Older))
	}
	what := "given"
	if in.DryRun {
		what = "to give"
	}
	return p.object(out, in.Provider, []field{
		{"for nobody", fmt.Sprint(out.Unclaimed)}, {what, fmt.Sprint(out.Published)}, {"known already", fmt.Sprint(out.Known)},
	})
}
