package oauth_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/plugfn/plugfn/pkg/providers"
	"github.com/plugfn/plugfn/services/auth/oauth"
	"github.com/plugfn/plugfn/services/auth/oauthtest"
)

// The secrets that are sent, and one that comes back.
const (
	sentRefresh = "rt-canary-5up3rs3cr3t"
	sentSecret  = "cs-canary-5up3rs3cr3t"
	gotAccess   = "at-canary-5up3rs3cr3t"
)

// epoch is now in tests that look at times.
var epoch = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

// canned answers every request alike.
type canned struct {
	status      int
	contentType string
	header      http.Header
	body        string
}

func (c canned) RoundTrip(req *http.Request) (*http.Response, error) {
	header := c.header.Clone()
	if header == nil {
		header = http.Header{}
	}
	header.Set("Content-Type", c.contentType)
	return &http.Response{StatusCode: c.status, Header: header, Body: io.NopCloser(strings.NewReader(c.body)), Request: req}, nil
}

// refreshWith refreshes against a canned answer.
func refreshWith(t *testing.T, c canned, changes ...string) (*oauth.Grant, error) {
	t.Helper()
	auth, _ := oauthtest.Pack(t, changes...).AuthByID("oauth")
	return refresh(t, auth, c)
}

func refresh(t *testing.T, auth *providers.Auth, c canned) (*oauth.Grant, error) {
	t.Helper()
	client := oauth.New(oauth.Config{HTTP: &http.Client{Transport: c}, Now: func() time.Time { return epoch }})
	app := providers.App{ClientID: "client", ClientSecret: secret(sentSecret)}
	grant, err := client.Refresh(t.Context(), auth, app, secret(sentRefresh))
	if err != nil {
		quiet(t, err, c.body)
	}
	return grant, err
}

// quiet asserts that an error shows neither a secret nor the body.
func quiet(t *testing.T, err error, body string) {
	t.Helper()
	var f *oauth.Failure
	if !errors.As(err, &f) {
		t.Fatalf("got %v, want a failure", err)
	}
	texts := []string{err.Error(), fmt.Sprintf("%v %+v %#v", f, f, *f), f.Code}
	for _, text := range texts {
		for _, hidden := range []string{sentRefresh, sentSecret, gotAccess} {
			if strings.Contains(text, hidden) {
				t.Errorf("the error shows a secret: %s", text)
			}
		}
		if len(body) > 70 && strings.Contains(text, body[:70]) {
			t.Errorf("the error shows the body: %s", text)
		}
	}
}

const jsonType = "application/json"

