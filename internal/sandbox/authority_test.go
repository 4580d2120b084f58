package sandbox_test

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/plugfn/plugfn/internal/sandbox"
	"github.com/plugfn/plugfn/pkg/providers"
)

// bankPack has what the built-in packs have not: an issuer, scopes with a
// separator of their own, one endpoint for several auth blocks, and tokens that
// the app gets for itself.
const bankPack = `apiVersion: plugfn.dev/v1
kind: Provider
name: bank
version: 1.0.0
display: {name: Bank}
auth:
  - id: user
    type: oauth2
    default_scopes: [read, pay]
    authorize: {url: https://bank.example/auth/, scope: {param: perms, separator: ","}, issuer: https://bank.example}
    device: {url: https://bank.example/device, client_auth: post}
    token: {url: https://bank.example/token, client_auth: basic, encoding: json}
    extract: {access_token: json:/t/at, refresh_token: json:/t/rt, scope: json:/t/perms}
    identity: {account: json:/holder/id, label: json:/holder/name}
    revoke: {url: https://bank.example/revoke}
  - id: own
    type: client_credentials
    token: {url: https://bank.example/token, client_auth: basic}
    probe: {method: GET, path: /self}
http: {base_url: https://bank.example/api}
actions:
  self.get:
    summary: Read whose token it is
    effect: read
    params: {type: object, additionalProperties: false}
    request: {method: GET, path: /me}
`

func newBank(t *testing.T) stage {
	t.Helper()
	packs, err := providers.LoadAll(fstest.MapFS{"bank/provider.yaml": {Data: []byte(bankPack)}})
	if err != nil {
		t.Fatal(err)
	}
	return newStage(t, packs)
}

const verifier = "a-verifier-of-at-least-forty-three-characters-x"

func challenge() string {
	sum := sha256.Sum256([]byte(verifier))
	return base64.RawURLEncoding.EncodeToString(sum[:])
}

// consented follows the authorize link of the bank and returns what comes back.
func (s stage) consented(extra string) url.Values {
	s.t.Helper()
	resp, body := s.visit("/bank/auth/?response_type=code&client_id=c1&redirect_uri=" + url.QueryEscape("http://127.0.0.1:1/cb?x=1") +
		"&state=st&perms=read,pay&code_challenge=" + challenge() + "&code_challenge_method=S256" + extra)
	at, err := resp.Location()
	if resp.StatusCode != http.StatusFound || err != nil || !strings.HasPrefix(at.String(), "http://127.0.0.1:1/cb?x=1&") {
		s.t.Fatalf("authorize answers %d %v: %s", resp.StatusCode, resp.Header, body)
	}
	return at.Query()
}

// visit is GET without following redirects.
func (s stage) visit(path string) (*http.Response, string) {
	s.t.Helper()
	r, err := http.NewRequestWithContext(s.t.Context(), http.MethodGet, s.url+path, nil)
	if err != nil {
		s.t.Fatal(err)
	}
	resp, err := http.DefaultTransport.RoundTrip(r)
	if err != nil {
		s.t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		s.t.Fatal(err)
	}
	return resp, string(body)
}

// tokens asks the bank's token endpoint.
func (s stage) tokens(params ...string) (status int, code string, tokens bankTokens) {
	s.t.Helper()
	object := map[string]string{}
	for i := 0; i < len(params); i += 2 {
		object[params[i]] = params[i+1]
	}
	raw, _ := json.Marshal(object)
	basic := "Basic " + base64.StdEncoding.EncodeToString([]byte("c1:s"))
	resp, body := s.send(http.MethodPost, "/bank/token", string(raw), "Authorization", basic, "Content-Type", "application/json")
	var answer struct {
		Error string
		bankTokens
	}
	if err := json.Unmarshal([]byte(body), &answer); err != nil {
		s.t.Fatalf("%v: %s", err, body)
	}
	return resp.StatusCode, answer.Error, answer.bankTokens
}

