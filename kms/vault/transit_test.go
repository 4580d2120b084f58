package vault

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

// engine is a transit engine as its API is documented, with a cipher that a
// child would break.
type engine struct {
	*httptest.Server
	asked []*http.Request
}

func newEngine(t *testing.T) *engine {
	t.Helper()
	e := &engine{}
	mux := http.NewServeMux()
	mux.HandleFunc("POST /v1/{mount}/encrypt/{key}", func(w http.ResponseWriter, r *http.Request) {
		var in struct{ Plaintext string }
		e.serve(w, r, &in, func() any {
			return map[string]any{"ciphertext": "vault:v1:" + mirrored(in.Plaintext), "key_version": 1}
		})
	})
	mux.HandleFunc("POST /v1/{mount}/decrypt/{key}", func(w http.ResponseWriter, r *http.Request) {
		var in struct{ Ciphertext string }
		e.serve(w, r, &in, func() any {
			return map[string]any{"plaintext": mirrored(strings.TrimPrefix(in.Ciphertext, "vault:v1:"))}
		})
	})
	e.Server = httptest.NewServer(mux)
	t.Cleanup(e.Close)
	return e
}

func (e *engine) serve(w http.ResponseWriter, r *http.Request, in any, data func() any) {
	e.asked = append(e.asked, r)
	w.Header().Set("Content-Type", "application/json")
	if r.Header.Get("X-Vault-Token") != "s.good" {
		w.WriteHeader(http.StatusForbidden)
		_, _ = w.Write([]byte(`{"errors":["permission denied"]}`))
		return
	}
	if json.NewDecoder(r.Body).Decode(in) != nil {
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	_ = json.NewEncoder(w).Encode(map[string]any{"request_id": "1", "lease_duration": 0, "data": data(), "warnings": nil})
}

func mirrored(s string) string {
	b := []byte(s)
	for i := range len(b) / 2 {
		b[i], b[len(b)-1-i] = b[len(b)-1-i], b[i]
	}
	return string(b)
}

func newTransit(t *testing.T, edit func(*Config)) *Transit {
	t.Helper()
	cfg := Config{Key: "plugfn", Token: func() (string, error) { return "s.good", nil }}
	edit(&cfg)
	transit, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return transit
}

func TestRoundTrip(t *testing.T) {
	e := newEngine(t)
	transit := newTransit(t, func(c *Config) { c.Addr, c.Mount, c.Namespace = e.URL+"/", "kms", "team" })
	plain := []byte("a keyset \x00\xff")
	wrapped, err := transit.Wrap(t.Context(), plain)
	if err != nil || bytes.Contains(wrapped, plain) || !bytes.HasPrefix(wrapped, []byte("vault:v1:")) {
		t.Fatalf("%q, %v", wrapped, err)
	}
	again, err := transit.Unwrap(t.Context(), wrapped)
	if err != nil || !bytes.Equal(again, plain) {
		t.Errorf("%q, %v", again, err)
	}
	for i, path := range []string{"/v1/kms/encrypt/plugfn", "/v1/kms/decrypt/plugfn"} {
		r := e.asked[i]
		if r.URL.Path != path || r.Header.Get("X-Vault-Namespace") != "team" || r.Header.Get("X-Vault-Request") != "true" {
			t.Errorf("%s with %v", r.URL.Path, r.Header)
		}
	}
}

func TestErrorsAreVaultsAndShowNothing(t *testing.T) {
	const secret = "the-keyset-itself"
	answers := map[string]struct {
		status int
		body   string
		want   string
	}{
		"sealed":          {http.StatusServiceUnavailable, `{"errors":["Vault is sealed"]}`, "answered 503: Vault is sealed"},
		"no such key":     {http.StatusBadRequest, `{"errors":["encryption key not found"]}`, "answered 400: encryption key not found"},
		"no words":        {http.StatusNotFound, `{"errors":[]}`, "answered 404 Not Found"},
		"no JSON":         {http.StatusBadGateway, "<html>" + secret, "answered 502 Bad Gateway"},
		"a redirect":      {http.StatusTemporaryRedirect, "", "answered 307"},
		"a page":          {http.StatusOK, secret, "is not what Vault's API says"},
		"another type":    {http.StatusOK, `{"data":{"ciphertext":["` + secret + `"],"plaintext":"` + secret + `!"}}`, "is not what Vault's API says"},
		"no data":         {http.StatusOK, `{}`, "the answer holds no"},
		"another content": {http.StatusOK, `{"data":{"ciphertext":"` + secret + `"}}`, "the answer holds no"},
		"too long":        {http.StatusOK, strings.Repeat(" ", maxAnswer+1), "longer than"},
		"a long story":    {http.StatusBadRequest, `{"errors":["` + strings.Repeat("ü \\n", 1000) + `"]}`, "…"},
	}
	for name, a := range answers {
		t.Run(name, func(t *testing.T) {
			srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if r.URL.Path == "/elsewhere" {
					t.Error("the token was taken elsewhere")
				}
				w.Header().Set("Location", "/elsewhere")
				w.WriteHeader(a.status)
				_, _ = w.Write([]byte(a.body))
			}))
			defer srv.Close()
			transit := newTransit(t, func(c *Config) { c.Addr = srv.URL })
			for what, ask := range map[string]func() ([]byte, error){
				"wrap":   func() ([]byte, error) { return transit.Wrap(t.Context(), []byte(secret)) },
				"unwrap": func() ([]byte, error) { return transit.Unwrap(t.Context(), []byte("vault:v1:x")) },
			} {
				got, err := ask()
				if err == nil || got != nil || !strings.Contains(err.Error(), a.want) || strings.Contains(err.Error(), secret) || len(err.Error()) > 400 {
					t.Errorf("%s: %q, %v", what, got, err)
				}
			}
		})
	}
}

