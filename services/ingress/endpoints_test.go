package ingress

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"

	"github.com/plugfn/plugfn/internal/endpoint"
	"github.com/plugfn/plugfn/pkg/events"
	"github.com/plugfn/plugfn/pkg/providers"
)

// house is where the endpoints of single connections are kept.
type house struct {
	mu     sync.Mutex
	all    map[string]endpoint.Endpoint // :: provider/token → endpoint
	partly bool
	broken error // it does not keep secrets
	seen   []string
	loaded chan struct{}
}

func newHouse() *house {
	h := &house{all: map[string]endpoint.Endpoint{}, loaded: make(chan struct{})}
	close(h.loaded)
	return h
}

func (h *house) Loaded() <-chan struct{} { return h.loaded }

func (h *house) Endpoint(provider, token string) (endpoint.Endpoint, bool, bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	e, ok := h.all[provider+"/"+token]
	return e, ok, !h.partly
}

func (h *house) Webhooks(id string) (*providers.Webhooks, bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, e := range h.all {
		if e.ID == id {
			return e.Webhooks, !h.partly
		}
	}
	return nil, !h.partly
}

func (h *house) Seen(e endpoint.Endpoint) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.seen = append(h.seen, e.ID)
}

func (h *house) Learn(_ context.Context, e endpoint.Endpoint, secret providers.Secret) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.broken != nil {
		return h.broken
	}
	e.State, e.Secrets = endpoint.Active, []providers.Secret{secret}
	for at, one := range h.all {
		if one.ID == e.ID {
			h.all[at] = e
		}
	}
	return nil
}

// build puts an endpoint of a user and his connection below github/token.
func (h *house) build(token string, state endpoint.State, secrets ...string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	e := endpoint.Endpoint{ID: "whk_" + token, Provider: "github", UserID: "u-" + token, ConnectionID: "con-" + token, State: state}
	for _, s := range secrets {
		e.Secrets = append(e.Secrets, providers.NewSecret([]byte(s)))
	}
	h.all["github/"+token] = e
}

func openHouse(t *testing.T) (*gate, *house) {
	t.Helper()
	h := newHouse()
	return open(t, func(c *Config) { c.Endpoints = h }), h
}

func TestEndpointDecidesWhoseEventItIs(t *testing.T) {
	g, h := openHouse(t)
	g.connect("other", "con_1", "4242") // the account's, as the body has it
	h.build("one", endpoint.Active, secret)
	h.build("two", endpoint.Active, "old", secret)
	d := g.issueOpened("d-1", 4242)
	d.Header.Set("X-Github-Hook-Installation-Target-Id", "4242")
	for _, token := range []string{"one", "two", "one"} { // the same delivery id at two endpoints, and once again
		if status, body := g.send("github/"+token, d); status != http.StatusOK || body != "" {
			t.Fatalf("%s: answer %d %q", token, status, body)
		}
	}
	for _, token := range []string{"one", "two"} {
		e := g.event("plugfn.event.u-" + token + ".github.issues.opened")
		if e.UserID != "u-"+token || e.ConnectionID != "con-"+token || e.Source != "/plugfn/github/whk_"+token+"/con-"+token || e.ID != "d-1" || e.Account != "4242" {
			t.Errorf("got %+v", e)
		}
	}
	if s := g.stored(events.StreamEvents); len(s) != 2 || s["plugfn.event.u-one.github.issues.opened"] != 1 {
		t.Errorf("stored %v", s)
	}
	if len(h.seen) != 3 || h.seen[0] != "whk_one" {
		t.Errorf("seen %v", h.seen)
	}
}

