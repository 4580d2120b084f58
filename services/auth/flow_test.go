package auth

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/url"
	"regexp"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/plugfn/plugfn/internal/bus"
	"github.com/plugfn/plugfn/pkg/events"
	"github.com/plugfn/plugfn/pkg/providers"
	"github.com/plugfn/plugfn/services/auth/oauth"
	"github.com/plugfn/plugfn/services/auth/oauthtest"
)

// flowRig is a service that browsers reach, and the provider "strict" with a
// user who allows everything.
type flowRig struct {
	*rig
	*web
	as  *oauthtest.Server
	now *atomic.Int64 // how many seconds the clock of the service is ahead
}

type flowOptions struct {
	as     oauthtest.Config
	pack   []string // changes of the pack
	config func(*Config)
	https  bool
	idle   bool // it does not run
}

func newFlowRig(t testing.TB, o flowOptions) *flowRig {
	t.Helper()
	f := &flowRig{rig: newRig(t), now: &atomic.Int64{}}
	mux := http.NewServeMux()
	server := httptest.NewUnstartedServer(mux)
	if o.https {
		server.StartTLS()
	} else {
		server.Start()
	}
	t.Cleanup(func() { server.Client().CloseIdleConnections(); server.Close() })
	f.web = &web{Server: server, key: "Bearer " + apiKey}

	o.as.Clients = []oauthtest.Client{{
		ID: "client", Secret: "client-s3cret", Auth: providers.ClientAuthBasic, RedirectURIs: []string{server.URL + pathCallback + "strict"},
	}}
	f.as = oauthtest.New(t, o.as)
	registry, err := providers.NewRegistry(
		map[string]*providers.Pack{"strict": oauthtest.Pack(t, o.pack...), "bare": {Name: "bare", Auth: []*providers.Auth{{ID: "none", Type: providers.AuthNone}}}},
		map[string]providers.App{"strict": f.as.App()})
	if err != nil {
		t.Fatal(err)
	}
	f.cfg.Providers, f.cfg.PublicURL, f.cfg.ReturnTo = registry, server.URL, []string{"https://app.example/settings"}
	f.cfg.Now = func() time.Time { return time.Now().Add(time.Duration(f.now.Load()) * time.Second) }
	if o.config != nil {
		o.config(&f.cfg)
	}
	f.Service, err = New(f.cfg)
	if err != nil {
		t.Fatal(err)
	}
	f.Mount(mux)
	if !o.idle {
		f.serve(t)
	}
	return f
}

// begun is an attempt that the API has started.
type begun struct {
	ID, State  string
	ConnectURL string    `json:"connect_url"`
	ExpiresAt  time.Time `json:"expires_at"`
}

// begin starts an attempt of user u1.
func (f *flowRig) begin(t testing.TB, more string) (s begun) {
	t.Helper()
	got := f.do(t, "POST", pathStart, `{"user_id":"u1","provider":"strict"`+more+`}`)
	if got.status != http.StatusCreated {
		t.Fatalf("start: %d %s", got.status, got.body)
	}
	if err := json.Unmarshal([]byte(got.body), &s); err != nil {
		t.Fatal(err)
	}
	return s
}

// allow has the user consent and returns where his browser is sent.
func (f *flowRig) allow(t testing.TB, connectURL string) string {
	t.Helper()
	back, err := f.as.Authorize(t.Context(), connectURL)
	if err != nil {
		t.Fatal(err)
	}
	return back.String()
}

// visit is a browser without cookies that follows nothing.
func (f *flowRig) visit(t testing.TB, target string) answer {
	t.Helper()
	return f.browse(t, f.Client().Transport, http.MethodGet, target, nil)
}

func (f *flowRig) browse(t testing.TB, transport http.RoundTripper, method, target string, form url.Values, headers ...string) answer {
	t.Helper()
	return f.surf(t, &http.Client{Transport: transport}, method, target, form, headers...)
}