func TestWrongTokenAndForeignCiphertext(t *testing.T) {
	e := newEngine(t)
	wrong := newTransit(t, func(c *Config) { c.Addr, c.Token = e.URL, func() (string, error) { return "s.bad", nil } })
	if _, err := wrong.Wrap(t.Context(), []byte("x")); err == nil || !strings.Contains(err.Error(), "403: permission denied") {
		t.Error(err)
	}
	gone := errors.New("no such file")
	none := newTransit(t, func(c *Config) { c.Addr, c.Token = e.URL, func() (string, error) { return "", gone } })
	if _, err := none.Wrap(t.Context(), []byte("x")); !errors.Is(err, gone) {
		t.Error(err)
	}
	good := newTransit(t, func(c *Config) { c.Addr = e.URL })
	if _, err := good.Unwrap(t.Context(), []byte("by another wrapper")); err == nil || !strings.Contains(err.Error(), "not wrapped by Vault") {
		t.Error(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := good.Wrap(ctx, []byte("x")); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	e.Close()
	if _, err := good.Wrap(t.Context(), []byte("x")); err == nil {
		t.Error("wrapped by nobody")
	}
}

func TestNewRefuses(t *testing.T) {
	token := func() (string, error) { return "", nil }
	for _, cfg := range []Config{
		{},
		{Addr: "vault:8200", Key: "k", Token: token},
		{Addr: "http://vault:8200", Key: "k"},
		{Addr: "http://vault:8200", Token: token},
		{Addr: "http://vault:8200", Key: "../sys/seal", Token: token},
		{Addr: "http://vault:8200", Key: "..", Token: token},
		{Addr: "http://vault:8200", Key: "k", Mount: "a/../b", Token: token},
		{Addr: "http://vault:8200", Key: "k", Mount: "a%2f", Token: token},
	} {
		if _, err := New(cfg); err == nil {
			t.Errorf("accepted %+v", cfg)
		}
	}
}
