package draft

import (
	"cmp"
	"maps"
	"slices"
	"strings"
)

// readOpenAPI reads OpenAPI 3.0 and 3.1.
func readOpenAPI(s *source, kind string) *api {
	a := newAPI(s, kind)
	for _, v := range listOf(s.value("servers")) {
		a.servers = append(a.servers, serverOf(v))
	}
	for _, name := range s.names("components", "securitySchemes") {
		def, _ := s.follow(s.value("components", "securitySchemes", name))
		a.addScheme(name, schemeOf3(def))
	}
	a.readPaths(func(op *operation, def map[string]any) {
		a.readBody3(op, def)
		a.readAnswers(op, def, a.answer3)
	})
	return a
}

// newAPI reads what OpenAPI and Swagger have in common.
func newAPI(s *source, kind string) *api {
	about := objectOf(s.value("info"))
	a := &api{
		source: s, kind: kind, title: textOf(about["title"]), schemes: map[string]scheme{},
		docs: link(objectOf(s.value("externalDocs"))["url"]), security: requirements(s.value("security")),
	}
	return a
}

// link is an address of a page; "" where it is none that a pack takes.
func link(v any) string {
	text := textOf(v)
	if strings.HasPrefix(text, "http://") {
		text = "https://" + strings.TrimPrefix(text, "http://")
	}
	if !isURL(text) {
		return ""
	}
	return text
}

func serverOf(v any) server {
	def := objectOf(v)
	sv := server{url: textOf(def["url"]), variables: map[string]string{}}
	for name, of := range objectOf(def["variables"]) {
		sv.variables[name] = scalarText(objectOf(of)["default"])
	}
	return sv
}

func requirements(v any) []requirement {
	list, ok := v.([]any)
	if !ok {
		return nil
	}
	all := []requirement{}
	for _, item := range list {
		r := requirement{}
		for name, scopes := range objectOf(item) {
			for _, scope := range listOf(scopes) {
				r[name] = append(r[name], textOf(scope))
			}
			if r[name] == nil {
				r[name] = []string{}
			}
		}
		all = append(all, r)
	}
	return all
}

// readPaths reads all operations; more reads what the versions write apart.
func (a *api) readPaths(more func(op *operation, def map[string]any)) {
	for _, path := range a.source.names("paths") {
		if !strings.HasPrefix(path, "/") {
			if !strings.HasPrefix(path, "x-") {
				a.note("paths."+clip(path, 80), "left out: a path begins with /")
			}
			continue
		}
		at := a.source.at("paths", path)
		item := objectOf(at.value())
		if _, elsewhere := item["$ref"]; elsewhere {
			item, _ = a.source.follow(item)
		}
		if item == nil {
			a.note("paths."+clip(path, 80), "left out: is no object, or refers to what is not in the document")
			continue
		}
		for _, method := range methods() {
			def, ok := item[strings.ToLower(method)]
			if !ok {
				continue
			}
			op := &operation{at: []string{"paths", path, strings.ToLower(method)}, method: method, path: path}
			if objectOf(def) == nil {
				a.note(op.place(), "left out: is no object")
				continue
			}
			a.readOperation(op, item, objectOf(def))
			more(op, objectOf(def))
			a.operations = append(a.operations, op)
		}
	}
}

func (a *api) readOperation(op *operation, item, def map[string]any) {
	op.id = textOf(def["operationId"])
	op.name = nameOf(op.id, op.method, op.path)
	op.summary = cmp.Or(oneLine(textOf(def["summary"]), 120), oneLine(textOf(def["description"]), 120), op.place())
	op.docs = link(objectOf(def["externalDocs"])["url"])
	for _, tag := range listOf(def["tags"]) {
		op.tags = append(op.tags, textOf(tag))
	}
	if _, own := def["security"]; own {
		op.security = requirements(def["security"])
	} else {
		op.security = a.security
	}
	byPlace := map[string]*param{}
	var order []string
	for _, v := range slices.Concat(listOf(item["parameters"]), listOf(def["parameters"])) {
		p, ref := a.source.follow(v)
		if p == nil {
			a.note(op.place(), "a parameter is left out: "+cmp.Or(clip(ref, 120)+" leads nowhere in the document", "it is no object"))
			continue
		}
		one := paramOf(p)
		key := one.in + " " + one.name
		if byPlace[key] == nil {
			order = append(order, key)
		}
		byPlace[key] = one
	}
	for _, key := range order {
		op.params = append(op.params, byPlace[key])
	}
}

