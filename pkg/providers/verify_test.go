package providers

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/plugfn/plugfn/pkg/events"
)

const (
	githubSecret    = "It's a Secret to Everybody"
	githubSignature = "757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17" // of Hello, World!
	sentAt          = 1700000000
)

func secretList(texts ...string) []Secret {
	var all []Secret
	for _, s := range texts {
		all = append(all, NewSecret([]byte(s)))
	}
	return all
}

// verify checks d for an endpoint with the secrets.
func verify(w *Webhooks, d *Delivery, secrets []Secret) (Verdict, error) {
	return w.Verify(context.Background(), d, Check{Secrets: secrets})
}

// sign signs d with a secret.
func sign(w *Webhooks, d *Delivery, secret Secret) error {
	return w.NewSigner([]Secret{secret}, Secret{}).Sign(d, "")
}

// sumOf is what the i-th verifier makes of d with the key "key".
func sumOf(t *testing.T, w *Webhooks, i int, stamp string, d *Delivery) []byte {
	t.Helper()
	v := w.Verifiers[i]
	sum, err := v.sum(&inspection{w: w, d: d, c: Check{}, stamp: stamp}, []byte("key"), v.Message)
	if err != nil {
		t.Fatal(err)
	}
	return sum
}

// received is a delivery of a body with headers, given as name and value in turn.
func received(body string, headers ...string) *Delivery {
	d := &Delivery{Method: http.MethodPost, Header: http.Header{}, Body: []byte(body), ReceivedAt: time.Unix(sentAt, 0)}
	for i := 0; i < len(headers); i += 2 {
		d.Header.Add(headers[i], headers[i+1])
	}
	return d
}

// reasonOf is why a delivery was refused, "" when it was not.
func reasonOf(t *testing.T, err error) string {
	t.Helper()
	var refusal *VerifyError
	if err != nil && !errors.As(err, &refusal) {
		t.Fatalf("got error %v, want a *VerifyError", err)
	}
	if refusal == nil {
		return ""
	}
	return refusal.Reason
}

func TestVerifyGitHub(t *testing.T) {
	w := shipped(t, "github")
	tests := map[string]struct {
		headers []string
		reason  string
	}{
		"as published":        {[]string{"X-Hub-Signature-256", "sha256=" + githubSignature}, ""},
		"in upper case":       {[]string{"X-Hub-Signature-256", "sha256=" + strings.ToUpper(githubSignature)}, ""},
		"SHA-1 only":          {[]string{"X-Hub-Signature", "sha1=e087c4719d925321ae1609ee3c9507d9dee34668"}, ReasonMissingHeader},
		"the old header":      {[]string{"X-Hub-Signature", "sha256=" + githubSignature}, ReasonMissingHeader},
		"without the prefix":  {[]string{"X-Hub-Signature-256", githubSignature}, ReasonMalformed},
		"another prefix":      {[]string{"X-Hub-Signature-256", "sha1=" + githubSignature}, ReasonMalformed},
		"the prefix in caps":  {[]string{"X-Hub-Signature-256", "SHA256=" + githubSignature}, ReasonMalformed},
		"joined by a proxy":   {[]string{"X-Hub-Signature-256", "sha256=" + githubSignature + ", sha256=" + githubSignature}, ReasonMalformed},
		"a longer signature":  {[]string{"X-Hub-Signature-256", "sha256=" + githubSignature + "00"}, ReasonMalformed},
		"an empty one before": {[]string{"X-Hub-Signature-256", "", "X-Hub-Signature-256", "sha256=" + githubSignature}, ReasonDuplicateHeader},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			verdict, err := verify(w, received("Hello, World!", tt.headers...), secretList(githubSecret))
			if got := reasonOf(t, err); got != tt.reason {
				t.Fatalf("refused as %q, want %q", got, tt.reason)
			}
			if err == nil && verdict != (Verdict{Level: events.VerifiedBody}) {
				t.Errorf("verdict is %+v, want body by key 0", verdict)
			}
		})
	}
}

