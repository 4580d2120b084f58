package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"github.com/plugfn/plugfn/pkg/providers"
)

// readParams makes the parameters of an action: those of whole (a JSON object,
// @file or - for standard input; "" for none), with the pairs put in. A pair is
// name=value, whose value becomes what the action's schema says, or name:=json.
// Without an action (the server may know it) a value that is not JSON by := is
// a text.
func readParams(action *providers.Action, whole string, pairs []string, stdin io.Reader) (json.RawMessage, error) {
	if whole != "" && len(pairs) == 0 {
		return wholeParams(whole, stdin)
	}
	params := map[string]json.RawMessage{}
	if whole != "" {
		text, err := wholeParams(whole, stdin)
		if err != nil {
			return nil, err
		}
		if err := json.Unmarshal(text, &params); err != nil || params == nil {
			return nil, usage("", "--params: must be a JSON object where --param is used, too")
		}
	}
	types := typesOf(action)
	given := map[string]bool{}
	for _, pair := range pairs {
		name, value, err := parsePair(pair, types)
		if err != nil {
			return nil, err
		}
		if given[name] {
			return nil, usage("a list is written as one JSON value: --param "+name+`:='["a","b"]'`, "--param %s: given twice", name)
		}
		given[name], params[name] = true, value
	}
	return encode(params)
}

// wholeParams returns the parameters as they are: to say what is wrong with
// them is the server's business.
func wholeParams(whole string, stdin io.Reader) (json.RawMessage, error) {
	const most = 1 << 20
	path, isFile := strings.CutPrefix(whole, "@")
	in := stdin
	switch {
	case isFile:
		f, err := os.Open(path)
		if err != nil {
			return nil, usage("", "--params: %v", err)
		}
		defer f.Close()
		in = f
	case whole != "-":
		return json.RawMessage(whole), nil
	}
	text, err := io.ReadAll(io.LimitReader(in, most+1))
	switch {
	case err != nil:
		return nil, fmt.Errorf("reading the parameters: %w", err)
	case len(text) > most:
		return nil, usage("", "--params: longer than %d bytes", most)
	}
	return text, nil
}

// parsePair reads one --param.
func parsePair(pair string, types map[string][]string) (name string, value json.RawMessage, err error) {
	name, text, ok := strings.Cut(pair, "=")
	if !ok || name == "" || name == ":" {
		return "", nil, usage("write --param name=value, or --param name:=json", "--param %s: has no name and value", pair)
	}
	if bare, raw := strings.CutSuffix(name, ":"); raw {
		if !json.Valid([]byte(text)) {
			return "", nil, usage("quote it from the shell: --param "+bare+`:='{"a":1}'`, "--param %s: what follows := is no JSON", bare)
		}
		return bare, json.RawMessage(text), nil
	}
	// What the schema wants as text stays text, even "42" and "true".
	wanted := types[name]
	if len(wanted) > 0 && !slices.Contains(wanted, "string") && json.Valid([]byte(text)) {
		return name, json.RawMessage(text), nil
	}
	value, err = encode(text)
	return name, value, err
}

// typesOf returns what the schema of an action says of its parameters,
// :: name → the types that it may have; none where it does not say.
func typesOf(action *providers.Action) map[string][]string {
	types := map[string][]string{}
	if action == nil || action.Params == nil {
		return types
	}
	var schema struct {
		Properties map[string]struct {
			Type json.RawMessage `json:"type"`
		} `json:"properties"`
	}
	if json.Unmarshal(action.Params.JSON(), &schema) != nil {
		return types
	}
	for name, property := range schema.Properties {
		var one string
		var several []string
		switch {
		case json.Unmarshal(property.Type, &one) == nil && one != "":
			types[name] = []string{one}
		case json.Unmarshal(property.Type, &several) == nil:
			types[name] = several
		}
	}
	return types
}

// encode writes JSON without escaping what only HTML needs escaped.
func encode(v any) (json.RawMessage, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		return nil, fmt.Errorf("encoding the parameters: %w", err)
	}
	return bytes.TrimSpace(b.Bytes()), nil
}
