package providers

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/plugfn/plugfn/pkg/events"
)

func lampAction(t *testing.T, changes ...string) *Action {
	t.Helper()
	text := minimal
	for i := 0; i+1 < len(changes); i += 2 {
		text = change(t, text, changes[i], changes[i+1])
	}
	a, ok := mustLoad(t, text).Action("lamps.set")
	if !ok {
		t.Fatal("no action lamps.set")
	}
	return a
}

func someCredential() Credential { return Credential{Token: NewSecret([]byte("t0ken"))} }

func mustRequest(t *testing.T, a *Action, params string) *http.Request {
	t.Helper()
	req, err := a.NewRequest(t.Context(), a.pack.HTTP.BaseURL, json.RawMessage(params), someCredential())
	if err != nil {
		t.Fatal(err)
	}
	return req
}

func bodyOf(t *testing.T, req *http.Request) string {
	t.Helper()
	if req.Body == nil {
		return ""
	}
	raw, err := io.ReadAll(req.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(raw)
}

func TestNewRequest(t *testing.T) {
	a := lampAction(t)
	req := mustRequest(t, a, `{"room":"Küche, oben;x=1","lamp":7,"why":"a&b=c","color":"<red>","note":"stays","scene":{"z":1,"a":[1.50,12345678901234567890]}}`)
	if want := "https://api.lamp.example/v1/rooms/K%C3%BCche%2C%20oben%3Bx=1/lamps/7?why=a%26b%3Dc"; req.URL.String() != want {
		t.Errorf("URL is %s, want %s", req.URL, want)
	}
	header := http.Header{
		"Authorization": {"Bearer t0ken"},
		"Accept":        {"application/json"},
		"Content-Type":  {"application/json; charset=utf-8"},
		"Lamp-Version":  {"3"},
		"User-Agent":    {"plugfn"},
	}
	if diff := cmp.Diff(header, req.Header); diff != "" {
		t.Errorf("header (-want +got):\n%s", diff)
	}
	want := `{"color":"<red>","scene":{"a":[1.50,12345678901234567890],"z":1}}`
	if got := bodyOf(t, req); got != want || req.ContentLength != int64(len(want)) {
		t.Errorf("body is %s (%d), want %s", got, req.ContentLength, want)
	}
	again, err := req.GetBody()
	if err != nil {
		t.Fatal(err)
	}
	if raw, _ := io.ReadAll(again); string(raw) != want {
		t.Errorf("the body again is %s", raw)
	}
}

func TestNewRequestLeavesOutWhatIsAbsent(t *testing.T) {
	req := mustRequest(t, lampAction(t), `{"room":"hall","lamp":7,"why":null,"scene":null}`)
	if req.URL.RawQuery != "" {
		t.Errorf("query is %s", req.URL.RawQuery)
	}
	if got := bodyOf(t, req); got != `{"scene":null}` {
		t.Errorf("body is %s", got)
	}
	req = mustRequest(t, lampAction(t, `"{{params.why}}"`, `"{{params.why | default \"just so\"}}"`), `{"room":"hall","lamp":7}`)
	if req.URL.RawQuery != "why=just+so" {
		t.Errorf("query is %s", req.URL.RawQuery)
	}
	if got := bodyOf(t, req); got != `{}` {
		t.Errorf("body is %s", got)
	}
}

func TestNewRequestForm(t *testing.T) {
	a := lampAction(t, "encoding: json", "encoding: form")
	req := mustRequest(t, a, `{"room":"hall","lamp":7,"color":"a b&c","scene":{"z":[1,"<"],"a":1.50},"note":"no"}`)
	want := url.Values{"color": {"a b&c"}, "scene": {`{"a":1.50,"z":[1,"<"]}`}}.Encode()
	if got := bodyOf(t, req); got != want {
		t.Errorf("body is %s, want %s", got, want)
	}
	if got := req.Header.Get("Content-Type"); got != "application/x-www-form-urlencoded" {
		t.Errorf("type is %s", got)
	}
	if got := bodyOf(t, mustRequest(t, a, `{"room":"hall","lamp":7,"scene":null}`)); got != "" {
		t.Errorf("null is sent as %s", got)
	}
}

func TestNewRequestWithoutBody(t *testing.T) {
	a := lampAction(t, "method: PUT", "method: DELETE", "      body: {encoding: json, omit: [note]}\n", "",
		`{why: "{{params.why}}"}`, `{why: "{{params.why}}", color: "{{params.color}}", note: "{{params.note}}"}`,
		"        scene: {type: [object, \"null\"]}\n", "")
	req := mustRequest(t, a, `{"room":"hall","lamp":7,"color":"red"}`)
	if req.Body != nil || req.ContentLength != 0 || req.Header.Get("Content-Type") != "" {
		t.Errorf("the request has a body: %v", req.Header)
	}
	if req.URL.RawQuery != "color=red" {
		t.Errorf("query is %s", req.URL.RawQuery)
	}
}

func TestNewRequestCredentials(t *testing.T) {
	basic := lampAction(t, "Bearer {{credential.token}}", "Basic {{credential.token | base64}}")
	if got := mustRequest(t, basic, `{"room":"hall","lamp":1}`).Header.Get("Authorization"); got != "Basic dDBrZW4=" {
		t.Errorf("got %s", got)
	}
	query := lampAction(t, `{header: Authorization, value: "Bearer {{credential.token}}"}`, `{query: key, value: "{{credential.token}}"}`)
	req := mustRequest(t, query, `{"room":"hall","lamp":1,"why":"a"}`)
	if req.URL.RawQuery != "key=t0ken&why=a" || req.Header.Get("Authorization") != "" {
		t.Errorf("query is %s, header %v", req.URL.RawQuery, req.Header)
	}
	none := lampAction(t, "type: api_key\n    apply: {header: Authorization, value: \"Bearer {{credential.token}}\"}", "type: none")
	req, err := none.NewRequest(t.Context(), none.pack.HTTP.BaseURL, json.RawMessage(`{"room":"hall","lamp":1}`), Credential{})
	if err != nil || req.Header.Get("Authorization") != "" {
		t.Errorf("without credential: %v, %v", req, err)
	}
}

func TestNewRequestRefusesCredentials(t *testing.T) {
	a := lampAction(t)
	for name, cred := range map[string]Credential{
		"none":     {},
		"newline":  {Token: NewSecret([]byte("s3cret\r\nX-Evil: 1"))},
		"nul":      {Token: NewSecret([]byte("s3cret\x00"))},
		"other id": {Auth: "oauth", Token: NewSecret([]byte("s3cret"))},
	} {
		_, err := a.NewRequest(t.Context(), a.pack.HTTP.BaseURL, json.RawMessage(`{"room":"hall","lamp":1}`), cred)
		var e *events.Error
		if !errors.As(err, &e) || e.Code != events.CodeNeedsReauth || strings.Contains(e.Message, "s3cret") {
			t.Errorf("%s: got %v", name, err)
		}
	}
}

func TestNewRequestRefusesParams(t *testing.T) {
	a := lampAction(t, "      body:", "      headers: {Lamp-Why: \"{{params.why}}\"}\n      body:")
	for params, want := range map[string]string{
		`{"lamp":1}`:                               "/room: required, is missing",
		`{"room":null,"lamp":1}`:                   "/room: required, is missing",
		`{"room":"","lamp":1}`:                     "/room: stands in a path and cannot be empty",
		`{"room":"..","lamp":1}`:                   "/room: stands in a path and cannot be empty",
		`{"room":"a/b","lamp":1}`:                  "/room: stands in a path and cannot hold",
		`{"room":"a\u0085b","lamp":1}`:             "/room: stands in a path and cannot hold",
		`{"room":{"a":1},"lamp":1}`:                "/room: must be a single value",
		`{"room":"hall","lamp":["..",".."]}`:       "/lamp: must be a single value",
		`{"room":"hall","lamp":1,"why":"a\nB: c"}`: "/why: holds a control character",
		`{"room":"hall","lamp":1,"why":"\u0000"}`:  "/why: holds a control character",
		`[]`:                      "body must be a JSON object",
		`{"room":"a","room":"b"}`: "twice",
		``:                        "body is not JSON",
		`{"x":"` + strings.Repeat("x", maxParams) + `"}`: "parameters are 1048584 bytes long, allowed are 1048576",
	} {
		_, err := a.NewRequest(t.Context(), a.pack.HTTP.BaseURL, json.RawMessage(params), someCredential())
		var e *events.Error
		if !errors.As(err, &e) || e.Code != events.CodeInvalidParams || !strings.Contains(e.Message, want) {
			t.Errorf("%.60s gives %v, want %s", params, err, want)
		}
	}
}

func TestNewRequestJoinsBase(t *testing.T) {
	a := lampAction(t)
	params := json.RawMessage(`{"room":"hall","lamp":1}`)
	for base, want := range map[string]string{
		"http://127.0.0.1:8080":       "http://127.0.0.1:8080/rooms/hall/lamps/1",
		"https://ghe.example/api/v3/": "https://ghe.example/api/v3/rooms/hall/lamps/1",
		"https://ghe.example/a%20b":   "https://ghe.example/a%20b/rooms/hall/lamps/1",
		"https://[::1]:8443/x":        "https://[::1]:8443/x/rooms/hall/lamps/1",
	} {
		req, err := a.NewRequest(t.Context(), base, params, someCredential())
		if err != nil || req.URL.String() != want {
			t.Errorf("%s: got %v, %v", base, req, err)
		}
	}
	for _, base := range []string{"", "/v1", "api.lamp.example", "ftp://x.example", "https://", "https://u:p@x.example", "https://x.example?a=b", "https://x.example/?", "https://x.example#a", "https://x.example/#", "https://x.example/..", "https://x.example/a//b", "https://x.example/%2e%2e", "https://x.example/a%2Fb", "https://x.example\n"} {
		if req, err := a.NewRequest(t.Context(), base, params, someCredential()); err == nil {
			t.Errorf("%s is accepted as %s", base, req.URL)
		}
	}
}

// TestWriteIsNotRepeated proves that net/http sends a write once to a server
// that executes it and then cuts the connection.
func TestWriteIsNotRepeated(t *testing.T) {
	var executed atomic.Int32
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if _, err := io.ReadAll(r.Body); err != nil {
			t.Error(err)
		}
		if executed.Add(1) == 1 { // keeps the connection, so that the next request reuses it
			w.WriteHeader(http.StatusOK)
			return
		}
		panic(http.ErrAbortHandler)
	}))
	defer server.Close()
	a := lampAction(t, "method: PUT", "method: POST", "effect: idempotent", "effect: none")
	for i := range 2 {
		req, err := a.NewRequest(t.Context(), server.URL, json.RawMessage(`{"room":"hall","lamp":1}`), someCredential())
		if err != nil {
			t.Fatal(err)
		}
		resp, err := server.Client().Do(req)
		if (err == nil) != (i == 0) {
			t.Errorf("request %d ends with %v", i, err)
		}
		if err == nil {
			resp.Body.Close()
		}
	}
	if n := executed.Load(); n != 2 {
		t.Errorf("two requests were executed %d times", n)
	}
}

