package catalog_test

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/plugfn/plugfn/pkg/providers"
	"github.com/plugfn/plugfn/pkg/providers/catalog"
)

// TestPublishedSignatures checks signatures that the senders publish of bodies
// that are no deliveries. Those of deliveries are fixtures.
func TestPublishedSignatures(t *testing.T) {
	packs, err := providers.LoadAll(catalog.FS)
	if err != nil {
		t.Fatal(err)
	}
	for _, v := range []struct{ pack, source, header, signature, secret, body string }{
		{
			"bitbucket", "https://support.atlassian.com/bitbucket-cloud/docs/manage-webhooks/", "X-Hub-Signature",
			"sha256=a4771c39fbe90f317c7824e83ddef3caae9cb3d976c214ace1f2937e133263c9", "It's a Secret to Everybody", "Hello World!",
		},
		{
			"jira", "https://developer.atlassian.com/cloud/jira/platform/webhooks/", "X-Hub-Signature",
			"sha256=a4771c39fbe90f317c7824e83ddef3caae9cb3d976c214ace1f2937e133263c9", "It's a Secret to Everybody", "Hello World!",
		},
		{
			"circleci", "https://circleci.com/docs/webhooks/", "Circleci-Signature",
			"v1=734cc62f32841568f45715aeb9f4d7891324e6d948e4c6c60c0621cdac48623a", "secret", "hello world",
		},
		{
			"circleci", "https://circleci.com/docs/webhooks/", "Circleci-Signature",
			"v1=daa220016c8f29a8b214fbfc3671aeec2145cfb1e6790184ffb38b6d0425fa00,v2=0000", "another-secret", "lalala",
		},
	} {
		check := providers.Check{Secrets: []providers.Secret{providers.NewSecret([]byte(v.secret))}}
		d := &providers.Delivery{Method: http.MethodPost, Header: http.Header{}, Body: []byte(v.body), ReceivedAt: time.Now()}
		d.Header.Set(v.header, v.signature)
		if _, err := packs[v.pack].Webhooks.Verify(t.Context(), d, check); err != nil {
			t.Errorf("%s, as in %s: %v", v.pack, v.source, err)
		}
		d.Body = append(d.Body, '\n')
		if _, err := packs[v.pack].Webhooks.Verify(t.Context(), d, check); err == nil {
			t.Errorf("%s: another body passes", v.pack)
		}
	}
}

// TestPublishedSendGridSignature checks the signature that SendGrid's libraries
// are tested with. Its body is one object, where events come as a list.
func TestPublishedSendGridSignature(t *testing.T) {
	const source = "https://github.com/sendgrid/sendgrid-go/blob/main/helpers/eventwebhook/eventwebhook_test.go"
	packs, err := providers.LoadAll(catalog.FS)
	if err != nil {
		t.Fatal(err)
	}
	key := "MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEEDr2LjtURuePQzplybdC+u4CwrqDqBaWjcMMsTbhdbcwHBcepxo7yAQGhHPTnlvFYPAZFceEu/1FwCM/QmGUhA=="
	check := providers.Check{Secrets: []providers.Secret{providers.NewSecret([]byte(key))}}
	d := &providers.Delivery{
		Method:     http.MethodPost,
		Header:     http.Header{},
		Body:       []byte(`{"category":"example_payload","event":"test_event","message_id":"message_id"}`),
		ReceivedAt: time.Unix(1588788367, 0),
	}
	d.Header.Set("X-Twilio-Email-Event-Webhook-Signature", "MEUCIQCtIHJeH93Y+qpYeWrySphQgpNGNr/U+UyUlBkU6n7RAwIgJTz2C+8a8xonZGi6BpSzoQsbVRamr2nlxFDWYNH2j/0=")
	d.Header.Set("X-Twilio-Email-Event-Webhook-Timestamp", "1588788367")
	verdict, err := packs["sendgrid"].Webhooks.Verify(t.Context(), d, check)
	if err != nil {
		t.Fatalf("as in %s: %v", source, err)
	}
	if verdict.Level != "body+time" {
		t.Errorf("vouches for %q, want body+time", verdict.Level)
	}
	d.Header.Set("X-Twilio-Email-Event-Webhook-Timestamp", "1588788368")
	if _, err := packs["sendgrid"].Webhooks.Verify(t.Context(), d, check); err == nil {
		t.Error("another time passes")
	}
}

// TestSignedAsItCame: Meta escapes what is not ASCII and signs that. Nothing may
// be read and written again before it is verified.
func TestSignedAsItCame(t *testing.T) {
	packs, err := providers.LoadAll(catalog.FS)
	if err != nil {
		t.Fatal(err)
	}
	const escaped = `{"object":"page","entry":[{"id":"1","changes":[{"field":"feed","value":{"message":"se\u00f1or \/ \ud83d\ude00"}}]}]}`
	check := providers.Check{Secrets: []providers.Secret{providers.NewSecret([]byte("an-app-secret"))}}
	for body, genuine := range map[string]bool{escaped: true, strings.NewReplacer(`\u00f1`, "ñ").Replace(escaped): false, strings.ReplaceAll(escaped, `\/`, "/"): false} {
		for _, name := range []string{"meta", "whatsapp"} {
			d := &providers.Delivery{Method: http.MethodPost, Header: http.Header{}, Body: []byte(body), ReceivedAt: time.Now()}
			d.Header.Set("X-Hub-Signature-256", "sha256=913fe6163cb242e1fe30b9cc1a1cce54b6f267c51513362e44af4b0848fb9322")
			if _, err := packs[name].Webhooks.Verify(t.Context(), d, check); (err == nil) != genuine {
				t.Errorf("%s, %s: %v", name, body, err)
			}
		}
	}
}