func TestSuccesses(t *testing.T) {
	hour := epoch.Add(time.Hour)
	const old = sentRefresh
	tests := []struct {
		name, contentType, body string
		access, refresh         string
		expires                 time.Time
	}{
		{"number", jsonType, `{"access_token":"a","refresh_token":"r","expires_in":3600}`, "a", "r", hour},
		{"text", jsonType, `{"access_token":"a","refresh_token":"r","expires_in":"3600"}`, "a", "r", hour},
		{"float", jsonType, `{"access_token":"a","refresh_token":"r","expires_in":3600.0}`, "a", "r", hour},
		{"exponent", jsonType, `{"access_token":"a","expires_in":3.6e3}`, "a", old, hour},
		{"float as text", jsonType, `{"access_token":"a","expires_in":" 3600.0 "}`, "a", old, hour},
		{"empty", jsonType, `{"access_token":"a","expires_in":""}`, "a", old, time.Time{}},
		{"null", jsonType, `{"access_token":"a","expires_in":null,"refresh_token":null,"scope":null}`, "a", old, time.Time{}},
		{"missing", jsonType, `{"access_token":"a"}`, "a", old, time.Time{}},
		{"zero", jsonType, `{"access_token":"a","expires_in":0}`, "a", old, time.Time{}},
		{"negative", jsonType, `{"access_token":"a","expires_in":-1}`, "a", old, time.Time{}},
		{"nonsense", jsonType, `{"access_token":"a","expires_in":"soon"}`, "a", old, time.Time{}},
		{"not a number", jsonType, `{"access_token":"a","expires_in":"NaN"}`, "a", old, time.Time{}},
		{"object", jsonType, `{"access_token":"a","expires_in":{}}`, "a", old, time.Time{}},
		{"huge", jsonType, `{"access_token":"a","expires_in":1e300}`, "a", old, epoch.Add(100 * 365 * 24 * time.Hour)},
		{"infinite", jsonType, `{"access_token":"a","expires_in":"Inf"}`, "a", old, epoch.Add(100 * 365 * 24 * time.Hour)},
		{"empty refresh token", jsonType, `{"access_token":"a","refresh_token":""}`, "a", old, time.Time{}},
		{"empty error", jsonType, `{"access_token":"a","error":"","error_description":null}`, "a", old, time.Time{}},
		{"Slack's ok", jsonType, `{"ok":true,"access_token":"a","expires_in":3600}`, "a", old, hour},
		{"JSON as text", "text/plain; charset=utf-8", `{"access_token":"a","expires_in":3600}`, "a", old, hour},
		{"JSON as HTML", "text/html", ` {"access_token":"a","expires_in":3600} `, "a", old, hour},
		{"JSON without type", "", "\ufeff" + `{"access_token":"a","expires_in":3600}`, "a", old, hour},
		{"JSON as form", "application/x-www-form-urlencoded", `{"access_token":"a","expires_in":3600}`, "a", old, hour},
		{"form", "application/x-www-form-urlencoded", `access_token=a&expires_in=3600&refresh_token=r%2B1`, "a", "r+1", hour},
		{"form as text", "text/plain", `access_token=a&scope=repo%2Cgist&token_type=bearer`, "a", old, time.Time{}},
		{"form as JSON", jsonType, `access_token=a&expires_in=3600`, "a", old, hour},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			g, err := refreshWith(t, canned{status: 200, contentType: tt.contentType, body: tt.body})
			if err != nil {
				t.Fatal(err)
			}
			if got := reveal(g.AccessToken); got != tt.access {
				t.Errorf("access token is %q", got)
			}
			if got := reveal(g.RefreshToken); got != tt.refresh {
				t.Errorf("refresh token is %q, want %q", got, tt.refresh)
			}
			if !g.ExpiresAt.Equal(tt.expires) {
				t.Errorf("expires at %s, want %s", g.ExpiresAt, tt.expires)
			}
		})
	}
}

func TestDeclaredLife(t *testing.T) {
	change := []string{"token: {url", "lifetime: 2h\n    token: {url"}
	for body, want := range map[string]time.Duration{
		`{"access_token":"a"}`:                   2 * time.Hour,
		`{"access_token":"a","expires_in":""}`:   2 * time.Hour,
		`{"access_token":"a","expires_in":60}`:   time.Minute,
		`{"access_token":"a","expires_in":"0"}`:  2 * time.Hour,
		`{"access_token":"a","expires_in":0.25}`: 250 * time.Millisecond,
	} {
		g, err := refreshWith(t, canned{status: 200, body: body}, change[0], change[1])
		if err != nil {
			t.Fatal(err)
		}
		if got := g.ExpiresAt.Sub(epoch); got != want {
			t.Errorf("%s lives %s, want %s", body, got, want)
		}
	}
}

