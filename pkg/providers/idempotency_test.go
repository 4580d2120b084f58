package providers

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"testing/fstest"
	"time"

	"github.com/plugfn/plugfn/pkg/events"
)

const shopPack = `
apiVersion: plugfn.dev/v1
kind: Provider
name: shop
version: 1.0.0
display: {name: Shop}
auth:
  - {id: none, type: none}
http:
  base_url: https://shop.invalid
  errors:
    - {when: status == 503, code: provider_unavailable, retry_after: [header:Retry-After, header:X-Reset], nothing_done: true}
    - {when: status == 429, code: rate_limited, retry_after: json:/wait}
actions:
  orders.list:
    summary: Lists orders
    effect: read
    params: {type: object, additionalProperties: false, properties: {since: {type: string}, shelf: {type: integer}}}
    request: {method: GET, path: /orders, query: {since: "{{params.since}}", shelf: "{{params.shelf}}"}}
  orders.place:
    summary: Orders something
    effect: reconcile
    idempotency:
      stamp: {at: /note, append: " #{{key}}"}
      find:
        - when: params.shelf > 0
          action: orders.list
          params: {since: "{{since | unix}}", shelf: "{{params.shelf}}"}
          items: json:/orders
          match: item.note contains key
          complete: body.more == false
          after: 5s
          looks: 2
    params: {type: object, additionalProperties: false, required: [shelf], properties: {shelf: {type: integer}, note: {type: string, maxLength: 60}}}
    request: {method: POST, path: /orders, body: {encoding: json}}
  orders.pay:
    summary: Pays an order
    effect: keyed
    idempotency: {header: Idempotency-Key, ttl: 1h}
    params: {type: object, additionalProperties: false, required: [id], properties: {id: {type: string}}}
    request: {method: POST, path: "/orders/{{params.id}}/pay"}
  orders.tip:
    summary: Adds a tip
    effect: keyed
    idempotency: {field: /meta/key}
    params: {type: object, additionalProperties: false, properties: {tip: {type: integer}}}
    request: {method: POST, path: /tips, body: {encoding: json}}
`

