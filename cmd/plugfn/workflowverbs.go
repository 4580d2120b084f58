package main

import (
	"fmt"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"github.com/plugfn/plugfn/cmd/plugfn/settings"
	"github.com/plugfn/plugfn/pkg/workflow"
	"github.com/plugfn/plugfn/services/scheduler/workflows"
)

func newWorkflowApplyCommand() *cobra.Command {
	user := ""
	draft := false
	ifVersion := -1
	cmd := &cobra.Command{
		Use:   "apply <file>...",
		Short: "Make a new version of a workflow, or a new workflow",
		Long: "Apply checks a definition as a whole and then makes it the latest version, which new runs go by; runs that are under way go on by " +
			"the one that they began with. A workflow that is new is enabled, unless --draft is given. The same text as that of the latest version " +
			"makes no new one. - is standard input.",
		Example: `plugfn workflow apply issue-to-slack.yaml --user demo
plugfn workflow apply digest.yaml --user demo --if-version 3`,
		Args: atLeastOne("file"),
		RunE: apiRun(func(cmd *cobra.Command, args []string, p *printer, api *apiClient) error {
			if err := needUser(user); err != nil {
				return err
			}
			var all []workflows.Applied
			var faults []error
			for _, path := range args {
				text, file, err := readDefinition(path, cmd.InOrStdin())
				if err != nil {
					return err
				}
				in := definitionOf(user, text)
				in.Draft = draft
				if cmd.Flags().Changed("if-version") {
					in.IfVersion = &ifVersion
				}
				made, err := api.applyWorkflow(cmd.Context(), in)
				if err != nil {
					faults = append(faults, inFile(file, err))
					continue
				}
				all = append(all, made)
			}
			if err := showApplied(p, all, len(args)); err != nil {
				return err
			}
			return joined(faults)
		}),
	}
	userFlag(cmd, &user)
	cmd.Flags().BoolVar(&draft, "draft", false, "do not enable a workflow that is new")
	cmd.Flags().IntVar(&ifVersion, "if-version", 0, "only if this is the latest version; 0: only if there is no such workflow")
	return withTarget(settings.HTTP|settings.API, withOutput(cmd))
}

// showApplied shows what was applied: one as an object, where one was asked for.
func showApplied(p *printer, all []workflows.Applied, asked int) error {
	if asked == 1 && !p.forPeople() {
		if len(all) == 0 {
			return nil
		}
		return p.object(all[0], all[0].Name, nil)
	}
	err := list(p, all, func(w workflows.Applied) string { return w.Name }, []column[workflows.Applied]{
		{title: "name", value: func(w workflows.Applied) string { return w.Name }},
		{title: "version", value: func(w workflows.Applied) string { return strconv.Itoa(w.Version) }},
		{title: "status", value: func(w workflows.Applied) string { return workflowStatus(w.View) }},
		{title: "trigger", value: func(w workflows.Applied) string { return triggerText(w.Trigger) }},
		{title: "changes", value: changesText},
	})
	return err
}

func changesText(w workflows.Applied) string {
	switch {
	case !w.Changed:
		return faint("none")
	case w.Version == 1:
		return "new"
	case len(w.Changes) == 0:
		return "how it is written"
	default:
		return strconv.Itoa(len(w.Changes))
	}
}

func newWorkflowDiffCommand() *cobra.Command {
	user := ""
	from, to := 0, 0
	cmd := &cobra.Command{
		Use:   "diff <file|name>",
		Short: "Show what applying a file would change, or what a version has changed",
		Long: "Diff compares a file, - for standard input, with the latest version of the workflow of its name. With --from it compares two versions " +
			"of the workflow that is named. Steps are told by their ids: one that has moved is no change but of the order.",
		Example: `plugfn workflow diff issue-to-slack.yaml --user demo
plugfn workflow diff issue-to-slack --user demo --from 3`,
		Args: exactly("file|name"),
		RunE: apiRun(func(cmd *cobra.Command, args []string, p *printer, api *apiClient) error {
			if err := needUser(user); err != nil {
				return err
			}
			var c workflows.Comparison
			if from > 0 || to > 0 {
				found, err := api.compareVersions(cmd.Context(), user, args[0], max(from, 1), to)
				if err != nil {
					return err
				}
				c = found
			} else {
				text, file, err := readDefinition(args[0], cmd.InOrStdin())
				if err != nil {
					return err
				}
				if c, err = api.diffWorkflow(cmd.Context(), definitionOf(user, text)); err != nil {
					return inFile(file, err)
				}
			}
			if !p.forPeople() {
				return p.object(c, args[0], nil)
			}
			if len(c.Changes) == 0 {
				hint(cmd, "nothing changes")
			}
			return each(c.Changes, func(one workflow.Change) error { return p.line(safe(one.String())) })
		}),
	}
	userFlag(cmd, &user)
	cmd.Flags().IntVar(&from, "from", 0, "compare this version of the workflow that is named")
	cmd.Flags().IntVar(&to, "to", 0, "with this one; not given: the latest")
	return withTarget(settings.HTTP|settings.API, withOutput(cmd))
}

