package sandbox_test

import (
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/google/go-cmp/cmp"
	"github.com/rs/zerolog"

	"github.com/plugfn/plugfn/internal/sandbox"
	"github.com/plugfn/plugfn/pkg/events"
	"github.com/plugfn/plugfn/pkg/providers"
	"github.com/plugfn/plugfn/pkg/providers/providertest"
)

// stage is a sandbox behind a real server.
type stage struct {
	t       testing.TB
	packs   map[string]*providers.Pack
	sandbox *sandbox.Sandbox
	url     string
}

func newStage(t testing.TB, packs map[string]*providers.Pack) stage {
	t.Helper()
	s, err := sandbox.New(sandbox.Config{Packs: packs, Log: zerolog.Nop()})
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(s.Handler())
	t.Cleanup(server.Close)
	return stage{t: t, packs: packs, sandbox: s, url: server.URL}
}

func catalogPacks(t testing.TB) map[string]*providers.Pack {
	t.Helper()
	packs, err := providertest.Catalog()
	if err != nil {
		t.Fatal(err)
	}
	return packs
}

// do sends r and returns the response, read to its end.
func (s stage) do(r *http.Request) (*http.Response, string) {
	s.t.Helper()
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		s.t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		s.t.Fatal(err)
	}
	return resp, string(body)
}

// send makes a request by hand. Headers are name, value, …
func (s stage) send(method, path, body string, headers ...string) (*http.Response, string) {
	s.t.Helper()
	r, err := http.NewRequestWithContext(s.t.Context(), method, s.url+path, strings.NewReader(body))
	if err != nil {
		s.t.Fatal(err)
	}
	for i := 0; i < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	return s.do(r)
}

// execute asks for an action as the executor does. change may spoil the request.
func (s stage) execute(provider, action string, params json.RawMessage, change func(*http.Request)) (json.RawMessage, error) {
	s.t.Helper()
	a, ok := s.packs[provider].Action(action)
	if !ok {
		s.t.Fatalf("%s has no action %s", provider, action)
	}
	credential := providers.Credential{Token: providers.NewSecret([]byte("any")), Fields: map[string]providers.Secret{}}
	if auth, ok := s.packs[provider].AuthByID(""); ok {
		for _, f := range auth.Fields {
			credential.Fields[f.Name] = providers.NewSecret([]byte("any"))
		}
	}
	r, err := a.NewRequest(s.t.Context(), sandbox.BaseURL(s.url+"/", provider), params, credential)
	if err != nil {
		s.t.Fatal(err)
	}
	if file, ok := a.File(params); ok {
		content := func() (io.Reader, error) { return strings.NewReader(strings.Repeat("x", int(file.Size))), nil }
		if err := a.Attach(r, params, file, content); err != nil {
			s.t.Fatal(err)
		}
	}
	if change != nil {
		change(r)
	}
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		s.t.Fatal(err)
	}
	defer resp.Body.Close()
	return a.Read(resp)
}

func code(err error) events.Code {
	var e *events.Error
	if errors.As(err, &e) {
		return e.Code
	}
	return ""
}

func value(t testing.TB, raw json.RawMessage) any {
	t.Helper()
	var v any
	if err := json.Unmarshal(raw, &v); err != nil {
		t.Fatalf("%v: %s", err, raw)
	}
	return v
}

// TestFixturesOfCatalog asks for what the fixtures ask for, and has to get what
// they get.
func TestFixturesOfCatalog(t *testing.T) {
	s := newStage(t, catalogPacks(t))
	for name, pack := range s.packs {
		fixtures, err := pack.ActionFixtures()
		if err != nil {
			t.Fatal(err)
		}
		played := map[string]bool{}
		for _, f := range fixtures {
			if !f.IsSuccess() {
				continue
			}
			played[f.Action] = true
			t.Run(name+"/"+f.Name, func(t *testing.T) {
				data, err := s.execute(name, f.Action, f.Params, nil)
				if err != nil {
					t.Fatal(err)
				}
				if pack.Actions[f.Action].GivesFile() {
					if text := value(t, data); text != f.Response.Text {
						t.Errorf("the file is %q, want %q", text, f.Response.Text)
					}
					return
				}
				if diff := cmp.Diff(value(t, f.Data()), value(t, data)); diff != "" {
					t.Error(diff)
				}
			})
		}
		for action := range pack.Actions {
			if !played[action] {
				t.Errorf("%s has no fixture of a success of %s", name, action)
			}
		}
	}
}

func TestWithoutCredential(t *testing.T) {
	s := newStage(t, catalogPacks(t))
	for name, pack := range s.packs {
		auth, ok := pack.AuthByID("")
		if !ok || auth.Type == providers.AuthNone {
			continue
		}
		fixtures, err := pack.ActionFixtures()
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range fixtures {
			_, err := s.execute(name, f.Action, f.Params, func(r *http.Request) {
				query := r.URL.Query()
				for _, auth := range pack.Auth {
					r.Header.Del(auth.Apply.Header)
					query.Del(auth.Apply.Query)
				}
				r.Header.Del("Authorization")
				r.URL.RawQuery = query.Encode()
			})
			if code(err) != events.CodeNeedsReauth {
				t.Errorf("%s %s: got %v, want %s", name, f.Action, err, events.CodeNeedsReauth)
			}
		}
	}
}

