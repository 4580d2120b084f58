package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net/url"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"github.com/plugfn/plugfn/cmd/plugfn/settings"
	"github.com/plugfn/plugfn/pkg/events"
	"github.com/plugfn/plugfn/services/scheduler/runs"
	"github.com/plugfn/plugfn/services/scheduler/runs/machine"
)

func newRunCommand() *cobra.Command {
	return noun("run", "runs of workflows", "Start, follow and mend runs of workflows",
		newRunStartCommand(), newRunListCommand(), newRunShowCommand(), newRunLogsCommand(), newRunWaitCommand(),
		newRunRetryCommand(), newRunCancelCommand(), newRunReplayCommand())
}

const (
	waitOnce     = 20 * time.Second // of one request that waits for the end of a run
	runIDExample = "run_7q1h0v2k_01kav8z6c5fn1rx8ye0a0wq3jb"
)

func newRunStartCommand() *cobra.Command {
	var user, input, key string
	var pairs []string
	wait := time.Duration(0)
	cmd := &cobra.Command{
		Use:   "start <workflow>",
		Short: "Start a run of a workflow",
		Long: "Start starts a run of an enabled workflow, whatever its trigger is; its steps see the input, and no event. With --wait it stays " +
			"until the run has ended, and fails if that did not complete.",
		Example: "plugfn run start greet --user u1 --param name=Ada --wait 1m",
		Args:    exactly("workflow"),
		RunE: apiRun(func(cmd *cobra.Command, args []string, p *printer, api *apiClient) error {
			if user == "" {
				return usage("", "--user is missing: it says whose workflow it is")
			}
			data, err := readParams(nil, input, pairs, cmd.InOrStdin())
			if err != nil {
				return err
			}
			r, err := api.startRun(cmd.Context(), newRun{user, runs.Order{Workflow: args[0], Input: data, Key: key}})
			if err != nil {
				return err
			}
			if wait == 0 {
				if err := showRunLine(p, r); err != nil || r.Status != machine.Failed {
					return err
				}
				return adviseOnRun(&runs.Detail{View: r}) // at once: its input is not what it must be
			}
			return awaitRun(cmd.Context(), p, api, r.ID, wait)
		}),
	}
	flags := cmd.Flags()
	flags.StringVar(&user, "user", "", "whose workflow it is")
	flags.StringArrayVar(&pairs, "param", nil, "one member of the input, name=value or name:=json; may be repeated")
	flags.StringVar(&input, "input", "", "the whole input as a JSON object, @file or - for standard input")
	flags.StringVar(&key, "key", "", "the same key starts one run")
	flags.DurationVar(&wait, "wait", 0, "how long to wait for its end [not at all]")
	return withTarget(settings.HTTP|settings.API, withOutput(cmd))
}

func newRunListCommand() *cobra.Command {
	var user, workflow, status string
	limit := 0
	cmd := &cobra.Command{
		Use:     "list",
		Aliases: []string{"ls"},
		Short:   "List runs, those that changed last first",
		Args:    noArgs,
		RunE: apiRun(func(cmd *cobra.Command, _ []string, p *printer, api *apiClient) error {
			if limit < 1 {
				return usage("", "--limit %d: must be at least 1", limit)
			}
			query := url.Values{}
			for name, value := range map[string]string{"user_id": user, "workflow": workflow, "status": status} {
				if value != "" {
					query.Set(name, value)
				}
			}
			all, more, err := api.runs(cmd.Context(), query, limit)
			if err != nil {
				return err
			}
			if len(all) == 0 {
				hint(cmd, "there are none; to start one: plugfn run start --help")
			}
			if more {
				hint(cmd, fmt.Sprintf("there are more than %d: raise --limit", limit))
			}
			return list(p, all, func(r runs.View) string { return r.ID }, runColumns())
		}),
	}
	flags := cmd.Flags()
	flags.StringVar(&user, "user", "", "only this user's")
	flags.StringVar(&workflow, "workflow", "", "only of this workflow")
	flags.StringVar(&status, "status", "", "only with this status: pending, running, waiting, completed, failed, canceled")
	flags.IntVar(&limit, "limit", 50, "how many at most")
	return withTarget(settings.HTTP|settings.API, withOutput(cmd))
}