// TestVerifyForms holds each way of writing a signature against one that was
// made by openssl with the key "key".
func TestVerifyForms(t *testing.T) {
	const (
		body     = `{"a":1}`
		sha1Hex  = "e087c4719d925321ae1609ee3c9507d9dee34668"
		sha256v  = "a438e398bfafc57e4396bb7fc2304422f0f768e965d073ca313cb52e22e6ad03"
		sha512v  = "FMvBlgqM9BRdLfJMo8fpNH+XILwHYOCqgGjpZ1SppI9ajH1rTOqpj0olJadhqPVevWMZUCaWw8cwArr1FdvF/w=="
		sha512u  = "FMvBlgqM9BRdLfJMo8fpNH-XILwHYOCqgGjpZ1SppI9ajH1rTOqpj0olJadhqPVevWMZUCaWw8cwArr1FdvF_w"
		bodyOnly = "iKZ/JLvNrtDmyZdAS7eadDuvRMa6svTCcyjjAJ0i40I="
		other    = "0000000000000000000000000000000000000000000000000000000000000000"
	)
	const (
		timed  = "message: [{ts: raw}, ., {body: raw}], timestamp: {from: header:X-Time, format: unix, tolerance: 5m}"
		picked = "hash: sha256, signature: {from: header:X-Sig, split: ',', pick: v1, encoding: hex}, message: [{ts: raw}, ., {body: raw}]," +
			" timestamp: {from: header:X-Sig, split: ',', pick: t, format: unix, tolerance: 5m}"
		listed = "hash: sha256, signature: {from: header:X-Sig, split: ' ', prefix: 'v1,', encoding: hex}, " + timed
	)
	tests := map[string]struct {
		verifier, secret, signature, reason string
	}{
		"sha1 in hex":                 {"hash: sha1, signature: {from: header:X-Sig, encoding: hex}, " + timed, "key", sha1Hex, ""},
		"sha512 in base64":            {"hash: sha512, signature: {from: header:X-Sig, encoding: base64}, " + timed, "key", sha512v, ""},
		"base64 has case":             {"hash: sha512, signature: {from: header:X-Sig, encoding: base64}, " + timed, "key", strings.ToUpper(sha512v[:40]) + sha512v[40:], ReasonMismatch},
		"base64 has padding":          {"hash: sha512, signature: {from: header:X-Sig, encoding: base64}, " + timed, "key", strings.TrimRight(sha512v, "="), ReasonMalformed},
		"base64 is not base64url":     {"hash: sha512, signature: {from: header:X-Sig, encoding: base64}, " + timed, "key", sha512u + "==", ReasonMalformed},
		"base64url":                   {"hash: sha512, signature: {from: header:X-Sig, encoding: base64url}, " + timed, "key", sha512u, ""},
		"base64url with padding":      {"hash: sha512, signature: {from: header:X-Sig, encoding: base64url}, " + timed, "key", sha512u + "==", ""},
		"base64 behind a hex prefix":  {"hash: sha256, signature: {from: header:X-Sig, prefix: sha256=, encoding: base64}, message: [{body: raw}]", "key", "sha256=" + bodyOnly, ""},
		"a key in hex":                {"key: hex, hash: sha256, signature: {from: header:X-Sig, encoding: hex}, " + timed, "6B6579", sha256v, ""},
		"a key in base64":             {"key: base64, hash: sha256, signature: {from: header:X-Sig, encoding: hex}, " + timed, "a2V5", sha256v, ""},
		"a key with whsec_":           {"key: whsec, hash: sha256, signature: {from: header:X-Sig, encoding: hex}, " + timed, "whsec_a2V5", sha256v, ""},
		"a key without its whsec_":    {"key: whsec, hash: sha256, signature: {from: header:X-Sig, encoding: hex}, " + timed, "a2V5", sha256v, ""},
		"whsec_ is text in utf8":      {"hash: sha256, signature: {from: header:X-Sig, encoding: hex}, " + timed, "whsec_a2V5", sha256v, ReasonMismatch},
		"a key that is not hex":       {"key: hex, hash: sha256, signature: {from: header:X-Sig, encoding: hex}, " + timed, "key", sha256v, ReasonNoSecret},
		"a key that is only whsec_":   {"key: whsec, hash: sha256, signature: {from: header:X-Sig, encoding: hex}, " + timed, "whsec_", sha256v, ReasonNoSecret},
		"a time and a signature":      {picked, "key", "t=1700000000,v1=" + sha256v, ""},
		"the time last, and spaces":   {picked, "key", "v1=" + sha256v + ", t=1700000000", ""},
		"several, the last is right":  {picked, "key", "t=1700000000,v1=" + other + ",v1=" + sha256v, ""},
		"another version beside":      {picked, "key", "t=1700000000,v1=" + sha256v + ",v0=zz,v2", ""},
		"another version only":        {picked, "key", "t=1700000000,v0=" + sha256v, ReasonMalformed},
		"no time":                     {picked, "key", "v1=" + sha256v, ReasonMalformed},
		"two times":                   {picked, "key", "t=1700000000,t=1700000000,v1=" + sha256v, ReasonMalformed},
		"another time":                {picked, "key", "t=1700000001,v1=" + sha256v, ReasonMismatch},
		"an old time":                 {picked, "key", "t=1699999699,v1=" + sha256v, ReasonStale},
		"a future time":               {picked, "key", "t=1700000301,v1=" + sha256v, ReasonFuture},
		"a list":                      {listed, "key", "v1," + other + " v1," + sha256v + " v1a,AAAA", ""},
		"a list of others":            {listed, "key", "v1a," + sha256v, ReasonMalformed},
		"a list of 16":                {listed, "key", strings.Repeat("v1,"+other+" ", 15) + "v1," + sha256v, ""},
		"a list of 17":                {listed, "key", strings.Repeat("v1,"+other+" ", 16) + "v1," + sha256v, ReasonMalformed},
		"one of a list is not in hex": {listed, "key", "v1,zz v1," + sha256v, ""},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			w := demo(t, demoWith("verify: [{scheme: hmac, "+tt.verifier+"}]"))
			d := received(body, "X-Sig", tt.signature, "X-Time", strconv.Itoa(sentAt))
			_, err := verify(w, d, secretList(tt.secret))
			if got := reasonOf(t, err); got != tt.reason {
				t.Errorf("refused as %q, want %q", got, tt.reason)
			}
		})
	}
}

