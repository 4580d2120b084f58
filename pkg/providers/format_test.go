package providers

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestBatch(t *testing.T) {
	tests := map[string]struct {
		block, body string
		want        []string // id|name|account|data
		broken      bool
	}{
		"items":              {"batch: {items: [json:/events]}", `{"to":"T","events":[{"id":"a","type":"x"},{"id":7,"type":"y"}]}`, []string{`a|x|T|{"id":"a","type":"x"}`, `7|y|T|{"id":7,"type":"y"}`}, false},
		"without ids":        {"batch: {items: [json:/events]}", `{"to":"T","events":[{"type":"x"}, {"type":"x"} ]}`, []string{`d-1.0|x|T|{"type":"x"}`, `d-1.1|x|T|{"type":"x"}`}, false},
		"the whole body":     {`batch: {items: ["json:"]}`, `[{"id":"a","type":"x"}]`, []string{`a|x||{"id":"a","type":"x"}`}, false},
		"nested":             {"batch: {items: [json:/entry, item:/changes]}", `{"entry":[{"id":"E1","changes":[{"id":1,"type":"x"}]},{"id":"E2","changes":[]},{"id":"E3","changes":[{"id":2,"type":"y"}]}]}`, []string{`1|x|E1|{"id":1,"type":"x"}`, `2|y|E3|{"id":2,"type":"y"}`}, false},
		"none":               {"batch: {items: [json:/events]}", `{"to":"T","events":[]}`, nil, false},
		"no list":            {"batch: {items: [json:/events]}", `{"to":"T","events":{}}`, nil, true},
		"nothing":            {"batch: {items: [json:/events]}", `{"to":"T"}`, nil, true},
		"too many":           {"batch: {items: [json:/events], max: 1}", `{"events":[{"id":"a","type":"x"},{"id":"b","type":"x"}]}`, nil, true},
		"too many, nested":   {"batch: {items: [json:/entry, item:/changes], max: 1}", `{"entry":[{"changes":[{"type":"x"}]},{"changes":[{"type":"y"}]}]}`, nil, true},
		"one without a name": {"batch: {items: [json:/events]}", `{"events":[{"id":"a","type":"x"},{"id":"b"}]}`, nil, true},
		"an item of text":    {"batch: {items: [json:/events]}", `{"events":["x"]}`, nil, true},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			account := "account: [json:/to]"
			if strings.Contains(tt.block, "entry") {
				account = "account: [outer:/id]"
			}
			w := demo(t, demoWith(tt.block, "event: [item:/type]", "delivery_id: [item:/id, header:X-Id]", account))
			r, err := w.Read(received(tt.body, "Content-Type", jsonType, "X-Id", "d-1"))
			if err != nil {
				t.Fatal(err)
			}
			all, err := r.Events()
			if errors.Is(err, ErrUnparsable) != tt.broken {
				t.Fatalf("got error %v", err)
			}
			var got []string
			for _, n := range all {
				got = append(got, strings.Join([]string{n.ID, n.Name, n.Account, string(n.Data)}, "|"))
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("events (-want +got):\n%s", diff)
			}
		})
	}
}

