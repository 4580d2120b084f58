package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/plugfn/plugfn/cmd/plugfn/settings"
	"github.com/plugfn/plugfn/pkg/workflow"
	"github.com/plugfn/plugfn/services/scheduler/workflows"
)

func newWorkflowCommand() *cobra.Command {
	return noun("workflow", "workflows", "Write, try out and apply workflows",
		newWorkflowNewCommand(), newWorkflowValidateCommand(), newWorkflowTestCommand(), newWorkflowGraphCommand(), newWorkflowSchemaCommand(),
		newWorkflowApplyCommand(), newWorkflowDiffCommand(), newWorkflowListCommand(), newWorkflowShowCommand(), newWorkflowVersionsCommand(),
		newWorkflowRunCommand(), newWorkflowStatsCommand(), newWorkflowExportCommand(), newWorkflowEnableCommand(), newWorkflowDisableCommand(), newWorkflowDeleteCommand())
}

func newWorkflowValidateCommand() *cobra.Command {
	user := ""
	cmd := &cobra.Command{
		Use:   "validate <file>...",
		Short: "Check definitions, and change nothing",
		Long: "Validate reads, checks and compiles definitions with the packs that this program knows; no server is needed. With --user the " +
			"server is asked: it knows the user's other workflows, which may be called, and packs of its own. - is standard input.",
		Example: `plugfn workflow validate issue-to-slack.yaml
plugfn workflow validate workflows/*.yaml -o json`,
		Args: atLeastOne("file"),
		RunE: func(cmd *cobra.Command, args []string) error {
			p, err := newPrinter(cmd)
			if err != nil {
				return err
			}
			t, err := newTarget(cmd)
			if err != nil {
				return err
			}
			var all []validated
			var faults []error
			for _, path := range args {
				v, err := validateFile(cmd, t, user, path)
				if err != nil {
					faults = append(faults, err)
					continue
				}
				all = append(all, v)
			}
			err = list(p, all, func(v validated) string { return v.Name }, []column[validated]{
				{title: "file", value: func(v validated) string { return v.File }},
				{title: "workflow", value: func(v validated) string { return v.Name }},
				{title: "trigger", value: func(v validated) string { return triggerText(v.Trigger) }},
				{title: "steps", value: func(v validated) string { return strconv.Itoa(v.Steps) }},
			})
			return errors.Join(err, joined(faults))
		},
	}
	cmd.Flags().StringVar(&user, "user", "", "have the server check, with the other workflows of this user")
	return withTarget(settings.HTTP|settings.API|settings.Packs, withOutput(cmd))
}

// validated is a file that is right.
type validated struct {
	File string `json:"file"`
	workflows.Validation
}

func validateFile(cmd *cobra.Command, t *target, user, path string) (validated, error) {
	text, file, err := readDefinition(path, cmd.InOrStdin())
	if err != nil {
		return validated{}, err
	}
	if user == "" {
		packs, err := t.packs()
		if err != nil {
			return validated{}, err
		}
		p, err := compileFile(packs, text, file)
		if err != nil {
			return validated{}, err
		}
		return validated{file, workflows.Describe(p.Definition)}, nil
	}
	api, err := t.api()
	if err != nil {
		return validated{}, err
	}
	v, err := api.validateWorkflow(cmd.Context(), definitionOf(user, text))
	return validated{file, v}, inFile(file, err)
}

// joined is one failure of several, with the places of all.
func joined(faults []error) error {
	if len(faults) < 2 {
		return errors.Join(faults...)
	}
	all := &failure{exit: exitUsage, what: fmt.Sprintf("problems in %d files", len(faults))}
	for _, err := range faults {
		f := failureOf(err)
		if len(f.places) == 0 {
			all.places = append(all.places, place{Message: f.Error()})
		}
		all.places = append(all.places, f.places...)
	}
	return all
}

func definitionOf(user string, text []byte) newDefinition {
	quoted, err := encode(string(text))
	if err != nil {
		quoted = json.RawMessage(`""`) // a text always has a JSON
	}
	return newDefinition{UserID: user, Application: workflows.Application{Definition: quoted}}
}

// newWorkflowRunCommand is plugfn run start, where one looks for it as well.
func newWorkflowRunCommand() *cobra.Command {
	cmd := newRunStartCommand()
	cmd.Use = "run <workflow>"
	cmd.Example = "plugfn workflow run greet --user u1 --param name=Ada --wait 1m"
	return cmd
}

func newWorkflowGraphCommand() *cobra.Command {
	user := ""
	cmd := &cobra.Command{
		Use:   "graph <file|name>",
		Short: "Draw a workflow as a Mermaid flowchart",
		Long:  "Graph writes a flowchart (https://mermaid.js.org) of a file, - for standard input, or with --user of a workflow that was applied.",
		Example: `plugfn workflow graph issue-to-slack.yaml
plugfn workflow graph issue-to-slack --user demo | mmdc -i - -o graph.svg`,
		Args: exactly("file|name"),
		RunE: func(cmd *cobra.Command, args []string) error {
			d, err := definitionAt(cmd, user, args[0])
			if err != nil {
				return err
			}
			_, err = fmt.Fprint(cmd.OutOrStdout(), d.Mermaid())
			return err
		},
	}
	cmd.Flags().StringVar(&user, "user", "", "the argument is the name of a workflow of this user")
	return withTarget(settings.HTTP|settings.API, withOutput(cmd))
}