func (f *flowRig) surf(t testing.TB, browser *http.Client, method, target string, form url.Values, headers ...string) answer {
	t.Helper()
	var body io.Reader
	if form != nil {
		body = strings.NewReader(form.Encode())
	}
	request, err := http.NewRequestWithContext(t.Context(), method, target, body)
	if err != nil {
		t.Fatal(err)
	}
	if form != nil {
		request.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	for i := 0; i < len(headers); i += 2 {
		request.Header.Set(headers[i], headers[i+1])
	}
	browser.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	response, err := browser.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return answer{response.StatusCode, response.Header, string(text)}
}

func (f *flowRig) browser(t testing.TB) *http.Client {
	t.Helper()
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	return &http.Client{Transport: f.Client().Transport, Jar: jar}
}

// ended is how an attempt stands.
type ended struct {
	Status       string
	Provider     string
	ConnectionID string        `json:"connection_id"`
	Missing      []string      `json:"missing_scopes"`
	Error        *events.Error `json:"error"`
}

// outcome is what the API says about an attempt.
func (f *flowRig) outcome(t testing.TB, id string) (reply ended) {
	t.Helper()
	got := f.do(t, "GET", "/v1/flows/"+id, "")
	if got.status != http.StatusOK {
		t.Fatalf("flow: %d %s", got.status, got.body)
	}
	if err := json.Unmarshal([]byte(got.body), &reply); err != nil {
		t.Fatal(err)
	}
	return reply
}

func (f *flowRig) connections(t testing.TB) []events.Connection {
	t.Helper()
	got := f.do(t, "GET", pathConnections, "")
	return parse[struct{ Connections []events.Connection }](t, got.body).Connections
}

// dump is all that a bucket holds.
func (f *flowRig) dump(t testing.TB, name string) string {
	t.Helper()
	var all bytes.Buffer
	err := scan(t.Context(), bucket(t, f.bus, name), allKeys, func(entry jetstream.KeyValueEntry) bool {
		fmt.Fprintf(&all, "%s %s\n", entry.Key(), entry.Value())
		return true
	})
	if err != nil {
		t.Fatal(err)
	}
	return all.String()
}

func TestCodeFlow(t *testing.T) {
	f := newFlowRig(t, flowOptions{})
	begun := f.begin(t, `,"connection_name":"work","login_hint":"mona"`)
	if out := f.outcome(t, begun.ID); out.Status != "pending" || out.Error != nil {
		t.Errorf("before: %+v", out)
	}
	if left := time.Until(begun.ExpiresAt); left < 9*time.Minute || left > 10*time.Minute {
		t.Errorf("good for %s", left)
	}
	asked, err := url.Parse(begun.ConnectURL)
	if err != nil {
		t.Fatal(err)
	}
	q := asked.Query()
	if q.Get("code_challenge_method") != "S256" || q.Get("state") != begun.State || q.Get("scope") != "read write" || q.Get("redirect_uri") != f.URL+"/oauth/callback/strict" {
		t.Errorf("asks with %v", q)
	}
	if kept := f.dump(t, bus.BucketStates); strings.Contains(kept, begun.State) || strings.Contains(kept, q.Get("code_challenge")) {
		t.Errorf("the state or the verifier is kept in the clear: %s", kept)
	}
	back := f.allow(t, begun.ConnectURL)
	got := f.visit(t, back)
	if got.status != http.StatusOK || !strings.Contains(got.body, "Strict is connected") {
		t.Fatalf("callback: %d %s", got.status, got.body)
	}
	all := f.connections(t)
	if len(all) != 1 {
		t.Fatalf("connections: %+v", all)
	}
	c := all[0]
	if c.UserID != "u1" || c.Provider != "strict" || c.Auth != "oauth" || c.Name != "work" || c.Account != "mona" || c.Label != "mona" || c.Status != events.ConnectionActive || c.ExpiresAt.IsZero() {
		t.Errorf("connected %+v", c)
	}
	if diff := cmp.Diff([]string{"read", "write"}, c.Scopes); diff != "" || len(c.MissingScopes) > 0 {
		t.Error(diff)
	}
	if out := f.outcome(t, begun.ID); out.Status != "connected" || out.ConnectionID != c.ID || out.Provider != "strict" {
		t.Errorf("after: %+v", out)
	}
	if other := f.do(t, "GET", "/v1/flows/"+begun.ID+"?user_id=u2", ""); other.status != http.StatusNotFound {
		t.Errorf("another user's attempt: %d %s", other.status, other.body)
	}
	cred, err := f.credential(t.Context(), "u1", "strict", "")
	if err != nil || !f.as.IsLive(string(cred.Token.Reveal())) {
		t.Errorf("the token: %v", err)
	}
	if again := f.visit(t, back); again.status != http.StatusGone {
		t.Errorf("the same link again: %d %s", again.status, again.body)
	}
	if ledger := f.as.Ledger(); ledger.Exchanges != 1 || ledger.Reuses != 0 {
		t.Errorf("ledger %+v", ledger)
	}
}

// TestOneOfManyCallbacksWins sends the same callback many times at once, to two
// replicas.
func TestOneOfManyCallbacksWins(t *testing.T) {
	f := newFlowRig(t, flowOptions{})
	twin, err := New(f.cfg)
	if err != nil {
		t.Fatal(err)
	}
	mux := http.NewServeMux()
	twin.Mount(mux)
	back, err := url.Parse(f.allow(t, f.begin(t, "").ConnectURL))
	if err != nil {
		t.Fatal(err)
	}
	var won atomic.Int64
	var wait sync.WaitGroup
	for i := range 16 {
		wait.Go(func() {
			w := httptest.NewRecorder()
			request := httptest.NewRequestWithContext(t.Context(), http.MethodGet, back.RequestURI(), nil)
			if i%2 == 0 {
				mux.ServeHTTP(w, request)
			} else {
				f.Config.Handler.ServeHTTP(w, request)
			}
			switch w.Code {
			case http.StatusOK:
				won.Add(1)
			case http.StatusGone:
			default:
				t.Errorf("status %d: %s", w.Code, w.Body)
			}
		})
	}
	wait.Wait()
	if n, ledger := won.Load(), f.as.Ledger(); n != 1 || ledger.Exchanges != 1 || ledger.Reuses != 0 || len(f.connections(t)) != 1 {
		t.Errorf("%d have won, ledger %+v", n, ledger)
	}
}

func TestCallbackRefuses(t *testing.T) {
	tests := []struct {
		name   string
		change func(q url.Values)
		path   string // "": of the provider
		status int
		spent  bool // the attempt is over by that
		code   events.Code
		reason string
		want   string // on the page
	}{
		{"no state", func(q url.Values) { q.Del("state") }, "", 400, false, "", "", "not complete"},
		{"another state", func(q url.Values) { q.Set("state", strings.Repeat("A", 43)) }, "", 410, false, "", "", "no longer good"},
		{"a long state", func(q url.Values) { q.Set("state", strings.Repeat("A", 5000)) }, "", 400, false, "", "", "not complete"},
		{"two states", func(q url.Values) { q.Add("state", "x") }, "", 400, false, "", "", "not complete"},
		{"two codes", func(q url.Values) { q.Add("code", "x") }, "", 400, false, "", "", "not complete"},
		{"a long query", func(q url.Values) { q.Set("x", strings.Repeat("A", maxCallback)) }, "", 400, false, "", "", "not complete"},
		{"another provider", nil, "/oauth/callback/bare", 400, false, "", "", "not complete"},
		{"no provider", nil, "/oauth/callback/", 404, false, "", "", ""},
		{"another issuer", func(q url.Values) { q.Set("iss", "https://evil.example") }, "", 502, true, events.CodeProviderRejected, "", "The provider refused"},
		{"no code", func(q url.Values) { q.Del("code") }, "", 502, true, events.CodeProviderUnavailable, "", "Nothing was connected"},
		{"a wrong code", func(q url.Values) { q.Set("code", "code_wrong") }, "", 502, true, events.CodeProviderRejected, "invalid_grant", "The provider refused"},
		{"denied", func(q url.Values) { q.Del("code"); q.Set("error", "access_denied") }, "", 403, true, events.CodeProviderRejected, "access_denied", "You did not agree"},
		{"an error that is markup", func(q url.Values) { q.Set("error", "<script>x</script>") }, "", 502, true, events.CodeProviderUnavailable, "", "Nothing was connected"},
		{"our app is refused", func(q url.Values) { q.Set("error", "unauthorized_client") }, "", 502, true, events.CodeProviderRejected, "unauthorized_client", "The provider refused"},
	}
	f := newFlowRig(t, flowOptions{})
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			begun := f.begin(t, "")
			back, err := url.Parse(f.allow(t, begun.ConnectURL))
			if err != nil {
				t.Fatal(err)
			}
			good := back.String()
			q := back.Query()
			if tt.change != nil {
				tt.change(q)
			}
			back.RawQuery = q.Encode()
			if tt.path != "" {
				back.Path = tt.path
			}
			got := f.visit(t, back.String())
			if got.status != tt.status || !strings.Contains(got.body, tt.want) || strings.Contains(got.body, "<script") {
				t.Errorf("got %d %s", got.status, got.body)
			}
			out := f.outcome(t, begun.ID)
			if !tt.spent {
				if out.Status != "pending" {
					t.Errorf("the attempt is %+v", out)
				}
				return
			}
			if out.Status != "failed" || out.Error == nil || out.Error.Code != tt.code || out.Error.ProviderCode != tt.reason {
				t.Errorf("the attempt is %+v, %+v", out, out.Error)
			}
			if again := f.visit(t, good); again.status != http.StatusGone {
				t.Errorf("the right link after it: %d", again.status)
			}
		})
	}
	if all := f.connections(t); len(all) != 0 {
		t.Errorf("connected %+v", all)
	}
}

