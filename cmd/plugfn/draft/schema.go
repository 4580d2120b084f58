package draft

import (
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

const (
	maxDescription = 160 // bytes
	maxEnum        = 200
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

func isScalarType(t string) bool {
	return t == "string" || t == "integer" || t == "number" || t == "boolean"
}

// typesOf lists the types that a converted schema allows; none: all.
func typesOf(s object) []string {
	switch t := s["type"].(type) {
	case string:
		return []string{t}
	case []any:
		var all []string
		for _, v := range t {
			all = append(all, textOf(v))
		}
		return all
	}
	return nil
}

func (c *converter) setType(out object, def map[string]any) {
	var types []any
	for _, v := range append(listOf(def["type"]), def["type"]) {
		if t, _ := v.(string); t == "object" || t == "array" || t == "null" || isScalarType(t) {
			types = append(types, t)
		}
	}
	if len(types) == 0 {
		switch {
		case objectOf(def["properties"]) != nil:
			types = []any{"object"}
		case objectOf(def["items"]) != nil:
			types = []any{"array"}
		}
	}
	if nullable, _ := def["nullable"].(bool); nullable && len(types) > 0 && !slices.Contains(types, any("null")) {
		types = append(types, "null")
	}
	switch len(types) {
	case 0:
	case 1:
		out["type"] = types[0]
	default:
		out["type"] = types
	}
}

// setEnum keeps the values of a choice, in the type that the schema says.
func (c *converter) setEnum(out object, def map[string]any) bool {
	values := listOf(def["enum"])
	if v, ok := def["const"]; ok {
		values = []any{v}
	}
	if len(values) > maxEnum {
		c.cut++
		return false
	}
	types := typesOf(out)
	var kept []any
	seen := map[string]bool{}
	for _, v := range values {
		fixed, ok := defaultOf(v, types)
		if key := fmt.Sprintf("%T %v", fixed, fixed); ok && !seen[key] {
			seen[key] = true
			kept = append(kept, fixed)
		}
	}
	if len(kept) == 0 {
		return false
	}
	if slices.Contains(types, "null") {
		kept = append(kept, nil)
	}
	out["enum"] = kept
	return true
}

// defaultOf fits a single value to the types that are allowed.
func defaultOf(v any, types []string) (any, bool) {
	if len(types) == 0 {
		_, isNumber := v.(json.Number)
		_, isText := v.(string)
		_, isBool := v.(bool)
		return v, isNumber && numberOK(v) || isText || isBool
	}
	text := scalarText(v)
	for _, t := range types {
		switch {
		case t == "string" && v != nil && objectOf(v) == nil && listOf(v) == nil:
			return clipValue(text), true
		case t == "boolean" && (text == "true" || text == "false"):
			return text == "true", true
		case t == "integer" && isInteger(text), t == "number" && numberOK(json.Number(text)):
			return json.Number(text), true
		}
	}
	return nil, false
}

// clipValue keeps a text as it is, but for what YAML cannot write.
func clipValue(s string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' && r != '\t' && r != '\n' || r == 0x7f || r == 0xfffd {
			return -1
		}
		return r
	}, strings.ToValidUTF8(s, ""))
}

// scalarText is the text of a single value; "" for others.
func scalarText(v any) string {
	switch t := v.(type) {
	case string:
		return t
	case json.Number:
		return t.String()
	case bool:
		return strconv.FormatBool(t)
	}
	return ""
}

func isInteger(text string) bool {
	_, err := strconv.ParseInt(text, 10, 64)
	return err == nil
}

// numberOK reports whether v is a number that every reader takes.
func numberOK(v any) bool {
	n, ok := v.(json.Number)
	if !ok || len(n) > 30 || !json.Valid([]byte(n)) {
		return false
	}
	f, err := n.Float64()
	return err == nil && !math.IsInf(f, 0)
}

// setBounds keeps the limits that make sense.
func (c *converter) setBounds(out object, def map[string]any) {
	types := typesOf(out)
	if slices.Contains(types, "string") {
		if p := textOf(def["pattern"]); p != "" && len(p) <= 500 {
			if _, err := regexp.Compile(p); err == nil && clipValue(p) == p {
				out["pattern"] = p
			}
		}
		if f := textOf(def["format"]); slices.Contains(formats(), f) {
			out["format"] = f
		}
		keepCounts(out, def, "minLength", "maxLength")
	}
	if slices.Contains(types, "integer") || slices.Contains(types, "number") {
		for _, side := range []string{"minimum", "maximum"} {
			exclusive := "exclusive" + strings.ToUpper(side[:1]) + side[1:]
			name := side
			if is, _ := def[exclusive].(bool); is {
				name = exclusive
			}
			if numberOK(def[side]) {
				out[name] = def[side]
			}
			if numberOK(def[exclusive]) {
				out[exclusive] = def[exclusive]
			}
		}
	}
	if slices.Contains(types, "array") {
		keepCounts(out, def, "minItems", "maxItems")
	}
}

// formats are those that a pack asserts.
func formats() []string {
	return []string{"date", "date-time", "email", "hostname", "ipv4", "ipv6", "uri", "uuid"}
}

// keepCounts keeps a pair of limits unless they leave nothing between them.
func keepCounts(out object, def map[string]any, low, high string) {
	least, okLeast := count(def[low])
	most, okMost := count(def[high])
	if okLeast && okMost && least > most {
		return
	}
	if okLeast && least > 0 {
		out[low] = json.Number(strconv.Itoa(least))
	}
	if okMost {
		out[high] = json.Number(strconv.Itoa(most))
	}
}

func count(v any) (int, bool) {
	n, err := strconv.Atoi(scalarText(v))
	return n, err == nil && n >= 0 && n < 1<<31
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