func TestCredentialOfAnotherForm(t *testing.T) {
	s := newStage(t, catalogPacks(t))
	for _, bad := range []string{"", "Bearer", "Bearer ", "Basic any", "any"} {
		_, err := s.execute("github", "repos.get", json.RawMessage(`{"owner":"o","repo":"r"}`), func(r *http.Request) { r.Header.Set("Authorization", bad) })
		if code(err) != events.CodeNeedsReauth {
			t.Errorf("Authorization %q: got %v, want %s", bad, err, events.CodeNeedsReauth)
		}
	}
}

func TestAnswerRepeatsTheCaller(t *testing.T) {
	s := newStage(t, catalogPacks(t))
	data, err := s.execute("slack", "chat.postMessage", json.RawMessage(`{"channel":"#here","text":"a <b> & \"c\" ü"}`), nil)
	if err != nil {
		t.Fatal(err)
	}
	var message struct {
		Channel string
		Message struct{ Text string }
	}
	if err := json.Unmarshal(data, &message); err != nil {
		t.Fatal(err)
	}
	if message.Channel != "#here" || message.Message.Text != `a <b> & "c" ü` {
		t.Errorf("got %s", data)
	}

	data, err = s.execute("github", "issues.get", json.RawMessage(`{"owner":"o","repo":"r","issue_number":77}`), nil)
	if err != nil {
		t.Fatal(err)
	}
	var issue struct{ Number int }
	if err := json.Unmarshal(data, &issue); err != nil {
		t.Fatal(err)
	}
	if issue.Number != 77 {
		t.Errorf("got issue %d", issue.Number)
	}
}

func TestUnknown(t *testing.T) {
	s := newStage(t, catalogPacks(t))
	for _, path := range []string{"/", "/nobody/repos/o/r", "/github", "/github/", "/github/nothing", "/github/repos/o", "/github/repos/o/r/", "/github//repos/o/r", "/GitHub/repos/o/r"} {
		resp, body := s.send(http.MethodGet, path, "", "Authorization", "Bearer any")
		if resp.StatusCode != http.StatusNotFound || !json.Valid([]byte(body)) {
			t.Errorf("%s: got %d %s", path, resp.StatusCode, body)
		}
	}
	if _, body := s.send(http.MethodPut, "/github/repos/o/r", "", "Authorization", "Bearer any"); !strings.Contains(body, `"Not Found"`) {
		t.Errorf("GitHub's own 404 was not used: %s", body)
	}
}

// shopPack is the pack of testdata.
func shopPack(t testing.TB) map[string]*providers.Pack {
	t.Helper()
	packs, err := providers.LoadAll(os.DirFS("testdata"))
	if err != nil {
		t.Fatal(err)
	}
	return packs
}

