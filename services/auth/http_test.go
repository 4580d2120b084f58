package auth

import (
	"encoding/json"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/plugfn/plugfn/internal/api"
	"github.com/plugfn/plugfn/pkg/events"
	"github.com/plugfn/plugfn/pkg/providers"
)

// web is the HTTP side of a rig.
type web struct {
	*httptest.Server
	key string
}

func newWeb(t testing.TB, r *rig) *web {
	t.Helper()
	mux := http.NewServeMux()
	r.Mount(mux)
	w := &web{Server: httptest.NewServer(mux), key: "Bearer " + apiKey}
	t.Cleanup(func() {
		w.Client().CloseIdleConnections()
		w.Close()
	})
	return w
}

// answer is what a request got.
type answer struct {
	status int
	header http.Header
	body   string
}

func (w *web) do(t testing.TB, method, path, body string, headers ...string) answer {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), method, w.URL+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set("Authorization", w.key)
	for i := 0; i < len(headers); i += 2 {
		request.Header.Set(headers[i], headers[i+1])
	}
	response, err := w.Client().Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return answer{response.StatusCode, response.Header, string(text)}
}

func parse[T any](t testing.TB, text string) T {
	t.Helper()
	var value T
	if err := json.Unmarshal([]byte(text), &value); err != nil {
		t.Fatalf("%v in %s", err, text)
	}
	return value
}

func (a answer) problem(t testing.TB) problem {
	t.Helper()
	if got := a.header.Get("Content-Type"); got != api.ProblemType {
		t.Errorf("content type %q of %s", got, a.body)
	}
	p := parse[problem](t, a.body)
	if p.Status != a.status || p.Title != http.StatusText(a.status) || p.Detail == "" {
		t.Errorf("status %d with %s", a.status, a.body)
	}
	return p
}

const newGithub = `{"user_id":"u1","provider":"github","token":"ghp_canary","name":"work","account":"4711"}`

func TestHTTPLifeOfAConnection(t *testing.T) {
	w := newWeb(t, newRig(t))
	made := w.do(t, "POST", pathConnections, newGithub, "Content-Type", "application/json")
	if made.status != http.StatusCreated {
		t.Fatalf("created: %d %s", made.status, made.body)
	}
	c := parse[events.Connection](t, made.body)
	if c.UserID != "u1" || c.Provider != "github" || c.Name != "work" || c.Account != "4711" || c.Auth != "pat" || c.Status != events.ConnectionActive {
		t.Errorf("created %+v", c)
	}
	members := slices.Sorted(maps.Keys(parse[map[string]any](t, made.body)))
	if diff := cmp.Diff([]string{"account", "auth", "created_at", "id", "name", "provider", "status", "updated_at", "user_id", "version"}, members); diff != "" {
		t.Error(diff)
	}
	for _, path := range []string{"/" + c.ID, "/" + c.ID + "?user_id=u1"} {
		got := w.do(t, "GET", pathConnections+path, "")
		if diff := cmp.Diff(made.body, got.body); got.status != http.StatusOK || diff != "" {
			t.Errorf("get %s: %d %s", path, got.status, diff)
		}
		if got.header.Get("Cache-Control") != "no-store" || got.header.Get("Link") != "" {
			t.Errorf("headers %v", got.header)
		}
	}
	list := w.do(t, "GET", pathConnections+"?user_id=u1&provider=github&limit=1", "")
	if page := parse[struct{ Connections []events.Connection }](t, list.body); list.status != http.StatusOK || !cmp.Equal(page.Connections, []events.Connection{c}) {
		t.Errorf("list: %d %s", list.status, list.body)
	}
	if none := w.do(t, "GET", pathConnections+"?user_id=u2", ""); strings.TrimSpace(none.body) != `{"connections":[]}` {
		t.Errorf("list of nobody: %s", none.body)
	}
	gone := w.do(t, "DELETE", pathConnections+"/"+c.ID+"?user_id=u1", "")
	if gone.status != http.StatusOK || parse[disconnected](t, gone.body) != (disconnected{Deleted: true}) {
		t.Errorf("delete: %d %s", gone.status, gone.body)
	}
	if again := w.do(t, "DELETE", pathConnections+"/"+c.ID, ""); again.status != http.StatusNotFound {
		t.Errorf("delete again: %d %s", again.status, again.body)
	}
}