func newWorkflowShowCommand() *cobra.Command {
	user := ""
	version := 0
	cmd := &cobra.Command{
		Use:   "show <name>",
		Short: "Show a workflow and its steps",
		Args:  exactly("name"),
		RunE: apiRun(func(cmd *cobra.Command, args []string, p *printer, api *apiClient) error {
			if err := needUser(user); err != nil {
				return err
			}
			w, err := api.workflow(cmd.Context(), user, args[0], version)
			if err != nil {
				return err
			}
			if err := p.object(w, w.Name, workflowFields(w.View)); err != nil || !p.forPeople() {
				return err
			}
			d, err := workflow.Parse(w.Definition)
			if err != nil {
				return err
			}
			if err := p.line(""); err != nil {
				return err
			}
			return outline(p, d.Steps, "")
		}),
	}
	userFlag(cmd, &user)
	cmd.Flags().IntVar(&version, "version", 0, "the definition of this version; not given: the latest")
	return withTarget(settings.HTTP|settings.API, withOutput(cmd))
}

// outline writes steps, those inside others below them.
func outline(p *printer, steps []*workflow.Step, indent string) error {
	for _, s := range steps {
		if err := p.line(indent + safe(s.String())); err != nil {
			return err
		}
		for _, inner := range s.Lists() {
			if len(inner.Steps) == 0 {
				continue
			}
			if err := p.line(indent + "  " + faint(safe(inner.Label))); err != nil {
				return err
			}
			if err := outline(p, inner.Steps, indent+"    "); err != nil {
				return err
			}
		}
	}
	return nil
}

func newWorkflowVersionsCommand() *cobra.Command {
	user := ""
	cmd := &cobra.Command{
		Use:   "versions <name>",
		Short: "List the versions of a workflow, the latest first",
		Args:  exactly("name"),
		RunE: apiRun(func(cmd *cobra.Command, args []string, p *printer, api *apiClient) error {
			if err := needUser(user); err != nil {
				return err
			}
			all, err := api.workflowVersions(cmd.Context(), user, args[0])
			if err != nil {
				return err
			}
			return list(p, all, func(v workflows.Version) string { return strconv.Itoa(v.Version) }, []column[workflows.Version]{
				{title: "version", value: func(v workflows.Version) string { return strconv.Itoa(v.Version) }},
				{title: "applied", value: func(v workflows.Version) string { return localTime(v.AppliedAt, time.DateTime) }},
				{title: "bytes", value: func(v workflows.Version) string { return strconv.Itoa(v.Bytes) }},
				{title: "digest", value: func(v workflows.Version) string { return v.Digest[:min(12, len(v.Digest))] }},
			})
		}),
	}
	userFlag(cmd, &user)
	return withTarget(settings.HTTP|settings.API, withOutput(cmd))
}

func newWorkflowStatsCommand() *cobra.Command {
	var user, since string
	cmd := &cobra.Command{
		Use:   "stats <name>",
		Short: "Show what became of the runs of a workflow, and how long its steps take",
		Args:  exactly("name"),
		RunE: apiRun(func(cmd *cobra.Command, args []string, p *printer, api *apiClient) error {
			if err := needUser(user); err != nil {
				return err
			}
			s, err := api.workflowStats(cmd.Context(), user, args[0], since)
			if err != nil {
				return err
			}
			return showWorkflowStats(p, s)
		}),
	}
	userFlag(cmd, &user)
	cmd.Flags().StringVar(&since, "since", "7d", "how far back, up to 7d, as long as the history of runs is kept")
	return withTarget(settings.HTTP|settings.API, withOutput(cmd))
}

func showWorkflowStats(p *printer, s workflows.Stats) error {
	fields := []field{
		{"runs", strconv.Itoa(s.Total)},
		{"under way", strconv.Itoa(s.Live)},
		{"completed", fmt.Sprintf("%d, %d of them filtered", s.Completed, s.Filtered)},
		{"failed", strconv.Itoa(s.Failed)},
		{"canceled", strconv.Itoa(s.Canceled)},
	}
	if s.SuccessRate != nil {
		fields = append(fields, field{"success", fmt.Sprintf("%.1f %%", 100**s.SuccessRate)})
	}
	if s.AverageMS != nil {
		fields = append(fields, field{"average", milliseconds(*s.AverageMS)})
	}
	if s.LastRun != nil {
		fields = append(fields, field{"last run", safe(s.LastRun.ID) + "  " + safe(s.LastRun.State) + "  " + localTime(s.LastRun.At, time.RFC3339)})
	}
	if err := p.object(s, s.Name, fields); err != nil || !p.forPeople() || len(s.Steps) == 0 {
		return err
	}
	if err := p.line(""); err != nil {
		return err
	}
	count := func(n func(workflows.StepStats) int) func(workflows.StepStats) string {
		return func(s workflows.StepStats) string { return strconv.Itoa(n(s)) }
	}
	return table(p, s.Steps, []column[workflows.StepStats]{
		{title: "step", value: func(s workflows.StepStats) string { return safe(s.ID) }},
		{title: "completed", value: count(func(s workflows.StepStats) int { return s.Completed })},
		{title: "failed", value: count(func(s workflows.StepStats) int { return s.Failed })},
		{title: "skipped", value: count(func(s workflows.StepStats) int { return s.Skipped })},
		{title: "average", value: func(s workflows.StepStats) string { return milliseconds(s.AverageMS) }},
		{title: "longest", value: func(s workflows.StepStats) string { return milliseconds(s.LongestMS) }},
	})
}

