package main

import (
	"context"
	"fmt"
	"slices"
	"strconv"

	"github.com/spf13/cobra"

	"github.com/plugfn/plugfn/cmd/plugfn/settings"
	"github.com/plugfn/plugfn/internal/limiter"
	"github.com/plugfn/plugfn/pkg/providers"
)

func newLimitSetCommand() *cobra.Command {
	burst := 0
	cmd := &cobra.Command{
		Use:   "set <provider> <limit> <rate>",
		Short: "Set another limit in place of the one that the pack declares",
		Long: "Set stores an override, which all executors follow at once. The rate is a count and a duration, such as 15000/1h; of a " +
			"limit of calls at once it is their number. What a response says is left still counts.",
		Example: `plugfn limit set github primary 15000/1h
plugfn limit set slack post 2/1s --burst 5`,
		Args:              exactly("provider", "limit", "rate"),
		ValidArgsFunction: completeLimit,
		RunE: limitRun(func(ctx context.Context, v *limitVerb, args []string) error {
			return setLimit(ctx, v, args[1], args[2], burst)
		}),
	}
	cmd.Flags().IntVar(&burst, "burst", 0, "of a rate, how much at once; 0: all of it where responses correct it, else a tenth")
	return withTarget(settings.Bus|settings.Packs, withOutput(cmd))
}

func setLimit(ctx context.Context, v *limitVerb, id, text string, burst int) error {
	l, err := limitNamed(v.pack, id)
	if err != nil {
		return err
	}
	over, err := overrideOf(l, text, burst)
	if err != nil {
		return err
	}
	over.Provider, over.Limit = v.pack.Name, id
	overrides, conn, err := v.overrides(ctx)
	if err != nil {
		return err
	}
	defer conn.Close()
	if err := overrides.Set(ctx, over); err != nil {
		return err
	}
	if err := overrides.Load(ctx); err != nil {
		return err
	}
	view := viewOfLimit(v.pack, l, overrides)
	return v.printer.object(view, view.Provider+" "+view.ID, []field{
		{"provider", view.Provider}, {"limit", view.ID}, {"declared", view.Declared}, {"now", view.override()}, {"burst", above(view.Burst)},
	})
}

// overrideOf reads what is to be set in place of a limit.
func overrideOf(l *providers.Limit, text string, burst int) (limiter.Override, error) {
	switch {
	case l.Pause > 0:
		return limiter.Override{}, usage("", "%s is a pause after a refusal: only rates and calls at once can be set", l.ID)
	case burst < 0:
		return limiter.Override{}, usage("", "--burst %d: must be above zero", burst)
	case l.Concurrency > 0:
		const most = 1_000_000
		n, err := strconv.Atoi(text)
		if err != nil || n < 1 || n > most {
			return limiter.Override{}, usage("", "%s is a number of calls at once: %q must be 1 to %d", l.ID, text, most)
		}
		if burst > 0 {
			return limiter.Override{}, usage("", "--burst: %s is a number of calls at once, which has none", l.ID)
		}
		return limiter.Override{Most: n}, nil
	default:
		rate, err := providers.ParseRate(text)
		if err != nil {
			return limiter.Override{}, usage("", "the rate %q: %v", text, err)
		}
		return limiter.Override{Rate: rate, Burst: burst}, nil
	}
}

// limitNamed returns a limit by its ID, or a failure that says which there are.
func limitNamed(pack *providers.Pack, id string) (*providers.Limit, error) {
	i := slices.IndexFunc(pack.Limits, func(l *providers.Limit) bool { return l.ID == id })
	if i >= 0 {
		return pack.Limits[i], nil
	}
	f := &failure{exit: exitNotFound, what: fmt.Sprintf("%s has no limit %q", pack.Name, id), fix: "plugfn limit show " + pack.Name}
	if near := pack.NearestLimit(id); near != "" {
		f.fix = "did you mean " + near + "? All of them: " + f.fix
	}
	return nil, f
}

func completeLimit(cmd *cobra.Command, args []string, typed string) ([]string, cobra.ShellCompDirective) {
	if len(args) != 1 {
		return completeProviders(cmd, args, typed)
	}
	var all []string
	if pack, ok := packsForCompletion(cmd)[args[0]]; ok {
		for _, l := range pack.Limits {
			if l.Pause == 0 {
				all = append(all, l.ID)
			}
		}
	}
	return all, cobra.ShellCompDirectiveNoFileComp
}

func newLimitResetCommand() *cobra.Command {
	return withTarget(settings.Bus|settings.Packs, withOutput(&cobra.Command{
		Use:   "reset <provider> [limit]",
		Short: "Go back to the limits that the pack declares",
		Example: `plugfn limit reset github primary
plugfn limit reset github`,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) == 2 {
				return nil
			}
			return exactly("provider")(cmd, args)
		},
		ValidArgsFunction: completeLimit,
		RunE:              limitRun(resetLimits),
	}))
}

func resetLimits(ctx context.Context, v *limitVerb, args []string) error {
	id := ""
	if len(args) == 2 {
		id = args[1]
		if _, err := limitNamed(v.pack, id); err != nil {
			return err
		}
	}
	overrides, conn, err := v.overrides(ctx)
	if err != nil {
		return err
	}
	defer conn.Close()
	n, err := overrides.Unset(ctx, v.pack.Name, id)
	if err != nil {
		return err
	}
	if n == 0 {
		hint(v.cmd, "nothing was set")
	}
	type removed struct {
		Provider string `json:"provider"`
		Removed  int    `json:"removed"` // overrides
	}
	return v.printer.object(removed{v.pack.Name, n}, v.pack.Name, []field{{"provider", v.pack.Name}, {"removed", fmt.Sprint(n)}})
}
