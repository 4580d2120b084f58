package providers

import (
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/plugfn/plugfn/pkg/events"
)

// authPacks are correct auth blocks, one of each type.
func authPacks() map[AuthType]string {
	return map[AuthType]string{
		AuthNone:   "type: none\n",
		AuthAPIKey: "type: api_key\n    fields: [{name: token, label: Key}, {name: zone, label: Zone, public: true}]\n    apply: {query: key, value: \"{{credential.zone}}-{{credential.token}}\"}\n",
		AuthBasic:  "type: basic\n    probe: {method: GET, path: /me, success: status == 204}\n    identity: {field: username}\n",
		AuthOAuth2: `type: oauth2
    default_scopes: [read, write]
    authorize:
      url: https://auth.lamp.example/authorize
      params: {access_type: offline}
      scope: {param: user_scope, separator: ",", implies: {write: [read]}}
      login_hint: login
      issuer: https://auth.lamp.example
    token: {url: /oauth/token/, client_auth: basic, encoding: json, params: {audience: "{{app.client_id}}"}, headers: {Lamp-Client: "{{app.client_id}}"}}
    device: {url: https://auth.lamp.example/device, params: {kind: tv}}
    extract: {access_token: [json:/access_token, json:/user/access_token], expires_at: json:/until}
    lifetime: 1h
    errors: {dead: [gone], misconfigured: [wrong_app]}
    identity: {request: {method: GET, path: /me}, account: json:/id, label: [json:/name, json:/login]}
    probe: {method: POST, path: /me}
    refresh: {url: https://auth.lamp.example/refresh, margin: 10m, keep_alive: 24h}
    revoke: {method: DELETE, url: "/apps/{{app.client_id}}/grant", client_auth: basic, params: {token: "{{credential.token}}"}, success: status == 204}
`,
		AuthClientCredentials: "type: client_credentials\n    fields: [{name: client_id, label: Id, public: true}, {name: client_secret, label: Secret}]\n    token: {url: https://auth.lamp.example/token, client_auth: post, params: {grant_type: account_credentials}}\n",
		AuthJWT:               "type: jwt\n    fields: [{name: key, label: Key}, {name: id, label: Id}]\n    jwt: {algorithm: ES256, key: \"{{credential.key}}\", header: {kid: \"{{credential.id}}\"}, claims: {iss: \"{{credential.id}}\", scope: \"{{scopes}}\", jti: \"{{nonce}}\"}}\n    token: {url: https://auth.lamp.example/token, client_auth: none, params: {assertion: \"{{assertion}}\"}}\n",
		AuthGitHubApp:         "type: github_app\n    revoke: {method: DELETE, url: /installation/token, headers: {Authorization: \"Bearer {{credential.token}}\"}}\n",
	}
}

const minimalAuth = "type: api_key\n    apply: {header: Authorization, value: \"Bearer {{credential.token}}\"}\n"

// withAuth puts an auth block into the small pack.
func withAuth(t *testing.T, block string) string {
	t.Helper()
	return change(t, minimal, minimalAuth, block)
}

func loadAuthBlock(t *testing.T, block string) *Auth {
	t.Helper()
	return mustLoad(t, withAuth(t, block)).Auth[0]
}

func TestAuthTypes(t *testing.T) {
	packs := authPacks()
	for _, kind := range authTypes() {
		block, ok := packs[kind]
		if !ok {
			t.Errorf("type %s has no pack", kind)
			continue
		}
		if a := loadAuthBlock(t, block); a.Type != kind || a.Pack().Name != "lamp" {
			t.Errorf("got %+v", a)
		}
	}
}