func runColumns() []column[runs.View] {
	return []column[runs.View]{
		{title: "id", value: func(r runs.View) string { return r.ID }},
		{title: "user", value: func(r runs.View) string { return safe(r.UserID) }},
		{title: "workflow", value: func(r runs.View) string { return safe(r.Workflow) }},
		{title: "version", wide: true, value: func(r runs.View) string { return strconv.Itoa(r.Version) }},
		{title: "status", value: func(r runs.View) string { return runStatus(r.Status) }},
		{title: "cause", value: func(r runs.View) string { return safe(string(r.Cause.Kind)) }},
		{title: "started", value: func(r runs.View) string { return localTime(r.StartedAt, time.DateTime) }},
		{title: "took", value: tookText},
		{title: "why", value: whyText},
	}
}

func tookText(r runs.View) string {
	if r.EndedAt.IsZero() || r.StartedAt.IsZero() {
		return ""
	}
	return tookOf(r.DurationMS)
}

func tookOf(ms int64) string { return (time.Duration(ms) * time.Millisecond).String() }

// whyText says why a run stands as it does.
func whyText(r runs.View) string {
	if r.Error != nil {
		return errorText(r.Error)
	}
	return safe(r.Reason)
}

func errorText(e *events.RunError) string {
	if e == nil {
		return ""
	}
	text := safe(e.Code) + ": " + safe(e.Message)
	if e.Step != "" {
		text = safe(e.Step) + ": " + text
	}
	return text
}

func runStatus(s machine.Status) string {
	switch s {
	case machine.Completed:
		return done(string(s))
	case machine.Failed:
		return broken(string(s))
	case machine.Running, machine.Waiting, machine.Pending:
		return waiting(string(s))
	default:
		return faint(safe(string(s)))
	}
}

func runFields(r runs.View) []field {
	fields := []field{
		{"id", r.ID},
		{"user", safe(r.UserID)},
		{"workflow", fmt.Sprintf("%s, version %d", safe(r.Workflow), r.Version)},
		{"status", runStatus(r.Status)},
		{"why", whyText(r)},
		{"cause", safe(string(r.Cause.Kind) + " " + r.Cause.ID)},
		{"parent", safe(r.Parent)},
		{"created", localTime(r.CreatedAt, time.RFC3339)},
		{"started", localTime(r.StartedAt, time.RFC3339)},
		{"ended", localTime(r.EndedAt, time.RFC3339)},
		{"took", tookText(r)},
	}
	if r.Retries > 0 {
		fields = append(fields, field{"retries", strconv.Itoa(r.Retries)})
	}
	return fields
}

func showRunLine(p *printer, r runs.View) error { return p.object(r, r.ID, runFields(r)) }

// runVerb is a command that does something with a run and shows it.
func runVerb(cmd *cobra.Command, do func(ctx context.Context, api *apiClient, id string) (runs.View, error)) *cobra.Command {
	cmd.Use += " <id>"
	cmd.Args = exactly("id")
	cmd.RunE = apiRun(func(cmd *cobra.Command, args []string, p *printer, api *apiClient) error {
		r, err := do(cmd.Context(), api, args[0])
		if err != nil {
			return err
		}
		return showRunLine(p, r)
	})
	return withTarget(settings.HTTP|settings.API, withOutput(cmd))
}

func newRunRetryCommand() *cobra.Command {
	return runVerb(&cobra.Command{
		Use:   "retry",
		Short: "Go on with a run that has failed, from the step that did",
		Long:  "Retry goes on with a run that has failed: on the version of the workflow that it began with, from the step that failed. What has completed stays.",
	}, func(ctx context.Context, api *apiClient, id string) (runs.View, error) {
		return api.runDo(ctx, id, "retry", nil)
	})
}

func newRunCancelCommand() *cobra.Command {
	reason := ""
	cmd := runVerb(&cobra.Command{
		Use:   "cancel",
		Short: "End a run",
		Long:  "Cancel ends a run and the runs that it waits for. An action that it has asked for may still be carried out: plugfn action cancel takes that back, if it is not too late.",
	}, func(ctx context.Context, api *apiClient, id string) (runs.View, error) {
		return api.runDo(ctx, id, "cancel", map[string]string{"reason": reason})
	})
	cmd.Flags().StringVar(&reason, "reason", "", "why, for whoever looks at the run")
	return cmd
}

func newRunReplayCommand() *cobra.Command {
	key := ""
	cmd := runVerb(&cobra.Command{
		Use:   "replay",
		Short: "Start a run with the event or input of another one",
		Long:  "Replay starts a run with the same event or input, on the workflow as it is today. All its steps are done anew.",
	}, func(ctx context.Context, api *apiClient, id string) (runs.View, error) {
		return api.runDo(ctx, id, "replay", map[string]string{"key": key})
	})
	cmd.Flags().StringVar(&key, "key", "", "the same key replays the run once")
	return cmd
}

