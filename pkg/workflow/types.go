package workflow

import (
	"encoding/json"
	"reflect"
	"slices"
	"strings"

	"github.com/expr-lang/expr/checker/nature"
	"github.com/expr-lang/expr/types"
)

// schema is a JSON Schema, or a part of one.
type schema struct {
	root, at map[string]any
}

func newSchema(data json.RawMessage) schema {
	var root map[string]any
	_ = json.Unmarshal(data, &root) // the schema was checked; nil says nothing
	return schema{root, root}
}

// resolve follows references within the document.
func (s schema) resolve() schema {
	for range maxDepth {
		ref, ok := s.at["$ref"].(string)
		if !ok {
			return s
		}
		at := s.root
		for _, token := range strings.Split(strings.TrimPrefix(ref, "#/"), "/") {
			at, _ = at[token].(map[string]any)
		}
		s.at = at
	}
	return schema{}
}

func (s schema) below(v any) schema {
	at, _ := v.(map[string]any)
	return schema{s.root, at}.resolve()
}

// property is the schema of a member, and whether there may be one.
func (s schema) property(name string) (schema, bool) {
	properties, _ := s.at["properties"].(map[string]any)
	if p, ok := properties[name]; ok {
		return s.below(p), true
	}
	more, isSchema := s.at["additionalProperties"].(map[string]any)
	if isSchema {
		return s.below(more), true
	}
	return schema{}, s.at["additionalProperties"] != false
}

func (s schema) properties() map[string]any {
	properties, _ := s.at["properties"].(map[string]any)
	return properties
}

func (s schema) required() []string {
	var all []string
	list, _ := s.at["required"].([]any)
	for _, name := range list {
		if text, ok := name.(string); ok {
			all = append(all, text)
		}
	}
	return all
}

// names lists the types that a value may have; nil: any.
func (s schema) names() []string {
	switch t := s.at["type"].(type) {
	case string:
		return []string{t}
	case []any:
		var all []string
		for _, one := range t {
			if text, ok := one.(string); ok {
				all = append(all, text)
			}
		}
		return all
	}
	if v, ok := s.at["const"]; ok {
		return []string{typeName(v)}
	}
	return nil
}

// kind is the type that values have in expressions. What may be null as well
// counts as what it is otherwise.
func (s schema) kind(depth int) types.Type {
	names := slices.DeleteFunc(slices.Clone(s.names()), func(n string) bool { return n == "null" })
	if len(names) != 1 || depth > 2*MaxNesting {
		return types.Any
	}
	switch names[0] {
	case "string":
		return types.String
	case "boolean":
		return types.Bool
	case "array":
		return types.Array(s.below(s.at["items"]).kind(depth + 1))
	case "object":
		return s.object(depth)
	case "integer":
		return types.Int
	case "number":
		return types.Float64
	default:
		return types.Any
	}
}

// object is strict where the schema lists properties: a name that it does not
// know is taken to be misspelt, whether or not the sender may add to it.
func (s schema) object(depth int) types.Type {
	properties := s.properties()
	more, _ := s.at["additionalProperties"].(map[string]any)
	if len(properties) == 0 && more == nil {
		return types.Any
	}
	fields := types.Map{}
	for name, p := range properties {
		fields[name] = s.below(p).kind(depth + 1)
	}
	if more != nil {
		fields[types.Extra] = s.below(more).kind(depth + 1)
	}
	return fields
}

// typeName is the type of a decoded value as JSON Schema calls it.
func typeName(v any) string {
	switch v := v.(type) {
	case nil:
		return "null"
	case string:
		return "string"
	case bool:
		return "boolean"
	case []any:
		return "array"
	case map[string]any:
		return "object"
	case float64:
		if v != float64(int64(v)) {
			return "number"
		}
	}
	return "integer"
}

// resultName is the type of a result as JSON Schema calls it; "" when only a run
// can tell.
func resultName(kind reflect.Kind) string {
	switch kind {
	case reflect.String, reflect.Struct: // a time, which is written as a text
		return "string"
	case reflect.Bool:
		return "boolean"
	case reflect.Int:
		return "integer"
	case reflect.Float64:
		return "number"
	case reflect.Slice, reflect.Array:
		return "array"
	case reflect.Map:
		return "object"
	default:
		return ""
	}
}

// allows reports whether a value of a type may stand where one of names is
// wanted.
func allows(names []string, name string) bool {
	return len(names) == 0 || name == "" || slices.Contains(names, name) ||
		name == "integer" && slices.Contains(names, "number") || name == "number" && slices.Contains(names, "integer")
}

// element is the type of the items of a list.
type element struct{ nature nature.Nature }

func elementOf(list *nature.Nature) types.Type {
	if list == nil || list.Ref == nil {
		return types.Any
	}
	return element{*list.Ref}
}

func (e element) Nature() nature.Nature   { return e.nature }
func (e element) Equal(o types.Type) bool { return e == o }
func (e element) String() string          { return e.nature.String() }

// eventType is what expressions see of an event whose data has a type.
func eventType(data types.Type) types.Map {
	text := types.String
	return types.Map{
		"id": text, "type": text, "source": text, "subject": text, "time": text, "provider": text, "name": text,
		"connection": text, "account": text, "data": data, "raw": types.Any,
	}
}

func stepType(result types.Type) types.Map {
	return types.Map{"result": result, "status": types.String, "error": errorType()}
}

func errorType() types.Map {
	return types.Map{"step": types.String, "code": types.String, "message": types.String}
}

func runType() types.Map {
	return types.Map{
		"id": types.String, "workflow": types.String, "version": types.Any, "user": types.String,
		"started_at": types.String,
	}
}
