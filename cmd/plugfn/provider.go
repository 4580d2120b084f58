package main

import (
	"encoding/json"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/plugfn/plugfn/cmd/plugfn/settings"
	"github.com/plugfn/plugfn/pkg/providers"
)

func newProviderCommand() *cobra.Command {
	return noun("provider", "providers", "Look at providers, and make packs of your own", newProviderListCommand(), newProviderShowCommand(),
		newProviderNewCommand(), newProviderGenerateCommand(), newProviderLintCommand(), newProviderTestCommand())
}

// packRun is a verb that needs the packs and no server.
func packRun(do func(p *printer, packs map[string]*providers.Pack, args []string) error) func(*cobra.Command, []string) error {
	return func(cmd *cobra.Command, args []string) error {
		p, err := newPrinter(cmd)
		if err != nil {
			return err
		}
		t, err := newTarget(cmd)
		if err != nil {
			return err
		}
		packs, err := t.packs()
		if err != nil {
			return err
		}
		return do(p, packs, args)
	}
}

// providerView is what is shown of a pack.
type providerView struct {
	Name     string       `json:"name"`
	Title    string       `json:"title"`
	Version  string       `json:"version"`
	Docs     string       `json:"docs,omitempty"`
	Actions  []actionView `json:"actions"`
	Triggers []nameView   `json:"triggers"`

	Webhooks *webhooksView `json:"webhooks,omitempty"`
}

type nameView struct {
	Name    string `json:"name"`
	Summary string `json:"summary,omitempty"`
}

type actionView struct {
	nameView
	Effect  providers.Effect `json:"effect"`
	OrderBy []string         `json:"order_by,omitempty"`
	Scopes  []string         `json:"scopes,omitempty"`
	Docs    string           `json:"docs,omitempty"`
	Params  json.RawMessage  `json:"params"`
}

func viewOf(pack *providers.Pack) providerView {
	v := providerView{
		Name: pack.Name, Title: pack.Display.Name, Version: pack.Version, Docs: pack.Display.Docs,
		Actions: []actionView{}, Triggers: []nameView{}, Webhooks: viewOfWebhooks(pack.Webhooks),
	}
	for _, name := range names(pack.Actions) {
		v.Actions = append(v.Actions, viewOfAction(pack.Actions[name]))
	}
	for _, name := range names(pack.Triggers) {
		v.Triggers = append(v.Triggers, nameView{name, pack.Triggers[name].Summary})
	}
	return v
}

func viewOfAction(a *providers.Action) actionView {
	v := actionView{nameView: nameView{a.Name, a.Summary}, Effect: a.Effect, OrderBy: a.OrderBy, Scopes: a.Scopes, Docs: a.Docs}
	if a.Params != nil {
		v.Params = a.Params.JSON()
	}
	return v
}

func newProviderListCommand() *cobra.Command {
	return withTarget(settings.Packs, withOutput(&cobra.Command{
		Use:     "list",
		Aliases: []string{"ls"},
		Short:   "List providers",
		Args:    noArgs,
		RunE: packRun(func(p *printer, packs map[string]*providers.Pack, _ []string) error {
			var all []providerView
			for _, name := range names(packs) {
				all = append(all, viewOf(packs[name]))
			}
			return list(p, all, func(v providerView) string { return v.Name }, []column[providerView]{
				{title: "name", value: func(v providerView) string { return v.Name }},
				{title: "title", value: func(v providerView) string { return v.Title }},
				{title: "version", value: func(v providerView) string { return v.Version }},
				{title: "actions", value: func(v providerView) string { return fmt.Sprint(len(v.Actions)) }},
				{title: "events", value: func(v providerView) string { return fmt.Sprint(len(v.Triggers)) }},
				{title: "docs", wide: true, value: func(v providerView) string { return v.Docs }},
			})
		}),
	}))
}

