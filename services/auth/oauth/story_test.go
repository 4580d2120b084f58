package oauth_test

import (
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/plugfn/plugfn/pkg/providers"
	"github.com/plugfn/plugfn/services/auth/oauth"
	"github.com/plugfn/plugfn/services/auth/oauthtest"
)

// rig is a client before a strict server.
type rig struct {
	*oauthtest.Server
	client *oauth.Client
	auth   *providers.Auth
	app    providers.App
}

func newRig(t *testing.T, cfg oauthtest.Config, changes ...string) *rig {
	t.Helper()
	s := oauthtest.New(t, cfg)
	auth, ok := oauthtest.Pack(t, changes...).AuthByID("oauth")
	if !ok {
		t.Fatal("no auth")
	}
	return &rig{Server: s, client: oauth.New(oauth.Config{Now: cfg.Now}), auth: auth, app: s.App()}
}

// consent goes through the browser and returns what Exchange needs.
func (r *rig) consent(t *testing.T, scopes ...string) oauth.ExchangeInput {
	t.Helper()
	verifier := oauth.NewVerifier()
	link, err := oauth.AuthorizeURL(r.auth, r.app, oauth.AuthorizeInput{
		RedirectURI: oauthtest.RedirectURI, State: "state-1", Verifier: verifier, Scopes: scopes, LoginHint: "mona",
	})
	if err != nil {
		t.Fatal(err)
	}
	back, err := r.Authorize(t.Context(), link)
	if err != nil {
		t.Fatal(err)
	}
	if got := back.Query().Get("state"); got != "state-1" {
		t.Errorf("state is %q", got)
	}
	code, err := oauth.Callback(r.auth, back.Query())
	if err != nil {
		t.Fatal(err)
	}
	return oauth.ExchangeInput{Code: code, Verifier: verifier, RedirectURI: oauthtest.RedirectURI, Scopes: scopes}
}

func (r *rig) connect(t *testing.T, scopes ...string) *oauth.Grant {
	t.Helper()
	grant, err := r.client.Exchange(t.Context(), r.auth, r.app, r.consent(t, scopes...))
	if err != nil {
		t.Fatal(err)
	}
	return grant
}

func secret(text string) providers.Secret { return providers.NewSecret([]byte(text)) }

func reveal(s providers.Secret) string { return string(s.Reveal()) }

func token(g *oauth.Grant) providers.Credential { return providers.Credential{Token: g.AccessToken} }

// wantFailure asserts that err is a Failure of a class, and returns it.
func wantFailure(t *testing.T, err error, class oauth.Class) *oauth.Failure {
	t.Helper()
	var f *oauth.Failure
	if !errors.As(err, &f) {
		t.Fatalf("got %v, want a failure", err)
	}
	if f.Class != class {
		t.Fatalf("got %v, want class %s", err, class)
	}
	return f
}

// wantClass is wantFailure where only the class matters.
func wantClass(t *testing.T, err error, class oauth.Class) {
	t.Helper()
	_ = wantFailure(t, err, class)
}

func TestStory(t *testing.T) {
	r := newRig(t, oauthtest.Config{})
	before := time.Now()
	grant := r.connect(t, "read", "admin")
	if grant.RefreshToken.IsZero() || grant.ExpiresAt.Before(before.Add(time.Hour)) || grant.ExpiresAt.After(time.Now().Add(time.Hour)) {
		t.Errorf("got %+v", grant)
	}
	if diff := cmp.Diff([]string{"read", "admin"}, grant.Scopes); diff != "" || grant.Missing != nil {
		t.Errorf("scopes %s, missing %v", diff, grant.Missing)
	}
	account, err := r.client.Identity(t.Context(), r.auth, r.app, token(grant))
	if err != nil || account != (oauth.Account{ID: "mona", Label: "mona"}) {
		t.Errorf("the account is %+v, %v", account, err)
	}
	if err := r.client.Probe(t.Context(), r.auth, r.app, token(grant)); err != nil {
		t.Errorf("the probe says %v", err)
	}

	next, err := r.client.Refresh(t.Context(), r.auth, r.app, grant.RefreshToken)
	if err != nil {
		t.Fatal(err)
	}
	if next.RefreshToken.Equal(grant.RefreshToken) || next.AccessToken.Equal(grant.AccessToken) {
		t.Error("nothing rotated")
	}

	done, err := r.client.Revoke(t.Context(), r.auth, r.app, token(next), next.RefreshToken)
	if err != nil || done != (oauth.Revocation{Attempted: true, Succeeded: true}) {
		t.Errorf("revoking: %+v, %v", done, err)
	}
	wantClass(t, r.client.Probe(t.Context(), r.auth, r.app, token(next)), oauth.Dead)
	_, err = r.client.Refresh(t.Context(), r.auth, r.app, next.RefreshToken)
	wantClass(t, err, oauth.Dead)

	l := r.Ledger()
	if l.Codes != 1 || l.Exchanges != 1 || l.Refreshes != 1 || l.Reuses != 0 || l.Revocations != 1 || l.LiveFamilies != 0 || l.DeadFamilies != 1 {
		t.Errorf("the ledger says %+v", l)
	}
}

