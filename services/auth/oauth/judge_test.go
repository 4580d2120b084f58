package oauth_test

import (
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/zitadel/oidc/v3/example/server/exampleop"
	"github.com/zitadel/oidc/v3/example/server/storage"

	"github.com/plugfn/plugfn/pkg/providers"
	"github.com/plugfn/plugfn/services/auth/oauth"
	"github.com/plugfn/plugfn/services/auth/oauthtest"
)

// newJudge starts an OpenID provider that others wrote.
func newJudge(t *testing.T, clients ...*storage.Client) string {
	t.Helper()
	known := map[string]*storage.Client{}
	for _, c := range clients {
		known[c.GetID()] = c
	}
	server := httptest.NewUnstartedServer(nil)
	issuer := "http://" + server.Listener.Addr().String()
	logs := slog.Default()
	t.Cleanup(func() { slog.SetDefault(logs) }) // the example replaces it
	store := storage.NewStorageWithClients(storage.NewUserStore(issuer), known)
	server.Config.Handler = exampleop.SetupServer(issuer, store, slog.New(slog.DiscardHandler), false)
	server.Start()
	t.Cleanup(server.Close)
	return issuer
}

// TestIndependentJudge runs code flow, refresh, identity and revocation against
// a server that knows nothing of this package.
func TestIndependentJudge(t *testing.T) {
	issuer := newJudge(t,
		storage.WebClient("web", "web-s3cret", oauthtest.RedirectURI),
		storage.NativeClient("native", "http://localhost/auth/callback"))
	for _, tt := range []struct{ id, secret, way, redirectURI string }{
		{"web", "web-s3cret", "basic", oauthtest.RedirectURI},
		{"web", "web-s3cret", "post", oauthtest.RedirectURI},
		{"native", "", "none", "http://localhost/auth/callback"},
	} {
		t.Run(tt.id+" "+tt.way, func(t *testing.T) {
			auth := loadAuth(t, `  - id: oidc
    type: oauth2
    default_scopes: [openid, profile, offline_access]
    authorize: {url: https://op.lamp.example/auth, issuer: "https://op.lamp.example"}
    token: {url: https://op.lamp.example/oauth/token, client_auth: `+tt.way+`}
    identity: {request: {method: GET, path: /userinfo}, account: json:/sub, label: json:/name}
    probe: {method: GET, path: /userinfo}
    revoke: {url: https://op.lamp.example/revoke, client_auth: `+strings.Replace(tt.way, "none", "post", 1)+`}
`)
			app := providers.App{BaseURL: issuer, AuthBaseURL: issuer, ClientID: tt.id, ClientSecret: secret(tt.secret)}
			judge(t, auth, app, tt.redirectURI)
		})
	}
}

func judge(t *testing.T, auth *providers.Auth, app providers.App, redirectURI string) {
	client := oauth.New(oauth.Config{})
	verifier := oauth.NewVerifier()
	link, err := oauth.AuthorizeURL(auth, app, oauth.AuthorizeInput{RedirectURI: redirectURI, State: "s", Verifier: verifier})
	if err != nil {
		t.Fatal(err)
	}
	back, err := oauthtest.Browse(t.Context(), link, redirectURI, map[string]string{"username": "test-user@127.0.0.1", "password": "verysecure"})
	if err != nil {
		t.Fatal(err)
	}
	query := back.Query()
	query.Del("iss") // the test's provider has another name
	code, err := oauth.Callback(auth, query)
	if err != nil {
		t.Fatal(err)
	}
	in := oauth.ExchangeInput{Code: code, Verifier: oauth.NewVerifier(), RedirectURI: redirectURI}
	_, err = client.Exchange(t.Context(), auth, app, in)
	wantClass(t, err, oauth.Dead) // with another verifier
	in.Verifier = verifier
	grant, err := client.Exchange(t.Context(), auth, app, in)
	if err != nil {
		t.Fatal(err)
	}
	if grant.RefreshToken.IsZero() || grant.ExpiresAt.Before(time.Now()) || grant.Missing != nil {
		t.Errorf("got %+v", grant)
	}
	account, err := client.Identity(t.Context(), auth, app, token(grant))
	if err != nil || account != (oauth.Account{ID: "id1", Label: "Test User"}) {
		t.Errorf("the account is %+v, %v", account, err)
	}
	next, err := client.Refresh(t.Context(), auth, app, grant.RefreshToken)
	if err != nil {
		t.Fatal(err)
	}
	if err := client.Probe(t.Context(), auth, app, token(next)); err != nil {
		t.Error(err)
	}
	_, err = client.Refresh(t.Context(), auth, app, grant.RefreshToken)
	if f := wantFailure(t, err, oauth.Dead); f.Code != "invalid_grant" || f.Status != http.StatusBadRequest {
		t.Errorf("a spent refresh token gives %v", err)
	}
	if done, err := client.Revoke(t.Context(), auth, app, token(next), next.RefreshToken); err != nil || !done.Succeeded {
		t.Errorf("revoking: %+v, %v", done, err)
	}
	_, err = client.Refresh(t.Context(), auth, app, next.RefreshToken)
	wantClass(t, err, oauth.Dead)
}
