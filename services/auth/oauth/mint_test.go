package oauth_test

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"testing/fstest"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/google/go-cmp/cmp"

	"github.com/plugfn/plugfn/pkg/providers"
	"github.com/plugfn/plugfn/services/auth/oauth"
)

const packHead = `apiVersion: plugfn.dev/v1
kind: Provider
name: lamp
version: 1.0.0
display: {name: Lamp}
http:
  base_url: https://api.lamp.example
  headers: {Lamp-Version: "3"}
actions:
  me.get: {summary: Read, effect: read, params: {type: object, additionalProperties: false}, request: {method: GET, path: /me}}
auth:
`

// loadAuth loads the one auth block of a pack.
func loadAuth(t *testing.T, text string) *providers.Auth {
	t.Helper()
	pack, err := providers.Load(fstest.MapFS{"lamp/provider.yaml": {Data: []byte(packHead + text)}}, "lamp")
	if err != nil {
		t.Fatal(err)
	}
	return pack.Auth[0]
}

const jwtAuth = `  - id: service
    type: jwt
    fields: [{name: email, label: Email, public: true}, {name: key, label: Private key}, {name: key_id, label: Key id, public: true}]
    default_scopes: [a, b]
    jwt:
      algorithm: RS256
      key: "{{credential.key}}"
      header: {kid: "{{credential.key_id}}"}
      claims: {iss: "{{credential.email}}", aud: https://auth.lamp.example/token, scope: "{{scopes}}", jti: "{{nonce}}", sub2: "{{app.client_id}}"}
      lifetime: 10m
      backdate: 30s
`

func pemOf(t *testing.T, kind string, der []byte, err error) providers.Secret {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	return providers.NewSecret(pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}))
}

func rsaKey(t *testing.T) *rsa.PrivateKey {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func ecKey(t *testing.T, curve elliptic.Curve) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(curve, rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// verify lets go-jose judge an assertion, and returns header and claims.
func verify(t *testing.T, text string, algorithm jose.SignatureAlgorithm, key any) (jose.Header, map[string]any) {
	t.Helper()
	signed, err := jose.ParseSigned(text, []jose.SignatureAlgorithm{algorithm})
	if err != nil {
		t.Fatal(err)
	}
	payload, err := signed.Verify(key)
	if err != nil {
		t.Fatal(err)
	}
	var claims map[string]any
	if err := json.Unmarshal(payload, &claims); err != nil {
		t.Fatal(err)
	}
	return signed.Signatures[0].Header, claims
}

func TestAssertionIsTheToken(t *testing.T) {
	rsaPrivate, ecPrivate := rsaKey(t), ecKey(t, elliptic.P256())
	pkcs8RSA, err := x509.MarshalPKCS8PrivateKey(rsaPrivate)
	inPKCS8 := pemOf(t, "PRIVATE KEY", pkcs8RSA, err)
	sec1, err := x509.MarshalECPrivateKey(ecPrivate)
	inSEC1 := pemOf(t, "EC PRIVATE KEY", sec1, err)
	raw := []byte("0123456789abcdef0123456789abcdef")
	tests := []struct {
		name, algorithm, encoding string
		key                       providers.Secret
		public                    any
	}{
		{"PKCS 1", "RS256", "", pemOf(t, "RSA PRIVATE KEY", x509.MarshalPKCS1PrivateKey(rsaPrivate), nil), &rsaPrivate.PublicKey},
		{"PKCS 8", "RS256", "", inPKCS8, &rsaPrivate.PublicKey},
		{"in one line", "RS256", "", secret(strings.ReplaceAll(reveal(inPKCS8), "\n", `\n`)), &rsaPrivate.PublicKey},
		{"SEC 1", "ES256", "", inSEC1, &ecPrivate.PublicKey},
		{"text", "HS256", "", providers.NewSecret(raw), raw},
		{"hex", "HS256", "key_encoding: hex", secret(hex.EncodeToString(raw)), raw},
		{"base64", "HS256", "key_encoding: base64", secret(base64.StdEncoding.EncodeToString(raw)), raw},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			text := strings.Replace(jwtAuth, "algorithm: RS256", "algorithm: "+tt.algorithm, 1)
			if tt.encoding != "" {
				text = strings.Replace(text, "lifetime: 10m", "lifetime: 10m\n      "+tt.encoding, 1)
			}
			client := oauth.New(oauth.Config{Now: func() time.Time { return epoch.Add(time.Millisecond) }})
			cred := providers.Credential{Fields: map[string]providers.Secret{"email": secret("svc@lamp.example"), "key": tt.key, "key_id": secret("k1")}}
			grant, err := client.Mint(t.Context(), loadAuth(t, text), providers.App{}, cred, nil)
			if err != nil {
				t.Fatal(err)
			}
			header, claims := verify(t, reveal(grant.AccessToken), jose.SignatureAlgorithm(tt.algorithm), tt.public)
			if nonce, _ := claims["jti"].(string); len(nonce) < 20 {
				t.Errorf("jti is %q", nonce)
			}
			delete(claims, "jti")
			issued := epoch.Add(-30 * time.Second)
			want := map[string]any{
				"iss": "svc@lamp.example", "aud": "https://auth.lamp.example/token", "scope": "a b",
				"iat": float64(issued.Unix()), "exp": float64(issued.Add(10 * time.Minute).Unix()),
			}
			if diff := cmp.Diff(want, claims); diff != "" || header.KeyID != "k1" {
				t.Errorf("kid %q, claims %s", header.KeyID, diff)
			}
			if !grant.ExpiresAt.Equal(issued.Add(10 * time.Minute)) {
				t.Errorf("it expires at %s", grant.ExpiresAt)
			}
		})
	}
}

