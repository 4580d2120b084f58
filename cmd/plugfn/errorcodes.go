package main

import (
	"fmt"
	"maps"
	"slices"

	"github.com/spf13/cobra"

	"github.com/plugfn/plugfn/pkg/events"
	"github.com/plugfn/plugfn/pkg/providers/nearest"
)

func newErrorsCommand() *cobra.Command {
	return noun("errors", "error", "Explain error codes", newErrorsListCommand(), newErrorsExplainCommand())
}

// codeView is what is shown of an error code.
type codeView struct {
	Code      events.Code `json:"code"`
	Meaning   string      `json:"meaning"`
	Fix       string      `json:"fix"`
	Retryable bool        `json:"retryable"` // the same request may succeed later, unchanged
	Status    int         `json:"status"`    // of HTTP
	Exit      exitCode    `json:"exit_code"` // of this program
}

// codeViews are all codes, in the order of the contract.
func codeViews() []codeView {
	var all []codeView
	for _, row := range events.Codes() {
		all = append(all, codeView{row.Code, row.Meaning, row.Fix, row.Retryable, row.Status, exitOf(row.Code)})
	}
	return all
}

func (v codeView) again() string {
	if v.Retryable {
		return "yes"
	}
	return "no"
}

func newErrorsListCommand() *cobra.Command {
	return withOutput(&cobra.Command{
		Use: "list", Aliases: []string{"ls"}, Short: "List the error codes of results and of the HTTP API",
		Example: "plugfn errors list", Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			p, err := newPrinter(cmd)
			if err != nil {
				return err
			}
			return list(p, codeViews(), func(v codeView) string { return string(v.Code) }, []column[codeView]{
				{title: "code", value: func(v codeView) string { return string(v.Code) }},
				{title: "http", value: func(v codeView) string { return fmt.Sprint(v.Status) }},
				{title: "exit", value: func(v codeView) string { return fmt.Sprint(int(v.Exit)) }},
				{title: "again", value: codeView.again},
				{title: "meaning", value: func(v codeView) string { return v.Meaning }},
			})
		},
	})
}

func newErrorsExplainCommand() *cobra.Command {
	known := map[string]codeView{}
	for _, v := range codeViews() {
		known[string(v.Code)] = v
	}
	sorted := slices.Sorted(maps.Keys(known))
	return withOutput(&cobra.Command{
		Use: "explain <code>", Short: "Say what an error code means and what to do", Example: "plugfn errors explain needs_reauth",
		Args: exactly("code"), ValidArgs: sorted,
		RunE: func(cmd *cobra.Command, args []string) error {
			p, err := newPrinter(cmd)
			if err != nil {
				return err
			}
			v, ok := known[args[0]]
			if !ok {
				f := &failure{exit: exitNotFound, what: "there is no error code " + safe(args[0]), fix: "plugfn errors list"}
				if near := nearest.Name(args[0], maps.Keys(known)); near != "" {
					f.fix = "plugfn errors explain " + near
				}
				return f
			}
			return p.object(v, args[0], []field{
				{"code", args[0]},
				{"meaning", v.Meaning},
				{"fix", v.Fix},
				{"again", v.again()},
				{"http status", fmt.Sprint(v.Status)},
				{"exit code", fmt.Sprint(int(v.Exit))},
			})
		},
	})
}