type bankTokens struct {
	T           struct{ At, Rt, Perms string }
	Holder      struct{ ID, Name any }
	AccessToken string `json:"access_token"`
	Lasts       int    `json:"expires_in"`
}

func (s stage) exchange(code string) (int, string, bankTokens) {
	return s.tokens("grant_type", "authorization_code", "code", code, "redirect_uri", "http://127.0.0.1:1/cb?x=1", "code_verifier", verifier)
}

func TestCodeFlow(t *testing.T) {
	s := newBank(t)
	back := s.consented("&approve=1")
	if back.Get("state") != "st" || back.Get("iss") != "https://bank.example" || back.Get("code") == "" {
		t.Fatalf("came back with %v", back)
	}
	status, _, got := s.exchange(back.Get("code"))
	if status != http.StatusOK || got.T.At == "" || got.T.Rt == "" || got.T.Perms != "read,pay" || got.Lasts != 3600 {
		t.Fatalf("exchange: %d %+v", status, got)
	}
	if got.Holder.ID != 4242.0 || got.Holder.Name != "sandbox" {
		t.Errorf("account %v", got.Holder)
	}
	if resp, _ := s.send("GET", "/bank/me", "", "Authorization", "Bearer "+got.T.At); resp.StatusCode == http.StatusUnauthorized {
		t.Error("the access token is refused")
	}
	status, _, next := s.tokens("grant_type", "refresh_token", "refresh_token", got.T.Rt)
	if status != http.StatusOK || next.T.Rt == got.T.Rt || next.T.At == got.T.At {
		t.Fatalf("refresh: %d %+v", status, next)
	}
	if status, code, _ := s.tokens("grant_type", "refresh_token", "refresh_token", got.T.Rt); status != http.StatusBadRequest || code != "invalid_grant" {
		t.Errorf("a spent refresh token: %d %s", status, code)
	}
	if status, code, _ := s.tokens("grant_type", "refresh_token", "refresh_token", next.T.Rt); code != "invalid_grant" {
		t.Errorf("one of a family whose token was used twice: %d %s", status, code)
	}
	if resp, _ := s.send("GET", "/bank/me", "", "Authorization", "Bearer "+next.T.At); resp.StatusCode != http.StatusUnauthorized {
		t.Error("an access token of that family is still good")
	}
}

func TestCodeIsForOneUseAndOneClient(t *testing.T) {
	s := newBank(t)
	code := s.consented("&approve=1").Get("code")
	if status, _, _ := s.exchange(code); status != http.StatusOK {
		t.Fatal(status)
	}
	if _, reason, _ := s.exchange(code); reason != "invalid_grant" {
		t.Errorf("second use: %s", reason)
	}
	for name, params := range map[string][]string{
		"wrong verifier": {"redirect_uri", "http://127.0.0.1:1/cb?x=1", "code_verifier", verifier + "y"},
		"no verifier":    {"redirect_uri", "http://127.0.0.1:1/cb?x=1"},
		"other redirect": {"redirect_uri", "http://127.0.0.1:1/cb", "code_verifier", verifier},
	} {
		code := s.consented("&approve=1").Get("code")
		if _, reason, _ := s.tokens(append(params, "grant_type", "authorization_code", "code", code)...); reason != "invalid_grant" {
			t.Errorf("%s: %q", name, reason)
		}
	}
	resp, body := s.send(http.MethodPost, "/bank/token", "grant_type=authorization_code&client_id=c1&client_secret=s&code=x",
		"Content-Type", "application/x-www-form-urlencoded", "Authorization", "Basic !")
	if resp.StatusCode != http.StatusBadRequest || !strings.Contains(body, "invalid_grant") {
		t.Errorf("unknown code: %d %s", resp.StatusCode, body)
	}
	if resp, body := s.send(http.MethodPost, "/bank/token", "grant_type=refresh_token"); resp.StatusCode != http.StatusUnauthorized || !strings.Contains(body, "invalid_client") {
		t.Errorf("no client: %d %s", resp.StatusCode, body)
	}
}

