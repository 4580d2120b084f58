package plugfn_test

import (
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/plugfn/plugfn/pkg/plugfn"
)

// site is an application with the HTTP side of PlugFn in its router. A header
// says who is signed in.
type site struct {
	*testing.T
	url string
}

func (s *site) do(method, path, user, body string, header ...string) (status int, answer string) {
	s.Helper()
	r, err := http.NewRequestWithContext(s.Context(), method, s.url+path, strings.NewReader(body))
	if err != nil {
		s.Fatal(err)
	}
	r.Header.Set("X-User", user)
	r.Header.Set("Content-Type", "application/json")
	for i := 0; i < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	got, err := http.DefaultClient.Do(r)
	if err != nil {
		s.Fatal(err)
	}
	defer got.Body.Close()
	text, err := io.ReadAll(got.Body)
	if err != nil {
		s.Fatal(err)
	}
	return got.StatusCode, string(text)
}

func tellsHandler(t *testing.T, s *story) {
	h, err := s.Client().Handler(plugfn.HandlerConfig{
		Prefix: "/plugfn", AllowTokens: true,
		User: func(r *http.Request) (string, error) {
			if user := r.Header.Get("X-User"); user != "" {
				return user, nil
			}
			return "", errors.New("no session")
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	mux := http.NewServeMux()
	mux.Handle("/plugfn/", h)
	server := httptest.NewServer(mux)
	defer server.Close()
	defer http.DefaultClient.CloseIdleConnections()
	app := &site{T: t, url: server.URL}

	status, body := app.do("POST", "/plugfn/v1/connections?user_id=eve", "ada", `{"user_id":"eve","USER_ID":"eve","u\u017fer_id":"eve","provider":"github","token":"t"}`)
	var made struct {
		ID     string `json:"id"`
		UserID string `json:"user_id"`
	}
	if err := json.Unmarshal([]byte(body), &made); err != nil || status != http.StatusCreated || made.UserID != "ada" {
		t.Fatalf("%d %s", status, body)
	}
	link, err := s.Client().Connections().Link(s.ctx, "ada", []string{"github"}, "")
	if err != nil {
		t.Fatal(err)
	}
	page, err := url.Parse(link.URL)
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		method, path, user, body string
		header                   []string
		status                   int
		has, hasNot              string
	}{
		"nobody":           {"GET", "/plugfn/v1/connections", "", "", nil, 401, "nobody is signed in", ""},
		"one's own":        {"GET", "/plugfn/v1/connections", "ada", "", nil, 200, made.ID, "demo"},
		"all of them":      {"GET", "/plugfn/v1/connections?user_id=ada", "eve", "", nil, 200, "connections", made.ID},
		"somebody else's":  {"GET", "/plugfn/v1/connections/" + made.ID + "?user_id=ada", "eve", "", nil, 404, "connection_not_found", ""},
		"delete another's": {"DELETE", "/plugfn/v1/connections/" + made.ID, "eve", "", nil, 404, "", ""},
		"from elsewhere":   {"DELETE", "/plugfn/v1/connections/" + made.ID, "ada", "", []string{"Sec-Fetch-Site", "cross-site"}, 403, "", ""},
		"the operator's":   {"GET", "/plugfn/v1/keys", "ada", "", nil, 404, "no such route", ""},
		"apps":             {"POST", "/plugfn/v1/apps/github", "ada", "{}", nil, 404, "no such route", ""},
		"up the tree":      {"GET", "/plugfn/v1/connections/..%2Fkeys", "ada", "", nil, 404, "", ""},
		"no object":        {"POST", "/plugfn/v1/connections/start", "ada", "[]", nil, 422, "JSON object", ""},
		"too long":         {"POST", "/plugfn/v1/connections/start", "ada", strings.Repeat(" ", 70<<10), nil, 422, "64 KiB", ""},
		"providers":        {"GET", "/plugfn/v1/providers", "ada", "", nil, 200, `"slack"`, ""},
		"workflows":        {"GET", "/plugfn/v1/workflows", "ada", "", nil, 200, `"workflows":[]`, ""},
		"runs":             {"GET", "/plugfn/v1/runs?user_id=demo", "ada", "", nil, 200, `"runs":[]`, ""},
		"metrics":          {"GET", "/plugfn/v1/metrics", "ada", "", nil, 200, `"total":0`, ""},
		"schedule":         {"POST", "/plugfn/v1/schedules", "ada", `{"every":"1h","target":{"event":{"name":"x"}}}`, nil, 201, `"user_id":"ada"`, ""},
		"a delivery":       {"POST", "/plugfn/webhooks/github", "", `{}`, nil, 401, "", "nobody is signed in"},
		"a callback":       {"GET", "/plugfn/oauth/callback/github", "", "", nil, 400, "<html", ""},
		"a page":           {"GET", page.Path, "", "", nil, 200, "<form", ""},
		"another path":     {"GET", "/v1/connections", "ada", "", nil, 404, "", ""},
	} {
		status, body := app.do(c.method, c.path, c.user, c.body, c.header...)
		if status != c.status || !strings.Contains(body, c.has) || c.hasNot != "" && strings.Contains(body, c.hasNot) {
			t.Errorf("%s: %d %.300s", name, status, body)
		}
	}
	if status, body := app.do("DELETE", "/plugfn/v1/connections/"+made.ID, "ada", ""); status != http.StatusOK {
		t.Errorf("delete: %d %s", status, body)
	}
}

func TestHandlerRefuses(t *testing.T) {
	user := func(*http.Request) (string, error) { return "u", nil }
	for name, cfg := range map[string]plugfn.HandlerConfig{
		"User":     {},
		"Prefix":   {User: user, Prefix: "plugfn"},
		"Prefix /": {User: user, Prefix: "/plugfn/"},
		"WithAPI":  {User: user},
	} {
		_, err := new(plugfn.Client).Handler(cfg)
		if want, _, _ := strings.Cut(name, " "); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
