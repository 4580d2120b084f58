package draft

import (
	"cmp"
	"maps"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
)

// place says where the parameters of an action go in its request.
type place struct {
	path    string
	query   map[string]string // :: name → template
	headers map[string]string
}

// levels of schemas and schemas in the parameters of one action.
const (
	maxLevels  = 6
	maxSchemas = 400
)

// effectOf guesses what a repetition does.
func effectOf(method string) string {
	switch method {
	case http.MethodGet:
		return "read"
	case http.MethodPut, http.MethodDelete:
		return "idempotent"
	default:
		return "none"
	}
}

// action makes an action of an operation, or says why a pack cannot express it.
func (a *api) action(op *operation, d *Draft) (act *Action, why string) {
	act = &Action{
		Method: op.method, Path: op.path, Effect: effectOf(op.method), op: op,
		place:  place{query: map[string]string{}, headers: map[string]string{}},
		params: object{"type": "object", "additionalProperties": false, "properties": object{}}, example: map[string]any{},
	}
	if why = act.setPath(op); why != "" {
		return nil, why
	}
	c := &converter{source: a.source, depth: maxLevels, left: maxSchemas}
	own := a.bodyNames(op, c)
	for _, p := range op.params {
		if why = a.place(act, p, c, own, d); why != "" {
			return nil, why
		}
	}
	act.addPathParams()
	if why = a.setBody(act, op, c, d); why != "" {
		return nil, why
	}
	if c.cut > 0 {
		d.note(op.place(), "%d schemas are left open: they repeat themselves, or are too large", c.cut)
	}
	a.setAnswer(act, d)
	act.setSensitive()
	a.setActionScopes(act)
	return act, ""
}

var pathParam = regexp.MustCompile(`\{([^{}]*)\}`)

// setPath writes the path with templates.
func (act *Action) setPath(op *operation) string {
	path, fragment, _ := strings.Cut(op.path, "#")
	path, query, _ := strings.Cut(path, "?")
	if strings.Contains(fragment, "{") || strings.Contains(query, "{") {
		return "the path has parameters behind ? or #"
	}
	if fixed, err := url.ParseQuery(query); err == nil {
		for name := range fixed {
			act.place.query[name] = fixed.Get(name)
		}
	}
	for segment := range strings.SplitSeq(strings.TrimPrefix(strings.TrimSuffix(path, "/"), "/"), "/") {
		literal := pathParam.ReplaceAllString(segment, "")
		switch {
		case strings.Count(segment, "{") > 1:
			return "two parameters stand in one segment of the path: " + clip(segment, 80)
		case segment == "" && path != "/", literal == segment && (segment == "." || segment == ".."):
			return "a segment of the path is empty or only dots"
		case strings.ContainsFunc(literal, func(r rune) bool { return !isPathRune(r) }):
			return "a segment of the path holds more than letters, digits and -._~:@!$&'()*+,;=: " + clip(segment, 80)
		}
	}
	act.place.path = pathParam.ReplaceAllStringFunc(path, func(field string) string {
		return "{{params." + paramName(strings.Trim(field, "{}")) + "}}"
	})
	return ""
}

func isPathRune(r rune) bool {
	return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("-._~:@!$&'()*+,;=", r)
}

// addPathParams declares what the path names and the description forgot.
func (act *Action) addPathParams() {
	for _, m := range pathParam.FindAllStringSubmatch(act.Path, -1) {
		if name := paramName(m[1]); strings.Contains(act.place.path, "{{params."+name+"}}") && act.properties()[name] == nil {
			act.properties()[name] = object{"type": "string"}
			act.require(name)
		}
	}
}

func (act *Action) properties() object { return act.params["properties"].(object) }

func (act *Action) require(name string) {
	if list := listOf(act.params["required"]); !slices.Contains(list, any(name)) {
		act.params["required"] = append(list, name)
	}
}

// bodyNames are the names that the body has for itself.
func (a *api) bodyNames(op *operation, c *converter) object {
	if op.body == nil || op.method == http.MethodGet || op.method == http.MethodDelete {
		return object{}
	}
	look := *c
	schema := look.convert(op.body.schema)
	return objectOf(schema["properties"])
}

// place puts one parameter into the request.
func (a *api) place(act *Action, p *param, c *converter, own object, d *Draft) (why string) {
	if p.name == "" {
		return ""
	}
	if a.isCredential(p) {
		return ""
	}
	if p.in == "header" && isFramed(p.name) {
		return ""
	}
	if p.in != "path" && p.in != "query" && p.in != "header" {
		return leaveOut(act, p, d, "a pack sends no parameter in "+cmp.Or(clip(p.in, 20), "an unknown place"))
	}
	schema, why := a.scalar(p, c)
	if why != "" {
		return leaveOut(act, p, d, why)
	}
	name := paramName(p.name)
	if own[name] != nil || act.properties()[name] != nil {
		if p.in == "path" && own[name] != nil && act.properties()[name] == nil {
			act.place.path = strings.ReplaceAll(act.place.path, "{{params."+name+"}}", "{{params.path_"+name+"}}")
		}
		name = p.in + "_" + name
	}
	if act.properties()[name] != nil || len(name) > 64 {
		return leaveOut(act, p, d, "another parameter has its name")
	}
	field := "{{params." + name + "}}"
	switch p.in {
	case "path":
		if !strings.Contains(act.place.path, field) {
			return "" // of another path
		}
		p.required = true
	case "query":
		if _, fixed := act.place.query[p.name]; fixed {
			return ""
		}
		act.place.query[p.name] = field
	case "header":
		if !isHeader(p.name) {
			return leaveOut(act, p, d, "its name is none that a pack may send")
		}
		act.place.headers[p.name] = field
	}
	if text := oneLine(p.description, maxDescription); text != "" {
		if was := textOf(schema["description"]); was != "" && schema["joined"] != nil {
			text = clip(text, maxDescription-len(was)-1) + " " + was
		}
		schema["description"] = text
	}
	delete(schema, "joined")
	act.properties()[name] = schema
	if p.required {
		act.require(name)
	}
	return ""
}

