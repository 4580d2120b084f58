package workflow

import (
	"bytes"
	"encoding/json"
	"unicode/utf8"

	"go.yaml.in/yaml/v3"
)

// jsonNode makes the tree of a text that is valid JSON. The order of the keys
// stays.
func jsonNode(data []byte) (*yaml.Node, *Problem) {
	if !utf8.Valid(data) {
		return nil, &Problem{Line: 1, Column: 1, Message: "is not valid UTF-8"}
	}
	j := jsonReader{data: data, dec: json.NewDecoder(bytes.NewReader(data)), line: 1, column: 1}
	j.dec.UseNumber()
	n := j.value(0)
	if j.problem != nil {
		return nil, j.problem
	}
	return n, nil
}

type jsonReader struct {
	data         []byte
	dec          *json.Decoder
	at           int // bytes that line and column count
	line, column int
	problem      *Problem
}

// token reads a token and where it begins.
func (j *jsonReader) token() (t json.Token, at yaml.Node) {
	start := int(j.dec.InputOffset())
	start += bytes.IndexFunc(j.data[start:], func(r rune) bool {
		return r != ' ' && r != '\t' && r != '\r' && r != '\n' && r != ',' && r != ':'
	})
	for _, r := range string(j.data[j.at:start]) {
		j.column++
		if r == '\n' {
			j.line, j.column = j.line+1, 1
		}
	}
	j.at = start
	t, _ = j.dec.Token() // the text is valid
	return t, yaml.Node{Line: j.line, Column: j.column}
}

func (j *jsonReader) value(depth int) *yaml.Node {
	t, n := j.token()
	if depth > 2*maxDepth {
		if j.problem == nil {
			j.problem = &Problem{Line: n.Line, Column: n.Column, Message: "is nested too deeply"}
		}
		return &n
	}
	n.Kind = yaml.ScalarNode
	switch t := t.(type) {
	case json.Delim:
		n.Kind, n.Tag = yaml.MappingNode, "!!map"
		if t == '[' {
			n.Kind, n.Tag = yaml.SequenceNode, "!!seq"
		}
		for j.problem == nil && j.dec.More() {
			n.Content = append(n.Content, j.value(depth+1))
		}
		if j.problem == nil {
			_, _ = j.token()
		}
	case string:
		n.Tag, n.Value, n.Style = "!!str", t, yaml.DoubleQuotedStyle
	case json.Number:
		n.Tag, n.Value = "!!float", t.String()
	case bool:
		n.Tag, n.Value = "!!bool", "false"
		if t {
			n.Value = "true"
		}
	default:
		n.Tag, n.Value = "!!null", "null"
	}
	return &n
}
