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
auth: [{id: none, type: none}]
http: {base_url: "https://api.demo.example"}
webhooks:
  bodies: [json]
  delivery_id: [json:/id]
  event: [json:/type]
  verify: [{scheme: hmac, VERIFIER}]
`

const schemeFixture = `
request:
  headers: {Content-Type: application/json}
  body: '{"id":"1","type":"hello"}'
secret: SECRET
at: 2026-01-02T03:04:05Z
expect: {verified: LEVEL, event: hello, type: com.demo.hello, id: "1"}
`

// TestSchemes runs the suite over ways of signing that no shipped pack has.
func TestSchemes(t *testing.T) {
	const timed = "message: [{ts: raw}, ., {body: raw}], timestamp: {tolerance: 5m, "
	tests := map[string]struct{ verifier, secret, level string }{
		"prefix and base64": {"hash: sha256, signature: {from: header:X-Sig, prefix: 'sha256=', encoding: base64}, message: [{body: raw}]", "key", "body"},
		"time in the list":  {"hash: sha256, signature: {from: header:X-Sig, split: ',', pick: v1, encoding: hex}, " + timed + "from: header:X-Sig, split: ',', pick: t, format: unix}", "key", "body+time"},
		"list with spaces":  {"hash: sha256, key: whsec, signature: {from: header:X-Sig, split: ' ', prefix: 'v1,', encoding: base64}, " + timed + "from: header:X-Time, format: unix}", "whsec_a2V5", "body+time"},
		"milliseconds":      {"hash: sha1, key: hex, signature: {from: header:X-Sig, encoding: hex}, " + timed + "from: header:X-Time, format: unix_ms}", "6b6579", "body+time"},
		"RFC 3339":          {"hash: sha512, key: base64, signature: {from: header:X-Sig, encoding: base64url}, " + timed + "from: header:X-Time, format: rfc3339}", "a2V5", "body+time"},
		"origin only":       {"hash: sha256, signature: {from: header:X-Sig, encoding: hex}, message: [{ts: raw}], timestamp: {from: header:X-Time, format: unix, tolerance: 5m}", "key", "origin"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			fixture := strings.NewReplacer("SECRET", tt.secret, "LEVEL", tt.level).Replace(schemeFixture)
			pack, err := providers.Load(fstest.MapFS{
				"demo/provider.yaml":                  {Data: []byte(strings.Replace(schemePack, "VERIFIER", tt.verifier, 1))},
				"demo/fixtures/deliveries/hello.yaml": {Data: []byte(fixture)},
			}, "demo")
			if err != nil {
				t.Fatal(err)
			}
			deliveries(t, pack)
		})
	}
}
