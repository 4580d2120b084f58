package providertest

import (
	"context"
	"errors"
	"slices"
	"strings"

	"github.com/google/go-cmp/cmp"

	"github.com/plugfn/plugfn/pkg/providers"
)

// deliveries checks the fixtures of all deliveries, and that every trigger that is pushed has one.
func deliveries(t T, pack *providers.Pack) {
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
		for _, e := range f.Expect.All() {
			events[e.Event] = true
		}
		t.Run(f.Name, func(t T) {
			delivery(t, pack, f)
			if f.Expect.Verified == "" {
				handshakeAttacks(t, pack, f)
				return
			}
			redelivery(t, pack, f)
			attacks(t, pack, f)
		})
	}
	for name, trigger := range pack.Triggers {
		if trigger.Poll == nil && !events[name] {
			t.Errorf("trigger %s has no fixture", name)
		}
	}
}

// signedDelivery is the fixture's request with its signature.
func signedDelivery(t T, f providers.DeliveryFixture) *providers.Delivery {
	t.Helper()
	d, err := f.Signed()
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// delivery checks one fixture from the request to the event.
func delivery(t T, pack *providers.Pack, f providers.DeliveryFixture) {
	t.Helper()
	d, check := signedDelivery(t, f), f.Check()
	if !pack.Webhooks.TakesMethod(d.Method) {
		t.Fatalf("the pack takes no %s", d.Method)
	}
	reply, unsigned := pack.Webhooks.UnsignedHandshake(d, check)
	if unsigned != (f.Expect.Verified == "") {
		t.Fatalf("without looking at the signature it is answered %+v; want that to be %v", reply, f.Expect.Verified == "")
	}
	if unsigned {
		sameReply(t, "the handshake", reply, f.Expect.Handshake)
		return
	}
	verdict, err := pack.Webhooks.Verify(context.Background(), d, check)
	if err != nil || string(verdict.Level) != f.Expect.Verified || verdict.Key > 0 {
		t.Fatalf("Verify gives %+v, %v; want level %s", verdict, err, f.Expect.Verified)
	}
	r, err := pack.Webhooks.Read(d)
	if err != nil {
		t.Fatalf("Read: %v", err)
	}
	if f.Expect.Handshake != nil {
		handshake(t, r, check, verdict, f.Expect.Handshake)
		return
	}
	if reply, ok := r.Handshake(check, verdict); ok {
		t.Errorf("the event is taken for a handshake and answered %+v", reply)
	}
	sameEvents(t, r, f.Expect.All(), d)
	want := &providers.HandshakeExpect{Status: 200}
	if f.Expect.Answer != nil {
		want = f.Expect.Answer
	}
	answer := r.Answer()
	sameReply(t, "the delivery", &answer, want)
	payload(t, pack, f, d)
}

// sameEvents compares the events of a delivery with those that are wanted.
func sameEvents(t T, r *providers.Reading, want []providers.EventExpect, d *providers.Delivery) {
	t.Helper()
	got, err := r.Events()
	if err != nil {
		t.Fatalf("Events: %v", err)
	}
	if len(got) != len(want) {
		t.Fatalf("there are %d events, want %d: %+v", len(got), len(want), got)
	}
	for i := range want {
		n := normalized(want[i])
		if n.Data == nil {
			n.Data = got[i].Data
		}
		if diff := cmp.Diff(n, got[i]); diff != "" {
			t.Errorf("event %d (-want +got):\n%s", i, diff)
		}
	}
}

func normalized(e providers.EventExpect) providers.Normalized {
	n := providers.Normalized{
		ID:           e.ID,
		Name:         e.Event,
		Type:         e.Type,
		Subject:      e.Subject,
		Account:      e.Account,
		PartitionKey: e.PartitionKey,
		Time:         e.Time,
		Cause:        e.Cause,
		ContentType:  e.ContentType,
		Headers:      e.Headers,
	}
	if e.Data != "" {
		n.Data = []byte(e.Data)
	}
	return n
}

func handshake(t T, r *providers.Reading, check providers.Check, verdict providers.Verdict, want *providers.HandshakeExpect) {
	t.Helper()
	reply, ok := r.Handshake(check, verdict)
	if !ok {
		t.Fatal("the handshake is not answered")
	}
	sameReply(t, "the handshake", reply, want)
	if _, err := r.Events(); !errors.Is(err, providers.ErrUnparsable) {
		t.Errorf("Events of a handshake gives %v, want ErrUnparsable", err)
	}
}

// sameReply compares an answer with the one that is wanted. Whatever it says, a
// browser must not take it for a document.
func sameReply(t T, what string, got *providers.HandshakeReply, want *providers.HandshakeExpect) {
	t.Helper()
	if got.Status != want.Status || string(got.Body) != want.Body {
		t.Errorf("%s is answered %d %q, want %d %q", what, got.Status, got.Body, want.Status, want.Body)
	}
	if diff := cmp.Diff(want.Headers, got.Headers); diff != "" {
		t.Errorf("%s is answered with other headers (-want +got):\n%s", what, diff)
	}
	if learned := string(got.Learn.Reveal()); learned != want.Learn || got.Confirm != want.Confirm {
		t.Errorf("%s tells the secret %q and has %q called, want %q and %q", what, learned, got.Confirm, want.Learn, want.Confirm)
	}
	plain := strings.HasPrefix(got.ContentType, "text/plain") || got.ContentType == "application/json"
	if len(got.Body) > 0 && !plain {
		t.Errorf("%s is answered as %q, want text/plain or application/json", what, got.ContentType)
	}
}

// payload holds a delivery against what its triggers promise.
func payload(t T, pack *providers.Pack, f providers.DeliveryFixture, d *providers.Delivery) {
	t.Helper()
	r, err := pack.Webhooks.Read(d)
	if err != nil {
		t.Fatal(err)
	}
	events, err := r.Events()
	if err != nil {
		t.Fatal(err)
	}
	for _, n := range events {
		trigger, ok := pack.Triggers[n.Name]
		if !ok || trigger.Schema == nil || n.ContentType != "application/json" {
			continue
		}
		if err := trigger.Schema.Check(n.Data); err != nil {
			t.Errorf("%s: the payload is not what the trigger promises: %v", f.Name, err)
		}
	}
}

// redelivery sends the fixture once more as another delivery.
func redelivery(t T, pack *providers.Pack, f providers.DeliveryFixture) {
	t.Helper()
	want := f.Expect.All()
	isHash := func(e providers.EventExpect) bool { return strings.HasPrefix(e.ID, "sha256-") }
	if len(want) == 0 || slices.ContainsFunc(want, isHash) {
		return
	}
	d, err := f.Delivery(f.At)
	if err != nil {
		t.Fatal(err)
	}
	const id = `a "new" <id> & more`
	if err := pack.Webhooks.NewDeliveryID(d, id); err != nil {
		t.Fatal(err)
	}
	if err := f.Signer().Sign(d, f.Request.URL); err != nil {
		if f.Signature != "" {
			return // published by somebody who kept his key
		}
		t.Fatal(err)
	}
	if _, err := pack.Webhooks.Verify(context.Background(), d, f.Check()); err != nil {
		t.Fatalf("with a new id: %v", err)
	}
	r, err := pack.Webhooks.Read(d)
	if err != nil {
		t.Fatalf("with a new id: %v", err)
	}
	got, err := r.Events()
	if err != nil {
		t.Fatalf("with a new id: %v", err)
	}
	seen := map[string]bool{}
	for i, n := range got {
		if n.ID == want[i].ID || !strings.Contains(n.ID, id) || seen[n.ID] {
			t.Errorf("event %d has the id %q after it was changed to %q", i, n.ID, id)
		}
		seen[n.ID] = true
		// What else may be made of the id, or of a part of it.
		n.ID, n.Data, n.Subject, n.PartitionKey, n.Time = want[i].ID, nil, want[i].Subject, want[i].PartitionKey, want[i].Time
		if diff := cmp.Diff(normalized(want[i]), n, cmp.FilterPath(isData, cmp.Ignore())); diff != "" {
			t.Errorf("event %d with a new id (-want +got):\n%s", i, diff)
		}
	}
}

func isData(p cmp.Path) bool { return p.Last().String() == ".Data" }