func TestConsentOfSome(t *testing.T) {
	s := newBank(t)
	_, _, got := s.exchange(s.consented("&approve=1&grant=pay&grant=").Get("code"))
	if got.T.Perms != "pay" {
		t.Errorf("granted %q", got.T.Perms)
	}
	if back := s.consented("&approve=0"); back.Get("error") != "access_denied" || back.Has("code") || back.Get("state") != "st" {
		t.Errorf("came back with %v", back)
	}
}

func TestAuthorizeRefuses(t *testing.T) {
	s := newBank(t)
	for name, query := range map[string]string{
		"no redirect": "response_type=code&client_id=c1", "script": "client_id=c1&redirect_uri=javascript:alert(1)", "no client": "redirect_uri=http://127.0.0.1:1/",
	} {
		if resp, body := s.visit("/bank/auth/?approve=1&" + query); resp.StatusCode != http.StatusBadRequest || resp.Header.Get("Location") != "" {
			t.Errorf("%s: %d %s", name, resp.StatusCode, body)
		}
	}
	for query, want := range map[string]string{
		"response_type=token": "unsupported_response_type", "response_type=code": "invalid_request",
		"response_type=code&code_challenge=x&code_challenge_method=plain": "invalid_request",
	} {
		resp, _ := s.visit("/bank/auth/?approve=1&client_id=c1&state=s&redirect_uri=" + url.QueryEscape("http://127.0.0.1:1/cb") + "&" + query)
		if at, err := resp.Location(); err != nil || at.Query().Get("error") != want {
			t.Errorf("%s: %v, %v", query, at, err)
		}
	}
}

var scripts = regexp.MustCompile(`(?i)<script|javascript:|onerror`)

func TestConsentPage(t *testing.T) {
	s := newBank(t)
	resp, body := s.visit("/bank/auth/?response_type=code&client_id=" + url.QueryEscape(`"><script>alert(1)</script>`) +
		"&redirect_uri=http://127.0.0.1:1/&code_challenge=x&code_challenge_method=S256&perms=read,pay,%3Cimg+onerror%3Dx%3E")
	if resp.StatusCode != http.StatusOK || !strings.Contains(body, `value="pay" checked`) || !strings.Contains(body, "plays Bank") {
		t.Errorf("%d %s", resp.StatusCode, body)
	}
	for _, found := range scripts.FindAllString(strings.ReplaceAll(body, "&lt;img onerror", ""), -1) {
		t.Errorf("the page holds %s: %s", found, body)
	}
	style := body[strings.Index(body, "<style>")+len("<style>") : strings.Index(body, "</style>")]
	sum := sha256.Sum256([]byte(style))
	if policy := resp.Header.Get("Content-Security-Policy"); !strings.Contains(policy, "sha256-"+base64.StdEncoding.EncodeToString(sum[:])) {
		t.Errorf("the style is not that of the policy %s", policy)
	}
}