func TestAssertionRefuses(t *testing.T) {
	rsaPEM := pemOf(t, "RSA PRIVATE KEY", x509.MarshalPKCS1PrivateKey(rsaKey(t)), nil)
	der, err := x509.MarshalECPrivateKey(ecKey(t, elliptic.P384()))
	p384 := pemOf(t, "EC PRIVATE KEY", der, err)
	_, edwards, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err = x509.MarshalPKCS8PrivateKey(edwards)
	ed := pemOf(t, "PRIVATE KEY", der, err)
	tests := []struct {
		name, algorithm, want string
		key                   providers.Secret
	}{
		{"no key", "RS256", "there is no key to sign with: {{credential.key}} is not set", providers.Secret{}},
		{"no PEM", "RS256", "the key is not PEM, which begins with -----BEGIN", secret("hunter2-hunter2")},
		{"no key in PEM", "RS256", "the key is not a private key in PKCS #1, PKCS #8 or SEC 1", pemOf(t, "X", []byte("hunter2-hunter2"), nil)},
		{"RSA for ES256", "ES256", "the key is an RSA key, ES256 needs one of the curve P-256", rsaPEM},
		{"P-384", "ES256", "the key is an elliptic curve key that does not go with ES256", p384},
		{"EC for RS256", "RS256", "the key is an elliptic curve key that does not go with RS256", p384},
		{"Ed25519", "RS256", "the key is of a kind that does not go with RS256", ed},
	}
	for _, tt := range tests {
		auth := loadAuth(t, strings.Replace(jwtAuth, "algorithm: RS256", "algorithm: "+tt.algorithm, 1))
		cred := providers.Credential{Fields: map[string]providers.Secret{"email": secret("e"), "key": tt.key, "key_id": secret("k")}}
		_, err := oauth.New(oauth.Config{}).Mint(t.Context(), auth, providers.App{}, cred, nil)
		if f := wantFailure(t, err, oauth.Dead); f.Sent || !strings.Contains(err.Error(), ": "+tt.want+";") || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%s: got %v", tt.name, err)
		}
	}
	auth := loadAuth(t, jwtAuth)
	_, err = oauth.New(oauth.Config{}).Mint(t.Context(), auth, providers.App{}, providers.Credential{Fields: map[string]providers.Secret{"key": rsaPEM, "key_id": secret("k")}}, nil)
	if wantClass(t, err, oauth.Dead); !strings.Contains(err.Error(), "iss of the assertion has no value: {{credential.email}} is not set") {
		t.Errorf("got %v", err)
	}
	_, err = oauth.New(oauth.Config{}).Mint(t.Context(), auth, providers.App{}, providers.Credential{}, []string{"a b"})
	if err == nil || !strings.HasPrefix(err.Error(), "invalid_params: scopes[0]") {
		t.Errorf("got %v", err)
	}
}

// request is what a token endpoint was asked.
type request struct {
	method, path, body string
	header             http.Header
}

// tokenServer answers alike and passes on what it is asked.
func tokenServer(t *testing.T, status int, body string) (providers.App, func() request) {
	t.Helper()
	var last atomic.Pointer[request]
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		raw, _ := io.ReadAll(r.Body)
		last.Store(&request{r.Method, r.URL.RequestURI(), string(raw), r.Header})
		w.WriteHeader(status)
		_, _ = io.WriteString(w, body)
	}))
	t.Cleanup(server.Close)
	return providers.App{BaseURL: server.URL + "/api", AuthBaseURL: server.URL + "/auth"}, func() request { return *last.Load() }
}

