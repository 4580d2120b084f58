package oauthtest_test

import (
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/plugfn/plugfn/pkg/providers"
	"github.com/plugfn/plugfn/services/auth/oauthtest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// The pair of RFC 7636, appendix B.
const (
	verifier  = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"
	challenge = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM"
)

func link(s *oauthtest.Server, changes ...string) string {
	query := url.Values{
		"response_type": {"code"}, "client_id": {"client"}, "redirect_uri": {oauthtest.RedirectURI}, "state": {"s"},
		"code_challenge": {challenge}, "code_challenge_method": {"S256"}, "scope": {"read"},
	}
	for i := 0; i+1 < len(changes); i += 2 {
		query.Set(changes[i], changes[i+1])
	}
	return s.URL + "/authorize?" + query.Encode()
}

// post asks an endpoint as the default client, and returns status and answer.
func post(t testing.TB, s *oauthtest.Server, path string, pairs ...string) (int, map[string]any) {
	t.Helper()
	form := url.Values{}
	for i := 0; i+1 < len(pairs); i += 2 {
		form.Set(pairs[i], pairs[i+1])
	}
	req, err := http.NewRequest(http.MethodPost, s.URL+path, strings.NewReader(form.Encode()))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	if !form.Has("client_id") {
		req.SetBasicAuth("client", "client-s3cret")
	}
	return ask(t, req)
}

func ask(t testing.TB, req *http.Request) (int, map[string]any) {
	t.Helper()
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	resp, err := client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	raw, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	var out map[string]any
	_ = json.Unmarshal(raw, &out)
	return resp.StatusCode, out
}

func connect(t testing.TB, s *oauthtest.Server) map[string]any {
	t.Helper()
	back, err := s.Authorize(t.Context(), link(s))
	if err != nil {
		t.Fatal(err)
	}
	status, out := post(t, s, "/token", "grant_type", "authorization_code", "code", back.Query().Get("code"),
		"code_verifier", verifier, "redirect_uri", oauthtest.RedirectURI)
	if status != http.StatusOK {
		t.Fatalf("got %d %v", status, out)
	}
	return out
}

func TestAuthorizeIsStrict(t *testing.T) {
	s := oauthtest.New(t, oauthtest.Config{})
	for _, changes := range [][]string{
		{"client_id", "nobody"}, {"redirect_uri", oauthtest.RedirectURI + "/"}, {"redirect_uri", ""},
	} {
		if back, err := s.Authorize(t.Context(), link(s, changes...)); err == nil {
			t.Errorf("%v leads to %s", changes, back)
		}
	}
	for _, tt := range [][3]string{
		{"response_type", "token", "unsupported_response_type"},
		{"code_challenge", "", "invalid_request"},
		{"code_challenge", "short", "invalid_request"},
		{"code_challenge_method", "plain", "invalid_request"},
		{"state", "", "invalid_request"},
	} {
		back, err := s.Authorize(t.Context(), link(s, tt[0], tt[1]))
		if err != nil || back.Query().Get("error") != tt[2] || back.Query().Get("iss") != s.URL {
			t.Errorf("%v leads to %v, %v", tt, back, err)
		}
	}
	back, err := s.Authorize(t.Context(), link(s)+"&state=t")
	if err != nil || back.Query().Get("error") != "invalid_request" {
		t.Errorf("two states lead to %v, %v", back, err)
	}
	if back, err := s.Deny(t.Context(), link(s)); err != nil || back.Query().Get("error") != "access_denied" {
		t.Errorf("a refusal leads to %v, %v", back, err)
	}
	if l := s.Ledger(); l.Codes != 0 {
		t.Errorf("the ledger says %+v", l)
	}
}

func TestOtherBrowsersCannotConsent(t *testing.T) {
	s := oauthtest.New(t, oauthtest.Config{})
	req, err := http.NewRequest(http.MethodGet, link(s), nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := (&http.Transport{DisableKeepAlives: true}).RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if status, _ := post(t, s, "/authorize", "session", resp.Cookies()[0].Value, "decision", "allow"); status != http.StatusForbidden {
		t.Errorf("without the cookie the status is %d", status)
	}
}

func TestTokenIsStrict(t *testing.T) {
	s := oauthtest.New(t, oauthtest.Config{})
	good := connect(t, s)
	refresh := good["refresh_token"].(string)
	for name, pairs := range map[string][]string{
		"unsupported_grant_type": {"grant_type", "password"},
		"invalid_grant":          {"grant_type", "refresh_token", "refresh_token", "rt_nobody"},
		"invalid_client":         {"client_id", "client", "client_secret", "client-s3cret", "grant_type", "refresh_token", "refresh_token", refresh},
	} {
		if _, out := post(t, s, "/token", pairs...); out["error"] != name {
			t.Errorf("%v gives %v", pairs, out)
		}
	}
	if _, out := post(t, s, "/token?x=1", "grant_type", "refresh_token", "refresh_token", refresh); out["error"] != "invalid_request" {
		t.Errorf("parameters in the URL give %v", out)
	}
	if l := s.Ledger(); l.Refused != 4 || l.LiveFamilies != 1 || l.Reuses != 0 {
		t.Errorf("the ledger says %+v", l)
	}
}

func TestLives(t *testing.T) {
	now := time.Unix(1e9, 0)
	s := oauthtest.New(t, oauthtest.Config{
		AccessLife: 800 * time.Millisecond, RefreshLife: time.Hour, CodeLife: time.Minute, ReuseGrace: 10 * time.Second,
		Now: func() time.Time { return now },
	})
	status := func(token string) int {
		req, err := http.NewRequest(http.MethodGet, s.URL+"/api/me", nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Authorization", "Bearer "+token)
		status, _ := ask(t, req)
		return status
	}
	out := connect(t, s)
	access, refresh := out["access_token"].(string), out["refresh_token"].(string)
	if out["expires_in"] != 0.8 || out["refresh_token_expires_in"] != 3600.0 || status(access) != 200 {
		t.Errorf("got %v", out)
	}
	now = now.Add(800 * time.Millisecond)
	if got := status(access); got != 401 {
		t.Errorf("an expired token gives %d", got)
	}
	for range 2 { // the second one within the grace
		if status, out := post(t, s, "/token", "grant_type", "refresh_token", "refresh_token", refresh); status != 200 {
			t.Errorf("got %d %v", status, out)
		}
	}
	now = now.Add(time.Minute)
	if _, out := post(t, s, "/token", "grant_type", "refresh_token", "refresh_token", refresh); out["error"] != "invalid_grant" {
		t.Errorf("after the grace: %v", out)
	}
	if l := s.Ledger(); l.Reuses != 1 || l.DeadFamilies != 1 || l.APICalls != 2 || l.APIRefused != 1 {
		t.Errorf("the ledger says %+v", l)
	}
	out = connect(t, s)
	now = now.Add(2 * time.Hour)
	if _, out := post(t, s, "/token", "grant_type", "refresh_token", "refresh_token", out["refresh_token"].(string)); out["error"] != "invalid_grant" {
		t.Errorf("an expired refresh token: %v", out)
	}
	back, err := s.Authorize(t.Context(), link(s))
	if err != nil {
		t.Fatal(err)
	}
	now = now.Add(2 * time.Minute)
	if _, out := post(t, s, "/token", "grant_type", "authorization_code", "code", back.Query().Get("code"),
		"code_verifier", verifier, "redirect_uri", oauthtest.RedirectURI); out["error"] != "invalid_grant" {
		t.Errorf("an expired code: %v", out)
	}
}

// TestRaceKills is what a careful client has to avoid: of many who use one
// refresh token one wins, and the others kill what it won.
func TestRaceKills(t *testing.T) {
	s := oauthtest.New(t, oauthtest.Config{})
	out := connect(t, s)
	refresh := out["refresh_token"].(string)
	var won atomic.Int32
	var group sync.WaitGroup
	for range 8 {
		group.Go(func() {
			if status, _ := post(t, s, "/token", "grant_type", "refresh_token", "refresh_token", refresh); status == http.StatusOK {
				won.Add(1)
			}
		})
	}
	group.Wait()
	if l := s.Ledger(); won.Load() != 1 || l.Refreshes != 1 || l.Reuses != 1 || l.DeadFamilies != 1 || s.IsLive(out["access_token"].(string)) {
		t.Errorf("%d won, the ledger says %+v", won.Load(), l)
	}
}

func TestForget(t *testing.T) {
	s := oauthtest.New(t, oauthtest.Config{})
	out := connect(t, s)
	s.Forget("nobody")
	if !s.IsLive(out["refresh_token"].(string)) {
		t.Error("the wrong user was forgotten")
	}
	s.Forget("octo")
	if s.IsLive(out["refresh_token"].(string)) || s.Ledger().DeadFamilies != 1 {
		t.Error("the user was not forgotten")
	}
}

func TestUserinfo(t *testing.T) {
	s := oauthtest.New(t, oauthtest.Config{})
	req, err := http.NewRequest(http.MethodGet, s.URL+"/userinfo", nil)
	if err != nil {
		t.Fatal(err)
	}
	if status, _ := ask(t, req); status != http.StatusUnauthorized {
		t.Errorf("without a token the status is %d", status)
	}
	req.Header.Set("Authorization", "Bearer "+connect(t, s)["access_token"].(string))
	if status, out := ask(t, req); status != http.StatusOK || out["sub"] != "octo" {
		t.Errorf("got %d %v", status, out)
	}
}

func TestPackSpeaksToIt(t *testing.T) {
	s := oauthtest.New(t, oauthtest.Config{})
	pack := oauthtest.Pack(t)
	registry, err := providers.NewRegistry(map[string]*providers.Pack{"strict": pack}, map[string]providers.App{"strict": s.App()})
	if err != nil {
		t.Fatal(err)
	}
	action, _ := pack.Action("me.get")
	cred := providers.Credential{Auth: "oauth", Token: providers.NewSecret([]byte(connect(t, s)["access_token"].(string)))}
	req, err := action.NewRequest(t.Context(), registry.BaseURL("strict"), []byte(`{}`), cred)
	if err != nil {
		t.Fatal(err)
	}
	if status, out := ask(t, req); status != http.StatusOK || out["login"] != "octo" {
		t.Errorf("got %d %v", status, out)
	}
}
