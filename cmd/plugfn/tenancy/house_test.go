package tenancy_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/fstest"
	"time"

	"github.com/rs/zerolog"

	"github.com/plugfn/plugfn/internal/bus"
	"github.com/plugfn/plugfn/internal/bus/bustest"
	"github.com/plugfn/plugfn/pkg/events"
	"github.com/plugfn/plugfn/pkg/providers"
	"github.com/plugfn/plugfn/services/auth"
	"github.com/plugfn/plugfn/services/executor"
	"github.com/plugfn/plugfn/services/ingress"
	"github.com/plugfn/plugfn/services/scheduler"
)

const (
	apiKey  = "key-of-the-tests"
	secret  = "It's a Secret to Everybody"
	token   = "t0ken"
	timeout = 10 * time.Second
)

// fakePack has an action and an event.
const fakePack = `
apiVersion: plugfn.dev/v1
kind: Provider
name: fake
version: 1.0.0
display: {name: Fake}
event_prefix: test.fake
auth:
  - {id: token, type: api_key, apply: {header: Authorization, value: "Bearer {{credential.token}}"}}
http:
  base_url: https://fake.invalid
actions:
  things.create:
    summary: Makes a thing
    effect: none
    request: {method: POST, path: /things, body: {encoding: json}}
    params: {type: object, required: [title], additionalProperties: false, properties: {title: {type: string, minLength: 1}}}
webhooks:
  bodies: [json]
  verify:
    - scheme: hmac
      hash: sha256
      signature: {from: header:X-Signature, prefix: "sha256=", encoding: hex}
      message: [{body: raw}]
  delivery_id: [header:X-Delivery]
  event: [[header:X-Event]]
  account: [json:/account]
`

// house is all of PlugFn in one process.
type house struct {
	*testing.T
	admin    *bus.Bus
	url      string // of the server, for applications
	admit    func() // tells the server who may connect; nil: it knows
	roles    []*bus.Bus
	registry *providers.Registry
	mux      *http.ServeMux
	web      *httptest.Server
}

// open runs the services, each with a connection of its role.
func open(t *testing.T, admin *bus.Bus, url string, admit func()) *house {
	t.Helper()
	h := &house{T: t, admin: admin, url: url, admit: admit, registry: register(t), mux: http.NewServeMux()}
	services := []service{h.ingress(), h.executor(), h.auth(), h.scheduler()}
	t.Cleanup(h.checkFaults) // after the services have stopped
	h.run(services...)
	h.web = httptest.NewServer(h.mux)
	t.Cleanup(h.web.Close)
	return h
}

func register(t *testing.T) *providers.Registry {
	t.Helper()
	provider := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != "Bearer "+token {
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		_, _ = io.WriteString(w, `{"ok":true}`)
	}))
	t.Cleanup(provider.Close)
	pack, err := providers.Load(fstest.MapFS{"fake/provider.yaml": {Data: []byte(fakePack)}}, "fake")
	if err != nil {
		t.Fatal(err)
	}
	registry, err := providers.NewRegistry(map[string]*providers.Pack{"fake": pack}, map[string]providers.App{
		"fake": {BaseURL: provider.URL, WebhookSecrets: []providers.Secret{providers.NewSecret([]byte(secret))}},
	})
	if err != nil {
		t.Fatal(err)
	}
	return registry
}

// as is a connection in a role, closed before the server.
func (h *house) as(role bus.Role) *bus.Bus {
	h.Helper()
	b, err := h.admin.As(h.Context(), role)
	if err != nil {
		h.Fatal(err)
	}
	h.Cleanup(func() { bustest.Close(h, b) })
	h.roles = append(h.roles, b)
	return b
}

func (h *house) log() zerolog.Logger { return zerolog.New(zerolog.NewTestWriter(h)) }

type service interface {
	Run(ctx context.Context) error
}

func (h *house) ingress() service {
	b := h.as(bus.RoleIngress)
	s, err := ingress.New(ingress.Config{JetStream: b.JetStream(), Providers: h.registry, Log: h.log()})
	if err != nil {
		h.Fatal(err)
	}
	s.Mount(h.mux)
	return s
}

func (h *house) executor() service {
	b := h.as(bus.RoleExecutor)
	client, err := auth.NewClient(b.Conn())
	if err != nil {
		h.Fatal(err)
	}
	web := &http.Client{Transport: &http.Transport{}}
	h.Cleanup(web.CloseIdleConnections)
	s, err := executor.New(executor.Config{
		Conn: b.Conn(), JetStream: b.JetStream(), Providers: h.registry, Credentials: client, Parking: b, Log: h.log(), HTTP: web,
	})
	if err != nil {
		h.Fatal(err)
	}
	return s
}

