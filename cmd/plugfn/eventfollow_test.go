package main

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/plugfn/plugfn/internal/bus"
	"github.com/plugfn/plugfn/internal/bus/bustest"
	"github.com/plugfn/plugfn/pkg/events"
)

// largeBody is longer than a message may be.
func largeBody() []byte { return []byte(`"` + strings.Repeat("x", events.MaxInline) + `"`) }

// large is an event whose data is kept beside its message, as an ingress
// stores it. Its reference says what change makes of it.
func large(t *testing.T, b *bus.Bus, id string, change func(h nats.Header)) {
	t.Helper()
	e := events.Event{
		ID: id, Source: "/plugfn/github/app/_", Type: "com.github.push", Provider: "github", EventName: "push", UserID: "u1",
		DataContentType: "application/json", Data: largeBody(),
	}
	msg, err := events.Payloads{Conn: b.Conn()}.Offload(t.Context(), e.Msg(events.EventSubject("u1", "github", "push")))
	if err != nil {
		t.Fatal(err)
	}
	change(msg.Header)
	if _, err := b.JetStream().PublishMsg(t.Context(), msg); err != nil {
		t.Fatal(err)
	}
}

// badReferences are the ways in which a payload may be missing.
func badReferences() map[string]func(nats.Header) {
	return map[string]func(nats.Header){
		"gone": func(h nats.Header) {
			other := strings.Repeat("0", 64)
			h["ce-dataref"], h["ce-datasha256"] = []string{events.PrefixPayload + "u1." + other}, []string{other}
		},
		"hash": func(h nats.Header) { h["ce-datasha256"] = []string{strings.Repeat("1", 64)} },
		"size": func(h nats.Header) { h["ce-datasize"] = []string{"12"} },
		"huge": func(h nats.Header) { h["ce-datasize"] = []string{fmt.Sprint(maxPayload + 1)} },
	}
}

func TestFollowFetchesPayloads(t *testing.T) {
	b := bustest.New(t)
	large(t, b, "good", func(nats.Header) {})
	for id, change := range badReferences() {
		large(t, b, id, change)
	}
	if _, err := b.JetStream().Publish(t.Context(), events.EventSubject("u1", "github", "push"), []byte("{}")); err != nil {
		t.Fatal(err)
	}
	r := eventReader{conn: b.Conn(), stream: events.StreamEvents, limit: 6, config: jetstream.OrderedConsumerConfig{
		FilterSubjects: []string{events.PrefixEvent + ">"}, DeliverPolicy: jetstream.DeliverAllPolicy,
	}}
	seen := map[string]bool{}
	err := r.follow(t.Context(), func(_ string, e *events.Event, problem error) error {
		seen[e.ID] = true
		shown := fmt.Sprint(cloudEvent(e)["dataref"])
		switch {
		case e.ID == "good" && (problem != nil || !bytes.Equal(e.Data, largeBody()) || shown != "<nil>"):
			t.Errorf("good: %d bytes, dataref %s, %v", len(e.Data), shown, problem)
		case e.ID != "good" && problem == nil:
			t.Errorf("%q has %d bytes", e.ID, len(e.Data))
		case e.ID == "gone" && !errors.Is(problem, events.ErrPayloadGone):
			t.Errorf("gone: %v", problem)
		case e.ID != "" && e.ID != "good" && (shown == "<nil>" || cloudEvent(e)["data_base64"] != nil):
			t.Errorf("%s is shown as %v", e.ID, cloudEvent(e))
		}
		return nil
	})
	if err != nil || len(seen) != 6 {
		t.Errorf("saw %v, %v", seen, err)
	}
}

// TestReplayKeepsPayloads: a replay reads the payload, and stores it anew: it is
// kept no shorter than the event that names it.
func TestReplayKeepsPayloads(t *testing.T) {
	b := bustest.New(t)
	large(t, b, "good", func(nats.Header) {})
	payloads, err := b.JetStream().Stream(t.Context(), events.StreamPayloads)
	if err != nil {
		t.Fatal(err)
	}
	before, err := payloads.Info(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	filter := eventFilter{}
	if err := filter.check(time.Now()); err != nil {
		t.Fatal(err)
	}
	s, err := openEvents(t.Context(), b.Conn(), &filter)
	if err != nil {
		t.Fatal(err)
	}
	found, _, err := s.newest(t.Context(), s.last(), 1)
	if err != nil || len(found) != 1 || found[0].bytes != len(largeBody()) {
		t.Fatalf("listed %+v, %v", found, err)
	}
	out := replayed{}
	if err := (&replay{run: "one", pause: time.Millisecond}).all(t.Context(), s, &out); err != nil || out.Published != 1 {
		t.Fatalf("%+v, %v", out, err)
	}
	after, err := payloads.Info(t.Context())
	if err != nil || after.State.FirstSeq <= before.State.FirstSeq {
		t.Errorf("the payload is as old as it was: %v", err)
	}
	e, err := s.whole(t.Context(), 2)
	if err != nil || e.missing != nil || e.ID != "good:one" || !bytes.Equal(e.Data, largeBody()) || e.Extensions[replayOf] != "good" {
		t.Errorf("replayed %s, %d bytes, %v, %v", e.ID, len(e.Data), e.missing, err)
	}
	for id, change := range badReferences() {
		large(t, b, id, change)
	}
	if s, err = openEvents(t.Context(), b.Conn(), &filter); err != nil {
		t.Fatal(err)
	}
	for sequence := uint64(3); sequence < 7; sequence++ {
		e, err := s.whole(t.Context(), sequence)
		if err != nil || e.missing == nil || len(e.Data) != 0 || withoutData(e) == nil {
			t.Errorf("%s: %d bytes, %v, %v", e.ID, len(e.Data), e.missing, err)
		}
		if _, err := (&replay{run: "two"}).publish(t.Context(), s, sequence); err == nil {
			t.Errorf("%s is published again without its data", e.ID)
		}
	}
}
