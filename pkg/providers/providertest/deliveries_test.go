package providertest

import (
	"strings"
	"testing"
	"testing/fstest"

	"github.com/plugfn/plugfn/pkg/providers"
)

const schemePack = `
apiVersion: plugfn.dev/v1
kind: Provider
name: demo
version: 1.0.0
display: {name: Demo}
event_prefix: com.demo
http: {base_url: "https://api.demo.example"}
webhooks:
  bodies: [json, form, text, none]
  delivery_id: [json:/id, form:id, header:X-Id]
  event: [json:/type, form:type, header:X-Type]
`

const (
	jsonFixture = `
request: {headers: {Content-Type: application/json}, body: '{"id":"1","type":"hello","sig":"x","ts":0,"cert":"x"}'}
`
	formFixture = `
request: {headers: {Content-Type: application/x-www-form-urlencoded}, body: 'type=hello&b=2&a=%C3%A9+1&id=1&sig=x', path: "/webhooks/demo?x=1"}
`
	emptyFixture = `
request: {headers: {X-Id: "1", X-Type: hello}}
`
)

// schemeTests are ways of signing, each with what an endpoint knows and what the
// signature vouches for.
var schemeTests = map[string]struct{ block, fixture, level string }{
	"prefix and base64":  {"verify: [{scheme: hmac, hash: sha256, signature: {from: header:X-Sig, prefix: 'sha256=', encoding: base64}, message: [{body: raw}]}]", "secret: key", "body"},
	"time in the list":   {"verify: [{scheme: hmac, hash: sha256, signature: {from: header:X-Sig, split: ',', pick: v1, encoding: hex}, " + timed + "from: header:X-Sig, split: ',', pick: t, format: unix}}]", "secret: key", "body+time"},
	"list with spaces":   {"verify: [{scheme: hmac, hash: sha256, key: whsec, signature: {from: header:X-Sig, split: ' ', prefix: 'v1,', encoding: base64}, " + timed + "from: header:X-Time, format: unix}}]", "secret: whsec_a2V5", "body+time"},
	"milliseconds":       {"verify: [{scheme: hmac, hash: sha1, key: hex, signature: {from: header:X-Sig, encoding: hex}, " + timed + "from: header:X-Time, format: unix_ms}}]", "secret: '6b6579'", "body+time"},
	"RFC 3339":           {"verify: [{scheme: hmac, hash: sha512, key: base64, signature: {from: header:X-Sig, encoding: base64url}, " + timed + "from: header:X-Time, format: rfc3339}}]", "secret: a2V5", "body+time"},
	"origin only":        {"verify: [{scheme: hmac, hash: sha256, signature: {from: header:X-Sig, encoding: hex}, message: [{ts: raw}], timestamp: {from: header:X-Time, format: unix, tolerance: 5m}}]", "secret: key", "origin"},
	"a key in base64url": {"verify: [{scheme: hmac, hash: sha256, key: base64url, signature: {from: header:X-Sig, encoding: hex}, message: [{body: sha256hex}]}]", "", "body"},
	"two headers":        {"verify: [{scheme: hmac, hash: sha256, signature: {from: [header:X-Sig, header:X-Sig-2], encoding: base64}, message: [{body: raw}, {ts: raw}], timestamp: {from: header:X-Time, format: rfc3339, tolerance: 10m}}]", "", "body+time"},
	"in the body":        {"verify: [{scheme: hmac, hash: sha256, signature: {from: json:/sig, encoding: hex}, message: [{json: /id}, {ts: raw}], timestamp: {from: json:/ts, format: unix, tolerance: 5m}}]", "", "origin"},
	"a time in the body": {"verify: [{scheme: hmac, hash: sha256, signature: {from: header:X-Sig, encoding: hex}, message: [{body: raw}], timestamp: {from: json:/ts, format: unix_ms, tolerance: 1m}}]", "", "body+time"},
	"the URL":            {"verify: [{scheme: hmac, hash: sha1, signature: {from: header:X-Sig, encoding: base64}, message: [{body: raw}, {url: registered}]}]", "", "body"},
	"method and URL":     {"verify: [{scheme: hmac, hash: sha256, signature: {from: header:X-Sig, encoding: base64}, message: [{method: raw}, {url: registered}, {body: raw}, {ts: raw}], timestamp: {from: header:X-Time, format: unix_ms, tolerance: 5m}}]", "", "body+time"},
	"a hash in the URL":  {"verify: [{scheme: hmac, hash: sha1, signature: {from: header:X-Sig, encoding: base64}, message: [{url: requested}], or_message: [{url: requested_with_port}], body_hash: {from: query:bodySHA256, hash: sha256, encoding: hex}}]", "", "body"},
	"named parts":        {"verify: [{scheme: hmac, hash: sha256, signature: {from: query:sig, encoding: base64url}, message: [{header: X-Msg}, '|', {query: x}, '|', {body: crc32}]}]", "request: {path: '/webhooks/demo?x=1', headers: {X-Msg: m}, body: '{\"id\":\"1\",\"type\":\"hello\"}'}", "origin"},
	"contentful":         {"verify: [{scheme: hmac, hash: sha256, signature: {from: header:X-Contentful-Signature, encoding: hex}, message: [{canonical: contentful}], timestamp: {from: header:X-Contentful-Timestamp, format: unix_ms, tolerance: 30s}}]", "request: {headers: {X-Contentful-Signed-Headers: 'content-type,x-contentful-topic', X-Contentful-Topic: t, Content-Type: application/json}, body: '{\"id\":\"1\",\"type\":\"hello\"}'}", "body+time"},

	"ed25519":             {"verify: [{scheme: ed25519, signature: {from: header:X-Sig, encoding: hex}, " + timed + "from: header:X-Time, format: unix}}]", "", "body+time"},
	"ed25519 in a list":   {"verify: [{scheme: ed25519, key: whpk, signature: {from: header:X-Sig, split: ' ', prefix: 'v1a,', encoding: base64}, message: [{body: raw}]}]", "", "body"},
	"ed25519 as SPKI":     {"verify: [{scheme: ed25519, key: spki, signature: {from: header:X-Sig, encoding: base64}, message: [{body: raw}]}]", "", "body"},
	"ecdsa, DER":          {"verify: [{scheme: ecdsa, hash: sha256, signature: {from: header:X-Sig, encoding: base64}, " + timed + "from: header:X-Time, format: unix}}]", "", "body+time"},
	"ecdsa, raw and sha1": {"verify: [{scheme: ecdsa, hash: sha1, signature: {from: header:X-Sig, encoding: base64url, form: raw}, message: [{body: raw}]}]", "", "body"},
	"rsa":                 {"verify: [{scheme: rsa, hash: sha256, signature: {from: header:X-Sig, encoding: base64}, message: [{body: raw}]}]", "", "body"},
	"rsa, a certificate":  {"verify: [{scheme: rsa, hash: sha1, certificate: {from: json:/cert, hosts: [certs.*.demo.example]}, signature: {from: json:/sig, encoding: base64}, message: [{json: /id}, {json: /type}]}]", "", "origin"},

	"jwt, a secret":          {"verify: [{scheme: jwt, algorithms: [HS256], signature: {from: header:Authorization}, audience: [{url: registered}]}]", "secret: " + longKey, "origin"},
	"jwt, a key set":         {"secrets: [{name: account, example: bot@demo.example}];; verify: [{scheme: jwt, algorithms: [RS256], jwks: 'https://keys.demo.example/jwks', issuer: ['https://demo.example'], audience: [{url: registered}], signature: {from: header:Authorization, prefix: 'Bearer '}, expect: {claim:/email: {secret: account}, claim:/email_verified: true}}]", "", "origin"},
	"jwt, an audience first": {"secrets: [{name: account, example: bot@demo.example}, {name: audience, optional: true, example: plugfn}];; verify: [{scheme: jwt, algorithms: [RS256], jwks: 'https://keys.demo.example/jwks', audience: [{secret: audience}, {url: registered}], signature: {from: header:Authorization, prefix: 'Bearer '}, expect: {claim:/email: {secret: account}}}]", "secrets: [bot@demo.example, 'audience:mine']", "origin"},
	"jwt of the body":        {"verify: [{scheme: jwt, algorithms: [ES256], issuer: [demo], signature: {from: header:Demo-Verification}, timestamp: {from: claim:/iat, format: unix, tolerance: 5m}, body_hash: {from: claim:/request_body_sha256, hash: sha256, encoding: hex}}]", "", "body+time"},
	"jwt with EdDSA":         {"verify: [{scheme: jwt, algorithms: [EdDSA], key: spki, signature: {from: query:jwt}, binding: origin}]", "", "origin"},
	"a token":                {"verify: [{scheme: token, signature: {from: header:X-Token}}]", "", "origin"},
	"a bearer token":         {"verify: [{scheme: token, signature: {from: header:Authorization, prefix: 'Bearer '}}]", "", "origin"},
	"a token in JSON":        {"verify: [{scheme: token, signature: {from: json:/sig}}]", "", "origin"},
	"a token in a URL":       {"verify: [{scheme: token, signature: {from: query:token}}]", "", "origin"},
	"basic":                  {"verify: [{scheme: basic}]", "secret: 'user:pass:word'", "origin"},
	"a network":              {"verify: [{scheme: network, networks: [192.0.2.0/24, '2001:db8::/32']}]", "", "origin"},
	"hmac in a network":      {"verify: [{scheme: hmac, hash: sha256, signature: {from: header:X-Sig, encoding: hex}, message: [{body: raw}], also: [{scheme: network, networks: [192.0.2.0/24]}]}]", "", "body"},
	"hmac and a token":       {"secrets: [{name: signing}, {name: token}];; verify: [{scheme: hmac, hash: sha256, signature: {from: header:X-Sig, encoding: hex}, message: [{body: raw}], also: [{scheme: token, secret: token, signature: {from: header:X-Token}}]}]", "", "body"},
	"nobody":                 {"verify: [{scheme: none}]", "", "none"},
	"asking":                 {"secrets: [{name: webhook_id}];; verify: [{scheme: callback, signature: {from: header:X-Sig}, call: {method: POST, path: /verify, auth: basic, body: {sig: header:X-Sig, id: {secret: webhook_id}, event: {body: json}}, success: body.status == 'ok', example: {status: 200, body: {status: ok}}}}]", "", "body"},
}

