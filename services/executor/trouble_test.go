package executor

import (
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/plugfn/plugfn/pkg/events"
)

func write(id, title string) events.ActionRequest {
	return events.ActionRequest{
		ID: id, UserID: "u1", Provider: "fake", Action: "things.create", Params: json.RawMessage(`{"title":"` + title + `"}`),
	}
}

// The provider has answered, and the bus is away for a while.
func TestOutcomeSurvivesABusThatDoesNotStore(t *testing.T) {
	called := make(chan struct{})
	answer := make(chan struct{})
	s := tell(t, func(w http.ResponseWriter, _ *http.Request) {
		close(called)
		<-answer
		_, _ = io.WriteString(w, `{"ok":true}`)
	})
	s.start()
	s.request(write("r1", "a"))
	<-called
	if err := s.bus.JetStream().DeleteStream(t.Context(), events.StreamResults); err != nil {
		t.Fatal(err)
	}
	close(answer)
	time.Sleep(200 * time.Millisecond) // long enough for several vain tries
	if err := s.bus.Declare(t.Context()); err != nil {
		t.Fatal(err)
	}
	if r := s.results(1)[0]; r.Outcome != events.Succeeded {
		t.Errorf("got %+v, %v", r, r.Error)
	}
	if n := s.provider.count(); n != 1 {
		t.Errorf("provider was called %d times, want 1", n)
	}
}

func TestDataThatJSONWouldEscapeFits(t *testing.T) {
	s := tell(t, func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, `{"a":"`+strings.Repeat("<", 500<<10)+`"}`)
	})
	s.start()
	s.request(events.ActionRequest{Action: "things.get", Params: json.RawMessage(`{"id":"1"}`)})
	if r := s.results(1)[0]; r.Outcome != events.Succeeded || len(r.Data) < 500<<10 {
		t.Errorf("outcome %s with %d bytes, %v", r.Outcome, len(r.Data), r.Error)
	}
}

// What the application asked of the broker for its own publish must not be asked
// again for the dead letter.
func TestReusedIDWithBrokerHeadersIsKept(t *testing.T) {
	s := tell(t, nil)
	s.start()
	s.request(write("r1", "a"))
	s.results(1)
	second := write("r1", "b")
	if _, err := s.bus.JetStream().PublishMsg(t.Context(), second.Msg(second.Subject()), jetstream.WithExpectStream(events.StreamActions)); err != nil {
		t.Fatal(err)
	}
	s.deadLetters(1)
	s.results(1)
}

func (s *story) deadLetters(n uint64) {
	s.Helper()
	s.eventually("dead letters", func() bool {
		stream, err := s.bus.JetStream().Stream(s.Context(), events.StreamDead)
		return err == nil && stream.CachedInfo().State.Msgs == n
	})
}

func TestOneIDAtTwoProvidersIsOneRequest(t *testing.T) {
	s := tell(t, nil)
	s.start()
	s.request(write("r1", "a"))
	s.results(1)
	s.request(events.ActionRequest{ID: "r1", Provider: "other", Action: "x"})
	s.deadLetters(1)
	s.results(1)
}

func TestOrphanedClaimIsSettled(t *testing.T) {
	s := tell(t, nil)
	request := write("r1", "a")
	s.leave(request, &entry{Sequence: 99, Fingerprint: fingerprint(&request), SentAt: time.Now().Add(-time.Hour)})
	s.start()
	s.request(request)
	if r := s.results(1)[0]; r.Outcome != events.Unknown {
		t.Errorf("got %+v", r)
	}
}

// Whoever loses the claim must not take the winner for dead.
func TestOvertakenWaitsForTheOther(t *testing.T) {
	s := tell(t, nil)
	service, err := New(s.cfg)
	if err != nil {
		t.Fatal(err)
	}
	w, err := service.worker(t.Context(), t.Context())
	if err != nil {
		t.Fatal(err)
	}
	tk := &task{ActionRequest: write("r1", "a"), user: "u1", provider: "fake", sequence: 7, fingerprint: "f", storedAt: time.Now()}
	winner := &entry{Sequence: 7, Fingerprint: "f", SentAt: time.Now()}
	if err := w.journal.save(t.Context(), tk, winner); err != nil {
		t.Fatal(err)
	}
	p, failure := w.plan(tk, nil)
	if failure != nil {
		t.Fatal(failure)
	}
	err = w.try(t.Context(), tk, p, mustCredential(t), &entry{Sequence: 7, Fingerprint: "f"})
	if !errors.Is(err, errLater) {
		t.Errorf("got %v, want %v", err, errLater)
	}
	if n := s.provider.count(); n != 0 {
		t.Errorf("provider was called %d times, want 0", n)
	}
}

