package ingress

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/rs/zerolog"
	"go.uber.org/goleak"

	"github.com/plugfn/plugfn/internal/bus"
	"github.com/plugfn/plugfn/internal/bus/bustest"
	"github.com/plugfn/plugfn/pkg/events"
	"github.com/plugfn/plugfn/pkg/providers"
	"github.com/plugfn/plugfn/pkg/providers/providertest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const secret = "It's a Secret to Everybody"

// gate is one ingress on a real bus.
type gate struct {
	*testing.T
	bus      *bus.Bus
	registry *providers.Registry
	service  *Service
	url      string
	log      *lockedBuffer
	client   *http.Client
	close    func() // before the end of the test
}

type lockedBuffer struct {
	mu sync.Mutex
	bytes.Buffer
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.Buffer.Write(p)
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.Buffer.String()
}

func open(t *testing.T, change ...func(*Config)) *gate {
	t.Helper()
	return openOn(t, bustest.New(t), change...)
}

func openOn(t *testing.T, on *bus.Bus, change ...func(*Config)) *gate {
	t.Helper()
	log := &lockedBuffer{}
	cfg := Config{JetStream: on.JetStream(), Providers: (&gate{T: t}).packs(), Log: zerolog.New(log)}
	registry := cfg.Providers
	for _, c := range change {
		c(&cfg)
	}
	service, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	g := serveOn(t, on, service, func(g *gate) { g.registry = registry })
	g.log = log
	return g
}

// packs are all packs, and some apps.
func (g *gate) packs() *providers.Registry {
	g.Helper()
	packs, err := providertest.Catalog()
	if err != nil {
		g.Fatal(err)
	}
	app := providers.App{WebhookSecrets: []providers.Secret{providers.NewSecret([]byte(secret))}}
	registry, err := providers.NewRegistry(packs, map[string]providers.App{
		"github": app, "stripe": app, "slack": {ClientID: "an app without a webhook secret"},
	})
	if err != nil {
		g.Fatal(err)
	}
	return registry
}

// serveOn runs a service until the end of the test, and returns once it is ready;
// before it waits for that it calls begun.
func serveOn(t *testing.T, on *bus.Bus, service *Service, begun func(*gate)) *gate {
	t.Helper()
	g := &gate{T: t, bus: on, registry: service.Providers, service: service, client: &http.Client{Transport: &http.Transport{}}}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- service.Run(ctx) }()
	mux := http.NewServeMux()
	service.Mount(mux)
	server := httptest.NewServer(mux)
	g.url = server.URL
	g.close = sync.OnceFunc(func() {
		g.client.CloseIdleConnections()
		server.Close()
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Run: %v", err)
		}
	})
	t.Cleanup(g.close)
	begun(g)
	g.eventually("a service that is ready", func() bool { return service.Ready(ctx) == nil })
	return g
}

func (g *gate) eventually(what string, ok func() bool) {
	g.Helper()
	for deadline := time.Now().Add(10 * time.Second); !ok(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			g.Fatalf("waited in vain for %s", what)
		}
	}
}

// issueOpened is a delivery with a made-up installation and issue, signed.
func (g *gate) issueOpened(id string, installation int) *providers.Delivery {
	g.Helper()
	body := fmt.Sprintf(`{"action":"opened","issue":{"number":7,"title":"é"},"repository":{"id":1,"full_name":"octo/hello"},"installation":{"id":%d}}`, installation)
	return g.signed(id, "issues", body)
}

func (g *gate) signed(id, event, body string) *providers.Delivery {
	g.Helper()
	d := &providers.Delivery{
		Method: http.MethodPost, Body: []byte(body), ReceivedAt: time.Now(),
		Header: http.Header{"X-Github-Event": {event}, "X-Github-Delivery": {id}, "Content-Type": {"application/json"}},
	}
	pack, _ := g.registry.Pack("github")
	if err := pack.Webhooks.NewSigner([]providers.Secret{providers.NewSecret([]byte(secret))}, providers.Secret{}).Sign(d, ""); err != nil {
		g.Fatal(err)
	}
	return d
}

// send posts d and returns the status and the body of the answer.
func (g *gate) send(provider string, d *providers.Delivery) (int, string) {
	g.Helper()
	r, err := http.NewRequestWithContext(g.Context(), d.Method, g.url+"/webhooks/"+provider, bytes.NewReader(d.Body))
	if err != nil {
		g.Fatal(err)
	}
	r.Header = d.Header.Clone()
	return g.do(r)
}

