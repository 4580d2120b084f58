package codegen_test

import (
	"errors"
	"go/ast"
	"go/parser"
	"go/token"
	"go/types"
	"maps"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/google/go-cmp/cmp"

	"github.com/plugfn/plugfn/cmd/plugfn/codegen"
	"github.com/plugfn/plugfn/pkg/providers"
	"github.com/plugfn/plugfn/pkg/providers/catalog"
)

// nothing imports no package: the type checker then takes what is used of it as
// right, and checks all else.
type nothing struct{}

func (nothing) Import(string) (*types.Package, error) { return nil, errors.New("is not looked for") }

// compiles checks that files are one package without a mistake of its own.
func compiles(t testing.TB, files map[string][]byte) {
	t.Helper()
	set := token.NewFileSet()
	var parsed []*ast.File
	for _, name := range slices.Sorted(maps.Keys(files)) {
		f, err := parser.ParseFile(set, name, files[name], parser.ParseComments)
		if err != nil {
			t.Fatalf("%v\n%s", err, files[name])
		}
		parsed = append(parsed, f)
	}
	check := types.Config{Importer: nothing{}, Error: func(err error) {
		if !strings.Contains(err.Error(), "is not looked for") {
			t.Errorf("%v", err)
		}
	}}
	_, _ = check.Check("p", set, parsed, nil) // each error was reported
}

func TestEveryPackBecomesCode(t *testing.T) {
	packs, err := providers.LoadAll(catalog.FS)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range slices.Sorted(maps.Keys(packs)) {
		files := generate(t, packs[name], "p")
		compiles(t, files)
		if diff := cmp.Diff(files, generate(t, packs[name], "p")); diff != "" {
			t.Errorf("%s: the second time it is different:\n%s", name, diff)
		}
	}
}

const packHead = `apiVersion: plugfn.dev/v1
kind: Provider
name: odd
version: 1.0.0
display: {name: "Odd */ thing", docs: "https://odd.example/docs"}
event_prefix: example.odd
auth: [{id: token, type: api_key, apply: {header: Authorization, value: "Bearer {{credential.token}}"}}]
http: {base_url: https://api.odd.example}
webhooks:
  bodies: [json]
  verify: [{scheme: hmac, hash: sha256, signature: {from: header:X-Sign, encoding: hex}, message: [{body: raw}]}]
  delivery_id: [header:X-Id]
  event: [json:/event]
actions:
`

const packAction = `
    effect: none
    request: {method: POST, path: /x, body: {encoding: json}}
    params: `

const oddPack = packHead + `
  client:
    summary: "A */ comment that ends ` + "`early`" + `"` + packAction + `
      type: object
      additionalProperties: false
      required: [new, type]
      properties:
        new: {type: string}
        type: {enum: [a, A, "+1", "-1", "", "*/", "é", "日本"]}
        a-b: {type: boolean, description: "*/ func init() {}"}
        a_b: {type: integer}
        aB: {type: number}
        extra: {type: object, properties: {Extra: {type: string}, 'quo"te': {type: string}, "ti` + "`" + `ck": {type: string}, "-": {type: string}, "": {type: string}}}
        self: {$ref: "#/$defs/node"}
        when: {type: [string, "null"], format: date-time}
        all: {allOf: [{$ref: "#/$defs/loop"}, {properties: {x: {type: string}}, required: [x]}]}
      $defs:
        node: {type: object, required: [next], properties: {next: {$ref: "#/$defs/node"}, list: {type: array, items: {$ref: "#/$defs/node"}}}}
        loop: {allOf: [{$ref: "#/$defs/loop"}, {$ref: "#/$defs/loop"}]}
  client.new:
    summary: One whose group has the name of an action` + packAction + `{type: object, additionalProperties: false}
  client.new.all:
    summary: Deeper` + packAction + `{type: object, additionalProperties: false}
  clientNew:
    summary: The same name in code` + packAction + `{type: object, additionalProperties: false}
triggers:
  on.x:
    summary: Something
    docs: https://odd.example/docs
    schema: {type: array, items: {type: object, properties: {"1st": {type: string}, const: {const: 5}, choice: {enum: [1, 2]}, mixed: {enum: [1, a]}}}}
  onX:
    summary: Something else
    docs: https://odd.example/docs
    schema: {$ref: "#/$defs/node", $defs: {node: {type: object, properties: {up: {$ref: "#"}, name: {type: string}}}}}
`

func TestOddNamesBecomeCode(t *testing.T) {
	pack, err := providers.Load(fstest.MapFS{"odd/provider.yaml": {Data: []byte(oddPack)}}, "odd")
	if err != nil {
		t.Fatal(err)
	}
	files := generate(t, pack, "odd")
	compiles(t, files)
	for name, text := range files {
		if strings.Contains(string(text), "\nfunc init()") {
			t.Errorf("%s: a text of the pack became code", name)
		}
	}
	api, err := codegen.Read(pack)
	if err != nil {
		t.Fatal(err)
	}
	ts := string(codegen.TypeScript(api))
	if opened, closed := strings.Count(ts, "/**"), strings.Count(ts, "*/"); opened != closed-2 { // one is a value in quotes, one stands behind //
		t.Errorf("%d comments begin and %d end:\n%s", opened, closed, ts)
	}
}

// FuzzSchema gives an action parameters of any schema: whatever the loader takes
// becomes code that compiles.
func FuzzSchema(f *testing.F) {
	for _, seed := range []string{
		`{"type":"object","additionalProperties":false,"properties":{"a":{"type":["string","null"]},"b":{"$ref":"#/properties/a"}}}`,
		`{"type":"object","additionalProperties":false,"properties":{"a":{"anyOf":[{"$ref":"#"},{"type":"null"}]}},"required":["a"]}`,
		`{"type":"object","additionalProperties":false,"properties":{"a":{"items":{"enum":["x","X"]}},"b":true,"c":false}}`,
		`{"type":"object","additionalProperties":false,"properties":{"a":{"allOf":[{"$ref":"#/properties/a"},{"$ref":"#/properties/a"}]}}}`,
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, schema string) {
		if strings.ContainsAny(schema, "\n\r") {
			return
		}
		text := packHead + "  do:\n    summary: Do" + packAction + schema + "\n"
		pack, err := providers.Load(fstest.MapFS{"odd/provider.yaml": {Data: []byte(text)}}, "odd")
		if err != nil {
			return
		}
		compiles(t, generate(t, pack, "p"))
	})
}
