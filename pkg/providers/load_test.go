package providers

import (
	"fmt"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/google/go-cmp/cmp"
)

// minimal is a small correct pack. Tests change one thing about it.
const minimal = `apiVersion: plugfn.dev/v1
kind: Provider
name: lamp
version: 1.0.0
display: {name: Lamp, docs: "https://lamp.example/docs"}
auth:
  - id: token
    type: api_key
    apply: {header: Authorization, value: "Bearer {{credential.token}}"}
http:
  base_url: https://api.lamp.example/v1
  headers: {Lamp-Version: "3"}
  success: status == 200
  errors:
    - {when: status == 418, code: rate_limited}
  request_id: header:X-Request-Id
actions:
  lamps.set:
    summary: Set a lamp
    effect: idempotent
    params:
      type: object
      additionalProperties: false
      required: [room, lamp]
      properties:
        room: {type: string}
        lamp: {type: integer, minimum: 1}
        color: {type: string, maxLength: 20}
        why: {type: string}
        scene: {type: [object, "null"]}
        note: {type: [string, "null"]}
    request:
      method: PUT
      path: /rooms/{{params.room}}/lamps/{{params.lamp}}
      query: {why: "{{params.why}}"}
      body: {encoding: json, omit: [note]}
    sensitive: [/color]
`

func mapFS(text string) fstest.MapFS {
	return fstest.MapFS{"lamp/provider.yaml": {Data: []byte(text)}}
}

func loadText(t *testing.T, text string) (*Pack, error) {
	t.Helper()
	return Load(mapFS(text), "lamp")
}

