package draft

import (
	"encoding/json"
	"maps"
	"slices"
	"strconv"
	"strings"
)

// exampleOf makes a value that a converted schema takes, as far as that can be
// seen: the schema itself judges it afterwards.
func exampleOf(schema object, depth int) any {
	if values := listOf(schema["enum"]); len(values) > 0 {
		return values[0]
	}
	if v, ok := schema["default"]; ok {
		return v
	}
	if variants := listOf(schema["anyOf"]); len(variants) > 0 && schema["type"] == nil {
		return exampleOf(objectOf(variants[0]), depth)
	}
	types := typesOf(schema)
	if len(types) == 0 {
		return "example"
	}
	switch types[0] {
	case "string":
		return textExample(schema)
	case "integer", "number":
		return numberExample(schema)
	case "boolean":
		return true
	case "null":
		return nil
	case "array":
		n, _ := count(schema["minItems"])
		list := []any{}
		for range min(max(n, 1), 5) {
			if depth > maxLevels {
				break
			}
			list = append(list, exampleOf(objectOf(schema["items"]), depth+1))
		}
		return list
	}
	out := map[string]any{}
	for _, name := range requiredOf(schema) {
		out[name] = exampleOf(objectOf(objectOf(schema["properties"])[name]), depth+1)
	}
	return out
}

func requiredOf(schema object) []string {
	var names []string
	for _, v := range listOf(schema["required"]) {
		names = append(names, textOf(v))
	}
	if n, ok := count(schema["minProperties"]); ok {
		for _, name := range slices.Sorted(maps.Keys(objectOf(schema["properties"]))) {
			if len(names) < n && !slices.Contains(names, name) {
				names = append(names, name)
			}
		}
	}
	return names
}

func textExample(schema object) string {
	if text, ok := map[string]string{
		"date": "2026-03-14", "date-time": "2026-03-14T09:26:53Z", "email": "ada@example.com", "hostname": "example.com",
		"ipv4": "192.0.2.1", "ipv6": "2001:db8::1", "uri": "https://example.com/a", "uuid": "00000000-0000-4000-8000-000000000001",
	}[textOf(schema["format"])]; ok {
		return text
	}
	text := "example"
	if textOf(schema["pattern"]) != "" {
		text = patternExample(textOf(schema["pattern"]))
	}
	least, _ := count(schema["minLength"])
	if n := min(least, 1000) - len(text); n > 0 {
		text += strings.Repeat("a", n)
	}
	if most, ok := count(schema["maxLength"]); ok && most < len(text) {
		text = text[:most]
	}
	return text
}

func numberExample(schema object) any {
	for _, name := range []string{"minimum", "maximum"} {
		if numberOK(schema[name]) {
			if n, err := strconv.ParseFloat(scalarText(schema[name]), 64); err == nil && (n > 1 || name == "maximum" && n < 1) {
				return json.Number(scalarText(schema[name]))
			}
		}
	}
	if n, err := strconv.Atoi(scalarText(schema["exclusiveMinimum"])); err == nil && n > 0 {
		return json.Number(strconv.Itoa(n + 1))
	}
	return json.Number("1")
}
