package draft

import (
	"maps"
	"slices"
	"strings"
)

// readSwagger reads Swagger 2.
func readSwagger(s *source, kind string) *api {
	a := newAPI(s, kind)
	if host := textOf(s.value("host")); host != "" {
		scheme := "https"
		if schemes := listOf(s.value("schemes")); len(schemes) > 0 && !slices.Contains(schemes, any("https")) {
			scheme = textOf(schemes[0])
		}
		a.servers = []server{{url: scheme + "://" + host + textOf(s.value("basePath"))}}
	} else if base := textOf(s.value("basePath")); base != "" {
		a.servers = []server{{url: base}}
	}
	for _, name := range s.names("securityDefinitions") {
		a.addScheme(name, schemeOf2(objectOf(s.value("securityDefinitions", name))))
	}
	consumes, produces := listOf(s.value("consumes")), listOf(s.value("produces"))
	a.readPaths(func(op *operation, def map[string]any) {
		op.readBody2(a.source, textsOf(def, "consumes", consumes))
		media := textsOf(def, "produces", produces)
		a.readAnswers(op, def, func(op *operation, of map[string]any) any { return op.answer2(a.source, of, media) })
	})
	return a
}

func textsOf(def map[string]any, name string, otherwise []any) []string {
	list := otherwise
	if own, ok := def[name].([]any); ok {
		list = own
	}
	var texts []string
	for _, v := range list {
		texts = append(texts, textOf(v))
	}
	return texts
}

// readBody2 makes a body of the parameters that are in one.
func (op *operation) readBody2(s *source, consumes []string) {
	var rest []*param
	fields, required := map[string]any{}, []any{}
	files := false
	for _, p := range op.params {
		switch p.in {
		case "body":
			media := "application/json"
			if len(consumes) > 0 {
				media = mediaOf(consumes)
			}
			op.body = &body{required: p.required, media: media, schema: p.schema}
		case "formData":
			schema, _ := s.follow(p.schema)
			if schema = maps.Clone(schema); schema == nil {
				schema = map[string]any{}
			}
			if schema["type"] == "file" {
				schema["type"], schema["format"] = "string", "binary"
				files = true
			}
			if p.description != "" {
				schema["description"] = p.description
			}
			fields[p.name] = schema
			if p.required {
				required = append(required, p.name)
			}
		default:
			rest = append(rest, p)
		}
	}
	op.params = rest
	if len(fields) == 0 {
		return
	}
	media := "application/x-www-form-urlencoded"
	if files || len(consumes) > 0 && !slices.ContainsFunc(consumes, func(m string) bool { return strings.HasPrefix(m, media) }) &&
		slices.ContainsFunc(consumes, func(m string) bool { return strings.HasPrefix(m, "multipart/") }) {
		media = "multipart/form-data"
	}
	op.body = &body{required: len(required) > 0, media: media, schema: map[string]any{"type": "object", "properties": fields, "required": required}}
}

func (op *operation) answer2(s *source, of map[string]any, produces []string) any {
	schema, ok := of["schema"]
	if !ok {
		op.answer = &answer{}
		return nil
	}
	if def, _ := s.follow(schema); def["type"] == "file" {
		op.answer = &answer{file: true}
		return nil
	}
	if len(produces) == 0 {
		produces = []string{"application/json"}
	}
	schemas := map[string]any{}
	for _, media := range produces {
		schemas[media] = schema
	}
	op.setAnswer(schemas)
	return op.answer.schema
}
