package executor

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/plugfn/plugfn/pkg/events"
	"github.com/plugfn/plugfn/pkg/providers"
)

// healing is an auth service whose connection works from version 2 on.
type healing struct{ version *atomic.Int32 }

func (f healing) Credential(context.Context, string, string, string) (providers.Credential, error) {
	return versionOf(int(f.version.Load())), nil
}

func (f healing) Refused(context.Context, string, string, providers.Credential) (providers.Credential, error) {
	return providers.Credential{}, events.Errorf(events.CodeNeedsReauth, "connect again")
}

// announce says that a connection has changed.
func (s *story) announce(change events.Change, c events.Connection) {
	s.Helper()
	body, err := json.Marshal(c)
	if err != nil {
		s.Fatal(err)
	}
	if _, err := s.bus.JetStream().Publish(s.Context(), events.ConnectionSubject("u1", "fake", change), body); err != nil {
		s.Fatal(err)
	}
}

func (s *story) waits(n int) {
	s.Helper()
	s.eventually("parked requests", func() bool {
		kv, err := s.bus.JetStream().KeyValue(s.Context(), "PLUGFN_WAITING")
		if err != nil {
			return false
		}
		keys, err := kv.Keys(s.Context())
		return err == nil && len(keys) == n
	})
	s.idle()
}

// Two executors; the requests wait for their connection and are executed once
// each when it works again, in the order in which they came.
func TestRequestsWaitForTheirConnection(t *testing.T) {
	var version atomic.Int32
	version.Store(1)
	s := tell(t, onlyNewer, func(c *Config) { c.Credentials = healing{&version} })
	s.start()
	s.start()
	const n = 5
	for i := range n {
		s.request(write(fmt.Sprint("r", i), fmt.Sprint("t", i)))
		s.waits(i + 1)
	}
	// Changes that help nobody.
	s.announce(events.Updated, events.Connection{ID: "con_only", Version: 1, Status: events.ConnectionActive})
	s.announce(events.NeedsReauth, events.Connection{ID: "con_only", Version: 1, Status: events.ConnectionNeedsReauth})
	s.announce(events.Recovered, events.Connection{ID: "con_other", Version: 9, Status: events.ConnectionActive})
	time.Sleep(100 * time.Millisecond)
	if calls := s.provider.count(); calls != n {
		t.Fatalf("the provider was asked %d times, want %d", calls, n)
	}
	version.Store(2)
	s.announce(events.Recovered, events.Connection{ID: "con_only", Version: 2, Status: events.ConnectionActive})
	for _, r := range s.results(n) {
		if r.Outcome != events.Succeeded || r.Attempts != 2 {
			t.Errorf("%+v, %v", r, r.Error)
		}
	}
	if calls := s.provider.count(); calls != 2*n {
		t.Errorf("the provider was asked %d times, want %d", calls, 2*n)
	}
}

func TestConnectionThatRecoversWhileARequestIsParked(t *testing.T) {
	var version atomic.Int32
	version.Store(1)
	s := tell(t, onlyNewer, func(c *Config) { c.Credentials = healing{&version} })
	s.reached = func(p point, _ string) error {
		if p == pointWaiting { // the news came before the request was on the list
			version.Store(2)
		}
		return nil
	}
	s.start()
	s.request(write("r1", "a"))
	if r := s.results(1)[0]; r.Outcome != events.Succeeded {
		t.Errorf("%+v, %v", r, r.Error)
	}
}

func TestWhoWaitsForAConnectionIsToldAtTheDeadline(t *testing.T) {
	refuse := func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusUnauthorized) }
	s := tell(t, refuse)
	s.start()
	s.eventually("the call service", s.served)
	r := write("r1", "a")
	r.Deadline = time.Now().Add(700 * time.Millisecond)
	reply, err := s.app.RequestMsg(r.Msg(events.CallSubject("u1", "fake", "things.create")), 10*time.Second)
	if err != nil {
		t.Fatal(err)
	}
	got, err := events.ParseResult(reply.Data)
	if err != nil || got.Outcome != events.Failed || got.Error.Code != events.CodeNeedsReauth || time.Now().Before(r.Deadline) {
		t.Errorf("%+v, %v", got, got.Error)
	}
}

func (s *story) askDesk(subject, body string) map[string]any {
	s.Helper()
	reply, err := s.app.RequestMsg(&nats.Msg{Subject: subject, Data: []byte(body)}, 10*time.Second)
	if err != nil {
		s.Fatal(err)
	}
	var answer map[string]any
	if err := json.Unmarshal(reply.Data, &answer); err != nil {
		s.Fatal(err)
	}
	return answer
}

