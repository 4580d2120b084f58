package plugfn_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"
	"go.uber.org/goleak"

	"github.com/plugfn/plugfn/pkg/embedded"
	"github.com/plugfn/plugfn/pkg/events"
	"github.com/plugfn/plugfn/pkg/plugfn"
)

const patience = 30 * time.Second

// story is a real PlugFn in this process, whose providers are the sandbox's.
type story struct {
	*testing.T
	*embedded.PlugFn
	ctx context.Context
}

func tell(t *testing.T) *story {
	t.Helper()
	leaks := goleak.IgnoreCurrent()
	p, err := embedded.Open(t.Context(), embedded.Config{
		Dir: t.TempDir(), Sandbox: true, SandboxUser: "demo", LazySync: true, NATSAddr: "127.0.0.1:0", PublicURL: "http://127.0.0.1:1/plugfn",
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), patience)
	t.Cleanup(func() {
		cancel()
		if err := p.Close(); err != nil {
			t.Error(err)
		}
		goleak.VerifyNone(t, leaks, goleak.IgnoreAnyFunction("github.com/santhosh-tekuri/jsonschema/v6.init"))
	})
	return &story{T: t, PlugFn: p, ctx: ctx}
}

func (s *story) eventually(what string, ok func() bool) {
	s.Helper()
	for end := time.Now().Add(patience); time.Now().Before(end); time.Sleep(2 * time.Millisecond) {
		if ok() {
			return
		}
	}
	s.Fatalf("%s: not within %s", what, patience)
}

// deliver sends an example delivery of GitHub under an id.
func (s *story) deliver(id string) {
	s.Helper()
	if err := s.Trigger(s.ctx, "github", "issues.opened", id); err != nil {
		s.Fatal(err)
	}
}

// TestStory tells what an application does with one PlugFn.
func TestStory(t *testing.T) {
	s := tell(t)
	part := func(tells func(*testing.T, *story)) func(*testing.T) {
		return func(t *testing.T) { tells(t, &story{T: t, PlugFn: s.PlugFn, ctx: s.ctx}) }
	}
	t.Run("Actions", part(tellsActions))
	t.Run("Connections", part(tellsConnections))
	t.Run("Schedules", part(tellsSchedules))
	t.Run("Workflows", part(tellsWorkflows))
	t.Run("Events", part(tellsEvents))
	t.Run("EventsEndWithTheClient", part(tellsEventsEndWithTheClient))
	t.Run("WatermillSubscriber", part(tellsWatermillSubscriber))
	t.Run("LongData", part(tellsLongData))
	t.Run("TraceTravels", part(tellsTraceTravels))
	t.Run("Files", part(tellsFiles))
	t.Run("LostAnswer", part(tellsLostAnswer))
	t.Run("Handler", part(tellsHandler))
}

func hello(id, text string) plugfn.Request {
	return plugfn.Request{User: "demo", Action: "slack.chat.postMessage", ID: id, Params: map[string]string{"channel": "#demo", "text": text}}
}

// look is a request that no limit holds back.
func look(id string) plugfn.Request {
	return plugfn.Request{User: "demo", Action: "github.repos.get", ID: id, Params: map[string]string{"owner": "octo", "repo": "hello"}}
}

type posted struct{ Message struct{ Text string } }

