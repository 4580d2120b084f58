package providers

import (
	"encoding/json"
	"maps"
	"slices"

	"go.yaml.in/yaml/v3"
)

// JSONTemplate is a JSON value whose texts are templates. A text that is one
// field and nothing else stands for the field's value, whatever its type is; a
// member whose text has a field without a value is left out.
type JSONTemplate struct {
	root any // as of encoding/json, with a Template in place of each text
}

// UnmarshalYAML compiles the templates.
func (t *JSONTemplate) UnmarshalYAML(node *yaml.Node) error {
	v, err := jsonValue(node, 0)
	if err != nil {
		return err
	}
	if t.root, err = compileTexts(v); err != nil {
		return atLine(node, "%w", err)
	}
	return nil
}

// IsZero reports whether nothing was written.
func (t JSONTemplate) IsZero() bool { return t.root == nil }

func compileTexts(v any) (any, error) {
	var err error
	switch v := v.(type) {
	case string:
		return parseTemplate(v)
	case map[string]any:
		for name, member := range v {
			if v[name], err = compileTexts(member); err != nil {
				return nil, err
			}
		}
	case []any:
		for i, item := range v {
			if v[i], err = compileTexts(item); err != nil {
				return nil, err
			}
		}
	}
	return v, nil
}

// templates lists the texts.
func (t JSONTemplate) templates() []Template {
	var all []Template
	var walk func(v any)
	walk = func(v any) {
		switch v := v.(type) {
		case Template:
			all = append(all, v)
		case map[string]any:
			for _, name := range slices.Sorted(maps.Keys(v)) {
				walk(v[name])
			}
		case []any:
			for _, item := range v {
				walk(item)
			}
		}
	}
	walk(t.root)
	return all
}

func (t JSONTemplate) fields() []string {
	var all []string
	for _, template := range t.templates() {
		all = append(all, template.fields()...)
	}
	return all
}

// fill makes the value. It reports false when it is a text with a field that
// has no value.
func (t JSONTemplate) fill(fields func(field string) (any, bool)) (any, bool) {
	return fillTexts(t.root, fields)
}

func fillTexts(v any, fields func(string) (any, bool)) (any, bool) {
	switch v := v.(type) {
	case Template:
		if len(v.parts) == 1 && v.parts[0].field != "" && len(v.parts[0].filters) == 0 {
			return fields(v.parts[0].field)
		}
		return v.expand(textsOf(fields))
	case map[string]any:
		filled := make(map[string]any, len(v))
		for name, member := range v {
			if value, ok := fillTexts(member, fields); ok {
				filled[name] = value
			}
		}
		return filled, true
	case []any:
		filled := make([]any, 0, len(v))
		for _, item := range v {
			if value, ok := fillTexts(item, fields); ok {
				filled = append(filled, value)
			}
		}
		return filled, true
	default:
		return v, true
	}
}

// textsOf gives fields as texts.
func textsOf(fields func(string) (any, bool)) func(string) (string, bool) {
	return func(field string) (string, bool) {
		v, ok := fields(field)
		if !ok {
			return "", false
		}
		return scalar(v)
	}
}

// mergeInto puts the value into what was there: objects member by member. A
// text with a field replaces what was there, anything else gives way to it.
func (t JSONTemplate) mergeInto(was any, fields func(string) (any, bool)) any {
	return mergeTexts(t.root, was, fields)
}

func mergeTexts(v, was any, fields func(string) (any, bool)) any {
	into, isObject := was.(map[string]any)
	members, wantsObject := v.(map[string]any)
	switch t, isText := v.(Template); {
	case wantsObject && isObject:
		merged := maps.Clone(into)
		for name, member := range members {
			merged[name] = mergeTexts(member, into[name], fields)
		}
		return merged
	case isText && len(t.fields()) > 0, was == nil:
		filled, _ := fillTexts(v, fields)
		return filled
	default:
		return was
	}
}

// valueAt is the value of params.NAME, item and item.NAME, or of one of some
// other fields.
func valueAt(params map[string]any, item any, others map[string]any) func(field string) (any, bool) {
	return func(field string) (any, bool) {
		group, name, dotted := cutField(field)
		switch {
		case dotted && group == "params":
			v, ok := params[name]
			return v, ok && v != nil
		case dotted && group == itemField:
			object, _ := item.(map[string]any)
			v, ok := object[name]
			return v, ok && v != nil
		case field == itemField:
			return item, item != nil
		default:
			v, ok := others[field]
			return v, ok
		}
	}
}

// rawOf encodes what was filled.
func rawOf(v any) json.RawMessage {
	raw, err := encodeJSON(v)
	if err != nil {
		return json.RawMessage("null") // never: it was decoded from JSON
	}
	return raw
}
