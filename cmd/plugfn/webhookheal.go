package main

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/spf13/cobra"

	"github.com/plugfn/plugfn/cmd/plugfn/settings"
	"github.com/plugfn/plugfn/pkg/providers"
	"github.com/plugfn/plugfn/services/scheduler/heal"
)

func newWebhookHealCommand() *cobra.Command {
	var o healOptions
	cmd := &cobra.Command{
		Use:   "heal",
		Short: "Ask providers for the deliveries that failed",
		Long: "Heal lists the deliveries of providers that do not send again by themselves, and has those sent once more that " +
			"failed, with the same delivery id. The scheduler does so all the time (PLUGFN_HEAL_EVERY); this does it now.\n\n" +
			"It needs a connection that may: for GitHub one of the auth app_itself, made with\n" +
			"plugfn connection create github --auth app_itself --user operator",
		Example: `plugfn webhook heal --dry-run
plugfn webhook heal --status -o json`,
		Args:              noArgs,
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE:              func(cmd *cobra.Command, _ []string) error { return o.run(cmd) },
	}
	cmd.Flags().StringVar(&o.provider, "provider", "", "only this provider")
	cmd.Flags().BoolVar(&o.dry, "dry-run", false, "list only, and say how many would be asked for")
	cmd.Flags().BoolVar(&o.status, "status", false, "show what the last runs came to, and do nothing")
	_ = cmd.RegisterFlagCompletionFunc("provider", completeProviders) // the flag is there
	return withTarget(settings.Bus|settings.Packs, withOutput(cmd))
}

type healOptions struct {
	provider    string
	dry, status bool
}

func (o *healOptions) run(cmd *cobra.Command) error {
	p, err := newPrinter(cmd)
	if err != nil {
		return err
	}
	if o.dry && o.status {
		return usage("", "--dry-run and --status: give one of them")
	}
	t, err := newTarget(cmd)
	if err != nil {
		return err
	}
	packs, err := o.packs(t)
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
	all, err := o.records(cmd.Context(), js, packs)
	if err != nil {
		return err
	}
	if len(all) == 0 && p.forPeople() {
		none := "no connection may ask for deliveries: see plugfn webhook heal --help"
		if o.status {
			none = "nobody has looked yet: the scheduler does every few minutes, as soon as a connection may; see plugfn webhook heal --help"
		}
		hint(cmd, none)
	}
	if err := listRecords(p, all, o.dry); err != nil {
		return err
	}
	for _, r := range all {
		if r.Error != "" && !o.status {
			return &failure{exit: exitProvider, what: r.Provider + ": " + safe(r.Error)}
		}
	}
	return nil
}

// packs are those that say how to heal.
func (o *healOptions) packs(t *target) ([]*providers.Pack, error) {
	packs, err := t.packs()
	if err != nil {
		return nil, err
	}
	var all []*providers.Pack
	if o.provider != "" {
		pack, err := packNamed(packs, o.provider)
		if err != nil {
			return nil, err
		}
		if pack.Webhooks == nil || pack.Webhooks.Redeliver == nil {
			return nil, &failure{exit: exitNotFound, what: "the pack of " + pack.Name + " does not say how to ask for deliveries again"}
		}
		return append(all, pack), nil
	}
	for _, name := range names(packs) {
		if w := packs[name].Webhooks; w != nil && w.Redeliver != nil {
			all = append(all, packs[name])
		}
	}
	return all, nil
}

func (o *healOptions) records(ctx context.Context, js jetstream.JetStream, packs []*providers.Pack) ([]heal.Record, error) {
	if o.status {
		return heal.Records(ctx, js, o.provider)
	}
	var all []heal.Record
	for _, pack := range packs {
		some, err := heal.Once(ctx, js, pack, o.dry, time.Now)
		if err != nil {
			return all, err
		}
		all = append(all, some...)
	}
	return all, nil
}

func listRecords(p *printer, all []heal.Record, dry bool) error {
	type row = heal.Record
	asked := "asked"
	if dry {
		asked = "would ask"
	}
	return list(p, all, func(r row) string { return safe(r.ConnectionID) }, []column[row]{
		{title: "provider", value: func(r row) string { return safe(r.Provider) }},
		{title: "connection", value: func(r row) string { return safe(r.ConnectionID) }},
		{title: "ran", value: func(r row) string { return r.RanAt.Local().Format(time.DateTime) }},
		{title: "listed", value: func(r row) string { return fmt.Sprint(r.Listed) }},
		{title: "failed", value: func(r row) string { return fmt.Sprint(r.Failed) }},
		{title: asked, value: func(r row) string { return fmt.Sprint(r.Asked) }},
		{title: "recovered", value: func(r row) string { return fmt.Sprint(r.Recovered) }},
		{title: "lost", value: func(r row) string { return fmt.Sprint(r.Lost) }},
		{title: "remark", value: healRemark},
	})
}

func healRemark(r heal.Record) string {
	var all []string
	if r.Gap {
		all = append(all, waiting("the list did not reach back to the run before"))
	}
	if r.Error != "" {
		all = append(all, broken(clip(r.Error, 120)))
	}
	return strings.Join(all, "  ")
}