// TestUnsignedHandshakes has those of Meta, Dropbox, X, Microsoft, Asana, Notion,
// monday and Trello.
func TestUnsignedHandshakes(t *testing.T) {
	w := demo(t, demoWith("max_body: 1MiB", "secrets: [{name: signing}, {name: verify_token, optional: true}]", `handshake:
    - {method: GET, signed: none, when: {"query:hub.mode": subscribe, "query:hub.verify_token": {secret: verify_token}}, respond: {text: "query:hub.challenge"}}
    - {method: GET, signed: none, when: {"query:challenge": {present: true}}, respond: {text: "query:challenge"}}
    - {method: GET, signed: none, when: {"query:crc_token": {present: true}}, respond: {charset: base64, json: {response_token: {hmac: {of: "query:crc_token", hash: sha256, prefix: "sha256=", encoding: base64}}}}}
    - {signed: none, when: {"query:validationToken": {present: true}}, respond: {charset: words, text: "query:validationToken"}}
    - {signed: none, only: pending, when: {"header:X-Hook-Secret": {present: true}}, learn: {from: "header:X-Hook-Secret"}, respond: {headers: {X-Hook-Secret: "header:X-Hook-Secret"}}}
    - {signed: none, only: pending, when: {"json:/verification_token": {present: true}}, learn: {from: "json:/verification_token"}}
    - {signed: optional, when: {"json:/challenge": {present: true}}, respond: {json: {challenge: "json:/challenge", ok: true}}}
    - {method: HEAD, signed: none}`))
	signing := NewSecret([]byte("key"))
	known := []Secret{signing, NewSecret([]byte("verify_token:right"))}
	tests := map[string]struct {
		method, query, body string
		headers             []string
		pending             bool
		want                string // status, content type, body, headers, learned; "": no handshake
	}{
		"Meta":                     {http.MethodGet, "hub.mode=subscribe&hub.verify_token=right&hub.challenge=17", "", nil, false, "200 text/plain; charset=utf-8 17 map[] "},
		"Meta, another token":      {http.MethodGet, "hub.mode=subscribe&hub.verify_token=wrong&hub.challenge=17", "", nil, false, ""},
		"Meta, no token":           {http.MethodGet, "hub.mode=subscribe&hub.challenge=17", "", nil, false, ""},
		"Meta, two tokens":         {http.MethodGet, "hub.mode=subscribe&hub.verify_token=right&hub.verify_token=right&hub.challenge=17", "", nil, false, ""},
		"Meta, a script":           {http.MethodGet, "hub.mode=subscribe&hub.verify_token=right&hub.challenge=<script>", "", nil, false, ""},
		"Dropbox":                  {http.MethodGet, "challenge=abc", "", nil, false, "200 text/plain; charset=utf-8 abc map[] "},
		"X":                        {http.MethodGet, "crc_token=abc", "", nil, false, `200 application/json {"response_token":"sha256=nBluMtwBdfhvSxy4konWYZ3mvuaZ5MN45oMJ7Zehpqs="} map[] `},
		"X, a body to sign":        {http.MethodGet, "crc_token=" + url.QueryEscape(`{"a":1}`), "", nil, false, ""},
		"X, a long token":          {http.MethodGet, "crc_token=" + strings.Repeat("a", 257), "", nil, false, ""},
		"Microsoft":                {http.MethodPost, "validationToken=Validation%3A+Testing+client", "", nil, false, "200 text/plain; charset=utf-8 Validation: Testing client map[] "},
		"Microsoft, a script":      {http.MethodPost, "validationToken=%3Cscript%3E", "", nil, false, ""},
		"Asana":                    {http.MethodPost, "", "", []string{"X-Hook-Secret", "s3cret"}, true, "200   map[X-Hook-Secret:s3cret] s3cret"},
		"Asana, later":             {http.MethodPost, "", "", []string{"X-Hook-Secret", "other"}, false, ""},
		"Notion":                   {http.MethodPost, "", `{"verification_token":"secret_1"}`, nil, true, "200   map[] secret_1"},
		"Notion, later":            {http.MethodPost, "", `{"verification_token":"secret_1"}`, nil, false, ""},
		"monday":                   {http.MethodPost, "", `{"challenge":"c1"}`, nil, false, `200 application/json {"challenge":"c1","ok":true} map[] `},
		"monday, with a signature": {http.MethodPost, "", `{"challenge":"c1"}`, []string{"X-Sig", "00"}, false, ""},
		"Trello":                   {http.MethodHead, "", "", nil, false, "200   map[] "},
		"something else":           {http.MethodPost, "", `{"type":"x"}`, nil, true, ""},
		"another method":           {http.MethodDelete, "challenge=abc", "", nil, true, ""},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			d := received(tt.body, tt.headers...)
			d.Method, d.URL = tt.method, &url.URL{Path: "/webhooks/demo", RawQuery: tt.query}
			got := ""
			if reply, ok := w.UnsignedHandshake(d, Check{Secrets: known, Pending: tt.pending}); ok {
				got = fmt.Sprintf("%d %s %s %v %s", reply.Status, reply.ContentType, reply.Body, reply.Headers, reply.Learn.Reveal())
			}
			if got != tt.want {
				t.Errorf("answered\n%q, want\n%q", got, tt.want)
			}
		})
	}
	if w.TakesMethod(http.MethodPut) || !w.TakesMethod(http.MethodHead) || !w.TakesMethod(http.MethodGet) {
		t.Error("methods are not those of the handshakes")
	}
}

