package main

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/plugfn/plugfn/cmd/plugfn/contract"
)

func newSpecCommand() *cobra.Command {
	return noun("spec", "specs", "Print what PlugFn promises: the bus, the HTTP API, its files",
		specCommand("asyncapi", "Print the subjects, as AsyncAPI 3", contract.AsyncAPI),
		specCommand("openapi", "Print the HTTP API, as OpenAPI 3.1", contract.OpenAPI),
		newSpecSchemaCommand())
}

func specCommand(name, short string, document func() ([]byte, error)) *cobra.Command {
	return &cobra.Command{
		Use: name, Short: short, Example: "plugfn spec " + name + " > " + name + ".json", Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return printDocument(cmd, document) },
	}
}

func newSpecSchemaCommand() *cobra.Command {
	return &cobra.Command{
		Use:       "schema <" + strings.Join(contract.Kinds(), "|") + ">",
		Short:     "Print the JSON Schema of a file or of a message",
		Example:   "plugfn spec schema pack > pack.schema.json",
		ValidArgs: contract.Kinds(),
		Args: func(cmd *cobra.Command, args []string) error {
			if err := exactly("kind")(cmd, args); err != nil {
				return err
			}
			return oneOf(contract.Kinds()...)(cmd, args)
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			return printDocument(cmd, func() ([]byte, error) { return contract.Schema(args[0]) })
		},
	}
}

func printDocument(cmd *cobra.Command, document func() ([]byte, error)) error {
	text, err := document()
	if err != nil {
		return fmt.Errorf("describing: %w", err)
	}
	_, err = cmd.OutOrStdout().Write(text)
	return err
}