func shop(t *testing.T) *Pack {
	t.Helper()
	p, err := Load(fstest.MapFS{"shop/provider.yaml": {Data: []byte(shopPack)}}, "shop")
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func (p *Pack) must(t *testing.T, name string) *Action {
	t.Helper()
	a, ok := p.Action(name)
	if !ok {
		t.Fatalf("no action %s", name)
	}
	return a
}

func TestNewWriteBearsTheKey(t *testing.T) {
	tests := []struct{ action, params, body, header string }{
		{"orders.place", `{"shelf":1}`, `{"note":"#` + FixtureKey + `","shelf":1}`, ""},
		{"orders.place", `{"shelf":1,"note":"fast"}`, `{"note":"fast #` + FixtureKey + `","shelf":1}`, ""},
		{"orders.pay", `{"id":"7"}`, ``, FixtureKey},
		{"orders.tip", `{"tip":3}`, `{"meta":{"key":"` + FixtureKey + `"},"tip":3}`, ""},
	}
	p := shop(t)
	for _, tt := range tests {
		req, err := p.must(t, tt.action).NewWrite(t.Context(), "https://shop.invalid", json.RawMessage(tt.params), Credential{}, Mark{Key: FixtureKey})
		if err != nil {
			t.Fatalf("%s: %v", tt.action, err)
		}
		var body []byte
		if req.Body != nil {
			body, _ = io.ReadAll(req.Body)
		}
		header := strings.Join(req.Header[strings.ToLower("Idempotency-Key")], ",")
		want := tt.body
		if strings.HasPrefix(want, `{"note":"#`) {
			want = strings.Replace(want, `"#`, `" #`, 1) // a space is no line break
		}
		if string(body) != want || header != tt.header {
			t.Errorf("%s: body %s and key %q, want %s and %q", tt.action, body, header, want, tt.header)
		}
	}
}

// A request that could not be found again is no better than any other write.
func TestEffectOf(t *testing.T) {
	a := shop(t).must(t, "orders.place")
	tests := []struct {
		params string
		effect Effect
	}{
		{`{"shelf":1}`, EffectReconcile},
		{`{"shelf":0}`, EffectNone},
		{`{"shelf":1,"note":"` + strings.Repeat("x", 50) + `"}`, EffectNone},
	}
	for _, tt := range tests {
		if got := a.EffectOf(json.RawMessage(tt.params)); got != tt.effect {
			t.Errorf("%s: %s, want %s", tt.params, got, tt.effect)
		}
		if _, ok := a.Look(json.RawMessage(tt.params), FixtureKey, time.Now()); ok != (tt.effect == EffectReconcile) {
			t.Errorf("%s: looked for is %v", tt.params, ok)
		}
	}
}

func TestLook(t *testing.T) {
	tests := []struct {
		name, body string
		found      string
		complete   bool
	}{
		{"there", `{"more":true,"orders":[{"note":null},{"n":12345678901234567890,"note":"x #` + FixtureKey + `"}]}`, `{"n":12345678901234567890,"note":"x #` + FixtureKey + `"}`, true},
		{"not there", `{"more":false,"orders":[{"note":"x"}]}`, "", true},
		{"perhaps on the next page", `{"more":true,"orders":[{"note":"x"}]}`, "", false},
		{"no list", `{"more":false}`, "", false},
		{"no JSON", `<html>`, "", false},
	}
	look, ok := shop(t).must(t, "orders.place").Look(json.RawMessage(`{"shelf":4}`), FixtureKey, FixtureSent())
	if !ok {
		t.Fatal("is not looked for")
	}
	req, err := look.NewRequest(t.Context(), "https://shop.invalid", Credential{})
	if err != nil || req.URL.String() != "https://shop.invalid/orders?shelf=4&since=1773480353" {
		t.Errorf("request %v, %v", req.URL, err)
	}
	for _, tt := range tests {
		resp := &http.Response{StatusCode: http.StatusOK, Body: io.NopCloser(strings.NewReader(tt.body))}
		got, err := look.Read(resp)
		if err != nil || string(got.Data) != tt.found || got.Complete != tt.complete {
			t.Errorf("%s: %s, complete %v, %v", tt.name, got.Data, got.Complete, err)
		}
	}
	for n, want := range map[int]time.Duration{1: 5 * time.Second, 2: 10 * time.Second} {
		if d, ok := look.After(n); !ok || d != want {
			t.Errorf("look %d after %s, %v", n, d, ok)
		}
	}
	if _, ok := look.After(3); ok {
		t.Error("a third look, want two")
	}
}

func TestAdviceOfAFailure(t *testing.T) {
	p := shop(t)
	soon := time.Now().Add(90 * time.Second)
	tests := []struct {
		status int
		header http.Header
		body   string
		wait   time.Duration
		done   bool
	}{
		{503, http.Header{"Retry-After": {"7"}}, "", 7 * time.Second, true},
		{503, http.Header{"X-Reset": {soon.UTC().Format(http.TimeFormat)}}, "", 90 * time.Second, true},
		{503, http.Header{"Retry-After": {"soon"}, "X-Reset": {"2.5"}}, "", 2500 * time.Millisecond, true},
		{503, nil, "", 0, true},
		{500, http.Header{"Retry-After": {"7"}}, "", 0, false},
		{429, nil, `{"wait":1e300}`, 24 * time.Hour, false},
		{429, nil, `{"wait":-4}`, 0, false},
	}
	for _, tt := range tests {
		resp := &http.Response{StatusCode: tt.status, Header: tt.header, Body: io.NopCloser(strings.NewReader(tt.body))}
		_, err := p.must(t, "orders.tip").Read(resp)
		var f *Failure
		var e *events.Error
		if !errors.As(err, &f) || !errors.As(err, &e) {
			t.Fatalf("got %v", err)
		}
		if d := f.RetryAfter - tt.wait; d.Abs() > 2*time.Second || f.NothingDone != tt.done {
			t.Errorf("%d %v %s: wait %s, nothing done %v", tt.status, tt.header, tt.body, f.RetryAfter, f.NothingDone)
		}
	}
}

// net/http sends a POST again by itself when it bears an idempotency key and
// the connection breaks, also where the provider has carried it out.
func TestAKeyedWriteIsSentOnce(t *testing.T) {
	var posts atomic.Int32
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Idempotency-Key") == "" || posts.Add(1) == 1 {
			return // the connection is used once, and kept
		}
		conn, _, _ := w.(http.Hijacker).Hijack()
		conn.Close()
	}))
	t.Cleanup(server.Close)
	send := func(r *http.Request) error {
		resp, err := server.Client().Do(r)
		if err == nil {
			_, _ = io.Copy(io.Discard, resp.Body)
			err = resp.Body.Close()
		}
		return err
	}
	write := func() *http.Request {
		r, err := shop(t).must(t, "orders.pay").NewWrite(context.Background(), server.URL, json.RawMessage(`{"id":"7"}`), Credential{}, Mark{Key: FixtureKey})
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
	if err := send(write()); err != nil {
		t.Fatal(err)
	}
	if err := send(write()); err == nil || posts.Load() != 2 {
		t.Errorf("%d posts and %v, want the second one to fail", posts.Load(), err)
	}
	// The same with the usual spelling, which shows that the test can fail.
	posts.Store(0)
	for range 2 {
		r := write()
		r.Header.Set("Idempotency-Key", FixtureKey)
		delete(r.Header, strings.ToLower("Idempotency-Key"))
		_ = send(r)
	}
	if posts.Load() <= 2 {
		t.Errorf("%d posts: net/http does not repeat any more, the spelling could go", posts.Load())
	}
}