// paramOf reads a parameter of OpenAPI 3 or Swagger 2.
func paramOf(def map[string]any) *param {
	p := &param{
		name: textOf(def["name"]), in: textOf(def["in"]), description: textOf(def["description"]), schema: def["schema"],
	}
	p.required, _ = def["required"].(bool)
	if p.schema == nil {
		for _, v := range objectOf(def["content"]) { // JSON in a parameter
			p.schema, p.deep = objectOf(v)["schema"], true
		}
	}
	if p.schema == nil { // Swagger 2 writes the schema beside the name
		own := maps.Clone(def)
		for _, word := range []string{"name", "in", "description", "required", "collectionFormat"} {
			delete(own, word)
		}
		p.schema = own
	}
	p.joined = joinedBy(p.in, def)
	p.deep = p.deep || textOf(def["style"]) == "deepObject"
	return p
}

// joinedBy is what stands between the items of a list.
func joinedBy(in string, def map[string]any) string {
	if _, swagger := def["type"]; swagger {
		return map[string]string{"ssv": " ", "tsv": "\t", "pipes": "|", "multi": ""}[textOf(def["collectionFormat"])] +
			map[bool]string{true: ","}[def["collectionFormat"] == nil || def["collectionFormat"] == "csv"]
	}
	explode, said := def["explode"].(bool)
	switch textOf(def["style"]) {
	case "spaceDelimited":
		return " "
	case "pipeDelimited":
		return "|"
	}
	if in == "query" && (!said || explode) {
		return ""
	}
	return ","
}

func (a *api) readBody3(op *operation, def map[string]any) {
	given, ref := a.source.follow(def["requestBody"])
	if given == nil {
		if ref != "" {
			a.note(op.place(), "the body is left out: "+clip(ref, 120)+" leads nowhere in the document")
		}
		return
	}
	content := objectOf(given["content"])
	op.body = &body{media: mediaOf(slices.Sorted(maps.Keys(content)))}
	op.body.required, _ = given["required"].(bool)
	op.body.schema = objectOf(content[op.body.media])["schema"]
	if len(content) == 0 {
		op.body = nil
	}
}

// readAnswers finds the first success, and what failures look like.
func (a *api) readAnswers(op *operation, def map[string]any, read func(op *operation, of map[string]any) (schema any)) {
	answers := objectOf(def["responses"])
	success := false
	for _, status := range slices.Sorted(maps.Keys(answers)) {
		of, _ := a.source.follow(answers[status])
		if of == nil {
			continue
		}
		if strings.HasPrefix(status, "2") && !success {
			success = true
			read(op, of)
			for name := range objectOf(of["headers"]) {
				op.answer.links = op.answer.links || strings.EqualFold(name, "Link")
			}
			continue
		}
		if (strings.HasPrefix(status, "4") || status == "default") && len(op.failures) < 3 {
			if schema := read(&operation{}, of); schema != nil {
				op.failures = append(op.failures, schema)
			}
		}
	}
	if op.answer == nil {
		op.answer = &answer{}
	}
}

func (a *api) answer3(op *operation, of map[string]any) any {
	schemas := map[string]any{}
	for media, v := range objectOf(of["content"]) {
		schemas[media] = objectOf(v)["schema"]
	}
	op.setAnswer(schemas)
	return op.answer.schema
}
