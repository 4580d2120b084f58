package executor

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/plugfn/plugfn/pkg/events"
	"github.com/plugfn/plugfn/pkg/providers"
)

func TestRepeatedRequestsAreExecutedOnce(t *testing.T) {
	s := tell(t, nil)
	s.start()
	const ids, repeats = 20, 5
	for range repeats {
		for i := range ids {
			s.request(events.ActionRequest{ID: fmt.Sprint("r", i), Action: "things.create", Params: json.RawMessage(`{"title":"a"}`)})
		}
	}
	s.results(ids)
	if n := s.provider.count(); n != ids {
		t.Errorf("provider was called %d times, want %d", n, ids)
	}
}

func TestSameIDOfAnotherUserIsAnotherRequest(t *testing.T) {
	s := tell(t, nil)
	s.start()
	for _, user := range []string{"u1", "u2"} {
		s.request(events.ActionRequest{ID: "r1", UserID: user, Action: "things.create", Params: json.RawMessage(`{"title":"a"}`)})
	}
	s.results(2)
	if n := s.provider.count(); n != 2 {
		t.Errorf("provider was called %d times, want 2", n)
	}
}

func TestRepeatedCallsAllGetTheOneResult(t *testing.T) {
	s := tell(t, func(w http.ResponseWriter, _ *http.Request) {
		time.Sleep(300 * time.Millisecond)
		_, _ = io.WriteString(w, `{"n":1}`)
	})
	s.start()
	msg := (&events.ActionRequest{ID: "r1", UserID: "u1", Provider: "fake", Action: "things.create", Params: json.RawMessage(`{"title":"a"}`)}).
		Msg(events.CallSubject("u1", "fake", "things.create"))
	s.eventually("the call service", s.served)
	replies := make(chan events.Result, 3)
	for range cap(replies) {
		go func() {
			reply, err := s.app.RequestMsg(&nats.Msg{Subject: msg.Subject, Header: msg.Header, Data: msg.Data}, 15*time.Second)
			if err != nil {
				t.Error(err)
				replies <- events.Result{}
				return
			}
			r, _ := events.ParseResult(reply.Data)
			replies <- r
		}()
	}
	for range cap(replies) {
		if r := <-replies; r.ID != "r1" || r.Outcome != events.Succeeded || string(r.Data) != `{"n":1}` {
			t.Errorf("reply %+v", r)
		}
	}
	s.results(1)
	if n := s.provider.count(); n != 1 {
		t.Errorf("provider was called %d times, want 1", n)
	}
}

// served reports whether somebody serves calls.
// served reports whether calls and all else is answered: the endpoint for what
// providers offer is the last to come.
func (s *story) served() bool {
	info, err := s.app.Request("$SRV.INFO.plugfn-executor", nil, time.Second)
	return err == nil && bytes.Contains(info.Data, []byte(`"name":"providers"`))
}

func TestIDReusedForAnotherRequest(t *testing.T) {
	s := tell(t, nil)
	s.start()
	s.request(events.ActionRequest{ID: "r1", Action: "things.create", Params: json.RawMessage(`{"title":"a"}`)})
	s.results(1)
	msg := (&events.ActionRequest{ID: "r1", UserID: "u1", Provider: "fake", Action: "things.create", Params: json.RawMessage(`{"title":"b"}`)}).
		Msg(events.CallSubject("u1", "fake", "things.create"))
	reply, err := s.app.RequestMsg(msg, 10*time.Second)
	if err != nil {
		t.Fatal(err)
	}
	if r, _ := events.ParseResult(reply.Data); r.Error == nil || r.Error.Code != events.CodeInvalidParams || !strings.Contains(r.Error.Message, "used before") {
		t.Errorf("reply %s", reply.Data)
	}
	s.results(1)
	dead, err := s.bus.JetStream().Stream(t.Context(), events.StreamDead)
	if err != nil {
		t.Fatal(err)
	}
	kept, err := dead.GetLastMsgForSubject(t.Context(), "plugfn.dead.action.u1.fake.things.create")
	if err != nil {
		t.Fatal(err)
	}
	if string(kept.Data) != `{"title":"b"}` || kept.Header.Get(events.HeaderReason) == "" {
		t.Errorf("dead letter %s %v", kept.Data, kept.Header)
	}
	if n := s.provider.count(); n != 1 {
		t.Errorf("provider was called %d times, want 1", n)
	}
}

