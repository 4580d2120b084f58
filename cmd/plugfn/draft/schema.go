package draft

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
)

const (
	maxDescription = 160 // bytes
	maxVariants    = 8
	maxRefs        = 30 // that lead to one schema
)

// object is an object of which the order of its members is kept by the writer.
type object = map[string]any

// converter turns schemas of a description into those that a pack takes: with
// references written out, bounded, and without what JSON Schema 2020-12 does not
// know.
type converter struct {
	source *source
	depth  int      // levels
	left   int      // schemas
	refs   []string // that lead to where it is
	cut    int      // schemas that were left open
	answer bool     // it is about what comes back, not what is sent
}

// convert returns an empty schema, which takes anything, for what is unknown or
// too much.
func (c *converter) convert(v any) object {
	if v == false {
		return object{"not": object{}}
	}
	def, ok := v.(map[string]any)
	if !ok {
		return object{}
	}
	if c.left--; c.left < 0 {
		c.cut++
		return object{}
	}
	if ref, ok := def["$ref"].(string); ok {
		if slices.Contains(c.refs, ref) || len(c.refs) > maxRefs {
			c.cut++
			return c.open(c.source.referred(ref))
		}
		c.refs = append(c.refs, ref)
		defer func() { c.refs = c.refs[:len(c.refs)-1] }()
		out := c.convert(c.source.referred(ref))
		if text := oneLine(textOf(def["description"]), maxDescription); text != "" {
			out["description"] = text
		}
		return out
	}
	if parts := listOf(def["allOf"]); len(parts) > 0 {
		return c.merged(def, parts)
	}
	return c.single(def)
}

// open is a schema of which only the type is kept.
func (c *converter) open(v any) object {
	out := object{}
	if t := textOf(objectOf(v)["type"]); t == "object" || t == "array" || isScalarType(t) {
		out["type"] = t
	}
	return out
}

// merged is one schema instead of several that all hold.
func (c *converter) merged(def map[string]any, parts []any) object {
	own := maps.Clone(def)
	delete(own, "allOf")
	out := c.single(own)
	for _, part := range parts {
		c.merge(out, c.convert(part))
	}
	return out
}

// merge adds to out what part says and out does not.
func (c *converter) merge(out, part object) {
	for name, v := range part {
		switch was := out[name]; {
		case was == nil:
			out[name] = v
		case name == "properties":
			for key, schema := range objectOf(v) {
				objectOf(was)[key] = schema
			}
		case name == "required":
			for _, item := range listOf(v) {
				if !slices.Contains(listOf(out[name]), item) {
					out[name] = append(listOf(out[name]), item)
				}
			}
		}
	}
}

func (c *converter) single(def map[string]any) object {
	out := object{}
	c.setType(out, def)
	if text := oneLine(textOf(def["description"]), maxDescription); text != "" {
		out["description"] = text
	}
	if !c.setEnum(out, def) {
		c.setBounds(out, def)
	}
	types := typesOf(out)
	if slices.Contains(types, "object") {
		c.setProperties(out, def)
	}
	if items, ok := def["items"]; ok && slices.Contains(types, "array") {
		if inner := c.nested(items); len(inner) > 0 {
			out["items"] = inner
		}
	}
	if d, ok := defaultOf(def["default"], types); ok {
		out["default"] = d
	}
	if old, _ := def["deprecated"].(bool); old {
		out["deprecated"] = true
	}
	c.setVariants(out, def)
	return out
}

// nested converts a schema one level below.
func (c *converter) nested(v any) object {
	if c.depth <= 0 {
		c.cut++
		return c.open(v)
	}
	c.depth--
	defer func() { c.depth++ }()
	return c.convert(v)
}

// setVariants keeps the choices as anyOf: that exactly one of them holds is more
// than descriptions keep.
func (c *converter) setVariants(out object, def map[string]any) {
	variants := slices.Concat(listOf(def["oneOf"]), listOf(def["anyOf"]))
	if len(variants) == 0 {
		return
	}
	var all []any
	for _, v := range variants[:min(len(variants), maxVariants+1)] {
		inner := c.nested(v)
		if len(inner) == 0 {
			return // takes anything
		}
		if t := typesOf(inner); len(t) == 1 && t[0] == "null" {
			inner = object{"type": "null"}
		}
		if !slices.ContainsFunc(all, func(o any) bool { return same(o, inner) }) {
			all = append(all, inner)
		}
	}
	switch {
	case len(variants) > maxVariants:
		c.cut++
	case len(all) == 1:
		c.merge(out, all[0].(object))
	default:
		out["anyOf"] = all
	}
}

func same(a, b any) bool {
	x, errX := json.Marshal(a)
	y, errY := json.Marshal(b)
	return errX == nil && errY == nil && string(x) == string(y)
}

const maxProperties = 200

func (c *converter) setProperties(out object, def map[string]any) {
	given := objectOf(def["properties"])
	properties := object{}
	for _, name := range slices.Sorted(maps.Keys(given)) {
		inner, _ := c.source.follow(given[name])
		if only, _ := inner["readOnly"].(bool); only && !c.answer {
			continue
		}
		if len(properties) == maxProperties || clipValue(name) != name || name == "" {
			c.cut++
			continue
		}
		properties[name] = c.nested(given[name])
	}
	var required []any
	for _, v := range listOf(def["required"]) {
		name := textOf(v)
		if _, ok := properties[name]; ok && !slices.Contains(required, any(name)) {
			required = append(required, name)
		}
	}
	if len(properties) > 0 {
		out["properties"] = properties
	}
	if len(required) > 0 {
		out["required"] = required
	}
	if more, ok := def["additionalProperties"].(map[string]any); ok {
		if inner := c.nested(more); len(inner) > 0 {
			out["additionalProperties"] = inner
		}
	}
	for _, side := range []string{"minProperties"} {
		if n, ok := count(def[side]); ok && n > 0 && n <= len(properties) {
			out[side] = json.Number(fmt.Sprint(n))
		}
	}
}