// TestNobodyIsHome: whether there is no endpoint, a paused one, one without a
// secret or one with another secret cannot be told apart.
func TestNobodyIsHome(t *testing.T) {
	g, h := openHouse(t)
	h.build("one", endpoint.Active, "another secret")
	h.build("paused", endpoint.Paused, secret)
	h.build("pending", endpoint.Pending)
	h.all["slack/one"] = h.all["github/one"]
	long := strings.Repeat("x", 300)
	want := ""
	for _, path := range []string{"github/one", "github/paused", "github/pending", "github/nobody", "github/" + long, "github/%00", "github/..%2fone", "slack/one", "slack/nobody"} {
		for _, change := range []func(*providers.Delivery){
			func(*providers.Delivery) {},
			func(d *providers.Delivery) { d.Header.Del("X-Hub-Signature-256") },
			func(d *providers.Delivery) { d.Body = nil },
		} {
			d := g.issueOpened("d-1", 1)
			change(d)
			status, body := g.send(path, d)
			if want == "" {
				want = body
			}
			if status != http.StatusUnauthorized || body != want {
				t.Errorf("%s: answer %d %q", path, status, body)
			}
		}
	}
	for path, status := range map[string]int{"gitbuh/one": http.StatusNotFound, "github/one/more": http.StatusNotFound, "github/": http.StatusNotFound} {
		if got, _ := g.send(path, g.issueOpened("d-1", 1)); got != status {
			t.Errorf("%s: status %d, want %d", path, got, status)
		}
	}
	if s := g.stored(events.StreamEvents); len(s) != 0 || len(h.seen) != 0 {
		t.Errorf("stored %v, seen %v", s, h.seen)
	}
	log := g.log.String()
	if strings.Contains(log, `"nobody"`) || strings.Contains(log, long) || !strings.Contains(log, endpoint.Digest("nobody")) || !strings.Contains(log, "whk_one") {
		t.Errorf("the log tells tokens, or does not tell endpoints apart: %s", log)
	}
}

// TestEndpointsNotKnownYet: who may have an endpoint soon is to send again, and
// an answer does not tell which of them there are.
func TestEndpointsNotKnownYet(t *testing.T) {
	g, h := openHouse(t)
	h.build("one", endpoint.Active, secret)
	h.build("two", endpoint.Active, "another secret")
	h.partly = true
	for path, want := range map[string]int{"github/one": http.StatusOK, "github/two": http.StatusServiceUnavailable, "github/nobody": http.StatusServiceUnavailable} {
		if status, _ := g.send(path, g.issueOpened("d-1", 1)); status != want {
			t.Errorf("%s: status %d, want %d", path, status, want)
		}
	}
}

func TestUnreadableAtAnEndpoint(t *testing.T) {
	g, h := openHouse(t)
	h.build("one", endpoint.Active, secret)
	if status, _ := g.send("github/one", g.signed("d-1", "issues", `{"action":`)); status != http.StatusOK {
		t.Errorf("status %d", status)
	}
	if s := g.stored(events.StreamDead); s["plugfn.dead.event.u-one.github.unparsed"] != 1 {
		t.Errorf("dead letters %v", s)
	}
}

func TestWithoutEndpoints(t *testing.T) {
	g := open(t)
	if status, _ := g.send("github/one", g.issueOpened("d-1", 1)); status != http.StatusUnauthorized {
		t.Errorf("status %d", status)
	}
}

// TestHandshakeBringsASecret: stored before it is answered, by a pending endpoint
// only, and never a second one.
func TestHandshakeBringsASecret(t *testing.T) {
	g, h := openHouse(t)
	pack, _ := g.registry.Pack("generic")
	own, err := pack.Webhooks.With([]byte(`{
		"verify": [{"scheme": "hmac", "hash": "sha256", "signature": {"from": "header:X-Signature", "encoding": "hex"}, "message": [{"body": "raw"}]}],
		"handshake": [{"when": {"header:X-Hook-Secret": {"present": true}}, "signed": "none", "only": "pending",
			"learn": {"from": "header:X-Hook-Secret"}, "respond": {"headers": {"X-Hook-Secret": "header:X-Hook-Secret"}}}],
		"event": ["json:/kind"]}`), providers.App{})
	if err != nil {
		t.Fatal(err)
	}
	h.all["generic/one"] = endpoint.Endpoint{ID: "whk_1", Provider: "generic", UserID: "u1", State: endpoint.Pending, Webhooks: own}
	shake := func(path, secret string) int {
		status, _ := g.send("generic"+path, &providers.Delivery{
			Method: http.MethodPost, Body: []byte("{}"), Header: http.Header{"X-Hook-Secret": {secret}, "Content-Type": {"application/json"}},
		})
		return status
	}
	for path, want := range map[string]int{"": http.StatusUnauthorized, "/nobody": http.StatusUnauthorized} {
		if got := shake(path, "s"); got != want {
			t.Errorf("%q: status %d, want %d", path, got, want)
		}
	}
	for _, tt := range []struct {
		err  error
		want int
	}{
		{errors.New("broken"), http.StatusServiceUnavailable},
		{events.Errorf(events.CodeInternal, "broken"), http.StatusServiceUnavailable},
		{fmt.Errorf("telling: %w", events.Errorf(events.CodeCanceled, "there is one already")), http.StatusUnauthorized},
		{events.Errorf(events.CodeInvalidParams, "not in the form of the pack"), http.StatusUnauthorized},
	} {
		h.broken = tt.err
		if got := shake("/one", "learned"); got != tt.want {
			t.Errorf("%v: status %d, want %d", tt.err, got, tt.want)
		}
	}
	h.broken = nil
	if got := shake("/one", ""); got != http.StatusUnauthorized {
		t.Errorf("without a secret: status %d", got)
	}
	if got := shake("/one", "learned"); got != http.StatusOK {
		t.Fatalf("status %d", got)
	}
	if got := shake("/one", "another"); got != http.StatusUnauthorized {
		t.Errorf("a second one: status %d", got)
	}
	if e := h.all["generic/one"]; e.State != endpoint.Active || len(e.Secrets) != 1 || string(e.Secrets[0].Reveal()) != "learned" {
		t.Errorf("kept %+v", e)
	}
	body := `{"kind":"thing.made"}`
	sum := hmac.New(sha256.New, []byte("learned"))
	sum.Write([]byte(body))
	if status, _ := g.send("generic/one", &providers.Delivery{
		Method: http.MethodPost, Body: []byte(body),
		Header: http.Header{"X-Signature": {hex.EncodeToString(sum.Sum(nil))}, "Content-Type": {"application/json"}},
	}); status != http.StatusOK {
		t.Errorf("signed with it: status %d", status)
	}
	if e := g.event("plugfn.event.u1.generic.thing.made"); e.Source != "/plugfn/generic/whk_1/_" {
		t.Errorf("got %+v", e)
	}
	if strings.Contains(g.log.String(), "learned") {
		t.Error("the log tells the secret")
	}
}

