package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/rs/zerolog"
	"github.com/spf13/cobra"

	"github.com/plugfn/plugfn/cmd/plugfn/settings"
	"github.com/plugfn/plugfn/internal/bus"
	"github.com/plugfn/plugfn/internal/limiter"
	"github.com/plugfn/plugfn/pkg/providers"
)

func newLimitCommand() *cobra.Command {
	return noun("limit", "limits", "Look at the limits of providers, and set others",
		newLimitShowCommand(), newLimitSetCommand(), newLimitResetCommand())
}

// limitRun is a verb that needs the packs and the overrides on the bus.
func limitRun(do func(ctx context.Context, v *limitVerb, args []string) error) func(*cobra.Command, []string) error {
	return func(cmd *cobra.Command, args []string) error {
		p, err := newPrinter(cmd)
		if err != nil {
			return err
		}
		t, err := newTarget(cmd)
		if err != nil {
			return err
		}
		v := &limitVerb{cmd: cmd, printer: p}
		if v.packs, err = t.packs(); err != nil {
			return err
		}
		if len(args) > 0 {
			if v.pack, err = packNamed(v.packs, args[0]); err != nil {
				return err
			}
		}
		v.dial = t.connect
		return do(cmd.Context(), v, args)
	}
}

type limitVerb struct {
	cmd     *cobra.Command
	printer *printer
	packs   map[string]*providers.Pack
	pack    *providers.Pack // nil: none was named
	dial    func() (*nats.Conn, error)
}

// overrides opens the overrides, and reads them. Whoever calls it closes conn.
func (v *limitVerb) overrides(ctx context.Context) (*limiter.Overrides, *nats.Conn, error) {
	conn, err := v.dial()
	if err != nil {
		return nil, nil, err
	}
	js, err := jetstream.New(conn)
	if err != nil {
		conn.Close()
		return nil, nil, err
	}
	kv, err := js.KeyValue(ctx, bus.BucketLimits)
	if err != nil {
		conn.Close()
		if errors.Is(err, jetstream.ErrBucketNotFound) {
			return nil, nil, &failure{exit: exitUnreachable, what: "PlugFn has not run on this NATS server yet", fix: startFix}
		}
		return nil, nil, fmt.Errorf("opening the overrides of limits: %w", err)
	}
	all := limiter.NewOverrides(kv, zerolog.Nop())
	if err := all.Load(ctx); err != nil {
		conn.Close()
		return nil, nil, err
	}
	return all, conn, nil
}

// limitView is what is shown of a limit.
type limitView struct {
	Provider string            `json:"provider"`
	ID       string            `json:"limit"`
	Kind     string            `json:"kind"` // rate, concurrency, pause
	Declared string            `json:"declared"`
	Burst    int               `json:"burst,omitempty"` // of the rate, as it is now
	Key      []string          `json:"key"`
	Observed bool              `json:"observed"` // responses say what is left
	Override *limiter.Override `json:"override,omitempty"`
}

func viewOfLimit(pack *providers.Pack, l *providers.Limit, overrides *limiter.Overrides) limitView {
	v := limitView{Provider: pack.Name, ID: l.ID, Kind: limiter.KindRate, Declared: l.Rate.String(), Key: l.Key, Observed: l.Observed()}
	if v.Key == nil {
		v.Key = []string{}
	}
	over, found := overrides.Of(pack.Name, l.ID)
	if found {
		v.Override = &over
	}
	switch {
	case l.Pause > 0:
		v.Kind, v.Declared = limiter.KindPause, l.Pause.String()
	case l.Concurrency > 0:
		v.Kind, v.Declared = limiter.KindConcurrency, fmt.Sprint(l.Concurrency)
	default:
		v.Burst = int(limiter.BurstOf(l, over))
	}
	return v
}

func (v limitView) override() string {
	if v.Override == nil {
		return ""
	}
	return firstOf(v.Override.Rate.String(), fmt.Sprint(v.Override.Most))
}

func limitColumns() []column[limitView] {
	return []column[limitView]{
		{title: "provider", value: func(v limitView) string { return v.Provider }},
		{title: "limit", value: func(v limitView) string { return v.ID }},
		{title: "kind", value: func(v limitView) string { return v.Kind }},
		{title: "declared", value: func(v limitView) string { return v.Declared }},
		{title: "override", value: limitView.override},
		{title: "for each", value: func(v limitView) string { return firstOf(strings.Join(v.Key, " "), "app") }},
		{title: "burst", wide: true, value: func(v limitView) string { return above(v.Burst) }},
		{title: "observed", wide: true, value: func(v limitView) string { return fmt.Sprint(v.Observed) }},
	}
}

