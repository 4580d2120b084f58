package codegen

import (
	"fmt"
	"strconv"
	"strings"
	"unicode"
)

// goTypes writes the types.
func goTypes(api *API, f *goFile) {
	for _, d := range api.Types {
		if d.IsEnum() {
			goEnum(d, f)
		} else {
			goStruct(d, f)
		}
	}
}

func goEnum(d *Def, f *goFile) {
	f.doc("", says1(d.Name, "is one of the values below.", d.Doc))
	f.line("type %s string\n", d.Name)
	f.line("// The values of %s.\nconst (", d.Name)
	for _, v := range d.Values {
		f.line("\t%s %s = %s", v.Code, d.Name, strconv.Quote(v.Wire))
	}
	f.line(")\n")
}

// says1 is the comment of something, which begins with its name.
func says1(name, otherwise, doc string) string {
	if doc == "" {
		return name + " " + otherwise
	}
	return name + ": " + doc
}

func goStruct(d *Def, f *goFile) {
	otherwise := "is a part of what is received."
	if d.Params {
		otherwise = "are parameters."
	}
	f.doc("", says1(d.Name, otherwise, d.Doc))
	f.line("type %s struct {", d.Name)
	for i := range d.Fields {
		if !isTagName(d.Fields[i].Name.Wire) {
			continue
		}
		goField(d, &d.Fields[i], f)
	}
	open := d.Open && d.Params
	if open {
		f.line("\n\t// Extra are members beside the fields.\n\tExtra map[string]any `json:\"-\"`")
	}
	f.line("}\n")
	if !open {
		return
	}
	f.line("// MarshalJSON writes the fields and what is in Extra.\nfunc (p %s) MarshalJSON() ([]byte, error) {", d.Name)
	f.line("\ttype fields %s", d.Name)
	f.line("\treturn %s(fields(p), p.Extra)\n}\n", f.use(sdkPath, "plugfn.WithExtra"))
}

func goField(d *Def, field *Field, f *goFile) {
	doc := field.Doc
	if field.Type.Only != "" {
		doc = fmt.Sprintf("Always %s. %s", strconv.Quote(plain(field.Type.Only)), doc)
	}
	if d.Params && !field.Required && len(d.Fields) > 1 {
		doc = "Optional. " + doc
	}
	f.doc("\t", doc)
	tag := field.Name.Wire
	if !field.Required {
		tag += ",omitzero"
	}
	f.line("\t%s %s `json:\"%s\"`", field.Name.Code, goFieldType(d, field, f), tag)
}

// isTagName tells the names that a tag can say. What has another one has no field.
func isTagName(wire string) bool {
	return wire != "" && wire != "-" && !strings.ContainsFunc(wire, func(r rune) bool {
		return !unicode.IsLetter(r) && !unicode.IsDigit(r) && !strings.ContainsRune("!#$%&()*+-./:;<=>?@[]^_{|}~ ", r)
	})
}

// goFieldType is the type of a field: a pointer where nothing else tells that the
// value is not there, or that it is null.
func goFieldType(d *Def, field *Field, f *goFile) string {
	t := &field.Type
	plain := goType(t, d.Params, f)
	if t.Kind == Any || (t.Kind == List || t.Kind == Map) && !(d.Params && t.Null && !field.Required) {
		return plain // nil tells
	}
	switch {
	case d.Params && !field.Required && t.Null:
		return fmt.Sprintf("%s[%s]", f.use(sdkPath, "plugfn.Nullable"), plain)
	case t.Null, t.Loop, t.Kind == Object && !field.Required, t.Kind == File && !field.Required, d.Params && !field.Required && t.Zero:
		return "*" + plain
	default:
		return plain
	}
}

func goType(t *Type, params bool, f *goFile) string {
	switch t.Kind {
	case Text:
		return "string"
	case Flag:
		return "bool"
	case Integer:
		return "int64"
	case Number:
		return "float64"
	case Time:
		return f.use("time", "time.Time")
	case List:
		return "[]" + goElem(t.Elem, params, f)
	case Map:
		return "map[string]" + goElem(t.Elem, params, f)
	case Object, Enum:
		return t.Def.Name
	case File:
		return f.use(sdkPath, "plugfn.File")
	default:
		if params {
			return "any"
		}
		return f.use(jsonPath, "json.RawMessage")
	}
}

func goElem(t *Type, params bool, f *goFile) string {
	if t.Null && t.Kind != Any && t.Kind != List && t.Kind != Map {
		return "*" + goType(t, params, f)
	}
	return goType(t, params, f)
}