func TestReuseKillsTheConnection(t *testing.T) {
	r := newRig(t, oauthtest.Config{})
	grant := r.connect(t)
	next, err := r.client.Refresh(t.Context(), r.auth, r.app, grant.RefreshToken)
	if err != nil {
		t.Fatal(err)
	}
	_, err = r.client.Refresh(t.Context(), r.auth, r.app, grant.RefreshToken)
	if f := wantFailure(t, err, oauth.Dead); f.Code != "invalid_grant" || f.Status != http.StatusBadRequest || !f.Sent {
		t.Errorf("got %+v", f)
	}
	wantClass(t, r.client.Probe(t.Context(), r.auth, r.app, token(next)), oauth.Dead)
	if l := r.Ledger(); l.Reuses != 1 || l.DeadFamilies != 1 {
		t.Errorf("the ledger says %+v", l)
	}
}

func TestExchangeIsStrict(t *testing.T) {
	r := newRig(t, oauthtest.Config{})
	for name, spoil := range map[string]func(*oauth.ExchangeInput){
		"other verifier":     func(in *oauth.ExchangeInput) { in.Verifier = oauth.NewVerifier() },
		"other redirect URI": func(in *oauth.ExchangeInput) { in.RedirectURI += "/" },
		"other code":         func(in *oauth.ExchangeInput) { in.Code = secret("code_1") },
	} {
		in := r.consent(t)
		spoil(&in)
		_, err := r.client.Exchange(t.Context(), r.auth, r.app, in)
		if f := wantFailure(t, err, oauth.Dead); f.Code != "invalid_grant" {
			t.Errorf("%s: got %v", name, err)
		}
	}
	in := r.consent(t)
	if _, err := r.client.Exchange(t.Context(), r.auth, r.app, in); err != nil {
		t.Fatal(err)
	}
	_, err := r.client.Exchange(t.Context(), r.auth, r.app, in)
	wantClass(t, err, oauth.Dead)
	if l := r.Ledger(); l.Reuses != 1 || l.LiveFamilies != 0 {
		t.Errorf("after a code was used twice the ledger says %+v", l)
	}
}

func TestClientAuthentication(t *testing.T) {
	for _, way := range []providers.ClientAuth{providers.ClientAuthBasic, providers.ClientAuthPost, providers.ClientAuthNone} {
		// The id and the secret need form-encoding inside of basic.
		c := oauthtest.Client{ID: "cl:ient/1 %", Secret: "s3:cr+t&%é", Auth: way}
		if way == providers.ClientAuthNone {
			c.Secret = ""
		}
		r := newRig(t, oauthtest.Config{Clients: []oauthtest.Client{c}}, "token, client_auth: basic}", "token, client_auth: "+string(way)+"}")
		grant := r.connect(t)
		if _, err := r.client.Refresh(t.Context(), r.auth, r.app, grant.RefreshToken); err != nil {
			t.Errorf("%s: %v", way, err)
		}
		r.app.ClientSecret = secret("wrong-s3cret")
		if way != providers.ClientAuthNone {
			_, err := r.client.Refresh(t.Context(), r.auth, r.app, grant.RefreshToken)
			if f := wantFailure(t, err, oauth.Misconfigured); f.Code != "invalid_client" || f.Status != http.StatusUnauthorized {
				t.Errorf("%s: got %v", way, err)
			}
		}
		r.app.ClientID = ""
		_, err := r.client.Refresh(t.Context(), r.auth, r.app, grant.RefreshToken)
		if f := wantFailure(t, err, oauth.Misconfigured); f.Sent || !strings.Contains(err.Error(), "plugfn app set strict") {
			t.Errorf("%s: without client id: %v", way, err)
		}
	}
}

func TestMissingScopes(t *testing.T) {
	cfg := oauthtest.Config{Grantable: []string{"repo", "read:user"}}
	r := newRig(t, cfg, "authorize: {", `authorize: {scope: {implies: {repo: [repo:status], "repo:status": [deeper], deeper: [repo]}}, `)
	grant := r.connect(t, "repo", "repo:status", "deeper", "read:user", "gist")
	if diff := cmp.Diff([]string{"repo", "read:user"}, grant.Scopes); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]string{"gist"}, grant.Missing); diff != "" {
		t.Error(diff)
	}
	r.SetQuirks(oauthtest.Quirks{NoScope: true}) // all of them were granted then
	grant = r.connect(t, "repo", "gist")
	if diff := cmp.Diff([]string{"repo", "gist"}, grant.Scopes); diff != "" || grant.Missing != nil {
		t.Error(diff, grant.Missing)
	}
}

