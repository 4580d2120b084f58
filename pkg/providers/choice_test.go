package providers

import (
	"context"
	"crypto"
	"errors"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

// TestMessageWithEachSecret: what a message has of a secret may be of any that is
// good now, as the key may.
func TestMessageWithEachSecret(t *testing.T) {
	w := demo(t, demoWith(
		"secrets: [{name: signing}, {name: app}, {name: hook}]",
		"verify: [{scheme: hmac, hash: sha256, signature: {from: header:X-Sig, encoding: hex}, message: [{secret: app}, ., {secret: hook}, ., {secret: app}, ., {body: raw}]}]",
	))
	have := secretList("key-1", "app:a-1", "hook:h-1", "key-2", "app:a-2", "hook:h-2", "hook:h-3")
	for key := 1; key <= 2; key++ {
		for app := 1; app <= 3; app++ {
			for hook := 1; hook <= 4; hook++ {
				n := strconv.Itoa
				d := received(`{"type":"a"}`)
				if err := w.NewSigner(secretList("key-"+n(key), "app:a-"+n(app), "hook:h-"+n(hook)), Secret{}).Sign(d, ""); err != nil {
					t.Fatal(err)
				}
				verdict, err := verify(w, d, have)
				if known := app < 3 && hook < 4; (err == nil) != known || known && verdict.Key != (key-1)*3 {
					t.Errorf("key %d, app %d, hook %d: %+v, %v", key, app, hook, verdict, err)
				}
			}
		}
	}
	d := received(`{"type":"a"}`, "X-Sig", strings.Repeat("0", 64))
	if _, err := verify(w, d, secretList("key-1", "app:a-1")); reasonOf(t, err) != ReasonNoSecret {
		t.Errorf("without one of a kind: %v", err)
	}
	many := secretList("key-1")
	for i := range 1000 {
		many = append(many, NewSecret([]byte("app:"+strconv.Itoa(i))), NewSecret([]byte("hook:"+strconv.Itoa(i))))
	}
	if _, err := verify(w, d, many); reasonOf(t, err) != ReasonMismatch {
		t.Errorf("with a million combinations: %v", err)
	}
}

// asked is a provider that knows the deliveries to one hook.
type asked struct {
	hook  string
	calls int
}

func (a *asked) Call(_ context.Context, c Call) (CallAnswer, error) {
	a.calls++
	switch {
	case a.hook == "":
		return CallAnswer{}, errors.New("away")
	case strings.Contains(string(c.Body), `"`+a.hook+`"`):
		return CallAnswer{Status: 200, Body: []byte(`{"ok":true}`)}, nil
	default:
		return CallAnswer{Status: 200, Body: []byte(`{"ok":false}`)}, nil
	}
}

func TestCallWithEachSecret(t *testing.T) {
	w := demo(t, demoWith(
		"secrets: [{name: hook}]",
		`verify: [{scheme: callback, call: {method: POST, path: /check, body: {hook: {secret: hook}, event: {body: json}}, success: 'body.ok == true', example: {status: 200, body: {ok: true}}}}]`,
	))
	for hook, want := range map[string]struct {
		reason string
		calls  int
	}{"h-1": {"", 1}, "h-2": {"", 2}, "h-9": {ReasonDenied, 2}, "": {ReasonNoCall, 1}} {
		provider := &asked{hook: hook}
		_, err := w.Verify(t.Context(), received(`{"type":"a"}`), Check{Secrets: secretList("h-1", "h-2"), Caller: provider})
		if reasonOf(t, err) != want.reason || provider.calls != want.calls {
			t.Errorf("%q: refused as %q after %d calls, want %q after %d", hook, reasonOf(t, err), provider.calls, want.reason, want.calls)
		}
	}
	provider := &asked{hook: "h-9"}
	many := slices.Repeat(secretList("h-1"), 100)
	if _, err := w.Verify(t.Context(), received(`{"type":"a"}`), Check{Secrets: many, Caller: provider}); reasonOf(t, err) != ReasonDenied || provider.calls > maxCalls {
		t.Errorf("%v after %d calls", err, provider.calls)
	}
}

// TestHandshakeIsNoOracle: what anybody has signed by a handshake passes for no
// delivery, also where it is one by its form.
func TestHandshakeIsNoOracle(t *testing.T) {
	const mac = "handshake: [{method: GET, signed: none, respond: {charset: base64, json: {answer: {hmac: {of: 'query:q', hash: %s, encoding: hex}}}}}]"
	w := demo(t, demoWith(strings.ReplaceAll(mac, "%s", "sha256")))
	for text, genuine := range map[string]bool{
		"1234": false, "true": false, "null": false, "abc": false, "a=b": false, strings.Repeat("1", maxEcho): false,
		`{"type":"a"}`: true, `"a"`: true, "a=b&c=d": true, strings.Repeat("1", maxEcho+1): true,
	} {
		d := received(text)
		if err := sign(w, d, NewSecret([]byte("key"))); err != nil {
			t.Fatal(err)
		}
		_, err := verify(w, d, secretList("key"))
		if (err == nil) != genuine {
			t.Errorf("%q: %v", clip(text, 40), err)
		}
		ask := &Delivery{Method: http.MethodGet, URL: &url.URL{Path: "/", RawQuery: url.Values{"q": {text}}.Encode()}, Header: http.Header{}}
		if _, ok := w.UnsignedHandshake(ask, Check{Secrets: secretList("key")}); ok == genuine {
			t.Errorf("%q is signed for anybody: %v", clip(text, 40), ok)
		}
	}
	w = demo(t, demoWith(strings.ReplaceAll(mac, "%s", "sha1"))) // which signs nothing of SHA-256
	d := received("1234")
	if err := sign(w, d, NewSecret([]byte("key"))); err != nil {
		t.Fatal(err)
	}
	if _, err := verify(w, d, secretList("key")); err != nil {
		t.Error(err)
	}
	_, err := loadDemo(demoWith(strings.ReplaceAll(mac, "%s", "sha256"),
		"verify: [{scheme: jwt, algorithms: [HS256], signature: {from: header:Authorization}}]"))
	if err == nil || !strings.Contains(err.Error(), "signs what could be the token of webhooks.verify[0]") {
		t.Errorf("tokens may be signed for anybody: %v", err)
	}
}

// countedKeys counts how often keys are asked for.
type countedKeys struct {
	KeySource
	asked int
}

func (k *countedKeys) Key(ctx context.Context, url, id string) (crypto.PublicKey, error) {
	k.asked++
	return k.KeySource.Key(ctx, url, id)
}

// TestNoKeysForHopelessTokens: whose token no key could make good has none
// fetched.
func TestNoKeysForHopelessTokens(t *testing.T) {
	const url = "https://plugfn.example/webhooks/google-pubsub"
	w := shipped(t, "google-pubsub")
	mine := secretList("push@example.com", "audience:mine")
	signer := w.NewSigner(mine, NewSecret([]byte("seed")))
	for name, tt := range map[string]struct {
		by     []Secret
		url    string
		at     int64
		reason string
		asked  int
	}{
		"a good one":                   {mine, url, 0, "", 1},
		"one for the audience":         {mine, "", 0, "", 1},
		"of another service account":   {secretList("other@example.com", "audience:mine"), url, 0, ReasonMismatch, 0},
		"for another address":          {mine, "https://others.example/", 0, ReasonMismatch, 0},
		"for another audience":         {secretList("push@example.com", "audience:others"), "", 0, ReasonMismatch, 0},
		"for the text of the audience": {secretList("push@example.com", "audience:audience:mine"), "", 0, ReasonMismatch, 0},
		"an old one":                   {mine, url, -3600, ReasonStale, 0},
		"one of tomorrow":              {mine, url, 3600, ReasonFuture, 0},
	} {
		keys := &countedKeys{KeySource: signer}
		d := received(`{}`)
		now := d.ReceivedAt
		d.ReceivedAt = now.Add(time.Duration(tt.at) * time.Second)
		if err := signer.For(tt.by).Sign(d, tt.url); err != nil {
			t.Fatal(err)
		}
		d.ReceivedAt = now
		_, err := w.Verify(t.Context(), d, Check{Secrets: mine, URL: url, Keys: keys})
		if reasonOf(t, err) != tt.reason || keys.asked != tt.asked {
			t.Errorf("%s: refused as %q with %d keys asked for, want %q with %d", name, reasonOf(t, err), keys.asked, tt.reason, tt.asked)
		}
	}
}