// An executor that dies after it noted "sent" leaves the entry behind and its
// message is delivered again.
func TestRecovery(t *testing.T) {
	tests := []struct {
		action  string
		outcome events.Outcome
		calls   int
	}{
		{"things.create", events.Unknown, 0},
		{"things.put", events.Succeeded, 1},
	}
	for _, tt := range tests {
		t.Run(tt.action, func(t *testing.T) {
			s := tell(t, nil)
			request := events.ActionRequest{ID: "r1", UserID: "u1", Provider: "fake", Action: tt.action, Params: json.RawMessage(`{"title":"a"}`)}
			sequence := s.request(request)
			s.leave(request, &entry{Sequence: sequence, Fingerprint: fingerprint(&request), SentAt: time.Now()})
			s.start()
			r := s.results(1)[0]
			if r.Outcome != tt.outcome {
				t.Errorf("got %+v, %v", r, r.Error)
			}
			if n := s.provider.count(); n != tt.calls {
				t.Errorf("provider was called %d times, want %d", n, tt.calls)
			}
		})
	}
}

// leave puts into the journal what an executor has left behind.
func (s *story) leave(request events.ActionRequest, e *entry) {
	s.Helper()
	service, err := New(s.cfg)
	if err != nil {
		s.Fatal(err)
	}
	w, err := service.worker(s.Context(), s.Context())
	if err != nil {
		s.Fatal(err)
	}
	if err := w.journal.save(s.Context(), &task{ActionRequest: request}, e); err != nil {
		s.Fatal(err)
	}
}

// An executor that comes back from the dead finds its claim taken.
func TestFrozenExecutorDropsItsResult(t *testing.T) {
	s := tell(t, nil)
	service, err := New(s.cfg)
	if err != nil {
		t.Fatal(err)
	}
	w, err := service.worker(t.Context(), t.Context())
	if err != nil {
		t.Fatal(err)
	}
	tk := &task{ActionRequest: events.ActionRequest{ID: "r1", UserID: "u1", Provider: "fake", Action: "things.create", Params: json.RawMessage(`{"title":"a"}`)}, sequence: 7, fingerprint: "f", user: "u1", provider: "fake", storedAt: time.Now()}
	frozen := &entry{Sequence: 7, Fingerprint: "f", SentAt: time.Now()}
	if err := w.journal.save(t.Context(), tk, frozen); err != nil {
		t.Fatal(err)
	}
	tk.redelivered = true
	if err := w.settle(t.Context(), tk, nil); err != nil {
		t.Fatal(err)
	}
	if err := w.conclude(t.Context(), tk, tk.result(time.Now(), events.Succeeded)); err != nil {
		t.Fatal(err)
	}
	info, err := w.results.stream.Info(t.Context(), jetstream.WithSubjectFilter(">"))
	if err != nil {
		t.Fatal(err)
	}
	if len(info.State.Subjects) != 1 || info.State.Subjects["plugfn.result.u1.fake.unknown.r1"] != 1 {
		t.Errorf("results %v, want the one that the successor published", info.State.Subjects)
	}
}

func TestStopLetsTheWorkInHandFinish(t *testing.T) {
	called := make(chan struct{})
	s := tell(t, func(w http.ResponseWriter, _ *http.Request) {
		close(called)
		time.Sleep(300 * time.Millisecond)
		_, _ = io.WriteString(w, `{}`)
	})
	s.start()
	s.request(events.ActionRequest{Action: "things.create", Params: json.RawMessage(`{"title":"a"}`)})
	<-called
	s.stop()
	if r := s.results(1)[0]; r.Outcome != events.Succeeded {
		t.Errorf("got %+v", r)
	}
}

