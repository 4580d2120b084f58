package providers

import (
	"io"
	"strings"
	"testing"
	"testing/fstest"
)

const lampFixture = `action: lamps.set
params: {room: hall, lamp: 1, color: red}
request: {method: PUT, path: /rooms/hall/lamps/1, body: {color: red}}
response: {status: 200, headers: {X-Request-Id: r1}, body: {"on": true, power: 1.50}}
`

func fixturesOf(t *testing.T, files map[string]string) ([]ActionFixture, error) {
	t.Helper()
	fsys := mapFS(minimal)
	for name, text := range files {
		fsys["lamp/fixtures/actions/"+name] = &fstest.MapFile{Data: []byte(text)}
	}
	p, err := Load(fsys, "lamp")
	if err != nil {
		t.Fatal(err)
	}
	return p.ActionFixtures()
}

func TestActionFixtures(t *testing.T) {
	fixtures, err := fixturesOf(t, map[string]string{
		"b.yaml":    lampFixture + "expect: {data: {x: 1}}\n",
		"a.yaml":    lampFixture,
		"c.yaml":    strings.Replace(lampFixture, `body: {"on": true, power: 1.50}`, "text: oops", 1) + "expect: {error: {code: provider_rejected, message: m}}\n",
		"README.md": "not a fixture",
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(fixtures) != 3 || fixtures[0].Name != "a" || fixtures[1].Name != "b" || fixtures[2].Name != "c" {
		t.Fatalf("got %+v", fixtures)
	}
	a, b, c := fixtures[0], fixtures[1], fixtures[2]
	if !a.IsSuccess() || string(a.Data()) != `{"on":true,"power":1.50}` || string(b.Data()) != `{"x":1}` || c.IsSuccess() {
		t.Errorf("got %+v", fixtures)
	}
	resp := a.Response.HTTP()
	raw, err := io.ReadAll(resp.Body)
	if err != nil || string(raw) != `{"on":true,"power":1.50}` || resp.ContentLength != int64(len(raw)) ||
		resp.Header.Get("X-Request-Id") != "r1" || resp.Header.Get("Content-Type") != "application/json; charset=utf-8" {
		t.Errorf("the response is %+v with %s, %v", resp, raw, err)
	}
	if got := string(c.Response.Raw()); got != "oops" || c.Response.HTTP().Header.Get("Content-Type") != "" {
		t.Errorf("the text is %s", got)
	}
}

func TestActionFixturesSayWhatIsWrong(t *testing.T) {
	for _, tt := range []struct{ old, new, want string }{
		{"action: lamps.set", "action: lamp.set", "lamp/fixtures/actions/a.yaml:1: action: is no action of the pack, did you mean lamps.set?"},
		{"request:", "requests:", "lamp/fixtures/actions/a.yaml:3: requests: unknown key, did you mean request?"},
		{"method: PUT, ", "", "lamp/fixtures/actions/a.yaml:3: request.method: is missing"},
		{"path: /rooms", "path: rooms", "lamp/fixtures/actions/a.yaml:3: request.path: must begin with /"},
		{"status: 200", "status: two", "lamp/fixtures/actions/a.yaml:4: response.status: must be a whole number"},
		{"status: 200", "status: 100", "lamp/fixtures/actions/a.yaml:4: response.status: must be from 200 to 599"},
		{"status: 200", "status: 200, text: x", "lamp/fixtures/actions/a.yaml:4: response: has body and text: it is one or the other"},
		{", body: {\"on\": true, power: 1.50}", "", "lamp/fixtures/actions/a.yaml:1: expect: needs data or error where the response has no JSON body"},
		{"params:", "expect: {data: 1, error: {code: x}}\nparams:", "lamp/fixtures/actions/a.yaml:2: expect: has data and error: it is one or the other"},
		{"params:", "expect: {error: {code: x}}\nparams:", "lamp/fixtures/actions/a.yaml:2: expect.error.code: is no error code"},
		{"params: {room: hall, lamp: 1, color: red}\n", "", "lamp/fixtures/actions/a.yaml:1: params: is missing"},
		{"power: 1.50", "power: .inf", "lamp/fixtures/actions/a.yaml:4: response.body: .inf is no number of JSON"},
	} {
		fixtures, err := fixturesOf(t, map[string]string{"a.yaml": change(t, lampFixture, tt.old, tt.new), "b.yaml": "x: 1\n"})
		if err == nil || !strings.Contains(err.Error(), tt.want+"\n") {
			t.Errorf("%s gives %v, %v, want %s", tt.new, fixtures, err, tt.want)
		}
		if err != nil && !strings.Contains(err.Error(), "b.yaml:1: x: unknown key") {
			t.Errorf("the problems of the second file are missing: %v", err)
		}
	}
}