func TestShop(t *testing.T) {
	s := newStage(t, shopPack(t))
	tests := []struct {
		name, action, params, want string
	}{
		{"number only under its name", "order.get", `{"number":12,"exact":true}`, `{"id":7,"lines":[{"order_number":7}],"number":12,"total":7.0}`},
		{"same as the fixture", "order.get", `{"number":7}`, `{"id": 7, "number": 7, "total": 7.0, "lines": [{"order_number": 7}]}`},
		{"text", "order.text", `{"code":"XYZ"}`, `"not JSON: ABC"`},
		{"what is not sent is not missed", "order.move", `{"number":1,"why":"w"}`, `{"moved":7}`},
		{"no content", "order.void", `{"number":1}`, `null`},
		{"form", "order.add", `{"name":"7","count":3,"gift":true,"items":["white","red"]}`, `{"note":"Tea!","order":{"count":3,"items":[{"label":"white"},{"label":"black"}],"name":"7","stock":2}}`},
		{"form without a list", "order.add", `{"name":"Mug","count":2}`, `{"note":"Tea!","order":{"count":2,"items":[{"label":"green"},{"label":"black"}],"name":"Mug","stock":2}}`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			data, err := s.execute("shop", tt.action, json.RawMessage(tt.params), nil)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(value(t, json.RawMessage(tt.want)), value(t, data)); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestRefusals(t *testing.T) {
	s := newStage(t, shopPack(t))
	const form = "application/x-www-form-urlencoded"
	tests := []struct {
		name, method, path, body, contentType string
		status                                int
		message                               string
	}{
		{"no credential", "GET", "/bare/ask", "", "", 401, "no credential"},
		{"no credential, the action's own answer", "POST", "/shop/orders", "", "", 401, "members only"},
		{"no credential, another action's answer", "GET", "/shop/orders/no.7", "", "", 401, "staff only"},
		{"other form of credential", "GET", "/shop/orders/no.7?key=k-z", "", "", 401, "staff only"},
		{"wrong type in the path", "GET", "/shop/orders/no.seven?key=k-1-z", "", "", 422, "/number: must be integer"},
		{"out of range", "GET", "/shop/orders/no.0?key=k-1-z", "", "", 422, "/number: must be at least 1"},
		{"wrong type in the query", "GET", "/shop/orders/no.1?key=k-1-z&exact=2", "", "", 422, "/exact: must be boolean"},
		{"no form", "POST", "/shop/orders?key=k-1-z", "name=%zz", form, 400, "no form"},
		{"missing field", "POST", "/shop/orders?key=k-1-z", "name=Tea", form, 422, "/count: required"},
		{"unknown field", "POST", "/shop/orders?key=k-1-z", "name=Tea&count=1&colour=red", form, 422, "/colour: unknown"},
		{"too large a number", "POST", "/shop/orders?key=k-1-z", "name=Tea&count=10", form, 422, "/count: must be at most 9"},
		{"no content type", "POST", "/shop/orders?key=k-1-z", "name=Tea&count=1", "", 415, form},
		{"other content type", "POST", "/shop/orders?key=k-1-z", `{"name":"Tea","count":1}`, "application/json", 415, form},
		{"too long", "POST", "/shop/orders?key=k-1-z", "name=" + strings.Repeat("x", 1<<20), form, 413, "1 MiB"},
		{"filter that loses something is not checked", "GET", "/shop/codes/x%20y?key=k-1-z", "", "", 200, ""},
		{"no fixture", "GET", "/shop/lost?key=k-1-z", "", "", 501, "order.lost"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			resp, body := s.send(tt.method, tt.path, tt.body, "Content-Type", tt.contentType)
			if resp.StatusCode != tt.status || !strings.Contains(body, tt.message) {
				t.Errorf("got %d %s", resp.StatusCode, body)
			}
		})
	}
}

func TestJSONBodies(t *testing.T) {
	s := newStage(t, catalogPacks(t))
	for body, status := range map[string]int{
		``: 400, `{`: 400, `[]`: 400, `null`: 400, `{"title":"t"} x`: 400,
		`{}`: 422, `{"title":1}`: 422, `{"title":"t","titel":"t"}`: 422, `{"title":"t"}`: 201,
	} {
		resp, answer := s.send("POST", "/github/repos/o/r/issues", body, "Authorization", "Bearer any", "Content-Type", "application/json")
		if resp.StatusCode != status {
			t.Errorf("%s: got %d %s", body, resp.StatusCode, answer)
		}
	}
}

func TestNoFixtureHeaderBreaksTheAnswer(t *testing.T) {
	s := newStage(t, shopPack(t))
	resp, body := s.send("GET", "/shop/orders/no.7?key=k-1-z", "")
	if resp.Header.Get("X-Left") != "7" || resp.Header.Get("Content-Length") == "3" || !json.Valid([]byte(body)) {
		t.Errorf("got %v %s", resp.Header, body)
	}
	if resp.Header.Get("X-Content-Type-Options") != "nosniff" {
		t.Error("a browser may take the answer for a page")
	}
}

func TestNewRefuses(t *testing.T) {
	if _, err := sandbox.New(sandbox.Config{}); err == nil {
		t.Error("no packs were accepted")
	}
	pack, err := os.ReadFile("testdata/shop/provider.yaml")
	if err != nil {
		t.Fatal(err)
	}
	packs, err := providers.LoadAll(fstest.MapFS{
		"shop/provider.yaml":           {Data: pack},
		"shop/fixtures/actions/x.yaml": {Data: []byte("action: order.gte\n")},
	})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := sandbox.New(sandbox.Config{Packs: packs}); err == nil || !strings.Contains(err.Error(), "order.get") {
		t.Errorf("a broken fixture gave %v", err)
	}
}

// A list leads to one further page, whatever path its fixture's link has.
func TestListsHaveTwoPages(t *testing.T) {
	s := newStage(t, catalogPacks(t))
	path := "/github/repos/octocat/Hello-World/issues?state=all&labels=bug,hall&sort=updated&direction=asc&per_page=2&page=1"
	first, _ := s.send(http.MethodGet, path, "", "Authorization", "Bearer sandbox")
	next := providers.NextLink(first.Header)
	if first.StatusCode != http.StatusOK || !strings.HasPrefix(next, s.url+"/github/repos/octocat/Hello-World/issues?") || !strings.Contains(next, "state=all") {
		t.Fatalf("%d, next %q", first.StatusCode, next)
	}
	second, _ := s.send(http.MethodGet, strings.TrimPrefix(next, s.url), "", "Authorization", "Bearer sandbox")
	if second.StatusCode != http.StatusOK || providers.NextLink(second.Header) != "" {
		t.Errorf("%d, next %q", second.StatusCode, providers.NextLink(second.Header))
	}
}
