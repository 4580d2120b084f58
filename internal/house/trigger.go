package house

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"slices"
	"time"

	"github.com/plugfn/plugfn/internal/secretfile"
	"github.com/plugfn/plugfn/pkg/providers"
)

// Trigger sends the ingress an example delivery of a provider, the one that is
// called like an event or makes one of that name, signed with the secret that Secure has made. id is what
// the provider tells deliveries apart by.
func (h *House) Trigger(ctx context.Context, provider, event, id string) error {
	d, err := h.example(provider, event)
	if err != nil {
		return err
	}
	secret, err := secretfile.Read(SecretFile(h.SecretsDir(), provider))
	if err != nil {
		return fmt.Errorf("the webhook secret of %s: %w", provider, err)
	}
	hooks := h.packs[provider].Webhooks
	if err := hooks.NewDeliveryID(d, id); err != nil {
		return err
	}
	if err := hooks.NewSigner(nil, secret).Sign(d, h.publicURL()+d.URL.Path); err != nil {
		return err
	}
	r, err := http.NewRequestWithContext(ctx, d.Method, LocalURL+d.URL.RequestURI(), bytes.NewReader(d.Body))
	if err != nil {
		return err
	}
	r.Header = d.Header
	answer, err := h.Local().Do(r)
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	if answer.StatusCode >= http.StatusMultipleChoices {
		return fmt.Errorf("the delivery was answered %d %s", answer.StatusCode, http.StatusText(answer.StatusCode))
	}
	return nil
}

// example is the example delivery that makes an event of that name.
func (h *House) example(provider, event string) (*providers.Delivery, error) {
	pack := h.packs[provider]
	if pack == nil || pack.Webhooks == nil {
		return nil, fmt.Errorf("there is no provider %q that sends deliveries", provider)
	}
	fixtures, err := pack.DeliveryFixtures()
	if err != nil {
		return nil, err
	}
	for _, fits := range []func(providers.DeliveryFixture) bool{
		func(f providers.DeliveryFixture) bool { return f.Name == event },
		func(f providers.DeliveryFixture) bool {
			return slices.ContainsFunc(f.Expect.All(), func(e providers.EventExpect) bool { return e.Event == event })
		},
	} {
		if i := slices.IndexFunc(fixtures, fits); i >= 0 {
			return fixtures[i].Delivery(time.Now())
		}
	}
	return nil, fmt.Errorf("%s has no example of %q", provider, event)
}
