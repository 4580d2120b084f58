package main

import (
	"slices"

	"github.com/spf13/cobra"

	"github.com/plugfn/plugfn/cmd/plugfn/settings"
)

func newConfigCommand() *cobra.Command {
	return noun("config", "configuration", "Look at the settings", newConfigShowCommand(), newConfigSchemaCommand())
}

func newConfigShowCommand() *cobra.Command {
	effective := false
	cmd := &cobra.Command{
		Use:   "show",
		Short: "Show what is set, and where",
		Long: "Show lists the settings that a server would have here, with where each comes from: a flag, a variable, or a file " +
			"and its key. Secrets are masked. With --effective it lists the defaults as well.",
		Example: `plugfn config show
plugfn config show --effective --config plugfn.yaml -o json`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			p, err := newPrinter(cmd)
			if err != nil {
				return err
			}
			s, err := loadSettings(cmd, nil)
			if err != nil {
				return err
			}
			all := s.Effective()
			if !effective {
				all = slices.DeleteFunc(all, func(v settings.Value) bool { return !v.IsSet() })
			}
			if len(all) == 0 {
				hint(cmd, "nothing is set; with the defaults: plugfn config show --effective")
			}
			warnOfStrangers(cmd, s)
			return listSettings(p, all)
		},
	}
	settings.AddFlags(cmd.Flags(), settings.Server)
	cmd.Flags().BoolVar(&effective, "effective", false, "list the defaults as well")
	return withOutput(cmd)
}

func listSettings(p *printer, all []settings.Value) error {
	return list(p, all, func(v settings.Value) string { return v.Variable }, []column[settings.Value]{
		{title: "variable", value: func(v settings.Value) string { return v.Variable }},
		{title: "value", value: func(v settings.Value) string { return clip(safe(v.Value), 60) }},
		{title: "origin", value: func(v settings.Value) string { return safe(v.Origin) }},
		{title: "key", wide: true, value: func(v settings.Value) string { return v.Key }},
	})
}

func newConfigSchemaCommand() *cobra.Command {
	return &cobra.Command{
		Use:     "schema",
		Short:   "Print the JSON Schema of the configuration file, for editors",
		Example: `plugfn config schema > plugfn.schema.json`,
		Args:    noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			_, err := cmd.OutOrStdout().Write(settings.Schema())
			return err
		},
	}
}