func mustLoad(t *testing.T, text string) *Pack {
	t.Helper()
	p, err := loadText(t, text)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// change replaces the one place where old stands.
func change(t *testing.T, text, old, replacement string) string {
	t.Helper()
	if strings.Count(text, old) != 1 {
		t.Fatalf("%q stands %d times in the pack", old, strings.Count(text, old))
	}
	return strings.Replace(text, old, replacement, 1)
}

func TestLoadSaysWhatIsWrong(t *testing.T) {
	tests := []struct{ name, old, new, want string }{
		{"not yaml", "kind: Provider\n", "kind: [Provider\n", // the parser names the line before
			`lamp/provider.yaml:1: did not find expected ',' or ']'`},
		{
			"unknown key", "kind: Provider\n", "kind: Provider\nwebhook: {}\n",
			`lamp/provider.yaml:3: webhook: unknown key, did you mean webhooks?`,
		},
		{
			"unknown key inside", "    effect: idempotent\n", "    efect: idempotent\n",
			"lamp/provider.yaml:18: actions.lamps.set.effect: must be read, idempotent, keyed, reconcile or none\n" +
				"lamp/provider.yaml:20: actions.lamps.set.efect: unknown key, did you mean effect?",
		},
		{
			"repeated key", "kind: Provider\n", "kind: Provider\nkind: Provider\n",
			`lamp/provider.yaml:3: kind: is given twice`,
		},
		{
			"repeated action", "    sensitive: [/color]\n", "    sensitive: [/color]\n  lamps.set: {}\n",
			`lamp/provider.yaml:38: actions.lamps.set: is given twice`,
		},
		{
			"empty value", "version: 1.0.0", "version:",
			`lamp/provider.yaml:4: version: is empty: give it a value or leave the key out`,
		},
		{
			"alias", "  request_id: header:X-Request-Id", "  request_id: &id header:X-Request-Id\n  error: {code: *id}",
			`lamp/provider.yaml:17: http.error.code: is an alias: write the value out`,
		},
		{
			"number for text", "version: 1.0.0", "version: 1.0",
			`lamp/provider.yaml:4: version: must be a text: write "1.0"`,
		},
		{
			"list for mapping", "display: {name: Lamp, docs: \"https://lamp.example/docs\"}", "display: [Lamp]",
			`lamp/provider.yaml:5: display: must be a mapping, is a list`,
		},
		{
			"mapping for list", "omit: [note]", "omit: {note: 1}",
			`lamp/provider.yaml:36: actions.lamps.set.request.body.omit: must be a list, is a mapping`,
		},
		{
			"two documents", "    sensitive: [/color]\n", "    sensitive: [/color]\n---\nkind: Provider\n",
			`lamp/provider.yaml:1: holds more than one document`,
		},

		{"api version", "plugfn.dev/v1", "plugfn.dev/v2", `lamp/provider.yaml:1: apiVersion: must be plugfn.dev/v1`},
		{"kind", "kind: Provider", "kind: Pack", `lamp/provider.yaml:2: kind: must be Provider`},
		{"other name", "name: lamp\n", "name: light\n", `lamp/provider.yaml:3: name: must be that of the folder, lamp`},
		{"bad name", "name: lamp\n", "name: Lamp\n", `lamp/provider.yaml:3: name: must be a-z, then up to 39 of a-z, 0-9 and -`},
		{"version", "version: 1.0.0", `version: "1.0"`, `lamp/provider.yaml:4: version: must be a semantic version such as 1.0.0`},
		{"docs", "https://lamp.example/docs", "javascript:alert(1)", `lamp/provider.yaml:5: display.docs: must be a link that begins with https://`},

		{"auth type", "type: api_key", "type: oauth9", `lamp/provider.yaml:8: auth[0].type: "oauth9" is unknown, want one of api_key, basic, oauth2, client_credentials, jwt, github_app, none`},
		{"auth twice", "http:\n", "  - {id: token, type: none}\nhttp:\n", `lamp/provider.yaml:10: auth[1].id: token is there twice`},
		{"no credential", "Bearer {{credential.token}}", "Bearer", `lamp/provider.yaml:9: auth[0].apply.value: must hold {{credential.token}}`},
		{
			"param in credential", "Bearer {{credential.token}}", "{{credential.token}}{{params.room}}",
			`lamp/provider.yaml:9: auth[0].apply.value: {{params.room}} is not known here, only {{credential.token}}`,
		},
		{"credential in host", "header: Authorization", "header: Host", `lamp/provider.yaml:9: auth[0].apply.header: cannot be set: it belongs to the connection`},
		{"credential twice", "header: Authorization", "header: Authorization, query: key", `lamp/provider.yaml:9: auth[0].apply: needs one of header, query and basic`},

		{"plain http", "https://api.lamp.example/v1", "http://api.lamp.example/v1", `lamp/provider.yaml:11: http.base_url: must begin with https://`},
		{"base with query", "https://api.lamp.example/v1", "https://api.lamp.example/v1?a=b", `lamp/provider.yaml:11: http.base_url: must not have a query`},
		{"base with user", "https://api.lamp.example/v1", "https://u:p@api.lamp.example/v1", `lamp/provider.yaml:11: http.base_url: must not hold a user or a password`},
		{"base with slash", "https://api.lamp.example/v1", "https://api.lamp.example/v1/", `lamp/provider.yaml:11: http.base_url: must not end with a slash`},
		{"base with dots", "https://api.lamp.example/v1", "https://api.lamp.example/../v1", `lamp/provider.yaml:11: http.base_url: path has a segment that is empty or only dots`},
		{"reserved header", "Lamp-Version", "Idempotency-Key", `lamp/provider.yaml:12: http.headers.Idempotency-Key: cannot be set: net/http would repeat writes that have it`},
		{"proxy header", "Lamp-Version", "X-Forwarded-For", `lamp/provider.yaml:12: http.headers.X-Forwarded-For: cannot be set: x-forwarded-… belongs to proxies`},
		{"odd header", "Lamp-Version", "Lamp_Version", `lamp/provider.yaml:12: http.headers.Lamp_Version: must be letters, digits and -`},
		{"predicate", "success: status == 200", "success: status = 200", `lamp/provider.yaml:13: http.success: unexpected token Operator("=") (1:8)`},
		{"predicate type", "success: status == 200", "success: status + 1", `lamp/provider.yaml:13: http.success: expected bool, but got int`},
		{"predicate field", "success: status == 200", "success: stat == 200", `lamp/provider.yaml:13: http.success: unknown name stat (1:1)`},
		{
			"error code", "code: rate_limited", "code: rate_limitted",
			`lamp/provider.yaml:15: http.errors[0].code: must be an error code, did you mean rate_limited?; there are invalid_params, needs_reauth, scope_required, rate_limited, provider_rejected, provider_unavailable`,
		},
		{"needs", "code: rate_limited", "code: rate_limited, needs: 'json:/needed'", `lamp/provider.yaml:15: http.errors[0].needs: goes with code: scope_required`},
		{"request id", "header:X-Request-Id", "json:/id", `lamp/provider.yaml:16: http.request_id: must be header:NAME`},
		{"error source", "  request_id:", "  error: {message: 'form:text'}\n  request_id:", `lamp/provider.yaml:16: http.error.message: must be header:NAME or json:/pointer`},
		{"optional source", "  request_id:", "  error: {code: 'json:/code?'}\n  request_id:", `lamp/provider.yaml:16: http.error.code: must be header:NAME or json:/pointer`},
		{"header twice", `{Lamp-Version: "3"}`, `{Lamp-Version: "3", lamp-version: "4"}`, `lamp/provider.yaml:12: http.headers.lamp-version: is there twice, in another spelling`},
		{"header value", `{Lamp-Version: "3"}`, `{Lamp-Version: "3\r\nX: y"}`, `lamp/provider.yaml:12: http.headers.Lamp-Version: must not hold control characters`},
		{"size", "  request_id:", "  max_response: 1MB\n  request_id:", `lamp/provider.yaml:16: http.max_response: must be a size above zero such as 512KiB, 10MiB or a number of bytes`},
		{"duration", "  request_id:", "  timeout: 30\n  request_id:", `lamp/provider.yaml:16: http.timeout: must be a duration above zero such as 30s`},
		{"long duration", "  request_id:", "  timeout: 1h\n  request_id:", `lamp/provider.yaml:16: http.timeout: must be at most 10m0s`},

		{"effect", "effect: idempotent", "effect: sometimes", `lamp/provider.yaml:20: actions.lamps.set.effect: must be read, idempotent, keyed, reconcile or none`},
		{"action name", "  lamps.set:", "  lamps/set:", `lamp/provider.yaml:18: actions.lamps/set: must be names of letters, digits and _, joined by dots, at most 100 bytes`},
		{"method", "method: PUT", "method: put", `lamp/provider.yaml:33: actions.lamps.set.request.method: must be GET, HEAD, POST, PUT, PATCH or DELETE`},
		{"body of get", "method: PUT", "method: GET", `lamp/provider.yaml:36: actions.lamps.set.request.body: has no place in GET`},
		{
			"template", "{{params.room}}/lamps", "{{params.room/lamps",
			`lamp/provider.yaml:34: actions.lamps.set.request.path: {{params.room/lamps/{{params.lamp}}: a field is params.NAME, credential.NAME or app.NAME`,
		},
		{"open template", `"{{params.why}}"`, `"{{params.why"`, `lamp/provider.yaml:35: actions.lamps.set.request.query.why: has {{ without }}`},
		{
			"filter", `"{{params.why}}"`, `"{{params.why | upper}}"`,
			`lamp/provider.yaml:35: actions.lamps.set.request.query.why: {{params.why | upper}}: unknown filter "upper": there are base64, lower, unix and default "x"`,
		},
		{
			"template field", "{{params.room}}/lamps", "{{params.rom}}/lamps",
			`lamp/provider.yaml:34: actions.lamps.set.request.path: {{params.rom}}: params has no property rom, did you mean room?`,
		},
		{
			"credential in path", "{{params.room}}/lamps", "{{credential.token}}/lamps",
			`lamp/provider.yaml:34: actions.lamps.set.request.path: {{credential.token}} is not known here, only {{params.NAME}}`,
		},
		{
			"optional in path", "required: [room, lamp]", "required: [lamp]",
			`lamp/provider.yaml:34: actions.lamps.set.request.path: room stands in the path: params.required must list it`,
		},
		{
			"object in query", `"{{params.why}}"`, `"{{params.scene}}"`,
			`lamp/provider.yaml:35: actions.lamps.set.request.query.why: {{params.scene}}: params.properties.scene must have type string, integer, number or boolean`,
		},
		{"path without slash", "path: /rooms", "path: rooms", `lamp/provider.yaml:34: actions.lamps.set.request.path: must begin with /`},
		{
			"path with query", "{{params.lamp}}", "{{params.lamp}}?x=1",
			`lamp/provider.yaml:34: actions.lamps.set.request.path: may hold letters, digits and -._~:@!$&'()*+,;= besides / and parameters`,
		},
		{"path with dots", "/rooms/{{", "/rooms/../{{", `lamp/provider.yaml:34: actions.lamps.set.request.path: has a segment that is empty or only dots`},
		{"two in a segment", "/lamps/{{", "{{", `lamp/provider.yaml:34: actions.lamps.set.request.path: has two parameters in one segment`},
		{
			"reserved request header", "      body:", "      headers: {cookie: \"{{params.why}}\"}\n      body:",
			`lamp/provider.yaml:36: actions.lamps.set.request.headers.cookie: cannot be set: a credential is applied by auth`,
		},
		{"encoding", "encoding: json", "encoding: xml", `lamp/provider.yaml:36: actions.lamps.set.request.body.encoding: "xml" is unknown, want one of json, form, raw, multipart`},
		{"omit", "omit: [note]", "omit: [nota]", `lamp/provider.yaml:36: actions.lamps.set.request.body.omit[0]: nota is no parameter, did you mean note?`},
		{
			"sent nowhere", "      body: {encoding: json, omit: [note]}\n", "",
			`lamp/provider.yaml:32: actions.lamps.set.request: the parameter color is sent nowhere: use it in path, query or headers, or add a body`,
		},
		{"sensitive", "[/color]", "[/colour]", `lamp/provider.yaml:37: actions.lamps.set.sensitive[0]: must be the JSON pointer of a parameter, such as /text`},

		{
			"open params", "      additionalProperties: false\n", "",
			`lamp/provider.yaml:21: actions.lamps.set.params: must have additionalProperties: false, so that a misspelt parameter is an error`,
		},
		{
			"required", "required: [room, lamp]", "required: [room, lamp, colour]",
			`lamp/provider.yaml:21: actions.lamps.set.params.required: colour is no parameter, did you mean color?`,
		},
		{
			"schema keyword", "maxLength: 20", "maxLenght: 20",
			`lamp/provider.yaml:28: actions.lamps.set.params: properties: color: unknown keyword "maxLenght", did you mean maxLength?`,
		},
		{
			"schema value", "minimum: 1", "minimum: one",
			`lamp/provider.yaml:22: actions.lamps.set.params: /properties/lamp/minimum: must be number, is string`,
		},
		{
			"schema pattern", "maxLength: 20", "pattern: '['",
			`lamp/provider.yaml:22: actions.lamps.set.params: /properties/color/pattern: must be a valid regex`,
		},
		{
			"schema format", "maxLength: 20", "format: colour",
			`lamp/provider.yaml:28: actions.lamps.set.params: properties: color: format: is unknown`,
		},
		{
			"schema elsewhere", "maxLength: 20", "$ref: 'file:///etc/passwd'",
			`lamp/provider.yaml:28: actions.lamps.set.params: properties: color: $ref: must begin with #: a schema refers to nothing outside itself`,
		},
		{
			"schema nowhere", "maxLength: 20", "$ref: '#/$defs/none'",
			`lamp/provider.yaml:22: actions.lamps.set.params: json-pointer in "#/$defs/none" not found`,
		},
		{
			"repeated by net/http", "    sensitive: [/color]\n", "    sensitive: [/color]\n  lamps.get:\n    summary: s\n    effect: none\n    params: {type: object, additionalProperties: false}\n    request: {method: GET, path: /lamps}\n",
			`lamp/provider.yaml:42: actions.lamps.get.request.method: GET is repeated by net/http on its own, so the effect must be read or idempotent`,
		},
		{
			"default in path", "{{params.room}}/lamps", `{{params.room | default "x"}}/lamps`,
			`lamp/provider.yaml:34: actions.lamps.set.request.path: needs no default: what a path names is required`,
		},
		{"result", "    sensitive: [/color]", "    result: header:X\n    sensitive: [/color]", `lamp/provider.yaml:37: actions.lamps.set.result: must be json:/pointer`},
		{"triggers alone", "    sensitive: [/color]\n", "    sensitive: [/color]\nevent_prefix: example.lamp\ntriggers: {lit: {summary: s}}\n", `lamp/provider.yaml:39: triggers.lit: needs webhooks, or poll: to look for it`},
		{"nothing to do", minimal[strings.Index(minimal, "actions:"):], "", `lamp/provider.yaml:1: actions: is missing: a provider has actions, webhooks or both`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := loadText(t, change(t, minimal, tt.old, tt.new))
			if err == nil {
				t.Fatal("the pack is accepted")
			}
			if err.Error() != tt.want {
				t.Fatalf("got\n%v\nwant\n%s", err, tt.want)
			}
		})
	}
}