func TestVerifyTime(t *testing.T) {
	const start = "verify: [{scheme: hmac, hash: sha256, signature: {from: header:X-Sig, encoding: hex}, message: [{ts: raw}, {body: raw}], timestamp: {from: header:X-Time, tolerance: 1m, format: "
	tests := []struct{ format, text, reason string }{
		{"unix", "1700000060", ""},
		{"unix", "1699999940", ""},
		{"unix", "1700000061", ReasonFuture},
		{"unix", "1699999939", ReasonStale},
		{"unix", "9999999999999", ReasonFuture},
		{"unix", "0", ReasonStale},
		{"unix", "10000000000000", ReasonMalformed},
		{"unix", "１７０００００００００", ReasonMalformed},
		{"unix_ms", "1700000060000", ""},
		{"unix_ms", "1700000060001", ReasonFuture},
		{"unix_ms", "1699999939999", ReasonStale},
		{"unix_ms", "1700000000", ReasonStale},
		{"rfc3339", "2023-11-14T22:13:20Z", ""},
		{"rfc3339", "2023-11-14T23:13:20.5+01:00", ""},
		{"rfc3339", "2023-11-14T22:14:20.001Z", ReasonFuture},
		{"rfc3339", "2023-11-14T23:13:20Z", ReasonFuture},
		{"rfc3339", "2023-11-14 22:13:20", ReasonMalformed},
		{"rfc3339", "1700000000", ReasonMalformed},
	}
	for _, tt := range tests {
		t.Run(tt.format+" "+tt.text, func(t *testing.T) {
			w := demo(t, demoWith(start+tt.format+"}}]"))
			d := received("{}", "X-Time", tt.text)
			d.Header.Set("X-Sig", hex.EncodeToString(sumOf(t, w, 0, tt.text, d)))
			_, err := verify(w, d, secretList("key"))
			if got := reasonOf(t, err); got != tt.reason {
				t.Errorf("refused as %q, want %q", got, tt.reason)
			}
		})
	}
}

