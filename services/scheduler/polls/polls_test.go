package polls

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/fstest"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/rs/zerolog"
	"go.uber.org/goleak"
	"pgregory.net/rapid"

	"github.com/plugfn/plugfn/internal/bus"
	"github.com/plugfn/plugfn/internal/bus/bustest"
	"github.com/plugfn/plugfn/pkg/events"
	"github.com/plugfn/plugfn/pkg/providers"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const pack = `apiVersion: plugfn.dev/v1
kind: Provider
name: lamp
version: 1.0.0
display: {name: Lamp, docs: "https://lamp.example/docs"}
auth:
  - {id: token, type: api_key, apply: {header: Authorization, value: "Bearer {{credential.token}}"}}
http: {base_url: "https://api.lamp.example/v1"}
event_prefix: example.lamp
actions:
  lamps.list:
    summary: List lamps
    effect: read
    params: {type: object, additionalProperties: false, properties: {after: {type: integer}, room: {type: string}}}
    request: {method: GET, path: /lamps, query: {after: "{{params.after}}", room: "{{params.room}}"}}
triggers:
  lamp.changed:
    summary: A lamp was changed
    poll:
      action: lamps.list
      since: {param: after, format: unix}
      id: json:/id
      version: json:/changed
      time: {from: json:/changed, format: unix}
  lamp.new:
    summary: There is another lamp
    poll: {action: lamps.list, id: json:/id, first: all, every: 1h}
  lamp.lit:
    summary: A lamp is lit
    poll: {action: lamps.list, id: json:/id, when: item.on == true}
`

func registry(t *testing.T) *providers.Registry {
	t.Helper()
	p, err := providers.Load(fstest.MapFS{"lamp/provider.yaml": {Data: []byte(pack)}}, "lamp")
	if err != nil {
		t.Fatal(err)
	}
	r, err := providers.NewRegistry(map[string]*providers.Pack{"lamp": p}, nil)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

type lamp struct {
	ID      int  `json:"id"`
	Changed int  `json:"changed"`
	On      bool `json:"on"`
}

// house is the executor, the provider behind it, and a scheduler.
type house struct {
	*testing.T
	bus   *bus.Bus
	polls *Service

	mu     sync.Mutex
	lamps  []lamp
	broken *events.Error
	asked  []string // parameters
	ticks  int
}

func newHouse(t *testing.T) *house {
	t.Helper()
	h := &house{T: t, bus: bustest.New(t)}
	var err error
	h.polls, err = New(Config{JetStream: h.bus.JetStream(), Providers: registry(t), Log: zerolog.Nop()})
	if err != nil {
		t.Fatal(err)
	}
	answering, err := h.bus.Conn().Subscribe(events.PrefixAction+">", h.answer)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = answering.Unsubscribe()
		h.mu.Lock() // the last answer is stored before the bus goes
	})
	return h
}

func (h *house) answer(msg *nats.Msg) {
	h.mu.Lock()
	defer h.mu.Unlock()
	r, err := events.ParseActionRequest(msg.Subject, msg.Header, msg.Data)
	if err != nil {
		h.Error(err)
		return
	}
	h.asked = append(h.asked, string(r.Params))
	result := events.Result{
		ID: r.ID, UserID: r.UserID, Provider: r.Provider, Action: r.Action, ConnectionID: "con_1", Outcome: events.Succeeded, Error: h.broken,
	}
	if h.broken != nil {
		result.Outcome = events.Failed
	}
	var chosen struct{ After int }
	if err := json.Unmarshal(r.Params, &chosen); err != nil {
		h.Error(err)
	}
	list := []lamp{}
	for _, l := range h.lamps {
		if l.Changed >= chosen.After {
			list = append(list, l)
		}
	}
	result.Data, _ = json.Marshal(list)
	out, err := result.Msg()
	if err == nil {
		_, err = h.bus.JetStream().PublishMsg(context.Background(), out)
	}
	if err != nil {
		h.Error(err)
	}
}

func (h *house) set(lamps ...lamp) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.lamps = lamps
}

func (h *house) tick(trigger string) *Tick {
	h.ticks++
	return &Tick{
		ID: fmt.Sprintf("sch_1-%d", h.ticks), UserID: "u 1", Schedule: "sch_1", Nonce: "nonce",
		Subscription: Subscription{Provider: "lamp", Trigger: trigger},
	}
}

// see makes a look.
func (h *house) see(trigger string) Look {
	h.Helper()
	if err := h.polls.look(h.Context(), h.tick(trigger)); err != nil {
		h.Fatal(err)
	}
	l, ok, err := LookOf(h.Context(), h.bus.JetStream(), "u 1", "sch_1")
	if err != nil || !ok {
		h.Fatal(ok, err)
	}
	return l
}