func TestCallbackIsOnlyForGet(t *testing.T) {
	f := newFlowRig(t, flowOptions{})
	begun := f.begin(t, "")
	back := f.allow(t, begun.ConnectURL)
	for _, method := range []string{"HEAD", "POST", "PUT", "OPTIONS"} {
		if got := f.browse(t, f.Client().Transport, method, back, nil); got.status != http.StatusMethodNotAllowed || got.header.Get("Allow") != "GET" {
			t.Errorf("%s: %d %v", method, got.status, got.header)
		}
	}
	if got := f.visit(t, back); got.status != http.StatusOK {
		t.Errorf("then: %d %s", got.status, got.body)
	}
}

func TestStateExpires(t *testing.T) {
	f := newFlowRig(t, flowOptions{})
	begun := f.begin(t, "")
	back := f.allow(t, begun.ConnectURL)
	f.now.Store(599)
	if out := f.outcome(t, begun.ID); out.Status != "pending" {
		t.Errorf("after 599 s: %+v", out)
	}
	f.now.Store(600)
	if got := f.visit(t, back); got.status != http.StatusGone {
		t.Errorf("after 600 s: %d %s", got.status, got.body)
	}
	if got := f.do(t, "GET", "/v1/flows/"+begun.ID, ""); got.status != http.StatusNotFound || got.problem(t).Code != events.CodeConnectionNotFound {
		t.Errorf("the attempt: %d %s", got.status, got.body)
	}
	if len(f.connections(t)) > 0 || f.as.Ledger().Exchanges > 0 {
		t.Error("it was connected")
	}
}

