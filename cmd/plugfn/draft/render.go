package draft

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
)

// member is one line of a mapping whose order counts.
type member struct {
	key     string
	value   any
	comment string // behind the key
}

// members is a mapping whose order counts. What has no value is left out.
type members []member

// maxFlow is how long a mapping on one line may be.
const maxFlow = 110

// node makes YAML of a value.
func node(v any) *yaml.Node {
	switch t := v.(type) {
	case members:
		return mapping(t)
	case []member:
		return mapping(t)
	case object:
		return mapping(sorted(t))
	case map[string]string:
		n := &yaml.Node{Kind: yaml.MappingNode}
		for _, key := range slices.Sorted(maps.Keys(t)) {
			n.Content = append(n.Content, node(key), node(t[key]))
		}
		return n
	case []string:
		list := make([]any, len(t))
		for i, s := range t {
			list[i] = s
		}
		return node(list)
	case []any:
		n := &yaml.Node{Kind: yaml.SequenceNode}
		for _, item := range t {
			n.Content = append(n.Content, node(item))
		}
		if fitsLine(n) {
			n.Style = yaml.FlowStyle
		}
		return n
	case []members:
		n := &yaml.Node{Kind: yaml.SequenceNode}
		for _, item := range t {
			n.Content = append(n.Content, mapping(item))
		}
		return n
	default:
		return scalarNode(v)
	}
}

func scalarNode(v any) *yaml.Node {
	n := &yaml.Node{Kind: yaml.ScalarNode}
	switch t := v.(type) {
	case nil:
		n.Tag, n.Value = "!!null", "null"
	case bool:
		n.Tag, n.Value = "!!bool", strconv.FormatBool(t)
	case int:
		n.Tag, n.Value = "!!int", strconv.Itoa(t)
	case json.Number:
		n.Tag, n.Value = "!!float", t.String()
		if isInteger(t.String()) {
			n.Tag = "!!int"
		}
	case json.RawMessage:
		if err := yaml.Unmarshal(t, n); err == nil && len(n.Content) == 1 {
			n = flow(n.Content[0])
		}
	default:
		n.Tag, n.Value = "!!str", clipValue(fmt.Sprint(t))
		if needsQuotes(n.Value) {
			n.Style = yaml.DoubleQuotedStyle
		}
	}
	return n
}

var plainText = regexp.MustCompile(`^[A-Za-z/][A-Za-z0-9 _./()-]*$`)

// needsQuotes reports whether any reader of YAML could take the text for
// something else.
func needsQuotes(s string) bool {
	switch strings.ToLower(s) {
	case "y", "n", "yes", "no", "on", "off", "true", "false", "null":
		return true
	}
	return len(s) > 1000 || strings.HasSuffix(s, " ") || !plainText.MatchString(s)
}

// flow writes a tree on one line.
func flow(n *yaml.Node) *yaml.Node {
	if n.Kind == yaml.MappingNode || n.Kind == yaml.SequenceNode {
		n.Style = yaml.FlowStyle
	}
	for _, inner := range n.Content {
		flow(inner)
	}
	return n
}

// sorted orders the words of a JSON Schema: what it is first.
func sorted(o object) members {
	rank := map[string]int{"type": -9, "description": -8, "required": -7, "additionalProperties": -6}
	keys := slices.Sorted(maps.Keys(o))
	if _, isSchema := o["type"].(string); isSchema {
		slices.SortStableFunc(keys, func(a, b string) int { return rank[a] - rank[b] })
	}
	var m members
	for _, key := range keys {
		m = append(m, member{key: key, value: o[key]})
	}
	return m
}

func mapping(m members) *yaml.Node {
	n := &yaml.Node{Kind: yaml.MappingNode}
	commented := false
	for _, f := range m {
		n.Content = append(n.Content, line(f)...)
		commented = commented || f.comment != ""
	}
	if !commented && fitsLine(n) {
		n.Style = yaml.FlowStyle
	}
	return n
}

// line is a key and its value, with the comment behind what stands on one line
// and above what does not.
func line(f member) []*yaml.Node {
	key, value := node(f.key), node(f.value)
	switch {
	case f.comment == "":
	case value.Kind == yaml.ScalarNode || value.Style == yaml.FlowStyle:
		value.LineComment = "# " + f.comment
	default:
		key.HeadComment = "# " + f.comment
	}
	return []*yaml.Node{key, value}
}

// fitsLine reports whether a node without mappings of its own is short.
func fitsLine(n *yaml.Node) bool {
	length := 0
	for _, inner := range n.Content {
		if inner.Kind == yaml.MappingNode && (len(inner.Content) > 0 || n.Kind == yaml.SequenceNode) || inner.LineComment != "" ||
			inner.Kind == yaml.SequenceNode && inner.Style != yaml.FlowStyle {
			return false
		}
		length += len(inner.Value) + 4
		for _, item := range inner.Content {
			length += len(item.Value) + 2
		}
	}
	return length <= maxFlow
}

// encode writes a document.
func encode(m members, head string) ([]byte, error) {
	var b bytes.Buffer
	b.WriteString(head)
	enc := yaml.NewEncoder(&b)
	enc.SetIndent(2)
	n := &yaml.Node{Kind: yaml.MappingNode}
	for _, f := range m {
		n.Content = append(n.Content, line(f)...)
	}
	if err := enc.Encode(n); err != nil {
		return nil, err
	}
	return b.Bytes(), enc.Close()
}
