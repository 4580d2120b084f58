package catalog_test

import (
	"net/http"
	"testing"
	"time"

	"github.com/plugfn/plugfn/pkg/providers"
	"github.com/plugfn/plugfn/pkg/providers/catalog"
)

// TestPublishedSignaturesOfBox checks the example that Box's SDKs are tested
// with (https://github.com/box/box-node-sdk), which has a time of its own and a
// signature by each of two keys.
func TestPublishedSignaturesOfBox(t *testing.T) {
	packs, err := providers.LoadAll(catalog.FS)
	if err != nil {
		t.Fatal(err)
	}
	d := &providers.Delivery{
		Method:     http.MethodPost,
		Header:     http.Header{},
		Body:       []byte(`{"type":"webhook_event","webhook":{"id":"1234567890"},"trigger":"FILE.UPLOADED","source":{"id":"1234567890","type":"file","name":"Test.txt"}}`),
		ReceivedAt: time.Date(2020, 1, 1, 7, 0, 1, 0, time.UTC),
	}
	d.Header.Set("BOX-DELIVERY-TIMESTAMP", "2020-01-01T00:00:00-07:00")
	d.Header.Set("BOX-SIGNATURE-PRIMARY", "6TfeAW3A1PASkgboxxA5yqHNKOwFyMWuEXny/FPD5hI=")
	d.Header.Set("BOX-SIGNATURE-SECONDARY", "v+1CD1Jdo3muIcbpv5lxxgPglOqMfsNHPV899xWYydo=")
	for key, good := range map[string]bool{"SamplePrimaryKey": true, "SampleSecondaryKey": true, "IncorrectKey": false} {
		check := providers.Check{Secrets: []providers.Secret{providers.NewSecret([]byte(key))}}
		if _, err := packs["box"].Webhooks.Verify(t.Context(), d, check); (err == nil) != good {
			t.Errorf("with %s: %v", key, err)
		}
	}
}