// parametrised makes generic one that reads deliveries as the fragment says.
func parametrised(t *testing.T, fragment string) func(*Config) {
	return func(c *Config) {
		t.Helper()
		pack, _ := c.Providers.Pack("generic")
		own, err := pack.Webhooks.With([]byte(fragment), providers.App{AllowUnsigned: true})
		if err != nil {
			t.Fatal(err)
		}
		changed := *pack
		changed.Webhooks = own
		if c.Providers, err = providers.NewRegistry(map[string]*providers.Pack{"generic": &changed}, nil); err != nil {
			t.Fatal(err)
		}
	}
}

// TestGenuineButNobodyIsHome: what needs no secret of the endpoint to be genuine
// is still nobody's while it is not known whose the endpoint is.
func TestGenuineButNobodyIsHome(t *testing.T) {
	h := newHouse()
	g := open(t, func(c *Config) { c.Endpoints = h }, parametrised(t, `{"verify": [{"scheme": "network", "networks": ["127.0.0.0/8"]}]}`))
	d := &providers.Delivery{Method: http.MethodPost, Header: http.Header{"Content-Type": {"application/json"}}, Body: []byte(`{"id":"1","type":"a"}`)}
	for partly, want := range map[bool]int{true: http.StatusServiceUnavailable, false: http.StatusUnauthorized} {
		h.mu.Lock()
		h.partly = partly
		h.mu.Unlock()
		if status, _ := g.send("generic/soon", d); status != want {
			t.Errorf("partly known is %t: status %d, want %d", partly, status, want)
		}
	}
	if s := g.stored(events.StreamEvents); len(s) != 0 || len(h.seen) != 0 {
		t.Errorf("stored %v, seen %v", s, h.seen)
	}
}

// TestEndpointsOwnHandshakes: an endpoint may be asked with a method that its
// pack does not know.
func TestEndpointsOwnHandshakes(t *testing.T) {
	g, h := openHouse(t)
	pack, _ := g.registry.Pack("generic")
	own, err := pack.Webhooks.With([]byte(`{"handshake": [{"method": "GET", "signed": "none", "when": {"query:mode": "subscribe"}, "respond": {"text": "query:challenge"}}]}`), providers.App{})
	if err != nil {
		t.Fatal(err)
	}
	h.all["generic/one"] = endpoint.Endpoint{ID: "whk_one", Provider: "generic", UserID: "u1", State: endpoint.Active, Webhooks: own}
	for path, want := range map[string]int{"generic/one": http.StatusOK, "generic/two": http.StatusMethodNotAllowed, "generic": http.StatusMethodNotAllowed} {
		if status, body := g.send(path+"?mode=subscribe&challenge=abc", &providers.Delivery{Method: http.MethodGet}); status != want || want == http.StatusOK && body != "abc" {
			t.Errorf("%s: answered %d %q, want %d", path, status, body, want)
		}
	}
}
