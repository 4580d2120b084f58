package draft

import (
	"maps"
	"net/http"
	"slices"
	"strings"
)

// setBody makes parameters of what the body holds.
func (a *api) setBody(act *Action, op *operation, c *converter, d *Draft) (why string) {
	if op.body == nil {
		return ""
	}
	if op.method == http.MethodGet || op.method == http.MethodDelete {
		if op.body.required {
			return op.method + " with a required body"
		}
		d.note(op.place(), "the body is left out: it has no place in %s", op.method)
		return ""
	}
	rank := rankOf(op.body.media)
	switch {
	case rank == 0 && op.body.required:
		return "a pack cannot write its body: it is neither JSON, nor a form, nor a file"
	case rank == 0:
		d.note(op.place(), "the body is left out: it is neither JSON, nor a form, nor a file")
		return ""
	case rank == 1:
		return act.setFile(nil)
	case strings.Contains(op.body.media, "+json"):
		d.note(op.place(), "the body is sent as application/json, the description wants %s", clip(op.body.media, 60))
	}
	schema := c.convert(op.body.schema)
	if variants := listOf(schema["anyOf"]); len(variants) > 0 {
		flatten(schema, variants, c)
		d.note(op.place(), "the body has variants: their parameters are all there and none of them is required")
	}
	if types := typesOf(schema); len(types) > 0 && !slices.Contains(types, "object") {
		return "the body is no object with names"
	}
	if rank == 2 {
		return act.setForm(op, schema, d)
	}
	return act.setFields(op, schema, map[int]string{3: "form"}[rank], d)
}

// flatten makes one object of variants that are objects.
func flatten(schema object, variants []any, c *converter) {
	delete(schema, "anyOf")
	for _, v := range variants {
		part := objectOf(v)
		if objectOf(part["properties"]) == nil {
			continue
		}
		loose := maps.Clone(part)
		delete(loose, "required")
		c.merge(schema, loose)
	}
}

// setFields adds the members of an object to the parameters.
func (act *Action) setFields(op *operation, schema object, encoding string, d *Draft) string {
	fields := objectOf(schema["properties"])
	required := listOf(schema["required"])
	added := 0
	for _, name := range slices.Sorted(maps.Keys(fields)) {
		must := slices.Contains(required, any(name))
		if !isName(name) || act.properties()[name] != nil {
			if must {
				return "the required member " + clip(name, 60) + " of the body has a name that no parameter can have"
			}
			d.note(op.place(), "the member %s of the body is left out: no parameter can have its name", clip(name, 60))
			continue
		}
		act.properties()[name] = fields[name]
		added++
		if must {
			act.require(name)
		}
	}
	if added == 0 {
		if op.body.required && len(fields) == 0 && schema["additionalProperties"] != nil || op.body.required && len(schema) == 0 {
			return "the members of the required body are not said"
		}
		if len(fields) == 0 && len(schema) > 0 && op.body.required {
			d.note(op.place(), "the body has no members with names: an empty object is sent")
		}
	}
	if act.encoding = encoding; encoding == "" {
		act.encoding = "json"
	}
	return ""
}

// setForm makes a form with a file; one without a file is a plain form.
func (act *Action) setForm(op *operation, schema object, d *Draft) string {
	fields := objectOf(schema["properties"])
	required := listOf(schema["required"])
	var files []string
	given := objectOf(op.bodyFields(d))
	for _, name := range slices.Sorted(maps.Keys(fields)) {
		if isFile(objectOf(given[name])) {
			files = append(files, name)
		}
	}
	slices.SortStableFunc(files, func(x, y string) int {
		return rank(slices.Contains(required, any(x))) - rank(slices.Contains(required, any(y)))
	})
	if len(files) == 0 {
		d.note(op.place(), "the form is sent as application/x-www-form-urlencoded: the pack format writes multipart only with a file")
		return act.setFields(op, schema, "form", d)
	}
	for _, name := range files[1:] {
		if slices.Contains(required, any(name)) {
			return "the body has two required files"
		}
		d.note(op.place(), "the file %s is left out: an action sends one file", clip(name, 60))
		delete(fields, name)
	}
	file := fields[files[0]]
	delete(fields, files[0])
	if why := act.setFields(op, schema, "multipart", d); why != "" {
		return why
	}
	return act.setFile(map[string]any{files[0]: file})
}

func rank(first bool) int {
	if first {
		return 0
	}
	return 1
}

// bodyFields are the members of the body as the description has them.
func (op *operation) bodyFields(d *Draft) any {
	schema, _ := d.source.follow(op.body.schema)
	fields := maps.Clone(objectOf(schema["properties"]))
	for _, part := range listOf(schema["allOf"]) {
		of, _ := d.source.follow(part)
		for name, v := range objectOf(of["properties"]) {
			if fields == nil {
				fields = map[string]any{}
			}
			fields[name] = v
		}
	}
	for name, v := range fields {
		of, _ := d.source.follow(v)
		fields[name] = of
	}
	return fields
}

// isFile reports whether a member of a form is a file.
func isFile(schema map[string]any) bool {
	return textOf(schema["format"]) == "binary" || textOf(schema["contentMediaType"]) == "application/octet-stream" || textOf(schema["type"]) == "file"
}

// setFile has the action send one file: the whole body, or the last part of a
// form.
func (act *Action) setFile(of map[string]any) string {
	name := "file"
	for form := range of {
		name = form
	}
	if !isName(name) || act.properties()[name] != nil {
		return "the file " + clip(name, 60) + " of the body has a name that no parameter can have"
	}
	if of == nil {
		act.encoding = "raw"
	}
	schema := object{"type": "object", "description": "A stored file."}
	if text := textOf(objectOf(of[name])["description"]); text != "" {
		schema["description"] = text
	}
	act.properties()[name] = schema
	act.require(name)
	act.fileParam = name
	return ""
}
