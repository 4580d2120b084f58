package main

import (
	"bytes"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/plugfn/plugfn/pkg/providers"
	"github.com/plugfn/plugfn/pkg/providers/providertest"
)

const hookSecret = "the secret of the hook"

// forgetful is a GitHub that does not reach its receiver each time, and that
// never tries again by itself.
type forgetful struct {
	*testing.T
	*httptest.Server
	pack   *providers.Pack
	bodies map[string][]byte

	mu       sync.Mutex
	to       string // URL of the ingress
	attempts []map[string]any
	strange  []string // what was asked for without the app's own key
}

func newForgetful(t *testing.T) *forgetful {
	t.Helper()
	packs, err := providertest.Catalog()
	if err != nil {
		t.Fatal(err)
	}
	f := &forgetful{T: t, pack: packs["github"], bodies: map[string][]byte{}}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /app/hook/deliveries", f.list)
	mux.HandleFunc("POST /app/hook/deliveries/{id}/attempts", f.again)
	f.Server = httptest.NewServer(mux)
	t.Cleanup(f.Close)
	return f
}

// isApp checks the assertion of the app, but for its signature.
func (f *forgetful) isApp(r *http.Request) bool {
	parts := strings.Split(strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer "), ".")
	if len(parts) == 3 {
		claims, err := base64.RawURLEncoding.DecodeString(parts[1])
		if err == nil && bytes.Contains(claims, []byte(`"iss":"Iv1.app"`)) {
			return true
		}
	}
	f.strange = append(f.strange, r.Method+" "+r.URL.Path)
	return false
}

func (f *forgetful) list(w http.ResponseWriter, r *http.Request) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if !f.isApp(r) {
		w.WriteHeader(http.StatusUnauthorized)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	newest := slices.Clone(f.attempts)
	slices.Reverse(newest)
	_ = json.NewEncoder(w).Encode(newest)
}

func (f *forgetful) again(w http.ResponseWriter, r *http.Request) {
	f.mu.Lock()
	defer f.mu.Unlock()
	i := slices.IndexFunc(f.attempts, func(a map[string]any) bool { return fmt.Sprint(a["id"]) == r.PathValue("id") })
	if !f.isApp(r) || i < 0 {
		w.WriteHeader(http.StatusNotFound)
		return
	}
	guid := f.attempts[i]["guid"].(string)
	f.note(guid, f.post(guid))
	w.WriteHeader(http.StatusAccepted)
}

// note puts an attempt on the list. It wants the lock.
func (f *forgetful) note(guid string, status int) {
	f.attempts = append(f.attempts, map[string]any{
		"id": 17323292984 + len(f.attempts), "guid": guid, "status_code": status,
		"delivered_at": time.Now().UTC().Format(time.RFC3339), "event": "issues", "action": "opened",
	})
}

// post sends a delivery to the real ingress.
func (f *forgetful) post(guid string) int {
	d := &providers.Delivery{Method: http.MethodPost, Body: f.bodies[guid], ReceivedAt: time.Now(), Header: http.Header{
		"X-Github-Event": {"issues"}, "X-Github-Delivery": {guid}, "Content-Type": {"application/json"},
	}}
	if err := f.pack.Webhooks.NewSigner([]providers.Secret{providers.NewSecret([]byte(hookSecret))}, providers.Secret{}).Sign(d, ""); err != nil {
		f.Error(err)
	}
	r, err := http.NewRequest(http.MethodPost, f.to+"/webhooks/github", bytes.NewReader(d.Body))
	if err != nil {
		f.Error(err)
		return 0
	}
	r.Header = d.Header
	answer, err := http.DefaultClient.Do(r)
	if err != nil {
		f.Error(err)
		return 0
	}
	answer.Body.Close()
	return answer.StatusCode
}

// deliver makes deliveries, some of which do not arrive, and some of which do
// without GitHub hearing of it.
func (f *forgetful) deliver(n int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for i := range n {
		guid := fmt.Sprint("guid-", i)
		f.bodies[guid] = fmt.Appendf(nil, `{"action":"opened","issue":{"number":%d},"repository":{"id":1,"full_name":"o/r"},"installation":{"id":9}}`, i)
		switch {
		case i%3 == 0:
			f.note(guid, 502)
		case i%5 == 0:
			f.post(guid)
			f.note(guid, 504)
		default:
			f.note(guid, f.post(guid))
		}
	}
}

func appKey(t *testing.T) string {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(key)}))
}

// TestGapsAreHealed has deliveries dropped on their way to the real program,
// which asks the provider for them by itself, on a bus that is closed.
func TestGapsAreHealed(t *testing.T) {
	github := newForgetful(t)
	p, c := startDev(t,
		"PLUGFN_GITHUB_BASE_URL="+github.URL, "PLUGFN_GITHUB_CLIENT_ID=Iv1.app", "PLUGFN_GITHUB_PRIVATE_KEY="+appKey(t),
		"PLUGFN_GITHUB_WEBHOOK_SECRET="+hookSecret, "PLUGFN_NATS_SECURE=true", "PLUGFN_HEAL_EVERY=10s")
	cli := func(args ...string) string {
		t.Helper()
		cmd := exec.Command("plugfn", args...)
		cmd.Dir, cmd.Env = p.Dir, p.Env
		var problems strings.Builder
		cmd.Stderr = &problems
		out, err := cmd.Output()
		if err != nil {
			t.Fatalf("plugfn %s: %v\n%s\n%s", strings.Join(args, " "), err, out, problems.String())
		}
		return string(out)
	}
	github.to = c.HTTPURL
	const n = 20
	github.deliver(n)
	if got := strings.Count(cli("event", "list", "-o", "name"), "guid-"); got == n {
		t.Fatal("nothing was dropped")
	}
	cli("connection", "create", "github", "--user", "operator", "--auth", "app_itself")
	if out := cli("webhook", "heal", "--dry-run"); !strings.Contains(out, "WOULD ASK") {
		t.Errorf("dry run: %s", out)
	}
	if err := eventually("all deliveries", func() bool {
		return strings.Contains(cli("webhook", "heal", "--status", "-o", "json"), `"recovered": 9`)
	}); err != nil {
		t.Fatalf("%v\n%s\n%s", err, cli("webhook", "heal", "--status"), &p.stderr)
	}
	ids := strings.Fields(cli("event", "list", "-o", "name"))
	slices.Sort(ids)
	if len(ids) != n || len(slices.Compact(ids)) != n {
		t.Errorf("%d events of %d deliveries: %v", len(ids), n, ids)
	}
	if out := cli("webhook", "heal", "--provider", "github", "-o", "json"); !strings.Contains(out, `"asked": 0`) {
		t.Errorf("asked again: %s", out)
	}
	github.mu.Lock()
	defer github.mu.Unlock()
	if len(github.strange) > 0 {
		t.Errorf("asked without the app's key: %v", github.strange)
	}
	if p.interrupt() != exitOK || strings.Contains(p.stderr.String(), "ermissions") {
		t.Errorf("ended badly: %s", &p.stderr)
	}
}
