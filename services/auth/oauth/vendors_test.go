package oauth_test

import (
	"encoding/base64"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/plugfn/plugfn/pkg/providers"
	"github.com/plugfn/plugfn/pkg/providers/catalog"
	"github.com/plugfn/plugfn/services/auth/oauth"
)

// vendor answers as the vendor's documentation shows it, by method and path.
func vendor(t *testing.T, name, authID string, answers map[string]func(request) (int, string)) (*providers.Auth, providers.App) {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		raw, _ := io.ReadAll(r.Body)
		answer, ok := answers[r.Method+" "+r.URL.Path]
		if !ok {
			t.Errorf("asked for %s %s", r.Method, r.URL.Path)
			w.WriteHeader(http.StatusTeapot)
			return
		}
		status, body := answer(request{r.Method, r.URL.Path, string(raw), r.Header})
		w.Header().Set("Content-Type", "application/json; charset=utf-8")
		w.WriteHeader(status)
		_, _ = io.WriteString(w, body)
	}))
	t.Cleanup(server.Close)
	pack, err := providers.Load(catalog.FS, name)
	if err != nil {
		t.Fatal(err)
	}
	auth, ok := pack.AuthByID(authID)
	if !ok {
		t.Fatalf("%s has no auth %s", name, authID)
	}
	return auth, providers.App{
		BaseURL: server.URL + "/api", AuthBaseURL: server.URL + "/web",
		ClientID: "Iv1.abc", ClientSecret: secret(sentSecret),
	}
}

func basic(user, password string) string {
	return base64.StdEncoding.EncodeToString([]byte(user + ":" + password))
}

func TestFirstAuthIsTheToken(t *testing.T) {
	for _, name := range []string{"github", "slack"} {
		pack, err := providers.Load(catalog.FS, name)
		if err != nil {
			t.Fatal(err)
		}
		if auth, _ := pack.AuthByID(""); auth.ID != "token" || auth.Type != providers.AuthAPIKey {
			t.Errorf("the default of %s is %s", name, auth.ID)
		}
	}
}

