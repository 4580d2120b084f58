package providers

import (
	"os"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/plugfn/plugfn/pkg/events"
)

const demoHead = `
apiVersion: plugfn.dev/v1
kind: Provider
name: demo
version: 1.0.0
display: {name: Demo}
event_prefix: com.demo
auth: [{id: none, type: none}]
http: {base_url: "https://api.demo.example"}
`

// demoBlock is a webhooks block that is right, line by line.
const demoBlock = `
webhooks:
  bodies: [json, form:payload, form]
  verify: [{scheme: hmac, hash: sha256, signature: {from: header:X-Sig, encoding: hex}, message: [{body: raw}]}]
  event: [header:X-Event, json:/type, form:type]
`

func loadDemo(yaml string) (*Pack, error) {
	return Load(fstest.MapFS{"demo/provider.yaml": {Data: []byte(demoHead + yaml)}}, "demo")
}

// demo loads the webhooks of a pack that is right.
func demo(t testing.TB, yaml string) *Webhooks {
	t.Helper()
	p, err := loadDemo(yaml)
	if err != nil {
		t.Fatal(err)
	}
	return p.Webhooks
}

// demoWith is a right block with other lines, given as key: value.
func demoWith(lines ...string) string {
	block := demoBlock
	for _, line := range lines {
		key, _, _ := strings.Cut(line, ":")
		kept := []string{}
		for _, old := range strings.Split(block, "\n") {
			if !strings.HasPrefix(old, "  "+key+":") {
				kept = append(kept, old)
			}
		}
		block = strings.Join(kept, "\n") + "  " + line + "\n"
	}
	return block
}

// shipped loads a pack of the catalog.
func shipped(t testing.TB, name string) *Webhooks {
	t.Helper()
	p, err := Load(os.DirFS("catalog"), name)
	if err != nil {
		t.Fatal(err)
	}
	return p.Webhooks
}

func TestWebhooksDefaults(t *testing.T) {
	w := demo(t, demoBlock)
	if w.MaxBody != 25<<20 || w.AckWithin != 5*time.Second {
		t.Errorf("defaults are %d bytes and %s, want 25 MiB and 5 s", w.MaxBody, w.AckWithin)
	}
	w = demo(t, demoWith("max_body: 1MiB", "ack_within: 2s"))
	if w.MaxBody != 1<<20 || w.AckWithin != 2*time.Second {
		t.Errorf("settings became %d bytes and %s, want 1 MiB and 2 s", w.MaxBody, w.AckWithin)
	}
}