func TestHTTPWrongUserIsLikeUnknown(t *testing.T) {
	r := newRig(t)
	w := newWeb(t, r)
	c := r.connect(t, "u1", "github", "ghp_canary")
	unknown := strings.Replace(c.ID, "con_", "con-", 1)
	for _, route := range [][3]string{
		{"GET"},
		{"DELETE"},
		{"GET", "/audit"},
		{"PATCH", "", `{"name":"mine"}`},
		{"POST", "/refresh"},
		{"POST", "/test"},
		{"POST", "/reconnect", `{"token":"ghp_mine"}`},
	} {
		method := route[0] + " " + route[1]
		wrong := w.do(t, route[0], pathConnections+"/"+c.ID+route[1]+"?user_id=u2", route[2])
		absent := w.do(t, route[0], pathConnections+"/"+unknown+route[1]+"?user_id=u2", route[2])
		if wrong.status != http.StatusNotFound || absent.status != http.StatusNotFound {
			t.Errorf("%s: status %d and %d", method, wrong.status, absent.status)
		}
		if p := wrong.problem(t); p.Code != events.CodeConnectionNotFound {
			t.Errorf("%s: %+v", method, p)
		}
		if diff := cmp.Diff(strings.ReplaceAll(absent.body, unknown, c.ID), wrong.body); diff != "" {
			t.Errorf("%s: %s", method, diff)
		}
	}
	if still, err := r.store.get(t.Context(), "u1", c.ID); err != nil || !cmp.Equal(still.Connection, c) {
		t.Errorf("changed by another user: %+v, %v", still, err)
	}
}

func TestHTTPWantsTheKey(t *testing.T) {
	r := newRig(t)
	w := newWeb(t, r)
	c := r.connect(t, "u1", "github", "ghp_canary")
	routes := [][2]string{
		{"GET", pathConnections},
		{"POST", pathConnections},
		{"GET", pathConnections + "/" + c.ID},
		{"DELETE", pathConnections + "/" + c.ID},
		{"PATCH", pathConnections + "/" + c.ID},
		{"POST", pathConnections + "/" + c.ID + "/refresh"},
		{"POST", pathConnections + "/" + c.ID + "/test"},
		{"POST", pathConnections + "/" + c.ID + "/reconnect"},
		{"GET", pathConnections + "/" + c.ID + "/audit"},
		{"GET", api.PathOpenAPI},
		{"PATCH", pathConnections},
		{"GET", pathConnections + "/a/b"},
	}
	headers := []string{"", apiKey, "Basic " + apiKey, "Bearer", "Bearer ", "Bearer " + apiKey + "x", "Bearer " + apiKey[1:], "Bearer x " + apiKey, "Bearerx " + apiKey}
	for _, route := range routes {
		for _, header := range headers {
			w.key = header
			got := w.do(t, route[0], route[1], newGithub)
			if got.status != http.StatusUnauthorized || got.header.Get("WWW-Authenticate") == "" {
				t.Errorf("%s %s with %q: %d %s", route[0], route[1], header, got.status, got.body)
			}
			if p := got.problem(t); strings.Contains(got.body, apiKey) || p.Code != "" {
				t.Errorf("%s %s with %q: %s", route[0], route[1], header, got.body)
			}
		}
	}
	w.key = "bearer  " + apiKey
	if got := w.do(t, "GET", pathConnections, ""); got.status != http.StatusOK {
		t.Errorf("the scheme is case-insensitive: %d", got.status)
	}
	if items, _, err := r.store.list(t.Context(), query{}); err != nil || len(items) != 1 {
		t.Errorf("left: %v, %v", items, err)
	}
}