func TestIDOfACallInAnyCase(t *testing.T) {
	s := tell(t, nil)
	s.start()
	s.eventually("the call service", s.served)
	for range 2 {
		msg := &nats.Msg{Subject: "plugfn.call.u1.fake.things.create", Header: nats.Header{"plugfn-id": {"r1"}}, Data: []byte(`{"title":"a"}`)}
		reply, err := s.app.RequestMsg(msg, 10*time.Second)
		if err != nil {
			t.Fatal(err)
		}
		if r, err := events.ParseResult(reply.Data); err != nil || r.ID != "r1" {
			t.Errorf("reply %s, %v", reply.Data, err)
		}
	}
	if n := s.provider.count(); n != 1 {
		t.Errorf("provider was called %d times, want 1", n)
	}
}

func TestParkedRequestKeepsItsPlace(t *testing.T) {
	s := tell(t, nil)
	s.start()
	first, second := write("r1", "a"), write("r1", "b")
	first.NotBefore = time.Now().Add(time.Hour)
	second.NotBefore = first.NotBefore
	later, err := s.bus.JetStream().Stream(t.Context(), events.StreamLater)
	if err != nil {
		t.Fatal(err)
	}
	held := func() string {
		msg, err := later.GetLastMsgForSubject(t.Context(), events.LaterSubject("action", "u1", "r1"))
		if err != nil {
			return ""
		}
		return string(msg.Data)
	}
	s.request(first)
	s.eventually("a parked request", func() bool { return held() != "" })
	s.request(second)
	s.deadLetters(1)
	if got := held(); got != string(first.Params) {
		t.Errorf("parked: %s", got)
	}
}

func TestParkedRequestIsExecutedWhenItIsDue(t *testing.T) {
	s := tell(t, nil)
	s.start()
	r := write("r1", "a")
	r.NotBefore = time.Now().Add(300 * time.Millisecond)
	s.request(r)
	s.idle()
	time.Sleep(time.Until(r.NotBefore))
	s.request(r) // as the scheduler publishes it
	if got := s.results(1)[0]; got.Outcome != events.Succeeded {
		t.Errorf("got %+v, %v", got, got.Error)
	}
	if n := s.provider.count(); n != 1 {
		t.Errorf("provider was called %d times, want 1", n)
	}
}

func TestMalformedSubjectsAreAnswered(t *testing.T) {
	s := tell(t, nil)
	s.start()
	s.eventually("the call service", s.served)
	for subject, result := range map[string]string{
		"plugfn.call.u1.fake":                            "plugfn.result.u1.fake.failed.r-u1",
		"plugfn.call.h-0011223344556677.fake.things.get": "plugfn.result.h-0011223344556677.fake.failed.r-h",
	} {
		id := result[strings.LastIndex(result, ".")+1:]
		reply, err := s.app.RequestMsg(&nats.Msg{Subject: subject, Header: nats.Header{events.HeaderID: {id}}, Data: []byte(`{}`)}, 10*time.Second)
		if err != nil {
			t.Fatalf("%s: %v", subject, err)
		}
		if r, err := events.ParseResult(reply.Data); err != nil || r.ID != id || r.Error == nil || r.Error.Code != events.CodeInvalidParams {
			t.Errorf("%s: reply %s, %v", subject, reply.Data, err)
		}
		stream, err := s.bus.JetStream().Stream(t.Context(), events.StreamResults)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := stream.GetLastMsgForSubject(t.Context(), result); err != nil {
			t.Errorf("%s: %v", result, err)
		}
	}
}

func TestTooManyParams(t *testing.T) {
	s := tell(t, nil)
	s.start()
	r := write("r1", strings.Repeat("x", maxParams))
	r.NotBefore = time.Now().Add(time.Hour)
	s.request(r)
	if got := s.results(1)[0]; got.Error == nil || got.Error.Code != events.CodeInvalidParams {
		t.Errorf("got %+v", got)
	}
}
