package executor

import (
	"encoding/json"
	"fmt"
	"io"
	"mime"
	"mime/multipart"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"github.com/plugfn/plugfn/internal/outbound"
	"github.com/plugfn/plugfn/pkg/events"
)

const filePack = `
apiVersion: plugfn.dev/v1
kind: Provider
name: fake
version: 1.0.0
display: {name: Fake}
event_prefix: test.fake
auth:
  - {id: token, type: api_key, apply: {header: Authorization, value: "Bearer {{credential.token}}"}}
http: {base_url: "https://fake.invalid", allow_hosts: [ELSEWHERE]}
actions:
  files.get:
    summary: Downloads a file
    effect: read
    response: file
    max_file: 2MiB
    retry: {attempts: 1}
    request: {method: GET, path: "/files/{{params.id}}"}
    params: {type: object, required: [id], additionalProperties: false, properties: {id: {type: string}}}
  files.form:
    summary: Uploads a file with fields
    effect: none
    max_file: 2MiB
    request: {method: POST, path: "/files/{{params.folder}}", body: {encoding: multipart, file: file}}
    params: {type: object, required: [folder, file], additionalProperties: false, properties: {folder: {type: string}, title: {type: string}, file: {type: object}}}
  files.put:
    summary: Uploads a file as it is
    effect: idempotent
    request: {method: PUT, path: "/files/{{params.id}}", body: {encoding: raw, file: content}}
    params: {type: object, required: [id, content], additionalProperties: false, properties: {id: {type: string}, content: {type: object}}}
`

// shelves takes and gives files.
type shelves struct {
	mu        sync.Mutex
	got       map[string]string // :: path → what came
	elsewhere string            // base URL of where redirects lead
}

func (f *shelves) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.got == nil {
		f.got = map[string]string{}
	}
	switch {
	case r.Method == http.MethodPut:
		body, _ := io.ReadAll(r.Body)
		f.got[r.URL.Path] = fmt.Sprint(r.Header.Get("Content-Type"), " ", r.ContentLength, " ", string(body))
		_, _ = io.WriteString(w, `{"ok":true}`)
	case r.Method == http.MethodPost:
		f.got[r.URL.Path] = partsOf(r)
		_, _ = io.WriteString(w, `{"ok":true}`)
	case r.URL.Path == "/files/moved":
		http.Redirect(w, r, f.elsewhere+"/x/moved.bin?token=1", http.StatusFound)
	case r.URL.Path == "/files/away":
		http.Redirect(w, r, "https://another.invalid/x", http.StatusFound)
	case r.URL.Path == "/files/missing":
		w.WriteHeader(http.StatusNotFound)
	default:
		n := map[string]int{"/files/small": 10, "/files/big": 1500 << 10, "/files/huge": 2<<20 + 1, "/files/none": 0}[r.URL.Path]
		w.Header().Set("Content-Type", "application/zip; charset=binary")
		w.Header().Set("Content-Disposition", `attachment; filename="../a file.zip"`)
		w.Header().Set("X-Accept", r.Header.Get("Accept"))
		w.WriteHeader(http.StatusOK)
		_, _ = io.WriteString(w, strings.Repeat("z", n))
	}
}

// at is what came for a path.
func (f *shelves) at(path string) string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.got[path]
}

// partsOf is a form as a text.
func partsOf(r *http.Request) string {
	_, of, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if err != nil {
		return err.Error()
	}
	var all []string
	for parts := multipart.NewReader(r.Body, of["boundary"]); ; {
		part, err := parts.NextPart()
		if err != nil {
			return strings.Join(all, "; ")
		}
		body, _ := io.ReadAll(part)
		all = append(all, fmt.Sprintf("%s %q %q %s", part.FormName(), part.FileName(), part.Header.Get("Content-Type"), body))
	}
}

func tellFiles(t *testing.T, f *shelves) *story {
	t.Helper()
	other := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != "" {
			w.WriteHeader(http.StatusTeapot) // the credential has no business here
			return
		}
		_, _ = io.WriteString(w, "moved here")
	}))
	t.Cleanup(other.Close)
	f.elsewhere = other.URL
	client := outbound.New(outbound.Config{AnyAddress: true})
	t.Cleanup(client.CloseIdleConnections)
	pack := strings.Replace(filePack, "ELSEWHERE", strings.TrimPrefix(other.URL, "http://"), 1)
	return tellPack(t, pack, f.ServeHTTP, func(c *Config) { c.HTTP = client })
}

// stored puts a file into the store, as an application does.
func (s *story) stored(user, text string) events.File {
	s.Helper()
	ref, err := events.Payloads{Conn: s.app}.Copy(s.Context(), user, strings.NewReader(text), 4<<20)
	if err != nil {
		s.Fatal(err)
	}
	return events.File{PayloadRef: ref, Name: "plan \"1\".txt", ContentType: "text/plain"}
}

