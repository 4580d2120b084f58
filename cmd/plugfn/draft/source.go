package draft

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
)

const (
	maxJSON  = 64 << 20 // bytes of a description
	maxYAML  = 24 << 20
	maxNodes = 3_000_000 // of YAML, aliases written out
	maxHops  = 20        // from one reference to the next
	maxNest  = 200       // levels of YAML
)

// source is a description as JSON. It is decoded piece by piece, where it is
// looked at: the largest one in public use has 47 MB.
type source struct {
	root    *piece
	decoded map[string]any // :: reference → what it leads to
}

// piece is a value of the description, of which only the next level is known.
type piece struct {
	raw     json.RawMessage
	members map[string]*piece // nil: not looked at yet
}

func newSource(data []byte) (*source, error) {
	raw := bytes.TrimSpace(bytes.TrimPrefix(data, []byte("\xef\xbb\xbf")))
	switch {
	case len(raw) == 0:
		return nil, errors.New("the description is empty")
	case raw[0] == '{':
		if len(raw) > maxJSON {
			return nil, fmt.Errorf("the description has %d bytes, read are at most %d", len(raw), maxJSON)
		}
		if err := checkJSON(raw); err != nil {
			return nil, err
		}
	case len(raw) > maxYAML:
		return nil, fmt.Errorf("the description has %d bytes, read are at most %d of YAML; as JSON it may have %d", len(raw), maxYAML, maxJSON)
	default:
		var err error
		if raw, err = fromYAML(raw); err != nil {
			return nil, err
		}
	}
	return &source{root: &piece{raw: raw}, decoded: map[string]any{}}, nil
}

// checkJSON says where a description is broken.
func checkJSON(raw []byte) error {
	if json.Valid(raw) {
		return nil
	}
	var broken *json.SyntaxError
	err := json.Unmarshal(raw, new(json.RawMessage))
	if !errors.As(err, &broken) {
		return fmt.Errorf("the description is no JSON: %w", err)
	}
	before := raw[:min(max(0, int(broken.Offset)), len(raw))]
	line := 1 + bytes.Count(before, []byte("\n"))
	column := len(before) - (bytes.LastIndexByte(before, '\n') + 1)
	return fmt.Errorf("the description is no JSON: line %d, column %d: %w", line, column, broken)
}

// fromYAML writes a YAML document as JSON.
func fromYAML(data []byte) (json.RawMessage, error) {
	var root yaml.Node
	if err := yaml.Unmarshal(data, &root); err != nil {
		return nil, fmt.Errorf("the description is neither JSON nor YAML: %s", strings.TrimPrefix(err.Error(), "yaml: "))
	}
	if len(root.Content) == 0 || root.Content[0].Kind != yaml.MappingNode {
		return nil, errors.New("the description must be a mapping, such as openapi: 3.1.0 and what follows")
	}
	left := maxNodes
	v, err := plain(root.Content[0], &left, 0)
	if err != nil {
		return nil, err
	}
	return json.Marshal(v)
}

// plain turns YAML into what encoding/json takes.
func plain(node *yaml.Node, left *int, depth int) (any, error) {
	if *left--; *left < 0 {
		return nil, fmt.Errorf("line %d: the description has more than %d values", node.Line, maxNodes)
	}
	if depth > maxNest {
		return nil, fmt.Errorf("line %d: is nested deeper than %d levels", node.Line, maxNest)
	}
	switch node.Kind {
	case yaml.AliasNode:
		return plain(node.Alias, left, depth+1)
	case yaml.SequenceNode:
		list := make([]any, 0, len(node.Content))
		for _, item := range node.Content {
			v, err := plain(item, left, depth+1)
			if err != nil {
				return nil, err
			}
			list = append(list, v)
		}
		return list, nil
	case yaml.MappingNode:
		object := make(map[string]any, len(node.Content)/2)
		for i := 0; i+1 < len(node.Content); i += 2 {
			v, err := plain(node.Content[i+1], left, depth+1)
			if err != nil {
				return nil, err
			}
			if inner, ok := v.(map[string]any); ok && node.Content[i].ShortTag() == "!!merge" {
				for key, value := range inner {
					if _, own := object[key]; !own {
						object[key] = value
					}
				}
				continue
			}
			object[node.Content[i].Value] = v
		}
		return object, nil
	default:
		return plainScalar(node), nil
	}
}

