package providers

import (
	"context"
	"fmt"
	"strings"
	"testing"
)

// BenchmarkGitHub is what a delivery of 8 KiB costs from its bytes to its event.
func BenchmarkGitHub(b *testing.B) {
	w := shipped(b, "github")
	secrets := secretList(githubSecret)
	body := fmt.Sprintf(`{"action":"opened","issue":{"number":42,"body":%q},"repository":{"id":7,"full_name":"octo/hello","owner":{"id":5}}}`, strings.Repeat("x", 8000))
	d := received(body, "Content-Type", jsonType, "X-GitHub-Event", "issues", "X-GitHub-Delivery", "d-1", "X-GitHub-Hook-ID", "1")
	if err := sign(w, d, secrets[0]); err != nil {
		b.Fatal(err)
	}
	check := Check{Secrets: secrets}
	b.ReportAllocs()
	for b.Loop() {
		verdict, err := w.Verify(context.Background(), d, check)
		if err != nil {
			b.Fatal(err)
		}
		r, err := w.Read(d)
		if err != nil {
			b.Fatal(err)
		}
		if _, ok := r.Handshake(check, verdict); ok {
			b.Fatal("a handshake")
		}
		if _, err := r.Events(); err != nil {
			b.Fatal(err)
		}
	}
}
