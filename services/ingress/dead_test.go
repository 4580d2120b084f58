package ingress

import (
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/plugfn/plugfn/pkg/events"
	"github.com/plugfn/plugfn/pkg/providers"
)

// acme loads a pack whose events have their names from there.
func acme(t *testing.T, event string) *providers.Pack {
	t.Helper()
	pack, err := providers.Load(fstest.MapFS{"acme/provider.yaml": {Data: []byte(`
apiVersion: plugfn.dev/v1
kind: Provider
name: acme
version: 1.0.0
display: {name: Acme}
event_prefix: example.acme
webhooks:
  hint: Acme, Settings, Webhooks
  bodies: [json]
  verify: [{scheme: token, signature: {from: header:X-Acme-Token}}]
  batch: {items: [json:/items]}
  delivery_id: [[header:X-Acme-Id, item:/n]]
  event: [` + event + `]
  account: [item:/account]
  keep_headers: [X-Acme-Region]
`)}}, "acme")
	if err != nil {
		t.Fatal(err)
	}
	return pack
}

// letters are the dead letters, in their order.
func (g *gate) letters() (all []*DeadDelivery) {
	g.Helper()
	stream, err := g.bus.JetStream().Stream(g.Context(), events.StreamDead)
	if err != nil {
		g.Fatal(err)
	}
	for seq := range stream.CachedInfo().State.LastSeq {
		msg, err := stream.GetMsg(g.Context(), seq+1)
		if err != nil {
			g.Fatal(err)
		}
		for _, values := range msg.Header {
			if strings.Contains(strings.Join(values, " "), secret) {
				g.Errorf("a dead letter holds a secret: %v", msg.Header)
			}
		}
		d, err := ParseDeadDelivery(msg.Header, msg.Data, msg.Time)
		if err != nil {
			g.Fatal(err)
		}
		all = append(all, d)
	}
	return all
}

// A delivery that the pack could not read becomes, with another pack, the events
// that it would have been: of the same ids, for the connections that there are,
// once however often that is asked for.
func TestReviveDeadDelivery(t *testing.T) {
	for _, pad := range []int{0, 1 << 20} {
		t.Run(fmt.Sprint("padded by ", pad), func(t *testing.T) {
			g := open(t, func(c *Config) {
				registry, err := providers.NewRegistry(map[string]*providers.Pack{"acme": acme(t, "item:/type")}, map[string]providers.App{
					"acme": {WebhookSecrets: []providers.Secret{providers.NewSecret([]byte(secret))}},
				})
				if err != nil {
					t.Fatal(err)
				}
				c.Providers = registry
			})
			body := `{"items":[{"n":1,"kind":"made","account":"a"},{"n":2,"kind":"lost","pad":"` + strings.Repeat("x", pad) + `"}]}`
			status, _ := g.send("acme", &providers.Delivery{Method: http.MethodPost, Body: []byte(body), Header: http.Header{
				"X-Acme-Token": {secret}, "X-Acme-Id": {"d-1"}, "X-Acme-Region": {"eu"}, "Content-Type": {"application/json"}, "X-Other": {"x"},
			}})
			all := g.letters()
			if status != http.StatusOK || len(all) != 1 {
				t.Fatalf("answered %d, %d dead letters", status, len(all))
			}
			kept := slices.Sorted(maps.Keys(all[0].delivery.Header))
			if !slices.Equal(kept, []string{"Content-Type", "User-Agent", "X-Acme-Id", "X-Acme-Region"}) {
				t.Errorf("kept %v", kept)
			}
			r, err := NewRerouter(t.Context(), g.bus.JetStream())
			if err != nil {
				t.Fatal(err)
			}
			if _, err := r.Revive(t.Context(), acme(t, "item:/type").Webhooks, g.letters()[0], false); !errors.Is(err, providers.ErrUnparsable) {
				t.Errorf("the same pack: %v", err)
			}
			today := acme(t, "item:/type, item:/kind").Webhooks
			for i, want := range []Revived{{Published: 2}, {Published: 2}, {Known: 2}} {
				got, err := r.Revive(t.Context(), today, g.letters()[0], i == 0)
				if err != nil || got.Published != want.Published || got.Known != want.Known || !slices.Equal(got.Events, []string{"made", "lost"}) {
					t.Errorf("%d: %+v, %v", i, got, err)
				}
			}
			e := g.event("plugfn.event._.acme.made")
			if e.ID != "d-1/1" || e.Account != "a" || e.Verified != events.VerifiedOrigin || e.Extensions["acmeregion"] != "eu" || e.Source != "/plugfn/acme/_/_" {
				t.Errorf("%+v", e)
			}
			if lost := g.event("plugfn.event._.acme.lost"); lost.ID != "d-1/2" || (lost.DataRef.Size > 0) != (pad > 0) {
				t.Errorf("%s with %d bytes, %+v", lost.ID, len(lost.Data), lost.DataRef)
			}
		})
	}
}

func TestWhatIsNoDeadDelivery(t *testing.T) {
	letter := events.Event{ID: "1", Source: "/plugfn/p/_/_", Type: typeUnparsed, Provider: "p"}
	for name, change := range map[string]func(nats.Header){
		"of an older version": func(h nats.Header) { h.Del(headerDelivery) },
		"broken":              func(h nats.Header) { h.Set(headerDelivery, "{") },
		"without a header":    func(h nats.Header) { h.Set(headerDelivery, "{}") },
		"another one":         func(h nats.Header) { h.Set("ce-type", "com.github.push") },
		"no event at all":     func(h nats.Header) { h.Del("ce-id") },
	} {
		h := letter.Msg("x").Header
		h.Set(headerDelivery, `{"method":"POST","header":{"A":["b"]}}`)
		if _, err := ParseDeadDelivery(h, nil, time.Time{}); err != nil {
			t.Fatal(err)
		}
		change(h)
		if _, err := ParseDeadDelivery(h, nil, time.Time{}); err == nil {
			t.Errorf("%s: can be replayed", name)
		}
	}
	many := &providers.Delivery{Header: http.Header{"X": {strings.Repeat("x", maxDelivery)}}, URL: &url.URL{}}
	if isKept(encodeDelivery(many)) || !isKept(encodeDelivery(&providers.Delivery{})) {
		t.Error("a header that is too long is kept")
	}
}

// FuzzParseDeadDelivery: whatever is on the bus, it is refused or can be read.
func FuzzParseDeadDelivery(f *testing.F) {
	f.Add(`{"method":"POST","query":"a=b","header":{"A":["b"]}}`, "/plugfn/p/whk_1/con_1", []byte("{}"))
	f.Add(`{"header":{"":[]}}`, "///", []byte(nil))
	f.Fuzz(func(t *testing.T, kept, source string, data []byte) {
		letter := events.Event{ID: "1", Source: source, Type: typeUnparsed, Provider: "p"}
		h := letter.Msg("x").Header
		h.Set(headerDelivery, kept)
		h.Set(jetstream.MsgIDHeader, "1")
		d, err := ParseDeadDelivery(h, data, time.Now())
		if err != nil {
			return
		}
		if strings.Contains(d.Endpoint(), "/") || d.delivery.Header == nil {
			t.Errorf("%q, %v", d.Endpoint(), d.delivery.Header)
		}
	})
}
