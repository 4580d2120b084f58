package main

import (
	"bytes"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestRun(t *testing.T) {
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		switch {
		case r.Header.Get("X-Vault-Token") != "s.1":
			w.WriteHeader(http.StatusForbidden)
		case r.URL.Path == "/v1/kms/encrypt/k" && string(body) == `{"plaintext":"a2V5c2V0"}`:
			_, _ = io.WriteString(w, `{"data":{"ciphertext":"vault:v1:x"}}`)
		case r.URL.Path == "/v1/kms/decrypt/k" && string(body) == `{"ciphertext":"vault:v1:x"}`:
			_, _ = io.WriteString(w, `{"data":{"plaintext":"a2V5c2V0"}}`)
		default:
			w.WriteHeader(http.StatusNotFound)
		}
	}))
	defer srv.Close()
	file := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(file, []byte("s.1\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name, token, args, in, out string
		fails                      string
	}{
		{"wrap", "s.1", "-key k -mount kms wrap", "keyset", "vault:v1:x", ""},
		{"unwrap", "s.1", "-key k -mount kms unwrap", "vault:v1:x", "keyset", ""},
		{"token from a file", "", "-key k -mount kms -token-file " + file + " wrap", "keyset", "vault:v1:x", ""},
		{"no token", "", "-key k -mount kms wrap", "keyset", "", "set VAULT_TOKEN"},
		{"wrong token", "s.2", "-key k -mount kms wrap", "keyset", "", "403"},
		{"another key", "s.1", "-mount kms wrap", "keyset", "", "404"},
		{"no verb", "s.1", "-key k", "", "", "usage:"},
		{"another verb", "s.1", "-key k print", "", "", "usage:"},
		{"unknown flag", "s.1", "-keys k wrap", "", "", "usage:"},
		{"no key", "s.1", "-key= wrap", "", "", "Key must be"},
	} {
		var out bytes.Buffer
		getenv := func(name string) string {
			return map[string]string{"VAULT_ADDR": srv.URL, "VAULT_TOKEN": tt.token}[name]
		}
		err := run(t.Context(), strings.Fields(tt.args), getenv, strings.NewReader(tt.in), &out)
		switch {
		case tt.fails == "" && err != nil, tt.fails != "" && (err == nil || !strings.Contains(err.Error(), tt.fails)):
			t.Errorf("%s: %v", tt.name, err)
		case out.String() != tt.out:
			t.Errorf("%s: %q", tt.name, out.String())
		}
	}
}
