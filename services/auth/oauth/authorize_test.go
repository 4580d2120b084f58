package oauth_test

import (
	"net/url"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/plugfn/plugfn/pkg/providers"
	"github.com/plugfn/plugfn/services/auth/oauth"
	"github.com/plugfn/plugfn/services/auth/oauthtest"
)

func TestAuthorizeURL(t *testing.T) {
	pack := oauthtest.Pack(t, "authorize: {url: https://auth.strict.example/authorize, login_hint: login_hint}",
		`authorize:
      url: https://auth.strict.example/authorize
      params: {access_type: offline, audience: "{{app.client_id}}"}
      scope: {param: user_scope, separator: ","}
      without_pkce: the test wants it so`)
	auth, _ := pack.AuthByID("oauth")
	link, err := oauth.AuthorizeURL(auth, providers.App{ClientID: "c 1"}, oauth.AuthorizeInput{
		RedirectURI: "https://p.example/cb?x=1", State: "s&t", Verifier: oauth.NewVerifier(), Scopes: []string{"a", "b", "a"}, LoginHint: "mona",
	})
	if err != nil {
		t.Fatal(err)
	}
	u, err := url.Parse(link)
	if err != nil {
		t.Fatal(err)
	}
	if got := u.Scheme + "://" + u.Host + u.Path; got != "https://auth.strict.example/authorize" {
		t.Errorf("it leads to %s", got)
	}
	want := url.Values{
		"response_type": {"code"}, "client_id": {"c 1"}, "redirect_uri": {"https://p.example/cb?x=1"}, "state": {"s&t"},
		"user_scope": {"a,b"}, "access_type": {"offline"}, "audience": {"c 1"},
	}
	if diff := cmp.Diff(want, u.Query()); diff != "" {
		t.Error(diff)
	}
}

func TestAuthorizeURLRefuses(t *testing.T) {
	auth, _ := oauthtest.Pack(t).AuthByID("oauth")
	machine, _ := oauthtest.Pack(t).AuthByID("machine")
	good := oauth.AuthorizeInput{RedirectURI: "https://p.example/cb", State: "s", Verifier: oauth.NewVerifier()}
	app := providers.App{ClientID: "c"}
	tests := []struct {
		name string
		auth *providers.Auth
		app  providers.App
		edit func(*oauth.AuthorizeInput)
		want string
	}{
		{"scope with space", auth, app, func(in *oauth.AuthorizeInput) { in.Scopes = []string{"a", "b c"} }, "invalid_params: scopes[1]: must not hold the separator of scopes"},
		{"empty scope", auth, app, func(in *oauth.AuthorizeInput) { in.Scopes = []string{""} }, "invalid_params: scopes[0]: must not be empty"},
		{"control in scope", auth, app, func(in *oauth.AuthorizeInput) { in.Scopes = []string{"a\n"} }, "invalid_params: scopes[0]: must be printable ASCII without spaces, \" and \\"},
		{"many scopes", auth, app, func(in *oauth.AuthorizeInput) { in.Scopes = make([]string, 101) }, "invalid_params: scopes: has 101 entries, at most 100 are allowed"},
		{"hint", auth, app, func(in *oauth.AuthorizeInput) { in.LoginHint = "a\x00" }, "invalid_params: login_hint: must be at most 256 bytes without control characters"},
		{"no state", auth, app, func(in *oauth.AuthorizeInput) { in.State = "" }, "building the authorization URL: RedirectURI and State are needed"},
		{"no verifier", auth, app, func(in *oauth.AuthorizeInput) { in.Verifier = providers.Secret{} }, "building the authorization URL: Verifier is needed: the provider takes PKCE"},
		{"no client id", auth, providers.App{}, func(*oauth.AuthorizeInput) {}, "building the authorization URL: the app has no client id; set it with plugfn app set strict; misconfigured"},
		{"no page", machine, app, func(*oauth.AuthorizeInput) {}, "building the authorization URL: auth machine has no authorization page; misconfigured"},
	}
	for _, tt := range tests {
		in := good
		tt.edit(&in)
		link, err := oauth.AuthorizeURL(tt.auth, tt.app, in)
		if err == nil || err.Error() != tt.want {
			t.Errorf("%s: got %q, %v", tt.name, link, err)
		}
	}
}

func TestCallback(t *testing.T) {
	pack := oauthtest.Pack(t, "authorize: {", "authorize: {issuer: https://auth.strict.example, ")
	auth, _ := pack.AuthByID("oauth")
	tests := []struct {
		query, code, want string
		class             oauth.Class
	}{
		{query: "code=c1&state=s", code: "c1"},
		{query: "code=c1&state=s&iss=https://auth.strict.example", code: "c1"},
		{query: "code=c1&iss=https://evil.example", want: "iss is that of another provider", class: oauth.Transient},
		{query: "code=c1&iss=", want: "iss is that of another provider", class: oauth.Transient},
		{query: "error=access_denied&code=c1", want: "the user said no: access_denied", class: oauth.Denied},
		{query: "error=invalid_scope", want: "invalid_scope", class: oauth.Misconfigured},
		{query: "error=server_error", want: "server_error", class: oauth.Transient},
		{query: "error=<script>", want: "the provider refuses; transient", class: oauth.Transient},
		{query: "error=authorization_pending", want: "the provider refuses", class: oauth.Transient},
		{query: "code=a&code=b", want: "code is there twice", class: oauth.Transient},
		{query: "code=a&error=x&error=y", want: "error is there twice", class: oauth.Transient},
		{query: "code=%0a", want: "cannot be one", class: oauth.Transient},
		{query: "code=" + strings.Repeat("x", 5000), want: "cannot be one", class: oauth.Transient},
		{query: "", want: "no code", class: oauth.Transient},
	}
	for _, tt := range tests {
		query, err := url.ParseQuery(tt.query)
		if err != nil {
			t.Fatal(err)
		}
		code, err := oauth.Callback(auth, query)
		if tt.want == "" {
			if err != nil || reveal(code) != tt.code {
				t.Errorf("%s: got %v", tt.query, err)
			}
			continue
		}
		if f := wantFailure(t, err, tt.class); !strings.Contains(f.Error(), tt.want) || !code.IsZero() {
			t.Errorf("%s: got %v", tt.query, err)
		}
	}
}