func TestExtract(t *testing.T) {
	auth, _ := oauthtest.Pack(t, "token: {url", `extract:
      access_token: [json:/access_token, json:/authed_user/access_token]
      refresh_token: [json:/refresh_token, json:/authed_user/refresh_token]
      expires_at: json:/until
      scope: json:/scopes
    token: {url`).AuthByID("oauth")
	tests := []struct {
		body, access, refresh string
		expires               time.Time
		refreshLife           time.Duration
		scopes                []string
	}{
		{`{"authed_user":{"access_token":"u","refresh_token":"ur"}}`, "u", "ur", time.Time{}, 0, nil},
		{`{"access_token":"b","authed_user":{"id":"U1"},"refresh_token":"br"}`, "b", "br", time.Time{}, 0, nil},
		{`{"access_token":"b","until":"2026-01-02T04:04:05Z"}`, "b", sentRefresh, epoch.Add(time.Hour), 0, nil},
		{`{"access_token":"b","until":1767326645}`, "b", sentRefresh, epoch.Add(time.Hour), 0, nil},
		{`{"access_token":"b","until":"1767326645000"}`, "b", sentRefresh, epoch.Add(time.Hour), 0, nil},
		{`{"access_token":"b","until":"tomorrow","expires_in":60}`, "b", sentRefresh, epoch.Add(time.Minute), 0, nil},
		{`{"access_token":"b","refresh_token_expires_in":"15897600"}`, "b", sentRefresh, time.Time{}, 15897600 * time.Second, nil},
		{`{"access_token":"b","scopes":"repo,gist  user"}`, "b", sentRefresh, time.Time{}, 0, []string{"repo", "gist", "user"}},
		{`{"access_token":"b","scopes":["repo","",1,"gist"]}`, "b", sentRefresh, time.Time{}, 0, []string{"repo", "gist"}},
		{`{"access_token":"b","scopes":""}`, "b", sentRefresh, time.Time{}, 0, []string{}},
		{`{"access_token":"b","scopes":{"a":1}}`, "b", sentRefresh, time.Time{}, 0, nil},
	}
	for _, tt := range tests {
		g, err := refresh(t, auth, canned{status: 200, body: tt.body})
		if err != nil {
			t.Errorf("%s: %v", tt.body, err)
			continue
		}
		refreshExpires := time.Time{}
		if tt.refreshLife > 0 {
			refreshExpires = epoch.Add(tt.refreshLife)
		}
		if reveal(g.AccessToken) != tt.access || reveal(g.RefreshToken) != tt.refresh || !g.ExpiresAt.Equal(tt.expires) || !g.RefreshExpiresAt.Equal(refreshExpires) {
			t.Errorf("%s gives %+v", tt.body, g)
		}
		if diff := cmp.Diff(tt.scopes, g.Scopes); diff != "" {
			t.Errorf("%s: %s", tt.body, diff)
		}
	}
}