func tellsActions(t *testing.T, s *story) {
	client := s.Client()

	t.Run("do", func(t *testing.T) {
		r, err := client.Do(s.ctx, hello("", "hi"))
		if err != nil || r.Outcome != plugfn.Succeeded || !strings.HasPrefix(r.ID, "req_") {
			t.Fatalf("%+v, %v", r, err)
		}
		data, err := plugfn.Decode[posted](r)
		if err != nil || data.Message.Text != "hi" {
			t.Errorf("%+v, %v", data, err)
		}
	})
	t.Run("the same id is carried out once", func(t *testing.T) {
		first, err := client.Do(s.ctx, look("once"))
		again, err2 := client.Do(s.ctx, look("once"))
		if err != nil || err2 != nil || !first.FinishedAt.Equal(again.FinishedAt) {
			t.Errorf("%v, %v; %+v and %+v", err, err2, first, again)
		}
	})
	t.Run("submit and await", func(t *testing.T) {
		id, err := client.Submit(s.ctx, look(""))
		if err != nil {
			t.Fatal(err)
		}
		r, err := client.Await(s.ctx, "demo", id)
		if err != nil || r.ID != id {
			t.Fatalf("%+v, %v", r, err)
		}
		again, err := client.Await(s.ctx, "demo", id) // it is there already
		if err != nil || !again.FinishedAt.Equal(r.FinishedAt) {
			t.Errorf("%+v, %v", again, err)
		}
		if _, found, err := client.Find(s.ctx, "other", id); found || err != nil {
			t.Errorf("another user's: found %v, %v", found, err)
		}
	})
	t.Run("errors", func(t *testing.T) { testErrors(t, s, client) })
	t.Run("pending and cancel", func(t *testing.T) {
		r := look("")
		r.NotBefore = time.Now().Add(time.Hour)
		ctx, cancel := context.WithTimeout(s.ctx, 50*time.Millisecond)
		defer cancel()
		r.Deadline = time.Now().Add(2 * time.Hour)
		got, err := client.Do(ctx, r)
		if !errors.Is(err, plugfn.ErrPending) || !errors.Is(err, context.DeadlineExceeded) || got.ID == "" {
			t.Fatalf("%+v, %v", got, err)
		}
		s.eventually("canceled while it waits", func() bool {
			c, err := client.Cancel(s.ctx, "demo", got.ID)
			return err == nil && (c.State == events.CancelDone || c.State == events.CancelFinished)
		})
		if _, err := client.Await(s.ctx, "demo", got.ID); !errors.Is(err, plugfn.ErrCanceled) {
			t.Errorf("got %v", err)
		}
	})
	t.Run("a deadline of the context is that of the request", func(t *testing.T) {
		seen, err := client.NATS().SubscribeSync("plugfn.call.demo.github.>")
		if err != nil {
			t.Fatal(err)
		}
		defer seen.Unsubscribe() //nolint:errcheck // the story ends
		if _, err := client.Do(s.ctx, look("")); err != nil {
			t.Fatal(err)
		}
		msg, err := seen.NextMsg(patience)
		deadline, _ := s.ctx.Deadline()
		if err != nil || msg.Header.Get(events.HeaderDeadline) != deadline.UTC().Format(time.RFC3339Nano) {
			t.Errorf("%v, %v", msg, err)
		}
	})
	t.Run("batch", func(t *testing.T) {
		var requests []plugfn.Request
		for i := range 20 {
			r := look(fmt.Sprint("batch-", i))
			if i%5 == 4 {
				r.Action = "github.no.such"
			}
			requests = append(requests, r)
		}
		n := 0
		for r, err := range client.Batch(s.ctx, requests, 4) {
			if r.ID != requests[n].ID || errors.Is(err, plugfn.ErrUnknownAction) != (n%5 == 4) || (err != nil) != (n%5 == 4) {
				t.Errorf("%d: %+v, %v", n, r, err)
			}
			n++
		}
		if n != len(requests) {
			t.Errorf("%d of %d", n, len(requests))
		}
	})
	t.Run("metrics and catalog", func(t *testing.T) {
		m, err := client.Metrics(s.ctx, plugfn.MetricsQuery{By: "user", Within: time.Hour})
		if err != nil || m.All.Total == 0 || len(m.Groups) == 0 || m.Groups[0].Group != "demo" {
			t.Errorf("%+v, %v", m, err)
		}
		all, err := client.Providers(s.ctx)
		if err != nil || len(all) < 30 || all[0].Name == "" {
			t.Errorf("%d providers, %v", len(all), err)
		}
		slack, err := client.Provider(s.ctx, "slack")
		if err != nil || len(slack.Actions) == 0 || len(slack.Actions[0].Params) == 0 {
			t.Errorf("%+v, %v", slack, err)
		}
		if _, err := client.Provider(s.ctx, "slakc"); !errors.Is(err, plugfn.ErrUnknownProvider) || !strings.Contains(err.Error(), "slack") {
			t.Errorf("got %v", err)
		}
	})
}