func TestHTTPRefuses(t *testing.T) {
	r := newRig(t)
	w := newWeb(t, r)
	c := r.connect(t, "u1", "github", "t")
	one := pathConnections + "/" + c.ID
	pad := func(n int) string { return newGithub + strings.Repeat(" ", n-len(newGithub)) }
	tests := []struct {
		name, method, path, body string
		status                   int
		code                     events.Code
		want                     string // in the detail
	}{
		{"no body", "POST", pathConnections, "", 400, events.CodeInvalidParams, "must be a JSON object"},
		{"broken JSON", "POST", pathConnections, newGithub[:50], 400, events.CodeInvalidParams, "must be a JSON object"},
		{"two values", "POST", pathConnections, newGithub + newGithub, 400, events.CodeInvalidParams, "must be a JSON object"},
		{"array", "POST", pathConnections, `["ghp_canary"]`, 422, events.CodeInvalidParams, "expected object"},
		{"string", "POST", pathConnections, `"ghp_canary"`, 422, events.CodeInvalidParams, "expected object"},
		{"null", "POST", pathConnections, `null`, 422, events.CodeInvalidParams, "expected object"},
		{"empty object", "POST", pathConnections, `{}`, 422, events.CodeInvalidParams, "property provider to be present"},
		{"unknown field", "POST", pathConnections, `{"user_id":"u1","provider":"github","token":"ghp_canary","tokne":"ghp_canary"}`, 422, events.CodeInvalidParams, "tokne: unexpected property"},
		{"many unknown fields", "POST", pathConnections, `{"a":1,"b":1,"c":1,"d":1,"e":1,"f":1,"g":1,"h":1,"i":1,"j":1,"k":1,"l":1}`, 422, events.CodeInvalidParams, "unexpected property"},
		{"token that is a number", "POST", pathConnections, `{"user_id":"u1","provider":"github","token":271828182845}`, 422, events.CodeInvalidParams, "token: expected string"},
		{"token that is an object", "POST", pathConnections, `{"user_id":"u1","provider":"github","token":{"value":"ghp_canary"}}`, 422, events.CodeInvalidParams, "token: expected string"},
		{"empty token", "POST", pathConnections, `{"user_id":"u1","provider":"github","token":""}`, 422, events.CodeInvalidParams, "token: "},
		{"token with a line break", "POST", pathConnections, `{"user_id":"u1","provider":"github","token":"ghp_canary\n"}`, 422, events.CodeInvalidParams, "token: must be"},
		{"unknown provider", "POST", pathConnections, `{"user_id":"u1","provider":"gihub","token":"ghp_canary"}`, 404, events.CodeUnknownProvider, "did you mean github?"},
		{"longest body", "POST", pathConnections, pad(api.MaxBody), 201, "", ""},
		{"longer body", "POST", pathConnections, pad(api.MaxBody + 1), 413, events.CodeInvalidParams, "64 KiB"},
		{"far longer body", "POST", pathConnections, pad(10 * api.MaxBody), 413, events.CodeInvalidParams, "64 KiB"},
		{"unknown parameter", "GET", pathConnections + "?user=u1", "", 422, events.CodeInvalidParams, "user: unknown query parameter"},
		{"unknown parameter of one", "DELETE", one + "?user=u2", "", 422, events.CodeInvalidParams, "user: unknown query parameter"},
		{"empty parameter", "GET", pathConnections + "?user_id=", "", 422, events.CodeInvalidParams, "user_id: is empty"},
		{"empty parameter of one", "DELETE", one + "?user_id", "", 422, events.CodeInvalidParams, "user_id: is empty"},
		{"parameter twice", "DELETE", one + "?user_id=u2&user_id=u1", "", 422, events.CodeInvalidParams, "user_id: is given more than once"},
		{"parameter twice, once escaped", "DELETE", one + "?user%5Fid=u2&user_id=u1", "", 422, events.CodeInvalidParams, "user_id: is given more than once"},
		{"escaped parameter", "DELETE", one + "?user%5Fid=u2", "", 404, events.CodeConnectionNotFound, c.ID},
		{"broken query", "DELETE", one + "?user_id=%zz", "", 422, events.CodeInvalidParams, "not well-formed"},
		{"broken query with semicolon", "DELETE", one + "?limit=1;user_id=u2", "", 422, events.CodeInvalidParams, "not well-formed"},
		{"limit that is no number", "GET", pathConnections + "?limit=ghp_canary", "", 422, events.CodeInvalidParams, "limit: "},
		{"limit zero", "GET", pathConnections + "?limit=0", "", 422, events.CodeInvalidParams, "limit: expected number >= 1"},
		{"limit too high", "GET", pathConnections + "?limit=201", "", 422, events.CodeInvalidParams, "limit: expected number <= 200"},
		{"strange cursor", "GET", pathConnections + "?cursor=x", "", 422, events.CodeInvalidParams, "cursor: "},
		{"unknown connection", "GET", one + "x", "", 404, events.CodeConnectionNotFound, c.ID + "x"},
		{"long id", "GET", pathConnections + "/" + strings.Repeat("x", 3000), "", 404, events.CodeConnectionNotFound, "…"},
		{"id with escapes", "GET", pathConnections + "/%2e%2e%2f%3e%0a", "", 404, events.CodeConnectionNotFound, `"../>\n"`},
		{"other method", "PUT", one, newGithub, 405, "", api.PathOpenAPI},
		{"other path", "GET", one + "/token", "", 404, "", api.PathOpenAPI},
		{"no id", "GET", pathConnections + "/", "", 404, "", api.PathOpenAPI},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got := w.do(t, tt.method, tt.path, tt.body)
			if got.status != tt.status {
				t.Fatalf("status %d, want %d: %s", got.status, tt.status, got.body)
			}
			for _, shown := range []string{"ghp_canary", "271828"} {
				if strings.Contains(got.body, shown) {
					t.Errorf("%s is shown: %s", shown, got.body)
				}
			}
			if tt.status < 400 {
				return
			}
			p := got.problem(t)
			if p.Code != tt.code || !strings.Contains(p.Detail, tt.want) || len(p.Faults) > api.MaxFaults || len(got.body) > 4096 {
				t.Errorf("got %s, want code %q and %q", got.body, tt.code, tt.want)
			}
		})
	}
	if got := w.do(t, "POST", pathConnections, newGithub, "Content-Type", "application/x-www-form-urlencoded"); got.status != 415 || got.problem(t).Code != events.CodeInvalidParams {
		t.Errorf("form: %d %s", got.status, got.body)
	}
	if got := w.do(t, "PUT", one, ""); got.header.Get("Allow") != "DELETE, GET, HEAD, PATCH" {
		t.Errorf("Allow: %v", got.header)
	}
	if _, err := r.store.get(t.Context(), "u1", c.ID); err != nil {
		t.Errorf("the connection did not outlive this: %v", err)
	}
	if strings.Contains(r.log.String(), "ghp_canary") {
		t.Errorf("a token is in the log: %s", r.log)
	}
}

