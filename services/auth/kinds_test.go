package auth

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"testing/fstest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/plugfn/plugfn/pkg/events"
	"github.com/plugfn/plugfn/pkg/providers"
)

// kindsPack has one auth of each kind that takes a credential from the caller.
const kindsPack = `
apiVersion: plugfn.dev/v1
kind: Provider
name: kinds
version: 1.0.0
display: {name: Kinds}
auth:
  - {id: key, type: api_key, apply: {header: X-Key, value: "{{credential.zone}}-{{credential.token}}"}, fields: [{name: token, label: Key}, {name: zone, label: Zone, public: true}]}
  - {id: login, type: basic}
  - id: signed
    type: jwt
    fields: [{name: key_id, label: Key id, public: true}, {name: key, label: Key}]
    jwt: {algorithm: HS256, key: "{{credential.key}}", header: {kid: "{{credential.key_id}}"}, claims: {iss: "{{credential.key_id}}"}, lifetime: 5m}
  - {id: app, type: github_app}
http: {base_url: "https://kinds.invalid"}
actions:
  me.get:
    summary: Read whose credential it is
    effect: read
    request: {method: GET, path: /me}
    params: {type: object, additionalProperties: false}
`

// newKinds is a replica for the pack above, whose provider mints installation
// tokens.
func newKinds(t *testing.T) (*rig, *clock, *atomic.Int32) {
	t.Helper()
	clock, minted := &clock{}, &atomic.Int32{}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/app/installations/77/access_tokens" || !strings.HasPrefix(r.Header.Get("Authorization"), "Bearer ey") {
			w.WriteHeader(http.StatusNotFound)
			return
		}
		w.WriteHeader(http.StatusCreated)
		_ = json.NewEncoder(w).Encode(map[string]string{
			"token":      fmt.Sprint("ghs_", minted.Add(1)),
			"expires_at": clock.now().Add(time.Hour).Format(time.RFC3339),
		})
	}))
	t.Cleanup(server.Close)
	pack, err := providers.Load(fstest.MapFS{"kinds/provider.yaml": {Data: []byte(kindsPack)}}, "kinds")
	if err != nil {
		t.Fatal(err)
	}
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	app := providers.App{
		BaseURL: server.URL, ClientID: "Iv1.app",
		PrivateKey: providers.NewSecret(pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(key)})),
	}
	r := newRig(t)
	if r.cfg.Providers, err = providers.NewRegistry(map[string]*providers.Pack{"kinds": pack}, map[string]providers.App{"kinds": app}); err != nil {
		t.Fatal(err)
	}
	r.cfg.Now = clock.now
	if r.Service, err = New(r.cfg); err != nil {
		t.Fatal(err)
	}
	r.followConnections(t)
	return r, clock, minted
}

func hidden(fields ...string) map[string]providers.Secret {
	all := map[string]providers.Secret{}
	for i := 0; i+1 < len(fields); i += 2 {
		all[fields[i]] = secret(fields[i+1])
	}
	return all
}

// What leaves the service is what requests need, and never what tokens are
// minted with.
func TestKindsOfCredentials(t *testing.T) {
	r, clock, minted := newKinds(t)
	tests := []struct {
		auth   string
		token  string // "": whatever it is
		in     newConnection
		fields map[string]string
		mints  bool
	}{
		{"key", "k1", newConnection{Token: secret("k1"), Fields: hidden("zone", "eu")}, map[string]string{"zone": "eu"}, false},
		{"login", "-", newConnection{Fields: hidden("username", "me", "password", "s3cret")}, map[string]string{"username": "me", "password": "s3cret"}, false},
		{"signed", "", newConnection{Fields: hidden("key_id", "k", "key", "canary-of-the-key")}, map[string]string{"key_id": "k"}, true},
		{"app", "ghs_1", newConnection{Fields: hidden("installation_id", "77")}, map[string]string{"installation_id": "77"}, true},
	}
	for _, tt := range tests {
		t.Run(tt.auth, func(t *testing.T) {
			tt.in.UserID, tt.in.Provider, tt.in.Auth = "user of "+tt.auth, "kinds", tt.auth
			made, err := r.create(t.Context(), tt.in)
			if err != nil {
				t.Fatal(err)
			}
			ask := func() (kept, *hand) {
				k, in, err := r.handOut(t.Context(), &tokenRequest{UserID: tt.in.UserID, Provider: "kinds"}, nil)
				if err != nil {
					t.Fatal(err)
				}
				return k, in
			}
			k, in := ask()
			token := string(in.AccessToken.Reveal())
			if tt.token == "-" && token != "" || tt.token != "-" && tt.token != "" && token != tt.token || tt.token == "" && token == "" {
				t.Errorf("token %q", token)
			}
			if diff := cmp.Diff(tt.fields, in.handedFields()); diff != "" {
				t.Error(diff)
			}
			if k.Renewable != tt.mints || made.ExpiresAt.IsZero() == tt.mints {
				t.Errorf("kept as %+v", k.record)
			}
			if !tt.mints {
				return
			}
			clock.add(2 * time.Hour)
			if k, again := ask(); k.Version != 2 || again.AccessToken.Equal(in.AccessToken) || k.Account != made.Account {
				t.Errorf("after two hours: version %d", k.Version)
			}
		})
	}
	if minted.Load() != 2 {
		t.Errorf("%d installation tokens", minted.Load())
	}
}

