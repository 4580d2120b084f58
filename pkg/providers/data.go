package providers

import (
	"encoding/json"
	"errors"
	"maps"
	"slices"
	"strings"

	"github.com/plugfn/plugfn/pkg/providers/nearest"
)

// DataSchema is the JSON Schema of the data that the action gives back, as far as
// it is promised; nil where nothing is known of it.
func (a *Action) DataSchema() json.RawMessage {
	if a.pack.Data == nil {
		return nil
	}
	own, ok := a.pack.Data.properties()[a.Name].(map[string]any)
	if !ok {
		return nil
	}
	whole := maps.Clone(own)
	if shared, ok := a.pack.Data.root["$defs"]; ok {
		whole["$defs"] = shared
	}
	raw, err := encodeJSON(whole)
	if err != nil {
		return nil // it was read from a text
	}
	return raw
}

// CheckData returns nil, or an error with up to five problems of data that the
// action gave back, as Schema.Check does. Data of which nothing is known is right.
func (a *Action) CheckData(data json.RawMessage) error {
	if a.pack.Data == nil {
		return nil
	}
	v, err := parseJSON(data)
	if err != nil {
		return err
	}
	if problems := a.pack.Data.problems(map[string]any{a.Name: v}); len(problems) > 0 {
		return errors.New(strings.Join(problems, "; "))
	}
	return nil
}

// checkData reports what keeps the schema from describing the data of the pack's
// actions.
func (p *Pack) checkData(r report) {
	if p.Data == nil {
		return
	}
	for _, key := range slices.Sorted(maps.Keys(p.Data.root)) {
		if key != "properties" && key != "$defs" {
			r("data."+key, "has no place here: properties names actions, $defs what they share")
		}
	}
	for _, name := range slices.Sorted(maps.Keys(p.Data.properties())) {
		a, ok := p.Action(name)
		switch {
		case !ok:
			r("data.properties."+name, "is no action%s", nearest.Hint(name, maps.Keys(p.Actions)))
		case a.GivesFile():
			r("data.properties."+name, "is known: the action gives a file")
		}
	}
}