func TestFailures(t *testing.T) {
	const form = "application/x-www-form-urlencoded"
	page := "<html><body>" + strings.Repeat("We are sorry. ", 20) + sentRefresh + sentSecret + "</body></html>"
	tests := []struct {
		name        string
		status      int
		contentType string
		body        string
		class       oauth.Class
		code        string
	}{
		{"dead", 400, jsonType, `{"error":"invalid_grant","error_description":"` + sentRefresh + ` is spent"}`, oauth.Dead, "invalid_grant"},
		{"dead with 200", 200, jsonType, `{"error":"invalid_grant"}`, oauth.Dead, "invalid_grant"},
		{"dead as form with 200", 200, form, `error=bad_refresh_token&error_description=no`, oauth.Dead, "bad_refresh_token"},
		{"dead as object", 400, jsonType, `{"error":{"code":"invalid_grant","message":"no"}}`, oauth.Dead, "invalid_grant"},
		{"dead as object with type", 400, jsonType, `{"error":{"type":"invalid_grant","code":190}}`, oauth.Transient, ""},
		{"Slack", 200, jsonType, `{"ok":false,"error":"invalid_refresh_token"}`, oauth.Dead, "invalid_refresh_token"},
		{"client", 401, jsonType, `{"error":"invalid_client"}`, oauth.Misconfigured, "invalid_client"},
		{"unauthorized client", 400, jsonType, `{"error":"unauthorized_client"}`, oauth.Misconfigured, "unauthorized_client"},
		{"redirect URI", 200, jsonType, `{"error":"redirect_uri_mismatch"}`, oauth.Misconfigured, "redirect_uri_mismatch"},
		{"declared", 200, jsonType, `{"error":"bad_client"}`, oauth.Misconfigured, "bad_client"},
		{"denied", 400, jsonType, `{"error":"access_denied"}`, oauth.Denied, "access_denied"},
		{"pending is for devices", 400, jsonType, `{"error":"authorization_pending"}`, oauth.Transient, "authorization_pending"},
		{"unknown code", 400, jsonType, `{"error":"flux_capacitor"}`, oauth.Transient, "flux_capacitor"},
		{"unknown code with 200", 200, jsonType, `{"ok":false,"error":"fatal_error"}`, oauth.Transient, "fatal_error"},
		{"busy", 400, jsonType, `{"error":"temporarily_unavailable"}`, oauth.Transient, "temporarily_unavailable"},
		{"dead while down", 503, jsonType, `{"error":"invalid_grant"}`, oauth.Transient, "invalid_grant"},
		{"dead while limited", 429, jsonType, `{"error":"invalid_grant"}`, oauth.Transient, "invalid_grant"},
		{"declared status", 410, "text/html", page, oauth.Dead, ""},
		{"page", 400, "text/html", page, oauth.Transient, ""},
		{"page 502", 502, "text/html", page, oauth.Transient, ""},
		{"nothing", 400, "", "", oauth.Transient, ""},
		{"redirect", 307, "", "", oauth.Transient, ""},
		{"token in an error", 400, jsonType, `{"access_token":"` + gotAccess + `"}`, oauth.Transient, ""},
		{"code is a secret", 400, jsonType, `{"error":"` + sentRefresh + `"}`, oauth.Transient, ""},
		{"code holds a secret", 400, jsonType, `{"error":"x` + sentSecret + `y"}`, oauth.Transient, ""},
		{"code is a part of a secret", 400, jsonType, `{"error":"canary-5up3rs3cr3t"}`, oauth.Transient, ""},
		{"code is a sentence", 400, jsonType, `{"error":"The token ` + sentRefresh + ` is bad"}`, oauth.Transient, ""},
		{"long code", 400, jsonType, `{"error":"` + strings.Repeat("x", 100) + `"}`, oauth.Transient, ""},
		{"control in code", 400, jsonType, `{"error":"a\u001b[31m"}`, oauth.Transient, ""},

		{"page with 200", 200, "text/html", page, oauth.Ambiguous, ""},
		{"nothing with 200", 200, jsonType, "", oauth.Ambiguous, ""},
		{"no content", 204, "", "", oauth.Ambiguous, ""},
		{"half", 200, jsonType, `{"access_token":"` + gotAccess, oauth.Ambiguous, ""},
		{"two values", 200, jsonType, `{"access_token":"` + gotAccess + `"}{}`, oauth.Ambiguous, ""},
		{"list", 200, jsonType, `[{"access_token":"` + gotAccess + `"}]`, oauth.Ambiguous, ""},
		{"no token", 200, jsonType, `{"token_type":"bearer"}`, oauth.Ambiguous, ""},
		{"empty token", 200, jsonType, `{"access_token":"","refresh_token":"` + gotAccess + `"}`, oauth.Ambiguous, ""},
		{"null token", 200, jsonType, `{"access_token":null}`, oauth.Ambiguous, ""},
		{"number as token", 200, jsonType, `{"access_token":12345678}`, oauth.Ambiguous, ""},
		{"object as token", 200, jsonType, `{"access_token":{"value":"` + gotAccess + `"}}`, oauth.Ambiguous, ""},
		{"line break in token", 200, jsonType, `{"access_token":"a\r\nX-Evil: 1"}`, oauth.Ambiguous, ""},
		{"space in token", 200, jsonType, `{"access_token":"a b"}`, oauth.Ambiguous, ""},
		{"umlaut in token", 200, jsonType, `{"access_token":"ä"}`, oauth.Ambiguous, ""},
		{"bad refresh token", 200, jsonType, `{"access_token":"` + gotAccess + `","refresh_token":{"a":1}}`, oauth.Ambiguous, ""},
		{"only ok", 200, jsonType, `{"ok":false}`, oauth.Ambiguous, ""},
		{"too long", 200, jsonType, `{"access_token":"` + gotAccess + `","x":"` + strings.Repeat("x", 1<<20) + `"}`, oauth.Ambiguous, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			g, err := refreshWith(t, canned{status: tt.status, contentType: tt.contentType, body: tt.body},
				"token: {url", "errors: {dead: [bad_refresh_token, invalid_refresh_token, http_410], misconfigured: [bad_client]}\n    token: {url")
			if g != nil {
				t.Errorf("got %+v", g)
			}
			f := wantFailure(t, err, tt.class)
			if f.Code != tt.code || f.Status != tt.status || !f.Sent {
				t.Errorf("got %+v", f)
			}
			if want := tt.body[:min(len(tt.body), 1<<20)]; tt.class == oauth.Ambiguous && reveal(f.Body) != want {
				t.Errorf("the body that is kept has %d bytes, want %d", len(f.Body.Reveal()), len(want))
			}
			if tt.class != oauth.Ambiguous && !f.Body.IsZero() {
				t.Error("a body is kept that nobody needs")
			}
		})
	}
}

