package executor

import (
	"encoding/json"
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/plugfn/plugfn/pkg/events"
)

// long is a JSON text that does not fit into a message.
var long = `{"text":"` + strings.Repeat("0123456789abcdef", 80<<10) + `"}`

func tellLong(t *testing.T) *story {
	t.Helper()
	return tell(t, func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte(long)) })
}

// resolved fetches the data of a result as whoever listens does.
func (s *story) resolved(r events.Result) string {
	s.Helper()
	if err := (events.Payloads{Conn: s.app}).ResolveResult(s.Context(), &r, 4<<20); err != nil {
		s.Fatal(err)
	}
	if r.DataRef != nil {
		s.Errorf("result %s still has a reference beside its data", r.ID)
	}
	return string(r.Data)
}

func TestLongDataIsStoredBesideTheResult(t *testing.T) {
	s := tellLong(t)
	s.start()
	s.request(events.ActionRequest{ID: "read", Action: "things.get", Params: json.RawMessage(`{"id":"1"}`)})
	s.request(events.ActionRequest{ID: "write", Action: "things.create", Params: json.RawMessage(`{"title":"a"}`)})
	s.results(2)
	call := events.ActionRequest{ID: "call", UserID: "u1", Provider: "fake", Action: "things.get", Params: json.RawMessage(`{"id":"1"}`)}
	answer, err := s.app.RequestMsg(call.Msg(events.CallSubject(call.UserID, call.Provider, call.Action)), 20*time.Second)
	if err != nil {
		t.Fatal(err)
	}
	answered, err := events.ParseResult(answer.Data)
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range append(s.results(3), answered) {
		if r.Outcome != events.Succeeded || len(r.Data) > 0 || r.DataRef == nil || r.DataRef.Size != int64(len(long)) {
			t.Fatalf("result %s: %s, %d bytes of data, reference %+v", r.ID, r.Outcome, len(r.Data), r.DataRef)
		}
		if !strings.HasPrefix(r.DataRef.Subject, events.PrefixPayload+"u1.") {
			t.Errorf("the data is at %s, want a subject of its user", r.DataRef.Subject)
		}
		if got := s.resolved(r); got != long {
			t.Errorf("the data of %s has %d bytes, want the %d of the answer", r.ID, len(got), len(long))
		}
	}
}

func TestDataThatIsNotWhatItWasIsNotUsed(t *testing.T) {
	s := tellLong(t)
	s.start()
	s.request(events.ActionRequest{ID: "read", Action: "things.get", Params: json.RawMessage(`{"id":"1"}`)})
	r := s.results(1)[0]
	if _, err := s.bus.JetStream().Publish(t.Context(), r.DataRef.Subject+".0", []byte(strings.Repeat("x", 512<<10))); err != nil {
		t.Fatal(err)
	}
	payloads := events.Payloads{Conn: s.app}
	if err := payloads.ResolveResult(t.Context(), &r, 4<<20); err == nil || r.DataRef == nil || r.Data != nil {
		t.Errorf("changed data was taken: %v, %d bytes", err, len(r.Data))
	}
	if err := payloads.ResolveResult(t.Context(), &r, 1<<20); err == nil || !strings.Contains(err.Error(), "limit") {
		t.Errorf("more than the limit was read: %v", err)
	}
	if err := s.bus.JetStream().DeleteStream(t.Context(), events.StreamPayloads); err != nil {
		t.Fatal(err)
	}
	if err := payloads.ResolveResult(t.Context(), &r, 4<<20); err == nil || errors.Is(err, events.ErrPayloadGone) {
		t.Errorf("without the store: %v", err)
	}
}

// Where the data cannot be stored, what was carried out succeeds all the same; a
// read that gives nothing does not.
func TestLongDataThatCannotBeStored(t *testing.T) {
	s := tellLong(t)
	s.tune = func(service *Service) { service.storing = 50 * time.Millisecond }
	if err := s.bus.JetStream().DeleteStream(t.Context(), events.StreamPayloads); err != nil {
		t.Fatal(err)
	}
	s.start()
	s.request(events.ActionRequest{ID: "read", Action: "things.get", Params: json.RawMessage(`{"id":"1"}`)})
	s.request(events.ActionRequest{ID: "write", Action: "things.create", Params: json.RawMessage(`{"title":"a"}`)})
	for _, r := range s.results(2) {
		switch {
		case r.ID == "write" && (r.Outcome != events.Succeeded || r.DataRef != nil || r.Data != nil):
			t.Errorf("write: %+v", r)
		case r.ID == "read" && (r.Outcome != events.Failed || r.Error.Code != events.CodeInternal || !strings.Contains(r.Error.Message, "bytes")):
			t.Errorf("read: %+v", r)
		}
	}
}

func TestLongPageIsSentAsReference(t *testing.T) {
	items := `"` + strings.Repeat("0123456789abcdef", 20<<10) + `"` // three make a page
	s := tell(t, (&book{item: items}).ServeHTTP, shelf(t))
	inbox := nats.NewInbox()
	pages, err := s.app.SubscribeSync(inbox)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.app.Flush(); err != nil {
		t.Fatal(err)
	}
	s.start()
	s.request(events.ActionRequest{ID: "r", Action: "linked.list", MaxPages: 2, StreamPages: true, Reply: inbox, Params: json.RawMessage(`{"page":6}`)})
	for page := range 2 {
		msg, err := pages.NextMsg(20 * time.Second)
		if err != nil {
			t.Fatal(err)
		}
		ref := events.PayloadRef{Subject: msg.Header.Get("ce-dataref"), SHA256: msg.Header.Get("ce-datasha256"), Size: int64(3*len(items) + 4)}
		data, err := events.Payloads{Conn: s.app}.Get(t.Context(), ref, 4<<20)
		if err != nil || string(data) != "["+items+","+items+","+items+"]" || len(msg.Data) > 0 {
			t.Errorf("page %d: %v, %d bytes beside %d in the message", page+1, err, len(data), len(msg.Data))
		}
	}
}
