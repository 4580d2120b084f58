package workflow

import (
	"bytes"
	"encoding/json"
	"maps"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
)

// JSON returns the canonical form of a definition in JSON: [Parse] makes the
// same definition of it, and two definitions that mean the same have the same.
func (d *Definition) JSON() ([]byte, error) { return encode(d) }

// YAML returns the canonical form of a definition in YAML, for people. What
// [Parse] makes of it has the same JSON.
func (d *Definition) YAML() ([]byte, error) {
	data, err := d.JSON()
	if err != nil {
		return nil, err
	}
	n, problem := jsonNode(data)
	if problem != nil {
		return nil, Problems{*problem}
	}
	plain(n)
	var b bytes.Buffer
	e := yaml.NewEncoder(&b)
	e.SetIndent(2)
	if err := e.Encode(n); err != nil {
		return nil, err
	}
	return b.Bytes(), e.Close()
}

// plain takes the quotes away where YAML needs none.
func plain(n *yaml.Node) {
	switch {
	case n.Tag == "!!float" && !strings.ContainsAny(n.Value, ".eE"):
		n.Tag = "!!int"
	case n.Tag != "!!str":
	case strings.ContainsAny(n.Value, "\n") && isPrintable(n.Value):
		n.Style = yaml.LiteralStyle
	case isPrintable(n.Value):
		n.Style = 0
	}
	for _, c := range n.Content {
		plain(c)
	}
}

// isPrintable reports whether YAML keeps a text without escapes.
func isPrintable(text string) bool {
	for _, r := range text {
		if r < ' ' && r != '\n' || r > '~' && r < '\u00a1' || r == '\u2028' || r == '\u2029' || r == '\ufeff' || r >= '\ufff0' {
			return false
		}
	}
	return text == strings.TrimSpace(text) && !strings.Contains(text, " \n") && !strings.Contains(text, "\n ")
}

// MarshalJSON writes the canonical form.
func (d *Definition) MarshalJSON() ([]byte, error) {
	type plain Definition
	return encode((*plain)(d))
}

func sortedKeys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }

var _ json.Marshaler = (*Definition)(nil)
