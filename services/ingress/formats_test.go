package ingress

import (
	"context"
	"crypto/x509"
	"errors"
	"net/http"
	"testing"
	"time"

	"github.com/plugfn/plugfn/pkg/events"
	"github.com/plugfn/plugfn/pkg/providers"
)

// TestFormatsEndToEnd sends the examples of packs that sign in other ways: with
// a certificate, a public key, a form and an address.
func TestFormatsEndToEnd(t *testing.T) {
	const public = "https://hooks.example.com/plugfn"
	var confirmed string
	signers := map[string]*providers.Signer{}
	g := open(t, func(c *Config) {
		apps := map[string]providers.App{}
		for _, name := range []string{"aws-sns", "discord", "twilio", "zoom"} {
			pack, _ := c.Providers.Pack(name)
			signers[name] = pack.Webhooks.NewSigner(nil, providers.NewSecret([]byte("a-seed")))
			apps[name] = providers.App{WebhookSecrets: signers[name].Secrets()}
		}
		packs := map[string]*providers.Pack{}
		for _, name := range c.Providers.Names() {
			packs[name], _ = c.Providers.Pack(name)
		}
		registry, err := providers.NewRegistry(packs, apps)
		if err != nil {
			t.Fatal(err)
		}
		c.Providers, c.Keys, c.PublicURL = registry, signers["aws-sns"], public
		c.Confirm = func(_ context.Context, url string) error { confirmed = url; return nil }
	})
	stored := 0
	for name, signer := range signers {
		pack, _ := g.registry.Pack(name)
		fixtures, err := pack.DeliveryFixtures()
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range fixtures {
			if f.Signature != "" {
				continue // published, of another time
			}
			d, err := f.Delivery(time.Now())
			if err != nil {
				t.Fatal(err)
			}
			if err := signer.Sign(d, public+"/webhooks/"+name); err != nil {
				t.Fatal(err)
			}
			path := name
			if d.URL.RawQuery != "" {
				path += "?" + d.URL.RawQuery
			}
			want := http.StatusOK
			if f.Expect.Handshake != nil {
				want = f.Expect.Handshake.Status
			} else if f.Expect.Answer != nil {
				want = f.Expect.Answer.Status
			}
			if status, body := g.send(path, d); status != want {
				t.Errorf("%s %s: answered %d %q, want %d", name, f.Name, status, body, want)
			}
			stored += len(f.Expect.All())
			d.Body = append(d.Body, ' ', 'x')
			if status, _ := g.send(path, d); status != http.StatusUnauthorized {
				t.Errorf("%s %s: changed and answered %d", name, f.Name, status)
			}
		}
	}
	total := uint64(0)
	for _, n := range g.stored(events.StreamEvents) {
		total += n
	}
	// The two notifications of SNS bear one id, and have two bodies.
	if int(total) != stored || confirmed == "" {
		t.Errorf("stored %d events, want %d; confirmed %q", total, stored, confirmed)
	}
}

// away is a place of keys that cannot be reached.
type away struct{ providers.KeySource }

func (away) Certificate(context.Context, string) (*x509.Certificate, error) {
	return nil, errors.New("away")
}

// TestKeysAway: what cannot be checked now is to be sent again.
func TestKeysAway(t *testing.T) {
	var signer *providers.Signer
	g := open(t, func(c *Config) {
		pack, _ := c.Providers.Pack("aws-sns")
		signer = pack.Webhooks.NewSigner(nil, providers.NewSecret([]byte("a-seed")))
		registry, err := providers.NewRegistry(map[string]*providers.Pack{"aws-sns": pack}, map[string]providers.App{"aws-sns": {WebhookSecrets: signer.Secrets()}})
		if err != nil {
			t.Fatal(err)
		}
		c.Providers, c.Keys = registry, away{}
	})
	pack, _ := g.registry.Pack("aws-sns")
	fixtures, err := pack.DeliveryFixtures()
	if err != nil {
		t.Fatal(err)
	}
	d, err := fixtures[0].Delivery(time.Now())
	if err != nil {
		t.Fatal(err)
	}
	if err := signer.Sign(d, ""); err != nil {
		t.Fatal(err)
	}
	if status, _ := g.send("aws-sns", d); status != http.StatusServiceUnavailable {
		t.Errorf("answered %d", status)
	}
}
