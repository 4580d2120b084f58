package contract

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"slices"

	"github.com/danielgtaylor/huma/v2"

	"github.com/plugfn/plugfn/services/auth"
	"github.com/plugfn/plugfn/services/scheduler/runs"
	"github.com/plugfn/plugfn/services/scheduler/schedules"
	"github.com/plugfn/plugfn/services/scheduler/workflows"
)

// OpenAPI describes the HTTP side: the operations of all services below /v1, and
// the routes that take no JSON.
func OpenAPI() ([]byte, error) {
	whole, err := documentOf(auth.OpenAPI())
	if err != nil {
		return nil, err
	}
	for _, one := range []struct {
		name string
		doc  *huma.OpenAPI
	}{{"Schedules", schedules.OpenAPI()}, {"Workflows", workflows.OpenAPI()}, {"Runs", runs.OpenAPI()}} {
		part, err := documentOf(one.doc)
		if err != nil {
			return nil, err
		}
		if whole, err = join(whole, part, one.name); err != nil {
			return nil, err
		}
	}
	maps.Copy(child(whole, "paths"), plainRoutes())
	return text(whole)
}

func documentOf(doc *huma.OpenAPI) (map[string]any, error) {
	raw, err := json.Marshal(doc)
	if err != nil {
		return nil, err
	}
	var plain map[string]any
	return plain, json.Unmarshal(raw, &plain)
}

func child(m map[string]any, name string) map[string]any {
	inner, _ := m[name].(map[string]any)
	return inner
}

// join adds part to whole. A schema of part whose name is taken by another one
// gets the name of the part in front.
func join(whole, part map[string]any, name string) (map[string]any, error) {
	schemas := child(child(whole, "components"), "schemas")
	for _, own := range slices.Sorted(maps.Keys(child(child(part, "components"), "schemas"))) {
		if taken, ok := schemas[own]; !ok || same(taken, child(child(part, "components"), "schemas")[own]) {
			continue
		}
		raw, err := json.Marshal(part)
		if err != nil {
			return nil, err
		}
		raw = bytes.ReplaceAll(raw, []byte(`"#/components/schemas/`+own+`"`), []byte(`"#/components/schemas/`+name+own+`"`))
		part = nil
		if err := json.Unmarshal(raw, &part); err != nil {
			return nil, err
		}
		of := child(child(part, "components"), "schemas")
		of[name+own] = of[own]
		delete(of, own)
	}
	maps.Copy(schemas, child(child(part, "components"), "schemas"))
	for path, item := range child(part, "paths") {
		if _, twice := child(whole, "paths")[path]; twice {
			return nil, fmt.Errorf("two services have %s", path)
		}
		child(whole, "paths")[path] = item
	}
	return whole, nil
}

func same(a, b any) bool {
	x, errX := json.Marshal(a)
	y, errY := json.Marshal(b)
	return errX == nil && errY == nil && bytes.Equal(x, y)
}

// plainRoutes are those that take no JSON and want no API key.
func plainRoutes() map[string]any {
	route := func(id, method, summary string, statuses map[string]string, parameters ...string) map[string]any {
		answers := map[string]any{}
		for status, says := range statuses {
			answers[status] = map[string]any{"description": says}
		}
		op := map[string]any{"operationId": id, "summary": summary, "security": []any{}, "responses": answers}
		var all []any
		for _, name := range parameters {
			all = append(all, map[string]any{"name": name, "in": "path", "required": true, "schema": map[string]any{"type": "string"}})
		}
		if len(all) > 0 {
			op["parameters"] = all
		}
		return map[string]any{method: op}
	}
	delivered := map[string]string{
		"200": "It is stored, or it was a handshake.", "401": "Its signature is wrong.", "404": "There is no such provider or endpoint.",
		"413": "It is too large.", "415": "Its type is none that the provider sends.", "429": "Too much at once: see Retry-After.", "503": "It cannot be stored now: see Retry-After.",
	}
	page := map[string]string{"200": "A page.", "302": "On to the provider, or back to the application.", "400": "The link is not valid, or was used."}
	health := map[string]string{"200": "Good.", "503": "Not yet, or not any more."}
	return map[string]any{
		"/webhooks/{provider}":            route("deliver", "post", "Takes a delivery of an app. The body is what the provider signed, byte for byte", delivered, "provider"),
		"/webhooks/{provider}/{endpoint}": route("deliver-to-endpoint", "post", "Takes a delivery of one connection's endpoint", delivered, "provider", "endpoint"),
		"/oauth/callback/{provider}":      route("callback", "get", "Where a provider sends a browser back to", page, "provider"),
		"/connect/{session}":              route("connect", "get", "A page that lets a user choose what to connect", page, "session"),
		"/connect/{session}/{provider}":   route("connect-provider", "get", "A page that connects one account", page, "session", "provider"),
		"/livez":                          route("live", "get", "Whether the process answers at all", health),
		"/readyz":                         route("ready", "get", "Whether it takes work", health),
		"/startupz":                       route("started", "get", "Whether it was ready once", health),
		"/metrics":                        route("scrape", "get", "Metrics for Prometheus", health),
	}
}
