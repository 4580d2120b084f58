package providers

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"strings"
	"testing"
)

// schemeBlocks has one verifier of each scheme.
var schemeBlocks = []string{
	"{scheme: hmac, hash: sha256, signature: {from: [header:X-Sig, 'query:sig'], split: ',', pick: v1, encoding: hex}, timestamp: {from: header:X-Time, format: unix, tolerance: 5m}, message: [{ts: raw}, {url: requested}, {body: raw}]}",
	"{scheme: hmac, hash: sha1, signature: {from: header:X-Sig, encoding: base64}, message: [{url: requested}, {form: sorted}]}",
	"{scheme: hmac, hash: sha512, signature: {from: json:/sig, encoding: base64url}, message: [{json: /id}, {canonical: contentful}]}",
	"{scheme: ed25519, signature: {from: header:X-Sig, encoding: hex}, message: [{body: raw}]}",
	"{scheme: ecdsa, hash: sha256, signature: {from: header:X-Sig, encoding: base64}, message: [{body: raw}]}",
	"{scheme: ecdsa, hash: sha256, signature: {from: header:X-Sig, encoding: base64, form: raw}, message: [{body: document}]}",
	"{scheme: rsa, hash: sha1, certificate: {from: json:/cert, hosts: [sns.*.demo.example]}, signature: {from: json:/sig, encoding: base64}, message: [{canonical: sns}]}",
	"{scheme: jwt, algorithms: [ES256], jwks: 'https://keys.demo.example/k', issuer: [demo], audience: [{url: registered}], signature: {from: header:X-Sig}}",
	"{scheme: token, signature: {from: [header:X-Sig, json:/sig, form:sig]}}",
	"{scheme: basic}",
}

// FuzzSchemes: whatever is sent, a scheme refuses it with a reason, unless it is
// what the signer made.
func FuzzSchemes(f *testing.F) {
	var all []*Signer
	for _, block := range schemeBlocks {
		w := demo(f, demoWith("bodies: [json, form, form:payload, text]", "verify: ["+block+"]"))
		all = append(all, w.NewSigner(nil, NewSecret([]byte("a-seed"))))
	}
	for i := range all {
		f.Add(uint8(i), `{"id":"1","sig":"x","cert":"x","Type":"Notification"}`, "00", "a=1&sig=2", "1700000000", jsonType)
		f.Add(uint8(i), "a=1&sig=x&payload={}", "v1=00,v1=", "sig=1", "", formType)
		f.Add(uint8(i), "", "eyJhbGciOiJub25lIn0.e30.", "", "-1", "text/plain")
		f.Add(uint8(i), "[", "Basic Og==", "%zz", "1e9", "")
	}
	const address = "https://hooks.example.com/webhooks/demo"
	f.Fuzz(func(t *testing.T, which uint8, body, signature, query, stamp, contentType string) {
		signer := all[int(which)%len(all)]
		d := received(body, "X-Sig", signature, "Authorization", signature, "X-Time", stamp, "Content-Type", contentType)
		d.URL = &url.URL{Path: "/webhooks/demo", RawQuery: query}
		check := Check{Secrets: signer.Secrets(), URL: address, Keys: signer}
		if _, err := signer.webhooks.Verify(context.Background(), d, check); err == nil {
			t.Fatal("nobody signed it and it passed")
		} else {
			reasonOf(t, err)
		}
		if signer.Sign(d, address) != nil {
			return // it has no place for the signature
		}
		if _, err := signer.webhooks.Verify(context.Background(), d, check); err != nil {
			switch reasonOf(t, err) {
			case ReasonDuplicateHeader, ReasonMalformed, ReasonMissingHeader, ReasonMismatch:
				return // what cannot be read cannot be signed: a query or a JSON with a text twice
			}
			t.Errorf("signed and refused: %v", err)
		}
	})
}

// FuzzHandshake: an answer holds nothing but short tokens of the request.
func FuzzHandshake(f *testing.F) {
	w := demo(f, demoWith("max_body: 1MiB", `handshake:
    - {method: GET, signed: none, when: {"query:c": {present: true}}, respond: {text: "query:c"}}
    - {signed: none, when: {"json:/c": {present: true}}, respond: {json: {c: "json:/c", s: {hmac: {of: "json:/c", hash: sha256, encoding: hex}}}}}
    - {signed: none, when: {"header:X-C": {present: true}}, respond: {charset: words, headers: {X-C: "header:X-C"}}}`))
	f.Add(http.MethodGet, "c=abc", "", "")
	f.Add(http.MethodPost, "", `{"c":"abc"}`, "a b")
	f.Add(http.MethodPost, "c=<script>", `{"c":"v0:{}"}`, "a\r\nb")
	f.Fuzz(func(t *testing.T, method, query, body, header string) {
		d := received(body, "X-C", header)
		d.Method, d.URL = method, &url.URL{RawQuery: query}
		reply, ok := w.UnsignedHandshake(d, Check{Secrets: secretList("key")})
		if !ok {
			return
		}
		answer := string(reply.Body) + reply.Headers["X-C"]
		if strings.ContainsAny(answer, "<>&'\r\n\\") || len(answer) > 1024 {
			t.Errorf("answered %q", answer)
		}
	})
}

// FuzzEvents: whatever a genuine batch holds, its events are within bounds and
// have ids of their own.
func FuzzEvents(f *testing.F) {
	w := demo(f, demoWith("batch: {items: [json:/entry, item:/changes], max: 20}", "event: [item:/type, present:/entry]", "delivery_id: [hash:body]", "account: [outer:/id]"))
	f.Add(`{"entry":[{"id":"E1","changes":[{"id":1,"type":"x"},{"type":"y"}]}]}`)
	f.Add(`{"entry":[{"changes":[[],{},null,"x",1e5]}]}`)
	f.Add(`{"entry":[]}`)
	f.Fuzz(func(t *testing.T, body string) {
		r, err := w.Read(received(body, "Content-Type", jsonType))
		if err != nil {
			return
		}
		all, err := r.Events()
		if err != nil && !errors.Is(err, ErrUnparsable) || len(all) > 20 {
			t.Fatalf("%d events, %v", len(all), err)
		}
		seen := map[string]bool{}
		for _, n := range all {
			checkBounds(t, w, n)
			if seen[n.ID] || !strings.Contains(body, string(n.Data)) {
				t.Errorf("event %+v", n)
			}
			seen[n.ID] = true
		}
	})
}