func TestWebhooksRefuses(t *testing.T) {
	verify := func(fields string) string {
		return "verify: [{scheme: hmac, hash: sha256, signature: {from: header:X-Sig, encoding: hex}, message: [{body: raw}]" + fields + "}]"
	}
	tests := map[string]struct{ line, path, text string }{
		"no verifier":             {"verify: []", "webhooks.verify:", "is missing"},
		"an unknown scheme":       {"verify: [{scheme: md5, hash: sha256, signature: {from: header:A, encoding: hex}, message: [{body: raw}]}]", "webhooks.verify[0].scheme:", `"md5" is unknown, want one of basic`},
		"no scheme":               {"verify: [{hash: sha256, signature: {from: header:A, encoding: hex}, message: [{body: raw}]}]", "webhooks.verify[0].scheme:", "is missing, want one of basic"},
		"an unknown hash":         {"verify: [{scheme: hmac, hash: md5, signature: {from: header:A, encoding: hex}, message: [{body: raw}]}]", "webhooks.verify[0].hash:", "want one of sha1, sha256, sha512"},
		"an unknown encoding":     {"verify: [{scheme: hmac, hash: sha1, signature: {from: header:A, encoding: base32}, message: [{body: raw}]}]", "webhooks.verify[0].signature.encoding:", "want one of hex, base64, base64url, raw"},
		"an unknown key":          {verify(", key: rot13"), "webhooks.verify[0].key:", "want one of utf8, hex, base64, base64url, whsec"},
		"an unknown field":        {verify(", haash: sha1"), "webhooks.verify[0].haash:", "did you mean hash?"},
		"a signature in the body": {"verify: [{scheme: hmac, hash: sha1, signature: {from: text:sig, encoding: hex}, message: [{body: raw}]}]", "webhooks.verify[0].signature.from:", "must be header:NAME"},
		"a pick without a split":  {"verify: [{scheme: hmac, hash: sha1, signature: {from: header:A, pick: v1, encoding: hex}, message: [{body: raw}]}]", "webhooks.verify[0].signature.pick:", "needs a split"},
		"no message":              {"verify: [{scheme: hmac, hash: sha1, signature: {from: header:A, encoding: hex}}]", "webhooks.verify[0].message:", "is missing"},
		"an empty message":        {"verify: [{scheme: hmac, hash: sha1, signature: {from: header:A, encoding: hex}, message: []}]", "webhooks.verify[0].message:", "must be a list of parts"},
		"an unknown part":         {"verify: [{scheme: hmac, hash: sha1, signature: {from: header:A, encoding: hex}, message: [{uri: raw}]}]", "webhooks.verify[0].message:", "want a text, {ts: raw}, {body: raw"},
		"a time without one":      {"verify: [{scheme: hmac, hash: sha1, signature: {from: header:A, encoding: hex}, message: [{ts: raw}, {body: raw}]}]", "webhooks.verify[0].message:", "has no timestamp"},
		"no tolerance":            {verify(", timestamp: {from: header:T, format: unix}"), "webhooks.verify[0].timestamp.tolerance:", "must be above zero"},
		"too much tolerance":      {verify(", timestamp: {from: header:T, format: unix, tolerance: 16m}"), "webhooks.verify[0].timestamp.tolerance:", "at most 15m0s"},
		"an unknown time format":  {verify(", timestamp: {from: header:T, format: iso, tolerance: 5m}"), "webhooks.verify[0].timestamp.format:", "want one of unix, unix_ms, rfc3339"},
		"one header for both":     {verify(", timestamp: {from: header:X-Sig, format: unix, tolerance: 5m}"), "webhooks.verify[0].timestamp.from:", "both need a pick"},
		"a huge body":             {"max_body: 101MiB", "webhooks.max_body:", "at most 100MiB"},
		"a slow answer":           {"ack_within: 2m", "webhooks.ack_within:", "at most 1m0s"},
		"no bodies":               {"bodies: []", "webhooks.bodies:", "is missing"},
		"an unknown body":         {"bodies: [json, xml]", "webhooks.bodies[1]:", `"xml" is unknown, want json, text`},
		"a form without a field":  {`bodies: [json, "form:"]`, "webhooks.bodies[1]:", "is unknown"},
		"no event":                {"event: []", "webhooks.event:", "is missing"},
		"an optional event":       {`event: ["json:/type?"]`, "webhooks.event[0]:", "at least one part that is not optional"},
		"a time as an order":      {`order: ["received:1s"]`, "webhooks.order[0]:", "it is for webhooks.delivery_id only"},
		"an optional id":          {`order: ["json:/id?"]`, "webhooks.order[0]:", "optional parts of delivery_id, event and subject only"},
		"an unsigned account":     {"account: [header:X-Shop]", "webhooks.account[0]:", "is not signed"},
		"an account of the URL":   {"account: [query:shop]", "webhooks.account[0]:", "is not signed"},
		"a form that is not sent": {"bodies: [json]", "webhooks.event[2]", "no such body"},
		"JSON that is not sent":   {"bodies: [form]", "webhooks.event[1]", "no such body"},
		"a bad pointer":           {"order: [json:repository]", "webhooks.order[0]:", "begins with /"},
		"a bad escape":            {"order: [json:/a~2]", "webhooks.order[0]:", "~0 (for ~) or ~1 (for /)"},
		"a bad header":            {`order: ["header:X Y"]`, "webhooks.order[0]:", "is not a header name"},
		"an unknown source":       {"order: [cookie:x]", "webhooks.order[0]:", "want one of header:NAME"},
		"an unknown hash source":  {"order: [hash:headers]", "webhooks.order[0]:", "hash:body"},
		"an empty source":         {`order: ["text:"]`, "webhooks.order[0]:", "after the colon"},
		"a source that is none":   {"order: [7]", "webhooks.order[0]:", `must be a text: write "7"`},
		"a time of no format":     {"time: [{from: json:/t}]", "webhooks.time[0].format:", "is missing"},
		"a time of nothing":       {"time: [{format: unix}]", "webhooks.time[0].from:", "is missing"},
		"a handshake always":      {"handshake: [{respond: {status: 200}}]", "webhooks.handshake[0].when:", "every delivery would be a handshake"},
		"a handshake for none":    {"handshake: [{when: {}}]", "webhooks.handshake[0].when:", "must be a mapping"},
		"a redirecting handshake": {"handshake: [{when: {json:/t: x}, respond: {status: 302}}]", "webhooks.handshake[0].respond.status:", "from 200 to 299"},
		"a kept signature":        {"keep_headers: [x-sig]", "webhooks.keep_headers[0]:", "must not travel on"},
		"a kept credential":       {"keep_headers: [Authorization]", "webhooks.keep_headers[0]:", "must not travel on"},
		"a kept attribute":        {"keep_headers: [X-Time]", "webhooks.keep_headers[0]:", `the attribute "time"`},
		"a kept attribute twice":  {"keep_headers: [X-A-B, AB]", "webhooks.keep_headers[1]:", `the attribute "ab"`},
		"a kept nothing":          {"keep_headers: ['X Y']", "webhooks.keep_headers[0]:", "is not a header name"},
		"too many kept":           {"keep_headers: [A1, A2, A3, A4, A5, A6, A7, A8, A9]", "webhooks.keep_headers:", "at most 8"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			_, err := loadDemo(demoWith(tt.line))
			if err == nil || !strings.Contains(err.Error(), tt.path) || !strings.Contains(err.Error(), tt.text) {
				t.Errorf("got error\n%v\nwant one with %q and %q", err, tt.path, tt.text)
			}
		})
	}
}