func TestFieldsRefused(t *testing.T) {
	r, _, _ := newKinds(t)
	tests := []struct {
		name string
		in   newConnection
		want string
	}{
		{"a field is missing", newConnection{Auth: "login", Fields: hidden("username", "me")}, "fields.password: must not be empty"},
		{"a field too many", newConnection{Auth: "login", Fields: hidden("username", "me", "password", "x", "pin", "canary")}, "fields.pin: auth login does not ask for it; it asks for: username, password"},
		{"a token where there is none", newConnection{Auth: "login", Token: secret("canary")}, "token: auth login does not ask for it"},
		{"a token twice", newConnection{Auth: "key", Token: secret("canary"), Fields: hidden("token", "canary")}, "token: is given twice"},
		{"a line break", newConnection{Auth: "login", Fields: hidden("username", "me", "password", "canary\r\n")}, "fields.password: must be"},
		{"an installation that there is none of", newConnection{Auth: "app", Fields: hidden("installation_id", "78")}, "fields: kinds gives no token for them"},
		{"the first that takes a credential", newConnection{Token: secret("canary")}, "fields.zone: must not be empty"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			tt.in.UserID, tt.in.Provider = "u1", "kinds"
			_, err := r.create(t.Context(), tt.in)
			if e := wantCode(t, err, events.CodeInvalidParams); !strings.Contains(e.Message, tt.want) || strings.Contains(e.Message, "canary") {
				t.Errorf("got %q, want %q", e.Message, tt.want)
			}
		})
	}
}

func TestReplace(t *testing.T) {
	r, _, _ := newKinds(t)
	made, err := r.create(t.Context(), newConnection{UserID: "u1", Provider: "kinds", Auth: "key", Account: "4711", Token: secret("k1"), Fields: hidden("zone", "eu")})
	if err != nil {
		t.Fatal(err)
	}
	changed, err := r.replace(t.Context(), made.ID, newConnection{Token: secret("k2"), Fields: hidden("zone", "us")})
	if err != nil || changed.ID != made.ID || changed.Version != 2 || changed.Account != "4711" {
		t.Errorf("replaced: %+v, %v", changed, err)
	}
	if got, err := r.credential(t.Context(), "u1", "kinds", ""); err != nil || !got.Token.Equal(secret("k2")) {
		t.Errorf("got %+v, %v", got, err)
	}
	_, err = r.replace(t.Context(), made.ID, newConnection{Account: "4712", Token: secret("k3"), Fields: hidden("zone", "us")})
	if e := wantCode(t, err, events.CodeInvalidParams); !strings.Contains(e.Message, "another account") {
		t.Errorf("got %+v", e)
	}
	_, err = r.replace(t.Context(), made.ID, newConnection{UserID: "u2", Token: secret("k3")})
	wantCode(t, err, events.CodeConnectionNotFound)
	if got, err := r.store.get(t.Context(), "u1", made.ID); err != nil || got.Version != 2 {
		t.Errorf("after refusals: %+v, %v", got, err)
	}
}

// Who authorises an account that he has connected already gets the same
// connection, with the newer grant.
func TestTheSameAccountIsTheSameConnection(t *testing.T) {
	r, _, _ := newKinds(t)
	grant := func(user, account string) grantInput {
		return grantInput{UserID: user, Provider: "kinds", Auth: "key", Credential: minted{
			secrets: secrets{AccessToken: secret("k"), Fields: hidden("zone", "eu")}, Account: account,
		}}
	}
	ids := map[string]int{}
	for _, g := range []grantInput{grant("u1", "4711"), grant("u1", "4711"), grant("u1", "4712"), grant("u2", "4711"), grant("u1", ""), grant("u1", "")} {
		c, err := r.store.connect(t.Context(), g)
		if err != nil {
			t.Fatal(err)
		}
		ids[c.ID]++
	}
	if len(ids) != 5 {
		t.Errorf("%d connections, want 5: %v", len(ids), ids)
	}
}