func TestCancel(t *testing.T) {
	called, answer := make(chan struct{}), make(chan struct{})
	s := tell(t, func(w http.ResponseWriter, r *http.Request) {
		called <- struct{}{}
		<-answer
		_, _ = w.Write([]byte(`{}`))
	})
	s.start()
	s.eventually("the call service", s.served)

	parked := write("parked", "a")
	parked.NotBefore = time.Now().Add(time.Hour)
	s.request(parked)
	s.eventually("a parked request", func() bool {
		stream, err := s.bus.JetStream().Stream(t.Context(), events.StreamLater)
		return err == nil && stream.CachedInfo().State.Msgs == 1
	})
	s.request(write("sent", "b"))
	<-called

	for id, want := range map[string]string{"parked": "canceled", "sent": "in_flight", "to come": "noted"} {
		if got := s.askDesk(events.CancelSubject("u1", id), ""); got["state"] != want {
			t.Errorf("%s: %v, want %s", id, got, want)
		}
	}
	s.request(write("to come", "c"))
	close(answer)
	for _, r := range s.results(3) {
		switch {
		case r.ID == "sent" && r.Outcome != events.Succeeded,
			r.ID != "sent" && (r.Outcome != events.Failed || r.Error.Code != events.CodeCanceled || r.Attempts != 0):
			t.Errorf("%+v, %v", r, r.Error)
		}
	}
	if got := s.askDesk(events.CancelSubject("u1", "sent"), ""); got["state"] != "finished" || got["outcome"] != "succeeded" {
		t.Errorf("finished: %v", got)
	}
	if n := s.provider.count(); n != 1 {
		t.Errorf("the provider was asked %d times, want 1", n)
	}
	if got, _ := s.askDesk(events.FindSubject("u1", "sent"), "")["result"].(map[string]any); got["id"] != "sent" || got["outcome"] != "succeeded" {
		t.Errorf("found: %v", got)
	}
	if got := s.askDesk(events.FindSubject("u2", "sent"), ""); got["result"] != nil || got["error"] != nil {
		t.Errorf("found for another user: %v", got)
	}
}

// TestDescribe asks which providers there are.
func TestDescribe(t *testing.T) {
	s := tell(t, func(http.ResponseWriter, *http.Request) {})
	s.start()
	s.eventually("the call service", s.served)
	all, _ := s.askDesk(events.ProvidersSubject(""), "")["providers"].([]any)
	if len(all) == 0 {
		t.Fatal("there are none")
	}
	first := all[0].(map[string]any)
	name := first["name"].(string)
	if one := s.askDesk(events.ProvidersSubject(name), ""); one["name"] != name || len(one["actions"].([]any)) == 0 {
		t.Errorf("%s: %v", name, one)
	} else if one["actions"].([]any)[0].(map[string]any)["params"] == nil || first["actions"].([]any)[0].(map[string]any)["params"] != nil {
		t.Error("schemas belong to the one, not to the list")
	}
	got, _ := s.askDesk(events.ProvidersSubject("no/body"), "")["error"].(map[string]any)
	if got["code"] != string(events.CodeUnknownProvider) {
		t.Errorf("none: %v", got)
	}
}

func TestResolve(t *testing.T) {
	s := tell(t, func(w http.ResponseWriter, _ *http.Request) { cut(w) })
	s.start()
	s.eventually("the call service", s.served)
	subject := events.ResolveSubject("u1", "r1")
	good := `{"outcome":"succeeded","note":"it is there"}`
	if got := s.askDesk(subject, good); got["error"] == nil {
		t.Errorf("resolved before there is a result: %v", got)
	}
	s.request(write("r1", "a"))
	s.results(1)
	if got := s.askDesk(subject, `{"outcome":"unknown"}`); got["error"] == nil {
		t.Errorf("resolved as unknown: %v", got)
	}
	if got := s.askDesk(subject, good); got["outcome"] != "succeeded" || got["id"] != "r1" {
		t.Errorf("got %v", got)
	}
	if got := s.askDesk(subject, good); got["error"] == nil {
		t.Errorf("resolved twice: %v", got)
	}
	stream, err := s.bus.JetStream().Stream(t.Context(), events.StreamResults)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := stream.GetLastMsgForSubject(t.Context(), "plugfn.result.u1.fake.resolved.r1.succeeded"); err != nil {
		t.Error(err)
	}
	// The one result is still what it was, also for who asks again.
	first, err := stream.GetLastMsgForSubject(t.Context(), "plugfn.result.u1.*.*.r1")
	if err != nil || first.Subject != "plugfn.result.u1.fake.unknown.r1" {
		t.Errorf("%v, %v", first, err)
	}
}
