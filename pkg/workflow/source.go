package workflow

import (
	"strings"
	"unicode/utf8"

	"go.yaml.in/yaml/v3"
)

// source says where in a text the parts of a definition stand.
type source struct {
	lines []string
	nodes map[string]*yaml.Node // :: path → its value
	keys  map[string]*yaml.Node // :: path → its key
}

func newSource(text string) *source {
	return &source{lines: strings.Split(text, "\n"), nodes: map[string]*yaml.Node{}, keys: map[string]*yaml.Node{}}
}

// locate is where path stands, or what is nearest above it.
func (s *source) locate(path string) (line, column int) {
	if s == nil {
		return 0, 0
	}
	for {
		n, ok := s.nodes[path]
		if key, has := s.keys[path]; has && (!ok || n.Kind != yaml.ScalarNode) {
			n, ok = key, true
		}
		if ok {
			return n.Line, n.Column
		}
		if path == "" {
			return 1, 1
		}
		path = path[:max(0, strings.LastIndexAny(path, ".["))]
	}
}

// locateIn is where the character of a text value stands, counted from 0. A
// text that goes over several lines of its own is only known by its start.
func (s *source) locateIn(path string, at int) (line, column int) {
	if s == nil {
		return 0, 0
	}
	n, ok := s.nodes[path]
	if !ok || n.Line < 1 || n.Line > len(s.lines) {
		return s.locate(path)
	}
	if n.Style&(yaml.LiteralStyle|yaml.FoldedStyle) != 0 {
		return s.inBlock(n, at)
	}
	raw := []rune(s.lines[n.Line-1])
	i := n.Column - 1
	quote := rune(0)
	if i < len(raw) && (raw[i] == '"' || raw[i] == '\'') && n.Style&(yaml.SingleQuotedStyle|yaml.DoubleQuotedStyle) != 0 {
		quote = raw[i]
		i++
	}
	for ; at > 0 && i < len(raw); at-- {
		i += width(raw[i:], quote)
	}
	if at > 0 {
		return n.Line, n.Column
	}
	return n.Line, i + 1
}

// width is how many characters of the source write one character of a value.
func width(raw []rune, quote rune) int {
	switch {
	case quote == '\'' && len(raw) > 1 && raw[0] == '\'' && raw[1] == '\'':
		return 2
	case quote != '"' || raw[0] != '\\' || len(raw) < 2:
		return 1
	}
	switch raw[1] {
	case 'x':
		return 4
	case 'u':
		return 6
	case 'U':
		return 10
	default:
		return 2
	}
}

// inBlock locates a character of a block of lines (| or >), whose lines are
// kept as they are in all but the indentation.
func (s *source) inBlock(n *yaml.Node, at int) (line, column int) {
	indent := -1
	for i := n.Line; i < len(s.lines); i++ {
		text := s.lines[i]
		trimmed := strings.TrimLeft(text, " ")
		if indent < 0 && trimmed != "" {
			indent = len(text) - len(trimmed)
		}
		length := max(0, utf8.RuneCountInString(text)-max(0, indent))
		if at <= length {
			return i + 1, max(0, indent) + at + 1
		}
		at -= length + 1
	}
	return n.Line, n.Column
}
