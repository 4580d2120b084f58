package main

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/plugfn/plugfn/pkg/embedded"
	"github.com/plugfn/plugfn/pkg/plugfn"
)

func TestRouters(t *testing.T) {
	p, err := embedded.Open(t.Context(), embedded.Config{Dir: t.TempDir(), Sandbox: true, SandboxUser: "demo", LazySync: true})
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	h, err := p.Client().Handler(plugfn.HandlerConfig{Prefix: "/plugfn", User: signedIn})
	if err != nil {
		t.Fatal(err)
	}
	for name, router := range routers() {
		server := httptest.NewServer(router(h))
		for _, c := range []struct {
			method, path, user string
			status             int
			has                string
		}{
			{"GET", "/", "", 200, "the application itself"},
			{"GET", "/plugfn/v1/connections", "", 401, "nobody is signed in"},
			{"GET", "/plugfn/v1/connections?provider=slack", "demo", 200, `"user_id":"demo"`},
			{"DELETE", "/plugfn/v1/connections/none", "demo", 404, "connection_not_found"},
			{"POST", "/plugfn/webhooks/github", "", 401, ""},
		} {
			r, err := http.NewRequestWithContext(t.Context(), c.method, server.URL+c.path, strings.NewReader(""))
			if err != nil {
				t.Fatal(err)
			}
			if c.method == http.MethodPost {
				r.Header.Set("Content-Type", "application/json")
			}
			if c.user != "" {
				r.AddCookie(&http.Cookie{Name: "user", Value: c.user})
			}
			answer, err := http.DefaultClient.Do(r)
			if err != nil {
				t.Fatal(err)
			}
			body, _ := io.ReadAll(answer.Body)
			answer.Body.Close()
			if answer.StatusCode != c.status || !strings.Contains(string(body), c.has) {
				t.Errorf("%s: %s %s: %d %.200s", name, c.method, c.path, answer.StatusCode, body)
			}
		}
		server.Close()
	}
}
