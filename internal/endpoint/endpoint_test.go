package endpoint_test

import (
	"net/url"
	"strings"
	"testing"

	"github.com/plugfn/plugfn/internal/endpoint"
)

func TestNewIsUnguessable(t *testing.T) {
	seen := map[string]bool{}
	for range 1000 {
		name, token := endpoint.New()
		if !strings.HasPrefix(name, "whk_") || len(token) != 27 || seen[token] {
			t.Fatalf("got %q, %q", name, token)
		}
		if url.PathEscape(token) != token {
			t.Fatalf("%q is not safe in a URL", token)
		}
		if strings.Contains(name, token) || strings.Contains(endpoint.Digest(token), token) {
			t.Fatal("a name or a digest tells the token")
		}
		seen[token] = true
	}
	if endpoint.Digest("a") == endpoint.Digest("b") {
		t.Error("digests do not tell tokens apart")
	}
	if got := endpoint.Path("github", "t"); got != "/webhooks/github/t" {
		t.Error(got)
	}
}