func TestLoadReportsAllProblems(t *testing.T) {
	text := change(t, minimal, "version: 1.0.0", "version: one")
	text = change(t, text, "effect: idempotent", "effect: sometimes")
	text = change(t, text, "maxLength: 20", "maxLenght: 20")
	text = change(t, text, "{{params.why}}", "{{params.why")
	_, err := loadText(t, text)
	if err == nil {
		t.Fatal("the pack is accepted")
	}
	want := []string{
		`lamp/provider.yaml:4: version: must be a semantic version such as 1.0.0`,
		`lamp/provider.yaml:20: actions.lamps.set.effect: must be read, idempotent, keyed, reconcile or none`,
		`lamp/provider.yaml:28: actions.lamps.set.params: properties: color: unknown keyword "maxLenght", did you mean maxLength?`,
		`lamp/provider.yaml:35: actions.lamps.set.request.query.why: has {{ without }}`,
	}
	if diff := cmp.Diff(want, strings.Split(err.Error(), "\n")); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestLoadBoundsItsReport(t *testing.T) {
	var b strings.Builder
	for i := range 5000 {
		fmt.Fprintf(&b, "unknown%d: 1\n", i)
	}
	_, err := loadText(t, minimal+b.String())
	if n := strings.Count(err.Error(), "\n"); n != maxProblems {
		t.Errorf("the report has %d lines", n+1)
	}
}

func TestLoadWithoutFile(t *testing.T) {
	for name, fsys := range map[string]fstest.MapFS{
		"no folder": {},
		"no file":   {"lamp/README.md": {}},
		"empty":     {"lamp/provider.yaml": {}},
		"comment":   {"lamp/provider.yaml": {Data: []byte("# nothing\n")}},
		"too large": {"lamp/provider.yaml": {Data: make([]byte, maxPackFile+1)}},
	} {
		if p, err := Load(fsys, "lamp"); err == nil {
			t.Errorf("%s: got %v", name, p)
		}
	}
	if _, err := Load(fstest.MapFS{}, "../lamp"); err == nil {
		t.Error("a name that leads out of the folder is accepted")
	}
}

func TestLoadAll(t *testing.T) {
	other := strings.Replace(minimal, "name: lamp", "name: light", 1)
	packs, err := LoadAll(fstest.MapFS{
		"lamp/provider.yaml":  {Data: []byte(minimal)},
		"light/provider.yaml": {Data: []byte(other)},
		"notes/README.md":     {},
		"README.md":           {},
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(packs) != 2 || packs["lamp"] == nil || packs["light"] == nil {
		t.Errorf("got %v", packs)
	}
	_, err = LoadAll(fstest.MapFS{
		"a/provider.yaml": {Data: []byte(minimal)},
		"b/provider.yaml": {Data: []byte(minimal)},
	})
	if err == nil || !strings.Contains(err.Error(), "a/provider.yaml:3: name") || !strings.Contains(err.Error(), "b/provider.yaml:3: name") {
		t.Errorf("got %v, want the problems of both packs", err)
	}
}

func TestOverlay(t *testing.T) {
	base := map[string]*Pack{"lamp": {Version: "1.0.0"}, "light": {Version: "1.0.0"}}
	over := map[string]*Pack{"lamp": {Version: "2.0.0"}, "torch": {Version: "1.0.0"}}
	got := map[string]string{}
	for name, p := range Overlay(base, over) {
		got[name] = p.Version
	}
	want := map[string]string{"lamp": "2.0.0", "light": "1.0.0", "torch": "1.0.0"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if base["lamp"].Version != "1.0.0" || len(base) != 2 {
		t.Error("Overlay changed its argument")
	}
	if n := len(Overlay(nil, over)); n != 2 {
		t.Errorf("over nothing there are %d packs", n)
	}
}

// FuzzLoad asserts that no text makes the loader panic, and that a pack which
// is accepted is whole.
func FuzzLoad(f *testing.F) {
	f.Add([]byte(minimal))
	for _, text := range []string{
		"", "---\n", "a: *b\n", "&a [*a]\n", "auth: [null]\nactions: {x: null}\n", "? {a: b}\n: c\n", "<<: {name: lamp}\n",
		"actions: {x: {params: [], request: {path: '/}}'}}}\n",
		"actions: {x: {params: {$ref: '#'}, request: {path: '{{'}}}\n",
		"http: {success: 'any(1..9, true)', errors: [{when: '" + strings.Repeat("(", 500) + "'}]}\n",
		strings.Repeat("[", 2000),
	} {
		f.Add([]byte(text))
	}
	for _, block := range authPacks() {
		f.Add([]byte(strings.Replace(minimal, minimalAuth, block, 1)))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		p, err := Load(mapFS(string(data)), "lamp")
		if (p == nil) == (err == nil) {
			t.Fatalf("got %v and %v", p, err)
		}
		if err != nil {
			return
		}
		for _, a := range p.Actions {
			_ = a.Validate([]byte(`{}`))
			_, _ = a.NewRequest(t.Context(), p.HTTP.BaseURL, []byte(`{}`), Credential{Token: NewSecret([]byte("t"))})
		}
	})
}
