package workflow

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"reflect"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/plugfn/plugfn/pkg/providers/nearest"
)

// Parse reads a definition in YAML or JSON. It is strict: an unknown or repeated
// key, an empty value, an alias, a value of the wrong type or more than
// [MaxDefinition] bytes is an error. All problems come at once, as [Problems].
//
// A definition that it returns may still have no meaning: ask [Compile].
func Parse(data []byte) (*Definition, error) {
	if len(data) > MaxDefinition {
		return nil, Problems{{Line: 1, Column: 1, Message: fmt.Sprintf("is longer than %d bytes", MaxDefinition)}}
	}
	r := &reader{source: newSource(string(data))}
	root, err := readNode(data)
	if err != nil {
		return nil, Problems{*err}
	}
	d := &Definition{source: r.source}
	r.value(root, reflect.ValueOf(d).Elem(), "")
	if err := r.problems.err(); err != nil {
		return nil, err
	}
	return d, nil
}

// readNode reads the tree of a YAML or JSON text.
func readNode(data []byte) (*yaml.Node, *Problem) {
	if json.Valid(data) { // YAML would refuse the two escapes that JSON writes an emoji with
		return jsonNode(data)
	}
	var root yaml.Node
	d := yaml.NewDecoder(strings.NewReader(string(data)))
	if err := d.Decode(&root); err != nil {
		return nil, syntax(err)
	}
	if err := d.Decode(new(yaml.Node)); err == nil {
		return nil, &Problem{Line: 1, Column: 1, Message: "holds more than one document"}
	}
	return root.Content[0], nil
}

// syntax says where a text is no YAML.
func syntax(err error) *Problem {
	p := &Problem{Line: 1, Column: 1, Message: strings.TrimPrefix(err.Error(), "yaml: ")}
	if errors.Is(err, io.EOF) {
		p.Message = "is empty"
	} else if _, err := fmt.Sscanf(p.Message, "line %d:", &p.Line); err == nil {
		_, p.Message, _ = strings.Cut(p.Message, ": ")
	}
	return p
}

// reader fills a definition from a tree.
type reader struct {
	source   *source
	problems Problems
}

func (r *reader) fail(n *yaml.Node, path, format string, args ...any) {
	r.problems = append(r.problems, Problem{n.Line, n.Column, path, fmt.Sprintf(format, args...)})
}

func (r *reader) value(n *yaml.Node, into reflect.Value, path string) {
	r.source.nodes[path] = n
	raw := into.Type() == reflect.TypeFor[json.RawMessage]()
	switch {
	case n.Kind == yaml.AliasNode || n.Anchor != "":
		r.fail(n, path, "has an alias or an anchor: write the value out")
		return
	case n.ShortTag() == "!!null" && !raw:
		r.fail(n, path, "is empty: give it a value or leave the key out")
		return
	}
	switch to := into.Addr().Interface().(type) {
	case *json.RawMessage:
		r.raw(n, to, path)
	case *Duration:
		r.duration(n, to, path)
	case *Names:
		r.names(n, to, path)
	case *OnError:
		if n.Kind == yaml.SequenceNode {
			to.Steps = []*Step{}
			r.plain(n, reflect.ValueOf(&to.Steps).Elem(), path)
		} else {
			to.Then = r.text(n, path)
		}
	default:
		r.plain(n, into, path)
	}
}

func (r *reader) plain(n *yaml.Node, into reflect.Value, path string) {
	switch into.Kind() {
	case reflect.Pointer:
		into.Set(reflect.New(into.Type().Elem()))
		r.value(n, into.Elem(), path)
	case reflect.Struct:
		r.structure(n, into, path)
	case reflect.Map:
		into.Set(reflect.MakeMap(into.Type()))
		r.mapping(n, path, func(key string, _, value *yaml.Node) {
			element := reflect.New(into.Type().Elem()).Elem()
			r.value(value, element, join(path, key))
			into.SetMapIndex(reflect.ValueOf(key), element)
		})
	case reflect.Slice:
		if n.Kind != yaml.SequenceNode {
			r.fail(n, path, "must be a list, is %s", kindName(n))
			return
		}
		into.Set(reflect.MakeSlice(into.Type(), len(n.Content), len(n.Content)))
		for i, item := range n.Content {
			r.value(item, into.Index(i), path+"["+strconv.Itoa(i)+"]")
		}
	case reflect.String:
		into.SetString(r.text(n, path))
	case reflect.Bool:
		if n.ShortTag() != "!!bool" {
			r.fail(n, path, "must be true or false")
		}
		into.SetBool(n.Value == "true")
	default: // a whole number
		v, err := strconv.Atoi(n.Value)
		if err != nil || n.Kind != yaml.ScalarNode || v < 1 {
			r.fail(n, path, "must be a whole number above zero")
		}
		into.SetInt(int64(v))
	}
}

