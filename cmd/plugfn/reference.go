package main

import (
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// reference is docs/cli.md: every command, made of the program itself.
func reference(root *cobra.Command) string {
	var b strings.Builder
	b.WriteString("# Commands\n\nMade of the program: `plugfn <command> --help` shows the same, `plugfn man` the manual page, `plugfn help exit-codes` what it exits with.\n")
	describeCommand(&b, root)
	return b.String()
}

func describeCommand(b *strings.Builder, cmd *cobra.Command) {
	if cmd.Hidden || cmd.Name() == "completion" || cmd.Name() == "help" && cmd.Parent() != nil {
		return
	}
	fmt.Fprintf(b, "\n## %s\n\n%s.\n", cmd.CommandPath(), strings.TrimSuffix(cmd.Short, "."))
	if cmd.Long != "" {
		fmt.Fprintf(b, "\n%s\n", cmd.Long)
	}
	if cmd.Runnable() && !cmd.HasSubCommands() {
		fmt.Fprintf(b, "\n```\n%s\n```\n", cmd.UseLine())
	}
	if cmd.Example != "" {
		fmt.Fprintf(b, "\n```\n%s\n```\n", strings.TrimSpace(cmd.Example))
	}
	describeFlags(b, cmd)
	subs := cmd.Commands()
	slices.SortFunc(subs, func(x, y *cobra.Command) int { return strings.Compare(x.Name(), y.Name()) })
	for _, sub := range subs {
		describeCommand(b, sub)
	}
}

func describeFlags(b *strings.Builder, cmd *cobra.Command) {
	var rows []string
	cmd.LocalNonPersistentFlags().VisitAll(func(f *pflag.Flag) {
		if f.Hidden || f.Name == "help" || f.Name == "version" {
			return
		}
		name := "--" + f.Name
		if f.Shorthand != "" {
			name = "-" + f.Shorthand + ", " + name
		}
		usage := strings.NewReplacer("|", `\|`, "\n", " ").Replace(f.Usage)
		rows = append(rows, fmt.Sprintf("| `%s` | %s |", name, usage))
	})
	if len(rows) > 0 {
		fmt.Fprintf(b, "\n| Flag | |\n|---|---|\n%s\n", strings.Join(rows, "\n"))
	}
}