func TestRetryAfter(t *testing.T) {
	for text, want := range map[string]time.Duration{
		"":                              0,
		"7":                             7 * time.Second,
		"-7":                            0,
		"soon":                          0,
		"9999999999":                    24 * time.Hour,
		"Fri, 02 Jan 2026 03:05:05 GMT": time.Minute,
		"Fri, 02 Jan 2025 03:05:05 GMT": 0,
		"Fri, 02 Jan 2099 03:05:05 GMT": 24 * time.Hour,
	} {
		_, err := refreshWith(t, canned{status: 429, header: http.Header{"Retry-After": {text}}})
		if f := wantFailure(t, err, oauth.Transient); f.RetryAfter != want {
			t.Errorf("%q is %s, want %s", text, f.RetryAfter, want)
		}
	}
}

// TestQuirks goes through the whole flow with each quirk of the strict server.
func TestQuirks(t *testing.T) {
	changes := []string{"token: {url", `extract:
      access_token: [json:/access_token, json:/authed_user/access_token]
      refresh_token: [json:/refresh_token, json:/authed_user/refresh_token]
      expires_in: [json:/expires_in, json:/authed_user/expires_in]
    token: {url`}
	for name, q := range map[string]oauthtest.Quirks{
		"none":    {},
		"float":   {ExpiresIn: oauthtest.ExpiresInFloat},
		"string":  {ExpiresIn: oauthtest.ExpiresInString},
		"empty":   {ExpiresIn: oauthtest.ExpiresInEmpty},
		"missing": {ExpiresIn: oauthtest.ExpiresInMissing},
		"form":    {Answers: oauthtest.AnswersForm, ErrorsAs200: true},
		"text":    {Answers: oauthtest.AnswersText},
		"200":     {ErrorsAs200: true},
		"object":  {ErrorObject: true},
		"user":    {AuthedUser: true},
		"scopes":  {ScopeList: true, OldAccessDies: true},
		"padding": {Padding: 900 << 10},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, oauthtest.Config{Quirks: q}, changes...)
			g := r.connect(t, "read")
			if unknown := q.ExpiresIn == oauthtest.ExpiresInEmpty || q.ExpiresIn == oauthtest.ExpiresInMissing; g.ExpiresAt.IsZero() != unknown {
				t.Errorf("expires at %s", g.ExpiresAt)
			}
			next, err := r.client.Refresh(t.Context(), r.auth, r.app, g.RefreshToken)
			if err != nil {
				t.Fatal(err)
			}
			if err := r.client.Probe(t.Context(), r.auth, r.app, token(next)); err != nil {
				t.Error(err)
			}
			_, err = r.client.Refresh(t.Context(), r.auth, r.app, secret("rt_unknown-5up3rs3cr3t"))
			if f := wantFailure(t, err, oauth.Dead); f.Code != "invalid_grant" || strings.Contains(err.Error(), "5up3r") {
				t.Errorf("got %v", err)
			}
		})
	}
}

