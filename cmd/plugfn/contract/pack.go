package contract

import (
	"encoding/json"
	"reflect"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/plugfn/plugfn/pkg/providers"
)

// packSchema is the schema of provider.yaml, for editors: keys and plain values.
// What a template, an expression or a source may hold, only provider lint knows.
func packSchema() ([]byte, error) {
	w := packWriter{defs: map[string]any{}}
	root := w.object(reflect.TypeFor[providers.Pack]())
	root["$schema"], root["title"], root["$defs"] = dialect, "PlugFn provider pack", w.defs
	root["required"] = []string{"apiVersion", "kind", "name", "version", "display"}
	return text(root)
}

type packWriter struct{ defs map[string]any }

func (w packWriter) of(t reflect.Type) map[string]any {
	if t.Kind() == reflect.Pointer {
		return w.of(t.Elem())
	}
	switch t {
	case reflect.TypeFor[providers.Schema]():
		return map[string]any{"$ref": dialect}
	case reflect.TypeFor[providers.Size]():
		return map[string]any{"type": []string{"integer", "string"}, "description": "Bytes: 512KiB, 10MiB or a number."}
	case reflect.TypeFor[time.Duration]():
		return map[string]any{"type": "string", "description": "A duration such as 90s or 2h30m."}
	case reflect.TypeFor[providers.Template](), reflect.TypeFor[providers.Predicate](), reflect.TypeFor[providers.Source](), reflect.TypeFor[providers.Address]():
		return map[string]any{"type": "string", "description": "A " + strings.ToLower(t.Name()) + "."}
	case reflect.TypeFor[json.RawMessage](), reflect.TypeFor[time.Time]():
		return map[string]any{}
	}
	if reflect.PointerTo(t).Implements(reflect.TypeFor[yaml.Unmarshaler]()) {
		return map[string]any{"description": "It has a form of its own."}
	}
	switch t.Kind() {
	case reflect.Struct:
		if _, known := w.defs[t.Name()]; !known {
			w.defs[t.Name()] = true // it is on the way
			w.defs[t.Name()] = w.object(t)
		}
		return map[string]any{"$ref": "#/$defs/" + t.Name()}
	case reflect.Map:
		return map[string]any{"type": "object", "additionalProperties": w.of(t.Elem())}
	case reflect.Slice:
		return map[string]any{"type": "array", "items": w.of(t.Elem())}
	case reflect.Bool:
		return map[string]any{"type": "boolean"}
	case reflect.Int:
		return map[string]any{"type": "integer"}
	default:
		return map[string]any{"type": "string"}
	}
}

func (w packWriter) object(t reflect.Type) map[string]any {
	properties := map[string]any{}
	w.fields(t, properties)
	return map[string]any{"type": "object", "additionalProperties": false, "properties": properties}
}

// fields adds the members of a struct, with those of what is embedded in it.
func (w packWriter) fields(t reflect.Type, properties map[string]any) {
	for i := range t.NumField() {
		f := t.Field(i)
		name := f.Tag.Get("yaml")
		switch {
		case f.Anonymous && f.IsExported():
			w.fields(f.Type, properties)
		case f.IsExported() && name != "" && name != "-":
			properties[name] = w.of(f.Type)
		}
	}
}
