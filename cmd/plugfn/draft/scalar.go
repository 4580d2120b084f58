package draft

import (
	"encoding/json"
	"fmt"
	"math"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

const maxEnum = 200

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