// TestWrongVerifier has the attempt of another browser finish this one.
func TestWrongVerifier(t *testing.T) {
	f := newFlowRig(t, flowOptions{})
	mine, other := f.begin(t, ""), f.begin(t, "")
	code, err := url.Parse(f.allow(t, other.ConnectURL))
	if err != nil {
		t.Fatal(err)
	}
	q := code.Query()
	q.Set("state", mine.State)
	code.RawQuery = q.Encode()
	if got := f.visit(t, code.String()); got.status != http.StatusBadGateway {
		t.Errorf("got %d %s", got.status, got.body)
	}
	if out := f.outcome(t, mine.ID); out.Status != "failed" || out.Error.ProviderCode != "invalid_grant" || len(f.connections(t)) > 0 {
		t.Errorf("mine is %+v", out)
	}
}

func TestReturnsToTheApplication(t *testing.T) {
	f := newFlowRig(t, flowOptions{})
	begun := f.begin(t, `,"return_to":"https://app.example/settings?tab=1#x"`)
	got := f.visit(t, f.allow(t, begun.ConnectURL))
	id := f.outcome(t, begun.ID).ConnectionID
	want := "https://app.example/settings?tab=1&plugfn_connection=" + id + "&plugfn_provider=strict&plugfn_status=connected#x"
	if got.status != http.StatusSeeOther || got.header.Get("Location") != want {
		t.Errorf("got %d %s, want %s", got.status, got.header.Get("Location"), want)
	}
	for name, value := range map[string]string{"Cache-Control": "no-store", "Referrer-Policy": "no-referrer", "X-Frame-Options": "DENY"} {
		if got.header.Get(name) != value {
			t.Errorf("%s: %q", name, got.header.Get(name))
		}
	}
	begun = f.begin(t, `,"return_to":"https://app.example/settings"`)
	back, err := f.as.Deny(t.Context(), begun.ConnectURL)
	if err != nil {
		t.Fatal(err)
	}
	want = "https://app.example/settings?plugfn_error=provider_rejected&plugfn_provider=strict&plugfn_reason=access_denied&plugfn_status=failed"
	if got = f.visit(t, back.String()); got.status != http.StatusSeeOther || got.header.Get("Location") != want {
		t.Errorf("denied: %d %s", got.status, got.header.Get("Location"))
	}
}

