package main

import (
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/plugfn/plugfn/cmd/plugfn/settings"
)

const (
	groupServe = "serve"
	groupUse   = "use"
	groupMore  = "more"
)

func newRoot(started time.Time) *cobra.Command {
	root := &cobra.Command{
		Use:   "plugfn",
		Short: "Act in your users' accounts and hear what happens there, over one message bus",
		Example: `plugfn dev
plugfn trigger github issues.opened
plugfn action run slack.chat.postMessage --user demo --param channel=#demo --param text=hi`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	root.SuggestionsMinimumDistance = 2
	root.AddGroup(&cobra.Group{ID: groupServe, Title: "run PlugFn"}, &cobra.Group{ID: groupUse, Title: "use PlugFn"},
		&cobra.Group{ID: groupMore, Title: "more"})
	root.SetHelpCommandGroupID(groupMore)
	root.SetCompletionCommandGroupID(groupMore)
	add(root, groupServe, newDevCommand(started), newServeCommand(), newSandboxCommand())
	add(root, groupUse, newTriggerCommand(), newActionCommand(), newEventCommand(), newDeadCommand(), newScheduleCommand(), newWorkflowCommand(), newRunCommand(), newMetricsCommand(), newWebhookCommand(), newConnectCommand(), newConnectionCommand(), newAppCommand(), newProviderCommand(), newLimitCommand(), newKeyCommand(), newUserCommand(), newStreamCommand(), newGenerateCommand(), newMCPCommand())
	add(root, groupMore, newConfigCommand(), newSpecCommand(), newErrorsCommand(), newHealthcheckCommand(), newVersionCommand(), topic("environment", "The settings and their variables", settings.Help()),
		topic("exit-codes", "What the program exits with", exitCodesHelp()))
	return root
}

func add(root *cobra.Command, group string, commands ...*cobra.Command) {
	for _, c := range commands {
		c.GroupID = group
		root.AddCommand(c)
	}
}

// topic is a page for `plugfn help <name>`.
func topic(name, short, text string) *cobra.Command {
	cmd := &cobra.Command{
		Use:   name,
		Short: short,
		Args:  noArgs,
		RunE:  func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.SetHelpFunc(func(cmd *cobra.Command, _ []string) { _, _ = io.WriteString(cmd.OutOrStdout(), text) })
	return cmd
}

// noun is a command that only holds verbs.
func noun(name, alias, short string, verbs ...*cobra.Command) *cobra.Command {
	cmd := &cobra.Command{
		Use:     name,
		Aliases: []string{alias},
		Short:   short,
		Args:    noArgs,
		RunE:    func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.SuggestionsMinimumDistance = 2
	cmd.AddCommand(verbs...)
	return cmd
}

// noArgs refuses what is no command below cmd, or any argument where there are
// no commands below.
func noArgs(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	fix := cmd.CommandPath() + " --help"
	if !cmd.HasSubCommands() {
		return usage(fix, "%s takes flags only, not %q", cmd.CommandPath(), args[0])
	}
	if near := cmd.SuggestionsFor(args[0]); len(near) > 0 {
		fix = cmd.CommandPath() + " " + near[0]
	}
	return usage(fix, "%s has no command %q", cmd.CommandPath(), args[0])
}

// exactly wants the arguments of these names.
func exactly(names ...string) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		fix := fmt.Sprintf("%s <%s>", cmd.CommandPath(), strings.Join(names, "> <"))
		switch {
		case len(args) < len(names):
			return usage(fix, "%s: <%s> is missing", cmd.CommandPath(), names[len(args)])
		case len(args) > len(names):
			return usage(fix, "%s: %q is one argument too many", cmd.CommandPath(), args[len(names)])
		}
		return nil
	}
}

// atLeastOne wants one argument of a name or more.
func atLeastOne(name string) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if len(args) == 0 {
			return usage(fmt.Sprintf("%s <%s>", cmd.CommandPath(), name), "%s: <%s> is missing", cmd.CommandPath(), name)
		}
		return nil
	}
}

// atMostOne wants one argument or none.
func atMostOne(cmd *cobra.Command, args []string) error {
	if len(args) > 1 {
		return usage(cmd.CommandPath()+" --help", "%s: %q is one argument too many", cmd.CommandPath(), args[1])
	}
	return nil
}

// oneOf wants any number of arguments out of some words.
func oneOf(words ...string) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		for _, arg := range args {
			if !slices.Contains(words, arg) {
				return usage(cmd.CommandPath()+" --help", "%s: %q must be one of %s", cmd.CommandPath(), arg, strings.Join(words, ", "))
			}
		}
		return nil
	}
}

// loadSettings reads the settings of a command.
func loadSettings(cmd *cobra.Command, defaults map[string]string) (*settings.Settings, error) {
	s, err := settings.Load(settings.Source{
		Flags: settings.Given(cmd.Flags()), Environ: os.Environ(), Defaults: defaults,
	})
	if err != nil {
		return nil, &failure{exit: exitUsage, what: "the settings are wrong", cause: err, fix: "plugfn help environment"}
	}
	return s, nil
}
