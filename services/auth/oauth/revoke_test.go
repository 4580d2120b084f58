package oauth_test

import (
	"net/url"
	"strings"
	"testing"

	"github.com/plugfn/plugfn/pkg/providers"
	"github.com/plugfn/plugfn/services/auth/oauth"
	"github.com/plugfn/plugfn/services/auth/oauthtest"
)

func parseForm(t *testing.T, body string) map[string]string {
	t.Helper()
	form, err := url.ParseQuery(body)
	if err != nil {
		t.Fatal(err)
	}
	fields := map[string]string{}
	for name := range form {
		fields[name] = form.Get(name)
	}
	return fields
}

func TestRevokeBothKinds(t *testing.T) {
	r := newRig(t, oauthtest.Config{})
	for _, refresh := range []bool{true, false} {
		g := r.connect(t)
		given := g.RefreshToken
		if !refresh {
			given = providers.Secret{}
		}
		done, err := r.client.Revoke(t.Context(), r.auth, r.app, token(g), given)
		if err != nil || !done.Succeeded || r.IsLive(reveal(g.AccessToken)) {
			t.Errorf("with a refresh token %t: %+v, %v", refresh, done, err)
		}
		if done, err := r.client.Revoke(t.Context(), r.auth, r.app, token(g), given); err != nil || !done.Succeeded {
			t.Errorf("again: %+v, %v", done, err)
		}
	}
}

func TestRevokeFails(t *testing.T) {
	const basic = "    revoke: {url: /gone, client_auth: basic, method: DELETE, encoding: json, success: status == 204}\n"
	const plain = "    revoke: {url: /gone, method: GET}\n"
	const oauth2 = "  - id: oauth\n    type: oauth2\n    authorize: {url: https://auth.lamp.example/a}\n    token: {url: https://auth.lamp.example/t, client_auth: post}\n"
	tests := []struct {
		name, block string
		status      int
		body        string
		class       oauth.Class // "": it worked
	}{
		{"gone", basic, 204, "", ""},
		{"not this status", basic, 200, "", oauth.Dead},
		{"unknown grant", basic, 404, `{"message":"Not Found"}`, oauth.Dead},
		{"wrong secret", basic, 401, `{"message":"Bad credentials"}`, oauth.Misconfigured},
		{"busy", basic, 429, "", oauth.Transient},
		{"down", basic, 503, "", oauth.Transient},
		{"code", basic, 400, `{"error":"invalid_client"}`, oauth.Misconfigured},
		{"unknown code", basic, 400, `{"error":"what"}`, oauth.Transient},
		{"any success", plain, 202, "<html>", ""},
		{"unauthorized", plain, 401, "", oauth.Dead},
	}
	for _, tt := range tests {
		auth := loadAuth(t, oauth2+tt.block)
		app, asked := tokenServer(t, tt.status, tt.body)
		app.ClientID, app.ClientSecret = "client", secret(sentSecret)
		done, err := oauth.New(oauth.Config{}).Revoke(t.Context(), auth, app, providers.Credential{Token: secret(gotAccess)}, secret(sentRefresh))
		if !done.Attempted || done.Succeeded != (tt.class == "") || (err == nil) != done.Succeeded {
			t.Errorf("%s: %+v, %v", tt.name, done, err)
		}
		if err != nil {
			wantClass(t, err, tt.class)
			quiet(t, err, tt.body)
		}
		got := asked()
		if tt.block == plain && got.path != "/api/gone?token="+sentRefresh {
			t.Errorf("%s: asked %s", tt.name, got.path)
		}
		if tt.block == basic && (got.method != "DELETE" || got.path != "/api/gone" || got.body != `{"token":"`+sentRefresh+`"}` || !strings.HasPrefix(got.header.Get("Authorization"), "Basic ")) {
			t.Errorf("%s: asked %+v", tt.name, got)
		}
	}
	none := loadAuth(t, oauth2)
	if done, err := oauth.New(oauth.Config{}).Revoke(t.Context(), none, providers.App{}, providers.Credential{}, providers.Secret{}); err != nil || done.Attempted {
		t.Errorf("without a way to: %+v, %v", done, err)
	}
}
