package draft

import (
	"cmp"
	"maps"
	"slices"
	"strings"
)

// readDiscovery reads a description of one of Google's APIs.
func readDiscovery(s *source) *api {
	a := &api{
		source: s, kind: "Google discovery", title: cmp.Or(textOf(s.value("title")), textOf(s.value("name"))),
		docs: link(s.value("documentationLink")), schemes: map[string]scheme{},
	}
	base := textOf(s.value("rootUrl")) + textOf(s.value("servicePath"))
	a.servers = []server{{url: cmp.Or(strings.TrimSuffix(base, "/"), textOf(s.value("baseUrl")))}}
	if scopes := s.names("auth", "oauth2", "scopes"); len(scopes) > 0 {
		a.addScheme("oauth", scheme{kind: schemeOAuth, authorize: googleAuthorize, token: googleToken, revoke: googleRevoke, offline: true})
	}
	a.readMethods("methods", objectOf(s.value("methods")))
	a.readResources("resources", objectOf(s.value("resources")), 0)
	slices.SortFunc(a.operations, func(x, y *operation) int { return cmp.Compare(x.id, y.id) })
	return a
}

// maxResources is how deep resources of a Google API are looked for.
const maxResources = 12

func (a *api) readResources(at string, resources map[string]any, depth int) {
	if depth > maxResources {
		a.note(at, "left out: is nested too deeply")
		return
	}
	for _, name := range slices.Sorted(maps.Keys(resources)) {
		of := objectOf(resources[name])
		here := at + "." + clip(name, 60)
		a.readMethods(here+".methods", objectOf(of["methods"]))
		a.readResources(here+".resources", objectOf(of["resources"]), depth+1)
	}
}

func (a *api) readMethods(at string, defs map[string]any) {
	product := textOf(a.source.value("name")) + "."
	for _, name := range slices.Sorted(maps.Keys(defs)) {
		def := objectOf(defs[name])
		op := &operation{method: strings.ToUpper(textOf(def["httpMethod"])), path: "/" + strings.TrimPrefix(textOf(def["path"]), "/")}
		if !slices.Contains(methods(), op.method) {
			a.note(at+"."+clip(name, 60), "left out: httpMethod is none of "+strings.Join(methods(), ", "))
			continue
		}
		flat := textOf(def["flatPath"])
		if strings.Contains(op.path, "{+") && flat != "" {
			op.path = "/" + strings.TrimPrefix(flat, "/")
		}
		op.path = strings.NewReplacer("{+", "{", "{/", "/{").Replace(op.path)
		op.id = strings.TrimPrefix(textOf(def["id"]), product)
		op.name = nameOf(op.id, op.method, op.path)
		op.summary = cmp.Or(oneLine(textOf(def["description"]), 120), op.place())
		op.tags = []string{at}
		a.readDiscoveryParams(op, def)
		op.security = a.googleScopes(op.method, def)
		if ref := objectOf(def["request"]); len(ref) > 0 {
			op.body = &body{required: false, media: "application/json", schema: ref}
		}
		op.answer = &answer{}
		if ref := objectOf(def["response"]); len(ref) > 0 {
			op.answer.schema = ref
		}
		a.operations = append(a.operations, op)
	}
}

func (a *api) readDiscoveryParams(op *operation, def map[string]any) {
	given := objectOf(def["parameters"])
	for _, name := range slices.Sorted(maps.Keys(given)) {
		of := maps.Clone(objectOf(given[name]))
		p := &param{name: name, in: cmp.Or(textOf(of["location"]), "query"), description: textOf(of["description"])}
		p.required, _ = of["required"].(bool)
		if p.in == "path" && !strings.Contains(op.path, "{"+name+"}") {
			continue // the path is written with other names
		}
		delete(of, "required")
		p.schema = of
		if repeated, _ := of["repeated"].(bool); repeated {
			delete(of, "repeated")
			p.schema = map[string]any{"type": "array", "items": of}
		}
		op.params = append(op.params, p)
	}
}

// googleScopes chooses one of the scopes that Google takes one of: for a read
// one that only reads, otherwise the widest.
func (a *api) googleScopes(method string, def map[string]any) []requirement {
	best := ""
	for _, v := range listOf(def["scopes"]) {
		scope := textOf(v)
		reads := strings.HasSuffix(scope, ".readonly")
		switch {
		case method == "GET" && reads && !strings.HasSuffix(best, ".readonly"):
			best = scope
		case best == "" || method != "GET" && len(scope) < len(best) && !reads:
			best = scope
		}
	}
	if best == "" {
		return []requirement{}
	}
	return []requirement{{"oauth": {best}}}
}