func TestStopDoesNotWaitForEver(t *testing.T) {
	hang := make(chan struct{})
	called := make(chan struct{}, 2)
	s := tell(t, func(http.ResponseWriter, *http.Request) { called <- struct{}{}; <-hang }, func(c *Config) {
		c.DrainTimeout = 50 * time.Millisecond
	})
	t.Cleanup(func() { close(hang) })
	s.start()
	s.request(events.ActionRequest{ID: "r1", Action: "things.create", Params: json.RawMessage(`{"title":"a"}`)})
	<-called
	s.stop()
	s.start() // the next one settles what the first left behind
	if r := s.results(1)[0]; r.Outcome != events.Unknown || r.Error.Code != events.CodeOutcomeUnknown {
		t.Errorf("got %+v, %v", r, r.Error)
	}
	if n := s.provider.count(); n != 1 {
		t.Errorf("provider was called %d times, want 1", n)
	}
}

func TestCallIsNotAnsweredOutsideAnInbox(t *testing.T) {
	s := tell(t, nil)
	s.start()
	s.eventually("the call service", s.served)
	victim, err := s.app.SubscribeSync("plugfn.event.>")
	if err != nil {
		t.Fatal(err)
	}
	if err := s.app.PublishRequest("plugfn.call.u1.fake.things.get", "plugfn.event.u2.fake.forged", []byte(`{"id":"1"}`)); err != nil {
		t.Fatal(err)
	}
	// A good call after it shows that the first was looked at.
	if _, err := s.app.Request("plugfn.call.u1.fake.things.get", []byte(`{"id":"2"}`), 10*time.Second); err != nil {
		t.Fatal(err)
	}
	if msg, err := victim.NextMsg(50 * time.Millisecond); err == nil {
		t.Errorf("the executor published to %s for the caller", msg.Subject)
	}
	if n := s.provider.count(); n != 1 {
		t.Errorf("provider was called %d times, want 1", n)
	}
}

// tripper is a transport that fails in its own way.
type tripper func(*http.Request) (*http.Response, error)

func (f tripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

func TestPanicEndsAsAResult(t *testing.T) {
	tests := []struct {
		name    string
		change  func(*Config)
		outcome events.Outcome
		code    events.Code
	}{
		{"before the claim", func(c *Config) { c.Credentials = panics{} }, events.Failed, events.CodeInternal},
		{"after the claim", func(c *Config) {
			c.HTTP = &http.Client{Transport: tripper(func(*http.Request) (*http.Response, error) { panic("secret t0ken") })}
		}, events.Unknown, events.CodeOutcomeUnknown},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := tell(t, nil, tt.change)
			s.start()
			s.request(events.ActionRequest{Action: "things.create", Params: json.RawMessage(`{"title":"a"}`)})
			r := s.results(1)[0]
			if r.Outcome != tt.outcome || r.Error == nil || r.Error.Code != tt.code || strings.Contains(r.Error.Message, "t0ken") {
				t.Errorf("got %+v, %v", r, r.Error)
			}
		})
	}
}

// panics is an auth client with a mistake in it.
type panics struct{ tokens }

func (panics) Credential(context.Context, string, string, string) (providers.Credential, error) {
	panic("secret t0ken")
}