const (
	timed   = "message: [{ts: raw}, ., {body: raw}], timestamp: {tolerance: 5m, "
	longKey = "a-key-of-more-than-thirty-two-bytes-for-HS256"
)

// TestSchemes runs the suite over ways of signing that no shipped pack has.
func TestSchemes(t *testing.T) {
	for name, tt := range schemeTests {
		t.Run(name, func(t *testing.T) {
			fixture := tt.fixture
			if !strings.Contains(fixture, "request:") {
				fixture = jsonFixture + fixture
			}
			scheme(t, tt.block, fixture+"\nexpect: {verified: "+tt.level+", event: hello, type: com.demo.hello, id: \"1\"}")
		})
	}
	forms := "verify: [{scheme: hmac, hash: sha1, signature: {from: header:X-Sig, encoding: base64}, message: [{url: requested}, {form: sorted}], or_message: [{url: requested_with_port}, {form: sorted}]}]"
	t.Run("a sorted form", func(t *testing.T) {
		scheme(t, forms, formFixture+"expect: {verified: body, event: hello, type: com.demo.hello, id: \"1\", content_type: application/x-www-form-urlencoded}")
	})
	fields := "verify: [{scheme: hmac, hash: sha256, signature: {from: form:sig, encoding: hex}, message: [{form: a}, {form: b}]}]"
	t.Run("fields of a form", func(t *testing.T) {
		scheme(t, fields, formFixture+"expect: {verified: origin, event: hello, type: com.demo.hello, id: \"1\", content_type: application/x-www-form-urlencoded}")
	})
	t.Run("without a body", func(t *testing.T) {
		scheme(t, "verify: [{scheme: token, signature: {from: header:X-Token}}]", emptyFixture+"expect: {verified: origin, event: hello, type: com.demo.hello, id: \"1\"}")
	})
}

// scheme runs the suite over a pack with one fixture.
func scheme(t *testing.T, block, fixture string) {
	t.Helper()
	var lines strings.Builder
	for _, line := range strings.Split(block, ";; ") {
		lines.WriteString("  " + line + "\n")
	}
	pack, err := providers.Load(fstest.MapFS{
		"demo/provider.yaml":                  {Data: []byte(schemePack + lines.String())},
		"demo/fixtures/deliveries/hello.yaml": {Data: []byte("at: 2026-01-02T03:04:05Z\n" + fixture)},
	}, "demo")
	if err != nil {
		t.Fatal(err)
	}
	deliveries(inTest{t}, pack)
}
