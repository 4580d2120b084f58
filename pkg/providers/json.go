package providers

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"unicode/utf8"

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

// parseJSON reads one JSON value from outside, more strictly than
// encoding/json: what two readers could read differently is refused (repeated
// keys, invalid UTF-8, text after the value), and so is what only costs time
// (deep nesting, numbers of thousands of digits). Numbers stay json.Number.
func parseJSON(data []byte) (any, error) {
	if !utf8.Valid(data) {
		return nil, errors.New("is not valid UTF-8")
	}
	p := jsonParser{dec: json.NewDecoder(bytes.NewReader(data))}
	p.dec.UseNumber()
	v, err := p.value(0)
	if err != nil {
		return nil, err
	}
	if _, err := p.dec.Token(); !errors.Is(err, io.EOF) {
		return nil, errors.New("has text after the JSON value")
	}
	return v, nil
}

type jsonParser struct {
	dec    *json.Decoder
	values int
}

func (p *jsonParser) value(depth int) (any, error) {
	token, err := p.dec.Token()
	if err != nil {
		return nil, jsonSyntax(err)
	}
	if p.values++; p.values > maxValues {
		return nil, fmt.Errorf("has more than %d values", maxValues)
	}
	switch t := token.(type) {
	case json.Delim:
		if depth >= maxDepth {
			return nil, fmt.Errorf("is nested deeper than %d levels", maxDepth)
		}
		if t == '{' {
			return p.object(depth + 1)
		}
		return p.list(depth + 1)
	case json.Number:
		return t, checkNumber(t)
	default:
		return t, nil
	}
}

func (p *jsonParser) object(depth int) (any, error) {
	object := map[string]any{}
	for p.dec.More() {
		token, err := p.dec.Token()
		if err != nil {
			return nil, jsonSyntax(err)
		}
		key := token.(string) // Token gives nothing else in front of a colon
		if _, twice := object[key]; twice {
			return nil, fmt.Errorf("has the key %q twice", clip(key, 80))
		}
		if object[key], err = p.value(depth); err != nil {
			return nil, err
		}
	}
	_, err := p.dec.Token()
	return object, jsonSyntax(err)
}

func (p *jsonParser) list(depth int) (any, error) {
	list := []any{}
	for p.dec.More() {
		v, err := p.value(depth)
		if err != nil {
			return nil, err
		}
		list = append(list, v)
	}
	_, err := p.dec.Token()
	return list, jsonSyntax(err)
}

func jsonSyntax(err error) error {
	if err == nil {
		return nil
	}
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return errors.New("is not JSON: it ends too early")
	}
	return fmt.Errorf("is not JSON: %w", err)
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
