package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/plugfn/plugfn/cmd/plugfn/draft"
)

// maxDescription is how many bytes of an API's description are taken in.
const maxDescription = 64 << 20

func newProviderGenerateCommand() *cobra.Command {
	var o generateOptions
	cmd := &cobra.Command{
		Use:   "generate",
		Short: "Draft a pack out of the description of an API",
		Long: "Generate reads OpenAPI 3.0 or 3.1, Swagger 2 or Google discovery, as YAML or JSON, and writes a folder with provider.yaml and a skeleton " +
			"of a fixture for each action. What was read off names and methods is marked \"guessed\"; what a pack cannot express, or what is broken in the " +
			"description, is left out and listed with its place. Nothing is fetched: references out of the document are left open.\n\n" +
			"The folder appears as a whole and only when provider lint has nothing against it, or not at all.",
		Example: `plugfn provider generate --from openapi.yaml --name acme --out providers
plugfn provider generate --from github.json --name octo --select 'issues/*' --select 'pulls/*'
plugfn provider generate --from drive.json --name drive --max-actions 20`,
		Args:              noArgs,
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE:              func(cmd *cobra.Command, _ []string) error { return o.run(cmd) },
	}
	flags := cmd.Flags()
	flags.StringVar(&o.from, "from", "", "file with the description, - for standard input")
	flags.StringVar(&o.Name, "name", "", "name of the provider: a-z, then a-z, 0-9 and -")
	flags.StringSliceVar(&o.Select, "select", nil, "operations to take, by id, path, \"METHOD /path\" or tag; * stands for anything")
	flags.IntVar(&o.MaxActions, "max-actions", draft.DefaultMaxActions, "how many actions at most, those with short paths first")
	flags.StringVar(&o.BaseURL, "base-url", "", "where the API is, if not where the description says")
	flags.StringVar(&o.out, "out", ".", "folder to write the pack's folder into")
	flags.BoolVar(&o.force, "force", false, "replace a pack that is there")
	return withOutput(cmd)
}

type generateOptions struct {
	draft.Options

	from, out string
	force     bool
}

// generatedView is what is shown of a draft.
type generatedView struct {
	Name       string          `json:"name"`
	Folder     string          `json:"folder"`
	From       string          `json:"from"` // kind of the description
	Operations int             `json:"operations"`
	Actions    []generatedItem `json:"actions"`
	LeftOut    int             `json:"left_out"` // operations beyond --max-actions
	Notes      []draft.Note    `json:"notes"`
}

type generatedItem struct {
	Name   string `json:"name"`
	Effect string `json:"effect"` // guessed
	Method string `json:"method"`
	Path   string `json:"path"`
}

func (o *generateOptions) run(cmd *cobra.Command) error {
	p, err := newPrinter(cmd)
	if err != nil {
		return err
	}
	if err := o.check(); err != nil {
		return err
	}
	data, err := readDescription(cmd, o.from)
	if err != nil {
		return err
	}
	d, err := draft.Read(data, o.Options)
	if err != nil {
		return o.refused(err)
	}
	folder, err := d.Write(o.out, o.force)
	if errors.Is(err, draft.ErrExists) {
		return &failure{exit: exitConflict, what: err.Error(), fix: "take another --name or --out, or --force to replace it"}
	}
	if err != nil {
		return &failure{exit: exitFailure, what: "nothing was written", cause: err, fix: "choose fewer operations with --select"}
	}
	v := generatedView{Name: d.Name, Folder: folder, From: d.Kind, Operations: d.Operations, LeftOut: d.LeftOut, Notes: d.Notes, Actions: []generatedItem{}}
	for _, act := range d.Actions {
		v.Actions = append(v.Actions, generatedItem{act.Name, act.Effect, act.Method, act.Path})
	}
	for _, line := range d.Report()[1:] {
		hint(cmd, safe(line))
	}
	hint(cmd, fmt.Sprintf("next: look at what is marked \"guessed\" in %s/provider.yaml, then plugfn provider test %s", folder, folder))
	return p.object(v, v.Name, []field{
		{"name", v.Name},
		{"folder", v.Folder},
		{"from", v.From},
		{"actions", fmt.Sprintf("%d of %d operations", len(v.Actions), v.Operations)},
	})
}

func (o *generateOptions) check() error {
	const fix = "plugfn provider generate --from openapi.yaml --name acme"
	switch {
	case o.from == "":
		return usage(fix, "--from is missing: the file with the description")
	case !isProviderName(o.Name):
		return usage(fix, "--name %s: must be a-z, then up to 39 of a-z, 0-9 and -", safe(o.Name))
	case o.MaxActions < 1:
		return usage("", "--max-actions %d: must be at least 1", o.MaxActions)
	}
	return nil
}

// isProviderName reports whether a pack can have the name.
func isProviderName(s string) bool {
	return s != "" && len(s) <= 40 && s[0] >= 'a' && s[0] <= 'z' && strings.Trim(s, "abcdefghijklmnopqrstuvwxyz0123456789-") == ""
}

// refused says why a description became no pack.
func (o *generateOptions) refused(err error) error {
	f := &failure{exit: exitUsage, what: safe(o.from) + " became no pack, nothing was written", cause: err}
	var base *draft.BaseError
	var chosen *draft.SelectError
	switch {
	case errors.As(err, &base):
		f.fix = "say where the API is: --base-url https://api.example.com"
	case errors.As(err, &chosen):
		f.fix = "plugfn provider generate --select '*' takes all; a pattern is an id, a path, \"METHOD /path\" or a tag"
	}
	return f
}

func readDescription(cmd *cobra.Command, name string) ([]byte, error) {
	in := cmd.InOrStdin()
	if name != "-" {
		f, err := os.Open(name)
		if err != nil {
			return nil, usage("", "--from: %v", err)
		}
		defer f.Close()
		in = f
	}
	data, err := io.ReadAll(io.LimitReader(in, maxDescription+1))
	switch {
	case err != nil:
		return nil, usage("", "--from: %v", err)
	case len(data) > maxDescription:
		return nil, usage("", "--from %s: is larger than %d bytes", safe(name), maxDescription)
	}
	return data, nil
}
