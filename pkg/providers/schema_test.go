package providers

import (
	"encoding/json"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"
)

func parseSchema(t *testing.T, text string) *Schema {
	t.Helper()
	var node yaml.Node
	if err := yaml.Unmarshal([]byte(text), &node); err != nil {
		t.Fatal(err)
	}
	var s Schema
	if err := s.UnmarshalYAML(node.Content[0]); err != nil {
		t.Fatal(err)
	}
	return &s
}

const lampSchema = `
type: object
additionalProperties: false
required: [room, lamp]
anyOf: [{required: [on]}, {required: [color]}]
properties:
  room: {type: string, minLength: 2, maxLength: 5, pattern: "^[a-z]+$"}
  lamp: {type: integer, minimum: 1, exclusiveMaximum: 10}
  "on": {type: boolean}
  color: {enum: [red, green, null]}
  since: {type: string, format: date-time}
  tags: {type: array, minItems: 1, maxItems: 3, uniqueItems: true, items: {type: string}}
  power: {type: number, multipleOf: 0.5, maximum: 99.5}
  deep: {type: object, properties: {"a/b~c": {type: string}}, maxProperties: 2, minProperties: 1}
  id: {oneOf: [{type: string}, {type: integer}, {type: number}]}
  self: {$ref: "#/properties/deep"}
  mode: {const: auto}
  first: {type: string}
  last: {type: string}
dependentRequired: {first: [last]}
`

func TestSchemaNamesProblems(t *testing.T) {
	s := parseSchema(t, lampSchema)
	right := `"room":"hall","lamp":1,"on":true`
	tests := map[string]string{
		`{` + right + `}`: "",
		`{` + right + `,"color":null,"since":"2026-01-02T03:04:05Z","tags":["a"],"power":1.5,"deep":{"x":1},"id":"a","mode":"auto"}`: "",
		`{}`:                                                        "/: needs one of on, color; /lamp: required, is missing; /room: required, is missing",
		`{"lamp":1,"on":true}`:                                      "/room: required, is missing",
		`{"room":"hall","lamp":1}`:                                  "/: needs one of on, color",
		`{` + right + `,"colour":1}`:                                "/colour: unknown, did you mean color?",
		`{` + right + `,"xyz":1}`:                                   "/xyz: unknown",
		`{"room":5,"lamp":1,"on":true}`:                             "/room: must be string, is number",
		`{"room":"h","lamp":1,"on":true}`:                           "/room: must have at least 2 characters",
		`{"room":"hallway","lamp":1,"on":true}`:                     "/room: must have at most 5 characters",
		`{"room":"Hall","lamp":1,"on":true}`:                        "/room: must match ^[a-z]+$",
		`{"room":"hall","lamp":1.5,"on":true}`:                      "/lamp: must be integer, is number",
		`{"room":"hall","lamp":0,"on":true}`:                        "/lamp: must be at least 1",
		`{"room":"hall","lamp":10,"on":true}`:                       "/lamp: must be less than 10",
		`{` + right + `,"color":"blue"}`:                            `/color: must be one of "red", "green", null`,
		`{` + right + `,"since":"yesterday"}`:                       "/since: must be a valid date-time",
		`{` + right + `,"tags":[]}`:                                 "/tags: must have at least 1 item",
		`{` + right + `,"tags":["a","b","c","d"]}`:                  "/tags: must have at most 3 items",
		`{` + right + `,"tags":["a","a"]}`:                          "/tags: must not repeat an item",
		`{` + right + `,"tags":["a",2]}`:                            "/tags/1: must be string, is number",
		`{` + right + `,"power":0.7}`:                               "/power: must be a multiple of 0.5",
		`{` + right + `,"power":100}`:                               "/power: must be at most 99.5",
		`{` + right + `,"deep":{"a/b~c":1}}`:                        "/deep/a~1b~0c: must be string, is number",
		`{` + right + `,"deep":{}}`:                                 "/deep: must have at least 1 member",
		`{` + right + `,"self":{"1":1,"2":2,"3":3}}`:                "/self: must have at most 2 members",
		`{` + right + `,"id":5}`:                                    "/id: must be in exactly one of the allowed forms",
		`{` + right + `,"mode":"manual"}`:                           `/mode: must be "auto"`,
		`{` + right + `,"first":"a"}`:                               "/: needs last as well",
		`{` + right + `,"a":1,"b":1,"c":1,"d":1,"e":1,"f":1,"g":1}`: "/a: unknown; /b: unknown; /c: unknown; /d: unknown; /e: unknown; and 2 more",
		`[]`: "/: must be object, is array",
	}
	for data, want := range tests {
		got := ""
		if err := s.Check(json.RawMessage(data)); err != nil {
			got = err.Error()
		}
		if got != want {
			t.Errorf("%s\n got %s\nwant %s", data, got, want)
		}
	}
}