func testErrors(t *testing.T, s *story, client *plugfn.Client) {
	for name, c := range map[string]struct {
		edit func(*plugfn.Request)
		want error
		text string
	}{
		"no user":     {func(r *plugfn.Request) { r.User = "" }, plugfn.ErrInvalidParams, "User"},
		"no action":   {func(r *plugfn.Request) { r.Action = "slack" }, plugfn.ErrInvalidParams, "<provider>.<action>"},
		"no object":   {func(r *plugfn.Request) { r.Params = []int{1} }, plugfn.ErrInvalidParams, "object"},
		"no JSON":     {func(r *plugfn.Request) { r.Params = func() {} }, plugfn.ErrInvalidParams, "Params"},
		"two lines":   {func(r *plugfn.Request) { r.ID = "a\nb" }, plugfn.ErrInvalidParams, "one line"},
		"too long":    {func(r *plugfn.Request) { r.ID = strings.Repeat("a", 300) }, plugfn.ErrInvalidParams, "256"},
		"too much":    {func(r *plugfn.Request) { r.Params = map[string]string{"text": strings.Repeat("a", 2<<20)} }, plugfn.ErrInvalidParams, "Upload"},
		"bad params":  {func(r *plugfn.Request) { r.Params = json.RawMessage(`{"channel":1}`) }, plugfn.ErrInvalidParams, "/channel"},
		"no provider": {func(r *plugfn.Request) { r.Action = "nobody.does" }, plugfn.ErrUnknownProvider, "nobody"},
		"unconnected": {func(r *plugfn.Request) { r.User = "stranger" }, plugfn.ErrConnectionNotFound, "slack.chat.postMessage"},
	} {
		r := hello("", "x")
		c.edit(&r)
		got, err := client.Do(s.ctx, r)
		var e *plugfn.Error
		if !errors.Is(err, c.want) || !errors.As(err, &e) || !strings.Contains(err.Error(), c.text) || errors.Is(err, plugfn.ErrTimeout) {
			t.Errorf("%s: %+v, %v", name, got, err)
		}
	}
}

func tellsConnections(t *testing.T, s *story) {
	connections := s.Client().Connections()
	made, err := connections.Create(s.ctx, plugfn.NewConnection{User: "u1", Provider: "github", Token: "t", Name: "mine"})
	if err != nil || made.Status != events.ConnectionActive {
		t.Fatalf("%+v, %v", made, err)
	}
	if c, err := connections.Rename(s.ctx, "u1", made.ID, "ours"); err != nil || c.Name != "ours" {
		t.Errorf("%+v, %v", c, err)
	}
	if c, err := connections.MakeDefault(s.ctx, "u1", made.ID); err != nil || !c.Default {
		t.Errorf("%+v, %v", c, err)
	}
	if _, err := connections.Get(s.ctx, "u2", made.ID); !errors.Is(err, plugfn.ErrConnectionNotFound) {
		t.Errorf("another user's: %v", err)
	}
	n := 0
	for c, err := range connections.List(s.ctx, plugfn.ConnectionFilter{User: "demo"}) {
		if err != nil || c.UserID != "demo" {
			t.Fatalf("%+v, %v", c, err)
		}
		n++
	}
	if n < 5 {
		t.Errorf("%d connections of the sandbox", n)
	}
	link, err := connections.Link(s.ctx, "u1", []string{"github"}, "")
	if err != nil || !strings.HasPrefix(link.URL, "http://127.0.0.1:1/plugfn/connect/") {
		t.Errorf("%+v, %v", link, err)
	}
	if _, err := connections.Delete(s.ctx, "u1", made.ID); err != nil {
		t.Error(err)
	}
	if _, err := connections.Get(s.ctx, "", made.ID); !errors.Is(err, plugfn.ErrConnectionNotFound) {
		t.Errorf("deleted: %v", err)
	}

	blind, err := plugfn.New(s.Client().NATS())
	if err != nil {
		t.Fatal(err)
	}
	defer blind.Close()
	if _, err := blind.Metrics(s.ctx, plugfn.MetricsQuery{}); !errors.Is(err, plugfn.ErrNoAPI) {
		t.Errorf("without the API: %v", err)
	}
	server := httptest.NewServer(s.Handler())
	defer server.Close()
	wrong, err := plugfn.New(s.Client().NATS(), plugfn.WithAPI(server.URL, "wrong"))
	if err != nil {
		t.Fatal(err)
	}
	defer wrong.Close()
	if _, err := wrong.Connections().Get(s.ctx, "", "x"); !errors.Is(err, plugfn.ErrUnauthorized) {
		t.Errorf("with a wrong key: %v", err)
	}
}