func TestFormatRefuses(t *testing.T) {
	tests := map[string]struct{ line, path, text string }{
		"a token that is no hash": {"verify: [{scheme: token, hash: sha256, signature: {from: header:A}}]", "verify[0].hash:", "is not of scheme token"},
		"none with others":        {"verify: [{scheme: token, signature: {from: header:A}}, {scheme: none}]", "verify[1].scheme:", "must be the only one"},
		"a network with others":   {"verify: [{scheme: network, networks: [192.0.2.0/24]}, {scheme: token, signature: {from: header:A}}]", "verify[0].scheme:", "must be the only one"},
		"everybody's network":     {"verify: [{scheme: network, networks: [0.0.0.0/0]}]", "verify[0].networks[0]:", "must be a network"},
		"mixed algorithms":        {"verify: [{scheme: jwt, algorithms: [HS256, RS256], signature: {from: header:A}}]", "verify[0].algorithms:", "mixes HS"},
		"no algorithms":           {"verify: [{scheme: jwt, signature: {from: header:A}}]", "verify[0].algorithms:", "is missing"},
		"the algorithm none":      {"verify: [{scheme: jwt, algorithms: [none], signature: {from: header:A}}]", "verify[0].algorithms[0]:", "is unknown"},
		"a public secret":         {"verify: [{scheme: jwt, algorithms: [HS256], jwks: 'https://a.example/k', signature: {from: header:A}}]", "verify[0].jwks:", "is public"},
		"keys for everybody":      {"verify: [{scheme: jwt, algorithms: [RS256], jwks: 'https://a.example/k', signature: {from: header:A}}]", "verify[0].audience:", "for others as well"},
		"keys without TLS":        {"verify: [{scheme: jwt, algorithms: [RS256], jwks: 'http://a.example/k', audience: [a], signature: {from: header:A}}]", "verify[0].jwks:", "https://"},
		"any certificate":         {"verify: [{scheme: rsa, hash: sha256, certificate: {from: header:C}, signature: {from: header:A, encoding: hex}, message: [{body: raw}]}]", "certificate.hosts:", "anybody's certificate"},
		"a wide host":             {"verify: [{scheme: rsa, hash: sha256, certificate: {from: header:C, hosts: ['*.com']}, signature: {from: header:A, encoding: hex}, message: [{body: raw}]}]", "hosts[0]:", "must be a host"},
		"an unsigned hash":        {"verify: [{scheme: hmac, hash: sha256, signature: {from: header:A, encoding: hex}, message: [{url: registered}], body_hash: {from: header:H, hash: sha256, encoding: hex}}]", "body_hash.from:", "is not signed"},
		"a wrong level":           {"verify: [{scheme: token, signature: {from: header:A}, binding: body}]", "verify[0].binding:", "vouches for origin"},
		"an unknown secret":       {"verify: [{scheme: token, secret: other, signature: {from: header:A}}]", "verify[0]:", "no kind of secret"},
		"a big body read before":  {"max_body: 2MiB\n  verify: [{scheme: token, signature: {from: json:/a}}]", "max_body:", "at most 1MiB"},
		"a claim outside":         {"order: [claim:/sub]", "order[0]:", "for its verifier only"},
		"an item without a batch": {"order: [item:/a]", "order[0]:", "in a batch only"},
		"learning from anybody":   {"handshake: [{signed: none, when: {header:X-S: {present: true}}, learn: {from: header:X-S}}]", "handshake[0].only:", "take the endpoint over"},
		"calling for anybody":     {"handshake: [{signed: none, when: {json:/a: b}, confirm: {from: json:/u, hosts: [a.example.com]}}]", "handshake[0].signed:", "must be required"},
		"a signed GET":            {"handshake: [{method: GET, respond: {text: 'query:c'}}]", "handshake[0].signed:", "nobody signs a GET"},
		"signing words":           {"handshake: [{when: {json:/a: b}, respond: {charset: words, json: {t: {hmac: {of: json:/c, hash: sha256, encoding: hex}}}}}]", "respond.json:", "signs too much"},
		"setting a cookie":        {"handshake: [{when: {json:/a: b}, respond: {headers: {Set-Cookie: json:/c}}}]", "respond.headers.Set-Cookie:", "tells a browser"},
		"a secret in an answer":   {"handshake: [{when: {json:/a: b}, respond: {json: {s: {secret: signing}}}}]", "respond.json:", "neither the body nor a secret"},
		"an echo after storing":   {"answer: [{json: {a: json:/b}}]", "answer[0].json:", "must be a number"},
		"horizon":                 {"retry_horizon: 1000h", "retry_horizon:", "at most"},
		"source":                  {"sources: [\"http://acme.example\"]", "sources[0]:", "must be an https address"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			_, err := loadDemo(demoWith(strings.Split(tt.line, "\n  ")...))
			if err == nil || !strings.Contains(err.Error(), tt.path) || !strings.Contains(err.Error(), tt.text) {
				t.Errorf("got error\n%v\nwant one with %q and %q", err, tt.path, tt.text)
			}
		})
	}
}