func (h *house) auth() service {
	b := h.as(bus.RoleAuth)
	keys, _, err := auth.OpenKeys(h.Context(), auth.KeysConfig{
		JetStream: b.JetStream(),
		Path:      filepath.Join(h.TempDir(), "keyset.json"),
	})
	if err != nil {
		h.Fatal(err)
	}
	s, err := auth.New(auth.Config{
		Conn: b.Conn(), JetStream: b.JetStream(), Parking: b, Providers: h.registry, Keys: keys,
		APIKey: providers.NewSecret([]byte(apiKey)), Log: h.log(),
	})
	if err != nil {
		h.Fatal(err)
	}
	s.Mount(h.mux)
	return s
}

func (h *house) scheduler() service {
	b := h.as(bus.RoleScheduler)
	s, err := scheduler.New(scheduler.Config{JetStream: b.JetStream(), Firings: b, Log: h.log()})
	if err != nil {
		h.Fatal(err)
	}
	return s
}

// run runs services until the end of the test.
func (h *house) run(services ...service) {
	ctx, stop := context.WithCancel(context.Background())
	var wait sync.WaitGroup
	for _, s := range services {
		wait.Go(func() {
			if err := s.Run(ctx); err != nil {
				h.Error(err)
			}
		})
	}
	h.Cleanup(func() { stop(); wait.Wait() })
}

// checkFaults asserts that no service tried what its role may not do.
func (h *house) checkFaults() {
	h.Helper()
	for _, b := range append(h.roles, h.admin) {
		if n := b.Faults(); n != 0 {
			h.Errorf("%s: %d faults, see the log of the bus", b.Role(), n)
		}
	}
}

func (h *house) eventually(what string, ok func() bool) {
	h.Helper()
	for deadline := time.Now().Add(timeout); !ok(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			h.Fatalf("waited in vain for %s", what)
		}
	}
}

// do sends a request to the HTTP side and returns the answer.
func (h *house) do(method, path, body string, header http.Header) (int, []byte) {
	h.Helper()
	r, err := http.NewRequestWithContext(h.Context(), method, h.web.URL+path, strings.NewReader(body))
	if err != nil {
		h.Fatal(err)
	}
	r.Header = header
	w, err := h.web.Client().Do(r)
	if err != nil {
		h.Fatal(err)
	}
	defer w.Body.Close()
	text, err := io.ReadAll(w.Body)
	if err != nil {
		h.Fatal(err)
	}
	return w.StatusCode, text
}

// connect connects an account of the user and returns the connection's id.
func (h *house) connect(user, account string) string {
	h.Helper()
	body := fmt.Sprintf(`{"user_id":%q,"provider":"fake","token":%q,"account":%q}`, user, token, account)
	status, text := h.do("POST", "/v1/connections", body, http.Header{"Authorization": {"Bearer " + apiKey}, "Content-Type": {"application/json"}})
	var c events.Connection
	if err := json.Unmarshal(text, &c); err != nil || status != http.StatusCreated {
		h.Fatalf("status %d: %s", status, text)
	}
	return c.ID
}

func (h *house) disconnect(id string) {
	h.Helper()
	status, text := h.do("DELETE", "/v1/connections/"+id, "", http.Header{"Authorization": {"Bearer " + apiKey}})
	if status/100 != 2 {
		h.Fatalf("status %d: %s", status, text)
	}
}

// list lists the connections of a user.
func (h *house) list(user string) string {
	h.Helper()
	status, text := h.do("GET", "/v1/connections?user_id="+url.QueryEscape(user), "", http.Header{"Authorization": {"Bearer " + apiKey}})
	if status != http.StatusOK {
		h.Fatalf("status %d: %s", status, text)
	}
	return string(text)
}

// deliver sends a signed delivery.
func (h *house) deliver(id, event, body string) {
	h.Helper()
	d := &providers.Delivery{
		Method: http.MethodPost, Body: []byte(body), ReceivedAt: time.Now(),
		Header: http.Header{"X-Event": {event}, "X-Delivery": {id}, "Content-Type": {"application/json"}},
	}
	pack, _ := h.registry.Pack("fake")
	if err := pack.Webhooks.NewSigner([]providers.Secret{providers.NewSecret([]byte(secret))}, providers.Secret{}).Sign(d, ""); err != nil {
		h.Fatal(err)
	}
	if status, text := h.do(d.Method, "/webhooks/fake", string(d.Body), d.Header); status != http.StatusOK {
		h.Fatalf("status %d: %s", status, text)
	}
}