func (g *gate) do(r *http.Request) (int, string) {
	g.Helper()
	w, err := g.client.Do(r)
	if err != nil {
		g.Fatal(err)
	}
	defer w.Body.Close()
	body, _ := io.ReadAll(w.Body)
	if w.StatusCode == http.StatusServiceUnavailable && w.Header.Get("Retry-After") == "" {
		g.Error("503 without Retry-After")
	}
	return w.StatusCode, string(body)
}

// stored returns how many messages a stream holds, by subject.
func (g *gate) stored(stream string) map[string]uint64 {
	g.Helper()
	s, err := g.bus.JetStream().Stream(g.Context(), stream)
	if err != nil {
		g.Fatal(err)
	}
	info, err := s.Info(g.Context(), jetstream.WithSubjectFilter(">"))
	if err != nil {
		g.Fatal(err)
	}
	return info.State.Subjects
}

func (g *gate) event(subject string) events.Event {
	g.Helper()
	s, err := g.bus.JetStream().Stream(g.Context(), events.StreamEvents)
	if err != nil {
		g.Fatal(err)
	}
	msg, err := s.GetLastMsgForSubject(g.Context(), subject)
	if err != nil {
		g.Fatalf("%s: %v; there are %v", subject, err, g.stored(events.StreamEvents))
	}
	e, err := events.ParseEvent(msg.Header, msg.Data)
	if err != nil {
		g.Fatal(err)
	}
	return e
}

func (g *gate) connect(user, id, account string) string {
	g.Helper()
	kv, err := g.bus.JetStream().KeyValue(g.Context(), events.BucketConnections)
	if err != nil {
		g.Fatal(err)
	}
	record, err := json.Marshal(events.Connection{ID: id, UserID: user, Provider: "github", Account: account})
	if err != nil {
		g.Fatal(err)
	}
	key := events.Key(user, "github", id)
	if _, err := kv.Put(g.Context(), key, record); err != nil {
		g.Fatal(err)
	}
	return key
}

func TestDeliveryBecomesAnEvent(t *testing.T) {
	g := open(t)
	d := g.issueOpened("d-1", 4242)
	if status, body := g.send("github", d); status != http.StatusOK || body != "" {
		t.Fatalf("answer %d %q", status, body)
	}
	e := g.event("plugfn.event._.github.issues.opened")
	if !bytes.Equal(e.Data, d.Body) {
		t.Errorf("data was changed: %s", e.Data)
	}
	if e.ID != "d-1" || e.Type != "com.github.issues.opened" || e.EventName != "issues.opened" || e.Subject != "octo/hello/issues/7" ||
		e.Source != "/plugfn/github/_/_" || e.Account != "4242" || e.Verified != events.VerifiedBody || e.UserID != "" {
		t.Errorf("got %+v", e)
	}
}

func TestOneEventPerConnectionOfTheAccount(t *testing.T) {
	g := open(t)
	first := g.connect("u1", "con_1", "4242")
	g.connect("u2", "con_2", "4242")
	g.connect("u3", "con_3", "77")
	n := 0
	g.eventually("both connections", func() bool {
		n++
		if status, _ := g.send("github", g.issueOpened(fmt.Sprint("d-", n), 4242)); status != http.StatusOK {
			t.Fatalf("status %d", status)
		}
		s := g.stored(events.StreamEvents)
		return s["plugfn.event.u1.github.issues.opened"] > 0 && s["plugfn.event.u2.github.issues.opened"] > 0
	})
	if s := g.stored(events.StreamEvents); s["plugfn.event.u3.github.issues.opened"] != 0 {
		t.Errorf("another account's user got an event: %v", s)
	}
	if e := g.event("plugfn.event.u2.github.issues.opened"); e.UserID != "u2" || e.ConnectionID != "con_2" || e.Source != "/plugfn/github/_/con_2" {
		t.Errorf("got %+v", e)
	}
	kv, err := g.bus.JetStream().KeyValue(t.Context(), events.BucketConnections)
	if err != nil {
		t.Fatal(err)
	}
	if err := kv.Purge(t.Context(), first); err != nil {
		t.Fatal(err)
	}
	g.eventually("the connection to be forgotten", func() bool {
		n++
		before := g.stored(events.StreamEvents)["plugfn.event.u1.github.issues.opened"]
		g.send("github", g.issueOpened(fmt.Sprint("d-", n), 4242))
		return g.stored(events.StreamEvents)["plugfn.event.u1.github.issues.opened"] == before
	})
}

