package providers_test

import (
	"context"
	"fmt"
	"net/http"
	"time"

	"github.com/plugfn/plugfn/pkg/providers"
	"github.com/plugfn/plugfn/pkg/providers/catalog"
)

// A delivery is verified before anything in it is believed, then read.
func ExampleWebhooks() {
	pack, err := providers.Load(catalog.FS, "github")
	if err != nil {
		fmt.Println(err)
		return
	}
	secret := providers.NewSecret([]byte("It's a Secret to Everybody"))
	d := &providers.Delivery{
		Method: http.MethodPost,
		Header: http.Header{
			"Content-Type":      {"application/json"},
			"X-Github-Event":    {"issues"},
			"X-Github-Delivery": {"72d3162e-cc78-11e3-81ab-4c9367dc0958"},
		},
		Body:       []byte(`{"action":"opened","issue":{"number":42},"repository":{"full_name":"octo/hello"}}`),
		ReceivedAt: time.Now(),
	}

	check := providers.Check{Secrets: []providers.Secret{secret}}
	_, err = pack.Webhooks.Verify(context.Background(), d, check)
	fmt.Println(err)

	if err := pack.Webhooks.NewSigner(check.Secrets, providers.Secret{}).Sign(d, ""); err != nil {
		fmt.Println(err)
		return
	}
	verdict, err := pack.Webhooks.Verify(context.Background(), d, check)
	fmt.Println(verdict.Level, err)

	r, err := pack.Webhooks.Read(d)
	if err != nil {
		fmt.Println(err)
		return
	}
	if reply, ok := r.Handshake(check, verdict); ok {
		fmt.Println("answer", reply.Status)
		return
	}
	event, err := r.Event()
	fmt.Println(event.Name, event.Subject, event.ID, err)
	// Output:
	// delivery refused: missing_header
	// body <nil>
	// issues.opened octo/hello/issues/42 72d3162e-cc78-11e3-81ab-4c9367dc0958 <nil>
}
