package main

import (
	"embed"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/plugfn/plugfn/pkg/workflow"
)

// templates are the beginnings of workflows, by their triggers.
//
//go:embed templates/*.yaml
var templates embed.FS

func newWorkflowNewCommand() *cobra.Command {
	var trigger, file string
	force := false
	cmd := &cobra.Command{
		Use:   "new <name>",
		Short: "Write a file to begin a workflow with",
		Long: "New writes <name>.yaml with a workflow that can be applied as it is, and comments that say what else there is. It posts to Slack and " +
			"listens to GitHub, in the sandbox of plugfn dev.",
		Example: `plugfn workflow new greet
plugfn workflow new digest --trigger schedule --file workflows/digest.yaml`,
		Args: exactly("name"),
		RunE: func(cmd *cobra.Command, args []string) error {
			name := args[0]
			if !workflow.IsName(name) {
				return usage("", "%s: must be a-z, 0-9 and -, at most 64 of them", safe(name))
			}
			text, err := templates.ReadFile("templates/" + trigger + ".yaml")
			if err != nil {
				return usage("", "--trigger %s: must be one of %s", safe(trigger), strings.Join(triggerKinds(), ", "))
			}
			if file == "" {
				file = name + ".yaml"
			}
			if err := writeNew(cmd, file, strings.ReplaceAll(string(text), "NAME", name), force); err != nil {
				return err
			}
			if file != "-" {
				hint(cmd, fmt.Sprintf("written: %s; to try it out: plugfn workflow test %s", file, file))
			}
			return nil
		},
	}
	flags := cmd.Flags()
	flags.StringVar(&trigger, "trigger", "event", "what starts it: "+strings.Join(triggerKinds(), ", "))
	flags.StringVarP(&file, "file", "f", "", "where to write it, - for standard output; if not given: <name>.yaml")
	flags.BoolVar(&force, "force", false, "write over a file that is there")
	_ = cmd.RegisterFlagCompletionFunc("trigger", cobra.FixedCompletions(triggerKinds(), cobra.ShellCompDirectiveNoFileComp)) // the flag is there
	return cmd
}

func triggerKinds() []string { return []string{"event", "schedule", "manual", "run"} }