func TestStartRefuses(t *testing.T) {
	f := newFlowRig(t, flowOptions{pack: []string{"  - id: token\n    type: api_key\n", "  - id: other\n    type: oauth2\n    device: {url: https://auth.strict.example/device_code, client_auth: none}\n    token: {url: https://auth.strict.example/token, client_auth: basic}\n"}})
	c := f.connected(t, "")
	tests := []struct {
		name, path, body string
		status           int
		code             events.Code
		want             string
	}{
		{"no user", pathStart, `{"user_id":"","provider":"strict"}`, 422, events.CodeInvalidParams, "user_id"},
		{"user with a line break", pathStart, `{"user_id":"a\nb","provider":"strict"}`, 422, events.CodeInvalidParams, "user_id: must be"},
		{"unknown provider", pathStart, `{"user_id":"u1","provider":"strct"}`, 404, events.CodeUnknownProvider, "did you mean strict?"},
		{"provider without OAuth", pathStart, `{"user_id":"u1","provider":"bare"}`, 422, events.CodeInvalidParams, "provider: bare has no flow"},
		{"unknown auth", pathStart, `{"user_id":"u1","provider":"strict","auth":"<x>"}`, 422, events.CodeInvalidParams, "these do: oauth"},
		{"auth of another kind", pathStart, `{"user_id":"u1","provider":"strict","auth":"machine"}`, 422, events.CodeInvalidParams, "these do: oauth"},
		{"auth without a page", pathStart, `{"user_id":"u1","provider":"strict","auth":"other"}`, 422, events.CodeInvalidParams, "these do: oauth"},
		{"foreign return_to", pathStart, `{"user_id":"u1","provider":"strict","return_to":"https://evil.example/settings"}`, 422, events.CodeInvalidParams, "return_to"},
		{"return_to beside the list", pathStart, `{"user_id":"u1","provider":"strict","return_to":"https://app.example/settings/../admin"}`, 422, events.CodeInvalidParams, "return_to"},
		{"scope with a space", pathStart, `{"user_id":"u1","provider":"strict","scopes":["a b"]}`, 422, events.CodeInvalidParams, "scopes[0]"},
		{"empty scope", pathStart, `{"user_id":"u1","provider":"strict","scopes":["a",""]}`, 422, events.CodeInvalidParams, "scopes[1]"},
		{"hint with a control character", pathStart, `{"user_id":"u1","provider":"strict","login_hint":"a\u0000"}`, 422, events.CodeInvalidParams, "login_hint"},
		{"long name", pathStart, `{"user_id":"u1","provider":"strict","connection_name":"` + strings.Repeat("x", 101) + `"}`, 422, events.CodeInvalidParams, "connection_name"},
		{"name with a line break", pathStart, `{"user_id":"u1","provider":"strict","connection_name":"a\n"}`, 422, events.CodeInvalidParams, "connection_name: must be"},
		{"state of the caller", pathStart, `{"user_id":"u1","provider":"strict","state":"mine"}`, 422, events.CodeInvalidParams, "state: unexpected"},
		{"reconnect of nothing", pathStart, `{"user_id":"u1","provider":"strict","connection_id":"con_x"}`, 404, events.CodeConnectionNotFound, "con_x"},
		{"reconnect of another user's", pathStart, `{"user_id":"u2","provider":"strict","connection_id":"` + c + `"}`, 404, events.CodeConnectionNotFound, c},
		{"reconnect to another provider", pathStart, `{"user_id":"u1","provider":"bare","connection_id":"` + c + `"}`, 404, events.CodeConnectionNotFound, c},
		{"device of a provider without", pathDevice, `{"user_id":"u1","provider":"bare"}`, 422, events.CodeInvalidParams, "provider: bare has no flow"},
		{"device and return_to", pathDevice, `{"user_id":"u1","provider":"strict","return_to":"https://app.example/settings"}`, 422, events.CodeInvalidParams, "return_to: unexpected"},
		{"session without a provider", pathSessions, `{"user_id":"u1","providers":[]}`, 422, events.CodeInvalidParams, "providers"},
		{"session for a provider twice", pathSessions, `{"user_id":"u1","providers":["strict","strict"]}`, 422, events.CodeInvalidParams, "twice"},
		{"session for an unknown one", pathSessions, `{"user_id":"u1","providers":["strict","strct"]}`, 404, events.CodeUnknownProvider, "strct"},
		{"session for one without any way", pathSessions, `{"user_id":"u1","providers":["bare"]}`, 422, events.CodeInvalidParams, "bare cannot be connected"},
		{"session that lasts", pathSessions, `{"user_id":"u1","providers":["strict"],"expires_in":1801}`, 422, events.CodeInvalidParams, "expires_in"},
		{"session that leads elsewhere", pathSessions, `{"user_id":"u1","providers":["strict"],"return_to":"https://evil.example/"}`, 422, events.CodeInvalidParams, "return_to"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got := f.do(t, "POST", tt.path, tt.body)
			if got.status != tt.status {
				t.Fatalf("got %d %s", got.status, got.body)
			}
			if p := got.problem(t); p.Code != tt.code || !strings.Contains(p.Detail, tt.want) {
				t.Errorf("got %s", got.body)
			}
		})
	}
	for _, id := range []string{"flw_x", "x", "flw_" + strings.Repeat("A", 43), "dvc_" + strings.Repeat("A", 43), "abc_" + strings.Repeat("A", 43)} {
		if got := f.do(t, "GET", "/v1/flows/"+id, ""); got.status != http.StatusNotFound {
			t.Errorf("flow %s: %d %s", id, got.status, got.body)
		}
	}
}

