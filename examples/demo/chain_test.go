package main

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/plugfn/plugfn/pkg/events"
)

// world is what the chain watches: a bus and a sandbox, on which a test does
// what PlugFn and the example would do.
type world struct {
	t      *testing.T
	chain  *chain
	calls  []call
	sent   time.Time
	cancel context.CancelCauseFunc
	ctx    context.Context
}

func newWorld(t *testing.T) *world {
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
	w := &world{t: t, sent: time.Now()}
	sandbox := httptest.NewServer(http.HandlerFunc(func(out http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/_calls" {
			http.NotFound(out, r)
		}
		_ = json.NewEncoder(out).Encode(w.calls)
	}))
	t.Cleanup(func() { sandbox.Close(); http.DefaultClient.CloseIdleConnections() })
	w.ctx, w.cancel = context.WithCancelCause(t.Context())
	t.Cleanup(func() { w.cancel(nil) })

	watcher, err := watch(place{NATSURL: s.ClientURL(), SandboxURL: sandbox.URL})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(watcher.close)
	for name, prefix := range map[string]string{
		events.StreamEvents: events.PrefixEvent, events.StreamActions: events.PrefixAction, events.StreamResults: events.PrefixResult,
	} {
		if _, err := watcher.js.CreateStream(t.Context(), jetstream.StreamConfig{Name: name, Subjects: []string{prefix + ">"}}); err != nil {
			t.Fatal(err)
		}
	}
	w.chain = &chain{
		watcher: watcher,
		trigger: ended(nil, `{"path":"/webhooks/github","status":200,"ms":3,"delivery":"dlv_1"}`),
		example: ended(nil, ""),
	}
	return w
}

// ended is a program that has ended.
func ended(err error, said string) *process {
	p := &process{done: make(chan struct{}), err: err}
	_, _ = p.out.Write([]byte(said)) // never fails
	close(p.done)
	return p
}

func (w *world) publish(msg *nats.Msg) {
	w.t.Helper()
	if _, err := w.chain.js.PublishMsg(w.t.Context(), msg); err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) event(id, user string) {
	e := events.Event{ID: id, Source: "/plugfn/github/_/con_1", Type: "com.github.issues.opened", UserID: user}
	w.publish(e.Msg(events.EventSubject(user, "github", "issues.opened")))
}

func (w *world) request(id string) {
	r := events.ActionRequest{UserID: "demo", Provider: "slack", Action: "chat.postMessage", ID: id, Params: json.RawMessage(`{}`)}
	w.publish(r.Msg(r.Subject()))
}

func (w *world) call(provider string, status int, at time.Time) {
	w.calls = append(w.calls, call{Provider: provider, Action: "chat.postMessage", Method: "POST", Path: "/chat.postMessage", Status: status, At: at})
}

func (w *world) result(id string, failure *events.Error) {
	w.t.Helper()
	r := events.Result{ID: id, UserID: "demo", Provider: "slack", Action: "chat.postMessage", Outcome: events.Succeeded, Error: failure}
	if failure != nil {
		r.Outcome = events.Failed
	}
	msg, err := r.Msg()
	if err != nil {
		w.t.Fatal(err)
	}
	w.publish(msg)
}

