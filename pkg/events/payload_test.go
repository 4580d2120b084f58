package events_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"strings"
	"testing"
	"testing/iotest"

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

// broken is a reader that ends with an error.
type broken struct{ io.Reader }

func (b broken) Read(p []byte) (int, error) {
	n, err := b.Reader.Read(p)
	if errors.Is(err, io.EOF) {
		err = errors.New("cut off")
	}
	return n, err
}

func TestPayloadIsCopiedByPieces(t *testing.T) {
	p := events.Payloads{Conn: bustest.New(t).Conn()}
	for _, size := range []int{0, 1, 512 << 10, 1<<20 + 7} {
		data := bytes.Repeat([]byte("0123456789abcdef"), size/16+1)[:size]
		ref, err := p.Copy(t.Context(), "u 1", iotest.HalfReader(bytes.NewReader(data)), int64(size))
		if err != nil || ref.Size != int64(size) || !ref.BelongsTo("u 1") || ref.BelongsTo("u") {
			t.Fatalf("%d bytes: %+v, %v", size, ref, err)
		}
		r, err := p.Open(t.Context(), ref, int64(size))
		if err != nil {
			t.Fatal(err)
		}
		got, err := io.ReadAll(iotest.OneByteReader(io.LimitReader(r, 100)))
		if err != nil || !bytes.Equal(got, data[:min(size, 100)]) {
			t.Errorf("the beginning of %d bytes: %d, %v", size, len(got), err)
		}
		rest, err := io.ReadAll(r)
		if err != nil || len(got)+len(rest) != size {
			t.Errorf("%d bytes became %d, %v", size, len(got)+len(rest), err)
		}
		if err := p.Verify(t.Context(), ref, int64(size)); err != nil {
			t.Errorf("%d bytes: %v", size, err)
		}
		if whole, err := p.Get(t.Context(), ref, int64(size)); err != nil || !bytes.Equal(whole, data) {
			t.Errorf("%d bytes became %d: %v", size, len(whole), err)
		}
	}
	if _, err := p.Copy(t.Context(), "u1", strings.NewReader("four"), 3); !errors.Is(err, events.ErrPayloadTooLong) {
		t.Errorf("more than the limit: %v", err)
	}
	var unstored *events.StoreError
	if _, err := p.Copy(t.Context(), "u1", broken{strings.NewReader("x")}, 9); err == nil || errors.As(err, &unstored) {
		t.Errorf("of what cannot be read: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := p.Copy(ctx, "u1", strings.NewReader("x"), 9); !errors.As(err, &unstored) {
		t.Errorf("into what does not answer: %v", err)
	}
}

// What is changed is seen before its last byte is given away.
func TestChangedPayloadIsNotReadToItsEnd(t *testing.T) {
	b := bustest.New(t)
	p := events.Payloads{Conn: b.Conn()}
	ref, err := p.Copy(t.Context(), "u1", strings.NewReader("0123456789"), 100)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := b.JetStream().Publish(t.Context(), ref.Subject+".0", []byte("0123456780")); err != nil {
		t.Fatal(err)
	}
	r, err := p.Open(t.Context(), ref, 100)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := io.ReadAll(r); err == nil || len(got) > 0 {
		t.Errorf("read %q, %v", got, err)
	}
	if err := p.Verify(t.Context(), ref, 9); err == nil || !strings.Contains(err.Error(), "limit") {
		t.Errorf("over the limit: %v", err)
	}
}

func TestParseFile(t *testing.T) {
	sum := strings.Repeat("a", 64)
	good := `{"subject":"plugfn.payload.u1.` + sum + `","sha256":"` + sum + `","size":5,"name":"a b.txt","content_type":"text/plain"}`
	f, ok := events.ParseFile([]byte(good))
	if !ok || f.Name != "a b.txt" || f.Size != 5 || !f.BelongsTo("u1") || f.BelongsTo("u2") {
		t.Fatalf("%+v, %t", f, ok)
	}
	if again, err := json.Marshal(f); err != nil || string(again) != good {
		t.Errorf("became %s, %v", again, err)
	}
	for name, change := range map[string][2]string{
		"path":     {"a b.txt", "../a"},
		"backward": {"a b.txt", `a\\b`},
		"parent":   {"a b.txt", ".."},
		"line":     {"a b.txt", `a\r\nX: y`},
		"type":     {"text/plain", `text/plain\nX: y`},
		"long":     {"a b.txt", strings.Repeat("x", 300)},
		"wildcard": {".u1.", ".*."},
		"stream":   {"plugfn.payload.", "plugfn.event."},
		"negative": {":5", ":-5"},
		"text":     {":5", `:"5"`},
	} {
		if f, ok := events.ParseFile([]byte(strings.Replace(good, change[0], change[1], 1))); ok {
			t.Errorf("%s: %+v", name, f)
		}
	}
	for _, none := range []string{"", "null", "[]", `"x"`, "{}"} {
		if f, ok := events.ParseFile([]byte(none)); ok {
			t.Errorf("%s is %+v", none, f)
		}
	}
}

func FuzzParseFile(f *testing.F) {
	f.Add([]byte(`{"subject":"plugfn.payload.u1.00","sha256":"00","size":5,"name":"a","content_type":"b"}`))
	f.Fuzz(func(t *testing.T, raw []byte) {
		file, ok := events.ParseFile(raw)
		if ok && (strings.ContainsAny(file.Name+file.ContentType, "\r\n\x00") || strings.ContainsAny(file.Name, `/\`) || file.Size < 0) {
			t.Errorf("%+v", file)
		}
	})
}
