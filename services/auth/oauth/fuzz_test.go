package oauth_test

import (
	"errors"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/plugfn/plugfn/pkg/providers"
	"github.com/plugfn/plugfn/services/auth/oauth"
	"github.com/plugfn/plugfn/services/auth/oauthtest"
)

// FuzzTokenResponse: whatever a token endpoint answers, nothing panics, there is
// a usable token or a failure and never both, and no failure shows what was sent.
func FuzzTokenResponse(f *testing.F) {
	for _, body := range []string{
		`{"access_token":"a","refresh_token":"r","expires_in":3600,"scope":"a b"}`,
		`{"access_token":"a","expires_in":"1e999","scope":["a",null]}`,
		`{"ok":false,"error":"invalid_refresh_token"}`,
		`{"error":{"code":"` + sentRefresh + `"}}`,
		`{"error":"` + sentSecret + `","access_token":""}`,
		`{"authed_user":{"access_token":"u"}}`,
		`access_token=a&expires_in=%33600&scope=repo%2Cgist`,
		`error=` + sentRefresh, `{"access_token":"\ud800"}`, `{"access_token":`, "\ufeff{}", `[[[[`, "", "=", "&&=&",
		"<html>" + sentRefresh, `{"expires_at":"2026-01-02T03:04:05Z","access_token":"a"}`,
	} {
		f.Add(200, "application/json", "", body)
		f.Add(400, "text/html", "120", body)
	}
	f.Add(307, "", "-1", "")
	f.Add(204, "application/x-www-form-urlencoded", "Fri, 02 Jan 2026 03:05:05 GMT", "access_token=a")
	auth, _ := oauthtest.Pack(f, "token: {url", "extract: {access_token: [json:/access_token, json:/authed_user/access_token], expires_at: json:/expires_at}\n    token: {url").AuthByID("oauth")
	f.Fuzz(func(t *testing.T, status int, contentType, retryAfter, body string) {
		if status < 100 || status > 999 {
			return
		}
		c := canned{status: status, contentType: contentType, header: http.Header{"Retry-After": {retryAfter}}, body: body}
		grant, err := refresh(t, auth, c)
		if (grant == nil) == (err == nil) {
			t.Fatalf("got %v and %v", grant, err)
		}
		if err != nil {
			var f *oauth.Failure
			_ = errors.As(err, &f)
			if !slices.Contains([]oauth.Class{oauth.Transient, oauth.Dead, oauth.Misconfigured, oauth.Ambiguous, oauth.Denied}, f.Class) {
				t.Errorf("class is %q", f.Class)
			}
			if f.RetryAfter < 0 || (f.Class == oauth.Ambiguous) != (status/100 == 2 && !f.Body.IsZero() || status/100 == 2 && body == "") {
				t.Errorf("got %+v", f)
			}
			return
		}
		if status/100 != 2 {
			t.Errorf("status %d gives a token", status)
		}
		for _, s := range []providers.Secret{grant.AccessToken, grant.RefreshToken} {
			if text := reveal(s); text == "" || strings.ContainsFunc(text, func(c rune) bool { return c <= ' ' || c > '~' }) {
				t.Errorf("a token is %q", text)
			}
		}
		if !grant.ExpiresAt.IsZero() && grant.ExpiresAt.Before(epoch) && !strings.Contains(body, "expires_at") {
			t.Errorf("expires at %s", grant.ExpiresAt)
		}
	})
}

// FuzzOtherAnswers: the same for the start of a device flow, an identity and a
// revocation, and what they give is fit to be shown.
func FuzzOtherAnswers(f *testing.F) {
	for _, body := range []string{
		`{"device_code":"d","user_code":"A-B","verification_uri":"https://p.example/d","expires_in":900,"interval":5}`,
		`{"device_code":"d","user_code":"A-B","verification_url":"javascript:alert(1)"}`,
		`device_code=d&user_code=A&verification_uri=http%3A%2F%2Fp.example`,
		`{"id":"u1","login":"mona"}`, `{"id":1e400,"login":["x"]}`, `{"id":"a\u0000b"}`, `{"error":"invalid_token"}`, "", "<html>",
	} {
		f.Add(200, body)
		f.Add(404, body)
	}
	auth, _ := oauthtest.Pack(f).AuthByID("oauth")
	app := providers.App{ClientID: "client", ClientSecret: secret(sentSecret)}
	f.Fuzz(func(t *testing.T, status int, body string) {
		if status < 100 || status > 999 {
			return
		}
		client := oauth.New(oauth.Config{HTTP: &http.Client{Transport: canned{status: status, body: body}}})
		code, err := client.StartDevice(t.Context(), auth, app, nil)
		if (code == nil) == (err == nil) {
			t.Fatalf("got %v and %v", code, err)
		}
		if err != nil {
			quiet(t, err, body)
		} else if u, err := url.Parse(code.VerificationURI); err != nil || u.Scheme != "http" && u.Scheme != "https" || code.Interval <= 0 || code.DeviceCode.IsZero() {
			t.Errorf("got %+v", code)
		}
		cred := providers.Credential{Token: secret(gotAccess)}
		account, err := client.Identity(t.Context(), auth, app, cred)
		if err != nil {
			quiet(t, err, body)
		} else if account.ID == "" || len(account.ID)+len(account.Label) > 512 || strings.ContainsAny(account.ID+account.Label, "\x00\r\n") {
			t.Errorf("got %+v", account)
		}
		done, err := client.Revoke(t.Context(), auth, app, cred, secret(sentRefresh))
		if done.Succeeded != (err == nil) || done.Succeeded && status/100 != 2 && status/100 != 1 {
			t.Errorf("got %+v, %v", done, err)
		}
		if err != nil {
			quiet(t, err, body)
		}
	})
}

// FuzzCallback: a callback gives a code or a failure that shows nothing of it.
func FuzzCallback(f *testing.F) {
	for _, query := range []string{
		"code=c1&state=s", "error=access_denied", "code=a&code=b", "error=" + sentRefresh + "%20x", "iss=x&code=y", "%zz", "code=%00", "error=&code=",
	} {
		f.Add(query)
	}
	auth, _ := oauthtest.Pack(f, "authorize: {", "authorize: {issuer: https://auth.strict.example, ").AuthByID("oauth")
	f.Fuzz(func(t *testing.T, raw string) {
		query, err := url.ParseQuery(raw)
		if err != nil {
			return
		}
		code, err := oauth.Callback(auth, query)
		if code.IsZero() == (err == nil) {
			t.Fatalf("got %d bytes and %v", len(code.Reveal()), err)
		}
		if err == nil && (query.Get("error") != "" || reveal(code) != query.Get("code")) {
			t.Errorf("%q gives a code", raw)
		}
		if err != nil && len(err.Error()) > 300 {
			t.Errorf("%q gives %v", raw, err)
		}
	})
}