// published are the events so far: id and time of change of each.
func (h *house) published() (all []string) {
	h.Helper()
	stream, err := h.bus.JetStream().Stream(h.Context(), events.StreamEvents)
	if err != nil {
		h.Fatal(err)
	}
	info, err := stream.Info(h.Context())
	if err != nil {
		h.Fatal(err)
	}
	for n := info.State.FirstSeq; n > 0 && n <= info.State.LastSeq; n++ {
		msg, err := stream.GetMsg(h.Context(), n)
		if err != nil {
			h.Fatal(err)
		}
		e, err := events.ParseEvent(msg.Header, msg.Data)
		if err != nil {
			h.Fatal(err)
		}
		var l lamp
		if err := json.Unmarshal(e.Data, &l); err != nil {
			h.Fatal(err)
		}
		if msg.Subject != events.EventSubject("u 1", "lamp", e.EventName) || e.Type != "example.lamp."+e.EventName || e.ConnectionID != "con_1" ||
			e.UserID != "u 1" || e.Verified != events.VerifiedBody || e.DataContentType != "application/json" {
			h.Errorf("event %+v on %s", e, msg.Subject)
		}
		all = append(all, fmt.Sprintf("%d@%d", l.ID, l.Changed))
	}
	return all
}

func (h *house) want(all ...string) {
	h.Helper()
	if got := h.published(); !slices.Equal(got, all) {
		h.Errorf("events %v, want %v", got, all)
	}
}

func TestWhatIsNewIsAnEvent(t *testing.T) {
	h := newHouse(t)
	h.see("lamp.changed") // nothing there yet: that is known now
	h.set(lamp{ID: 2, Changed: 1700000020}, lamp{ID: 1, Changed: 1700000010})
	l := h.see("lamp.changed")
	h.want("1@1700000010", "2@1700000020") // the oldest first
	if l.Events != 2 || l.Items != 2 || l.Since.Unix() != 1700000020 || l.Error != "" || l.Gap {
		t.Errorf("look %+v", l)
	}
	h.set(lamp{ID: 3, Changed: 1700000020}, lamp{ID: 2, Changed: 1700000020}, lamp{ID: 1, Changed: 1700000030})
	h.see("lamp.changed")
	h.see("lamp.changed")
	h.want("1@1700000010", "2@1700000020", "3@1700000020", "1@1700000030")
	if want := `{"after":1700000030}`; h.asked[len(h.asked)-1] != want || h.asked[0] != `{}` {
		t.Errorf("asked %v, want %s at last", h.asked, want)
	}
}

func TestWhatWasThereIsNoEvent(t *testing.T) {
	h := newHouse(t)
	h.broken = events.Errorf(events.CodeNeedsReauth, "connect again")
	if l := h.see("lamp.changed"); !strings.Contains(l.Error, "connect again") {
		t.Errorf("look %+v", l)
	}
	h.broken = nil
	h.set(lamp{ID: 1, Changed: 1700000010}) // no look has seen anything yet
	if l := h.see("lamp.changed"); l.Error != "" || l.Items != 1 {
		t.Errorf("look %+v", l)
	}
	h.want()
	h.set(lamp{ID: 1, Changed: 1700000010}, lamp{ID: 2, Changed: 1700000010})
	h.see("lamp.changed")
	h.want("2@1700000010")
}

func TestFirstAll(t *testing.T) {
	h := newHouse(t)
	h.set(lamp{ID: 1, Changed: 1}, lamp{ID: 2, Changed: 2})
	h.see("lamp.new")
	h.set(lamp{ID: 1, Changed: 3}, lamp{ID: 2, Changed: 2}, lamp{ID: 3, Changed: 1})
	h.see("lamp.new")
	h.want("1@1", "2@2", "3@1") // that lamp 1 was changed does not count
}

func TestWhen(t *testing.T) {
	h := newHouse(t)
	h.see("lamp.lit")
	h.set(lamp{ID: 1}, lamp{ID: 2, On: true})
	h.see("lamp.lit")
	h.set(lamp{ID: 1, On: true}, lamp{ID: 2, On: true})
	h.see("lamp.lit")
	h.want("2@0", "1@0")
}

func TestMoreThanOneLookPublishes(t *testing.T) {
	h := newHouse(t)
	h.see("lamp.changed")
	all := make([]lamp, maxFresh+10)
	for i := range all {
		all[len(all)-1-i] = lamp{ID: i, Changed: 1700000000 + i}
	}
	h.set(all...)
	if l := h.see("lamp.changed"); l.Events != maxFresh {
		t.Errorf("look %+v", l)
	}
	if l := h.see("lamp.changed"); l.Events != maxFresh+10 {
		t.Errorf("look %+v", l)
	}
	if got := h.published(); len(got) != maxFresh+10 || got[maxFresh] != fmt.Sprintf("%d@%d", maxFresh, 1700000000+maxFresh) {
		t.Errorf("%d events", len(got))
	}
}