func TestAuthDefaults(t *testing.T) {
	packs := authPacks()
	bearer := func(a *Auth) bool {
		return a.Apply.Header == "Authorization" && a.Apply.Value.String() == "Bearer {{credential.token}}"
	}
	if a := loadAuthBlock(t, minimalAuth); len(a.Fields) != 1 || a.Fields[0].Name != "token" || a.Fields[0].Public {
		t.Errorf("api_key asks for %+v", a.Fields)
	}
	if a := loadAuthBlock(t, packs[AuthBasic]); a.Apply.Basic == nil || len(a.Fields) != 2 || !a.Fields[0].Public || a.Fields[1].Public {
		t.Errorf("basic is %+v", a)
	}
	a := loadAuthBlock(t, packs[AuthOAuth2])
	if !bearer(a) || a.Device.ClientAuth != ClientAuthBasic || a.Revoke.Encoding != EncodingForm || a.Errors.Code[0].String() != "json:/error" ||
		a.Extract.RefreshToken[0].String() != "json:/refresh_token" || len(a.Extract.AccessToken) != 2 || len(a.Extract.RefreshExpiresIn) != 2 {
		t.Errorf("oauth2 is %+v", a)
	}
	a = loadAuthBlock(t, "type: oauth2\n    authorize: {url: https://a.example/a}\n    token: {url: https://a.example/t, client_auth: post}\n    revoke: {url: https://a.example/r}\n")
	if a.Authorize.Scope.Param != "scope" || a.Authorize.Scope.Separator != " " || a.Token.Encoding != EncodingForm || a.Lifetime != 0 ||
		a.Revoke.Method != http.MethodPost || a.Revoke.ClientAuth != ClientAuthNone || a.Revoke.Params["token"].String() != "{{credential.grant}}" {
		t.Errorf("oauth2 is %+v", a)
	}
	if a := loadAuthBlock(t, packs[AuthJWT]); !bearer(a) || a.JWT.Lifetime != 5*time.Minute || a.JWT.KeyEncoding != "utf8" {
		t.Errorf("jwt is %+v", a.JWT)
	}
	a = loadAuthBlock(t, packs[AuthGitHubApp])
	if !bearer(a) || a.Token == nil || a.JWT == nil || a.Fields[0].Name != "installation_id" || a.Revoke.Params != nil || a.Identity.Field != "installation_id" {
		t.Errorf("github_app is %+v", a)
	}
	for kind := range packs {
		if want := kind == AuthClientCredentials || kind == AuthJWT || kind == AuthGitHubApp; kind.Mints() != want {
			t.Errorf("%s mints: %t", kind, kind.Mints())
		}
	}
}

