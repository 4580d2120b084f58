package mcpserver

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"

	"github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/plugfn/plugfn/pkg/plugfn"
	"github.com/plugfn/plugfn/pkg/providers"
)

const (
	maxToolName = 64
	// connectionParam chooses among several connections to one provider.
	connectionParam = "plugfn_connection"
)

// action is what one tool does.
type action struct {
	providers.ActionDescription
	name        string // of the tool
	provider    string
	title       string // of the provider
	schema      json.RawMessage
	connections []plugfn.Connection
}

// wanted are the tools of the connections there are, by their names.
func (s *Server) wanted(ctx context.Context) (map[string]*action, error) {
	connected := map[string][]plugfn.Connection{}
	for c, err := range s.Client.Connections().List(ctx, plugfn.ConnectionFilter{User: s.User}) {
		if err != nil {
			return nil, err
		}
		connected[c.Provider] = append(connected[c.Provider], c)
	}
	all := map[string]*action{}
	for _, name := range slices.Sorted(maps.Keys(connected)) {
		p, err := s.Client.Provider(ctx, name)
		if err != nil {
			return nil, err
		}
		for _, a := range p.Actions {
			one := &action{ActionDescription: a, provider: name, title: p.Title, connections: connected[name]}
			one.name = toolName(name+"_"+a.Name, all)
			if one.schema, err = one.input(); err != nil {
				return nil, fmt.Errorf("%s.%s: %w", name, a.Name, err)
			}
			all[one.name] = one
		}
	}
	return all, nil
}

// toolName is a name that all clients take and that is free.
func toolName(wish string, taken map[string]*action) string {
	name := regexp.MustCompile(`[^A-Za-z0-9_-]`).ReplaceAllString(wish, "_")
	name = name[:min(len(name), maxToolName-3)]
	free := name
	for i := 2; taken[free] != nil; i++ {
		free = fmt.Sprintf("%s_%d", name, i)
	}
	return free
}

// input is the schema of the parameters, with one more where there are several
// connections to choose from.
func (a *action) input() (json.RawMessage, error) {
	if len(a.connections) < 2 {
		return a.Params, nil
	}
	var schema map[string]any
	if err := json.Unmarshal(a.Params, &schema); err != nil {
		return nil, err
	}
	properties, _ := schema["properties"].(map[string]any)
	if properties == nil {
		properties = map[string]any{}
	}
	var ids, about []string
	for _, c := range a.connections {
		ids = append(ids, c.ID)
		about = append(about, c.ID+" is "+nameOf(&c))
	}
	slices.Sort(ids)
	slices.Sort(about)
	properties[connectionParam] = map[string]any{
		"type": "string", "enum": ids, "description": "Which connection acts; left out: the default one. " + strings.Join(about, ", "),
	}
	schema["properties"] = properties
	return json.Marshal(schema)
}

func nameOf(c *plugfn.Connection) string {
	for _, name := range []string{c.Name, c.Label, c.Account} {
		if name != "" {
			return name
		}
	}
	return "unnamed"
}

func (a *action) tool() *mcp.Tool {
	description := fmt.Sprintf("%s: %s.", a.title, strings.TrimSuffix(a.Summary, "."))
	if a.Paginated {
		description += " It gives one page; the answer says how to get the next."
	}
	if a.Docs != "" {
		description += " " + a.Docs
	}
	return &mcp.Tool{
		Name: a.name, Title: a.title + ": " + a.Summary, Description: description, InputSchema: a.schema,
		Annotations: hints(a.Effect),
	}
}

// hints says what an effect means. A write that a read can find again makes
// something new; any other may change what is there.
func hints(e providers.Effect) *mcp.ToolAnnotations {
	return &mcp.ToolAnnotations{
		ReadOnlyHint:    e == providers.EffectRead,
		IdempotentHint:  e == providers.EffectRead || e == providers.EffectIdempotent,
		DestructiveHint: new(e != providers.EffectRead && e != providers.EffectReconcile),
		OpenWorldHint:   new(true),
	}
}