func milliseconds(n int64) string { return (time.Duration(n) * time.Millisecond).String() }

func newWorkflowExportCommand() *cobra.Command {
	var user, form string
	version := 0
	cmd := &cobra.Command{
		Use:   "export <name>",
		Short: "Write the text of a workflow",
		Long:  "Export writes a version as it was applied, with its comments, or in the canonical form in YAML or JSON, which means the same.",
		Example: `plugfn workflow export issue-to-slack --user demo > issue-to-slack.yaml
plugfn workflow export issue-to-slack --user demo --form json --version 2`,
		Args: exactly("name"),
		RunE: apiRun(func(cmd *cobra.Command, args []string, p *printer, api *apiClient) error {
			if err := needUser(user); err != nil {
				return err
			}
			e, err := api.exportWorkflow(cmd.Context(), user, args[0], version, workflows.Form(form))
			if err != nil {
				return err
			}
			if !p.forPeople() {
				return p.object(e, e.Name, nil)
			}
			_, err = fmt.Fprint(cmd.OutOrStdout(), e.Text)
			return err
		}),
	}
	userFlag(cmd, &user)
	forms := []string{string(workflows.Source), string(workflows.YAML), string(workflows.JSON)}
	cmd.Flags().StringVar(&form, "form", forms[0], "source, as it was applied; or yaml or json")
	cmd.Flags().IntVar(&version, "version", 0, "this version; not given: the latest")
	_ = cmd.RegisterFlagCompletionFunc("form", cobra.FixedCompletions(forms, cobra.ShellCompDirectiveNoFileComp)) // the flag is there
	return withTarget(settings.HTTP|settings.API, withOutput(cmd))
}

// workflowVerb is a command that does one thing with a workflow and shows it.
func workflowVerb(cmd *cobra.Command, what string) *cobra.Command {
	user := ""
	cmd.Use = what + " <name>"
	cmd.Args = exactly("name")
	cmd.RunE = apiRun(func(cmd *cobra.Command, args []string, p *printer, api *apiClient) error {
		if err := needUser(user); err != nil {
			return err
		}
		w, err := api.workflowDo(cmd.Context(), user, args[0], what)
		if err != nil {
			return err
		}
		return p.object(w, w.Name, workflowFields(w))
	})
	userFlag(cmd, &user)
	return withTarget(settings.HTTP|settings.API, withOutput(cmd))
}

func newWorkflowEnableCommand() *cobra.Command {
	return workflowVerb(&cobra.Command{Short: "Let a workflow be started"}, "enable")
}

func newWorkflowDisableCommand() *cobra.Command {
	return workflowVerb(&cobra.Command{Short: "Let nothing start a workflow any more; its runs go on"}, "disable")
}

func newWorkflowDeleteCommand() *cobra.Command {
	user := ""
	yes := false
	cmd := &cobra.Command{
		Use:     "delete <name>",
		Aliases: []string{"rm"},
		Short:   "Delete a workflow; its runs go on",
		Long: "Delete lets nothing start the workflow any more, and forgets it. Runs that are under way go on by the version that they began with: " +
			"to end them, see plugfn run list and plugfn run cancel.",
		Args: exactly("name"),
		RunE: apiRun(func(cmd *cobra.Command, args []string, _ *printer, api *apiClient) error {
			if err := needUser(user); err != nil {
				return err
			}
			w, err := api.workflow(cmd.Context(), user, args[0], 0)
			if err != nil {
				return err
			}
			if err := confirm(cmd, yes, fmt.Sprintf("Delete the workflow %s of user %s, version %d", w.Name, safe(w.UserID), w.Version)); err != nil {
				return err
			}
			return api.deleteWorkflow(cmd.Context(), user, args[0])
		}),
	}
	userFlag(cmd, &user)
	cmd.Flags().BoolVar(&yes, "yes", false, "do not ask")
	return withTarget(settings.HTTP|settings.API, withOutput(cmd))
}
