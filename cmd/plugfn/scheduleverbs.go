package main

import (
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/plugfn/plugfn/cmd/plugfn/settings"
	"github.com/plugfn/plugfn/services/scheduler/schedules"
)

// scheduleVerb is a command that does one thing with a schedule and shows it.
func scheduleVerb(cmd *cobra.Command, do func(cmd *cobra.Command, api *apiClient, id string) (schedules.View, error)) *cobra.Command {
	cmd.Use += " <id>"
	cmd.Args = exactly("id")
	cmd.RunE = apiRun(func(cmd *cobra.Command, args []string, p *printer, api *apiClient) error {
		s, err := do(cmd, api, args[0])
		if err != nil {
			return err
		}
		return showSchedule(p, s)
	})
	return withTarget(settings.HTTP|settings.API, withOutput(cmd))
}

func newScheduleShowCommand() *cobra.Command {
	return scheduleVerb(&cobra.Command{
		Use:   "show",
		Short: "Show a schedule, with what became of its ticks",
	}, func(cmd *cobra.Command, api *apiClient, id string) (schedules.View, error) {
		return api.schedule(cmd.Context(), id)
	})
}

func newSchedulePauseCommand() *cobra.Command {
	return scheduleVerb(&cobra.Command{
		Use:   "pause",
		Short: "Let a schedule have no ticks until it is resumed",
	}, func(cmd *cobra.Command, api *apiClient, id string) (schedules.View, error) {
		return api.scheduleDo(cmd.Context(), id, "pause")
	})
}

func newScheduleResumeCommand() *cobra.Command {
	return scheduleVerb(&cobra.Command{
		Use:   "resume",
		Short: "Let a schedule have ticks again; those of meanwhile are not made up for",
	}, func(cmd *cobra.Command, api *apiClient, id string) (schedules.View, error) {
		return api.scheduleDo(cmd.Context(), id, "resume")
	})
}

func newScheduleRunCommand() *cobra.Command {
	return scheduleVerb(&cobra.Command{
		Use:   "run-now",
		Short: "Fire a tick now, beside those of the rule",
		Long: "Run-now fires one tick, whatever the rule says and also while the schedule is paused. To see how the action of it ended: " +
			"plugfn action result <last> --user <user>.",
	}, func(cmd *cobra.Command, api *apiClient, id string) (schedules.View, error) {
		return api.scheduleDo(cmd.Context(), id, "run")
	})
}

func newScheduleDeleteCommand() *cobra.Command {
	yes := false
	cmd := &cobra.Command{
		Use:     "delete <id>",
		Aliases: []string{"rm"},
		Short:   "Delete a schedule",
		Args:    exactly("id"),
		RunE: apiRun(func(cmd *cobra.Command, args []string, _ *printer, api *apiClient) error {
			s, err := api.schedule(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			if err := confirm(cmd, yes, fmt.Sprintf("Delete the schedule of user %s, %s", safe(s.UserID), ruleText(s))); err != nil {
				return err
			}
			return api.deleteSchedule(cmd.Context(), args[0])
		}),
	}
	cmd.Flags().BoolVar(&yes, "yes", false, "do not ask")
	return withTarget(settings.HTTP|settings.API, withOutput(cmd))
}

func newScheduleNextCommand() *cobra.Command {
	n := 0
	cmd := &cobra.Command{
		Use:   "next <id>",
		Short: "Show the ticks to come of a schedule",
		Long: "Next shows when the ticks to come fire, as the scheduler will do it: with changes of the clocks and jitter. Of a paused schedule it " +
			"shows those that it would have if it were resumed now.",
		Example: "plugfn schedule next sch_1 -n 10",
		Args:    exactly("id"),
		RunE: apiRun(func(cmd *cobra.Command, args []string, p *printer, api *apiClient) error {
			all, err := api.nextOf(cmd.Context(), args[0], n)
			if err != nil {
				return err
			}
			if len(all) == 0 {
				hint(cmd, "there are none")
			}
			now := time.Now()
			return list(p, all, func(a schedules.Ahead) string { return a.FiresAt.Format(time.RFC3339Nano) }, []column[schedules.Ahead]{
				{title: "fires", value: func(a schedules.Ahead) string { return localTime(a.FiresAt, "Mon 2006-01-02 15:04:05 MST") }},
				{title: "in", value: func(a schedules.Ahead) string { return a.FiresAt.Sub(now).Round(time.Second).String() }},
				{title: "tick", wide: true, value: func(a schedules.Ahead) string { return a.At.Format(time.RFC3339Nano) }},
			})
		}),
	}
	cmd.Flags().IntVarP(&n, "number", "n", 5, "how many, up to 100")
	return withTarget(settings.HTTP|settings.API, withOutput(cmd))
}