// definitionAt reads a file, or a workflow of a user.
func definitionAt(cmd *cobra.Command, user, at string) (*workflow.Definition, error) {
	if user == "" {
		text, file, err := readDefinition(at, cmd.InOrStdin())
		if err != nil {
			return nil, err
		}
		d, err := workflow.Parse(text)
		return d, wrongDefinitionOrNil(file, err)
	}
	t, err := newTarget(cmd)
	if err != nil {
		return nil, err
	}
	api, err := t.api()
	if err != nil {
		return nil, err
	}
	w, err := api.workflow(cmd.Context(), user, at, 0)
	if err != nil {
		return nil, err
	}
	return workflow.Parse(w.Definition)
}

func wrongDefinitionOrNil(file string, err error) error {
	if err == nil {
		return nil
	}
	return wrongDefinition(file, err)
}

func newWorkflowSchemaCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "schema",
		Short: "Write the JSON Schema of definitions, for editors",
		Long: "Schema writes the JSON Schema of workflow definitions. An editor with the YAML language server completes and checks a file whose " +
			"first line is\n\n  # yaml-language-server: $schema=workflow.schema.json",
		Example: "plugfn workflow schema > workflow.schema.json",
		Args:    noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			_, err := cmd.OutOrStdout().Write(workflow.Schema())
			return err
		},
	}
}

// userFlag says whose workflow a command is about.
func userFlag(cmd *cobra.Command, user *string) {
	cmd.Flags().StringVar(user, "user", "", "whose workflow it is")
}

func needUser(user string) error {
	if user == "" {
		return usage("", "--user is missing: it says whose workflow it is")
	}
	return nil
}

func triggerText(t workflows.Trigger) string {
	switch t.Kind {
	case "event":
		return safe(t.Provider + " " + strings.Join(t.Events, ", "))
	case "schedule":
		if t.Every != "" {
			return "every " + safe(t.Every)
		}
		return safe(strings.TrimSpace(t.Cron + " " + t.Zone))
	case "run":
		return safe("run of " + t.Workflow + " " + strings.Join(t.States, ", "))
	default:
		return t.Kind
	}
}

func newWorkflowListCommand() *cobra.Command {
	var user, status string
	limit := 0
	cmd := &cobra.Command{
		Use:     "list",
		Aliases: []string{"ls"},
		Short:   "List workflows",
		Args:    noArgs,
		RunE: apiRun(func(cmd *cobra.Command, _ []string, p *printer, api *apiClient) error {
			if limit < 1 {
				return usage("", "--limit %d: must be at least 1", limit)
			}
			query := url.Values{}
			for name, value := range map[string]string{"user_id": user, "status": status} {
				if value != "" {
					query.Set(name, value)
				}
			}
			all, more, err := api.workflows(cmd.Context(), query, limit)
			if err != nil {
				return err
			}
			if len(all) == 0 {
				hint(cmd, "there are none; to begin one: plugfn workflow new <name>")
			}
			if more {
				hint(cmd, fmt.Sprintf("there are more than %d: raise --limit", limit))
			}
			return list(p, all, func(w workflows.View) string { return w.Name }, []column[workflows.View]{
				{title: "name", value: func(w workflows.View) string { return w.Name }},
				{title: "user", value: func(w workflows.View) string { return safe(w.UserID) }},
				{title: "version", value: func(w workflows.View) string { return strconv.Itoa(w.Version) }},
				{title: "status", value: workflowStatus},
				{title: "trigger", value: func(w workflows.View) string { return triggerText(w.Trigger) }},
				{title: "steps", value: func(w workflows.View) string { return strconv.Itoa(w.Steps) }},
				{title: "applied", value: func(w workflows.View) string { return localTime(w.AppliedAt, time.DateTime) }},
				{title: "description", wide: true, value: func(w workflows.View) string { return safe(w.Description) }},
			})
		}),
	}
	flags := cmd.Flags()
	flags.StringVar(&user, "user", "", "only this user's")
	flags.StringVar(&status, "status", "", "only with this status: draft, enabled, disabled")
	flags.IntVar(&limit, "limit", 200, "how many at most")
	return withTarget(settings.HTTP|settings.API, withOutput(cmd))
}

func workflowStatus(w workflows.View) string {
	switch w.Status {
	case workflows.Enabled:
		return done(string(w.Status))
	case workflows.Draft:
		return waiting(string(w.Status))
	default:
		return faint(safe(string(w.Status)))
	}
}

func workflowFields(w workflows.View) []field {
	return []field{
		{"name", w.Name},
		{"user", safe(w.UserID)},
		{"version", strconv.Itoa(w.Version)},
		{"status", workflowStatus(w)},
		{"description", safe(w.Description)},
		{"trigger", triggerText(w.Trigger)},
		{"steps", strconv.Itoa(w.Steps)},
		{"applied", localTime(w.AppliedAt, time.RFC3339)},
		{"created", localTime(w.CreatedAt, time.RFC3339)},
	}
}

// writeNew writes a file that must not be there yet, - for standard output.
func writeNew(cmd *cobra.Command, path string, text string, force bool) error {
	if path == "-" {
		_, err := fmt.Fprint(cmd.OutOrStdout(), text)
		return err
	}
	flags := os.O_WRONLY | os.O_CREATE | os.O_EXCL
	if force {
		flags = os.O_WRONLY | os.O_CREATE | os.O_TRUNC
	}
	f, err := os.OpenFile(path, flags, 0o644) //nolint:gosec // it is for others to read
	if errors.Is(err, os.ErrExist) {
		return &failure{exit: exitConflict, what: path + " is there already", fix: "take another name with --file, or --force"}
	}
	if err != nil {
		return usage("", "%v", err)
	}
	_, err = f.WriteString(text)
	return errors.Join(err, f.Close())
}