// FuzzNewRequest asserts that no parameters lead a request away from the
// template: not to another host, not to another path, not into another header.
func FuzzNewRequest(f *testing.F) {
	for _, text := range []string{"hall", "", ".", "..", "a/b", `a\b`, "%2e%2e", "%2F", "a?b", "a#b", "\x00", "\r\n", "@evil.example", "//evil.example", "é", "\u2215", "…", ";", ":80", "\xff", "[::1]", "*", "~", "+"} {
		f.Add(text, text, text, []byte(`{"room":"a","lamp":1}`))
	}
	f.Add("a", "b", "c", []byte(`{"room":"../..","lamp":"..","why":{"a":[]}}`))
	f.Add("a", "b", "c", []byte(`{"room":[".."],"lamp":null}`))
	a := loadFuzzAction(f)
	f.Fuzz(func(t *testing.T, room, lamp, why string, raw []byte) {
		encoded, err := json.Marshal(map[string]string{"room": room, "lamp": lamp, "why": why})
		if err != nil {
			t.Fatal(err)
		}
		for _, params := range [][]byte{encoded, raw} {
			req, err := a.NewRequest(context.Background(), "https://api.lamp.example/v1", params, someCredential())
			if err == nil {
				assertShape(t, req)
			}
		}
	})
}