// TestVerifyAlternatives has two verifiers: the first whose header is there
// decides, so that nobody can choose the weaker one.
func TestVerifyAlternatives(t *testing.T) {
	w := demo(t, demoWith("verify: [{scheme: hmac, hash: sha256, signature: {from: header:X-New, encoding: hex}, message: [{body: raw}]},"+
		" {scheme: hmac, hash: sha1, signature: {from: header:X-Old, encoding: hex}, message: [fixed]}]"))
	signed := func(i int) string { return hex.EncodeToString(sumOf(t, w, i, "", received("{}"))) }
	tests := map[string]struct {
		headers []string
		level   events.Verified
		reason  string
	}{
		"the new one":              {[]string{"X-New", signed(0)}, events.VerifiedBody, ""},
		"the old one":              {[]string{"X-Old", signed(1)}, events.VerifiedOrigin, ""},
		"both":                     {[]string{"X-New", signed(0), "X-Old", "00"}, events.VerifiedBody, ""},
		"a wrong one and an old":   {[]string{"X-New", strings.Repeat("0", 64), "X-Old", signed(1)}, "", ReasonMismatch},
		"an empty one and an old":  {[]string{"X-New", "", "X-Old", signed(1)}, "", ReasonMissingHeader},
		"neither":                  {[]string{"X-Other", signed(0)}, "", ReasonMissingHeader},
		"the old one's in the new": {[]string{"X-New", signed(1)}, "", ReasonMalformed},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			verdict, err := verify(w, received("{}", tt.headers...), secretList("key"))
			if got := reasonOf(t, err); got != tt.reason || verdict.Level != tt.level {
				t.Errorf("level %q, refused as %q; want %q and %q", verdict.Level, got, tt.level, tt.reason)
			}
		})
	}
}

func TestCheckSecret(t *testing.T) {
	w := demo(t, demoWith("verify: [{scheme: hmac, key: whsec, hash: sha256, signature: {from: header:X-Sig, encoding: hex}, message: [{body: raw}]}]"))
	if err := w.CheckSecret(NewSecret([]byte("whsec_a2V5"))); err != nil {
		t.Errorf("a good secret: %v", err)
	}
	for _, bad := range []string{"", "whsec_", "whsec_not base64", "hunter2!"} {
		err := w.CheckSecret(NewSecret([]byte(bad)))
		if err == nil || bad != "" && strings.Contains(err.Error(), strings.TrimPrefix(bad, "whsec_")) && bad != "whsec_" {
			t.Errorf("secret %q: got error %v, want one that does not show it", bad, err)
		}
		if err := sign(w, received("{}"), NewSecret([]byte(bad))); err == nil {
			t.Errorf("signed with secret %q", bad)
		}
	}
}

