package draft

import (
	"cmp"
	"errors"
	"fmt"
	"runtime/debug"
	"slices"
	"strings"
)

// Options say what is drafted.
type Options struct {
	Name       string   // of the pack
	Select     []string // patterns for operations, * stands for anything; none: all
	MaxActions int      // 0: 50
	BaseURL    string   // instead of the server that the description names
}

// DefaultMaxActions is how many actions a draft has where nobody says.
const DefaultMaxActions = 50

// Note is what was left out or guessed, and where.
type Note struct {
	At   string `json:"at"` // such as POST /pets, or a part of the description
	Text string `json:"text"`
}

// Draft is a pack that was drafted and is not written yet.
type Draft struct {
	Name       string
	Title      string
	Kind       string // of the description, such as OpenAPI 3.1.0
	Operations int    // that the description has
	Actions    []*Action
	LeftOut    int    // operations that fit Select and were more than MaxActions
	Notes      []Note // what was left out or guessed

	version, docs, prefix string
	base                  string
	auth                  []authBlock
	message               string // pointer to the message of a failure
	source                *source
}

// Action is one operation as an action.
type Action struct {
	Name   string
	Method string
	Path   string // in the description
	Effect string // guessed of the method

	op        *operation
	place     place
	params    object // as a JSON Schema
	example   map[string]any
	pages     *pages
	file      bool // the answer is a file
	encoding  string
	fileParam string
	sensitive []string
	scopes    []string
}

func (d *Draft) note(at, format string, args ...any) {
	if len(d.Notes) < 10_000 {
		d.Notes = append(d.Notes, Note{at, fmt.Sprintf(format, args...)})
	}
}

// Read drafts a pack out of a description.
func Read(data []byte, o Options) (d *Draft, err error) {
	defer func() {
		if r := recover(); r != nil {
			d, err = nil, fmt.Errorf("the description cannot be read: %v\n%s", r, debug.Stack())
		}
	}()
	s, err := newSource(data)
	if err != nil {
		return nil, err
	}
	api, err := describe(s)
	if err != nil {
		return nil, err
	}
	return api.draft(o)
}

// describe reads what kind of description it is.
func describe(s *source) (*api, error) {
	switch v3, v2 := versionText(s.value("openapi")), versionText(s.value("swagger")); {
	case strings.HasPrefix(v3, "3."):
		return readOpenAPI(s, "OpenAPI "+v3), nil
	case strings.HasPrefix(v2, "2"):
		return readSwagger(s, "Swagger "+v2), nil
	case textOf(s.value("kind")) == "discovery#restDescription" || s.at("discoveryVersion") != nil:
		return readDiscovery(s), nil
	case v3 != "" || v2 != "":
		return nil, fmt.Errorf("version %s of the description is unknown: there are OpenAPI 3.0 and 3.1, Swagger 2.0 and Google discovery", cmp.Or(v3, v2))
	}
	return nil, errors.New("the description says neither openapi: 3… nor swagger: 2.0 nor kind: discovery#restDescription")
}

// versionText is a version that may have been written as a number.
func versionText(v any) string {
	if v == nil {
		return ""
	}
	return strings.TrimSpace(fmt.Sprint(v))
}

// draft makes the pack.
func (a *api) draft(o Options) (*Draft, error) {
	d := &Draft{
		Name: o.Name, Title: cmp.Or(oneLine(a.title, 80), o.Name), Kind: a.kind, Operations: len(a.operations),
		Notes: a.notes, version: "0.1.0", docs: a.docs, source: a.source,
	}
	chosen, err := a.choose(o, d)
	if err != nil {
		return nil, err
	}
	if err := a.setBase(d, o.BaseURL); err != nil {
		return nil, err
	}
	a.drawAuth(d)
	limit := cmp.Or(o.MaxActions, DefaultMaxActions)
	names := map[string]bool{}
	for i, op := range chosen {
		if len(d.Actions) == limit {
			d.LeftOut = len(chosen) - i
			break
		}
		action, why := a.action(op, d)
		if why != "" {
			d.note(op.place(), "left out: %s", why)
			continue
		}
		action.Name = unique(op.name, names)
		d.Actions = append(d.Actions, action)
	}
	if len(d.Actions) == 0 {
		return nil, a.nothing(d)
	}
	slices.SortFunc(d.Actions, func(x, y *Action) int { return cmp.Compare(x.Name, y.Name) })
	d.setScopes()
	d.message = a.failureMessage(chosen)
	return d, nil
}

// nothing says why no operation became an action.
func (a *api) nothing(d *Draft) error {
	if len(a.operations) == 0 {
		return errors.New("the description has no operation: paths is empty, or is missing")
	}
	var why []string
	for _, n := range d.Notes[max(0, len(d.Notes)-5):] {
		why = append(why, n.At+": "+n.Text)
	}
	return fmt.Errorf("none of the %d operations can be an action:\n%s", len(a.operations), strings.Join(why, "\n"))
}

// choose returns the operations that fit, those with short paths first: they are
// about the main things of an API.
func (a *api) choose(o Options, d *Draft) ([]*operation, error) {
	fits, err := selection(o.Select)
	if err != nil {
		return nil, err
	}
	var chosen []*operation
	for _, op := range a.operations {
		if fits(op) {
			chosen = append(chosen, op)
		}
	}
	if len(chosen) == 0 && len(a.operations) > 0 {
		return nil, &SelectError{Patterns: o.Select, Known: a.known()}
	}
	slices.SortStableFunc(chosen, func(x, y *operation) int {
		return cmp.Or(cmp.Compare(strings.Count(x.path, "/"), strings.Count(y.path, "/")),
			cmp.Compare(x.path, y.path), cmp.Compare(x.method, y.method))
	})
	return chosen, nil
}

// unique is a name that no other action has.
func unique(name string, taken map[string]bool) string {
	free := name
	for i := 2; taken[strings.ToLower(free)]; i++ {
		free = fmt.Sprintf("%s_%d", name, i)
	}
	taken[strings.ToLower(free)] = true
	return free
}

// known lists some operations, for a message.
func (a *api) known() []string {
	var all []string
	for _, op := range a.operations[:min(5, len(a.operations))] {
		all = append(all, op.name)
	}
	return all
}

// SelectError says that no operation fits the patterns.
type SelectError struct {
	Patterns []string
	Known    []string // some of those that there are
}

// Error returns the message.
func (e *SelectError) Error() string {
	return fmt.Sprintf("no operation fits %s; there are such as %s", strings.Join(e.Patterns, ", "), strings.Join(e.Known, ", "))
}
