package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"charm.land/lipgloss/v2"
	"github.com/charmbracelet/colorprofile"
	"github.com/spf13/cobra"
	"go.yaml.in/yaml/v3"
	"golang.org/x/term"
)

// The forms of output.
const (
	formTable = "table"
	formWide  = "wide"
	formJSON  = "json"
	formJSONL = "jsonl"
	formYAML  = "yaml"
	formName  = "name"
)

// withOutput gives a command the flags -o and --json.
func withOutput(cmd *cobra.Command) *cobra.Command {
	forms := []string{formTable, formWide, formJSON, formJSONL, formYAML, formName}
	cmd.Flags().StringP("output", "o", "", "form of the output: "+strings.Join(forms, ", "))
	cmd.Flags().Bool("json", false, "the same as -o json")
	_ = cmd.RegisterFlagCompletionFunc("output", cobra.FixedCompletions(forms, cobra.ShellCompDirectiveNoFileComp)) // the flag is there
	return cmd
}

// printer writes data to standard output. Colours are left out where they
// would not be seen (no terminal, NO_COLOR).
type printer struct {
	out      io.Writer
	form     string // "": not asked for
	terminal bool
}

func newPrinter(cmd *cobra.Command) (*printer, error) {
	form, _ := cmd.Flags().GetString("output") // both flags are there, see withOutput
	if asJSON, _ := cmd.Flags().GetBool("json"); asJSON {
		form = formJSON
	}
	known := []string{"", formTable, formWide, formJSON, formJSONL, formYAML, formName}
	if !slices.Contains(known, form) {
		return nil, usage("", "-o %s: must be one of %s", form, strings.Join(known[1:], ", "))
	}
	out := cmd.OutOrStdout()
	return &printer{
		out:      colorprofile.NewWriter(out, os.Environ()),
		form:     form,
		terminal: isTerminal(out),
	}, nil
}

func isTerminal(stream any) bool {
	f, ok := stream.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}

// hint tells a person what may help. It is no data, so it goes to standard
// error.
func hint(cmd *cobra.Command, text string) {
	fmt.Fprintln(colorprofile.NewWriter(cmd.ErrOrStderr(), os.Environ()), faint(text))
}

// field is one line about an object.
type field struct{ name, value string }

// object writes one thing: its fields for people, otherwise v. Fields without
// a value are left out.
func (p *printer) object(v any, name string, fields []field) error {
	switch p.form {
	case "", formTable, formWide:
		return p.fields(fields)
	case formName:
		return p.line(name)
	case formYAML:
		return p.yaml(v)
	case formJSONL:
		return p.json(v, "")
	default:
		return p.json(v, "  ")
	}
}

// forPeople reports whether the output is not for programs.
func (p *printer) forPeople() bool { return p.form == "" || p.form == formTable || p.form == formWide }

func (p *printer) fields(fields []field) error {
	width := 0
	for _, f := range fields {
		width = max(width, lipgloss.Width(f.name))
	}
	for _, f := range fields {
		if f.value == "" {
			continue
		}
		if err := p.line(strings.ToUpper(f.name) + strings.Repeat(" ", width-lipgloss.Width(f.name)+2) + f.value); err != nil {
			return err
		}
	}
	return nil
}

func (p *printer) line(s string) error {
	_, err := fmt.Fprintln(p.out, s)
	return err
}

func (p *printer) json(v any, indent string) error {
	e := json.NewEncoder(p.out)
	e.SetEscapeHTML(false)
	e.SetIndent("", indent)
	return e.Encode(v)
}

// yaml writes what JSON would have, member by member in the same order.
func (p *printer) yaml(v any) error {
	text, err := json.Marshal(v)
	if err != nil {
		return err
	}
	var doc yaml.Node // JSON is YAML
	if err := yaml.Unmarshal(text, &doc); err != nil {
		return err
	}
	plain(&doc)
	e := yaml.NewEncoder(p.out)
	e.SetIndent(2)
	if err := e.Encode(&doc); err != nil {
		return err
	}
	return e.Close()
}

// plain takes the braces and quotes of JSON away from a node.
func plain(n *yaml.Node) {
	n.Style = 0
	for _, child := range n.Content {
		plain(child)
	}
}