func TestBinding(t *testing.T) {
	tests := map[string]struct {
		fields string
		want   events.Verified
	}{
		"body":              {"message: [{body: raw}]", events.VerifiedBody},
		"time and body":     {"message: [{ts: raw}, ., {body: raw}], timestamp: {from: header:T, format: unix, tolerance: 5m}", events.VerifiedBodyTime},
		"body, other time":  {"message: [{body: raw}], timestamp: {from: header:T, format: unix, tolerance: 5m}", events.VerifiedBody},
		"time only":         {"message: [{ts: raw}], timestamp: {from: header:T, format: unix, tolerance: 5m}", events.VerifiedOrigin},
		"nothing of either": {"message: [fixed]", events.VerifiedOrigin},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			w := demo(t, demoWith("verify: [{scheme: hmac, hash: sha256, signature: {from: header:X-Sig, encoding: hex}, "+tt.fields+"}]"))
			if got := w.Verifiers[0].binding(); got != tt.want {
				t.Errorf("binding is %s, want %s", got, tt.want)
			}
		})
	}
}

func TestExtensionName(t *testing.T) {
	for header, want := range map[string]string{
		"X-Slack-Retry-Num": "slackretrynum",
		"x-GitHub-Hook-ID":  "githubhookid",
		"Linear-Event":      "linearevent",
		"X-X-1":             "x1",
	} {
		if got := extensionName(header); got != want {
			t.Errorf("extensionName(%s) is %s, want %s", header, got, want)
		}
	}
}