// connected lets user u1 connect and returns the connection's id.
func (f *flowRig) connected(t testing.TB, more string) string {
	t.Helper()
	begun := f.begin(t, more)
	if got := f.visit(t, f.allow(t, begun.ConnectURL)); got.status != http.StatusOK {
		t.Fatalf("callback: %d %s", got.status, got.body)
	}
	return f.outcome(t, begun.ID).ConnectionID
}

func TestScopesThatAreNotGranted(t *testing.T) {
	f := newFlowRig(t, flowOptions{as: oauthtest.Config{Grantable: []string{"read"}}})
	begun := f.begin(t, `,"scopes":["read","admin:<all>"]`)
	got := f.visit(t, f.allow(t, begun.ConnectURL))
	if got.status != http.StatusOK || !strings.Contains(got.body, "admin:&lt;all&gt;") {
		t.Errorf("page: %d %s", got.status, got.body)
	}
	out := f.outcome(t, begun.ID)
	if diff := cmp.Diff([]string{"admin:<all>"}, out.Missing); diff != "" || out.Status != "connected" {
		t.Errorf("%s %s", out.Status, diff)
	}
	if c := f.connections(t)[0]; !cmp.Equal(c.MissingScopes, out.Missing) || !cmp.Equal(c.Scopes, []string{"read"}) {
		t.Errorf("connected %+v", c)
	}
}

func TestReconnect(t *testing.T) {
	f := newFlowRig(t, flowOptions{})
	id := f.connected(t, `,"login_hint":"mona"`)
	before := f.connections(t)[0]
	if again := f.connected(t, `,"login_hint":"mona","connection_id":"`+id+`"`); again != id {
		t.Errorf("got %s, want %s", again, id)
	}
	after := f.connections(t)
	if len(after) != 1 || after[0].Version <= before.Version || !after[0].CreatedAt.Equal(before.CreatedAt) {
		t.Errorf("now there are %+v", after)
	}
	begun := f.begin(t, `,"login_hint":"other","connection_id":"`+id+`"`)
	if got := f.visit(t, f.allow(t, begun.ConnectURL)); got.status < 400 || !strings.Contains(got.body, "another account") {
		t.Errorf("another account: %d %s", got.status, got.body)
	}
	if out := f.outcome(t, begun.ID); out.Status != "failed" || out.Error.Code != events.CodeInvalidParams {
		t.Errorf("another account: %+v", out)
	}
	if now := f.connections(t); !cmp.Equal(after, now) {
		t.Errorf("it was changed: %s", cmp.Diff(after, now))
	}
	// The connection goes while the user is at the provider.
	begun = f.begin(t, `,"connection_id":"`+id+`"`)
	back := f.allow(t, begun.ConnectURL)
	if err := f.delete(t.Context(), "u1", id); err != nil {
		t.Fatal(err)
	}
	if got := f.visit(t, back); got.status != http.StatusNotFound || len(f.connections(t)) > 0 {
		t.Errorf("a deleted one: %d %s", got.status, got.body)
	}
}