func TestWith(t *testing.T) {
	w := demo(t, demoWith("parametrised: true"))
	own, err := w.With([]byte(`{"verify": [{"scheme": "token", "signature": {"from": "header:X-Token"}}], "event": ["json:/kind"]}`), App{})
	if err != nil {
		t.Fatal(err)
	}
	d := received(`{"kind":"k"}`, "X-Token", "key", "Content-Type", jsonType)
	if _, err := verify(own, d, secretList("key")); err != nil {
		t.Error(err)
	}
	if _, err := verify(w, d, secretList("key")); reasonOf(t, err) != ReasonMissingHeader {
		t.Errorf("the pack's own block gives %v", err)
	}
	r, err := own.Read(d)
	if err != nil {
		t.Fatal(err)
	}
	if n, err := r.Event(); err != nil || n.Name != "k" || n.Type != "com.demo.k" {
		t.Errorf("got %+v, %v", n, err)
	}
	for fragment, want := range map[string]string{
		`{"verfy": []}`:  "parameters:1: webhooks.verfy: unknown key, did you mean verify?",
		`{"verify": []}`: "webhooks.verify: is missing",
		`{"verify": [{"scheme": "none", "x": 1}]}`: "webhooks.verify[0].x: unknown key",
		`{"parametrised": false}`:                  "is the pack's to say",
		`[]`:                                       "must be a mapping",
		`{`:                                        "parameters:1",
	} {
		if _, err := w.With([]byte(fragment), App{}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want one with %q", fragment, err, want)
		}
	}
	if _, err := demo(t, demoBlock).With([]byte(`{}`), App{}); err == nil {
		t.Error("a pack without parameters took some")
	}
}

