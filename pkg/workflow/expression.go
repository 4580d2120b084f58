package workflow

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/plugfn/plugfn/pkg/providers/expression"
)

// Values are the variables of an expression by name: event, steps, vars, input,
// run, error, candidate, the item and index of a foreach, and now, a time.Time.
// What is decoded of JSON in them is as [expression.Decode] makes it.
type Values map[string]any

// Expression is a compiled expression. It is immutable and safe for concurrent
// use.
type Expression struct {
	path    string
	program *expression.Program
}

// EvalError says why an expression could not be evaluated.
type EvalError struct {
	Path       string // of the expression in the definition
	Expression string
	Problem    string
	Variables  []string // that it read and their types: "event.data.x is null"
}

// Error names the expression, the problem and the types of the variables, and no
// value.
func (e *EvalError) Error() string {
	text := fmt.Sprintf("%s: %s: %s", e.Path, clip(e.Expression, 200), e.Problem)
	if len(e.Variables) > 0 {
		text += " (" + strings.Join(e.Variables, ", ") + ")"
	}
	return text
}

// String returns the expression as it was written.
func (e *Expression) String() string { return e.program.String() }

// Reads reports whether the expression reads a variable.
func (e *Expression) Reads(name string) bool { return e.program.Reads(name) }

// Steps lists the steps whose results, errors or states the expression reads;
// all is true when only a run can tell.
func (e *Expression) Steps() (ids []string, all bool) {
	for _, path := range e.program.Paths() {
		switch {
		case path[0] == "$env" || path[0] == "steps" && len(path) == 1:
			all = true
		case path[0] == "steps":
			ids = append(ids, path[1])
		}
	}
	return ids, all
}

// Eval evaluates the expression. It returns a value as [expression.Decode]
// would, or an *[EvalError].
func (e *Expression) Eval(values Values) (any, error) {
	all := make(map[string]any, len(values)+12)
	for name, v := range values {
		all[name] = v
	}
	if now, ok := all["now"].(time.Time); ok {
		all["now"] = func() time.Time { return now }
	}
	result, err := e.program.Run(all)
	if err == nil {
		result, err = asJSON(result)
	}
	if err != nil {
		return nil, &EvalError{Path: e.path, Expression: e.program.String(), Problem: err.Error(), Variables: e.describe(values)}
	}
	return result, nil
}

// Holds evaluates a condition. A result that is neither true nor false is an
// error.
func (e *Expression) Holds(values Values) (bool, error) {
	result, err := e.Eval(values)
	if err != nil {
		return false, err
	}
	yes, ok := result.(bool)
	if !ok {
		problem := "must be true or false, is " + expression.Describe(result)
		return false, &EvalError{Path: e.path, Expression: e.program.String(), Problem: problem, Variables: e.describe(values)}
	}
	return yes, nil
}

// describe says of what types the variables are that are read, at most five,
// those first that are null.
func (e *Expression) describe(values Values) []string {
	const most = 5
	var all []string
	for _, path := range e.program.Paths() {
		v, at := any(map[string]any(values)), 0
		for ; at < len(path); at++ {
			object, ok := v.(map[string]any)
			if !ok {
				break
			}
			v = object[path[at]]
		}
		text := strings.Join(path[:at], ".") + " is " + expression.Describe(v)
		if path[0] == "now" || at == 0 {
			continue
		}
		if v == nil {
			all = slices.Insert(all, 0, text)
		} else {
			all = append(all, text)
		}
	}
	return all[:min(most, len(all))]
}

// asJSON makes a result a value of JSON: a time becomes its text.
func asJSON(v any) (any, error) {
	switch v := v.(type) {
	case nil, string, bool, int:
		return v, nil
	case float64:
		if v != v || v > maxFloat || v < -maxFloat {
			return nil, fmt.Errorf("is no number of JSON")
		}
		return v, nil
	case time.Time:
		return v.UTC().Format(time.RFC3339Nano), nil
	case time.Duration:
		return v.String(), nil
	case []any:
		list := make([]any, len(v))
		for i, item := range v {
			one, err := asJSON(item)
			if err != nil {
				return nil, err
			}
			list[i] = one
		}
		return list, nil
	case []string: // what keys gives
		list := make([]any, len(v))
		for i, item := range v {
			list[i] = item
		}
		return list, nil
	case map[string]any:
		object := make(map[string]any, len(v))
		for name, member := range v {
			one, err := asJSON(member)
			if err != nil {
				return nil, err
			}
			object[name] = one
		}
		return object, nil
	default:
		return nil, fmt.Errorf("is %s, which is no value of JSON", expression.Describe(v))
	}
}

const maxFloat = 1.7976931348623157e308