// leaveOut does without a parameter that nobody has to give.
func leaveOut(act *Action, p *param, d *Draft, why string) string {
	if p.required {
		return "the required parameter " + clip(p.name, 60) + " in " + p.in + " cannot be sent: " + why
	}
	d.note(act.op.place(), "the parameter %s is left out: %s", clip(p.name, 60), why)
	return ""
}

// scalar is the schema of a parameter that is one text in the request.
func (a *api) scalar(p *param, c *converter) (object, string) {
	schema := c.convert(p.schema)
	types := typesOf(schema)
	switch {
	case p.deep || slices.Contains(types, "object") || objectOf(schema["properties"]) != nil:
		return nil, "it is an object, which has no text of its own"
	case slices.Contains(types, "array"):
		return listParam(p, schema)
	}
	delete(schema, "items")
	if variants := listOf(schema["anyOf"]); len(variants) > 0 && len(types) == 0 {
		types = scalarsOf(variants)
		delete(schema, "anyOf")
		if len(types) == 0 {
			types = []string{"string"}
		}
	}
	kept := []any{}
	for _, t := range types {
		if isScalarType(t) && !slices.Contains(kept, any(t)) {
			kept = append(kept, t)
		}
	}
	switch len(kept) {
	case 0:
		schema["type"] = "string"
		if values := listOf(schema["enum"]); len(values) > 0 {
			setTexts(schema, values)
		}
		delete(schema, "default")
	case 1:
		schema["type"] = kept[0]
	default:
		schema["type"] = kept
	}
	if values := listOf(schema["enum"]); len(values) > 0 && values[len(values)-1] == nil {
		schema["enum"] = values[:len(values)-1]
	}
	return schema, ""
}

func setTexts(schema object, values []any) {
	var texts []any
	for _, v := range values {
		if text := scalarText(v); text != "" && !slices.Contains(texts, any(text)) {
			texts = append(texts, text)
		}
	}
	if schema["enum"] = texts; len(texts) == 0 {
		delete(schema, "enum")
	}
}

// scalarsOf are the types of single values among variants.
func scalarsOf(variants []any) []string {
	var types []string
	for _, v := range variants {
		for _, t := range typesOf(objectOf(v)) {
			if isScalarType(t) && !slices.Contains(types, t) {
				types = append(types, t)
			}
		}
	}
	return types
}

// listParam makes one text of a list: its items joined, or one item where the
// parameter would be repeated.
func listParam(p *param, schema object) (object, string) {
	items := objectOf(schema["items"])
	types := typesOf(items)
	if slices.Contains(types, "object") || slices.Contains(types, "array") {
		return nil, "it is a list of what has no text of its own"
	}
	if p.joined == "" {
		out := object{"type": "string", "description": "One value.", "joined": true}
		if len(types) == 1 && isScalarType(types[0]) {
			out["type"] = types[0]
			if values := listOf(items["enum"]); len(values) > 0 {
				out["enum"] = values
			}
		}
		return out, ""
	}
	text := "Several are joined by " + map[string]string{",": "commas", " ": "spaces", "|": "|", "\t": "tabs"}[p.joined] + "."
	if values := listOf(items["enum"]); len(values) > 0 && len(values) <= 8 {
		var words []string
		for _, v := range values {
			words = append(words, scalarText(v))
		}
		text = "Of " + clip(strings.Join(words, ", "), 80) + ". " + text
	}
	return object{"type": "string", "description": text, "joined": true}, ""
}

// isFramed reports whether a header is what PlugFn or HTTP itself sets, so that
// nobody misses it among the parameters.
func isFramed(name string) bool {
	switch strings.ToLower(name) {
	case "accept", "content-type", "authorization", "user-agent", "content-length", "host", "accept-encoding", "connection", "expect",
		"x-amz-content-sha256", "x-amz-date", "x-amz-algorithm", "x-amz-credential", "x-amz-security-token", "x-amz-signature", "x-amz-signedheaders":
		return true
	}
	return false
}

// isHeader reports whether a pack may send a header of that name.
func isHeader(name string) bool {
	lower := strings.ToLower(name)
	for _, taken := range []string{
		"cookie", "idempotency-key", "x-idempotency-key", "keep-alive", "transfer-encoding", "te", "trailer", "upgrade", "forwarded", "via",
	} {
		if lower == taken {
			return false
		}
	}
	return !strings.HasPrefix(lower, "proxy-") && !strings.HasPrefix(lower, "x-forwarded-") && headerName.MatchString(name)
}

var headerName = regexp.MustCompile(`^[A-Za-z0-9-]{1,100}$`)

// setSensitive names parameters that no log should show.
func (act *Action) setSensitive() {
	for _, name := range slices.Sorted(maps.Keys(act.properties())) {
		if types := typesOf(objectOf(act.properties()[name])); secretName.MatchString(name) && slices.Contains(types, "string") {
			act.sensitive = append(act.sensitive, "/"+name)
		}
	}
}

var secretName = regexp.MustCompile(`(?i)(password|passwd|passphrase|secret|private_?key|access_?token|refresh_?token|api_?key|^cvc$|^ssn$)`)