func (r *reader) structure(n *yaml.Node, into reflect.Value, path string) {
	fields, missing := map[string]reflect.Value{}, map[string]bool{}
	for i := range into.NumField() {
		if name, options, _ := strings.Cut(into.Type().Field(i).Tag.Get("json"), ","); name != "" {
			fields[name] = into.Field(i)
			missing[name] = !strings.Contains(options, "omit")
		}
	}
	r.mapping(n, path, func(key string, at, value *yaml.Node) {
		missing[key] = false
		field, ok := fields[key]
		if !ok {
			hint := nearest.Hint(key, func(yield func(string) bool) {
				for name := range fields {
					if !yield(name) {
						return
					}
				}
			})
			r.fail(at, join(path, key), "unknown key%s", hint)
			return
		}
		r.value(value, field, join(path, key))
	})
	for _, name := range sortedKeys(missing) {
		if missing[name] && n.Kind == yaml.MappingNode {
			r.fail(n, path, "has no %s", name)
		}
	}
}

// mapping calls each for every entry whose key is a text and not repeated.
func (r *reader) mapping(n *yaml.Node, path string, each func(key string, at, value *yaml.Node)) {
	if n.Kind != yaml.MappingNode {
		r.fail(n, path, "must be a mapping, is %s", kindName(n))
		return
	}
	seen := map[string]bool{}
	for i := 0; i+1 < len(n.Content); i += 2 {
		at := n.Content[i]
		switch key := at.Value; {
		case at.Kind != yaml.ScalarNode || at.ShortTag() != "!!str" || at.Anchor != "":
			r.fail(at, path, "has a key that is no text: write it in quotes")
		case seen[key]:
			r.fail(at, join(path, key), "is given twice")
		default:
			seen[key] = true
			r.source.keys[join(path, key)] = at
			each(key, at, n.Content[i+1])
		}
	}
}

// text reads a text: a number, a truth value or a date needs quotes.
func (r *reader) text(n *yaml.Node, path string) string {
	switch {
	case n.Kind != yaml.ScalarNode:
		r.fail(n, path, "must be a text, is %s", kindName(n))
	case n.ShortTag() != "!!str":
		r.fail(n, path, "must be a text: write %s", strconv.Quote(clip(n.Value, 60)))
	case strings.TrimSpace(n.Value) == "":
		r.fail(n, path, "is empty: give it a value or leave the key out")
	}
	return n.Value
}

func (r *reader) duration(n *yaml.Node, to *Duration, path string) {
	d, err := ParseDuration(n.Value)
	if err != nil || n.Kind != yaml.ScalarNode {
		r.fail(n, path, "%v", errors.Join(err))
	}
	*to = d
}

func (r *reader) names(n *yaml.Node, to *Names, path string) {
	if n.Kind != yaml.SequenceNode {
		*to = Names{r.text(n, path)}
		return
	}
	for i, item := range n.Content {
		at := path + "[" + strconv.Itoa(i) + "]"
		r.source.nodes[at] = item
		*to = append(*to, r.text(item, at))
	}
	if len(n.Content) == 0 {
		r.fail(n, path, "is empty: give it at least one name")
	}
}

// raw keeps a value as JSON.
func (r *reader) raw(n *yaml.Node, to *json.RawMessage, path string) {
	before := len(r.problems)
	v := r.json(n, path, 0)
	if len(r.problems) > before {
		return
	}
	data, err := encode(v)
	if err != nil {
		r.fail(n, path, "is no value of JSON")
	}
	*to = data
}

const maxDepth = 40 // levels of a value

func (r *reader) json(n *yaml.Node, path string, depth int) any {
	r.source.nodes[path] = n
	switch {
	case depth > maxDepth:
		r.fail(n, path, "is nested deeper than %d levels", maxDepth)
		return nil
	case n.Anchor != "":
		r.fail(n, path, "has an anchor: write the value out")
		return nil
	}
	switch n.Kind {
	case yaml.MappingNode:
		object := map[string]any{}
		r.mapping(n, path, func(key string, _, value *yaml.Node) {
			object[key] = r.json(value, join(path, key), depth+1)
		})
		return object
	case yaml.SequenceNode:
		list := make([]any, len(n.Content))
		for i, item := range n.Content {
			list[i] = r.json(item, path+"["+strconv.Itoa(i)+"]", depth+1)
		}
		return list
	case yaml.ScalarNode:
		return r.scalar(n, path)
	default:
		r.fail(n, path, "is an alias: write the value out")
		return nil
	}
}

func (r *reader) scalar(n *yaml.Node, path string) any {
	switch n.ShortTag() {
	case "!!str":
		return n.Value
	case "!!null":
		return nil
	case "!!bool":
		return strings.EqualFold(n.Value, "true")
	case "!!int", "!!float":
		if number, ok := number(n.Value); ok {
			return number
		}
		r.fail(n, path, "%s is no number of JSON", clip(n.Value, 60))
	default:
		r.fail(n, path, "must be in quotes: write %s", strconv.Quote(clip(n.Value, 60)))
	}
	return nil
}

// number reads a number of JSON that a run can count with.
func number(text string) (json.Number, bool) {
	var n json.Number
	if text == "" || text[0] == '"' || json.Unmarshal([]byte(text), &n) != nil || n.String() != text {
		return "", false
	}
	_, err := n.Float64()
	return n, err == nil
}

func kindName(n *yaml.Node) string {
	switch n.Kind {
	case yaml.MappingNode:
		return "a mapping"
	case yaml.SequenceNode:
		return "a list"
	case yaml.AliasNode:
		return "an alias"
	default:
		return "a single value"
	}
}

func join(path, key string) string {
	if path == "" {
		return clip(key, 80)
	}
	return path + "." + clip(key, 80)
}