func TestFailuresOfTheCall(t *testing.T) {
	hang := func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }
	cut := func(w http.ResponseWriter, _ *http.Request) {
		conn, _, _ := w.(http.Hijacker).Hijack()
		conn.Close()
	}
	status := func(code int) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(code) }
	}
	huge := func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, `{"a":"`+strings.Repeat("x", 1<<20)+`"}`)
	}
	endless := func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, `{"a":"`+strings.Repeat("x", 3<<20)+`"}`)
	}
	refused := tripper(func(*http.Request) (*http.Response, error) { return nil, errors.New("dial tcp: t0ken refused") })
	tests := []struct {
		name    string
		serve   http.HandlerFunc
		tripper tripper
		write   bool
		reply   string
		outcome events.Outcome
		code    events.Code
		sent    int
	}{
		{name: "read times out", serve: hang, outcome: events.Failed, code: events.CodeTimeout, sent: 1},
		{name: "write times out", serve: hang, write: true, outcome: events.Unknown, code: events.CodeOutcomeUnknown, sent: 1},
		{name: "write is cut", serve: cut, write: true, outcome: events.Unknown, code: events.CodeOutcomeUnknown, sent: 1},
		{name: "read is cut", serve: cut, outcome: events.Failed, code: events.CodeProviderUnavailable, sent: 1},
		{name: "write gets 502", serve: status(502), write: true, outcome: events.Unknown, code: events.CodeOutcomeUnknown, sent: 1},
		{name: "write gets 422", serve: status(422), write: true, outcome: events.Failed, code: events.CodeProviderRejected, sent: 1},
		{name: "write gets 401", serve: status(401), write: true, reply: "_INBOX.a", outcome: events.Failed, code: events.CodeNeedsReauth, sent: 1},
		{name: "write gets 429", serve: status(429), write: true, outcome: events.Failed, code: events.CodeRateLimited, sent: 1},
		{name: "write is not sent", tripper: refused, write: true, outcome: events.Failed, code: events.CodeProviderUnavailable},
		{name: "read over the cap", serve: endless, outcome: events.Failed, code: events.CodeProviderRejected, sent: 1},
		{name: "read of more than a message", serve: huge, outcome: events.Succeeded, sent: 1},
		{name: "write whose answer is over the cap", serve: endless, write: true, outcome: events.Unknown, code: events.CodeOutcomeUnknown, sent: 1},
		{name: "write that answers more than a message", serve: huge, write: true, outcome: events.Succeeded, sent: 1},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			s := tell(t, tt.serve, func(c *Config) {
				if tt.tripper != nil {
					c.HTTP = &http.Client{Transport: tt.tripper}
				}
			})
			s.start()
			request := events.ActionRequest{Action: "things.get", Params: json.RawMessage(`{"id":"1"}`), MaxAttempts: 1}
			if strings.Contains(tt.name, "times out") {
				request.Timeout = 300 * time.Millisecond
			}
			request.Reply = tt.reply
			if tt.code == events.CodeRateLimited {
				request.Deadline = time.Now().Add(time.Second)
			}
			if tt.write {
				request.Action, request.Params = "things.create", json.RawMessage(`{"title":"a"}`)
			}
			s.request(request)
			r := s.results(1)[0]
			var code events.Code
			if r.Error != nil {
				code = r.Error.Code
				if strings.Contains(r.Error.Message, "t0ken") {
					t.Errorf("the message tells a secret: %s", r.Error.Message)
				}
			}
			if r.Outcome != tt.outcome || code != tt.code || r.Attempts != tt.sent {
				t.Errorf("got %s %s after %d attempts (%v), want %s %s after %d", r.Outcome, code, r.Attempts, r.Error, tt.outcome, tt.code, tt.sent)
			}
		})
	}
}

func TestDeadlineBoundsTheAttempt(t *testing.T) {
	s := tell(t, func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() })
	s.start()
	s.request(events.ActionRequest{Action: "things.get", Params: json.RawMessage(`{"id":"1"}`), Deadline: time.Now().Add(300 * time.Millisecond)})
	if r := s.results(1)[0]; r.Error == nil || r.Error.Code != events.CodeTimeout {
		t.Errorf("got %+v", r)
	}
}

func TestOutliveEnds(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	work, stop := outlive(ctx, time.Millisecond)
	defer stop()
	cancel()
	<-work.Done()
}

// A panic during the one attempt that finds out whether a provider is well again
// must not be the last attempt.
func TestPanicLeavesTheProviderOpen(t *testing.T) {
	s := tell(t, nil, func(c *Config) {
		c.HTTP = &http.Client{Transport: tripper(func(*http.Request) (*http.Response, error) { panic("a mistake") })}
	})
	service, err := New(s.cfg)
	if err != nil {
		t.Fatal(err)
	}
	w, err := service.worker(t.Context(), t.Context())
	if err != nil {
		t.Fatal(err)
	}
	w.health.pulse("fake", s.provider.URL).breaker.HalfOpen()
	tk := &task{ActionRequest: write("r1", "a"), user: "u1", provider: "fake", sequence: 7, fingerprint: "f", storedAt: time.Now()}
	if err := w.contained(tk, func() error { return w.settle(t.Context(), tk, nil) }); err != nil {
		t.Fatal(err)
	}
	if pause, why := w.health.admit("fake", s.provider.URL, time.Now(), false); pause != 0 {
		t.Errorf("the next attempt waits %s: %v", pause, why)
	}
}