func newRunWaitCommand() *cobra.Command {
	patience := time.Duration(0)
	cmd := &cobra.Command{
		Use:     "wait <id>",
		Short:   "Wait until a run has ended",
		Long:    "Wait stays until the run has ended, and shows it. It fails if the run did not complete.",
		Example: "plugfn run wait " + runIDExample + " --timeout 10m",
		Args:    exactly("id"),
		RunE: apiRun(func(cmd *cobra.Command, args []string, p *printer, api *apiClient) error {
			if patience <= 0 {
				return usage("", "--timeout %s: must be above zero", patience)
			}
			return awaitRun(cmd.Context(), p, api, args[0], patience)
		}),
	}
	cmd.Flags().DurationVar(&patience, "timeout", 5*time.Minute, "how long at most")
	return withTarget(settings.HTTP|settings.API, withOutput(cmd))
}

// awaitRun shows a run once it has ended.
func awaitRun(ctx context.Context, p *printer, api *apiClient, id string, patience time.Duration) error {
	end := time.Now().Add(patience)
	for {
		left := time.Until(end)
		r, err := api.run(ctx, id, min(max(left, time.Second), waitOnce))
		if err != nil {
			return err
		}
		if r.Status.Ended() {
			if err := showRun(p, &r); err != nil {
				return err
			}
			return adviseOnRun(&r)
		}
		if left <= 0 {
			return &failure{exit: exitTimeout, what: "run " + id + " is " + string(r.Status) + " still", fix: "plugfn run show " + id}
		}
	}
}

// adviseOnRun is a failure for a run that did not complete.
func adviseOnRun(r *runs.Detail) error {
	switch r.Status {
	case machine.Completed:
		return nil
	case machine.Canceled:
		return &failure{exit: exitConflict, what: "run " + r.ID + " was canceled", fix: "plugfn run replay " + r.ID}
	default:
		f := &failure{exit: exitFailure, what: "run " + r.ID + " has failed: " + errorText(r.Error), fix: "plugfn run retry " + r.ID}
		if r.Error != nil && r.Error.Step == "" && r.Error.Code == string(events.CodeInvalidParams) {
			f.fix = "start another one with the input that the workflow wants: plugfn workflow show " + r.Workflow
		}
		return f
	}
}

func newRunLogsCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "logs <id>",
		Short: "Show what happened in a run, in its order",
		Long:  "Logs shows the transitions of a run, as they were published to plugfn.run.<user>.<workflow>.<state>.<run>. They are kept for seven days.",
		Args:  exactly("id"),
		RunE: apiRun(func(cmd *cobra.Command, args []string, p *printer, api *apiClient) error {
			all, err := api.runLogs(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			if !p.forPeople() {
				return list(p, all, func(c events.RunChange) string { return strconv.Itoa(c.Number) }, nil)
			}
			return list(p, linesOf(all), func(l logLine) string { return l.what }, []column[logLine]{
				{title: "time", value: func(l logLine) string { return localTime(l.at, "15:04:05.000") }},
				{title: "what", value: func(l logLine) string { return safe(l.what) }},
				{title: "state", value: func(l logLine) string { return runStatus(machine.Status(l.state)) }},
				{title: "why", value: func(l logLine) string { return l.why }},
			})
		}),
	}
	return withTarget(settings.HTTP|settings.API, withOutput(cmd))
}

// logLine is one thing that happened in a run.
type logLine struct {
	at               time.Time
	what, state, why string
}

func linesOf(all []events.RunChange) []logLine {
	var lines []logLine
	before := ""
	for _, c := range all {
		for _, s := range c.Steps {
			lines = append(lines, logLine{c.At, s.Step, s.State, errorText(s.Error)})
		}
		if c.State != before {
			why := errorText(c.Error)
			if why == "" {
				why = safe(c.Reason)
			}
			line := logLine{c.At, "run", c.State, why}
			if before == "" || before == "pending" { // it began before its steps did
				lines = append(lines[:len(lines)-len(c.Steps)], append([]logLine{line}, lines[len(lines)-len(c.Steps):]...)...)
			} else {
				lines = append(lines, line)
			}
			before = c.State
		}
	}
	return lines
}

// jsonText is a value as a person reads it, within bounds.
func jsonText(data json.RawMessage) string {
	const most = 200
	text := safe(string(data))
	if runes := []rune(text); len(runes) > most {
		return string(runes[:most]) + "…"
	}
	return text
}