func TestAuthSaysWhatIsWrong(t *testing.T) {
	const at = "lamp/provider.yaml:"
	tests := []struct {
		kind           AuthType
		name, old, new string
		want           string
	}{
		{AuthNone, "apply", "none\n", "none\n    apply: {header: X-Key, value: \"{{credential.token}}\"}\n", at + "9: auth[0].apply: has no place with type: none"},
		{AuthNone, "scopes", "none\n", "none\n    default_scopes: [a]\n", at + "9: auth[0].default_scopes: has no place with type: none"},
		{AuthBasic, "token", "basic\n", "basic\n    token: {url: https://a.example/t, client_auth: post}\n", at + "9: auth[0].token: has no place with type: basic"},
		{AuthGitHubApp, "jwt", "app\n", "app\n    lifetime: 1h\n", at + "9: auth[0].lifetime: has no place with type: github_app"},
		{AuthOAuth2, "fields", "oauth2\n", "oauth2\n    fields: [{name: a, label: A}]\n", at + "9: auth[0].fields: has no place with type: oauth2"},
		{AuthOAuth2, "unknown key", "lifetime: 1h", "livetime: 1h", at + "19: auth[0].livetime: unknown key, did you mean lifetime?"},

		{AuthAPIKey, "no token", "name: token", "name: key", at + "9: auth[0].fields: needs one with the name token: it is the credential"},
		{AuthAPIKey, "field twice", "name: zone", "name: token", at + "9: auth[0].fields[1].name: token is there twice"},
		{AuthAPIKey, "field name", "name: zone", "name: Zone", at + "9: auth[0].fields[1].name: must be a-z, then a-z, 0-9 and _"},
		{AuthAPIKey, "reserved field", "name: zone", "name: grant", at + "9: auth[0].fields[1].name: grant has a meaning of its own"},
		{AuthAPIKey, "no label", "{name: token, label: Key}", "{name: token}", at + "9: auth[0].fields[0].label: is missing: a person has to know what to enter"},
		{AuthAPIKey, "unknown field", "{{credential.zone}}-", "{{credential.zoo}}-", at + "10: auth[0].apply.value: {{credential.zoo}} is not known here, only {{credential.token}}, {{credential.zone}}"},
		{AuthAPIKey, "two places", "query: key", "query: key, basic: {username: \"{{credential.token}}\"}", at + "10: auth[0].apply: needs one of header, query and basic"},
		{AuthBasic, "value beside basic", "basic\n", "basic\n    apply: {value: x, basic: {username: \"{{credential.username}}\"}}\n", at + "9: auth[0].apply.value: has no place beside basic"},
		{AuthBasic, "no field", "basic\n", "basic\n    apply: {basic: {username: a, password: b}}\n", at + "9: auth[0].apply.basic: must hold {{credential.username}}"},
		{AuthBasic, "token of basic", "basic\n", "basic\n    apply: {basic: {username: \"{{credential.token}}\"}}\n", at + "9: auth[0].apply.basic.username: {{credential.token}} is not known here, only {{credential.username}}, {{credential.password}}"},
		{AuthBasic, "probe method", "method: GET", "method: DELETE", at + "9: auth[0].probe.method: must be GET or POST"},
		{AuthBasic, "probe path", "path: /me", "path: me", at + "9: auth[0].probe.path: must begin with /"},
		{AuthBasic, "probe field", "path: /me", "path: \"/{{params.me}}\"", at + "9: auth[0].probe.path: {{params.me}} is not known here, nor is any other field"},
		{AuthBasic, "identity field", "field: username", "field: user", at + "10: auth[0].identity.field: user is not among fields"},
		{AuthBasic, "identity without request", "field: username", "account: json:/id", at + "10: auth[0].identity.request: is missing: there is no token response to read"},
		{AuthBasic, "two identities", "field: username", "field: username, account: json:/id", at + "10: auth[0].identity.field: has no place beside account"},
		{AuthOAuth2, "identity source", "account: json:/id", "account: form:id", at + "21: auth[0].identity.account: must be header:NAME or json:/pointer"},
		{AuthOAuth2, "no account", "account: json:/id, ", "", at + "21: auth[0].identity.account: is missing"},

		{AuthOAuth2, "scope", "[read, write]", "[read, \"wri,te\"]", at + "9: auth[0].default_scopes[1]: must not hold the separator of scopes"},
		{AuthOAuth2, "implied scope", "{write: [read]}", "{write: [\"re ad\"]}", at + "13: auth[0].authorize.scope.implies.write[0]: must be printable ASCII without spaces, \" and \\"},
		{AuthOAuth2, "separator", `separator: ","`, `separator: ", "`, at + `13: auth[0].authorize.scope.separator: must be one of " " , + ; |`},
		{AuthOAuth2, "plain http", "url: https://auth.lamp.example/authorize", "url: http://auth.lamp.example/authorize", at + "11: auth[0].authorize.url: must begin with https://"},
		{AuthOAuth2, "no scheme", "url: https://auth.lamp.example/authorize", "url: auth.lamp.example/authorize", at + "11: auth[0].authorize.url: must begin with https://, or with / below the base URL"},
		{AuthOAuth2, "no path", "url: https://auth.lamp.example/authorize", "url: https://auth.lamp.example", at + "11: auth[0].authorize.url: needs a path"},
		{AuthOAuth2, "user in URL", "url: https://auth.lamp.example/authorize", "url: https://a:b@auth.lamp.example/authorize", at + "11: auth[0].authorize.url: must not hold a user or a password"},
		{AuthOAuth2, "query in URL", "url: https://auth.lamp.example/authorize", "url: https://auth.lamp.example/authorize?a=b", at + "11: auth[0].authorize.url: may hold letters, digits and -._~:@!$&'()*+,;= besides / and parameters"},
		{AuthOAuth2, "field in host", "url: https://auth.lamp.example/authorize", "url: \"https://{{app.client_id}}.example/authorize\"", at + "11: auth[0].authorize.url: is not a URL"},
		{AuthOAuth2, "secret in URL", "url: https://auth.lamp.example/authorize", "url: \"https://auth.lamp.example/{{app.client_secret}}\"", at + "11: auth[0].authorize.url: {{app.client_secret}} is not known here, only {{app.client_id}}"},
		{AuthOAuth2, "dots", "url: https://auth.lamp.example/authorize", "url: https://auth.lamp.example/../authorize", at + "11: auth[0].authorize.url: has a segment that is empty or only dots"},
		{AuthOAuth2, "reserved parameter", "access_type:", "code_challenge_method:", at + "12: auth[0].authorize.params.code_challenge_method: cannot be set: the protocol does"},
		{AuthOAuth2, "scope as parameter", "access_type:", "user_scope:", at + "12: auth[0].authorize.params.user_scope: cannot be set: the protocol does"},
		{AuthOAuth2, "odd parameter", "access_type:", "\"access type\":", at + "12: auth[0].authorize.params.access type: must be printable ASCII without spaces"},
		{AuthOAuth2, "issuer", "issuer: https:", "issuer: ftp:", at + "15: auth[0].authorize.issuer: must be a link that begins with https://, as the provider writes its iss"},
		{AuthOAuth2, "no reason", "login_hint: login", "without_pkce:", at + "14: auth[0].authorize.without_pkce: is empty: give it a value or leave the key out"},
		{AuthOAuth2, "client auth", "token/, client_auth: basic", "token/, client_auth: auto", at + `16: auth[0].token.client_auth: "auto" is unknown, want one of basic, post, none`},
		{AuthOAuth2, "no client auth", "token/, client_auth: basic", "token/", at + "16: auth[0].token.client_auth: is missing, want one of basic, post, none"},
		{AuthOAuth2, "encoding", "encoding: json", "encoding: xml", at + `16: auth[0].token.encoding: "xml" is unknown, want one of form, json`},
		{AuthOAuth2, "grant type", "{audience:", "{grant_type:", at + "16: auth[0].token.params.grant_type: cannot be set: the protocol does"},
		{AuthOAuth2, "code", "{audience:", "{code:", at + "16: auth[0].token.params.code: cannot be set: the protocol does"},
		{AuthOAuth2, "assertion", `{audience: "{{app.client_id}}"`, `{audience: "{{assertion}}"`, at + "16: auth[0].token.params.audience: {{assertion}} is not known here, only {{app.client_id}}, {{app.client_secret}}, {{scopes}}"},
		{AuthOAuth2, "two authorizations", "{Lamp-Client:", "{Authorization:", at + "16: auth[0].token.headers.Authorization: cannot be set: client_auth: basic does"},
		{AuthOAuth2, "reserved header", "{Lamp-Client:", "{Cookie:", at + "16: auth[0].token.headers.Cookie: cannot be set: a credential is applied by auth"},
		{AuthOAuth2, "extract", "expires_at: json:/until", "expires_at: text:soon", at + "18: auth[0].extract.expires_at: must be header:NAME or json:/pointer"},
		{AuthOAuth2, "two meanings", "misconfigured: [wrong_app]", "misconfigured: [gone]", at + "20: auth[0].errors.dead[0]: gone is among misconfigured too"},
		{AuthOAuth2, "margin", "margin: 10m", "margin: 25h", at + "23: auth[0].refresh.margin: must be at most 24h0m0s"},
		{AuthOAuth2, "keep alive", "keep_alive: 24h", "keep_alive: 24s", at + "23: auth[0].refresh.keep_alive: must be at least 1h"},
		{AuthOAuth2, "revoke method", "method: DELETE", "method: PUT", at + `24: auth[0].revoke.method: "PUT" is unknown, want one of POST, DELETE, GET`},
		{AuthOAuth2, "revoke nothing", `params: {token: "{{credential.token}}"}`, `params: {token: all}`, at + "24: auth[0].revoke: names no grant: params or headers must hold {{credential.token}}"},
		{AuthClientCredentials, "keep alive", "credentials\n    fields", "credentials\n    refresh: {keep_alive: 24h}\n    fields", at + "9: auth[0].refresh.keep_alive: has no place with type: client_credentials, which has no refresh tokens"},
		{AuthClientCredentials, "refresh URL", "credentials\n    fields", "credentials\n    refresh: {url: /refresh}\n    fields", at + "9: auth[0].refresh.url: has no place with type: client_credentials, which has no refresh tokens"},
		{AuthClientCredentials, "token", "{name: client_id,", "{name: token,", at + "9: auth[0].fields[0].name: token is what type client_credentials gets by itself"},

		{AuthJWT, "algorithm", "ES256", "none", at + `10: auth[0].jwt.algorithm: "none" is unknown, want one of RS256, ES256, HS256`},
		{AuthJWT, "key in the pack", `"{{credential.key}}"`, "s3cret", at + "10: auth[0].jwt.key: must hold a field such as {{credential.private_key}}: a key has no place in a pack"},
		{AuthJWT, "key encoding", "algorithm: ES256,", "algorithm: ES256, key_encoding: hex,", at + "10: auth[0].jwt.key_encoding: goes with algorithm: HS256; the key of ES256 is PEM"},
		{AuthJWT, "own exp", "jti:", "exp:", at + "10: auth[0].jwt.claims.exp: cannot be set: the protocol does"},
		{AuthJWT, "own alg", "{kid:", "{alg:", at + "10: auth[0].jwt.header.alg: cannot be set: the protocol does"},
		{AuthJWT, "nonce in header", `{kid: "{{credential.id}}"}`, `{kid: "{{nonce}}"}`, at + "10: auth[0].jwt.header.kid: {{nonce}} is not known here, only {{credential.key}}, {{credential.id}}, {{app.client_id}}"},
		{AuthJWT, "lifetime", "algorithm: ES256,", "algorithm: ES256, lifetime: 2h,", at + "10: auth[0].jwt.lifetime: must be at most 1h0m0s"},
		{AuthJWT, "backdate", "algorithm: ES256,", "algorithm: ES256, lifetime: 1m, backdate: 1m,", at + "10: auth[0].jwt.backdate: must be at most 5m0s, and less than the lifetime"},
		{AuthJWT, "extract without token", "token: {url: https://auth.lamp.example/token, client_auth: none, params: {assertion: \"{{assertion}}\"}}", "extract: {scope: json:/scopes}", at + "11: auth[0].extract: goes with a token block: without one the assertion is the token"},
	}
	for _, tt := range tests {
		t.Run(string(tt.kind)+" "+tt.name, func(t *testing.T) {
			_, err := loadText(t, withAuth(t, change(t, authPacks()[tt.kind], tt.old, tt.new)))
			if err == nil || !strings.HasPrefix(err.Error()+"\n", tt.want+"\n") { // consequences may follow
				t.Errorf("got  %v\nwant %s", err, tt.want)
			}
		})
	}
	for block, want := range map[string]string{
		"type: oauth2\n":                    at + "7: auth[0].token: is missing: it says where tokens come from",
		"type: client_credentials\n":        at + "7: auth[0].token: is missing: it says where tokens come from",
		"type: jwt\n":                       at + "7: auth[0].jwt: is missing: it says what is signed",
		"type: api_key\n":                   at + "7: auth[0].apply: needs one of header, query and basic",
		"id2: x\n":                          at + "8: auth[0].id2: unknown key",
		"type: oauth2\n    authorize: {}\n": at + "9: auth[0].authorize.url: is missing",
		"type: basic\n    probe: {}\n":      at + "9: auth[0].probe.path: is missing",
		"type: oauth2\n    revoke: {}\n":    at + "9: auth[0].revoke.url: is missing",
	} {
		_, err := loadText(t, withAuth(t, block))
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q gives %v, want %s", block, err, want)
		}
	}
}

