package auth

import (
	"context"
	"encoding/json"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/rs/zerolog"

	"github.com/plugfn/plugfn/internal/bus"
	"github.com/plugfn/plugfn/pkg/events"
)

const pathStrictWebhooks = pathApps + "/strict/webhook-secrets"

// strictWebhooks makes the provider one that sends deliveries.
var strictWebhooks = []string{"display: {name: Strict}\n", "display: {name: Strict}\nevent_prefix: com.strict\n", "actions:\n", "webhooks:\n  bodies: [json]\n  verify:\n    - {scheme: hmac, hash: sha256, key: utf8, signature: {from: header:X-Sig, encoding: hex}, message: [{body: raw}]}\n  delivery_id: [header:X-Id]\n  event: [header:X-Event]\nactions:\n"}

func (f *flowRig) addWebhook(t testing.TB, body string) webhookView {
	t.Helper()
	got := f.do(t, "POST", pathStrictWebhooks, body)
	if got.status != http.StatusCreated {
		t.Fatalf("add: %d %s", got.status, got.body)
	}
	return parse[webhookView](t, got.body)
}

func (f *flowRig) webhookViews(t testing.TB) []webhookView {
	t.Helper()
	return parse[struct {
		Secrets []webhookView `json:"webhook_secrets"`
	}](t, f.do(t, "GET", pathStrictWebhooks, "").body).Secrets
}