func TestGitHub(t *testing.T) {
	var token func(request) (int, string)
	answers := map[string]func(request) (int, string){
		"POST /web/login/oauth/access_token": func(r request) (int, string) { return token(r) },
		"POST /web/login/device/code": func(r request) (int, string) {
			want := map[string]string{"client_id": "Iv1.abc", "scope": "repo"}
			if diff := cmp.Diff(want, parseForm(t, r.body)); diff != "" {
				t.Error(diff)
			}
			return 200, `{"device_code":"3584d83530557fdd1f46af8289938c8ef79f9dc5","user_code":"WDJB-MJHT","verification_uri":"https://github.com/login/device","expires_in":900,"interval":5}`
		},
		"GET /api/user": func(r request) (int, string) {
			if r.header.Get("Authorization") != "Bearer gho_1" || r.header.Get("X-GitHub-Api-Version") == "" {
				return 401, `{"message":"Bad credentials"}`
			}
			return 200, `{"login":"octocat","id":583231,"type":"User"}`
		},
		"DELETE /api/applications/Iv1.abc/grant": func(r request) (int, string) {
			if r.body != `{"access_token":"gho_1"}` || r.header.Get("Authorization") != "Basic "+basic("Iv1.abc", sentSecret) {
				return 404, `{"message":"Not Found"}`
			}
			return 204, ""
		},
	}
	auth, app := vendor(t, "github", "oauth", answers)
	client := oauth.New(oauth.Config{Now: func() time.Time { return epoch }})

	link, err := oauth.AuthorizeURL(auth, app, oauth.AuthorizeInput{RedirectURI: "https://p.example/cb", State: "s", Verifier: secret("v"), LoginHint: "octocat"})
	if err != nil {
		t.Fatal(err)
	}
	u, _ := url.Parse(link)
	query := u.Query()
	if query.Get("scope") != "repo" || query.Get("login") != "octocat" || query.Get("code_challenge_method") != "S256" || u.Path != "/web/login/oauth/authorize" {
		t.Errorf("the link is %s", link)
	}

	token = func(r request) (int, string) {
		want := map[string]string{
			"grant_type": "authorization_code", "code": "c", "code_verifier": "v", "redirect_uri": "https://p.example/cb",
			"client_id": "Iv1.abc", "client_secret": sentSecret,
		}
		if diff := cmp.Diff(want, parseForm(t, r.body)); diff != "" || r.header.Get("Accept") != "application/json" {
			t.Error(diff, r.header)
		}
		return 200, `{"access_token":"gho_1","scope":"repo,user","token_type":"bearer"}`
	}
	in := oauth.ExchangeInput{Code: secret("c"), Verifier: secret("v"), RedirectURI: "https://p.example/cb", Scopes: []string{"repo", "public_repo", "user:email", "gist"}}
	grant, err := client.Exchange(t.Context(), auth, app, in)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"gist"}, grant.Missing); diff != "" || !grant.ExpiresAt.IsZero() || !grant.RefreshToken.IsZero() {
		t.Errorf("%s, %+v", diff, grant)
	}
	cred := providers.Credential{Token: grant.AccessToken}
	if account, err := client.Identity(t.Context(), auth, app, cred); err != nil || account != (oauth.Account{ID: "583231", Label: "octocat"}) {
		t.Errorf("the account is %+v, %v", account, err)
	}
	if done, err := client.Revoke(t.Context(), auth, app, cred, providers.Secret{}); err != nil || !done.Succeeded {
		t.Errorf("revoking: %+v, %v", done, err)
	}
	_, err = client.Identity(t.Context(), auth, app, providers.Credential{Token: secret(gotAccess)})
	wantClass(t, err, oauth.Dead)
	_, err = client.Revoke(t.Context(), auth, app, providers.Credential{Token: secret(gotAccess)}, providers.Secret{})
	wantClass(t, err, oauth.Dead)

	token = func(request) (int, string) {
		return 200, `{"access_token":"ghu_2","expires_in":28800,"refresh_token":"ghr_2","refresh_token_expires_in":15897600,"scope":"","token_type":"bearer"}`
	}
	grant, err = client.Refresh(t.Context(), auth, app, secret("ghr_1"))
	if err != nil {
		t.Fatal(err)
	}
	if reveal(grant.RefreshToken) != "ghr_2" || !grant.ExpiresAt.Equal(epoch.Add(8*time.Hour)) || !grant.RefreshExpiresAt.Equal(epoch.Add(184*24*time.Hour)) {
		t.Errorf("got %+v", grant)
	}
	for code, class := range map[string]oauth.Class{
		"bad_refresh_token": oauth.Dead, "bad_verification_code": oauth.Dead,
		"incorrect_client_credentials": oauth.Misconfigured, "redirect_uri_mismatch": oauth.Misconfigured,
	} {
		token = func(request) (int, string) {
			return 200, `{"error":"` + code + `","error_description":"The refresh token passed is incorrect or expired.","error_uri":"https://docs.github.com"}`
		}
		_, err := client.Refresh(t.Context(), auth, app, secret("ghr_1"))
		wantClass(t, err, class)
	}

	device, err := client.StartDevice(t.Context(), auth, app, nil)
	if err != nil {
		t.Fatal(err)
	}
	token = func(request) (int, string) {
		return 200, `{"error":"slow_down","error_description":"Too many requests","interval":10}`
	}
	_, err = client.PollDevice(t.Context(), auth, app, device)
	if f := wantFailure(t, err, oauth.Pending); f.RetryAfter != 10*time.Second {
		t.Errorf("got %+v", f)
	}
}

