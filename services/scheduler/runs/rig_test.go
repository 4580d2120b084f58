package runs

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/rs/zerolog"
	"go.uber.org/goleak"

	"github.com/plugfn/plugfn/internal/bus"
	"github.com/plugfn/plugfn/internal/bus/bustest"
	"github.com/plugfn/plugfn/pkg/events"
	"github.com/plugfn/plugfn/pkg/providers"
	"github.com/plugfn/plugfn/pkg/providers/catalog"
	"github.com/plugfn/plugfn/pkg/workflow"
	"github.com/plugfn/plugfn/services/scheduler"
	"github.com/plugfn/plugfn/services/scheduler/runs/machine"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var registry = sync.OnceValue(func() *providers.Registry {
	packs := map[string]*providers.Pack{}
	for _, name := range []string{"github", "slack"} {
		pack, err := providers.Load(catalog.FS, name)
		if err != nil {
			panic(err)
		}
		packs[name] = pack
	}
	all, err := providers.NewRegistry(packs, nil)
	if err != nil {
		panic(err)
	}
	return all
})

// shelf keeps definitions in memory: the first version of each user and name, and
// those after it.
type shelf struct {
	mu  sync.Mutex
	all map[string][]Workflow // :: user/name → versions
}

func (s *shelf) apply(t testing.TB, user, text string) {
	t.Helper()
	d, err := workflow.Parse([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	p, err := workflow.Compile(d, workflow.Options{Providers: registry()})
	if err != nil {
		t.Fatal(err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.all == nil {
		s.all = map[string][]Workflow{}
	}
	at := user + "/" + d.Name
	s.all[at] = append(s.all[at], Workflow{Name: d.Name, Version: len(s.all[at]) + 1, Enabled: true, Program: p})
}

// forget makes as if versions had gone.
func (s *shelf) forget(user, name string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.all, user+"/"+name)
}

func (s *shelf) Program(_ context.Context, user, name string, version int) (Workflow, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	all := s.all[user+"/"+name]
	if version == 0 {
		version = len(all)
	}
	if version < 1 || version > len(all) {
		return Workflow{}, ErrNoWorkflow
	}
	return all[version-1], nil
}

func (s *shelf) today(user string, fits func(*workflow.Trigger) bool) []Workflow {
	s.mu.Lock()
	defer s.mu.Unlock()
	var found []Workflow
	for at, all := range s.all {
		last := all[len(all)-1]
		if strings.HasPrefix(at, user+"/") && fits(&last.Program.Definition.Trigger) {
			found = append(found, last)
		}
	}
	return found
}

func (s *shelf) OnEvent(_ context.Context, user, provider, event string) ([]Workflow, error) {
	return s.today(user, func(t *workflow.Trigger) bool {
		return t.Event != nil && t.Event.Provider == provider && t.Event.Event.Match(event)
	}), nil
}

func (s *shelf) OnRun(_ context.Context, user, name string, ended machine.Status) ([]Workflow, error) {
	return s.today(user, func(t *workflow.Trigger) bool {
		return t.Run != nil && t.Run.Workflow == name && t.Run.State.Match(string(ended))
	}), nil
}

// rig is a bus with runs, and an executor that does nothing but answer.
type rig struct {
	*Service
	t     testing.TB
	bus   *bus.Bus
	shelf *shelf

	mu    sync.Mutex
	asked map[string]int                             // :: request → how often it was asked for
	reply func(*events.ActionRequest) *events.Result // nil: succeeds with its params
}

func newRig(t testing.TB, edits ...func(*bus.Config)) *rig {
	t.Helper()
	b := bustest.New(t, edits...)
	r := &rig{t: t, bus: b, shelf: &shelf{}, asked: map[string]int{}}
	r.Service = r.service()
	return r
}

func (r *rig) service(edits ...func(*Config)) *Service {
	r.t.Helper()
	cfg := Config{
		Conn: r.bus.Conn(), JetStream: r.bus.JetStream(), Parking: r.bus, Definitions: r.shelf, Log: zerolog.New(zerolog.NewTestWriter(r.t)),
		APIKey: providers.NewSecret([]byte("key")), AckWait: time.Second, DrainTimeout: time.Second,
	}
	for _, edit := range edits {
		edit(&cfg)
	}
	s, err := New(cfg)
	if err != nil {
		r.t.Fatal(err)
	}
	return s
}

// start runs services until stop is called, or the end of the test.
func (r *rig) start(all ...*Service) (stop func()) {
	r.t.Helper()
	if len(all) == 0 {
		all = []*Service{r.Service}
	}
	mover, err := scheduler.New(scheduler.Config{
		JetStream: r.bus.JetStream(), Firings: r.bus, Log: zerolog.Nop(), AckWait: time.Second, DrainTimeout: time.Second,
	})
	if err != nil {
		r.t.Fatal(err)
	}
	run := []func(context.Context) error{mover.Run, r.execute}
	for _, s := range all {
		run = append(run, s.Run)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var wait sync.WaitGroup
	for _, one := range run {
		wait.Go(func() {
			if err := one(ctx); err != nil {
				r.t.Error(err)
			}
		})
	}
	stop = sync.OnceFunc(func() { cancel(); wait.Wait() })
	r.t.Cleanup(stop)
	r.eventually("the scheduler to work", func() bool {
		for _, s := range all {
			if s.Ready(ctx) != nil {
				return false
			}
		}
		return mover.Ready(ctx) == nil
	})
	return stop
}

// execute answers requests, each once, as the executor does.
func (r *rig) execute(ctx context.Context) error {
	consumer, err := r.bus.JetStream().CreateOrUpdateConsumer(ctx, events.StreamActions, jetstream.ConsumerConfig{Durable: "test", AckPolicy: jetstream.AckExplicitPolicy})
	if err != nil {
		return err
	}
	consuming, err := consumer.Consume(func(msg jetstream.Msg) {
		if err := r.answer(msg); err != nil && ctx.Err() == nil {
			r.t.Error(err)
		}
		_ = msg.Ack()
	})
	if err != nil {
		return err
	}
	<-ctx.Done()
	consuming.Stop()
	<-consuming.Closed()
	return nil
}

func (r *rig) answer(msg jetstream.Msg) error {
	request, err := events.ParseActionRequest(msg.Subject(), msg.Headers(), msg.Data())
	if err != nil {
		return err
	}
	r.mu.Lock()
	r.asked[request.ID]++
	first, reply := r.asked[request.ID] == 1, r.reply
	r.mu.Unlock()
	if !first {
		return nil
	}
	result := &events.Result{Outcome: events.Succeeded, Data: request.Params}
	if reply != nil {
		if result = reply(&request); result == nil {
			return nil
		}
	}
	result.ID, result.UserID, result.Provider, result.Action = request.ID, request.UserID, request.Provider, request.Action
	out, err := result.Msg()
	if err != nil {
		return err
	}
	_, err = r.bus.JetStream().PublishMsg(context.Background(), out)
	return err
}

func (r *rig) eventually(what string, ok func() bool) {
	r.t.Helper()
	for deadline := time.Now().Add(20 * time.Second); !ok(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			r.t.Fatalf("waited in vain for %s\n%s", what, r.standing())
		}
	}
}

// standing says how far all is.
func (r *rig) standing() string {
	var b strings.Builder
	for _, c := range []struct{ stream, name string }{
		{events.StreamEvents, "runs-events"}, {events.StreamRuns, "runs"}, {events.StreamResults, "runs-results"},
	} {
		if consumer, err := r.JetStream.Consumer(context.Background(), c.stream, c.name); err == nil {
			info := consumer.CachedInfo()
			fmt.Fprintf(&b, "%s: %d pending, %d in hand, %d delivered again\n", c.name, info.NumPending, info.NumAckPending, info.NumRedelivered)
		}
	}
	shown := 0
	for _, one := range r.runs("u1") {
		if one.State.Status.Ended() {
			continue
		}
		if shown++; shown <= 2 {
			text, _ := json.Marshal(one)
			fmt.Fprintf(&b, "%s\n", text)
		}
	}
	fmt.Fprintf(&b, "%d runs have not ended\n", shown)
	return b.String()
}

// event publishes an event of GitHub.
func (r *rig) event(user, name, id, data string) {
	r.t.Helper()
	r.caused(user, name, id, data, "")
}

// caused publishes an event that something has led to.
func (r *rig) caused(user, name, id, data, cause string) {
	r.t.Helper()
	e := events.Event{
		ID: id, Source: "/plugfn/github/_/_", Type: "com.github." + name, UserID: user, Provider: "github", EventName: name,
		Time: time.Now(), DataContentType: "application/json", Data: []byte(data), CausationID: cause,
	}
	if _, err := r.bus.JetStream().PublishMsg(r.t.Context(), e.Msg(events.EventSubject(user, "github", name))); err != nil {
		r.t.Fatal(err)
	}
}

// runs are the runs of a user.
func (r *rig) runs(user string) []*record {
	r.t.Helper()
	var all []*record
	err := r.heads(r.t.Context(), events.Token(user)+".>", func(h head) bool {
		one, err := r.store.get(r.t.Context(), h.key, true)
		if err != nil && !errors.Is(err, errNone) {
			r.t.Fatal(err)
		}
		all = append(all, one.record)
		return true
	})
	if err != nil {
		r.t.Fatal(err)
	}
	return all
}

// ended waits until a user has n runs, which have all ended.
func (r *rig) endedRuns(user string, n int) []*record {
	r.t.Helper()
	var all []*record
	r.eventually(fmt.Sprintf("the end of %d runs", n), func() bool {
		all = r.runs(user)
		over := 0
		for _, one := range all {
			if one.State.Status.Ended() {
				over++
			}
		}
		return len(all) >= n && over == len(all)
	})
	if len(all) != n {
		r.t.Fatalf("%d runs, want %d", len(all), n)
	}
	return all
}

// begin starts a run by hand.
func (r *rig) begin(user, name, input string) *record {
	r.t.Helper()
	return r.beginAt(r.Service, user, name, input)
}

func (r *rig) beginAt(s *Service, user, name, input string) *record {
	r.t.Helper()
	got, err := s.startByHand(r.t.Context(), user, name, "", json.RawMessage(input))
	if err != nil {
		r.t.Fatal(err)
	}
	return got
}

func (r *rig) now(of *record) *record {
	r.t.Helper()
	h, err := r.store.get(context.Background(), of.key(), true)
	if err != nil {
		r.t.Fatal(err)
	}
	return h.record
}

// until waits until a run stands as wanted.
func (r *rig) until(of *record, status machine.Status) *record {
	r.t.Helper()
	var now *record
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(5 * time.Millisecond) {
		if now = r.now(of); now.State.Status == status {
			return now
		}
		if time.Now().After(deadline) || now.State.Status.Ended() {
			text, _ := json.MarshalIndent(now.State, "", " ")
			r.t.Fatalf("the run is %s, want %s\n%s", now.State.Status, status, text)
		}
	}
}
