package sandbox_test

import (
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/plugfn/plugfn/internal/sandbox"
)

// FuzzHandler sends requests that no pack makes: whatever comes, the sandbox
// answers, and never as a broken server does.
func FuzzHandler(f *testing.F) {
	packs := catalogPacks(f)
	for name, pack := range shopPack(f) {
		packs[name] = pack
	}
	s, err := sandbox.New(sandbox.Config{Packs: packs})
	if err != nil {
		f.Fatal(err)
	}
	for _, path := range []string{
		"", "*", "/", "//", "/github", "/github/repos/o/r/issues", "/github/repos/%2e%2e/r/issues", "/github/repos/%zz/r/issues",
		"/github/repos/o/r/issues/-0", "/github/repos/o/r/issues/1e999999", "/slack/chat.postMessage", "/shop/orders", "/shop/orders/no.",
		"/shop/orders/no.7", "/shop/codes/%ff", "/_calls", "/_calls/", "/../_calls", "/shop/\x00",
		"/github/login/oauth/authorize", "/github/login/oauth/access_token", "/github/login/device/code", "/github/_device/oauth",
		"/github/app/installations/1/access_tokens", "/github/user", "/slack/oauth.v2.access", "/slack/auth.revoke", "/slack/auth.test",
	} {
		f.Add("POST", path, "key=k-1-z&exact=[&page=%", "application/json", `{"channel":"c","text":"t","title":{"a":[]}}`)
		f.Add("GET", path, "key=k-1-z", "application/x-www-form-urlencoded", "name=Tea&count=2&items=[[[")
	}
	f.Add("GET", "/github/login/oauth/authorize", "response_type=code&client_id=c&redirect_uri=http://a&code_challenge=x&code_challenge_method=S256&approve=1", "", "")
	f.Add("POST", "/github/login/oauth/access_token", "", "application/x-www-form-urlencoded", "client_id=c&grant_type=refresh_token&refresh_token=sbx_rt_x_1")
	f.Add("POST", "/slack/auth.revoke", "", "application/x-www-form-urlencoded", "token=sbx_at_x_1_1")
	f.Add("PATCH", "/github/repos/o/r/issues/1", "", "application/json", strings.Repeat("[", 20_000))
	f.Fuzz(func(t *testing.T, method, path, query, contentType, body string) {
		u := &url.URL{Path: path, RawQuery: query}
		if plain, err := url.PathUnescape(path); err == nil {
			u = &url.URL{Path: plain, RawPath: path, RawQuery: query}
		}
		r := &http.Request{Method: method, URL: u, Header: http.Header{}, Body: http.NoBody}
		r = r.WithContext(t.Context())
		r.Body = httptest.NewRequestWithContext(t.Context(), http.MethodPost, "/", strings.NewReader(body)).Body
		r.Header.Set("Authorization", "Bearer any")
		r.Header.Set("Content-Type", contentType)
		w := httptest.NewRecorder()
		s.Handler().ServeHTTP(w, r)
		if w.Code < 200 || w.Code > 599 {
			t.Errorf("%s %q: status %d", method, path, w.Code)
		}
	})
}