func paramsOf(t *testing.T, params map[string]any) json.RawMessage {
	t.Helper()
	raw, err := json.Marshal(params)
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

func TestDownload(t *testing.T) {
	s := tellFiles(t, &shelves{})
	s.start()
	for id, want := range map[string]string{"small": strings.Repeat("z", 10), "none": "", "big": strings.Repeat("z", 1500<<10), "moved": "moved here"} {
		r := s.ask(events.ActionRequest{ID: id, Action: "files.get", Params: paramsOf(t, map[string]any{"id": id})})
		f, ok := events.ParseFile(r.Data)
		if r.Outcome != events.Succeeded || !ok || !f.BelongsTo("u1") || f.Size != int64(len(want)) {
			t.Errorf("%s: %+v %v %s", id, r, r.Error, r.Data)
			continue
		}
		if name := map[string]string{"moved": "moved.bin"}[id]; name != "" && f.Name != name || name == "" && (f.Name != "a file.zip" || f.ContentType != "application/zip") {
			t.Errorf("%s: %+v", id, f)
		}
		if got, err := (events.Payloads{Conn: s.app}).Get(t.Context(), f.PayloadRef, 4<<20); err != nil || string(got) != want {
			t.Errorf("%s: %d bytes, %v", id, len(got), err)
		}
	}
	for id, want := range map[string]string{"huge": "longer than 2097152 bytes", "missing": "404", "away": "a host that is none of fake"} {
		r := s.ask(events.ActionRequest{ID: id, Action: "files.get", Params: paramsOf(t, map[string]any{"id": id})})
		if r.Outcome != events.Failed || r.Error.Code != events.CodeProviderRejected || !strings.Contains(r.Error.Message, want) {
			t.Errorf("%s: %+v %v", id, r, r.Error)
		}
	}
}

func TestUpload(t *testing.T) {
	f := &shelves{}
	s := tellFiles(t, f)
	s.start()
	text := strings.Repeat("0123456789", 120_000) // several pieces
	file := s.stored("u1", text)
	for _, r := range []events.ActionRequest{
		{Action: "files.form", Params: paramsOf(t, map[string]any{"folder": "in", "title": "A <plan>", "file": file})},
		{Action: "files.put", Params: paramsOf(t, map[string]any{"id": "1", "content": file})},
	} {
		if got := s.ask(r); got.Outcome != events.Succeeded || string(got.Data) != `{"ok":true}` {
			t.Errorf("%s: %+v %v", r.Action, got, got.Error)
		}
	}
	if want := `title "" "" A <plan>; file "plan \"1\".txt" "text/plain" ` + text; f.at("/files/in") != want {
		t.Errorf("the form is %.80s… with %d bytes, want %d", f.at("/files/in"), len(f.at("/files/in")), len(want))
	}
	if want := fmt.Sprint("text/plain ", len(text), " ", text); f.at("/files/1") != want {
		t.Errorf("the body is %.80s…", f.at("/files/1"))
	}
}

// Nothing is sent of what is not there, not whole, too long, or somebody else's.
func TestUploadOfWhatIsNoFile(t *testing.T) {
	f := &shelves{}
	s := tellFiles(t, f)
	s.start()
	foreign, gone, changed, long := s.stored("u2", "secret"), s.stored("u1", "x"), s.stored("u1", "x"), s.stored("u1", "x")
	gone.Subject = gone.Subject[:len(gone.Subject)-64] + strings.Repeat("0", 64)
	changed.SHA256 = strings.Repeat("0", 64)
	long.Size = 3 << 20
	for name, tt := range map[string]struct {
		file any
		want string
	}{
		"somebody else's": {foreign, "/file/subject: is no file of the user"},
		"gone":            {gone, "/file: the payload is not stored any more"},
		"changed":         {changed, "/file: the payload has not the hash"},
		"too long":        {long, "/file/size: the file has 3145728 bytes, allowed are 2097152"},
		"a path":          {"@/etc/passwd", "/file"},
		"half of one":     {map[string]any{"subject": "x"}, "/file: must be a stored file"},
	} {
		r := s.ask(events.ActionRequest{Action: "files.form", Params: paramsOf(t, map[string]any{"folder": "in", "file": tt.file})})
		if r.Outcome != events.Failed || r.Error.Code != events.CodeInvalidParams || !strings.Contains(r.Error.Message, tt.want) || r.Attempts != 0 {
			t.Errorf("%s: %+v %v", name, r, r.Error)
		}
	}
	if n := s.provider.count(); n > 0 {
		t.Errorf("%d requests were sent", n)
	}
}