// TestBatchOr: an item may have its list below one of two names, and none makes
// no events of it.
func TestBatchOr(t *testing.T) {
	w := demo(t, demoWith("batch: {items: [json:/entry, item:/changes], or: item:/messaging}", "event: [item:/type]"))
	for body, want := range map[string]int{
		`{"entry":[{"changes":[{"type":"a"}]},{"messaging":[{"type":"b"},{"type":"c"}]}]}`: 3,
		`{"entry":[{"changes":[{"type":"a"}],"messaging":[{"type":"b"}]}]}`:                1,
		`{"entry":[{"messaging":[]}]}`:                                                     0,
		`{"entry":[{"standby":[{"type":"a"}]}]}`:                                           -1,
	} {
		r, err := w.Read(received(body))
		if err != nil {
			t.Fatal(err)
		}
		all, err := r.Events()
		if (err != nil) != (want < 0) || err == nil && len(all) != want {
			t.Errorf("%s: %d events, %v", body, len(all), err)
		}
	}
	if _, err := loadDemo(demoWith("batch: {items: [json:/entry], or: item:/messaging}", "event: [item:/type]")); err == nil || !strings.Contains(err.Error(), "webhooks.batch.or") {
		t.Errorf("got %v", err)
	}
}

// TestWithNeedsConsent: an endpoint's block is written by a user. What it has
// called, and what it takes unsigned, is the operator's to allow.
func TestWithNeedsConsent(t *testing.T) {
	w := demo(t, demoWith("parametrised: true", "max_body: 1MiB", "ack_within: 5s"))
	const (
		sig    = `"signature": {"from": "header:X-Sig", "encoding": "base64"}, "message": [{"body": "raw"}]`
		jwt    = `{"verify": [{"scheme": "jwt", "algorithms": ["RS256"], "signature": {"from": "header:A"}, "audience": ["me"], "jwks": "https://keys.example.com/jwks"}]}`
		rsa    = `{"verify": [{"scheme": "rsa", "hash": "sha256", "certificate": {"from": "json:/cert", "hosts": ["certs.example.com"]}, ` + sig + `}]}`
		wild   = `{"verify": [{"scheme": "rsa", "hash": "sha256", "certificate": {"from": "json:/cert", "hosts": ["*.example.com"]}, ` + sig + `}]}`
		also   = `{"verify": [{"scheme": "hmac", "hash": "sha256", ` + sig + `, "also": [{"scheme": "jwt", "algorithms": ["RS256"], "signature": {"from": "header:A"}, "audience": ["me"], "jwks": "https://keys.example.com/jwks"}]}]}`
		shake  = `{"handshake": [{"when": {"json:/a": "b"}, "confirm": {"from": "json:/url", "hosts": ["api.example.com"]}}]}`
		net    = `{"verify": [{"scheme": "network", "networks": ["192.0.2.0/24"]}]}`
		inside = `{"verify": [{"scheme": "hmac", "hash": "sha256", ` + sig + `, "also": [{"scheme": "network", "networks": ["192.0.2.0/24"]}]}]}`
		none   = `{"verify": [{"scheme": "none"}]}`
		world  = `{"verify": [{"scheme": "network", "networks": ["0.0.0.0/1", "128.0.0.0/1"]}]}`
		call   = `{"verify": [{"scheme": "callback", "call": {"method": "POST", "path": "/x", "body": {"a": "json:/a"}, "success": "status == 200", "example": {"status": 200}}}]}`
	)
	keys, all, unsigned := App{EndpointHosts: []string{"keys.example.com"}}, App{EndpointHosts: []string{"*.example.com"}}, App{AllowUnsigned: true}
	for name, tt := range map[string]struct {
		fragment string
		app      App
		want     string // "": it is taken
	}{
		"keys of another host":             {jwt, App{}, "webhooks.verify[0].jwks: keys.example.com is no host"},
		"keys of another host, unsigned":   {jwt, unsigned, "webhooks.verify[0].jwks:"},
		"keys of a host that is listed":    {jwt, keys, ""},
		"keys of a host of a pattern":      {jwt, all, ""},
		"an additional token":              {also, App{}, "webhooks.verify[0].also[0].jwks:"},
		"certificates":                     {rsa, keys, "webhooks.verify[0].certificate.hosts: certs.example.com is no host"},
		"certificates that are listed":     {rsa, all, ""},
		"more certificates than listed":    {wild, keys, "webhooks.verify[0].certificate.hosts:"},
		"as many certificates as listed":   {wild, all, ""},
		"an address that is called":        {shake, keys, "webhooks.handshake[0].confirm.hosts: api.example.com is no host"},
		"an address that may be called":    {shake, all, ""},
		"a network":                        {net, all, "webhooks.verify[0].scheme: network lets others send"},
		"a network, accepted":              {net, unsigned, ""},
		"a network beside a signature":     {inside, App{}, ""},
		"the world, accepted":              {world, unsigned, "webhooks.verify[0].networks[0]: must be a network of one sender"},
		"nothing":                          {none, all, "webhooks.verify[0].scheme: none lets others send"},
		"nothing, accepted":                {none, unsigned, ""},
		"a call with the app's own secret": {call, unsigned, "webhooks.verify[0].scheme: callback is the pack's"},
		"a larger body":                    {`{"max_body": "2MiB"}`, unsigned, "webhooks.max_body: must be at most"},
		"a slower answer":                  {`{"ack_within": "6s"}`, unsigned, "webhooks.ack_within: must be at most"},
	} {
		_, err := w.With([]byte(tt.fragment), tt.app)
		if (err == nil) != (tt.want == "") || err != nil && !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: got %v, want one with %q", name, err, tt.want)
		}
	}
}

