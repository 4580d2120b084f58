package providers

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/plugfn/plugfn/pkg/events"
)

const filesPack = `apiVersion: plugfn.dev/v1
kind: Provider
name: shelf
version: 1.0.0
display: {name: Shelf}
event_prefix: test.shelf
auth: [{id: token, type: api_key, apply: {header: Authorization, value: "{{credential.token}}"}}]
http: {base_url: "https://shelf.example"}
actions:
  files.get:
    summary: Downloads
    effect: read
    response: file
    request: {method: GET, path: "/files/{{params.id}}"}
    params: {type: object, required: [id], additionalProperties: false, properties: {id: {type: string}}}
  files.add:
    summary: Uploads
    effect: none
    max_file: 1MiB
    request: {method: POST, path: "/files/{{params.id}}", body: {encoding: multipart, file: file, omit: [note]}}
    params:
      type: object
      required: [id, file]
      additionalProperties: false
      properties: {id: {type: string}, title: {type: string}, tags: {type: array}, note: {type: string}, file: {type: object}}
`

func loadFiles(text string) (*Pack, error) {
	return Load(fstest.MapFS{"shelf/provider.yaml": {Data: []byte(text)}}, "shelf")
}

func TestFileActionsAreChecked(t *testing.T) {
	if _, err := loadFiles(filesPack); err != nil {
		t.Fatal(err)
	}
	for name, tt := range map[string][3]string{
		"kind":          {"response: file", "response: stream", "response: \"stream\" is unknown"},
		"cached":        {"response: file", "response: file\n    cache: 1m", "leave paginate, cache and result out"},
		"written":       {"effect: read\n    response", "effect: none\n    response", "a file comes from a read only"},
		"too much":      {"max_file: 1MiB", "max_file: 1GiB", "at most 100MiB"},
		"no file":       {"multipart, file: file", "json", "max_file: has no meaning here"},
		"which":         {"multipart, file: file", "multipart", "body.file: is missing"},
		"other body":    {"multipart, file: file", "json, file: file", "goes with encoding: raw or multipart"},
		"no parameter":  {"multipart, file: file", "multipart, file: plan", "plan must be a parameter with type: object"},
		"optional":      {"[id, file]", "[id]", "params.required must list file"},
		"sent nowhere":  {"multipart, file: file", "raw, file: file", "is sent nowhere"},
		"encoding":      {"multipart, file: file", "yaml, file: file", "body.encoding: \"yaml\" is unknown"},
		"in the body":   {"effect: none\n", "effect: keyed\n    idempotency: {field: /title}\n", "have no place in a body with a file"},
		"sent by reads": {"effect: none\n", "effect: read\n", "a read sends no file"},
	} {
		if _, err := loadFiles(change(t, filesPack, tt[0], tt[1])); err == nil || !strings.Contains(err.Error(), tt[2]) {
			t.Errorf("%s: %v, want %s", name, err, tt[2])
		}
	}
}

func TestAttach(t *testing.T) {
	pack, err := loadFiles(filesPack)
	if err != nil {
		t.Fatal(err)
	}
	a := pack.Actions["files.add"]
	sum := strings.Repeat("0", 64)
	file := events.File{PayloadRef: events.PayloadRef{Subject: "plugfn.payload.u1." + sum, SHA256: sum, Size: 5}}
	params := json.RawMessage(`{"id":"1","title":"t","tags":["a","b"],"note":"n","file":` + string(rawOf(file)) + `}`)
	if err := a.Validate(params); err != nil {
		t.Fatal(err)
	}
	req, err := a.NewRequest(t.Context(), "https://shelf.example", params, Credential{Token: NewSecret([]byte("x"))})
	if err != nil || req.Body != nil {
		t.Fatalf("%v, %v", req, err)
	}
	got, ok := a.File(params)
	if !ok || got != file {
		t.Fatalf("%+v, %t", got, ok)
	}
	if err := a.Attach(req, params, got, func() (io.Reader, error) { return strings.NewReader("12345"), nil }); err != nil {
		t.Fatal(err)
	}
	for range 2 { // it may be sent from the beginning
		body, err := io.ReadAll(req.Body)
		if err != nil || int64(len(body)) != req.ContentLength {
			t.Fatalf("%d bytes, want %d, %v", len(body), req.ContentLength, err)
		}
		parsed := req.Clone(t.Context())
		parsed.Body = io.NopCloser(bytes.NewReader(body))
		if err := parsed.ParseMultipartForm(1 << 20); err != nil {
			t.Fatal(err)
		}
		form := parsed.MultipartForm
		if form.Value["title"][0] != "t" || form.Value["tags"][0] != `["a","b"]` || form.Value["note"] != nil || form.Value["id"] != nil || form.File["file"][0].Filename != "file" {
			t.Errorf("the form is %+v", form)
		}
		if req.Body, err = req.GetBody(); err != nil {
			t.Fatal(err)
		}
	}
}

func TestFileOf(t *testing.T) {
	at, err := url.Parse("https://x.example/a/b%2Fc/archive.zip?token=1")
	if err != nil {
		t.Fatal(err)
	}
	for disposition, want := range map[string]string{
		"":                                     "archive.zip",
		"inline":                               "archive.zip",
		`attachment; filename="a b.txt"`:       "a b.txt",
		`attachment; filename="../../etc/pwd"`: "pwd",
		`attachment; filename="..\..\x"`:       "x",
		`attachment; filename=".."`:            "archive.zip",
		`attachment; filename*=UTF-8''%E2%82%AC.txt`: "€.txt",
		"attachment; filename=\"a\x01b\"":            "ab",
		`broken; =`:                                  "archive.zip",
	} {
		resp := &http.Response{Header: http.Header{"Content-Disposition": {disposition}, "Content-Type": {"text/plain; charset=utf-8"}}, Request: &http.Request{URL: at}}
		if f := FileOf(resp); f.Name != want || f.ContentType != "text/plain" {
			t.Errorf("%s: %+v, want %s", disposition, f, want)
		}
	}
	if f := FileOf(&http.Response{Header: http.Header{"Content-Type": {"; nonsense"}}}); f != (events.File{}) {
		t.Errorf("of nothing: %+v", f)
	}
}

func FuzzFileName(f *testing.F) {
	f.Add(`attachment; filename="../x"`)
	f.Fuzz(func(t *testing.T, disposition string) {
		name := FileOf(&http.Response{Header: http.Header{"Content-Disposition": {disposition}}}).Name
		if strings.ContainsAny(name, "/\\\r\n\x00") || name == ".." || len(name) > maxFileName {
			t.Errorf("%q", name)
		}
	})
}
