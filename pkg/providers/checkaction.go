package providers

import (
	"maps"
	"net/http"
	"slices"
	"strings"

	"github.com/plugfn/plugfn/pkg/providers/nearest"
)

func (a *Action) check(path string, r report) {
	if a.Summary == "" {
		r(path+".summary", "is missing")
	}
	checkLink(path+".docs", a.Docs, r)
	if !slices.Contains(effects(), a.Effect) {
		r(path+".effect", "must be %s, %s, %s, %s or %s", EffectRead, EffectIdempotent, EffectKeyed, EffectReconcile, EffectNone)
	}
	if !a.Result.IsZero() && a.Result.kind != sourceJSON {
		r(path+".result", "must be json:/pointer")
	}
	checkTimeout(path+".timeout", a.Timeout, r)
	if a.Params == nil {
		r(path+".params", "is missing")
		a.Params = &Schema{}
	} else {
		a.Params.checkParams(path+".params", r)
	}
	a.checkSensitive(path, r)
	a.checkPaginate(path+".paginate", r)
	a.checkCache(path, r)
	a.checkOrderBy(path+".order_by", r)
	a.checkRequest(path+".request", r)
	a.checkFiles(path, r)
	a.checkIdempotency(path+".idempotency", r)
	if a.Retry.Attempts < 0 || a.Retry.Attempts > maxAttempts {
		r(path+".retry.attempts", "must be from 1 to %d", maxAttempts)
	}
	checkTimeout(path+".retry.base", a.Retry.Base, r)
}

// maxAttempts is the most that an action or a request may ask for.
const maxAttempts = 100

func (a *Action) checkSensitive(path string, r report) {
	for i, pointer := range a.Sensitive {
		tokens, err := parsePointer(pointer)
		if err != nil || !a.Params.hasPointer(tokens) {
			r(item(path+".sensitive", i), "must be the JSON pointer of a parameter, such as /text")
		}
	}
}

func (a *Action) checkRequest(path string, r report) {
	req := &a.Request
	a.checkMethod(path, r)
	if req.Path.IsZero() {
		r(path+".path", "is missing")
		return
	}
	if err := req.compilePath(); err != nil {
		r(path+".path", "%v", err)
		return
	}
	a.checkFields(path+".path", req.Path, r)
	for _, field := range req.Path.fields() {
		if name := strings.TrimPrefix(field, "params."); !a.Params.requires(name) {
			r(path+".path", "%s stands in the path: params.required must list it", name)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(req.Query)) {
		a.checkFields(path+".query."+name, req.Query[name], r)
	}
	checkHeaderNames(path+".headers", maps.Keys(req.Headers), r)
	for _, name := range slices.Sorted(maps.Keys(req.Headers)) {
		a.checkFields(path+".headers."+name, req.Headers[name], r)
	}
	a.checkBody(path, r)
}

func (a *Action) checkMethod(path string, r report) {
	switch a.Request.Method {
	case http.MethodGet, http.MethodHead, http.MethodDelete:
		if a.Request.Body != nil {
			r(path+".body", "has no place in %s", a.Request.Method)
		}
		if a.Effect != EffectRead && a.Effect != EffectIdempotent && a.Request.Method != http.MethodDelete {
			r(path+".method", "%s is repeated by net/http on its own, so the effect must be %s or %s",
				a.Request.Method, EffectRead, EffectIdempotent)
		}
	case http.MethodPost, http.MethodPut, http.MethodPatch:
	default:
		r(path+".method", "must be GET, HEAD, POST, PUT, PATCH or DELETE")
	}
}

// checkFields judges a template that stands in the path, the query or a header.
func (a *Action) checkFields(path string, t Template, r report) {
	for _, field := range t.fields() {
		name, ok := strings.CutPrefix(field, "params.")
		if !ok {
			r(path, "{{%s}} is not known here, only {{params.NAME}}", field)
			continue
		}
		property, ok := a.Params.properties()[name]
		if !ok {
			r(path, "{{%s}}: params has no property %s%s", field, name, nearest.Hint(name, maps.Keys(a.Params.properties())))
			continue
		}
		if !isScalarSchema(property) {
			r(path, "{{%s}}: params.properties.%s must have type string, integer, number or boolean", field, name)
		}
	}
}

// isScalarSchema reports whether a property has a text of its own.
func isScalarSchema(property any) bool {
	schema, _ := property.(map[string]any)
	types, ok := schema["type"].([]any)
	if !ok {
		types = []any{schema["type"]}
	}
	for _, t := range types {
		switch t {
		case "string", "integer", "number", "boolean", "null":
		default:
			return false
		}
	}
	return len(types) > 0
}

// checkBody also finds parameters that would be sent nowhere.
func (a *Action) checkBody(path string, r report) {
	body := a.Request.Body
	if body == nil {
		placed := a.Request.placed()
		for _, name := range slices.Sorted(maps.Keys(a.Params.properties())) {
			if !slices.Contains(placed, name) {
				r(path, "the parameter %s is sent nowhere: use it in path, query or headers, or add a body", name)
			}
		}
		return
	}
	checkWord(path+".body.encoding", string(body.Encoding), r, string(EncodingJSON), string(EncodingForm), string(EncodingRaw), string(EncodingMultipart))
	for i, name := range body.Omit {
		if _, ok := a.Params.properties()[name]; !ok {
			r(item(path+".body.omit", i), "%s is no parameter%s", name, nearest.Hint(name, maps.Keys(a.Params.properties())))
		}
	}
}