// randomScheme draws a verifier, a secret in its form, and a delivery.
func randomScheme(t *rapid.T) (*Webhooks, Secret, *Delivery) {
	v := &Verifier{
		Scheme: "hmac", Secret: "signing",
		Hash: rapid.SampledFrom([]string{"sha1", "sha256", "sha512"}).Draw(t, "hash"),
		Key:  rapid.SampledFrom([]string{"utf8", "hex", "base64", "whsec"}).Draw(t, "key"),
		Signature: Signature{
			From:     Places{{kind: sourceHeader, name: "X-Sig"}},
			Prefix:   rapid.SampledFrom([]string{"", "v0=", "sha256="}).Draw(t, "prefix"),
			Encoding: rapid.SampledFrom([]string{"hex", "base64", "base64url"}).Draw(t, "encoding"),
		},
		Message: Message{{text: "v0:"}, {kind: partBody, text: "raw"}},
	}
	if rapid.Bool().Draw(t, "timed") {
		v.Message = Message{{text: "v0:"}, {kind: partTime, text: "raw"}, {text: ":"}, {kind: partBody, text: "raw"}}
		v.Timestamp = &Timestamp{
			From:      Source{kind: sourceHeader, name: "X-Time"},
			Format:    rapid.SampledFrom(timeFormats()).Draw(t, "format"),
			Tolerance: 5 * time.Minute,
		}
		if rapid.Bool().Draw(t, "picked") {
			v.Timestamp.From, v.Timestamp.Split, v.Timestamp.Pick = v.Signature.From[0], ",", "t"
			v.Signature.Split, v.Signature.Pick = ",", "v1"
		}
	}
	secrets := map[string]string{"utf8": "key", "hex": "6b6579", "base64": "a2V5", "whsec": "whsec_a2V5"}
	d := received(rapid.String().Draw(t, "body"))
	d.ReceivedAt = time.Unix(rapid.Int64Range(1e9, 4e9).Draw(t, "at"), 0)
	return &Webhooks{Verifiers: []*Verifier{v}, Secrets: []SecretKind{{Name: "signing"}}}, NewSecret([]byte(secrets[v.Key])), d
}

// TestSignedVerifies: what Sign makes verifies, and after the change of any
// single bit that the signature covers it does not.
func TestSignedVerifies(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w, secret, d := randomScheme(t)
		if err := sign(w, d, secret); err != nil {
			t.Fatal(err)
		}
		if _, err := verify(w, d, []Secret{secret}); err != nil {
			t.Fatalf("signed and refused: %v", err)
		}
		places := []string{"X-Sig"}
		if d.Header.Get("X-Time") != "" {
			places = append(places, "X-Time")
		}
		if len(d.Body) > 0 {
			places = append(places, "body")
		}
		place := rapid.SampledFrom(places).Draw(t, "place")
		text := []byte(d.Header.Get(place))
		if place == "body" {
			text = d.Body
		}
		at := rapid.IntRange(0, len(text)-1).Draw(t, "byte")
		before := text[at]
		text[at] ^= 1 << rapid.IntRange(0, 7).Draw(t, "bit")
		if place != "body" {
			d.Header.Set(place, string(text))
		}
		digits := 2 * newHash(w.Verifiers[0].Hash)().Size() // at the end; case does not matter there
		sameHex := w.Verifiers[0].Signature.Encoding == "hex" && place == "X-Sig" &&
			at >= len(text)-digits && text[at] == before^0x20
		if _, err := verify(w, d, []Secret{secret}); err == nil && !sameHex {
			t.Fatalf("changed and accepted: %s byte %d from %q to %q", place, at, before, text[at])
		}
	})
}

var plainSeconds = regexp.MustCompile(`^[0-9]{1,13}$`)