func TestDeviceFlow(t *testing.T) {
	s := newBank(t)
	start := func() (code, userCode string) {
		_, body := s.send(http.MethodPost, "/bank/device", "client_id=c1&client_secret=s&scope=read,pay", "Content-Type", "application/x-www-form-urlencoded")
		var d struct {
			DeviceCode string `json:"device_code"`
			UserCode   string `json:"user_code"`
			URI        string `json:"verification_uri"`
			Complete   string `json:"verification_uri_complete"`
			Interval   int
		}
		if err := json.Unmarshal([]byte(body), &d); err != nil || d.Interval != 1 || !strings.HasPrefix(d.URI, s.url+"/bank/") || !strings.HasSuffix(d.Complete, d.UserCode) {
			t.Fatalf("%v: %s", err, body)
		}
		return d.DeviceCode, d.UserCode
	}
	poll := func(code string) (int, string, bankTokens) {
		return s.tokens("grant_type", "urn:ietf:params:oauth:grant-type:device_code", "device_code", code)
	}
	code, userCode := start()
	if _, reason, _ := poll(code); reason != "authorization_pending" {
		t.Errorf("first poll: %s", reason)
	}
	if _, reason, _ := poll(code); reason != "slow_down" {
		t.Errorf("a poll at once: %s", reason)
	}
	if resp, body := s.visit("/bank/_device/user"); resp.StatusCode != http.StatusOK || !strings.Contains(body, `name="user_code"`) {
		t.Errorf("%d %s", resp.StatusCode, body)
	}
	if resp, body := s.visit("/bank/_device/user?user_code=" + strings.ToLower(userCode)); resp.StatusCode != http.StatusOK || !strings.Contains(body, `value="pay" checked`) {
		t.Errorf("%d %s", resp.StatusCode, body)
	}
	s.visit("/bank/_device/user?approve=1&user_code=" + userCode)
	if resp, _ := s.visit("/bank/_device/user?approve=1&user_code=" + userCode); resp.StatusCode != http.StatusNotFound {
		t.Errorf("decided twice: %d", resp.StatusCode)
	}
	code2, userCode2 := start()
	s.visit("/bank/_device/user?approve=0&user_code=" + userCode2)
	if _, reason, _ := poll(code2); reason != "access_denied" {
		t.Errorf("denied: %s", reason)
	}
	code3, userCode3 := start()
	s.visit("/bank/_device/user?approve=1&grant=read&user_code=" + userCode3)
	if status, _, got := poll(code3); status != http.StatusOK || got.T.At == "" || got.T.Perms != "read" {
		t.Errorf("allowed: %d %+v", status, got)
	}
	if _, reason, _ := poll(code3); reason != "expired_token" {
		t.Errorf("a second time: %s", reason)
	}
}

func TestMintedAndRevoked(t *testing.T) {
	s := newBank(t)
	status, _, got := s.tokens("grant_type", "client_credentials")
	if status != http.StatusOK || got.AccessToken == "" || got.T.Rt != "" {
		t.Fatalf("%d %+v", status, got)
	}
	ask := func() int {
		resp, _ := s.send("GET", "/bank/self", "", "Authorization", "Bearer "+got.AccessToken)
		return resp.StatusCode
	}
	if ask() != http.StatusOK {
		t.Error("the token is refused")
	}
	if resp, _ := s.send(http.MethodPost, "/bank/revoke", "token="+got.AccessToken, "Content-Type", "application/x-www-form-urlencoded"); resp.StatusCode != http.StatusOK {
		t.Error(resp.Status)
	}
	if ask() != http.StatusUnauthorized {
		t.Error("the token outlives its revocation")
	}
}

// TestTokensOfAFormerRun: who restarts the sandbox keeps his connections.
func TestTokensOfAFormerRun(t *testing.T) {
	_, _, got := func() (int, string, bankTokens) {
		s := newBank(t)
		return s.exchange(s.consented("&approve=1").Get("code"))
	}()
	s := newBank(t)
	if resp, _ := s.send("GET", "/bank/self", "", "Authorization", "Bearer "+got.T.At); resp.StatusCode != http.StatusOK {
		t.Error(resp.Status)
	}
	if status, reason, _ := s.tokens("grant_type", "refresh_token", "refresh_token", got.T.Rt); status != http.StatusOK {
		t.Errorf("%d %s", status, reason)
	}
}