func TestLoadChecksIdempotency(t *testing.T) {
	tests := []struct{ from, to, want string }{
		{"header: Idempotency-Key, ttl: 1h", "ttl: 1h", "orders.pay.idempotency: needs either header or field"},
		{"header: Idempotency-Key,", "header: Authorization,", "orders.pay.idempotency.header: cannot be set"},
		{"field: /meta/key", "field: /tip", "is a parameter"},
		{"field: /meta/key", "field: meta", "must be a JSON pointer"},
		{`append: " #{{key}}"`, `append: " #"`, "must hold {{key}}"},
		{`append: " #{{key}}"`, `append: "{{params.note}} {{key}}"`, "{{params.note}} is not known here"},
		{"at: /note", "at: /nota", "must be the JSON pointer of a parameter"},
		{"action: orders.list", "action: orders.lists", "did you mean orders.list?"},
		{"action: orders.list", "action: orders.pay", "must have effect: read"},
		{"shelf: \"{{params.shelf}}\"}\n          items", "shelves: 1}\n          items", "is no parameter of orders.list"},
		{`"{{since | unix}}"`, `"{{until}}"`, "a field is"},
		{"match: item.note contains key", "match: item.note has key", "unexpected token"},
		{"          match: item.note contains key\n", "", "match: is missing"},
		{"looks: 2", "looks: 11", "must be from 1 to 10"},
		{"nothing_done: true", "nothing_done: 1", "must be true or false"},
		{"code: rate_limited,", "code: rate_limited, nothing_done: true,", "goes with code: provider_unavailable"},
		{"effect: reconcile", "effect: none", "goes with effect: keyed or reconcile"},
		{"effect: reconcile", "effect: keyed", "stamp and find go with effect: reconcile"},
	}
	for _, tt := range tests {
		text := strings.Replace(shopPack, tt.from, tt.to, 1)
		if text == shopPack {
			t.Fatalf("%q is not in the pack", tt.from)
		}
		if _, err := Load(fstest.MapFS{"shop/provider.yaml": {Data: []byte(text)}}, "shop"); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s -> %s: got %v, want %q", tt.from, tt.to, err, tt.want)
		}
	}
}