func TestDenied(t *testing.T) {
	r := newRig(t, oauthtest.Config{})
	link, err := oauth.AuthorizeURL(r.auth, r.app, oauth.AuthorizeInput{
		RedirectURI: oauthtest.RedirectURI, State: "state-1", Verifier: oauth.NewVerifier(),
	})
	if err != nil {
		t.Fatal(err)
	}
	back, err := r.Deny(t.Context(), link)
	if err != nil {
		t.Fatal(err)
	}
	_, err = oauth.Callback(r.auth, back.Query())
	if f := wantFailure(t, err, oauth.Denied); f.Code != "access_denied" {
		t.Errorf("got %v", err)
	}
}

func TestClientCredentials(t *testing.T) {
	r := newRig(t, oauthtest.Config{Clients: []oauthtest.Client{
		{ID: "client", Secret: "client-s3cret", Auth: providers.ClientAuthBasic},
		{ID: "own", Secret: "own-s3cret", Auth: providers.ClientAuthBasic},
	}})
	auth, _ := oauthtest.Pack(t).AuthByID("machine")
	for _, cred := range []providers.Credential{
		{},
		{Fields: map[string]providers.Secret{"client_id": secret("own"), "client_secret": secret("own-s3cret")}},
	} {
		grant, err := r.client.Mint(t.Context(), auth, r.app, cred, nil)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff([]string{"read"}, grant.Scopes); diff != "" || !grant.RefreshToken.IsZero() {
			t.Errorf("%s, %+v", diff, grant)
		}
		if err := r.client.Probe(t.Context(), auth, r.app, token(grant)); err != nil {
			t.Error(err)
		}
	}
	_, err := r.client.Mint(t.Context(), r.auth, r.app, providers.Credential{}, nil)
	wantClass(t, err, oauth.Misconfigured)
	r.app.ClientSecret = secret("wrong-s3cret")
	_, err = r.client.Mint(t.Context(), auth, r.app, providers.Credential{}, nil)
	wantClass(t, err, oauth.Misconfigured)
	own := map[string]providers.Secret{"client_id": secret("own"), "client_secret": secret("wrong-s3cret")}
	_, err = r.client.Mint(t.Context(), auth, r.app, providers.Credential{Fields: own}, nil)
	wantClass(t, err, oauth.Dead) // its own client, nobody else's trouble
	if l := r.Ledger(); l.Minted != 2 {
		t.Errorf("the ledger says %+v", l)
	}
}

func TestFaults(t *testing.T) {
	r := newRig(t, oauthtest.Config{})
	grant := r.connect(t)
	refresh := func() error {
		_, err := r.client.Refresh(t.Context(), r.auth, r.app, grant.RefreshToken)
		return err
	}
	r.Fail(oauthtest.Fault{Status: 503, RetryAfter: 7 * time.Second}, oauthtest.Fault{Status: 429}, oauthtest.Fault{Status: 403})
	if f := wantFailure(t, refresh(), oauth.Transient); f.Status != 503 || f.RetryAfter != 7*time.Second || !f.Sent {
		t.Errorf("got %+v", f)
	}
	wantClass(t, refresh(), oauth.Transient)
	wantClass(t, refresh(), oauth.Transient)
	if l := r.Ledger(); l.Refreshes != 0 {
		t.Errorf("the ledger says %+v", l)
	}
	r.Fail(oauthtest.Fault{Garbled: true})
	f := wantFailure(t, refresh(), oauth.Ambiguous)
	if got := reveal(f.Body); got != `{"access_token": "at_half` || !f.Sent {
		t.Errorf("the body is %q", got)
	}
	grant = r.connect(t)
	r.Fail(oauthtest.Fault{Drop: true})
	if f := wantFailure(t, refresh(), oauth.Transient); !f.Sent {
		t.Errorf("a lost answer gives %+v", f)
	}
	if l := r.Ledger(); l.Refreshes != 2 {
		t.Errorf("the client asked again by itself: %+v", l)
	}
}

func TestUnreachable(t *testing.T) {
	r := newRig(t, oauthtest.Config{})
	r.app.AuthBaseURL = "http://127.0.0.1:1"
	_, err := r.client.Refresh(t.Context(), r.auth, r.app, secret("rt-s3cret"))
	if f := wantFailure(t, err, oauth.Transient); f.Sent || f.Status != 0 {
		t.Errorf("got %+v", f)
	}
	r.app.AuthBaseURL = "://"
	_, err = r.client.Refresh(t.Context(), r.auth, r.app, secret("rt-s3cret"))
	wantClass(t, err, oauth.Misconfigured)
}
