package executor

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"testing/fstest"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/rs/zerolog"
	"go.uber.org/goleak"

	"github.com/plugfn/plugfn/internal/bus"
	"github.com/plugfn/plugfn/internal/bus/bustest"
	"github.com/plugfn/plugfn/internal/outbound"
	"github.com/plugfn/plugfn/pkg/events"
	"github.com/plugfn/plugfn/pkg/providers"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// fakePack offers one action of each effect.
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
  timeout: 5s
  max_response: 2MiB
actions:
  things.get:
    summary: Reads a thing
    effect: read
    request: {method: GET, path: "/things/{{params.id}}"}
    params: {type: object, required: [id], additionalProperties: false, properties: {id: {type: string}}}
  things.create:
    summary: Makes a thing
    effect: none
    request: {method: POST, path: /things, body: {encoding: json}}
    params: {type: object, required: [title], additionalProperties: false, properties: {title: {type: string, minLength: 1}}}
  things.put:
    summary: Replaces a thing
    effect: idempotent
    request: {method: PUT, path: /thing, body: {encoding: json}}
    params: {type: object, required: [title], additionalProperties: false, properties: {title: {type: string}}}
`

// provider is a fake SaaS that keeps a ledger of what it was asked to do.
type provider struct {
	*httptest.Server
	mu    sync.Mutex
	calls []string
	serve http.HandlerFunc // nil: answers {"ok":true}
}

func newProvider(t *testing.T, serve http.HandlerFunc) *provider {
	p := &provider{serve: serve}
	p.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		r.Body = io.NopCloser(bytes.NewReader(body))
		p.mu.Lock()
		p.calls = append(p.calls, r.Method+" "+r.URL.Path+" "+string(body))
		p.mu.Unlock()
		if p.serve != nil {
			p.serve(w, r)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		_, _ = io.WriteString(w, `{"ok":true}`)
	}))
	t.Cleanup(p.Close)
	return p
}

func (p *provider) count() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.calls)
}

// tokens hands out one credential, or fails.
type tokens struct{ err error }

func (f tokens) Credential(_ context.Context, _, _, id string) (providers.Credential, error) {
	if id == "" {
		id = "con_only"
	}
	account, _, _ := strings.Cut(strings.TrimPrefix(id, "con_"), "@") // con_acme@2 is another one with the account of con_acme
	return providers.Credential{Auth: "token", Token: providers.NewSecret([]byte("t0ken")), ConnectionID: id, Account: account, Version: 1}, f.err
}

func (f tokens) Refused(context.Context, string, string, providers.Credential) (providers.Credential, error) {
	return providers.Credential{}, events.Errorf(events.CodeNeedsReauth, "the connection must be authorised again")
}

func mustCredential(t *testing.T) providers.Credential {
	t.Helper()
	c, err := tokens{}.Credential(t.Context(), "u1", "fake", "")
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// story is one executor on a real bus in front of a fake provider.
type story struct {
	*testing.T
	bus      *bus.Bus
	app      *nats.Conn // an application's connection, as any NATS client has it
	provider *provider
	cfg      Config
	reached  func(point, string) error // of the next executor
	tune     func(*Service)            // the next executor; nil: it stays as it is
	service  *Service                  // the last that was started
	stop     func()
}

func tell(t *testing.T, serve http.HandlerFunc, change ...func(*Config)) *story {
	t.Helper()
	return tellPack(t, fakePack, serve, change...)
}

func tellPack(t *testing.T, text string, serve http.HandlerFunc, change ...func(*Config)) *story {
	t.Helper()
	b := bustest.New(t, bustest.Listen)
	return tellOn(t, b, b.ClientURL(), text, serve, change...)
}

// tellOn tells a story on a bus that is there.
func tellOn(t *testing.T, b *bus.Bus, address, text string, serve http.HandlerFunc, change ...func(*Config)) *story {
	t.Helper()
	p := newProvider(t, serve)
	pack, err := providers.Load(fstest.MapFS{"fake/provider.yaml": {Data: []byte(text)}}, "fake")
	if err != nil {
		t.Fatal(err)
	}
	registry, err := providers.NewRegistry(map[string]*providers.Pack{"fake": pack}, map[string]providers.App{"fake": {BaseURL: p.URL}})
	if err != nil {
		t.Fatal(err)
	}
	client := outbound.New(outbound.Config{Trusted: []string{p.URL}})
	t.Cleanup(client.CloseIdleConnections)
	cfg := Config{
		Conn: b.Conn(), JetStream: b.JetStream(), Providers: registry, Credentials: tokens{}, Parking: b,
		Log: zerolog.New(zerolog.NewTestWriter(t)), HTTP: client, AckWait: time.Second, DrainTimeout: 5 * time.Second,
	}
	for _, c := range change {
		c(&cfg)
	}
	move(t, b)
	app, err := nats.Connect(address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(app.Close)
	return &story{T: t, bus: b, app: app, provider: p, cfg: cfg}
}

// start runs an executor until stop or the end of the test.
func (s *story) start() {
	s.Helper()
	service, err := New(s.cfg)
	if err != nil {
		s.Fatal(err)
	}
	s.service, service.reached = service, s.reached
	if s.tune != nil {
		s.tune(service)
	}
	ctx, cancel := context.WithCancel(s.Context())
	done := make(chan error, 1)
	go func() { done <- service.Run(ctx) }()
	var once sync.Once
	s.stop = func() {
		once.Do(func() {
			cancel()
			if err := <-done; err != nil {
				s.Errorf("Run: %v", err)
			}
		})
	}
	s.Cleanup(s.stop)
}

// request publishes an action request and returns its stream sequence.
func (s *story) request(r events.ActionRequest) uint64 {
	s.Helper()
	if r.UserID == "" {
		r.UserID = "u1"
	}
	if r.Provider == "" {
		r.Provider = "fake"
	}
	ack, err := s.bus.JetStream().PublishMsg(s.Context(), r.Msg(r.Subject()))
	if err != nil {
		s.Fatal(err)
	}
	return ack.Sequence
}

// results waits until the results stream holds n, then that nothing is left to
// execute, and returns all of them.
func (s *story) results(n int) []events.Result {
	s.Helper()
	var out []events.Result
	stream, err := s.bus.JetStream().Stream(s.Context(), events.StreamResults)
	if err != nil {
		s.Fatal(err)
	}
	s.eventually("results", func() bool {
		info, err := stream.Info(s.Context())
		return err == nil && info.State.Msgs >= uint64(n)
	})
	s.idle()
	info, err := stream.Info(s.Context())
	if err != nil {
		s.Fatal(err)
	}
	for seq := info.State.FirstSeq; seq <= info.State.LastSeq; seq++ {
		msg, err := stream.GetMsg(s.Context(), seq)
		if err != nil {
			s.Fatal(err)
		}
		r, err := events.ParseResult(msg.Data)
		if err != nil {
			s.Fatal(err)
		}
		if msg.Subject != r.Subject() {
			s.Errorf("result of %s on %s, want %s", r.ID, msg.Subject, r.Subject())
		}
		out = append(out, r)
	}
	if len(out) != n {
		s.Fatalf("%d results, want %d: %+v", len(out), n, out)
	}
	return out
}

// idle waits until every request of the stream is acknowledged. How many a
// consumer has pending does not tell: it hears of a request after the publisher.
func (s *story) idle() {
	s.Helper()
	s.eventually("an idle executor", func() bool {
		stream, err := s.bus.JetStream().Stream(s.Context(), events.StreamActions)
		if err != nil {
			return false
		}
		consumer, err := stream.Consumer(s.Context(), "executor")
		if err != nil {
			return false
		}
		info := consumer.CachedInfo()
		return info.AckFloor.Stream >= stream.CachedInfo().State.LastSeq && info.NumAckPending == 0 && isLaneFree(s.Context(), stream)
	})
}

// isLaneFree reports whether nothing is left in any lane.
func isLaneFree(ctx context.Context, stream jetstream.Stream) bool {
	left := uint64(0)
	consumers := stream.ListConsumers(ctx)
	for c := range consumers.Info() { // to the end: otherwise its goroutine stays
		if c.Name != "executor" {
			left += c.NumPending + uint64(c.NumAckPending)
		}
	}
	return consumers.Err() == nil && left == 0
}

func (s *story) eventually(what string, ok func() bool) {
	s.Helper()
	for deadline := time.Now().Add(20 * time.Second); !ok(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			s.Fatalf("waited in vain for %s", what)
		}
	}
}

func TestSucceeds(t *testing.T) {
	s := tell(t, nil)
	s.start()
	s.request(events.ActionRequest{ID: "r1", Action: "things.create", Params: json.RawMessage(`{"title":"a"}`)})
	r := s.results(1)[0]
	if r.ID != "r1" || r.Outcome != events.Succeeded || string(r.Data) != `{"ok":true}` || r.Attempts != 1 || r.ConnectionID != "con_only" || r.Error != nil {
		t.Errorf("got %+v, data %s", r, r.Data)
	}
	if got := s.provider.calls; len(got) != 1 || got[0] != `POST /things {"title":"a"}` {
		t.Errorf("provider saw %q", got)
	}
}

func TestIDIsDerivedOncePerRequest(t *testing.T) {
	s := tell(t, nil)
	s.start()
	for range 3 {
		s.request(events.ActionRequest{Action: "things.create", Params: json.RawMessage(`{"title":"a"}`)})
	}
	ids := map[string]bool{}
	for _, r := range s.results(3) {
		ids[r.ID] = true
	}
	if len(ids) != 3 || ids[""] {
		t.Errorf("ids %v, want three of them", ids)
	}
}

func TestBadRequestsGetAFailedResult(t *testing.T) {
	tests := []struct {
		name    string
		request events.ActionRequest
		code    events.Code
		message string
	}{
		{"missing field", events.ActionRequest{Action: "things.create", Params: json.RawMessage(`{}`)}, events.CodeInvalidParams, "/title"},
		{"wrong type", events.ActionRequest{Action: "things.create", Params: json.RawMessage(`{"title":1}`)}, events.CodeInvalidParams, "/title"},
		{"not an object", events.ActionRequest{Action: "things.create", Params: json.RawMessage(`[1]`)}, events.CodeInvalidParams, "object"},
		{"not JSON", events.ActionRequest{Action: "things.create", Params: json.RawMessage(`{"title"`)}, events.CodeInvalidParams, "JSON"},
		{"path traversal", events.ActionRequest{Action: "things.get", Params: json.RawMessage(`{"id":".."}`)}, events.CodeInvalidParams, "id"},
		{"unknown action", events.ActionRequest{Action: "things.creat", Params: json.RawMessage(`{}`)}, events.CodeUnknownAction, `did you mean "things.create"?`},
		{"unknown provider", events.ActionRequest{Provider: "fakke", Action: "x"}, events.CodeUnknownProvider, `did you mean "fake"?`},
		{"deadline passed", events.ActionRequest{Action: "things.get", Params: json.RawMessage(`{"id":"1"}`), Deadline: time.Unix(1, 0)}, events.CodeTimeout, "deadline"},
	}
	s := tell(t, nil)
	s.start()
	for _, tt := range tests {
		tt.request.ID = tt.name
		s.request(tt.request)
	}
	got := map[string]events.Result{}
	for _, r := range s.results(len(tests)) {
		got[r.ID] = r
	}
	for _, tt := range tests {
		r := got[tt.name]
		if r.Outcome != events.Failed || r.Error == nil || r.Error.Code != tt.code || !strings.Contains(r.Error.Message, tt.message) || r.Attempts != 0 {
			t.Errorf("%s: got %+v, %v", tt.name, r, r.Error)
		}
	}
	if n := s.provider.count(); n != 0 {
		t.Errorf("provider was called %d times", n)
	}
}

func TestBadHeaderGetsAFailedResult(t *testing.T) {
	s := tell(t, nil)
	s.start()
	msg := nats.NewMsg("plugfn.action.u1.fake.things.get")
	msg.Header.Set(events.HeaderTimeout, "soon")
	msg.Header.Set(events.HeaderID, "r1")
	if _, err := s.bus.JetStream().PublishMsg(t.Context(), msg); err != nil {
		t.Fatal(err)
	}
	if r := s.results(1)[0]; r.ID != "r1" || r.Error == nil || r.Error.Code != events.CodeInvalidParams || !strings.Contains(r.Error.Message, "Plugfn-Timeout") {
		t.Errorf("got %+v, %v", r, r.Error)
	}
}

func TestConnectionErrorsAreResults(t *testing.T) {
	s := tell(t, nil, func(c *Config) {
		c.Credentials = tokens{events.Errorf(events.CodeConnectionAmbiguous, "several: con_1, con_2")}
	})
	s.start()
	s.request(events.ActionRequest{Action: "things.get", Params: json.RawMessage(`{"id":"1"}`)})
	if r := s.results(1)[0]; r.Error == nil || r.Error.Code != events.CodeConnectionAmbiguous {
		t.Errorf("got %+v", r)
	}
}

// flaky fails some times before it hands out credentials.
type flaky struct {
	tokens
	left chan error
}

func (f flaky) Credential(ctx context.Context, user, provider, id string) (providers.Credential, error) {
	select {
	case err := <-f.left:
		return providers.Credential{}, err
	default:
		return f.tokens.Credential(ctx, user, provider, id)
	}
}

func TestOurOwnTroubleIsTriedAgain(t *testing.T) {
	left := make(chan error, 2)
	left <- errors.New("auth service is away")
	left <- events.Errorf(events.CodeInternal, "auth service is away")
	s := tell(t, nil, func(c *Config) { c.Credentials = flaky{left: left} })
	s.start()
	s.request(events.ActionRequest{Action: "things.create", Params: json.RawMessage(`{"title":"a"}`)})
	if r := s.results(1)[0]; r.Outcome != events.Succeeded {
		t.Errorf("got %+v", r)
	}
}

func TestResultIsACloudEventWithoutInternalHeaders(t *testing.T) {
	s := tell(t, nil)
	s.start()
	s.eventually("the call service", s.served)
	reply, err := s.app.RequestMsg((&events.ActionRequest{
		ID: "r1", UserID: "u1", Provider: "fake", Action: "things.get", Params: json.RawMessage(`{"id":"1"}`),
	}).Msg(events.CallSubject("u1", "fake", "things.get")), 10*time.Second)
	if err != nil {
		t.Fatal(err)
	}
	if e, err := events.ParseEvent(reply.Header, reply.Data); err != nil || e.ID != "r1" {
		t.Errorf("reply %+v, %v", e, err)
	}
	for name := range reply.Header {
		if strings.HasPrefix(name, "Nats-") {
			t.Errorf("reply has header %s", name)
		}
	}
}

func TestNotBeforeParks(t *testing.T) {
	s := tell(t, nil)
	s.start()
	due := time.Now().Add(time.Hour)
	s.request(events.ActionRequest{ID: "r1", Action: "things.create", Params: json.RawMessage(`{"title":"a"}`), NotBefore: due})
	later, err := s.bus.JetStream().Stream(t.Context(), events.StreamLater)
	if err != nil {
		t.Fatal(err)
	}
	var held *jetstream.RawStreamMsg
	s.eventually("a parked request", func() bool {
		held, err = later.GetLastMsgForSubject(t.Context(), events.LaterSubject("action", "u1", "r1"))
		return err == nil
	})
	if got := held.Header.Get(events.HeaderID); got != "r1" || string(held.Data) != `{"title":"a"}` {
		t.Errorf("parked with id %q and body %s", got, held.Data)
	}
	if n := s.provider.count(); n != 0 {
		t.Errorf("provider was called %d times", n)
	}
}
