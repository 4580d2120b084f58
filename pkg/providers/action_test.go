package providers

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/plugfn/plugfn/pkg/events"
)

func TestValidate(t *testing.T) {
	a := lampAction(t)
	if err := a.Validate(json.RawMessage(`{"room":"hall","lamp":12345678901234567890,"note":null}`)); err != nil {
		t.Errorf("got %v", err)
	}
	for params, want := range map[string]string{
		`{}`:                             "/lamp: required, is missing; /room: required, is missing",
		`{"room":"hall"}`:                "/lamp: required, is missing",
		`{"room":1,"lamp":1}`:            "/room: must be string, is number",
		`{"room":"h","lamp":1,"colr":1}`: "/colr: unknown, did you mean color?",
		`null`:                           "body must be a JSON object",
		`"room"`:                         "body must be a JSON object",
		``:                               "body is not JSON: it ends too early",
		`{"room":"h","room":"i"}`:        `body has the key "room" twice`,
		`{"room":"h","lamp":1e9999}`:     "body has the number 1e9999, which is out of range",
		`{"room":"h","lamp":1,"scene":` + strings.Repeat(`{"a":`, 64) + `1` + strings.Repeat(`}`, 65): "body is nested deeper than 64 levels",
		`{"room":"` + strings.Repeat("h", maxParams) + `"}`:                                           "parameters are 1048587 bytes long, allowed are 1048576",
	} {
		err := a.Validate(json.RawMessage(params))
		var e *events.Error
		if !errors.As(err, &e) || e.Code != events.CodeInvalidParams || e.Retryable || e.Message != want {
			t.Errorf("%.60s gives %v, want %s", params, err, want)
		}
	}
}

func TestAttemptTimeout(t *testing.T) {
	plain := lampAction(t)
	pack := lampAction(t, "  request_id:", "  timeout: 5s\n  request_id:")
	own := lampAction(t, "  request_id:", "  timeout: 5s\n  request_id:", "    effect: idempotent", "    timeout: 2m\n    effect: idempotent")
	for want, a := range map[time.Duration]*Action{30 * time.Second: plain, 5 * time.Second: pack, 2 * time.Minute: own} {
		if got := a.AttemptTimeout(); got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	}
}

func TestPackFinds(t *testing.T) {
	p := mustLoad(t, change(t, minimal, "http:\n", "  - {id: nothing, type: none}\nhttp:\n"))
	if a, ok := p.Action("lamps.set"); !ok || a.Name != "lamps.set" || a.Pack() != p {
		t.Errorf("Action gives %v, %t", a, ok)
	}
	if _, ok := p.Action("lamps.get"); ok {
		t.Error("there is an action lamps.get")
	}
	if got := p.NearestAction("lamp.set"); got != "lamps.set" {
		t.Errorf("NearestAction gives %q", got)
	}
	for id, want := range map[string]string{"": "token", "token": "token", "nothing": "nothing"} {
		if a, ok := p.AuthByID(id); !ok || a.ID != want {
			t.Errorf("AuthByID(%q) gives %v, %t", id, a, ok)
		}
	}
	if _, ok := p.AuthByID("oauth"); ok {
		t.Error("there is an auth oauth")
	}
	if _, ok := new(Pack).AuthByID(""); ok {
		t.Error("an empty pack has an auth")
	}
}

func TestMatch(t *testing.T) {
	action := func(name, path string) string {
		return "  " + name + `:
    summary: s
    effect: idempotent
    params: {type: object, additionalProperties: false, required: [a], properties: {a: {type: string}}}
    request: {method: PUT, path: "` + path + `", query: {a: "{{params.a}}"}}
`
	}
	text := minimal + action("b.literal", "/rooms/hall/lamps/on") + action("c.mixed", "/rooms/r-{{params.a}}.x/lamps/on") +
		action("d.one", "/{{params.a}}") + action("e.same", "/{{params.a}}")
	p := mustLoad(t, text)
	for request, want := range map[string]string{
		"PUT /rooms/hall/lamps/1":      "lamps.set",
		"PUT /rooms/a%20b/lamps/1":     "lamps.set",
		"PUT /rooms/hall/lamps/on":     "b.literal",
		"PUT /rooms/r-1.x/lamps/on":    "c.mixed",
		"PUT /rooms/r-.x/lamps/on":     "lamps.set",
		"PUT /rooms":                   "d.one",
		"GET /rooms/hall/lamps/1":      "",
		"PUT /rooms/hall/lamps/1/more": "",
		"PUT /rooms/hall/lamps":        "",
		"PUT /rooms//lamps/1":          "",
		"PUT /":                        "",
		"PUT ":                         "",
	} {
		method, path, _ := strings.Cut(request, " ")
		got := ""
		if a, ok := p.Match(method, path); ok {
			got = a.Name
		}
		if got != want {
			t.Errorf("%s is %q, want %q", request, got, want)
		}
	}
}