// above is a number above zero; nothing for zero.
func above[N int | int64](n N) string {
	if n == 0 {
		return ""
	}
	return fmt.Sprint(n)
}

func newLimitShowCommand() *cobra.Command {
	return withTarget(settings.Bus|settings.Packs, withOutput(&cobra.Command{
		Use:   "show [provider]",
		Short: "Show limits, their overrides and how they stand",
		Long: "Show lists what the packs declare and what is set in its place. Of one provider it also asks the executors how the limits " +
			"stand that are in use now: what is left, how much is in flight, what is paused, and whether Redis answers them.",
		Example: `plugfn limit show
plugfn limit show github -o json`,
		Args:              atMostOne,
		ValidArgsFunction: completeProviders,
		RunE:              limitRun(showLimits),
	}))
}

func showLimits(ctx context.Context, v *limitVerb, _ []string) error {
	overrides, conn, err := v.overrides(ctx)
	if err != nil {
		return err
	}
	defer conn.Close()
	packs := names(v.packs)
	if v.pack != nil {
		packs = []string{v.pack.Name}
	}
	all := []limitView{}
	for _, name := range packs {
		for _, l := range v.packs[name].Limits {
			all = append(all, viewOfLimit(v.packs[name], l, overrides))
		}
	}
	name := func(l limitView) string { return l.Provider + " " + l.ID }
	if v.pack == nil {
		return list(v.printer, all, name, limitColumns())
	}
	const patience = 500 * time.Millisecond
	answers, err := limiter.Ask(ctx, conn, limiter.Question{Provider: v.pack.Name}, patience)
	if err != nil {
		return err
	}
	if v.printer.form == formName {
		return list(v.printer, all, name, nil)
	}
	return v.showStanding(limitsView{Provider: v.pack.Name, Limits: all, Executors: answers})
}

// limitsView is what is shown of one provider.
type limitsView struct {
	Provider  string           `json:"provider"`
	Limits    []limitView      `json:"limits"`
	Executors []limiter.Answer `json:"executors"` // those that answered
}

func (v *limitVerb) showStanding(all limitsView) error {
	if all.Executors == nil {
		all.Executors = []limiter.Answer{}
	}
	if !v.printer.forPeople() {
		return v.printer.object(all, all.Provider, nil)
	}
	if err := table(v.printer, all.Limits, limitColumns()); err != nil {
		return err
	}
	if len(all.Executors) == 0 {
		hint(v.cmd, "no executor says how they stand: none is running, or none keeps limits")
		return nil
	}
	for _, a := range all.Executors {
		if err := v.printer.line(""); err != nil {
			return err
		}
		if err := v.printer.fields(standingFields(a)); err != nil {
			return err
		}
		if err := table(v.printer, a.Standings, standingColumns()); err != nil {
			return err
		}
		if a.Status.Store == "redis" { // all executors say the same
			break
		}
	}
	return nil
}

func standingFields(a limiter.Answer) []field {
	store := done(a.Status.Store)
	if a.Status.Store == "local" {
		store = broken(fmt.Sprintf("Redis does not answer since %s: %.0f %% of each limit", a.Status.Since.Local().Format(time.DateTime), 100*a.Status.Share))
	}
	return []field{
		{"store", store}, {"executors", above(a.Status.Replicas)}, {"last failure", safe(a.Status.Last)}, {"error", safe(a.Error)},
	}
}

func standingColumns() []column[limiter.Standing] {
	type row = limiter.Standing
	short := func(d time.Duration) string {
		if d <= 0 {
			return ""
		}
		return max(d, time.Millisecond).Round(time.Millisecond).String()
	}
	return []column[row]{
		{title: "scope", value: func(s row) string { return safe(s.Scope) }},
		{title: "kind", value: func(s row) string { return s.Kind }},
		{title: "key", value: func(s row) string { return safe(s.Key) }},
		{title: "left", value: func(s row) string {
			if s.Kind != limiter.KindRate || s.Remaining < 0 || s.Reset <= 0 {
				return ""
			}
			return fmt.Sprint(s.Remaining)
		}},
		{title: "until", value: func(s row) string { return short(max(s.Reset, s.Paused)) }},
		{title: "in flight", value: func(s row) string { return above(s.InFlight) }},
		{title: "full in", wide: true, value: func(s row) string { return short(s.Full) }},
	}
}