func tellsSchedules(t *testing.T, s *story) {
	schedules := s.Client().Schedules("demo")
	made, err := schedules.Create(s.ctx, plugfn.Plan{
		Name: "report", Cron: "0 9 * * MON-FRI", Zone: "Europe/Berlin",
		Target: plugfn.ScheduleTarget{Event: &plugfn.ScheduledEvent{Name: "report"}},
	})
	if err != nil || made.State != "active" || made.Next.IsZero() || made.User != "demo" {
		t.Fatalf("%+v, %v", made, err)
	}
	if times, err := schedules.Next(s.ctx, made.ID, 3); err != nil || len(times) != 3 || !times[0].Before(times[1]) {
		t.Errorf("%v, %v", times, err)
	}
	if got, err := schedules.Pause(s.ctx, made.ID); err != nil || got.State != "paused" {
		t.Errorf("%+v, %v", got, err)
	}
	if got, err := schedules.Resume(s.ctx, made.ID); err != nil || got.State != "active" {
		t.Errorf("%+v, %v", got, err)
	}
	n := 0
	for got, err := range schedules.List(s.ctx) {
		if err != nil || got.ID != made.ID {
			t.Errorf("%+v, %v", got, err)
		}
		n++
	}
	if n != 1 {
		t.Errorf("%d schedules", n)
	}
	if _, err := s.Client().Schedules("other").Get(s.ctx, made.ID); !errors.Is(err, plugfn.ErrNotFound) {
		t.Errorf("another user's: %v", err)
	}
	if err := schedules.Delete(s.ctx, made.ID); err != nil {
		t.Error(err)
	}
	if _, err := schedules.Create(s.ctx, plugfn.Plan{Every: "1ms"}); !errors.Is(err, plugfn.ErrInvalidParams) {
		t.Errorf("a wrong plan: %v", err)
	}
}