func TestSchemaQuotesNoValue(t *testing.T) {
	s := parseSchema(t, lampSchema)
	for _, data := range []string{
		`{"room":"SECRET"}`, `{"room":"hall","lamp":1,"color":"SECRET"}`, `{"since":"SECRET"}`, `{"mode":"SECRET"}`,
		`{"id":{"SECRET":1}}`, `{"tags":["SECRET","SECRET"]}`, `{"room":{"a":"SECRET"}}`,
	} {
		err := s.Check(json.RawMessage(data))
		if err == nil || strings.Contains(err.Error(), "SECRET") {
			t.Errorf("%s gives %v", data, err)
		}
	}
}

func TestSchemaBoundsNames(t *testing.T) {
	s := parseSchema(t, lampSchema)
	err := s.Check(json.RawMessage(`{"` + strings.Repeat("x", 10_000) + `":1,"a\u001b[31m\nb":1}`))
	if err == nil || len(err.Error()) > 500 || strings.ContainsAny(err.Error(), "\x1b\n") {
		t.Errorf("got %q", err)
	}
}

func TestSchemaJSON(t *testing.T) {
	s := parseSchema(t, "{type: object, properties: {a: {type: integer, maximum: 12345678901234567890}}}")
	want := `{"properties":{"a":{"maximum":12345678901234567890,"type":"integer"}},"type":"object"}`
	if got := string(s.JSON()); got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

func TestSchemaRefusesWhenLoaded(t *testing.T) {
	for text, want := range map[string]string{
		`[]`:                           "must be a schema",
		`text`:                         "must be a schema",
		`true`:                         "must be a schema",
		`{properties: {a: 5}}`:         "properties: a: must be a schema, is a single value",
		`{items: [{typ: string}]}`:     "items: must be a schema, is a list",
		`{allOf: [{}, {typ: string}]}`: `allOf: 1: unknown keyword "typ", did you mean type?`,
		`{$defs: {a: {not: {x: 1}}}}`:  `$defs: a: not: unknown keyword "x"`,
		`{$id: "https://x.example/"}`:  `unknown keyword "$id"`,
		`{$schema: "http://json-schema.org/draft-07/schema#"}`:   "$schema: must be https://json-schema.org/draft/2020-12/schema",
		`{$ref: "https://json-schema.org/draft/2020-12/schema"}`: "$ref: must begin with #",
		`{type: strin}`:           "/type: is in none of the allowed forms",
		`{enum: 5}`:               "/enum: must be array, is number",
		`{default: .nan}`:         ".nan is no number of JSON",
		`{default: 2026-01-02}`:   `must be in quotes: write "2026-01-02"`,
		`{default: {1: 2}}`:       `must be a text: write "1"`,
		`{default: {a: 1, a: 2}}`: "a is given twice",
		`{const: 0x1F}`:           "0x1F is no number of JSON",
		strings.Repeat("{not: ", 70) + "{}" + strings.Repeat("}", 70): "is nested deeper than 64 levels",
	} {
		var node yaml.Node
		if err := yaml.Unmarshal([]byte(text), &node); err != nil {
			t.Fatal(err)
		}
		err := new(Schema).UnmarshalYAML(node.Content[0])
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%.60s gives %v, want %s", text, err, want)
		}
	}
}