func TestChain(t *testing.T) {
	w := newWorld(t)
	w.event("dlv_1", "demo")
	w.request("to-slack-dlv_1")
	w.call("github", 200, time.Now()) // somebody else's business
	w.call("slack", 200, time.Now())
	w.result("to-slack-dlv_1", nil)
	steps, err := w.chain.follow(w.ctx, w.sent)
	if err != nil {
		t.Fatal(err)
	}
	var out strings.Builder
	(&screen{out: &out}).chain(w.sent, steps)
	var names []string
	for _, line := range strings.Split(strings.TrimSpace(out.String()), "\n") {
		before, what, _ := strings.Cut(line, " ms   ")
		names = append(names, strings.Fields(before)[1]+" "+what)
	}
	want := `delivery POST /webhooks/github  200  dlv_1
event plugfn.event.demo.github.issues.opened
request plugfn.action.demo.slack.chat.postMessage
provider POST slack/chat.postMessage  200
result plugfn.result.demo.slack.succeeded.to-slack-dlv_1`
	if got := strings.Join(names, "\n"); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

func TestChainSaysWhatIsWrong(t *testing.T) {
	tests := []struct {
		name string
		play func(*world)
		want string
		seen int
	}{
		{"other event", func(w *world) { w.event("dlv_2", "demo") }, `event: its ce-id is "dlv_2", the delivery's "dlv_1"`, 1},
		{"nobody's event", func(w *world) { w.event("dlv_1", "") }, "event: it is nobody's", 1},
		{"unrelated request", func(w *world) {
			w.event("dlv_1", "demo")
			w.request("to-slack-dlv_2")
		}, `request: its Plugfn-Id is "to-slack-dlv_2", without the event's "dlv_1"`, 2},
		{"unrelated result", func(w *world) {
			w.event("dlv_1", "demo")
			w.request("to-slack-dlv_1")
			w.result("to-slack-dlv_2", nil)
		}, `result: its id is "to-slack-dlv_2"`, 3},
		{"failure", func(w *world) {
			w.event("dlv_1", "demo")
			w.request("to-slack-dlv_1")
			w.result("to-slack-dlv_1", events.Errorf(events.CodeNeedsReauth, "token_revoked"))
		}, "result: needs_reauth: token_revoked", 3},
		{"no call", func(w *world) {
			w.event("dlv_1", "demo")
			w.request("to-slack-dlv_1")
			w.result("to-slack-dlv_1", nil)
		}, "provider call: slack was called 0 times", 4},
		{"two calls", func(w *world) {
			w.event("dlv_1", "demo")
			w.request("to-slack-dlv_1")
			w.call("slack", 200, time.Now())
			w.call("slack", 200, time.Now())
			w.result("to-slack-dlv_1", nil)
		}, "provider call: slack was called 2 times", 4},
		{"bad call", func(w *world) {
			w.event("dlv_1", "demo")
			w.request("to-slack-dlv_1")
			w.call("slack", 422, time.Now())
			w.result("to-slack-dlv_1", nil)
		}, "provider call: it is POST slack/chat.postMessage  422", 4},
		{"call before the request", func(w *world) {
			w.event("dlv_1", "demo")
			w.call("slack", 200, time.Now())
			w.request("to-slack-dlv_1")
			w.result("to-slack-dlv_1", nil)
		}, "before the request", 5},
		{"event before the delivery", func(w *world) {
			w.event("dlv_1", "demo")
			w.sent = time.Now()
			w.request("to-slack-dlv_1")
			w.call("slack", 200, time.Now())
			w.result("to-slack-dlv_1", nil)
		}, "before the delivery", 5},
		{"nothing more", func(w *world) {
			w.event("dlv_1", "demo")
			w.request("to-slack-dlv_1")
			w.cancel(errors.New("not seen within 15s"))
		}, "not seen within 15s", 0},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t)
			tt.play(w)
			steps, err := w.chain.follow(w.ctx, w.sent)
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Fatalf("got %v, want %s", err, tt.want)
			}
			if tt.seen > 0 && len(steps) != tt.seen {
				t.Errorf("%d steps are shown as seen, want %d", len(steps), tt.seen)
			}
		})
	}
}

// TestLateStepIsNamed ends the time only once the chain waits for the result.
func TestLateStepIsNamed(t *testing.T) {
	w := newWorld(t)
	w.event("dlv_1", "demo")
	w.request("to-slack-dlv_1")
	go func() {
		consumers := func() int {
			s, err := w.chain.js.Stream(w.ctx, events.StreamResults)
			if err != nil {
				return 0
			}
			return s.CachedInfo().State.Consumers
		}
		_ = poll(w.ctx, func() bool { return consumers() > 0 })
		w.cancel(errors.New("not seen within 15s"))
	}()
	_, err := w.chain.follow(w.ctx, w.sent)
	if err == nil || err.Error() != "result: not seen within 15s" {
		t.Errorf("got %v", err)
	}
}

func TestChainEndsWithItsPrograms(t *testing.T) {
	w := newWorld(t)
	w.chain.trigger = ended(errors.New("exit status 1"), "")
	if _, err := w.chain.follow(w.ctx, w.sent); err == nil || err.Error() != "delivery: exit status 1" {
		t.Errorf("got %v", err)
	}
	w = newWorld(t)
	w.chain.example = ended(errors.New("exit status 1"), "")
	w.event("dlv_1", "demo")
	w.request("to-slack-dlv_1")
	w.call("slack", 200, time.Now())
	w.result("to-slack-dlv_1", nil)
	if _, err := w.chain.follow(w.ctx, w.sent); err == nil || err.Error() != "acknowledgement: issue-to-slack: exit status 1" {
		t.Errorf("got %v", err)
	}
}