func TestAssertionIsExchanged(t *testing.T) {
	key := rsaKey(t)
	app, asked := tokenServer(t, 200, `{"access_token":"minted","expires_in":3600}`)
	auth := loadAuth(t, jwtAuth+
		"    token: {url: https://auth.lamp.example/token, client_auth: none, params: {audience: x}}\n")
	cred := providers.Credential{Fields: map[string]providers.Secret{
		"email": secret("svc@lamp.example"), "key": pemOf(t, "RSA PRIVATE KEY", x509.MarshalPKCS1PrivateKey(key), nil), "key_id": secret("k1"),
	}}
	grant, err := oauth.New(oauth.Config{}).Mint(t.Context(), auth, app, cred, []string{"c"})
	if err != nil {
		t.Fatal(err)
	}
	if reveal(grant.AccessToken) != "minted" || grant.ExpiresAt.IsZero() {
		t.Errorf("got %+v", grant)
	}
	got := asked()
	if got.method != "POST" || got.path != "/auth/token" || got.header.Get("Lamp-Version") != "" {
		t.Errorf("asked %+v", got)
	}
	form := parseForm(t, got.body)
	_, claims := verify(t, form["assertion"], jose.RS256, &key.PublicKey)
	if claims["scope"] != "c" {
		t.Errorf("claims are %v", claims)
	}
	delete(form, "assertion")
	want := map[string]string{"grant_type": "urn:ietf:params:oauth:grant-type:jwt-bearer", "audience": "x"}
	if diff := cmp.Diff(want, form); diff != "" {
		t.Error(diff)
	}
}

func TestGitHubApp(t *testing.T) {
	key := rsaKey(t)
	auth := loadAuth(t, "  - {id: app, type: github_app}\n")
	client := oauth.New(oauth.Config{Now: func() time.Time { return epoch }})
	cred := providers.Credential{Fields: map[string]providers.Secret{"installation_id": secret("12345")}}

	app, asked := tokenServer(t, 201, `{"token":"ghs_1","expires_at":"2026-01-02T04:04:05Z","permissions":{"issues":"write"}}`)
	app.ClientID, app.PrivateKey = "Iv1.abc", pemOf(t, "RSA PRIVATE KEY", x509.MarshalPKCS1PrivateKey(key), nil)
	grant, err := client.Mint(t.Context(), auth, app, cred, nil)
	if err != nil {
		t.Fatal(err)
	}
	if reveal(grant.AccessToken) != "ghs_1" || !grant.ExpiresAt.Equal(epoch.Add(time.Hour)) || grant.Account != "12345" {
		t.Errorf("got %+v", grant)
	}
	got := asked()
	if got.method != "POST" || got.path != "/api/app/installations/12345/access_tokens" || got.body != "{}" || got.header.Get("Lamp-Version") != "3" {
		t.Errorf("asked %+v", got)
	}
	assertion, _ := strings.CutPrefix(got.header.Get("Authorization"), "Bearer ")
	_, claims := verify(t, assertion, jose.RS256, &key.PublicKey)
	want := map[string]any{"iss": "Iv1.abc", "iat": float64(epoch.Unix() - 60), "exp": float64(epoch.Unix() + 480)}
	if diff := cmp.Diff(want, claims); diff != "" {
		t.Error(diff)
	}
	if account, err := client.Identity(t.Context(), auth, app, cred); err != nil || account.ID != "12345" {
		t.Errorf("the account is %+v, %v", account, err)
	}

	for status, class := range map[int]oauth.Class{404: oauth.Dead, 401: oauth.Misconfigured, 403: oauth.Transient, 502: oauth.Transient, 200: oauth.Ambiguous} {
		failing, _ := tokenServer(t, status, `{"message":"no"}`)
		failing.ClientID, failing.PrivateKey = app.ClientID, app.PrivateKey
		_, err := client.Mint(t.Context(), auth, failing, cred, nil)
		wantClass(t, err, class)
	}
	for _, id := range []string{"", "..", "1/2", "1%2f2", "1\n"} {
		_, err := client.Mint(t.Context(), auth, app, providers.Credential{Fields: map[string]providers.Secret{"installation_id": secret(id)}}, nil)
		if f := wantFailure(t, err, oauth.Dead); f.Sent || !strings.Contains(err.Error(), "/installation_id") {
			t.Errorf("%q: got %v", id, err)
		}
	}
	for _, spoil := range []func(*providers.App){
		func(app *providers.App) { app.PrivateKey = secret("no PEM") },
		func(app *providers.App) { app.PrivateKey = providers.Secret{} },
		func(app *providers.App) { app.ClientID = "" },
	} {
		spoiled := app
		spoil(&spoiled)
		_, err := client.Mint(t.Context(), auth, spoiled, cred, nil)
		wantClass(t, err, oauth.Misconfigured)
	}
}
