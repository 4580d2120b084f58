package main

import (
	"context"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/plugfn/plugfn/pkg/events"
)

const delivery = "72d3162e-cc78-11e3-81ab-4c9367dc0958"

// plugfn is what the example meets: a server with PlugFn's streams, on which a
// test plays PlugFn's part.
type plugfn struct {
	t   *testing.T
	url string
	nc  *nats.Conn
	js  jetstream.JetStream
}

func newPlugFn(t *testing.T) *plugfn {
	t.Helper()
	s, err := server.NewServer(&server.Options{Host: "127.0.0.1", Port: server.RANDOM_PORT, JetStream: true, StoreDir: t.TempDir(), NoSigs: true, NoLog: true})
	if err != nil {
		t.Fatal(err)
	}
	s.Start()
	t.Cleanup(func() { s.Shutdown(); s.WaitForShutdown() })
	if !s.ReadyForConnections(10 * time.Second) {
		t.Fatal("the server does not start")
	}
	p := &plugfn{t: t, url: s.ClientURL()}
	if p.nc, err = nats.Connect(p.url); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.nc.Close)
	if p.js, err = jetstream.New(p.nc); err != nil {
		t.Fatal(err)
	}
	for name, prefix := range map[string]string{
		events.StreamEvents: events.PrefixEvent, events.StreamActions: events.PrefixAction, events.StreamResults: events.PrefixResult,
	} {
		if _, err := p.js.CreateStream(t.Context(), jetstream.StreamConfig{Name: name, Subjects: []string{prefix + ">"}, AllowDirect: true}); err != nil {
			t.Fatal(err)
		}
	}
	return p
}

// publish stores an event, once the example's consumer is there.
func (p *plugfn) publish(id, body string) {
	p.t.Helper()
	for {
		_, err := p.js.Consumer(p.t.Context(), events.StreamEvents, "issue-to-slack")
		if err == nil {
			break
		}
		if p.t.Context().Err() != nil {
			p.t.Fatal(err)
		}
	}
	e := events.Event{ID: id, Source: "/plugfn/github/_/con_1", Type: "com.github.issues.opened", Data: []byte(body)}
	if _, err := p.js.PublishMsg(p.t.Context(), e.Msg(events.EventSubject("u1", "github", "issues.opened"))); err != nil {
		p.t.Fatal(err)
	}
}

// execute answers every request with the outcome, and hands the requests on.
func (p *plugfn) execute(outcome events.Outcome, failure *events.Error) <-chan events.ActionRequest {
	p.t.Helper()
	requests := make(chan events.ActionRequest, 10)
	_, err := p.nc.Subscribe(events.PrefixAction+">", func(msg *nats.Msg) {
		request, err := events.ParseActionRequest(msg.Subject, msg.Header, msg.Data)
		if err != nil {
			p.t.Error(err)
		}
		r := events.Result{ID: request.ID, UserID: request.UserID, Provider: request.Provider, Action: request.Action, Outcome: outcome, Error: failure}
		answer, err := r.Msg()
		if err != nil {
			p.t.Error(err)
		}
		if err := p.nc.PublishMsg(answer); err != nil {
			p.t.Error(err)
		}
		requests <- request
	})
	if err != nil {
		p.t.Fatal(err)
	}
	return requests
}

// pending is how many events are not acknowledged.
func (p *plugfn) pending() uint64 {
	p.t.Helper()
	c, err := p.js.Consumer(p.t.Context(), events.StreamEvents, "issue-to-slack")
	if err != nil {
		p.t.Fatal(err)
	}
	return c.CachedInfo().NumPending + uint64(c.CachedInfo().NumAckPending)
}

// start runs the example; the channel has what it returns.
func (p *plugfn) start(once bool) <-chan error {
	done := make(chan error, 1)
	go func() { done <- run(p.t.Context(), p.url, "#demo", once) }()
	return done
}

func TestIssueIsPosted(t *testing.T) {
	p := newPlugFn(t)
	requests := p.execute(events.Succeeded, nil)
	done := p.start(true)
	p.publish(delivery, `{"action":"opened","issue":{"title":"It <!channel> & breaks"}}`)
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	request := <-requests
	want := events.ActionRequest{
		UserID: "u1", Provider: "slack", Action: "chat.postMessage", ID: "to-slack-" + delivery,
		Params: json.RawMessage(`{"channel":"#demo","text":"New issue: It \u0026lt;!channel\u0026gt; \u0026amp; breaks"}`),
	}
	if diff := cmp.Diff(want, request); diff != "" {
		t.Error(diff)
	}
	if n := p.pending(); n != 0 {
		t.Errorf("%d events are not acknowledged", n)
	}
}

func TestSameEventSameRequest(t *testing.T) {
	p := newPlugFn(t)
	requests := p.execute(events.Succeeded, nil)
	for range 2 {
		done := p.start(true)
		p.publish(delivery, `{"issue":{"title":"t"}}`)
		if err := <-done; err != nil {
			t.Fatal(err)
		}
	}
	if diff := cmp.Diff(<-requests, <-requests); diff != "" {
		t.Error(diff)
	}
}

func TestResultThatIsThereAlready(t *testing.T) {
	p := newPlugFn(t)
	r := events.Result{ID: requestID(delivery), UserID: "u1", Provider: "slack", Outcome: events.Succeeded}
	msg, err := r.Msg()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := p.js.PublishMsg(t.Context(), msg); err != nil {
		t.Fatal(err)
	}
	done := p.start(true)
	p.publish(delivery, `{"issue":{"title":"t"}}`)
	if err := <-done; err != nil {
		t.Fatal(err)
	}
}

func TestFailureIsFinal(t *testing.T) {
	p := newPlugFn(t)
	p.execute(events.Failed, events.Errorf(events.CodeProviderRejected, "channel_not_found"))
	done := p.start(true)
	p.publish(delivery, `{"issue":{"title":"t"}}`)
	if err := <-done; err == nil || err.Error() != "failed: provider_rejected: channel_not_found" {
		t.Errorf("got %v", err)
	}
	if n := p.pending(); n != 0 {
		t.Errorf("%d events would come again after their final result", n)
	}
}

func TestUnreadableEventIsGivenUp(t *testing.T) {
	p := newPlugFn(t)
	done := p.start(true)
	p.publish(delivery, `payload=%7B%7D`)
	if err := <-done; err == nil || !strings.Contains(err.Error(), "not JSON") {
		t.Errorf("got %v", err)
	}
}

func TestWithoutResultTheEventStays(t *testing.T) {
	p := newPlugFn(t)
	ctx, cancel := context.WithCancel(t.Context())
	if _, err := p.nc.Subscribe(events.PrefixAction+">", func(*nats.Msg) { cancel() }); err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- run(ctx, p.url, "#demo", false) }()
	p.publish(delivery, `{"issue":{"title":"t"}}`)
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	if n := p.pending(); n != 1 {
		t.Errorf("%d events are waiting, want the one without a result", n)
	}
}

func TestRequestID(t *testing.T) {
	for _, eventID := range []string{delivery, "", "a.b", "*", ">", "a b", strings.Repeat("x", 49), "sha256-" + strings.Repeat("0", 64), "é"} {
		id := requestID(eventID)
		if events.Token(id) != id {
			t.Errorf("%q makes %q, which the subject of its result would not have", eventID, id)
		}
		if id != requestID(eventID) {
			t.Errorf("%q makes two ids", eventID)
		}
	}
	if requestID("a.b") == requestID("a.c") {
		t.Error("two events make one id")
	}
}