func newProviderShowCommand() *cobra.Command {
	action := ""
	cmd := &cobra.Command{
		Use:   "show <provider>",
		Short: "Show a provider, or one of its actions",
		Example: `plugfn provider show github
plugfn provider show github --action issues.create`,
		Args:              exactly("provider"),
		ValidArgsFunction: completeProviders,
		RunE: packRun(func(p *printer, packs map[string]*providers.Pack, args []string) error {
			pack, err := packNamed(packs, args[0])
			if err != nil {
				return err
			}
			if action != "" {
				return showAction(p, pack, action)
			}
			return showPack(p, viewOf(pack))
		}),
	}
	cmd.Flags().StringVar(&action, "action", "", "the action to show, with its parameters")
	return withTarget(settings.Packs, withOutput(cmd))
}

func showPack(p *printer, v providerView) error {
	about := []field{{"name", v.Name}, {"title", v.Title}, {"version", v.Version}, {"docs", v.Docs}}
	if v.Webhooks != nil {
		about = append(about, v.Webhooks.fields()...)
	}
	err := p.object(v, v.Name, about)
	if err != nil || p.form != "" && p.form != formTable && p.form != formWide {
		return err
	}
	if len(v.Actions) > 0 {
		rows := [][]string{nil, {"ACTION", "EFFECT", "SUMMARY"}}
		for _, a := range v.Actions {
			rows = append(rows, []string{a.Name, effectOf(a.Effect), a.Summary})
		}
		rows = append(rows, nil)
		if err := p.line(strings.TrimRight(align(rows), "\n")); err != nil {
			return err
		}
	}
	rows := [][]string{nil, {"EVENT", "SUMMARY"}}
	for _, t := range v.Triggers {
		rows = append(rows, []string{t.Name, t.Summary})
	}
	return p.line(strings.TrimRight(align(rows), "\n"))
}

// effectOf says in a word what a repetition does.
func effectOf(e providers.Effect) string {
	switch e {
	case providers.EffectRead:
		return "reads"
	case providers.EffectIdempotent, providers.EffectKeyed:
		return "writes, repeatable"
	case providers.EffectReconcile:
		return "writes, found again"
	default:
		return "writes"
	}
}

func showAction(p *printer, pack *providers.Pack, name string) error {
	action, ok := pack.Action(name)
	if !ok {
		f := &failure{exit: exitNotFound, what: fmt.Sprintf("%s has no action %q", pack.Name, name), fix: "plugfn provider show " + pack.Name}
		if near := pack.NearestAction(name); near != "" {
			f.fix += " --action " + near
		}
		return f
	}
	v := viewOfAction(action)
	err := p.object(v, v.Name, []field{
		{"action", pack.Name + "." + v.Name},
		{"summary", v.Summary},
		{"effect", effectOf(v.Effect)},
		{"one at a time by", strings.Join(v.OrderBy, ", ")},
		{"scopes", strings.Join(v.Scopes, ", ")},
		{"docs", v.Docs},
	})
	if err != nil || p.form != "" && p.form != formTable && p.form != formWide {
		return err
	}
	rows, err := paramRows(v.Params)
	if err != nil {
		return err
	}
	return p.line("\n" + strings.TrimRight(align(rows), "\n"))
}

// paramRows is the table of an action's parameters.
func paramRows(schema json.RawMessage) ([][]string, error) {
	var s struct {
		Required   []string
		Properties map[string]struct {
			Type        any
			Enum        []any
			Description string
		}
	}
	if err := json.Unmarshal(schema, &s); err != nil {
		return nil, fmt.Errorf("reading the schema: %w", err)
	}
	required := map[string]string{}
	for _, name := range s.Required {
		required[name] = "required"
	}
	rows := [][]string{{"PARAMETER", "TYPE", "", "MEANING"}}
	for _, name := range names(s.Properties) {
		property := s.Properties[name]
		kind := strings.Trim(strings.ReplaceAll(fmt.Sprint(property.Type), " ", " or "), "[]")
		if len(property.Enum) > 0 {
			kind = strings.ReplaceAll(strings.Trim(fmt.Sprint(property.Enum), "[]"), " ", "|")
		}
		rows = append(rows, []string{name, kind, required[name], property.Description})
	}
	return rows, nil
}
