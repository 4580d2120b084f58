package sandbox

import (
	"encoding/json"
	"maps"
	"slices"
	"strings"

	"github.com/plugfn/plugfn/pkg/providers"
)

// echo is a place of a fixture's answer that repeats a parameter.
type echo struct {
	at, from []any // names and indexes, from the root of the answer and of the parameters
	was      any   // what the fixture has at both: a string or a json.Number
}

// echoesOf finds what the answer of a fixture repeats of what was sent: texts
// that are equal to a parameter, and numbers that stand under its name as well,
// because equal numbers often mean nothing.
func echoesOf(sent map[string]any, response providers.ActionAnswer) []echo {
	answered, err := decode(response.Raw())
	if err != nil {
		return nil
	}
	params := map[any][][]any{} // :: value → where it is sent
	leaves(sent, nil, func(at []any, v any) { params[v] = append(params[v], at) })
	var echoes []echo
	leaves(answered, nil, func(at []any, v any) {
		if from := source(params[v], at, v); from != nil {
			echoes = append(echoes, echo{at: at, from: from, was: v})
		}
	})
	return echoes
}

// source picks, of the parameters with a value, the one that is repeated at a
// place of the answer; nil for none.
func source(candidates [][]any, at []any, v any) []any {
	if len(at) == 0 {
		return nil
	}
	for _, from := range candidates {
		if slices.ContainsFunc(at, func(step any) bool { return alike(from[len(from)-1], step) }) {
			return from
		}
	}
	if _, ok := v.(string); ok && len(candidates) > 0 {
		return candidates[0]
	}
	return nil
}

// alike tells whether a parameter and a step on the way to a place of an answer
// have one name: issue_number is the number of an issue.
func alike(param, member any) bool {
	p, ok := param.(string)
	m, okm := member.(string)
	return ok && okm && (p == m || strings.HasSuffix(p, "_"+m))
}

// leaves visits the texts and numbers in v, in a fixed order. Empty texts are
// left out.
func leaves(v any, at []any, visit func(at []any, v any)) {
	switch v := v.(type) {
	case map[string]any:
		for _, name := range slices.Sorted(maps.Keys(v)) {
			leaves(v[name], append(slices.Clip(at), name), visit)
		}
	case []any:
		for i, item := range v {
			leaves(item, append(slices.Clip(at), i), visit)
		}
	case string:
		if v != "" {
			visit(at, v)
		}
	case json.Number:
		visit(at, v)
	}
}

// repeat returns the answer with the caller's values in the places of the
// fixture's. Where the caller sent none, or one that is no text and no number,
// the fixture's stays.
func repeat(a *answer, echoes []echo, values map[string]any) *answer {
	var body any
	for _, e := range echoes {
		v, ok := follow(values, e.from)
		if !ok || !isLeaf(v) || v == e.was {
			continue
		}
		if body == nil {
			body, _ = decode(a.body) // it has been decoded before
		}
		put(body, e.at, v)
	}
	if body == nil {
		return a
	}
	raw, err := encode(body)
	if err != nil {
		return a
	}
	return &answer{status: a.status, header: a.header, body: raw, next: a.next}
}

func isLeaf(v any) bool {
	switch v.(type) {
	case string, json.Number:
		return true
	default:
		return false
	}
}

// follow returns what is at a place below v.
func follow(v any, at []any) (any, bool) {
	for _, step := range at {
		switch step := step.(type) {
		case string:
			object, _ := v.(map[string]any)
			next, ok := object[step]
			if !ok {
				return nil, false
			}
			v = next
		case int:
			list, _ := v.([]any)
			if step >= len(list) {
				return nil, false
			}
			v = list[step]
		}
	}
	return v, true
}

// put sets what is at a place below v, if there is something.
func put(v any, at []any, value any) {
	last := len(at) - 1
	parent, _ := follow(v, at[:last])
	switch step := at[last].(type) {
	case string:
		if object, ok := parent.(map[string]any); ok {
			object[step] = value
		}
	case int:
		if list, ok := parent.([]any); ok && step < len(list) {
			list[step] = value
		}
	}
}