func TestRepeatedDeliveryIsStoredOnce(t *testing.T) {
	g := open(t)
	var wait sync.WaitGroup
	for range 20 {
		wait.Go(func() {
			if status, _ := g.send("github", g.issueOpened("d-1", 1)); status != http.StatusOK {
				t.Errorf("status %d", status)
			}
		})
	}
	wait.Wait()
	if n := g.stored(events.StreamEvents)["plugfn.event._.github.issues.opened"]; n != 1 {
		t.Errorf("%d events, want 1", n)
	}
}

func TestRefusals(t *testing.T) {
	g := open(t)
	change := func(f func(*providers.Delivery)) *providers.Delivery {
		d := g.issueOpened("d-1", 1)
		f(d)
		return d
	}
	tests := []struct {
		name, provider string
		delivery       *providers.Delivery
		status         int
	}{
		{"unknown provider", "gitbuh", g.issueOpened("d-1", 1), 404},
		{"no signature", "github", change(func(d *providers.Delivery) { d.Header.Del("X-Hub-Signature-256") }), 401},
		{"wrong signature", "github", change(func(d *providers.Delivery) { d.Body[0] ^= 1 }), 401},
		{"sha1 only", "github", change(func(d *providers.Delivery) {
			d.Header.Del("X-Hub-Signature-256")
			d.Header.Set("X-Hub-Signature", "sha1=0000000000000000000000000000000000000000")
		}), 401},
		{"no secret is set", "slack", g.issueOpened("d-1", 1), 401},
		{"compressed", "github", change(func(d *providers.Delivery) { d.Header.Set("Content-Encoding", "gzip") }), 415},
		{"content type", "github", change(func(d *providers.Delivery) { d.Header.Set("Content-Type", "text/html") }), 415},
		{"method", "github", change(func(d *providers.Delivery) { d.Method = http.MethodPut }), 405},
	}
	bodies := map[int]string{}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			status, body := g.send(tt.provider, tt.delivery)
			if status != tt.status {
				t.Errorf("status %d, want %d", status, tt.status)
			}
			if other, ok := bodies[status]; status == 401 && ok && other != body {
				t.Errorf("the answer tells which check failed: %q and %q", body, other)
			}
			bodies[status] = body
		})
	}
	for provider, want := range map[string]string{"github": "POST", "dropbox": "POST, GET", "trello": "POST, HEAD"} {
		r, err := http.NewRequestWithContext(t.Context(), http.MethodPut, g.url+"/webhooks/"+provider, nil)
		if err != nil {
			t.Fatal(err)
		}
		answer, err := g.client.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		answer.Body.Close()
		if got := answer.Header.Get("Allow"); got != want {
			t.Errorf("%s allows %q, want %q", provider, got, want)
		}
	}
	if s := g.stored(events.StreamEvents); len(s) != 0 {
		t.Errorf("refused deliveries were stored: %v", s)
	}
	if log := g.log.String(); !strings.Contains(log, `"provider":"slack"`) || strings.Contains(log, secret) || strings.Contains(log, "octo/hello") {
		t.Errorf("log names no provider without a secret, or tells too much: %s", log)
	}
}

func TestTooLarge(t *testing.T) {
	g := open(t)
	pack, _ := g.registry.Pack("github")
	limit := int(bodyLimit(pack))
	announced := g.signed("d-1", "push", `{"a":"`+strings.Repeat("x", limit)+`"}`)
	if status, _ := g.send("github", announced); status != http.StatusRequestEntityTooLarge {
		t.Errorf("announced: status %d", status)
	}
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, g.url+"/webhooks/github", io.LimitReader(endless{}, int64(limit)+1))
	if err != nil {
		t.Fatal(err)
	}
	if status, _ := g.do(r); status != http.StatusRequestEntityTooLarge {
		t.Errorf("chunked: status %d", status)
	}
}

// What a pack allows and one message cannot carry is stored beside it.
func TestLargestBodyIsStored(t *testing.T) {
	g := open(t)
	pack, _ := g.registry.Pack("github")
	body := `{"a":"` + strings.Repeat("x", int(bodyLimit(pack))-8) + `"}`
	if status, _ := g.send("github", g.signed("d-1", "push", body)); status != http.StatusOK {
		t.Errorf("status %d, want 200", status)
	}
	if e := g.event("plugfn.event._.github.push"); e.DataRef.Size != int64(len(body)) {
		t.Errorf("stored %d bytes of %d", e.DataRef.Size, len(body))
	}
}

type endless struct{}

func (endless) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = 'x'
	}
	return len(p), nil
}

