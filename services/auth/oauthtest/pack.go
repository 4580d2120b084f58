package oauthtest

import (
	"strings"
	"testing"
	"testing/fstest"

	"github.com/plugfn/plugfn/pkg/providers"
)

// packText is the provider that a Server is. The operator's App says where.
const packText = `apiVersion: plugfn.dev/v1
kind: Provider
name: strict
version: 1.0.0
display: {name: Strict}
auth:
  - id: oauth
    type: oauth2
    default_scopes: [read, write]
    authorize: {url: https://auth.strict.example/authorize, login_hint: login_hint}
    token: {url: https://auth.strict.example/token, client_auth: basic}
    device: {url: https://auth.strict.example/device_code, client_auth: none}
    identity: {request: {method: GET, path: /me}, account: json:/id, label: json:/login}
    probe: {method: GET, path: /me}
    revoke: {url: https://auth.strict.example/revoke, client_auth: basic}
  - id: machine
    type: client_credentials
    default_scopes: [read]
    token: {url: https://auth.strict.example/token, client_auth: basic}
    probe: {method: GET, path: /me}
  - id: token
    type: api_key
    apply: {header: Authorization, value: "Bearer {{credential.token}}"}
http:
  base_url: https://api.strict.example
actions:
  me.get:
    summary: Read whose token it is
    effect: read
    params: {type: object, additionalProperties: false}
    request: {method: GET, path: /me}
`

// Pack loads the provider "strict", which speaks to a [Server] once an App says
// where that is. Of changes each pair replaces a text that stands in its YAML.
func Pack(t testing.TB, changes ...string) *providers.Pack {
	t.Helper()
	text := packText
	for i := 0; i+1 < len(changes); i += 2 {
		if !strings.Contains(text, changes[i]) {
			t.Fatalf("%q does not stand in the pack", changes[i])
		}
		text = strings.ReplaceAll(text, changes[i], changes[i+1])
	}
	pack, err := providers.Load(fstest.MapFS{"strict/provider.yaml": {Data: []byte(text)}}, "strict")
	if err != nil {
		t.Fatal(err)
	}
	return pack
}
