package sandbox

import (
	"bytes"
	"encoding/json"
	"mime"
	"mime/multipart"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/plugfn/plugfn/pkg/providers"
)

// params reads the parameters of an action back from a request: the inverse of
// [providers.Action.NewRequest].
type params struct {
	placed []placed
	body   providers.Encoding  // "" for no body
	types  map[string][]string // :: parameter → types that its schema allows; none: it does not say
	exact  bool                // whatever was sent can be read back as it was
}

// placed is a parameter outside of the body.
type placed struct {
	name           string
	prefix, suffix string
	text           func(segments []string, r *http.Request) string
}

func paramsOf(action *providers.Action) params {
	p := params{types: typesOf(action.Params), exact: true}
	for i, segment := range strings.Split(action.Request.Path.String(), "/") {
		p.place(segment, func(segments []string, _ *http.Request) string { return segments[i] })
	}
	for name, template := range action.Request.Query {
		p.place(template.String(), func(_ []string, r *http.Request) string { return r.URL.Query().Get(name) })
	}
	for name, template := range action.Request.Headers {
		p.place(template.String(), func(_ []string, r *http.Request) string { return r.Header.Get(name) })
	}
	if body := action.Request.Body; body != nil {
		p.body = body.Encoding
		keyed := action.Idempotency != nil && action.Idempotency.Field != "" // a member that is no parameter
		p.exact = p.exact && len(body.Omit) == 0 && !keyed && body.File == ""
	}
	for name, types := range p.types { // a text without a type may have been anything
		if len(types) == 0 && (p.body == providers.EncodingForm || p.isPlaced(name)) {
			p.exact = false
		}
	}
	return p
}

func (p *params) isPlaced(name string) bool {
	return slices.ContainsFunc(p.placed, func(at placed) bool { return at.name == name })
}

// place adds the parameter of a template. It cannot be read back from a
// template with several, or after a filter that loses something.
func (p *params) place(template string, text func([]string, *http.Request) string) {
	prefix, suffix, inside := around(template)
	if inside == "" {
		return
	}
	words := strings.Split(inside, "|")
	name, ok := strings.CutPrefix(strings.TrimSpace(words[0]), "params.")
	lossy := slices.ContainsFunc(words[1:], func(filter string) bool { return !strings.HasPrefix(strings.TrimSpace(filter), "default ") })
	if !ok || lossy || strings.Contains(inside, "}}") {
		p.exact = false
		return
	}
	p.placed = append(p.placed, placed{name, prefix, suffix, text})
}

// typesOf lists the types that a schema gives to the parameters.
func typesOf(schema *providers.Schema) map[string][]string {
	types := map[string][]string{}
	var s struct {
		Properties map[string]struct{ Type any }
	}
	if schema == nil || json.Unmarshal(schema.JSON(), &s) != nil {
		return types
	}
	for name, property := range s.Properties {
		types[name] = nil
		switch t := property.Type.(type) {
		case string:
			types[name] = []string{t}
		case []any:
			for _, one := range t {
				text, _ := one.(string)
				types[name] = append(types[name], text)
			}
		}
	}
	return types
}

// read returns the parameters of a request, or the answer that says why it is
// none. path is escaped and matches the action's.
func (p *params) read(path string, r *http.Request, body []byte) (map[string]any, *answer) {
	values, refusal := p.readBody(r.Header.Get("Content-Type"), body)
	if refusal != nil {
		return nil, refusal
	}
	segments := strings.Split(path, "/")
	for i, s := range segments {
		plain, err := url.PathUnescape(s)
		if err != nil {
			return nil, say(http.StatusBadRequest, "the path is not escaped well")
		}
		segments[i] = plain
	}
	for _, at := range p.placed {
		text := at.text(segments, r)
		if text = strings.TrimSuffix(strings.TrimPrefix(text, at.prefix), at.suffix); text != "" {
			values[at.name] = typed(p.types[at.name], text)
		}
	}
	return values, nil
}

func (p *params) readBody(contentType string, body []byte) (map[string]any, *answer) {
	values := map[string]any{}
	if p.body == "" {
		return values, nil
	}
	if p.body == providers.EncodingRaw {
		return values, nil
	}
	if p.body == providers.EncodingMultipart {
		return p.readParts(contentType, body)
	}
	want := "application/json"
	if p.body == providers.EncodingForm {
		want = "application/x-www-form-urlencoded"
	}
	if is, _, err := mime.ParseMediaType(contentType); err != nil || is != want {
		return nil, say(http.StatusUnsupportedMediaType, "the content type must be "+want)
	}
	if p.body == providers.EncodingForm {
		form, err := url.ParseQuery(string(body))
		if err != nil {
			return nil, say(http.StatusBadRequest, "the body is no form")
		}
		for name := range form {
			values[name] = typed(p.types[name], form.Get(name))
		}
		return values, nil
	}
	v, err := decode(body)
	object, ok := v.(map[string]any)
	if err != nil || !ok {
		return nil, say(http.StatusBadRequest, "the body is no JSON object")
	}
	return object, nil
}

// readParts reads the fields of a form; its file is left alone.
func (p *params) readParts(contentType string, body []byte) (map[string]any, *answer) {
	values := map[string]any{}
	is, of, err := mime.ParseMediaType(contentType)
	if err != nil || is != "multipart/form-data" || of["boundary"] == "" {
		return nil, say(http.StatusUnsupportedMediaType, "the content type must be multipart/form-data")
	}
	form, err := multipart.NewReader(bytes.NewReader(body), of["boundary"]).ReadForm(maxBody)
	if err != nil {
		return nil, say(http.StatusBadRequest, "the body is no form")
	}
	defer form.RemoveAll() //nolint:errcheck // it is in memory
	for name, texts := range form.Value {
		values[name] = typed(p.types[name], texts[0])
	}
	return values, nil
}

// typed is the value that was written as text, given the types it may have.
func typed(types []string, text string) any {
	v, err := decode([]byte(text))
	if err != nil {
		return text
	}
	var name string
	switch v := v.(type) {
	case json.Number:
		name = "number"
		if _, err := v.Int64(); err == nil && slices.Contains(types, "integer") {
			name = "integer"
		}
	case bool:
		name = "boolean"
	case []any:
		name = "array"
	case map[string]any:
		name = "object"
	}
	if slices.Contains(types, name) {
		return v
	}
	return text
}