func TestUnreadableButGenuineIsKept(t *testing.T) {
	g := open(t)
	for _, body := range []string{`{"action":`, `[1,2`, ``} {
		if status, _ := g.send("github", g.signed("d-"+body, "issues", body)); status != http.StatusOK {
			t.Errorf("%q: status %d", body, status)
		}
	}
	for range 2 { // another delivery with the body of one, and its repetition
		if status, _ := g.send("github", g.signed("d-other", "issues", `[1,2`)); status != http.StatusOK {
			t.Errorf("status %d", status)
		}
	}
	if s := g.stored(events.StreamDead); s["plugfn.dead.event._.github.unparsed"] != 4 {
		t.Errorf("dead letters %v", s)
	}
	if s := g.stored(events.StreamEvents); len(s) != 0 {
		t.Errorf("events %v", s)
	}
}

func TestBudgets(t *testing.T) {
	g := open(t, func(c *Config) { c.MaxBytes = 1000 })
	if status, _ := g.send("github", g.signed("d-1", "push", `{"a":"`+strings.Repeat("x", 2000)+`"}`)); status != http.StatusServiceUnavailable {
		t.Errorf("over the byte budget: status %d", status)
	}
}

// Connections that announce a body and send nothing hold neither places nor
// much of the budget.
func TestSilentSendersDoNotShutTheDoor(t *testing.T) {
	g := open(t, func(c *Config) { c.MaxInFlight, c.MaxBytes = 4, 2<<20 })
	for range 32 {
		conn, err := net.Dial("tcp", strings.TrimPrefix(g.url, "http://"))
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		fmt.Fprintf(conn, "POST /webhooks/github HTTP/1.1\r\nHost: x\r\nContent-Length: 900000\r\n\r\n")
	}
	for i := range 20 {
		if status, _ := g.send("github", g.signed(fmt.Sprint("d-", i), "push", `{}`)); status != http.StatusOK {
			t.Errorf("status %d", status)
		}
	}
}