func TestHTTPOwnTroubleIsLoggedNotShown(t *testing.T) {
	r := newRig(t)
	w := newWeb(t, r)
	if err := r.bus.JetStream().DeleteKeyValue(t.Context(), events.BucketConnections); err != nil {
		t.Fatal(err)
	}
	got := w.do(t, "POST", pathConnections, newGithub)
	p := got.problem(t)
	if got.status != 500 || p.Code != events.CodeInternal || p.RequestID == "" || strings.Contains(got.body, "nats") {
		t.Errorf("got %d %s", got.status, got.body)
	}
	if log := r.log.String(); !strings.Contains(log, p.RequestID) || strings.Contains(log, "ghp_canary") {
		t.Errorf("log: %s", log)
	}
}

func TestHTTPUnreadableConnection(t *testing.T) {
	r := newRig(t)
	w := newWeb(t, r)
	c := r.connect(t, "u1", "github", "t")
	r.overwrite(t, c, []byte("{"))
	got := w.do(t, "GET", pathConnections+"/"+c.ID+"?user_id=u1", "")
	shown := parse[connection](t, got.body)
	if got.status != 200 || shown.Status != events.ConnectionError || shown.Error == nil || shown.Error.Code != events.CodeNeedsReauth || shown.ID != c.ID {
		t.Errorf("got %d %s", got.status, got.body)
	}
}

func TestHTTPOpenAPI(t *testing.T) {
	w := newWeb(t, newRig(t))
	got := w.do(t, "GET", api.PathOpenAPI, "")
	if got.status != 200 || got.header.Get("Content-Type") != "application/openapi+json" {
		t.Fatalf("got %d %v", got.status, got.header)
	}
	doc := parse[struct {
		OpenAPI    string
		Paths      map[string]map[string]any
		Components struct {
			Schemas map[string]struct{ Properties map[string]any }
		}
	}](t, got.body)
	operations := map[string][]string{}
	for path, methods := range doc.Paths {
		operations[path] = slices.Sorted(maps.Keys(methods))
	}
	maps.DeleteFunc(operations, func(path string, _ []string) bool { return !strings.HasPrefix(path, pathConnections) })
	want := map[string][]string{
		pathConnections: {"get", "post"}, pathStart: {"post"}, pathDevice: {"post"},
		pathConnection: {"delete", "get", "patch"}, pathConnection + "/refresh": {"post"}, pathConnection + "/test": {"post"},
		pathConnection + "/reconnect": {"post"}, pathConnection + "/audit": {"get"},
	}
	if diff := cmp.Diff(want, operations); diff != "" {
		t.Error(diff)
	}
	schemas := doc.Components.Schemas
	if schemas["Problem"].Properties["code"] == nil || schemas["Connection"].Properties["user_id"] == nil {
		t.Errorf("schemas: %v", slices.Sorted(maps.Keys(schemas)))
	}
	if schemas["Connection"].Properties["token"] != nil || strings.Contains(got.body, "ErrorModel") {
		t.Errorf("document: %s", got.body)
	}
	for _, path := range []string{"/docs", "/openapi.json", "/openapi.yaml", "/schemas/Connection.json"} {
		if other := w.do(t, "GET", path, ""); other.status != 404 {
			t.Errorf("%s is served: %s", path, other.body)
		}
	}
}

func TestInvalidRequestNeverQuotesTheDecoder(t *testing.T) {
	w := newWeb(t, newRig(t))
	// An escaped surrogate passes the validator; whatever the decoder makes of
	// it, the answer does not show it.
	got := w.do(t, "POST", pathConnections, `{"user_id":"u1","provider":"github","token":"ghp_canary\ud800 "}`)
	if strings.Contains(got.body, "ghp_canary") {
		t.Errorf("shown: %s", got.body)
	}
}

func TestGuardWithAZeroKeyLetsNobodyIn(t *testing.T) {
	s := &Service{apiKey: providers.Secret{}}
	recorder := httptest.NewRecorder()
	s.guard(http.NewServeMux()).ServeHTTP(recorder, httptest.NewRequest(http.MethodGet, pathConnections, nil))
	if recorder.Code != http.StatusUnauthorized {
		t.Errorf("let in: %d", recorder.Code)
	}
}
