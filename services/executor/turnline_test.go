package executor

import (
	"encoding/json"
	"fmt"
	"hash/maphash"
	"slices"
	"testing"

	"github.com/nats-io/nats.go/jetstream"
	"pgregory.net/rapid"

	"github.com/plugfn/plugfn/pkg/events"
)

// lineModel drives the turns of two executors by hand, and knows in what order
// requests arrived.
type lineModel struct {
	s     *story
	two   [2]*turns
	user  string
	rooms map[string][]*asked // :: room → those that have no result, in order of arrival
	all   []*asked            // with those that have a result which was not passed on
}

type asked struct {
	task *task
	room string
	over bool // it has its result
}

// twoTurns are those of two executors that are not running.
func twoTurns(s *story, most int) (two [2]*turns) {
	s.Helper()
	js := s.bus.JetStream()
	if _, err := js.CreateConsumer(s.Context(), events.StreamActions, jetstream.ConsumerConfig{Durable: "executor", AckPolicy: jetstream.AckExplicitPolicy}); err != nil {
		s.Fatal(err)
	}
	for i := range two {
		service, err := New(s.cfg)
		if err != nil {
			s.Fatal(err)
		}
		w, err := service.worker(s.Context(), s.Context())
		if err != nil {
			s.Fatal(err)
		}
		w.turns.most, w.turns.seed = most, maphash.MakeSeed()
		two[i] = w.turns
	}
	return two
}

// ask stores a request.
func (m *lineModel) ask(t *rapid.T) {
	room := rapid.SampledFrom([]string{"a", "b", "c"}).Draw(t, "room")
	r := events.ActionRequest{
		ID: fmt.Sprintf("r%d", len(m.all)), UserID: m.user, Provider: "fake", Action: "things.say",
		Params: json.RawMessage(`{"room":"` + room + `","text":1}`),
	}
	msg := r.Msg(r.Subject())
	ack, err := m.s.bus.JetStream().PublishMsg(m.s.Context(), msg)
	if err != nil {
		t.Fatal(err)
	}
	a := &asked{room: room, task: &task{ActionRequest: r, subject: r.Subject(), user: m.user, provider: "fake", header: msg.Header, sequence: ack.Sequence}}
	m.all = append(m.all, a)
	m.rooms[room] = append(m.rooms[room], a)
}

// take has either executor take a request up, in any order: it has the turn if
// all that came before it in its room are over, and never otherwise.
func (m *lineModel) take(t *rapid.T) {
	waiting := slices.DeleteFunc(slices.Clone(m.all), func(a *asked) bool { return a.over })
	if len(waiting) == 0 {
		return
	}
	a := rapid.SampledFrom(waiting).Draw(t, "request")
	s := m.two[rapid.IntRange(0, 1).Draw(t, "executor")]
	q, order := s.queueOf(a.task)
	sure := rapid.Bool().Draw(t, "sure")
	place, err := s.enter(m.s.Context(), a.task, &entry{TakenUp: s.Now()}, q, order, sure)
	if err != nil {
		t.Fatal(err)
	}
	first := m.rooms[a.room][0] == a
	if place == 0 && !first {
		t.Fatalf("%s has the turn in %s before %s", a.task.ID, a.room, m.rooms[a.room][0].task.ID)
	}
	if place > 0 && first && sure {
		t.Fatalf("%s is first in %s and has place %d", a.task.ID, a.room, place)
	}
	if place == 0 && rapid.Bool().Draw(t, "done") {
		m.end(t, s, a)
	}
}

// end gives a request its result. Its executor may go away before it has handed
// the turn on.
func (m *lineModel) end(t *rapid.T, s *turns, a *asked) {
	r := events.Result{ID: a.task.ID, UserID: m.user, Provider: "fake", Action: "things.say", Outcome: events.Succeeded}
	msg, err := r.Msg()
	if err == nil {
		_, err = s.JetStream.PublishMsg(m.s.Context(), msg)
	}
	if err == nil && rapid.IntRange(0, 3).Draw(t, "crash") > 0 {
		err = s.pass(m.s.Context(), a.task)
	}
	if err != nil {
		t.Fatal(err)
	}
	a.over = true
	m.rooms[a.room] = slices.DeleteFunc(m.rooms[a.room], func(b *asked) bool { return a == b })
}

// Whoever takes up whichever request first, one at a time has the turn, in order
// of arrival, and in the end all have had it.
func TestTurnsComeInOrderOfArrival(t *testing.T) {
	s := tellPack(t, orderedPack, nil)
	two := twoTurns(s, 5)
	n := 0
	rapid.Check(t, func(rt *rapid.T) {
		n++
		m := &lineModel{s: s, two: two, user: fmt.Sprintf("u%d", n), rooms: map[string][]*asked{}}
		rt.Repeat(map[string]func(*rapid.T){"ask": m.ask, "take": m.take, "again": m.take})
		for range 2 * len(m.all) {
			for _, a := range m.all {
				if a.over {
					continue
				}
				q, order := two[0].queueOf(a.task)
				place, err := two[0].enter(t.Context(), a.task, &entry{TakenUp: two[0].Now()}, q, order, true)
				if err != nil {
					rt.Fatal(err)
				}
				if place == 0 {
					m.end(rt, two[0], a)
				}
			}
		}
		for _, a := range m.all {
			if !a.over {
				rt.Fatalf("%s in %s never has its turn", a.task.ID, a.room)
			}
		}
	})
}

// What a record has no room for waits in the stream, and is woken when there is.
func TestTurnsBeyondTheRecord(t *testing.T) {
	s := tellPack(t, orderedPack, nil)
	one := twoTurns(s, 4)[0]
	const n = 10
	var tasks []*task
	for i := range n {
		r := events.ActionRequest{ID: fmt.Sprint(i), UserID: "u1", Provider: "fake", Action: "things.say", Params: json.RawMessage(`{"room":"a","text":1}`)}
		tasks = append(tasks, &task{ActionRequest: r, subject: r.Subject(), user: "u1", provider: "fake", header: r.Msg(r.Subject()).Header, sequence: s.request(r)})
	}
	q, order := one.queueOf(tasks[0])
	place, err := one.enter(t.Context(), tasks[n-1], &entry{TakenUp: one.Now()}, q, order, false)
	if place >= 0 || err != nil {
		t.Fatalf("place %d in a record that is full, %v", place, err)
	}
	if err := one.park(t.Context(), tasks[n-1], one.Now().Add(turnRecheck)); err != nil {
		t.Fatal(err)
	}
	for i := range n - 1 {
		r := events.Result{ID: tasks[i].ID, UserID: "u1", Provider: "fake", Action: "things.say", Outcome: events.Succeeded}
		msg, err := r.Msg()
		if err == nil {
			_, err = s.bus.JetStream().PublishMsg(t.Context(), msg)
		}
		if err == nil {
			err = one.pass(t.Context(), tasks[i])
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	s.eventually("the last one to be woken", func() bool {
		last, err := s.bus.JetStream().Stream(t.Context(), events.StreamActions)
		if err != nil {
			return false
		}
		info, err := last.Info(t.Context())
		return err == nil && info.State.LastSeq == n+1
	})
}