// A look that ends after its events were published, and before that is written
// down, is made again: with the same answer, and its events are there once.
func TestLookThatBreaksOff(t *testing.T) {
	h := newHouse(t)
	h.see("lamp.changed")
	h.set(lamp{ID: 1, Changed: 1700000010})
	broken := errors.New("the process has ended")
	h.polls.reached = func(string) error { return broken }
	tick := h.tick("lamp.changed")
	if err := h.polls.look(t.Context(), tick); !errors.Is(err, broken) {
		t.Fatal(err)
	}
	h.polls.reached = nil
	h.set(lamp{ID: 1, Changed: 1700000010}, lamp{ID: 2, Changed: 1700000011})
	asked := len(h.asked)
	for range 2 { // the second finds that it was made
		if err := h.polls.look(t.Context(), tick); err != nil {
			t.Fatal(err)
		}
	}
	if len(h.asked) != asked {
		t.Errorf("the provider was asked %d times more", len(h.asked)-asked)
	}
	h.want("1@1700000010")
	h.see("lamp.changed")
	h.want("1@1700000010", "2@1700000011")
}

// Two that look at the same time publish each item once.
func TestTwoLookAtOnce(t *testing.T) {
	h := newHouse(t)
	h.see("lamp.changed")
	h.set(lamp{ID: 1, Changed: 1700000010}, lamp{ID: 2, Changed: 1700000011})
	var all sync.WaitGroup
	for range 4 {
		tick := h.tick("lamp.changed")
		all.Go(func() {
			if err := h.polls.look(t.Context(), tick); err != nil && !errors.Is(err, errTaken) {
				t.Error(err)
			}
		})
	}
	all.Wait()
	if got := h.published(); len(got) != 2 {
		t.Errorf("events %v", got)
	}
}

// Run looks when a message says so, and ends when the context does.
func TestRun(t *testing.T) {
	h := newHouse(t)
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error)
	go func() { ended <- h.polls.Run(ctx) }()
	seen, err := h.bus.Conn().SubscribeSync(events.PrefixEvent + ">")
	if err != nil {
		t.Fatal(err)
	}
	h.set(lamp{ID: 7, Changed: 1})
	publish := func(msg *nats.Msg) {
		if _, err := h.bus.JetStream().PublishMsg(t.Context(), msg); err != nil {
			t.Fatal(err)
		}
	}
	publish(&nats.Msg{Subject: due, Data: []byte("what?")}) // is dropped
	msg, err := h.tick("lamp.new").Msg()
	if err != nil {
		t.Fatal(err)
	}
	publish(msg)
	if _, err := seen.NextMsg(20 * time.Second); err != nil {
		t.Fatal(err)
	}
	stop()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

func TestSubscriptionIsJudged(t *testing.T) {
	packs := registry(t)
	for _, c := range []struct {
		Subscription
		want string
	}{
		{Subscription{Provider: "lam", Trigger: "lamp.new"}, `target.poll.provider: no provider "lam"; did you mean "lamp"?`},
		{Subscription{Provider: "lamp", Trigger: "lamp.old"}, `target.poll.trigger: "lamp.old" is no trigger of lamp that is looked for: there are lamp.changed, lamp.lit, lamp.new`},
		{Subscription{Provider: "lamp", Trigger: "lamp.changed", Params: []byte(`{"after":1}`)}, "target.poll.params.after: is set by the trigger"},
		{Subscription{Provider: "lamp", Trigger: "lamp.changed", Params: []byte(`{"rom":"x"}`)}, "target.poll.params: "},
		{Subscription{Provider: "lamp", Trigger: "lamp.changed", Params: []byte(`[]`)}, "target.poll.params: must be a JSON object"},
		{Subscription{Provider: "lamp", Trigger: "lamp.changed", Params: []byte(`{"room":"x"}`)}, ""},
	} {
		_, err := c.Poll(packs, "target.poll")
		if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
			t.Errorf("%+v: %v, want %q", c.Subscription, err, c.want)
		}
	}
}

// Whatever is seen in whatever order, what was seen last is known, and no more
// than fits.
func TestKnown(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var k known
		var model []mark
		for range rapid.IntRange(1, 6).Draw(t, "looks") {
			marks := rapid.SliceOfN(rapid.Map(rapid.IntRange(0, 40), func(i int) mark { return mark(i) }), 0, 30).Draw(t, "marks")
			if rapid.IntRange(0, 30).Draw(t, "many") == 0 {
				for i := range maxKnown {
					marks = append(marks, mark(100+i))
				}
			}
			k = k.with(marks)
			var last []mark
			seen := map[mark]bool{}
			for _, m := range marks {
				if !seen[m] {
					last = append(last, m)
				}
				seen[m] = true
			}
			model = append(slices.DeleteFunc(model, func(m mark) bool { return seen[m] }), last...)
			model = model[max(0, len(model)-maxKnown):]
		}
		set := k.set()
		if len(set) != len(model) || len(k) != len(model)*markSize {
			t.Fatalf("%d are known, want %d", len(set), len(model))
		}
		for _, m := range model {
			if !set[m] {
				t.Fatalf("%d is not known", m)
			}
		}
	})
}