func TestHardQuirks(t *testing.T) {
	r := newRig(t, oauthtest.Config{Quirks: oauthtest.Quirks{KeepRefreshToken: true}})
	g := r.connect(t)
	next, err := r.client.Refresh(t.Context(), r.auth, r.app, g.RefreshToken)
	if err != nil || !next.RefreshToken.Equal(g.RefreshToken) {
		t.Errorf("the old refresh token is not kept: %v", err)
	}
	r.SetQuirks(oauthtest.Quirks{HTMLErrors: true})
	_, err = r.client.Refresh(t.Context(), r.auth, r.app, secret("rt_unknown-5up3rs3cr3t"))
	if wantClass(t, err, oauth.Transient); strings.Contains(err.Error(), "5up3r") {
		t.Errorf("the error shows what was sent: %v", err)
	}
	r.SetQuirks(oauthtest.Quirks{Padding: 2 << 20})
	_, err = r.client.Refresh(t.Context(), r.auth, r.app, g.RefreshToken)
	if f := wantFailure(t, err, oauth.Ambiguous); len(f.Body.Reveal()) != 1<<20 {
		t.Errorf("kept are %d bytes", len(f.Body.Reveal()))
	}
}

func TestRedirectsAreNotFollowed(t *testing.T) {
	var hits atomic.Int32
	thief := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { hits.Add(1) }))
	defer thief.Close()
	r := newRig(t, oauthtest.Config{})
	following := oauth.New(oauth.Config{HTTP: &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}})
	grants := map[*oauth.Client]*oauth.Grant{r.client: r.connect(t), following: r.connect(t)}
	r.SetQuirks(oauthtest.Quirks{RedirectTo: thief.URL})
	for client, g := range grants {
		_, err := client.Refresh(t.Context(), r.auth, r.app, g.RefreshToken)
		if f := wantFailure(t, err, oauth.Transient); f.Status != http.StatusTemporaryRedirect || !strings.Contains(err.Error(), "not followed") {
			t.Errorf("got %v", err)
		}
	}
	if n := hits.Load(); n != 0 {
		t.Errorf("the secrets went to the other host %d times", n)
	}
}

func TestTimeout(t *testing.T) {
	stuck := make(chan struct{})
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasPrefix(r.URL.Path, "/drip") {
			_, _ = w.Write(bytes.Repeat([]byte(" "), 4096))
			_ = http.NewResponseController(w).Flush()
		}
		<-stuck
	}))
	defer server.Close()
	defer close(stuck)
	client := oauth.New(oauth.Config{Timeout: 50 * time.Millisecond})
	auth, _ := oauthtest.Pack(t).AuthByID("oauth")
	app := providers.App{AuthBaseURL: server.URL, ClientID: "client"}
	_, err := client.Refresh(t.Context(), auth, app, secret(sentRefresh))
	if f := wantFailure(t, err, oauth.Transient); !f.Sent || !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v", err)
	}
	app.AuthBaseURL += "/drip" // the answer begins and does not end
	_, err = client.Refresh(t.Context(), auth, app, secret(sentRefresh))
	wantClass(t, err, oauth.Ambiguous)

	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err = client.Refresh(ctx, auth, app, secret(sentRefresh))
	if f := wantFailure(t, err, oauth.Transient); f.Sent || !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}

func TestDefaultBase(t *testing.T) {
	var asked *url.URL
	transport := roundTrip(func(req *http.Request) (*http.Response, error) {
		asked = req.URL
		return canned{status: 200, body: `{"access_token":"a"}`}.RoundTrip(req)
	})
	client := oauth.New(oauth.Config{HTTP: &http.Client{Transport: transport}})
	auth, _ := oauthtest.Pack(t).AuthByID("oauth")
	if _, err := client.Refresh(t.Context(), auth, providers.App{ClientID: "c"}, secret("r")); err != nil {
		t.Fatal(err)
	}
	if asked.String() != "https://auth.strict.example/token" {
		t.Errorf("asked %s", asked)
	}
}

type roundTrip func(*http.Request) (*http.Response, error)

func (f roundTrip) RoundTrip(req *http.Request) (*http.Response, error) { return f(req) }
