package sandbox_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/plugfn/plugfn/internal/sandbox"
)

func listCalls(t *testing.T, s stage) []sandbox.Call {
	t.Helper()
	resp, body := s.send(http.MethodGet, "/_calls", "")
	var calls []sandbox.Call
	if err := json.Unmarshal([]byte(body), &calls); err != nil || resp.StatusCode != http.StatusOK {
		t.Fatalf("got %d %s: %v", resp.StatusCode, body, err)
	}
	return calls
}

func TestCalls(t *testing.T) {
	now := time.Date(2026, 1, 2, 3, 4, 5, 6, time.UTC)
	var told []sandbox.Call
	play, err := sandbox.New(sandbox.Config{
		Packs: shopPack(t), OnCall: func(c sandbox.Call) { told = append(told, c) }, Now: func() time.Time { return now },
	})
	if err != nil {
		t.Fatal(err)
	}
	request := func(method, path, body string) string {
		w := httptest.NewRecorder()
		play.Handler().ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), method, path, strings.NewReader(body)))
		return w.Body.String()
	}
	if got := request("GET", "/_calls", ""); got != "[]\n" {
		t.Errorf("before the first call: %s", got)
	}
	request("GET", "/shop/orders/no.7?key=k-secret-z", "")
	request("POST", "/shop/orders?key=k-secret-z", "name=secret")
	request("GET", "/shop/a%2Fb?key=k-secret-z", "")
	request("GET", "/nobody/x", "")
	want := []sandbox.Call{
		{Provider: "shop", Action: "order.get", Method: "GET", Path: "/orders/no.7", Status: 200, At: now},
		{Provider: "shop", Action: "order.add", Method: "POST", Path: "/orders", Status: 415, At: now},
		{Provider: "shop", Method: "GET", Path: "/a%2Fb", Status: 404, At: now},
	}
	if diff := cmp.Diff(want, play.Calls()); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff(want, told); diff != "" {
		t.Errorf("OnCall: %s", diff)
	}
	listed := request("GET", "/_calls", "")
	var got []sandbox.Call
	if err := json.Unmarshal([]byte(listed), &got); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("/_calls: %s", diff)
	}
	if strings.Contains(listed, "secret") {
		t.Errorf("a credential or a body is listed: %s", listed)
	}
}

func TestCallsAreBounded(t *testing.T) {
	s := newStage(t, shopPack(t))
	var group sync.WaitGroup
	for i := range 10 {
		group.Go(func() {
			for j := range 15 {
				s.send("GET", fmt.Sprintf("/shop/%d/%d/%s", i, j, strings.Repeat("x", 1000)), "")
			}
		})
	}
	group.Wait()
	s.send("GET", "/shop/last", "")
	calls := listCalls(t, s)
	if len(calls) != 100 || calls[99].Path != "/last" {
		t.Errorf("%d calls, the last one %v", len(calls), calls[len(calls)-1])
	}
	for _, c := range calls {
		if len(c.Path) > 512 {
			t.Errorf("a path of %d bytes is kept", len(c.Path))
		}
	}
}