func tellsEvents(t *testing.T, s *story) {
	client := s.Client()
	var mu sync.Mutex
	var seen []string
	tries := 0
	note := func(ctx context.Context, e *plugfn.Event) error {
		mu.Lock()
		defer mu.Unlock()
		if e.ID == "back" {
			if tries++; e.Deliveries != uint64(tries) {
				t.Errorf("delivery %d says %d", tries, e.Deliveries)
			}
			if tries < 3 {
				return errors.New("not yet")
			}
		}
		seen = append(seen, e.ID)
		if e.ID == "drop" {
			return plugfn.Drop(errors.New("of no use"))
		}
		if e.Provider != "github" || e.UserID != "demo" || !json.Valid(e.Data) || e.Subject != "plugfn.event.demo.github.issues.opened" {
			t.Errorf("%s of %s: %d bytes of %s", e.Subject, e.UserID, len(e.Data), e.DataContentType)
		}
		return nil
	}
	count := func(n int) func() bool {
		return func() bool { mu.Lock(); defer mu.Unlock(); return len(seen) == n }
	}
	listen := func(f plugfn.Filter) (stop func()) {
		ctx, cancel := context.WithCancel(s.ctx)
		ended := make(chan error, 1)
		go func() { ended <- client.Events(ctx, f, note) }()
		return func() {
			t.Helper()
			cancel()
			if err := <-ended; err != nil {
				t.Error(err)
			}
		}
	}
	filter := plugfn.Filter{User: "demo", Provider: "github", Event: "issues.opened", Name: "story", InFlight: 1, From: plugfn.Since(time.Now())}

	stop := listen(filter)
	s.deliver("one")
	s.deliver("drop")
	s.deliver("back")
	s.eventually("three events", count(3))
	stop()

	s.deliver("while away")
	stop = listen(filter) // goes on where it was
	s.eventually("the one that came meanwhile", count(4))
	stop()

	if err := client.Forget(s.ctx, "story"); err != nil {
		t.Fatal(err)
	}
	tries = 0
	stop = listen(filter) // from the beginning
	s.eventually("all of them again", count(8))
	stop()
	slices.Sort(seen[4:]) // what is given back comes after what was asked for ahead
	if want := "one,drop,back,while away,back,drop,one,while away"; strings.Join(seen, ",") != want {
		t.Errorf("seen %q, want %s", seen, want)
	}
	if err := client.Events(s.ctx, plugfn.Filter{Name: "a b"}, note); !errors.Is(err, plugfn.ErrInvalidParams) {
		t.Errorf("a wrong name: %v", err)
	}
	if err := client.Events(s.ctx, plugfn.Filter{InFlight: -1}, note); !errors.Is(err, plugfn.ErrInvalidParams) {
		t.Errorf("a wrong number: %v", err)
	}
}

// tellsEventsEndWithTheClient closes a client that listens, and waits for an answer.
func tellsEventsEndWithTheClient(t *testing.T, s *story) {
	client, err := plugfn.Connect(s.NATSURL())
	if err != nil {
		t.Fatal(err)
	}
	handling, ended := make(chan struct{}), make(chan error, 2)
	var first sync.Once
	go func() {
		ended <- client.Events(s.ctx, plugfn.Filter{}, func(context.Context, *plugfn.Event) error {
			first.Do(func() { close(handling) })
			return nil
		})
	}()
	go func() {
		r := hello("", "never")
		r.NotBefore = time.Now().Add(time.Hour)
		r.Deadline = time.Now().Add(2 * time.Hour)
		_, err := client.Do(s.ctx, r)
		if !errors.Is(err, plugfn.ErrPending) {
			t.Errorf("got %v", err)
		}
		ended <- nil
	}()
	s.eventually("an event", func() bool {
		s.deliver(fmt.Sprint(time.Now().UnixNano()))
		select {
		case <-handling:
			return true
		default:
			return false
		}
	})
	if err := client.Close(); err != nil {
		t.Error(err)
	}
	for range 2 {
		if err := <-ended; err != nil {
			t.Error(err)
		}
	}
	if _, err := client.Do(s.ctx, hello("", "closed")); !errors.Is(err, plugfn.ErrUnavailable) {
		t.Errorf("after close: %v", err)
	}
	if err := client.Events(s.ctx, plugfn.Filter{}, nil); err == nil {
		t.Error("listens after close")
	}
	if err := client.Close(); err != nil {
		t.Errorf("closed twice: %v", err)
	}
}

func tellsWatermillSubscriber(t *testing.T, s *story) {
	f := plugfn.Filter{Provider: "github", Event: "issues.>", Name: "router", From: plugfn.Since(time.Now())}
	sub, err := s.Client().Subscriber(f)
	if err != nil {
		t.Fatal(err)
	}
	s.deliver("routed")
	messages, err := sub.Subscribe(s.ctx, f.Subject())
	if err != nil {
		t.Fatal(err)
	}
	m := <-messages
	e, err := s.Client().Event(s.ctx, m)
	if err != nil || e.ID != "routed" || e.Sequence == 0 || e.Stored.IsZero() {
		t.Errorf("%s %d, %v", e.ID, e.Sequence, err)
	}
	m.Ack()
	if err := sub.Close(); err != nil {
		t.Error(err)
	}
}

