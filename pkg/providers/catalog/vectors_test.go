package catalog_test

import (
	"net/http"
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
