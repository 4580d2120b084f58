package providers

import (
	"encoding/json"
	"maps"
	"reflect"
	"strconv"
	"time"

	"github.com/plugfn/plugfn/pkg/providers/nearest"

	"go.yaml.in/yaml/v3"
)

// value decodes node into a settable value.
func (d *document) value(node *yaml.Node, into reflect.Value, path string) {
	if _, ok := d.lines[path]; !ok {
		d.lines[path] = spotOf(node)
	}
	if into.Kind() == reflect.Pointer { // never nil after this, also when the value is wrong
		into.Set(reflect.New(into.Type().Elem()))
		d.value(node, into.Elem(), path)
		return
	}
	switch {
	case node.Kind == yaml.AliasNode:
		d.fail(spotOf(node), path, "is an alias: write the value out")
		return
	case node.ShortTag() == "!!null" && into.Type() != reflect.TypeFor[json.RawMessage]():
		d.fail(spotOf(node), path, "is empty: give it a value or leave the key out")
		return
	}
	if s, ok := into.Addr().Interface().(*Schema); ok && d.tested {
		d.failWith(node, path, s.parse(node))
		return
	}
	if u, ok := into.Addr().Interface().(yaml.Unmarshaler); ok {
		d.failWith(node, path, u.UnmarshalYAML(node))
		return
	}
	switch to := into.Addr().Interface().(type) {
	case *time.Duration:
		d.failWith(node, path, decodeDuration(node, to))
	case *time.Time:
		d.failWith(node, path, decodeTime(node, to))
	case *json.RawMessage:
		d.failWith(node, path, decodeJSON(node, to))
	default:
		d.plain(node, into, path)
	}
}

// plain decodes into a type without a form of its own.
func (d *document) plain(node *yaml.Node, into reflect.Value, path string) {
	switch into.Kind() {
	case reflect.Struct:
		d.structure(node, into, path)
	case reflect.Map:
		into.Set(reflect.MakeMap(into.Type()))
		d.mapping(node, path, func(key string, _, value *yaml.Node) {
			element := reflect.New(into.Type().Elem()).Elem()
			d.value(value, element, joinPath(path, key))
			into.SetMapIndex(reflect.ValueOf(key), element)
		})
	case reflect.Slice:
		if node.Kind != yaml.SequenceNode {
			d.fail(spotOf(node), path, "must be a list, is "+kindName(node))
			return
		}
		into.Set(reflect.MakeSlice(into.Type(), len(node.Content), len(node.Content)))
		for i, item := range node.Content {
			d.value(item, into.Index(i), path+"["+strconv.Itoa(i)+"]")
		}
	case reflect.String:
		text, err := scalarText(node)
		d.failWith(node, path, err)
		into.SetString(text)
	case reflect.Bool:
		if node.ShortTag() != "!!bool" {
			d.fail(spotOf(node), path, "must be true or false")
		}
		into.SetBool(node.Value == "true")
	case reflect.Int:
		n, err := strconv.Atoi(node.Value)
		if err != nil || node.Kind != yaml.ScalarNode {
			d.fail(spotOf(node), path, "must be a whole number")
		}
		into.SetInt(int64(n))
	default:
		d.fail(spotOf(node), path, "cannot be written in YAML")
	}
}

func (d *document) structure(node *yaml.Node, into reflect.Value, path string) {
	fields := map[string]reflect.Value{}
	structFields(into, fields)
	d.mapping(node, path, func(key string, at, value *yaml.Node) {
		field, ok := fields[key]
		if !ok {
			d.fail(spotOf(at), joinPath(path, key), "unknown key"+nearest.Hint(key, maps.Keys(fields)))
			return
		}
		d.value(value, field, joinPath(path, key))
	})
}

// structFields collects the fields of a struct by their keys. Those of an embedded
// struct are its own.
func structFields(into reflect.Value, fields map[string]reflect.Value) {
	for i := range into.NumField() {
		field := into.Type().Field(i)
		if field.Anonymous && field.IsExported() {
			structFields(into.Field(i), fields)
		} else if name := field.Tag.Get("yaml"); name != "" && name != "-" {
			fields[name] = into.Field(i)
		}
	}
}

// mapping calls each for every entry whose key is a text and not repeated.
func (d *document) mapping(node *yaml.Node, path string, each func(key string, at, value *yaml.Node)) {
	if node.Kind != yaml.MappingNode {
		d.fail(spotOf(node), path, "must be a mapping, is "+kindName(node))
		return
	}
	seen := map[string]bool{}
	for i := 0; i+1 < len(node.Content); i += 2 {
		at := node.Content[i]
		key, err := scalarText(at)
		if err != nil {
			d.failWith(at, path, err)
			continue
		}
		if seen[key] {
			d.fail(spotOf(at), joinPath(path, key), "is given twice")
			continue
		}
		seen[key] = true
		d.lines[joinPath(path, key)] = spotOf(at)
		each(key, at, node.Content[i+1])
	}
}

// failWith records err, if any, at its own line or at the node's.
func (d *document) failWith(node *yaml.Node, path string, err error) {
	switch e := err.(type) { //nolint:errorlint // the outermost error is meant
	case nil:
	case *lineError:
		d.fail(e.spot, path, e.err.Error())
	case interface{ Unwrap() []error }:
		for _, one := range e.Unwrap() {
			d.failWith(node, path, one)
		}
	default:
		d.fail(spotOf(node), path, err.Error())
	}
}

func decodeDuration(node *yaml.Node, to *time.Duration) error {
	v, err := time.ParseDuration(node.Value)
	if err != nil || v <= 0 {
		return atLine(node, "must be a duration above zero such as 30s")
	}
	*to = v
	return nil
}

func decodeTime(node *yaml.Node, to *time.Time) error {
	v, err := time.Parse(time.RFC3339Nano, node.Value)
	if err != nil {
		return atLine(node, "must be a time such as 2026-01-02T15:04:05Z")
	}
	*to = v.UTC()
	return nil
}