func loadFuzzAction(f *testing.F) *Action {
	text := strings.Replace(minimal, "      body:", "      headers: {Lamp-Why: \"{{params.why}}\"}\n      body:", 1)
	text = strings.Replace(text, "lamps/{{params.lamp}}", "lamp-{{params.lamp | lower}}.on", 1)
	p, err := Load(mapFS(text), "lamp")
	if err != nil {
		f.Fatal(err)
	}
	return p.Actions["lamps.set"]
}

func assertShape(t *testing.T, req *http.Request) {
	t.Helper()
	// What a server sees is what it is parsed to from the wire.
	var wire strings.Builder
	if err := req.Clone(context.Background()).Write(&wire); err != nil {
		t.Fatalf("cannot be written: %v", err)
	}
	line, rest, _ := strings.Cut(wire.String(), "\r\n")
	words := strings.Split(line, " ")
	if len(words) != 3 || words[0] != http.MethodPut || words[2] != "HTTP/1.1" {
		t.Fatalf("request line is %q", line)
	}
	if !strings.HasPrefix(rest, "Host: api.lamp.example\r\n") {
		t.Fatalf("headers are %q", rest)
	}
	u, err := url.ParseRequestURI(words[1])
	if err != nil {
		t.Fatal(err)
	}
	segments := strings.Split(u.EscapedPath(), "/")
	if len(segments) != 5 || segments[1] != "v1" || segments[2] != "rooms" || !strings.HasPrefix(segments[4], "lamp-") || !strings.HasSuffix(segments[4], ".on") {
		t.Fatalf("path is %s", u.EscapedPath())
	}
	room, err := url.PathUnescape(segments[3])
	if err != nil || room == "" || room == "." || room == ".." || strings.ContainsAny(room, "/\\%?#\r\n\x00") {
		t.Fatalf("room is %q, %v", room, err)
	}
	if cleaned := u.JoinPath(); cleaned.EscapedPath() != u.EscapedPath() {
		t.Fatalf("%s is cleaned to %s", u.EscapedPath(), cleaned.EscapedPath())
	}
	if n := len(req.Header); n != 6 && n != 5 {
		t.Fatalf("headers are %v", req.Header)
	}
	for name := range u.Query() {
		if name != "why" {
			t.Fatalf("query is %s", u.RawQuery)
		}
	}
}