// follower runs a WebhookSecrets until the test ends.
func (f *flowRig) follower(t testing.TB) *WebhookSecrets {
	t.Helper()
	w, err := NewWebhookSecrets(WebhookSecretsConfig{Conn: f.bus.Conn(), JetStream: f.bus.JetStream(), Log: zerolog.New(f.log), Now: f.cfg.Now})
	if err != nil {
		t.Fatal(err)
	}
	if _, all := w.WebhookSecrets("strict"); all {
		t.Error("it knows everything before it runs")
	}
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- w.Run(ctx) }()
	t.Cleanup(func() {
		stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	<-w.Loaded()
	return w
}

// has waits until w knows these secrets of the provider and no others.
func (w *WebhookSecrets) has(t testing.TB, want ...string) {
	t.Helper()
	slices.Sort(want)
	for t.Context().Err() == nil {
		secrets, all := w.WebhookSecrets("strict")
		var got []string
		for _, s := range secrets {
			got = append(got, string(s.Reveal()))
		}
		slices.Sort(got)
		if all && slices.Equal(got, want) {
			return
		}
		time.Sleep(5 * time.Millisecond)
	}
	t.Fatalf("waited in vain for %v", want)
}

func TestWebhookSecretsAreFollowed(t *testing.T) {
	f := newFlowRig(t, flowOptions{pack: strictWebhooks})
	early := f.follower(t)
	early.has(t)
	first := f.addWebhook(t, `{"secret":"whs-canary-one"}`)
	early.has(t, "whs-canary-one")
	late := f.follower(t) // after the fact
	late.has(t, "whs-canary-one")
	// A new one takes over: for an hour both are good.
	second := f.addWebhook(t, `{"secret":"whs-canary-two","retire_others_after":3600}`)
	for _, w := range []*WebhookSecrets{early, late} {
		w.has(t, "whs-canary-one", "whs-canary-two")
	}
	views := f.webhookViews(t)
	if len(views) != 2 || views[0].ID != second.ID || views[1].ID != first.ID || views[1].NotAfter.IsZero() || !views[0].NotAfter.IsZero() {
		t.Errorf("there are %+v", views)
	}
	f.now.Store(3601)
	early.has(t, "whs-canary-two")
	// One that is not good yet.
	third := f.addWebhook(t, `{"secret":"whs-canary-three","not_before":"`+f.cfg.Now().Add(time.Hour).UTC().Format(time.RFC3339)+`"}`)
	early.has(t, "whs-canary-two")
	f.now.Store(2 * 3602)
	early.has(t, "whs-canary-two", "whs-canary-three")
	for _, id := range []string{first.ID, second.ID, third.ID} {
		if got := f.do(t, "DELETE", pathStrictWebhooks+"/"+id, ""); got.status != http.StatusNoContent {
			t.Errorf("delete: %d %s", got.status, got.body)
		}
	}
	early.has(t)
	if got := f.do(t, "DELETE", pathStrictWebhooks+"/"+first.ID, ""); got.status != http.StatusNotFound {
		t.Errorf("delete again: %d", got.status)
	}
}

// TestWebhookSecretsWithoutTheService: nobody believes to know everything while
// there is nobody to ask.
func TestWebhookSecretsWithoutTheService(t *testing.T) {
	f := newFlowRig(t, flowOptions{pack: strictWebhooks, idle: true})
	w := f.follower(t)
	w.has(t) // for that nobody has to be asked
	f.addWebhook(t, `{"secret":"whs-one"}`)
	for t.Context().Err() == nil {
		if _, all := w.WebhookSecrets("strict"); !all {
			break
		}
		time.Sleep(time.Millisecond)
	}
	if secrets, all := w.WebhookSecrets("strict"); all || len(secrets) > 0 {
		t.Errorf("knows %d", len(secrets))
	}
	if _, all := w.WebhookSecrets("bare"); !all {
		t.Error("the other providers are not known either")
	}
	f.serve(t)
	w.has(t, "whs-one")
}

func TestWebhookSecretIsSealed(t *testing.T) {
	f := newFlowRig(t, flowOptions{pack: strictWebhooks})
	tap := &wiretap{}
	subscription, err := f.bus.Conn().Subscribe(">", tap.take)
	if err != nil {
		t.Fatal(err)
	}
	const canary = "whs-canary-7c1f5e0b9d3a48e6"
	f.addWebhook(t, `{"secret":"`+canary+`"}`)
	f.follower(t).has(t, canary)
	if err := f.bus.Conn().Flush(); err != nil {
		t.Fatal(err)
	}
	if err := subscription.Unsubscribe(); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(tap.String(), subjectWebhooks) || !strings.Contains(tap.String(), "sealed") {
		t.Error("the tap has heard nothing: the test proves nothing")
	}
	for name, text := range map[string]string{"the bus": tap.String(), "the log": f.log.String(), "the store": f.dump(t, bus.BucketApps), "a list": f.do(t, "GET", pathStrictWebhooks, "").body} {
		for _, disguise := range disguises(canary) {
			if strings.Contains(text, disguise) {
				t.Errorf("the secret is on %s", name)
			}
		}
	}
}

func TestAddWebhookRefuses(t *testing.T) {
	f := newFlowRig(t, flowOptions{pack: strictWebhooks})
	for name, tt := range map[string]struct {
		path, body string
		status     int
		want       string
	}{
		"unknown provider":  {pathApps + "/strct/webhook-secrets", `{"secret":"canary"}`, 404, "did you mean strict?"},
		"no deliveries":     {pathApps + "/bare/webhook-secrets", `{"secret":"canary"}`, 422, "bare sends no deliveries"},
		"no secret":         {pathStrictWebhooks, `{}`, 422, "secret"},
		"secret with break": {pathStrictWebhooks, `{"secret":"canary\n"}`, 422, "secret: must be"},
		"over already":      {pathStrictWebhooks, `{"secret":"canary","not_after":"2020-01-01T00:00:00Z"}`, 422, "not_after: is over"},
		"ends before":       {pathStrictWebhooks, `{"secret":"canary","not_before":"2040-01-02T00:00:00Z","not_after":"2040-01-01T00:00:00Z"}`, 422, "not_after: must be later"},
		"no time":           {pathStrictWebhooks, `{"secret":"canary","not_after":"tomorrow"}`, 422, "not_after"},
		"endless":           {pathStrictWebhooks, `{"secret":"canary","retire_others_after":99999999}`, 422, "retire_others_after"},
	} {
		got := f.do(t, "POST", tt.path, tt.body)
		if got.status != tt.status || !strings.Contains(got.problem(t).Detail, tt.want) || strings.Contains(got.body, "canary") {
			t.Errorf("%s: %d %s", name, got.status, got.body)
		}
	}
	if got := f.do(t, "GET", pathApps+"/strct/webhook-secrets", ""); got.status != http.StatusNotFound {
		t.Errorf("list: %d", got.status)
	}
	for range maxWebhookSecrets {
		f.addWebhook(t, `{"secret":"s"}`)
	}
	if got := f.do(t, "POST", pathStrictWebhooks, `{"secret":"s"}`); got.status != 422 || !strings.Contains(got.body, "delete those") {
		t.Errorf("one too many: %d %s", got.status, got.body)
	}
}

func TestWebhookRequestRefuses(t *testing.T) {
	f := newFlowRig(t, flowOptions{pack: strictWebhooks})
	key := f.follower(t).public
	for name, body := range map[string]string{
		"nothing": "", "no JSON": "{", "list": "[]", "no nonce": `{"provider":"strict","recipient":"` + key + `"}`,
		"no recipient": `{"provider":"strict","nonce":"n"}`, "another key": `{"provider":"strict","nonce":"n","recipient":"` + strings.Repeat("A", curveKeySize) + `"}`,
		"long": `{"provider":"` + strings.Repeat("x", maxRequest) + `"}`, "long nonce": `{"nonce":"` + strings.Repeat("x", maxNonce+1) + `","recipient":"` + key + `"}`,
	} {
		msg, err := f.bus.Conn().Request(subjectWebhooks, []byte(body), 5*time.Second)
		if err != nil {
			t.Fatal(err)
		}
		reply := parse[webhookReply](t, string(msg.Data))
		if reply.Error == nil || reply.Error.Code != events.CodeInvalidParams || reply.Sealed != nil {
			t.Errorf("%s: %s", name, msg.Data)
		}
	}
}

// TestForgedWebhookReply: what is not sealed to the asker, or answers another
// request, is refused.
func TestForgedWebhookReply(t *testing.T) {
	r := newRig(t)
	w, err := NewWebhookSecrets(WebhookSecretsConfig{Conn: r.bus.Conn(), JetStream: r.bus.JetStream()})
	if err != nil {
		t.Fatal(err)
	}
	other, err := NewWebhookSecrets(WebhookSecretsConfig{Conn: r.bus.Conn(), JetStream: r.bus.JetStream()})
	if err != nil {
		t.Fatal(err)
	}
	request := webhookRequest{Provider: "p", Nonce: "n", Recipient: w.public}
	sealed := func(to string, g webhookGrant) webhookReply {
		sender, text, err := seal(to, g)
		if err != nil {
			t.Fatal(err)
		}
		return webhookReply{Sender: sender, Sealed: text}
	}
	good := webhookGrant{Nonce: "n", Provider: "p", Secrets: []webhookHandover{{Secret: []byte("s")}}}
	held, err := w.open(request, sealed(w.public, good))
	if err != nil || len(held) != 1 || !held[0].secret.Equal(secret("s")) {
		t.Fatalf("a good one: %v", err)
	}
	for name, reply := range map[string]webhookReply{
		"empty": {}, "to another": sealed(other.public, good), "other nonce": sealed(w.public, webhookGrant{Nonce: "x", Provider: "p"}),
		"other provider": sealed(w.public, webhookGrant{Nonce: "n", Provider: "q"}), "cut sender": {Sender: "X", Sealed: []byte("x")},
	} {
		if _, err := w.open(request, reply); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
	responder, err := r.bus.Conn().Subscribe(subjectWebhooks, func(msg *nats.Msg) { _ = msg.Respond([]byte("{")) })
	if err != nil {
		t.Fatal(err)
	}
	defer responder.Unsubscribe() //nolint:errcheck // the test ends
	if _, err := w.ask(t.Context(), "p"); err == nil {
		t.Error("a broken reply is taken")
	}
}

// TestUnreadableWebhookSecret harms no other.
func TestUnreadableWebhookSecret(t *testing.T) {
	f := newFlowRig(t, flowOptions{pack: strictWebhooks})
	bad := f.addWebhook(t, `{"secret":"whs-bad"}`)
	f.addWebhook(t, `{"secret":"whs-good"}`)
	kv := bucket(t, f.bus, bus.BucketApps)
	entry, err := kv.Get(t.Context(), webhookKey("strict", bad.ID))
	if err != nil {
		t.Fatal(err)
	}
	s, err := decodeWebhook(entry.Key(), entry.Value())
	if err != nil {
		t.Fatal(err)
	}
	s.Credential[len(s.Credential)-1] ^= 1
	value, err := json.Marshal(s)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := kv.Put(t.Context(), entry.Key(), value); err != nil {
		t.Fatal(err)
	}
	f.follower(t).has(t, "whs-good")
	if !strings.Contains(f.log.String(), bad.ID) {
		t.Error("nobody is told")
	}
	if values, err := appValues(entry.Key(), entry.Value()); err != nil || len(values) != 1 {
		t.Errorf("what is encrypted: %d, %v", len(values), err)
	}
}

func FuzzWebhookRequest(f *testing.F) {
	r := newRig(f)
	for _, seed := range []string{`{"provider":"p","nonce":"n","recipient":"X"}`, "", "{}", "null", "[", `{"provider":">"}`} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		reply, err := r.flows.webhookReply(t.Context(), data)
		if err == nil && (reply.Error != nil || reply.Sealed == nil) {
			t.Errorf("%q is answered with %+v", data, reply)
		}
	})
}