func TestSlack(t *testing.T) {
	var token func(request) (int, string)
	answers := map[string]func(request) (int, string){
		"POST /api/oauth.v2.access": func(r request) (int, string) { return token(r) },
		"POST /api/auth.test": func(r request) (int, string) {
			if r.header.Get("Authorization") != "Bearer xoxb-1" {
				return 200, `{"ok":false,"error":"invalid_auth"}`
			}
			return 200, `{"ok":true,"url":"https://acme.slack.com/","team":"Acme","user":"bot","team_id":"T1","user_id":"U1"}`
		},
		"POST /api/auth.revoke": func(r request) (int, string) {
			switch parseForm(t, r.body)["token"] {
			case "xoxb-1":
				return 200, `{"ok":true,"revoked":true}`
			case "xoxb-gone":
				return 200, `{"ok":false,"error":"token_revoked"}`
			}
			return 200, `{"ok":false,"error":"fatal_error"}`
		},
	}
	auth, app := vendor(t, "slack", "oauth", answers)
	client := oauth.New(oauth.Config{Now: func() time.Time { return epoch }})

	link, err := oauth.AuthorizeURL(auth, app, oauth.AuthorizeInput{RedirectURI: "https://p.example/cb", State: "s", Scopes: []string{"chat:write", "users:read"}})
	if err != nil {
		t.Fatal(err)
	}
	u, _ := url.Parse(link)
	if query := u.Query(); query.Get("scope") != "chat:write,users:read" || query.Has("code_challenge") || u.Path != "/web/oauth/v2/authorize" {
		t.Errorf("the link is %s", link)
	}

	token = func(r request) (int, string) {
		want := map[string]string{"grant_type": "authorization_code", "code": "c", "redirect_uri": "https://p.example/cb"}
		if diff := cmp.Diff(want, parseForm(t, r.body)); diff != "" || r.header.Get("Authorization") != "Basic "+basic("Iv1.abc", sentSecret) {
			t.Error(diff, r.header)
		}
		return 200, `{"ok":true,"access_token":"xoxb-1","token_type":"bot","scope":"chat:write","bot_user_id":"U1","app_id":"A1",
			"expires_in":43200,"refresh_token":"xoxe-1-r","team":{"name":"Acme","id":"T1"},"enterprise":null,"authed_user":{"id":"U2"}}`
	}
	in := oauth.ExchangeInput{Code: secret("c"), RedirectURI: "https://p.example/cb", Scopes: []string{"chat:write", "users:read"}}
	grant, err := client.Exchange(t.Context(), auth, app, in)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"users:read"}, grant.Missing); diff != "" || grant.Account != "T1" || grant.Label != "Acme" ||
		reveal(grant.RefreshToken) != "xoxe-1-r" || !grant.ExpiresAt.Equal(epoch.Add(12*time.Hour)) {
		t.Errorf("%s, %+v", diff, grant)
	}
	cred := providers.Credential{Token: grant.AccessToken}
	if err := client.Probe(t.Context(), auth, app, cred); err != nil {
		t.Error(err)
	}
	wantClass(t, client.Probe(t.Context(), auth, app, providers.Credential{Token: secret(gotAccess)}), oauth.Dead)
	wantClass(t, client.Probe(t.Context(), auth, app, providers.Credential{}), oauth.Dead)
	for text, want := range map[string]bool{"xoxb-1": true, "xoxb-gone": true, "xoxb-other": false} {
		done, err := client.Revoke(t.Context(), auth, app, providers.Credential{Token: secret(text)}, secret("xoxe-1-r"))
		if done.Succeeded != want || (err == nil) != want {
			t.Errorf("revoking %s: %+v, %v", text, done, err)
		}
	}

	token = func(request) (int, string) {
		return 200, `{"ok":true,"app_id":"A1","authed_user":{"id":"U2","scope":"chat:write","access_token":"xoxp-1","token_type":"user"},
			"team":null,"enterprise":{"name":"Acme Corp","id":"E1"},"is_enterprise_install":true}`
	}
	grant, err = client.Exchange(t.Context(), auth, app, in)
	if err != nil || reveal(grant.AccessToken) != "xoxp-1" || grant.Account != "E1" || grant.Label != "Acme Corp" {
		t.Errorf("got %+v, %v", grant, err)
	}
	for code, class := range map[string]oauth.Class{
		"invalid_refresh_token": oauth.Dead, "token_revoked": oauth.Dead, "account_inactive": oauth.Dead,
		"bad_client_secret": oauth.Misconfigured, "invalid_client_id": oauth.Misconfigured, "internal_error": oauth.Transient,
	} {
		token = func(request) (int, string) { return 200, `{"ok":false,"error":"` + code + `"}` }
		_, err := client.Refresh(t.Context(), auth, app, secret("xoxe-1-r"))
		if f := wantFailure(t, err, class); f.Code != code {
			t.Errorf("got %v", err)
		}
	}

	key, app := vendor(t, "slack", "token", answers)
	if account, err := client.Identity(t.Context(), key, app, cred); err != nil || account != (oauth.Account{ID: "T1", Label: "Acme"}) {
		t.Errorf("the account of a token is %+v, %v", account, err)
	}
}