func TestTheAccountIsAskedForAgain(t *testing.T) {
	f := newFlowRig(t, flowOptions{
		pack:   []string{"path: /me}, account", "path: /whoami}, account"},
		config: func(c *Config) { c.OAuth = oauth.New(oauth.Config{Now: c.Now}) }, // the API moves to where no setting says it is
	})
	// The first answers of the API are trouble of the provider's.
	api, failing := f.as.API(), atomic.Int64{}
	failing.Store(2)
	server := httptest.NewServer(http.StripPrefix("/api", http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if failing.Add(-1) >= 0 {
			w.WriteHeader(http.StatusServiceUnavailable)
			return
		}
		api.ServeHTTP(w, r)
	})))
	t.Cleanup(server.Close)
	f.flows.apps.providers = f.elsewhere(t, server.URL+"/api")
	f.connected(t, "")
	if c := f.connections(t)[0]; c.Account != "octo" {
		t.Errorf("connected %+v", c)
	}
	// One that is never answered fails, and nothing is stored half.
	failing.Store(1000)
	begun := f.begin(t, `,"login_hint":"mona"`)
	if got := f.visit(t, f.allow(t, begun.ConnectURL)); got.status != http.StatusBadGateway || len(f.connections(t)) != 1 {
		t.Errorf("got %d %s", got.status, got.body)
	}
	if out := f.outcome(t, begun.ID); out.Error == nil || out.Error.Code != events.CodeProviderUnavailable {
		t.Errorf("got %+v", out)
	}
}

// elsewhere is the registry with another API.
func (f *flowRig) elsewhere(t testing.TB, base string) *providers.Registry {
	t.Helper()
	app := f.as.App()
	app.BaseURL = base
	pack, _ := f.cfg.Providers.Pack("strict")
	registry, err := providers.NewRegistry(map[string]*providers.Pack{"strict": pack}, map[string]providers.App{"strict": app})
	if err != nil {
		t.Fatal(err)
	}
	return registry
}

func TestProviderInTrouble(t *testing.T) {
	for name, tt := range map[string]struct {
		fault oauthtest.Fault
		code  events.Code
	}{
		"down":    {oauthtest.Fault{Status: 503}, events.CodeProviderUnavailable},
		"cut":     {oauthtest.Fault{Drop: true}, events.CodeProviderUnavailable},
		"garbled": {oauthtest.Fault{Garbled: true}, events.CodeOutcomeUnknown},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFlowRig(t, flowOptions{})
			begun := f.begin(t, "")
			back := f.allow(t, begun.ConnectURL)
			f.as.Fail(tt.fault)
			if got := f.visit(t, back); got.status != http.StatusBadGateway || !strings.Contains(got.body, "Nothing was connected") {
				t.Errorf("got %d %s", got.status, got.body)
			}
			if out := f.outcome(t, begun.ID); out.Error == nil || out.Error.Code != tt.code || len(f.connections(t)) > 0 {
				t.Errorf("got %+v", out.Error)
			}
			if strings.Contains(f.log.String(), "at_half") || strings.Contains(f.log.String(), "client-s3cret") {
				t.Error("a secret is in the log")
			}
		})
	}
}

func TestWithoutAPublicURL(t *testing.T) {
	f := newFlowRig(t, flowOptions{config: func(c *Config) { c.PublicURL = "" }})
	for path, body := range map[string]string{
		pathStart: `{"user_id":"u1","provider":"strict"}`, pathSessions: `{"user_id":"u1","providers":["strict"]}`,
	} {
		if got := f.do(t, "POST", path, body); got.status != http.StatusUnprocessableEntity || !strings.Contains(got.body, "PLUGFN_PUBLIC_URL") {
			t.Errorf("%s: %d %s", path, got.status, got.body)
		}
	}
}

