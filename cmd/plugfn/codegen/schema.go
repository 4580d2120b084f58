package codegen

import (
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/plugfn/plugfn/pkg/providers"
)

const (
	// maxDepth is how deep schemas may lead: what is further inside is taken as it
	// comes.
	maxDepth = 24
	// maxMerges is how many parts are put together by allOf in one document: what
	// is left over says less of a type.
	maxMerges = 1000
)

// schema is what of a JSON Schema makes a type.
type schema struct {
	Ref         string             `json:"$ref"`
	Type        kinds              `json:"type"`
	Description string             `json:"description"`
	Enum        []any              `json:"enum"`
	Const       any                `json:"const"`
	Properties  map[string]*schema `json:"properties"`
	Required    []string           `json:"required"`
	Additional  *schema            `json:"additionalProperties"`
	Items       *schema            `json:"items"`
	AllOf       []*schema          `json:"allOf"`
	AnyOf       []*schema          `json:"anyOf"`
	OneOf       []*schema          `json:"oneOf"`
	Format      string             `json:"format"`

	raw   json.RawMessage
	never bool // it is false: nothing fits
}

// kinds are the values of type, which is a text or a list.
type kinds []string

// UnmarshalJSON reads both.
func (k *kinds) UnmarshalJSON(text []byte) error {
	if len(text) > 0 && text[0] == '"' {
		*k = kinds{""}
		return json.Unmarshal(text, &(*k)[0])
	}
	return json.Unmarshal(text, (*[]string)(k))
}

// UnmarshalJSON reads a schema, which may be true or false.
func (s *schema) UnmarshalJSON(text []byte) error {
	type fields schema
	s.raw = slices.Clone(text)
	if string(text) == "true" || string(text) == "false" {
		s.never = string(text) == "false"
		return nil
	}
	return json.Unmarshal(text, (*fields)(s))
}

// nullable takes null away from what is allowed, and tells whether it was.
func (s *schema) nullable() (schema, bool) {
	one, null := *s, false
	if i := slices.Index(one.Type, "null"); i >= 0 && len(one.Type) > 1 {
		one.Type, null = slices.Delete(slices.Clone(one.Type), i, i+1), true
	}
	if i := slices.Index(one.Enum, nil); i >= 0 {
		one.Enum, null = slices.Delete(slices.Clone(one.Enum), i, i+1), true
	}
	for _, forms := range []*[]*schema{&one.AnyOf, &one.OneOf} {
		kept := slices.DeleteFunc(slices.Clone(*forms), func(f *schema) bool { return slices.Equal(f.Type, kinds{"null"}) })
		null = null || len(kept) < len(*forms)
		*forms = kept
	}
	return one, null
}

// reader makes types of the schemas in one document.
type reader struct {
	prefix string // before names in $defs that mean something else elsewhere
	params bool
	root   any
	known  map[string]*Def // :: $ref → what it is
	open   map[*Def]bool   // whose fields are being read
	made   []*Def
	merges int
}

func newReader(document json.RawMessage) (*reader, *schema, error) {
	r := &reader{known: map[string]*Def{}, open: map[*Def]bool{}}
	if err := json.Unmarshal(document, &r.root); err != nil {
		return nil, nil, fmt.Errorf("reading the schema: %w", err)
	}
	s := &schema{}
	if err := json.Unmarshal(document, s); err != nil {
		return nil, nil, fmt.Errorf("reading the schema: %w", err)
	}
	return r, s, nil
}

// typeOf makes the type of a schema whose own name, where it gets one, is name.
func (r *reader) typeOf(s *schema, name string, depth int) Type {
	if depth > maxDepth || s.never {
		return Type{Null: true, Zero: true}
	}
	one, null := s.nullable()
	t := r.plainType(&one, name, depth)
	t.Null = t.Null || null
	return t
}

