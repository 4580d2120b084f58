package events_test

import (
	"bytes"
	"errors"
	"strings"
	"testing"

	"github.com/nats-io/nats.go"

	"github.com/plugfn/plugfn/internal/bus/bustest"
	"github.com/plugfn/plugfn/pkg/events"
)

func TestPayloadThereAndBack(t *testing.T) {
	p := events.Payloads{Conn: bustest.New(t).Conn()}
	for _, size := range []int{0, 1, 512 << 10, 512<<10 + 1, 3 << 20} {
		data := bytes.Repeat([]byte("0123456789abcdef"), size/16+1)[:size]
		ref, err := p.Put(t.Context(), "u 1", data)
		if err != nil {
			t.Fatal(err)
		}
		if again, err := p.Put(t.Context(), "u 1", data); err != nil || again != ref {
			t.Errorf("%d bytes again: %+v, %v", size, again, err)
		}
		got, err := p.Get(t.Context(), ref, 4<<20)
		if err != nil || !bytes.Equal(got, data) {
			t.Errorf("%d bytes became %d: %v", size, len(got), err)
		}
		if other, err := p.Put(t.Context(), "u2", data); err != nil || other.Subject == ref.Subject {
			t.Errorf("the payload of another user is the same: %+v, %v", other, err)
		}
	}
}

func TestPayloadThatIsNotWhatItShouldBe(t *testing.T) {
	p := events.Payloads{Conn: bustest.New(t).Conn()}
	ref, err := p.Put(t.Context(), "u1", []byte("data"))
	if err != nil {
		t.Fatal(err)
	}
	change := func(edit func(*events.PayloadRef)) events.PayloadRef {
		changed := ref
		edit(&changed)
		return changed
	}
	other := strings.Repeat("0", 64)
	for name, bad := range map[string]events.PayloadRef{
		"hash":     change(func(r *events.PayloadRef) { r.SHA256 = other }),
		"short":    change(func(r *events.PayloadRef) { r.Size = 3 }),
		"long":     change(func(r *events.PayloadRef) { r.Size = 5 }),
		"too long": change(func(r *events.PayloadRef) { r.Size = 1 << 40 }),
		"negative": change(func(r *events.PayloadRef) { r.Size = -1 }),
		"gone":     change(func(r *events.PayloadRef) { r.Subject = "plugfn.payload.u1." + other }),
		"foreign":  change(func(r *events.PayloadRef) { r.Subject = "plugfn.event.u1." + ref.SHA256 }),
		"wildcard": change(func(r *events.PayloadRef) { r.Subject = "plugfn.payload.*." + ref.SHA256 }),
		"empty":    change(func(r *events.PayloadRef) { r.Subject = "" }),
	} {
		if got, err := p.Get(t.Context(), bad, 1<<20); err == nil {
			t.Errorf("%s: got %q", name, got)
		} else if errors.Is(err, events.ErrPayloadGone) != (name == "gone" || name == "long") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestLongDataTravelsApart(t *testing.T) {
	p := events.Payloads{Conn: bustest.New(t).Conn()}
	e := events.Event{ID: "1", Source: "/s", Type: "t", UserID: "u1", Data: bytes.Repeat([]byte("x"), events.MaxInline+1)}
	msg := e.Msg(events.EventSubject("u1", "p", "e"))
	apart, err := p.Offload(t.Context(), msg)
	if err != nil {
		t.Fatal(err)
	}
	if len(msg.Data) != len(e.Data) || len(apart.Data) != 0 {
		t.Errorf("%d bytes before, %d after", len(msg.Data), len(apart.Data))
	}
	read, err := events.ParseEvent(apart.Header, apart.Data)
	if err != nil {
		t.Fatal(err)
	}
	if !strings.HasPrefix(read.DataRef.Subject, "plugfn.payload.u1.") {
		t.Errorf("the payload is at %s", read.DataRef.Subject)
	}
	again, err := events.ParseEvent(read.Msg("x").Header, nil)
	if err != nil || again.DataRef != read.DataRef {
		t.Errorf("the reference became %+v, %v", again.DataRef, err)
	}
	if err := p.Resolve(t.Context(), &read, 1<<20); err != nil || !bytes.Equal(read.Data, e.Data) {
		t.Errorf("resolved to %d bytes, %v", len(read.Data), err)
	}
	dead, err := p.Offload(t.Context(), &nats.Msg{Subject: events.DeadSubject("event", "u2", "p", "e"), Data: e.Data})
	if err != nil || !strings.HasPrefix(dead.Header.Get("ce-dataref"), "plugfn.payload.u2.") {
		t.Errorf("a dead letter: %v, %v", dead, err)
	}
	short := e
	short.Data = []byte("{}")
	if msg := short.Msg("s"); true {
		if same, err := p.Offload(t.Context(), msg); err != nil || same != msg {
			t.Errorf("short data: %v, %v", same, err)
		}
	}
}
