//go:build integration && unix

package main

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/plugfn/plugfn/pkg/events"
)

// shopPack has a write of each effect that says what may be sent again.
const shopPack = `
apiVersion: plugfn.dev/v1
kind: Provider
name: shop
version: 1.0.0
display: {name: Shop}
event_prefix: test.shop
auth: [{id: none, type: none}]
http: {base_url: "https://shop.invalid", timeout: 5s}
actions:
  orders.list:
    summary: Lists orders
    effect: read
    request: {method: GET, path: /orders}
    params: {type: object, additionalProperties: false, properties: {}}
  orders.mark:
    summary: Makes an order that is found again
    effect: reconcile
    retry: {base: 10ms}
    idempotency:
      stamp: {at: /title, append: " #{{key}}"}
      find: [{action: orders.list, items: json:/orders, match: item.title contains key, complete: "true", after: 50ms, looks: 2}]
    request: {method: POST, path: /orders, body: {encoding: json}}
    params: {type: object, required: [title], additionalProperties: false, properties: {title: {type: string}}}
  orders.key:
    summary: Makes an order once for each key
    effect: keyed
    retry: {base: 10ms}
    idempotency: {header: Idempotency-Key}
    request: {method: POST, path: /orders, body: {encoding: json}}
    params: {type: object, required: [title], additionalProperties: false, properties: {title: {type: string}}}
  orders.none:
    summary: Makes an order
    effect: none
    request: {method: POST, path: /orders, body: {encoding: json}}
    params: {type: object, required: [title], additionalProperties: false, properties: {title: {type: string}}}
`

// shop carries out every write, and leaves every tenth without an answer that
// says so.
type shop struct {
	mu     sync.Mutex
	made   []string // titles, with their stamp
	keys   map[string]bool
	writes int
}

func (s *shop) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if r.Method == http.MethodGet {
		orders := []map[string]string{}
		for _, title := range s.made {
			orders = append(orders, map[string]string{"title": title})
		}
		_ = json.NewEncoder(w).Encode(map[string]any{"orders": orders})
		return
	}
	var body struct{ Title string }
	_ = json.NewDecoder(r.Body).Decode(&body)
	if key := r.Header.Get("Idempotency-Key"); key == "" || !s.keys[key] {
		s.keys[key] = true
		s.made = append(s.made, body.Title)
	}
	switch s.writes++; s.writes % 20 {
	case 7:
		w.WriteHeader(http.StatusBadGateway)
	case 13:
		conn, _, _ := w.(http.Hijacker).Hijack()
		_ = conn.Close()
	default:
		time.Sleep(2 * time.Millisecond)
		_, _ = io.WriteString(w, `{"ok":true}`)
	}
}

// A real process is killed again and again while it works: each request has one
// result, what bears a key or is found again is made once, all else at most once.
func TestKilledAgainAndAgain(t *testing.T) {
	t.Parallel()
	const requests, each = 450, 90 // between two kills
	dir := t.TempDir()
	program := filepath.Join(dir, "plugfn")
	if out, err := exec.Command("go", "build", "-o", program, ".").CombinedOutput(); err != nil {
		t.Fatalf("building plugfn: %v\n%s", err, out)
	}
	packs := filepath.Join(dir, "packs")
	if err := os.MkdirAll(filepath.Join(packs, "shop"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(packs, "shop", "provider.yaml"), []byte(shopPack), 0o600); err != nil {
		t.Fatal(err)
	}
	ledger := &shop{keys: map[string]bool{}}
	server := httptest.NewServer(ledger)
	t.Cleanup(server.Close)
	v := &victim{
		T: t, program: program, dir: dir, http: freeAddr(t), nats: freeAddr(t), slack: server.URL,
		env: []string{"PLUGFN_PROVIDERS_DIR=" + packs, "PLUGFN_SHOP_BASE_URL=" + server.URL},
	}
	v.start()
	js, hangUp := v.bus()
	kinds := []string{"orders.key", "orders.mark", "orders.none"}
	for i := range requests {
		kind := kinds[i%len(kinds)]
		title := fmt.Sprintf("%s-%d", strings.TrimPrefix(kind, "orders."), i)
		r := events.ActionRequest{
			ID: title, UserID: "u1", Provider: "shop", Action: kind, MaxAttempts: 10, Params: fmt.Appendf(nil, `{"title":%q}`, title),
		}
		if _, err := js.PublishMsg(t.Context(), r.Msg(r.Subject())); err != nil {
			t.Fatal(err)
		}
		if i%each == each-1 {
			v.kill()
			hangUp()
			v.start()
			js, hangUp = v.bus()
		}
	}
	defer hangUp()
	v.eventually("all results", func() bool {
		byID, _, err := results(t.Context(), js)
		return err == nil && len(byID) >= requests
	})
	byID, outcomes, err := results(t.Context(), js)
	if err != nil {
		t.Fatal(err)
	}
	ledger.mu.Lock()
	defer ledger.mu.Unlock()
	made := map[string]int{}
	for _, title := range ledger.made {
		id, _, _ := strings.Cut(title, " ")
		made[id]++
	}
	for id, n := range byID {
		kept := !strings.HasPrefix(id, "none") // what no failure may lose
		if n != 1 || made[id] > 1 || kept && made[id] != 1 {
			t.Errorf("%s has %d results and was made %d times", id, n, made[id])
		}
	}
	if lost := requests - len(made); outcomes[events.Failed] > 0 || lost > outcomes[events.Unknown] {
		t.Errorf("%d were not made, outcomes %v", lost, outcomes)
	}
	t.Logf("%d kills, outcomes %v, %d made in %d writes", requests/each, outcomes, len(made), ledger.writes)
}