// tellsLongData has a result and an event whose data is beside their message.
func tellsLongData(t *testing.T, s *story) {
	client := s.Client()
	long := json.RawMessage(`"` + strings.Repeat("x", 2<<20) + `"`)
	payloads := events.Payloads{Conn: client.NATS()}
	ref, err := payloads.Put(s.ctx, "demo", long)
	if err != nil {
		t.Fatal(err)
	}
	result := events.Result{ID: "long", UserID: "demo", Provider: "slack", Action: "a", Outcome: plugfn.Succeeded, DataRef: &ref}
	msg, err := result.Msg()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := client.NATS().RequestMsg(msg, patience); err != nil {
		t.Fatal(err)
	}
	r, err := client.Await(s.ctx, "demo", "long")
	if err != nil || string(r.Data) != string(long) {
		t.Errorf("%d bytes, %v", len(r.Data), err)
	}

	e := events.Event{ID: "long", Source: "/x", Type: "x", UserID: "demo", DataRef: ref, TraceParent: "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"}
	if _, err := client.NATS().RequestMsg(e.Msg("plugfn.event.demo.slack.long"), patience); err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(s.ctx)
	err = client.Events(ctx, plugfn.Filter{User: "demo", Provider: "slack", From: plugfn.Beginning()}, func(ctx context.Context, e *plugfn.Event) error {
		if string(e.Data) != string(long) {
			t.Errorf("%d bytes", len(e.Data))
		}
		if id := trace.SpanContextFromContext(ctx).TraceID().String(); id != "0af7651916cd43dd8448eb211c80319c" {
			t.Errorf("trace %s", id)
		}
		stop()
		return nil
	})
	if err != nil {
		t.Error(err)
	}
}

func tellsTraceTravels(t *testing.T, s *story) {
	seen, err := s.Client().NATS().SubscribeSync("plugfn.call.demo.github.>")
	if err != nil {
		t.Fatal(err)
	}
	const parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
	ctx := propagation.TraceContext{}.Extract(s.ctx, propagation.MapCarrier{"traceparent": parent})
	if _, err := s.Client().Do(ctx, look("")); err != nil {
		t.Fatal(err)
	}
	if msg, err := seen.NextMsg(patience); err != nil || msg.Header.Get("traceparent") != parent {
		t.Errorf("%v, %v", msg, err)
	}
}

func tellsFiles(t *testing.T, s *story) {
	f, err := s.Client().Upload(s.ctx, "demo", "a.txt", "text/plain", strings.NewReader("content"))
	if err != nil || f.Size != 7 {
		t.Fatalf("%+v, %v", f, err)
	}
	r, err := s.Client().Download(s.ctx, f)
	if err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	buf := make([]byte, 3)
	for {
		n, err := r.Read(buf)
		b.Write(buf[:n])
		if err != nil {
			break
		}
	}
	if b.String() != "content" {
		t.Errorf("got %q", b.String())
	}
}

// tellsLostAnswer drops the answer to a call, as a broken connection does: the
// result is found all the same.
func tellsLostAnswer(t *testing.T, s *story) {
	client, err := plugfn.New(s.Client().NATS())
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	if err := client.Deafen(); err != nil {
		t.Fatal(err)
	}
	if r, err := client.Do(s.ctx, look("lost")); err != nil || r.ID != "lost" || len(r.Data) == 0 {
		t.Errorf("%s, %v", r.ID, err)
	}
}

func TestConnectNowhere(t *testing.T) {
	_, err := plugfn.Connect("nats://127.0.0.1:1", plugfn.WithNATS(nats.Timeout(time.Second)))
	if !errors.Is(err, plugfn.ErrUnavailable) {
		t.Errorf("got %v", err)
	}
}