func FuzzVerify(f *testing.F) {
	const secret = "8f742231b10e8888abcd99yyyzzz85a5"
	sign := func(ts, body string) string {
		h := hmac.New(sha256.New, []byte(secret))
		fmt.Fprintf(h, "v0:%s:%s", ts, body)
		return "v0=" + hex.EncodeToString(h.Sum(nil))
	}
	for _, ts := range []string{"1700000000", "1700000301", "0", "-1", "1e9", "", "99999999999999999999"} {
		f.Add(sign(ts, "{}"), ts, "{}")
		f.Add(strings.ToUpper(sign(ts, "")), ts, "")
		f.Add(sign(ts, "{}")+","+sign(ts, "{}"), ts, "{}")
	}
	f.Add("v0=", "1700000000", "x")
	f.Add(" "+sign("1700000000", "x")+" ", "1700000000", "x")
	w := shipped(f, "slack")
	f.Fuzz(func(t *testing.T, signature, ts, body string) {
		d := received(body, "X-Slack-Signature", signature, "X-Slack-Request-Timestamp", ts)
		verdict, err := verify(w, d, secretList(secret))
		reasonOf(t, err)
		seconds, _ := strconv.ParseInt(ts, 10, 64)
		fresh := plainSeconds.MatchString(ts) && seconds >= sentAt-300 && seconds <= sentAt+300
		encoded, prefixed := strings.CutPrefix(strings.TrimSpace(signature), "v0=")
		genuine := prefixed && strings.ToLower(encoded) == strings.TrimPrefix(sign(ts, body), "v0=")
		if (err == nil) != (fresh && genuine) {
			t.Errorf("verdict %+v, %v; fresh %v, genuine %v", verdict, err, fresh, genuine)
		}
		if err == nil && verdict.Level != events.VerifiedBodyTime {
			t.Errorf("level is %s", verdict.Level)
		}
	})
}

// TestFormAroundADocument: a signature of the JSON in a form is none of what
// somebody puts beside it.
func TestFormAroundADocument(t *testing.T) {
	w := demo(t, demoWith("bodies: [json, form:payload]",
		"verify: [{scheme: hmac, hash: sha256, signature: {from: header:X-Sig, encoding: hex}, message: [{body: document}]}]"))
	doc := `{"type":"created"}`
	mac := hmac.New(sha256.New, []byte("s"))
	mac.Write([]byte(doc))
	signature := hex.EncodeToString(mac.Sum(nil))
	field := "payload=" + url.QueryEscape(doc)
	for body, want := range map[string]string{
		field:       "",
		field + "&": "",
		field + "&payload=" + url.QueryEscape(`{"type":"deleted"}`): ReasonMalformed,
		field + "&type=deleted": ReasonMalformed,
		"type=deleted&" + field: ReasonMalformed,
	} {
		d := &Delivery{
			Method: http.MethodPost, Body: []byte(body), ReceivedAt: time.Now(),
			Header: http.Header{"Content-Type": {formType}, "X-Sig": {signature}},
		}
		_, err := w.Verify(t.Context(), d, Check{Secrets: []Secret{NewSecret([]byte("s"))}})
		var refusal *VerifyError
		if errors.As(err, &refusal); want == "" && err != nil || want != "" && (refusal == nil || refusal.Reason != want) {
			t.Errorf("%s: got %v, want %q", body, err, want)
		}
	}
}

// TestSNSMembersOnLinesOfTheirOwn: the signed text of a message with a subject is
// not that of one whose id goes on in a second line.
func TestSNSMembersOnLinesOfTheirOwn(t *testing.T) {
	w := demo(t, demoWith("verify: [{scheme: rsa, hash: sha256, signature: {from: json:/Signature, encoding: base64}, message: [{canonical: sns}]}]"))
	text := func(id, subject string) (string, error) {
		in := &inspection{w: w, c: Check{}, d: &Delivery{Method: http.MethodPost, Header: http.Header{}, Body: []byte(
			`{"Type":"Notification","Message":"two\nlines","MessageId":"` + id + `"` + subject + `,"Timestamp":"t","TopicArn":"a"}`)}}
		return in.sns()
	}
	genuine, err := text("1", `,"Subject":"s"`)
	if err != nil {
		t.Fatal(err)
	}
	if forged, err := text(`1\nSubject\ns`, ""); err == nil {
		t.Errorf("taken; the same text is %t", forged == genuine)
	}
}
