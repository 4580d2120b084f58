package main

import (
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/plugfn/plugfn/cmd/plugfn/settings"
	"github.com/plugfn/plugfn/services/scheduler/runs"
	"github.com/plugfn/plugfn/services/scheduler/runs/machine"
)

func newRunShowCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:     "show <id>",
		Short:   "Show a run, with a timeline of its steps",
		Long:    "Show tells how a run stands, and when each of its steps was under way. Results are in -o json.",
		Example: "plugfn run show " + runIDExample,
		Args:    exactly("id"),
		RunE: apiRun(func(cmd *cobra.Command, args []string, p *printer, api *apiClient) error {
			r, err := api.run(cmd.Context(), args[0], 0)
			if err != nil {
				return err
			}
			return showRun(p, &r)
		}),
	}
	return withTarget(settings.HTTP|settings.API, withOutput(cmd))
}

// showRun writes a run and, for people, its timeline.
func showRun(p *printer, r *runs.Detail) error {
	fields := append(runFields(r.View), field{"output", jsonText(r.Output)})
	if err := p.object(r, r.ID, fields); err != nil || !p.forPeople() || len(r.Steps) == 0 {
		return err
	}
	if err := p.line(""); err != nil {
		return err
	}
	t := newTimeline(r, time.Now())
	return list(p, r.Steps, func(s runs.StepView) string { return s.Step }, []column[runs.StepView]{
		{title: "step", value: func(s runs.StepView) string { return safe(s.Step) }},
		{title: "status", value: func(s runs.StepView) string { return runStatus(s.Status) }},
		{title: "after", value: func(s runs.StepView) string { return s.StartedAt.Sub(r.StartedAt).Round(time.Millisecond).String() }},
		{title: "took", value: stepTook},
		{title: "timeline", value: t.bar},
		{title: "about", value: aboutStep},
	})
}

func stepTook(s runs.StepView) string {
	if s.EndedAt.IsZero() {
		return ""
	}
	return tookOf(s.DurationMS)
}

// aboutStep says what a step waits for, how far it is, or why it has failed.
func aboutStep(s runs.StepView) string {
	switch {
	case s.Error != nil:
		return safe(s.Error.Code) + ": " + safe(s.Error.Message)
	case s.Total > 0:
		return strconv.Itoa(s.Done) + " of " + strconv.Itoa(s.Total)
	case s.Status == machine.Waiting && !s.Until.IsZero():
		return "until " + localTime(s.Until, time.DateTime)
	case s.Status == machine.Waiting && s.Request != "":
		return "request " + safe(s.Request)
	}
	return ""
}

const timelineWidth = 30

// timeline draws when the steps of a run were under way.
type timeline struct {
	start time.Time
	whole time.Duration
	now   time.Time
}

func newTimeline(r *runs.Detail, now time.Time) timeline {
	end := r.EndedAt
	if end.IsZero() {
		end = now
	}
	return timeline{r.StartedAt, max(end.Sub(r.StartedAt), time.Millisecond), end}
}

// place is the column of a time.
func (t timeline) place(at time.Time) int {
	return min(max(int(int64(timelineWidth)*int64(at.Sub(t.start))/int64(t.whole)), 0), timelineWidth)
}

func (t timeline) bar(s runs.StepView) string {
	end, fill := s.EndedAt, "█"
	if end.IsZero() {
		end, fill = t.now, "░"
	}
	from := min(t.place(s.StartedAt), timelineWidth-1)
	to := max(t.place(end), from+1)
	return strings.Repeat("·", from) + strings.Repeat(fill, to-from) + strings.Repeat("·", timelineWidth-to)
}
