package providers

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
)

const (
	maxDepth  = 64     // levels of nesting in parameters and in what YAML writes as JSON
	maxValues = 50_000 // values in parameters: each costs a hundred times its bytes
	maxDigits = 400    // bytes and exponent of one number in parameters: more only costs time
)

// decodeJSON keeps a YAML node as JSON.
func decodeJSON(node *yaml.Node, to *json.RawMessage) error {
	v, err := jsonValue(node, 0)
	if err != nil {
		return err
	}
	*to, err = encodeJSON(v)
	return err
}

// jsonValue turns a YAML node into the value that encoding/json would have
// made of it with UseNumber: no alias, no repeated or non-text key, no date.
func jsonValue(node *yaml.Node, depth int) (any, error) {
	if depth > maxDepth {
		return nil, atLine(node, "is nested deeper than %d levels", maxDepth)
	}
	switch node.Kind {
	case yaml.MappingNode:
		return jsonObject(node, depth)
	case yaml.SequenceNode:
		list := make([]any, len(node.Content))
		for i, item := range node.Content {
			v, err := jsonValue(item, depth+1)
			if err != nil {
				return nil, err
			}
			list[i] = v
		}
		return list, nil
	case yaml.ScalarNode:
		return jsonScalar(node)
	default:
		return nil, atLine(node, "is an alias: write the value out")
	}
}

func jsonObject(node *yaml.Node, depth int) (any, error) {
	object := make(map[string]any, len(node.Content)/2)
	for i := 0; i+1 < len(node.Content); i += 2 {
		key, err := scalarText(node.Content[i])
		if err != nil {
			return nil, err
		}
		if _, twice := object[key]; twice {
			return nil, atLine(node.Content[i], "%s is given twice", clip(key, 80))
		}
		if object[key], err = jsonValue(node.Content[i+1], depth+1); err != nil {
			return nil, err
		}
	}
	return object, nil
}

func jsonScalar(node *yaml.Node) (any, error) {
	switch node.ShortTag() {
	case "!!str":
		return node.Value, nil
	case "!!null":
		return nil, nil
	case "!!bool":
		var b bool
		err := node.Decode(&b)
		return b, err
	case "!!int", "!!float":
		if !isJSONNumber(node.Value) {
			return nil, atLine(node, "%s is no number of JSON", clip(node.Value, 60))
		}
		return json.Number(node.Value), nil
	default:
		return nil, atLine(node, "must be in quotes: write %s", strconv.Quote(clip(node.Value, 60)))
	}
}

func isJSONNumber(s string) bool {
	var n json.Number
	return s != "" && s[0] != '"' && json.Unmarshal([]byte(s), &n) == nil && n.String() == s && checkNumber(n) == nil
}

// encodeJSON is json.Marshal without the escapes for HTML. Keys are in order.
func encodeJSON(v any) (json.RawMessage, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		return nil, err
	}
	return bytes.TrimSuffix(b.Bytes(), []byte("\n")), nil
}

// checkNumber refuses numbers that arithmetic would choke on: 1e999999 takes
// milliseconds to compare, and thousands of it fit into one request.
func checkNumber(n json.Number) error {
	s := n.String()
	if len(s) > maxDigits {
		return fmt.Errorf("has a number of more than %d digits", maxDigits)
	}
	i := strings.IndexAny(s, "eE")
	if i < 0 {
		return nil
	}
	exponent, err := strconv.Atoi(s[i+1:])
	if err != nil || max(exponent, -exponent) > maxDigits {
		return fmt.Errorf("has the number %s, which is out of range", clip(s, 40))
	}
	return nil
}