func TestNewRefusesAddresses(t *testing.T) {
	r := newRig(t)
	for _, bad := range []string{"http://plugfn.example.com", "plugfn.example.com", "ftp://127.0.0.1", "https://u:p@plugfn.example.com", "https://plugfn.example.com/?a", "https://", "https:plugfn"} {
		cfg := r.cfg
		cfg.PublicURL = bad
		if _, err := New(cfg); err == nil || !strings.Contains(err.Error(), "PublicURL") {
			t.Errorf("%s: %v", bad, err)
		}
	}
	cfg := r.cfg
	cfg.ReturnTo = []string{"https://app.example.com", "*"}
	if _, err := New(cfg); err == nil || !strings.Contains(err.Error(), "ReturnTo") {
		t.Errorf("ReturnTo: %v", err)
	}
}

// TestRedirectURIIsNotTheCallers sends requests that claim to be for another
// host.
func TestRedirectURIIsNotTheCallers(t *testing.T) {
	f := newFlowRig(t, flowOptions{})
	got := f.do(t, "POST", pathStart, `{"user_id":"u1","provider":"strict"}`, "X-Forwarded-Host", "evil.example", "Forwarded", "host=evil.example", "X-Forwarded-Proto", "https")
	if got.status != http.StatusCreated || strings.Contains(got.body, "evil") {
		t.Errorf("got %d %s", got.status, got.body)
	}
	request := httptest.NewRequestWithContext(context.Background(), http.MethodPost, "http://evil.example"+pathStart, strings.NewReader(`{"user_id":"u1","provider":"strict"}`))
	request.Header.Set("Authorization", "Bearer "+apiKey)
	w := httptest.NewRecorder()
	f.Config.Handler.ServeHTTP(w, request)
	if w.Code != http.StatusCreated || strings.Contains(w.Body.String(), "evil") {
		t.Errorf("got %d %s", w.Code, w.Body)
	}
}

// TestNobodySeesWhatIsExchanged listens to everything while accounts are
// connected in each way, and when that fails.
func TestNobodySeesWhatIsExchanged(t *testing.T) {
	f := newFlowRig(t, flowOptions{as: oauthtest.Config{Interval: pollInterval}})
	tap := &wiretap{}
	subscription, err := f.bus.Conn().Subscribe(">", tap.take)
	if err != nil {
		t.Fatal(err)
	}
	var seen strings.Builder // all that browsers and the API are answered
	visit := func(target string) {
		got := f.visit(t, target)
		fmt.Fprintln(&seen, got.header, got.body)
	}
	id := f.connected(t, "")
	visit(f.allow(t, f.begin(t, `,"return_to":"https://app.example/settings"`).ConnectURL))
	d := f.beginDevice(t, "")
	f.as.Decide(d.UserCode, true)
	if status, e := f.await(t, d.ID); status != "connected" {
		t.Errorf("device: %s %v", status, e)
	}
	for _, fault := range []oauthtest.Fault{{Status: 500}, {Drop: true}, {Garbled: true}} {
		back := f.allow(t, f.begin(t, "").ConnectURL)
		f.as.Fail(fault)
		visit(back)
	}
	f.as.SetQuirks(oauthtest.Quirks{HTMLErrors: true}) // which quote what was sent
	visit(strings.Replace(f.allow(t, f.begin(t, "").ConnectURL), "code=code_", "code=code_x", 1))
	for _, path := range []string{pathConnections, pathApps} {
		fmt.Fprintln(&seen, f.do(t, "GET", path, "").body)
	}
	cred, err := f.credential(t.Context(), "u1", "strict", id)
	if err != nil {
		t.Fatal(err)
	}
	if err := f.bus.Conn().Flush(); err != nil {
		t.Fatal(err)
	}
	if err := subscription.Unsubscribe(); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(tap.String(), "$KV.PLUGFN_STATES") || !strings.Contains(tap.String(), "$KV.PLUGFN_CONNECTIONS") {
		t.Error("the tap has heard nothing: the test proves nothing")
	}
	tokens := regexp.MustCompile(`(at|rt|dc|code)_x?[A-Z2-7]{26}|client-s3cret`)
	for name, text := range map[string]string{"the bus": tap.String(), "the log": f.log.String(), "an answer": seen.String()} {
		if found := tokens.FindString(text); found != "" {
			t.Errorf("%s is on %s", found, name)
		}
		for _, disguise := range disguises(string(cred.Token.Reveal())) {
			if strings.Contains(text, disguise) {
				t.Errorf("the token is on %s", name)
			}
		}
	}
}