func (r *reader) plainType(s *schema, name string, depth int) Type {
	switch {
	case s.Ref != "":
		return r.refType(s.Ref, name, depth)
	case len(s.AllOf) > 0:
		return r.typeOf(r.merged(s), name, depth+1)
	case len(s.Enum) > 0 || s.Const != nil:
		return r.chosenType(s, name)
	case len(s.Type) == 2 && slices.Contains(s.Type, "integer") && slices.Contains(s.Type, "number"):
		return Type{Kind: Number, Zero: s.allows("0")}
	case len(s.Type) > 1:
		return Type{Zero: true}
	}
	kind := strings.Join(s.Type, "")
	switch {
	case kind == "" && s.Properties != nil:
		kind = "object"
	case kind == "" && s.Items != nil:
		kind = "array"
	case kind == "":
		if forms := slices.Concat(s.AnyOf, s.OneOf); len(forms) == 1 {
			return r.typeOf(forms[0], name, depth+1)
		}
		return Type{Null: len(s.AnyOf)+len(s.OneOf) == 0, Zero: true}
	}
	switch kind {
	case "boolean":
		return Type{Kind: Flag, Zero: true}
	case "integer":
		return Type{Kind: Integer, Zero: s.allows("0")}
	case "number":
		return Type{Kind: Number, Zero: s.allows("0")}
	case "string":
		if s.Format == "date-time" {
			return Type{Kind: Time}
		}
		return Type{Kind: Text, Zero: s.allows(`""`)}
	case "array":
		elem := Type{Null: true, Zero: true}
		if s.Items != nil {
			elem = r.typeOf(s.Items, name+"Item", depth+1)
		}
		return Type{Kind: List, Elem: &elem, Zero: true}
	case "object":
		return r.objectType(s, name, depth)
	default: // null alone
		return Type{Null: true, Zero: true}
	}
}

// allows reports whether a value fits; where the schema needs the rest of its
// document to tell, it is taken to.
func (s *schema) allows(value string) bool {
	own, err := providers.ParseSchema(s.raw)
	return err != nil || own.Check(json.RawMessage(value)) == nil
}

// chosenType is that of a schema which lists what is allowed.
func (r *reader) chosenType(s *schema, name string) Type {
	values := s.Enum
	if s.Const != nil {
		values = []any{s.Const}
	}
	var texts []string
	for _, v := range values {
		text, ok := v.(string)
		if !ok {
			return mixedType(values)
		}
		if !slices.Contains(texts, text) {
			texts = append(texts, text)
		}
	}
	if len(texts) == 1 {
		return Type{Kind: Text, Only: texts[0], Zero: texts[0] == ""}
	}
	d := r.define(name, s.Description)
	taken := names{}
	for _, text := range texts {
		d.Values = append(d.Values, Name{Code: taken.take(exported(text)), Wire: text})
	}
	return Type{Kind: Enum, Def: d, Zero: slices.Contains(texts, "")}
}

// mixedType is that of values which are no texts.
func mixedType(values []any) Type {
	for _, v := range values {
		switch n := v.(type) {
		case float64:
			if n != float64(int64(n)) {
				return Type{Zero: true}
			}
		default:
			return Type{Zero: true}
		}
	}
	return Type{Kind: Integer, Zero: slices.Contains(values, any(0.0))}
}

func (r *reader) objectType(s *schema, name string, depth int) Type {
	if len(s.Properties) == 0 {
		elem := Type{Null: true, Zero: true}
		if s.Additional != nil && !s.Additional.never {
			elem = r.typeOf(s.Additional, name+"Value", depth+1)
		}
		return Type{Kind: Map, Elem: &elem, Zero: true}
	}
	d := r.define(name, s.Description)
	r.fill(d, s, name, depth)
	return Type{Kind: Object, Def: d}
}

func (r *reader) define(name, doc string) *Def {
	d := &Def{wanted: name, Doc: plain(doc), Params: r.params}
	r.made = append(r.made, d)
	return d
}

