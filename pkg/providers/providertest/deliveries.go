package providertest

import (
	"errors"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/plugfn/plugfn/pkg/providers"
)

// deliveries checks the fixtures of all deliveries, and that every trigger has one.
func deliveries(t *testing.T, pack *providers.Pack) {
	if pack.Webhooks == nil {
		return
	}
	fixtures, err := pack.DeliveryFixtures()
	if err != nil {
		t.Fatal(err)
	}
	if len(fixtures) == 0 {
		t.Error("the pack has no fixture of a delivery")
	}
	events := map[string]bool{}
	for _, f := range fixtures {
		events[f.Expect.Event] = true
		t.Run(f.Name, func(t *testing.T) {
			delivery(t, pack, f)
			redelivery(t, pack, f)
			attacks(t, pack, f)
		})
	}
	for _, name := range slices.Sorted(maps.Keys(pack.Triggers)) {
		trigger := pack.Triggers[name]
		if !events[name] {
			t.Errorf("trigger %s has no fixture", name)
		}
		if trigger.Summary == "" || trigger.Docs == "" || trigger.Schema == nil {
			t.Errorf("trigger %s needs a summary, docs and a schema", name)
		}
	}
}

// signedDelivery is the fixture's request with its signature.
func signedDelivery(t *testing.T, pack *providers.Pack, f providers.DeliveryFixture) *providers.Delivery {
	t.Helper()
	d := f.Delivery(f.At)
	if f.Signature == "" {
		sign(t, pack, f, d)
	}
	return d
}

func sign(t *testing.T, pack *providers.Pack, f providers.DeliveryFixture, d *providers.Delivery) {
	t.Helper()
	if err := pack.Webhooks.Sign(d, secretOf(f)); err != nil {
		t.Fatal(err)
	}
}

func secretOf(f providers.DeliveryFixture) providers.Secret {
	return providers.NewSecret([]byte(f.Secret))
}

// delivery checks one fixture from the request to the event.
func delivery(t *testing.T, pack *providers.Pack, f providers.DeliveryFixture) {
	t.Helper()
	d := signedDelivery(t, pack, f)
	verdict, err := pack.Webhooks.Verify(d, []providers.Secret{secretOf(f)})
	if err != nil || string(verdict.Level) != f.Expect.Verified || verdict.Key != 0 {
		t.Fatalf("Verify gives %+v, %v; want level %s", verdict, err, f.Expect.Verified)
	}
	r, err := pack.Webhooks.Read(d)
	if err != nil {
		t.Fatalf("Read: %v", err)
	}
	if f.Expect.Handshake != nil {
		handshake(t, r, f.Expect.Handshake)
		return
	}
	if reply, ok := r.Handshake(); ok {
		t.Errorf("the event is taken for a handshake and answered %+v", reply)
	}
	got, err := r.Event()
	if err != nil {
		t.Fatalf("Event: %v", err)
	}
	if diff := cmp.Diff(normalized(f.Expect), got); diff != "" {
		t.Errorf("event (-want +got):\n%s", diff)
	}
	payload(t, pack, f, d)
}

func normalized(e providers.DeliveryExpect) providers.Normalized {
	n := providers.Normalized{
		ID:           e.ID,
		Name:         e.Event,
		Type:         e.Type,
		Subject:      e.Subject,
		Account:      e.Account,
		PartitionKey: e.PartitionKey,
		Time:         e.Time,
		ContentType:  e.ContentType,
		Headers:      map[string]string{},
	}
	maps.Copy(n.Headers, e.Headers)
	return n
}

func handshake(t *testing.T, r *providers.Reading, want *providers.HandshakeExpect) {
	t.Helper()
	reply, ok := r.Handshake()
	if !ok {
		t.Fatal("the handshake is not answered")
	}
	if reply.Status != want.Status || string(reply.Body) != want.Body {
		t.Errorf("the handshake is answered %d %q, want %d %q", reply.Status, reply.Body, want.Status, want.Body)
	}
	if len(reply.Body) > 0 && !strings.HasPrefix(reply.ContentType, "text/plain") {
		t.Errorf("the handshake is answered as %q, want text/plain", reply.ContentType)
	}
	if _, err := r.Event(); !errors.Is(err, providers.ErrUnparsable) {
		t.Errorf("Event of a handshake gives %v, want ErrUnparsable", err)
	}
}

// payload holds a delivery against what its trigger promises.
func payload(t *testing.T, pack *providers.Pack, f providers.DeliveryFixture, d *providers.Delivery) {
	t.Helper()
	trigger, ok := pack.Triggers[f.Expect.Event]
	if !ok || trigger.Schema == nil || f.Expect.ContentType != "application/json" {
		return
	}
	if err := trigger.Schema.Check(d.Body); err != nil {
		t.Errorf("the payload is not what the trigger promises: %v", err)
	}
}

// redelivery sends the fixture once more as another delivery.
func redelivery(t *testing.T, pack *providers.Pack, f providers.DeliveryFixture) {
	t.Helper()
	if f.Expect.Handshake != nil || strings.HasPrefix(f.Expect.ID, "sha256-") {
		return
	}
	d := f.Delivery(f.At)
	const id = `a "new" <id> & more`
	if err := pack.Webhooks.NewDeliveryID(d, id); err != nil {
		t.Fatal(err)
	}
	sign(t, pack, f, d)
	if _, err := pack.Webhooks.Verify(d, []providers.Secret{secretOf(f)}); err != nil {
		t.Fatalf("with a new id: %v", err)
	}
	r, err := pack.Webhooks.Read(d)
	if err != nil {
		t.Fatalf("with a new id: %v", err)
	}
	got, err := r.Event()
	if err != nil {
		t.Fatalf("with a new id: %v", err)
	}
	want := normalized(f.Expect)
	want.ID = id
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("event with a new id (-want +got):\n%s", diff)
	}
}
