package api

import (
	"net/http"
	"net/http/httptest"
	"net/url"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/plugfn/plugfn/pkg/providers"
)

func TestGuard(t *testing.T) {
	routes := http.NewServeMux()
	routes.HandleFunc("GET /v1/things", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) })
	for name, tt := range map[string]struct {
		key, shown, method, target string
		want                       int
	}{
		"right":        {"k", "Bearer k", "GET", "/v1/things?a=1", 204},
		"wrong":        {"k", "Bearer l", "GET", "/v1/things", 401},
		"none":         {"k", "", "GET", "/v1/things", 401},
		"no key":       {"", "Bearer ", "GET", "/v1/things", 401},
		"empty value":  {"k", "bearer k", "GET", "/v1/things?a=", 422},
		"given twice":  {"k", "Bearer k", "GET", "/v1/things?a=1&a=2", 422},
		"other method": {"k", "Bearer k", "PUT", "/v1/things", 405},
		"other path":   {"k", "Bearer k", "GET", "/v1/other", 404},
	} {
		r := httptest.NewRequest(tt.method, tt.target, nil)
		r.Header.Set("Authorization", tt.shown)
		w := httptest.NewRecorder()
		Guard(providers.NewSecret([]byte(tt.key)), routes).ServeHTTP(w, r)
		if w.Code != tt.want {
			t.Errorf("%s: %d, want %d: %s", name, w.Code, tt.want, w.Body)
		}
	}
}

func FuzzCheckQuery(f *testing.F) {
	for _, seed := range []string{"user_id=u1&limit=2", "user_id", "a=1&a=2", "%", "a;b", "user%5Fid=%00"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, raw string) {
		parameters, fault := checkQuery(raw)
		if fault != nil {
			return
		}
		again, err := url.ParseQuery(parameters.Encode())
		if err != nil || !cmp.Equal(parameters, again) {
			t.Errorf("%q is read as %v and then as %v", raw, parameters, again)
		}
		for name, values := range parameters {
			if len(values) != 1 || values[0] == "" {
				t.Errorf("%q: %s is %q", raw, name, values)
			}
		}
	})
}