// fill reads the fields of an object, whose types are called after name.
func (r *reader) fill(d *Def, s *schema, name string, depth int) {
	r.open[d] = true
	defer delete(r.open, d)
	d.Open = s.Additional == nil || !s.Additional.never
	taken := names{"Extra": d.Open && d.Params, "MarshalJSON": true}
	wires := slices.Sorted(maps.Keys(s.Properties))
	for _, required := range []bool{true, false} {
		for _, wire := range wires {
			if slices.Contains(s.Required, wire) != required {
				continue
			}
			property := s.Properties[wire]
			code := taken.take(exported(wire))
			f := Field{Name: Name{code, wire}, Required: required, Doc: plain(property.Description)}
			f.Type = r.typeOf(property, name+code, depth+1)
			d.Fields = append(d.Fields, f)
		}
	}
}

// refType is that of what a reference leads to. A definition is called after its
// own name.
func (r *reader) refType(ref, name string, depth int) Type {
	if d, ok := r.known[ref]; ok {
		return r.defType(d, r.find(ref))
	}
	s := r.find(ref)
	if s == nil {
		return Type{Null: true, Zero: true}
	}
	one, null := s.nullable()
	own, isDef := strings.CutPrefix(ref, "#/$defs/")
	if isDef && !strings.Contains(own, "/") {
		name = exported(own)
	}
	if len(one.AllOf) > 0 {
		one = *r.merged(&one)
	}
	if one.Ref != "" || one.Enum != nil || one.Const != nil || len(one.Properties) == 0 {
		before := len(r.made)
		t := r.typeOf(s, name, depth+1)
		if t.Kind == Enum && len(r.made) == before+1 {
			r.share(ref, t.Def, isDef)
		}
		return t
	}
	d := r.define(name, one.Description)
	r.share(ref, d, isDef)
	prefix := name
	r.fill(d, &one, prefix, depth)
	return Type{Kind: Object, Def: d, Null: null}
}

func (r *reader) share(ref string, d *Def, isDef bool) {
	r.known[ref] = d
	if isDef {
		d.shared, d.owner = true, r.prefix
	}
}

func (r *reader) defType(d *Def, s *schema) Type {
	_, null := s.nullable()
	if d.IsEnum() {
		return Type{Kind: Enum, Def: d, Null: null, Zero: slices.ContainsFunc(d.Values, func(v Name) bool { return v.Wire == "" })}
	}
	return Type{Kind: Object, Def: d, Null: null, Loop: r.open[d]}
}

// find returns what a reference leads to; nil where that is no schema.
func (r *reader) find(ref string) *schema {
	at := r.root
	pointer := strings.TrimPrefix(ref, "#")
	for _, token := range strings.Split(pointer, "/")[1:] {
		token = strings.NewReplacer("~1", "/", "~0", "~").Replace(token)
		inside, ok := at.(map[string]any)
		if !ok {
			return nil
		}
		at = inside[token]
	}
	raw, err := json.Marshal(at)
	if err != nil || at == nil {
		return nil
	}
	s := &schema{}
	if json.Unmarshal(raw, s) != nil {
		return nil
	}
	return s
}

// merged is a schema with what it has in allOf put into it.
func (r *reader) merged(s *schema) *schema {
	whole := *s
	whole.AllOf, whole.Properties = nil, maps.Clone(s.Properties)
	for _, part := range s.AllOf {
		if r.merges++; r.merges > maxMerges {
			break
		}
		if part.Ref != "" {
			if part = r.find(part.Ref); part == nil {
				continue
			}
		}
		if len(part.AllOf) > 0 {
			part = r.merged(part)
		}
		whole.add(part)
	}
	return &whole
}

// add has s say what part says as well.
func (s *schema) add(part *schema) {
	s.Required = slices.Concat(s.Required, part.Required)
	for name, property := range part.Properties {
		if s.Properties == nil {
			s.Properties = map[string]*schema{}
		}
		if _, ok := s.Properties[name]; !ok {
			s.Properties[name] = property
		}
	}
	if len(s.Type) == 0 {
		s.Type = part.Type
	}
	if s.Enum == nil && s.Const == nil {
		s.Enum, s.Const = part.Enum, part.Const
	}
	s.Format = cmp.Or(s.Format, part.Format)
	s.Items, s.Additional = cmp.Or(s.Items, part.Items), cmp.Or(s.Additional, part.Additional)
}