// TestWithKeepsWhatThePackSays: what the operator's own pack has called or takes
// needs no second consent.
func TestWithKeepsWhatThePackSays(t *testing.T) {
	w := demo(t, demoWith("parametrised: true", `verify: [{scheme: network, networks: [192.0.2.0/24]}]`))
	if _, err := w.With([]byte(`{"order": ["json:/a"]}`), App{}); err != nil {
		t.Error(err)
	}
	w = demo(t, demoWith("parametrised: true", `verify: [{scheme: jwt, algorithms: [RS256], signature: {from: header:A}, audience: [me], jwks: "https://keys.example.com/jwks"}]`))
	if _, err := w.With([]byte(`{"verify": [{"scheme": "jwt", "algorithms": ["RS256"], "signature": {"from": "header:B"}, "audience": ["me"], "jwks": "https://keys.example.com/other"}]}`), App{}); err != nil {
		t.Error(err)
	}
}

func TestAllowedHosts(t *testing.T) {
	host := HostPattern{labels: []string{"sns", "*", "amazonaws", "com"}}
	for address, want := range map[string]bool{
		"https://sns.us-east-1.amazonaws.com/a.pem":          true,
		"https://sns.us-east-1.amazonaws.com/?Action=x&y=z":  true,
		"https://sns.a.b.amazonaws.com/a.pem":                false,
		"https://sns.s3.amazonaws.com/a.pem":                 false,
		"https://sns.s3-us-west-2.amazonaws.com/a.pem":       false,
		"https://sns.s3-external-1.amazonaws.com/a.pem":      false,
		"https://sns..amazonaws.com/a.pem":                   false,
		"https://sns.us-east-1.amazonaws.com.evil.tld/":      false,
		"https://sns.us-east-1.amazonaws.com@evil.tld/":      false,
		"http://sns.us-east-1.amazonaws.com/a.pem":           false,
		"https://sns.us-east-1.amazonaws.com:443/a.pem":      false,
		"https://sns.us-east-1.amazonaws.com/../a.pem":       false,
		"https://sns.us-east-1.amazonaws.com/a%2fb":          false,
		"https://evil.tld/sns.us-east-1.amazonaws.com/a.pem": false,
		"HTTPS://sns.us-east-1.amazonaws.com/a.pem":          false,
		"": false,
	} {
		if got := allowed(address, []HostPattern{host}); got != want {
			t.Errorf("%s: allowed is %v, want %v", address, got, want)
		}
	}
}