// A sender who hangs up has still sent his delivery.
func TestSenderHangsUp(t *testing.T) {
	g := open(t)
	const owners = 300
	for i := range owners {
		g.connect(fmt.Sprint("u", i), fmt.Sprint("con_", i), "4242")
	}
	g.eventually("the connections", func() bool {
		g.send("github", g.issueOpened("probe", 4242))
		return g.stored(events.StreamEvents)[fmt.Sprintf("plugfn.event.u%d.github.issues.opened", owners-1)] > 0
	})
	before := len(g.stored(events.StreamEvents))
	d := g.signed("d-1", "push", `{"installation":{"id":4242},"repository":{"full_name":"o/r"}}`)
	conn, err := net.Dial("tcp", strings.TrimPrefix(g.url, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, g.url+"/webhooks/github", bytes.NewReader(d.Body))
	if err != nil {
		t.Fatal(err)
	}
	r.Header = d.Header
	if err := r.Write(conn); err != nil {
		t.Fatal(err)
	}
	g.eventually("the first event", func() bool { return len(g.stored(events.StreamEvents)) > before })
	conn.Close()
	g.eventually("all events", func() bool { return len(g.stored(events.StreamEvents)) == before+owners })
}

func TestHostileNamesReachTheBusEscaped(t *testing.T) {
	g := open(t)
	for i, action := range []string{"*", ">", "a.b", strings.Repeat("x.", 2500), `\u0000`, "é", " ", "$SYS"} {
		body := fmt.Sprintf(`{"action":"%s","repository":{"full_name":"%s"}}`, action, action)
		if status, _ := g.send("github", g.signed(fmt.Sprint("d-", i), "issues", body)); status != http.StatusOK {
			t.Errorf("%.20q: status %d", action, status)
		}
	}
	if n := len(g.stored(events.StreamEvents)); n != 8 {
		t.Errorf("%d subjects, want 8: %v", n, g.stored(events.StreamEvents))
	}
}

func TestBusAway(t *testing.T) {
	g := open(t)
	d := g.issueOpened("d-1", 1)
	if err := g.bus.JetStream().DeleteStream(t.Context(), events.StreamEvents); err != nil {
		t.Fatal(err)
	}
	if status, _ := g.send("github", d); status != http.StatusServiceUnavailable {
		t.Errorf("status %d, want 503: nothing stored the event", status)
	}
}

func TestBeforeTheIndexIsLoaded(t *testing.T) {
	g := open(t)
	service, err := New(Config{JetStream: g.bus.JetStream(), Providers: g.registry})
	if err != nil {
		t.Fatal(err)
	}
	mux := http.NewServeMux()
	service.Mount(mux)
	w := httptest.NewRecorder()
	mux.ServeHTTP(w, httptest.NewRequest(http.MethodPost, "/webhooks/github", strings.NewReader("{}")))
	if w.Code != http.StatusServiceUnavailable || w.Header().Get("Retry-After") == "" {
		t.Errorf("status %d, headers %v", w.Code, w.Header())
	}
}

func TestSlackHandshake(t *testing.T) {
	g := open(t)
	packs, err := providertest.Catalog()
	if err != nil {
		t.Fatal(err)
	}
	key := providers.NewSecret([]byte("8f742231b10e8888abcd99yyyzzz85a5"))
	registry, err := providers.NewRegistry(packs, map[string]providers.App{"slack": {WebhookSecrets: []providers.Secret{key}}})
	if err != nil {
		t.Fatal(err)
	}
	service, err := New(Config{JetStream: g.bus.JetStream(), Providers: registry})
	if err != nil {
		t.Fatal(err)
	}
	service.index.loaded.Store(true)
	mux := http.NewServeMux()
	service.Mount(mux)
	send := func(body string, signed bool) *httptest.ResponseRecorder {
		d := &providers.Delivery{Method: http.MethodPost, Header: http.Header{"Content-Type": {"application/json"}}, Body: []byte(body), ReceivedAt: time.Now()}
		pack, _ := registry.Pack("slack")
		if err := pack.Webhooks.NewSigner([]providers.Secret{key}, providers.Secret{}).Sign(d, ""); err != nil {
			t.Fatal(err)
		}
		r := httptest.NewRequest(http.MethodPost, "/webhooks/slack", strings.NewReader(body))
		if signed {
			r.Header = d.Header
		}
		w := httptest.NewRecorder()
		mux.ServeHTTP(w, r)
		return w
	}
	w := send(`{"type":"url_verification","challenge":"3eZbrw1aBm2rZgRNFdxV2595E9CY3gmdALWMmHkvFXO7tYXAYM8P"}`, true)
	if w.Code != http.StatusOK || w.Body.String() != "3eZbrw1aBm2rZgRNFdxV2595E9CY3gmdALWMmHkvFXO7tYXAYM8P" || !strings.HasPrefix(w.Header().Get("Content-Type"), "text/plain") {
		t.Errorf("answer %d %q %v", w.Code, w.Body, w.Header())
	}
	// What is echoed is no page, whoever opens it.
	if w.Header().Get("X-Content-Type-Options") != "nosniff" || w.Header().Get("Content-Security-Policy") != "default-src 'none'" {
		t.Errorf("a browser is not told to be careful: %v", w.Header())
	}
	if w := send(`{"type":"url_verification","challenge":"abc"}`, false); w.Code != http.StatusUnauthorized {
		t.Errorf("unsigned handshake: status %d", w.Code)
	}
	if w := send(`{"type":"url_verification","challenge":"<script>alert(1)</script>"}`, true); strings.Contains(w.Body.String(), "script") {
		t.Errorf("hostile challenge was echoed: %q", w.Body)
	}
}

// FuzzReceive: no request, however made, is stored without its signature, nor
// crashes the service.
func FuzzReceive(f *testing.F) {
	packs, err := providertest.Catalog()
	if err != nil {
		f.Fatal(err)
	}
	registry, err := providers.NewRegistry(packs, map[string]providers.App{
		"github": {WebhookSecrets: []providers.Secret{providers.NewSecret([]byte(secret))}},
		"slack":  {WebhookSecrets: []providers.Secret{providers.NewSecret([]byte(secret))}},
	})
	if err != nil {
		f.Fatal(err)
	}
	b := bustest.New(f)
	service, err := New(Config{JetStream: b.JetStream(), Providers: registry})
	if err != nil {
		f.Fatal(err)
	}
	service.index.loaded.Store(true)
	mux := http.NewServeMux()
	service.Mount(mux)
	f.Add("github", "X-Hub-Signature-256", "sha256=00", "application/json", []byte(`{"action":"opened"}`))
	f.Add("slack", "X-Slack-Signature", "v0=00", "application/x-www-form-urlencoded", []byte(`payload=%7B%7D`))
	f.Add("nobody", "", "", "", []byte(nil))
	f.Fuzz(func(t *testing.T, provider, header, value, contentType string, body []byte) {
		r := httptest.NewRequest(http.MethodPost, "/webhooks/x", bytes.NewReader(body))
		r.URL.Path = "/webhooks/" + provider
		r.Header[http.CanonicalHeaderKey(header)] = []string{value}
		r.Header.Set("Content-Type", contentType)
		w := httptest.NewRecorder()
		mux.ServeHTTP(w, r)
		if w.Code < 300 || w.Code >= 500 {
			t.Fatalf("status %d", w.Code)
		}
	})
}