func plainScalar(node *yaml.Node) any {
	switch node.ShortTag() {
	case "!!null":
		return nil
	case "!!bool":
		var b bool
		if node.Decode(&b) == nil {
			return b
		}
	case "!!int", "!!float":
		if json.Valid([]byte(node.Value)) {
			return json.Number(node.Value)
		}
		var f float64
		if node.Decode(&f) == nil && f == f && f < 1e300 && f > -1e300 {
			return f
		}
	}
	return strings.ToValidUTF8(node.Value, "")
}

// look returns the members of a piece; nil where it is no object.
func (p *piece) look() map[string]*piece {
	if p.members == nil {
		p.members = map[string]*piece{}
		var raw map[string]json.RawMessage
		if json.Unmarshal(p.raw, &raw) == nil {
			for name, value := range raw {
				p.members[name] = &piece{raw: value}
			}
		}
	}
	return p.members
}

// value decodes the piece.
func (p *piece) value() any {
	dec := json.NewDecoder(bytes.NewReader(p.raw))
	dec.UseNumber()
	var v any
	if dec.Decode(&v) != nil {
		return nil
	}
	return v
}

// at returns the piece at the names; nil where there is none.
func (s *source) at(names ...string) *piece {
	p := s.root
	for _, name := range names {
		if p = p.look()[name]; p == nil {
			return nil
		}
	}
	return p
}

// names lists the members of the object at the names.
func (s *source) names(at ...string) []string {
	p := s.at(at...)
	if p == nil {
		return nil
	}
	return slices.Sorted(maps.Keys(p.look()))
}

// value decodes what is at the names; nil where there is nothing.
func (s *source) value(names ...string) any {
	p := s.at(names...)
	if p == nil {
		return nil
	}
	return p.value()
}

// follow returns the object that v is or refers to, and the last reference on
// the way there; nil where it leads nowhere, or out of the document.
func (s *source) follow(v any) (object map[string]any, ref string) {
	for range maxHops {
		object, _ = v.(map[string]any)
		next, ok := object["$ref"].(string)
		if !ok {
			return object, ref
		}
		ref = next
		v = s.referred(ref)
	}
	return nil, ref
}

// referred is what a reference leads to. Google's descriptions only name the
// schema.
func (s *source) referred(ref string) any {
	if v, ok := s.decoded[ref]; ok {
		return v
	}
	pointer, inside := strings.CutPrefix(ref, "#/")
	if !inside {
		pointer = "schemas/" + ref
	}
	var v any
	p := s.root
	for token := range strings.SplitSeq(pointer, "/") {
		name := strings.NewReplacer("~1", "/", "~0", "~", "%7B", "{", "%7D", "}", "%20", " ").Replace(token)
		next := p.look()[name]
		if next == nil {
			next = p.item(name)
		}
		if p = next; p == nil {
			break
		}
	}
	if p != nil {
		v = p.value()
	}
	s.decoded[ref] = v
	return v
}

// item is a piece of a list.
func (p *piece) item(index string) *piece {
	i, err := strconv.Atoi(index)
	var list []json.RawMessage
	if err != nil || i < 0 || json.Unmarshal(p.raw, &list) != nil || i >= len(list) {
		return nil
	}
	return &piece{raw: list[i]}
}

func textOf(v any) string {
	s, _ := v.(string)
	return strings.TrimSpace(s)
}

func objectOf(v any) map[string]any {
	m, _ := v.(map[string]any)
	return m
}

func listOf(v any) []any {
	l, _ := v.([]any)
	return l
}