func lampSecret(text string) Secret { return NewSecret([]byte(text)) }

func TestAppliedCredentials(t *testing.T) {
	packs := authPacks()
	basic := func(username, password string) Credential {
		return Credential{Fields: map[string]Secret{"username": lampSecret(username), "password": lampSecret(password)}}
	}
	tests := []struct {
		name, block string
		cred        Credential
		header, key string // of the request
		refused     string // needs_reauth with this
	}{
		{name: "query", block: packs[AuthAPIKey], cred: Credential{Token: lampSecret("t&1"), Fields: map[string]Secret{"zone": lampSecret("eu")}}, key: "eu-t&1"},
		{name: "token among fields", block: packs[AuthAPIKey], cred: Credential{Fields: map[string]Secret{"zone": lampSecret("eu"), "token": lampSecret("t")}}, key: "eu-t"},
		{name: "no zone", block: packs[AuthAPIKey], cred: Credential{Token: lampSecret("t")}, refused: "the connection has no zone"},
		{name: "no token", block: packs[AuthAPIKey], cred: Credential{Fields: map[string]Secret{"zone": lampSecret("eu")}}, refused: "the connection has no credential"},
		{name: "basic", block: packs[AuthBasic], cred: basic("Ünal", "pä:ss"), header: "Basic w5xuYWw6cMOkOnNz"},
		{name: "basic with token", block: "type: api_key\n    apply: {basic: {username: \"{{credential.token}}\"}}\n", cred: Credential{Token: lampSecret("sk_1")}, header: "Basic c2tfMTo="},
		{name: "colon", block: packs[AuthBasic], cred: basic("a:b", "c"), refused: "the user name holds a colon"},
		{name: "control", block: packs[AuthBasic], cred: basic("a", "c\n"), refused: "the credential holds a control character"},
		{name: "no password", block: packs[AuthBasic], cred: Credential{Fields: map[string]Secret{"username": lampSecret("a")}}, refused: "the connection has no password"},
		{name: "none", block: packs[AuthNone], cred: Credential{Token: lampSecret("t")}},
		{name: "bearer", block: packs[AuthGitHubApp], cred: Credential{Token: lampSecret("t")}, header: "Bearer t"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			action, _ := mustLoad(t, withAuth(t, tt.block)).Action("lamps.set")
			req, err := action.NewRequest(t.Context(), "https://api.lamp.example", json.RawMessage(`{"room":"hall","lamp":1}`), tt.cred)
			if tt.refused != "" {
				var e *events.Error
				if !errors.As(err, &e) || e.Code != events.CodeNeedsReauth || !strings.HasPrefix(e.Message, tt.refused) {
					t.Errorf("got %v", err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if got := req.Header.Get("Authorization"); got != tt.header || req.URL.Query().Get("key") != tt.key {
				t.Errorf("header is %q, URL %s", got, req.URL)
			}
		})
	}
}

func TestResolve(t *testing.T) {
	a := loadAuthBlock(t, authPacks()[AuthOAuth2])
	app := loadAuthBlock(t, authPacks()[AuthGitHubApp])
	fields := func(id string) func(string) (string, bool) {
		return func(field string) (string, bool) { return id, id != "" && field != "app.client_secret" }
	}
	moved := App{BaseURL: "http://127.0.0.1:1/api/", AuthBaseURL: "http://127.0.0.1:2/auth/"}
	tests := []struct {
		auth *Auth
		at   Address
		app  App
		id   string
		want string
	}{
		{a, a.Authorize.URL, App{}, "", "https://auth.lamp.example/authorize"},
		{a, a.Authorize.URL, moved, "", "http://127.0.0.1:2/auth/authorize"},
		{a, a.Token.URL, App{}, "", "https://api.lamp.example/v1/oauth/token/"},
		{a, a.Token.URL, moved, "", "http://127.0.0.1:1/api/oauth/token/"},
		{a, a.Revoke.URL, App{}, "Iv1.ä b", "https://api.lamp.example/v1/apps/Iv1.%C3%A4%20b/grant"},
		{app, app.Token.URL, App{}, "123", "https://api.lamp.example/v1/app/installations/123/access_tokens"},
	}
	for _, tt := range tests {
		u, err := tt.auth.Resolve(tt.at, tt.app, fields(tt.id))
		if err != nil || u.String() != tt.want {
			t.Errorf("%s gives %v, %v", tt.at, u, err)
		}
	}
	for _, id := range []string{"", ".", "..", "a/b", "a%2fb", "a?b", "a#b", "a\nb", `a\b`} {
		u, err := app.Resolve(app.Token.URL, App{}, fields(id))
		var e *events.Error
		if !errors.As(err, &e) || e.Code != events.CodeInvalidParams || !strings.HasPrefix(e.Message, "/installation_id: ") {
			t.Errorf("%q gives %v, %v", id, u, err)
		}
	}
	for _, base := range []string{"ftp://x", "://", "https://u:p@x.example"} {
		if u, err := a.Resolve(a.Authorize.URL, App{AuthBaseURL: base}, fields("")); err == nil {
			t.Errorf("%s gives %s", base, u)
		}
	}
	if !a.Token.URL.IsBelowBase() || a.Authorize.URL.IsBelowBase() || (Address{}).IsBelowBase() {
		t.Error("IsBelowBase is wrong")
	}
}

func TestAuthCall(t *testing.T) {
	a := loadAuthBlock(t, authPacks()[AuthBasic])
	cred := Credential{Fields: map[string]Secret{"username": lampSecret("a"), "password": lampSecret("b")}}
	req, err := a.Probe.NewRequest(t.Context(), App{BaseURL: "http://127.0.0.1:1/api"}, cred)
	if err != nil {
		t.Fatal(err)
	}
	if req.Method != http.MethodGet || req.URL.String() != "http://127.0.0.1:1/api/me" || req.Header.Get("Lamp-Version") != "3" || req.Header.Get("Authorization") != "Basic YTpi" {
		t.Errorf("got %s %s %v", req.Method, req.URL, req.Header)
	}
	for status, good := range map[int]bool{204: true, 200: false, 401: false} {
		_, err := a.Probe.Read(&http.Response{StatusCode: status, Body: io.NopCloser(strings.NewReader(""))})
		if (err == nil) != good {
			t.Errorf("status %d gives %v", status, err)
		}
	}
	if _, err := a.Probe.NewRequest(t.Context(), App{}, Credential{}); err == nil {
		t.Error("a call is made without a credential")
	}
	action, _ := a.Pack().Action("lamps.set") // which still succeeds as the pack says
	if _, err := action.Read(&http.Response{StatusCode: http.StatusOK, Body: io.NopCloser(strings.NewReader("{}"))}); err != nil {
		t.Errorf("the probe's success changed the pack's: %v", err)
	}
}

func TestFound(t *testing.T) {
	header := http.Header{"X-A": {"1"}}
	body := decodeBody([]byte(`{"a":{"b":[1,"x",null]},"n":null,"t":true}`))
	for text, want := range map[string]any{
		"header:X-A": "1", "header:X-B": nil, "json:/a/b/1": "x", "json:/a/b/0": json.Number("1"), "json:/a/b/2": nil, "json:/n": nil,
		"json:/t": true, "json:/a/b": []any{json.Number("1"), "x", nil}, "json:/z": nil, "form:a": nil,
	} {
		s, err := parseSource(text)
		if err != nil {
			t.Fatal(err)
		}
		got, ok := s.In(header, body)
		if ok != (want != nil) || ok && !cmp.Equal(got, want) {
			t.Errorf("%s gives %v, %t", text, got, ok)
		}
	}
}

func TestPredicateHolds(t *testing.T) {
	body := decodeBody([]byte(`{"ok":true,"n":3,"error":"gone"}`))
	for text, want := range map[string]bool{
		"": true, "status == 200": true, "body.ok == true && body.n > 2": true, `body.error in ["gone"]`: true,
		`header["x-a"] == "1"`: true, "body.no.such == 1": false,
	} {
		p := Predicate{}
		if text != "" {
			var err error
			if p, err = parsePredicate(text); err != nil {
				t.Fatal(err)
			}
		}
		if got := p.Holds(200, http.Header{"X-A": {"1"}}, body); got != want {
			t.Errorf("%q is %t", text, got)
		}
	}
	if (Predicate{}).Holds(300, nil, nil) || !(Predicate{}).Holds(204, nil, nil) {
		t.Error("the zero value is wrong")
	}
	if _, isNumber := body.(map[string]any)["n"].(json.Number); !isNumber {
		t.Error("the body was changed")
	}
}

func TestRegistryChecksAuthBase(t *testing.T) {
	packs := map[string]*Pack{"lamp": mustLoad(t, minimal)}
	_, err := NewRegistry(packs, map[string]App{"lamp": {AuthBaseURL: "https://x.example?a"}})
	if err == nil || err.Error() != "app lamp: base URL of auth: must not have a query" {
		t.Errorf("got %v", err)
	}
}