// TestCatalogIsPlayed: each auth block of the built-in packs that has a consent
// finds its endpoints.
func TestCatalogIsPlayed(t *testing.T) {
	s := newStage(t, catalogPacks(t))
	for name, pack := range s.packs {
		for _, auth := range pack.Auth {
			if auth.Authorize == nil {
				continue
			}
			app := providers.App{BaseURL: sandbox.BaseURL(s.url, name), AuthBaseURL: sandbox.BaseURL(s.url, name), ClientID: "c"}
			none := func(string) (string, bool) { return "", false }
			at, err := auth.Resolve(auth.Authorize.URL, app, none)
			if err != nil {
				t.Fatal(err)
			}
			q := url.Values{
				"response_type": {"code"}, "client_id": {"c"}, "redirect_uri": {"http://127.0.0.1:1/cb"}, "state": {"s"}, "approve": {"1"},
				"code_challenge": {challenge()}, "code_challenge_method": {"S256"},
			}
			q.Set(auth.Authorize.Scope.Param, strings.Join(auth.DefaultScopes, auth.Authorize.Scope.Separator))
			resp, body := s.visit(strings.TrimPrefix(at.String(), s.url) + "?" + q.Encode())
			back, err := resp.Location()
			if err != nil || back.Query().Get("code") == "" {
				t.Fatalf("%s %s: %d %s", name, auth.ID, resp.StatusCode, body)
			}
			at, err = auth.Resolve(auth.Token.URL, app, none)
			if err != nil {
				t.Fatal(err)
			}
			form := url.Values{
				"grant_type": {"authorization_code"}, "code": {back.Query().Get("code")}, "redirect_uri": {"http://127.0.0.1:1/cb"},
				"client_id": {"c"}, "client_secret": {"s"}, "code_verifier": {verifier},
			}
			headers := []string{"Content-Type", "application/x-www-form-urlencoded"}
			if auth.Token.ClientAuth == providers.ClientAuthBasic {
				headers = append(headers, "Authorization", "Basic "+base64.StdEncoding.EncodeToString([]byte("c:s")))
			}
			resp, body = s.send(http.MethodPost, strings.TrimPrefix(at.String(), s.url), form.Encode(), headers...)
			var granted any
			if err := json.Unmarshal([]byte(body), &granted); err != nil || resp.StatusCode != http.StatusOK {
				t.Fatalf("%s %s: %d %s", name, auth.ID, resp.StatusCode, body)
			}
			token, ok := auth.Extract.AccessToken[0].In(nil, granted)
			if !ok {
				t.Fatalf("%s %s: no token in %s", name, auth.ID, body)
			}
			s.asksWhose(name, auth, app, token.(string), granted)
		}
	}
}

// asksWhose makes the requests about a credential that the pack declares.
func (s stage) asksWhose(name string, auth *providers.Auth, app providers.App, token string, granted any) {
	s.t.Helper()
	credential := providers.Credential{Auth: auth.ID, Token: providers.NewSecret([]byte(token))}
	ask := func(call *providers.AuthCall) json.RawMessage {
		r, err := call.NewRequest(s.t.Context(), app, credential)
		if err != nil {
			s.t.Fatal(err)
		}
		resp, err := http.DefaultClient.Do(r)
		if err != nil {
			s.t.Fatal(err)
		}
		defer resp.Body.Close()
		raw, err := call.Read(resp)
		if err != nil {
			s.t.Errorf("%s %s: %v", name, auth.ID, err)
		}
		return raw
	}
	if auth.Probe != nil {
		ask(auth.Probe)
	}
	if auth.Identity == nil {
		return
	}
	if auth.Identity.Request != nil {
		if err := json.Unmarshal(ask(auth.Identity.Request), &granted); err != nil {
			s.t.Fatal(err)
		}
	}
	whose := func(at providers.Sources) bool {
		return slices.ContainsFunc(at, func(one providers.Source) bool { _, ok := one.In(nil, granted); return ok })
	}
	if !whose(auth.Identity.Account) || len(auth.Identity.Label) > 0 && !whose(auth.Identity.Label) {
		s.t.Errorf("%s %s: nobody tells whose token it is: %v", name, auth.ID, granted)
	}
}
