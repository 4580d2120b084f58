package schedules

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/rs/zerolog"
	"go.uber.org/goleak"

	"github.com/plugfn/plugfn/internal/bus"
	"github.com/plugfn/plugfn/internal/bus/bustest"
	"github.com/plugfn/plugfn/pkg/events"
	"github.com/plugfn/plugfn/pkg/providers"
	"github.com/plugfn/plugfn/pkg/providers/providertest"
	"github.com/plugfn/plugfn/services/scheduler"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func packs(t testing.TB) *providers.Registry {
	t.Helper()
	all, err := providertest.Catalog()
	if err != nil {
		t.Fatal(err)
	}
	registry, err := providers.NewRegistry(all, nil)
	if err != nil {
		t.Fatal(err)
	}
	return registry
}

// rig is a bus with schedules.
type rig struct {
	*Service
	t   testing.TB
	bus *bus.Bus
}

func newRig(t testing.TB, edits ...func(*bus.Config)) *rig {
	t.Helper()
	b := bustest.New(t, edits...)
	return &rig{Service: newService(t, b, packs(t)), t: t, bus: b}
}

func newService(t testing.TB, b *bus.Bus, registry *providers.Registry) *Service {
	t.Helper()
	s, err := New(Config{
		Conn: b.Conn(), JetStream: b.JetStream(), Parking: b, Providers: registry, Log: zerolog.Nop(),
		APIKey: providers.NewSecret([]byte("key")), MaxPerUser: 200,
	})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// start runs a scheduler with s until stop is called, or the end of the test.
func (r *rig) start(s *Service) (stop func()) {
	r.t.Helper()
	mover, err := scheduler.New(scheduler.Config{
		JetStream: r.bus.JetStream(), Firings: r.bus, Schedules: s, Log: zerolog.Nop(), AckWait: time.Second, DrainTimeout: time.Second,
	})
	if err != nil {
		r.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var wait sync.WaitGroup
	for _, run := range []func(context.Context) error{mover.Run, s.Run} {
		wait.Go(func() {
			if err := run(ctx); err != nil {
				r.t.Error(err)
			}
		})
	}
	stop = sync.OnceFunc(func() { cancel(); wait.Wait() })
	r.t.Cleanup(stop)
	r.eventually("the scheduler to work", func() bool { return mover.Ready(ctx) == nil })
	return stop
}

func (r *rig) make(user string, p Plan) record {
	r.t.Helper()
	made, err := r.create(context.Background(), user, p)
	if err != nil {
		r.t.Fatal(err)
	}
	return made
}

func (r *rig) now(made record) record {
	r.t.Helper()
	now, err := r.get(context.Background(), made.UserID, made.ID)
	if err != nil {
		r.t.Fatal(err)
	}
	return now
}

func (r *rig) eventually(what string, ok func() bool) {
	r.t.Helper()
	for deadline := time.Now().Add(30 * time.Second); !ok(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			r.t.Fatalf("waited in vain for %s", what)
		}
	}
}

// stored returns the messages of a stream below a subject, in their order.
func (r *rig) stored(stream, subject string) []*jetstream.RawStreamMsg {
	r.t.Helper()
	s, err := r.bus.JetStream().Stream(context.Background(), stream)
	if err != nil {
		r.t.Fatal(err)
	}
	var all []*jetstream.RawStreamMsg
	state := s.CachedInfo().State
	for seq := max(state.FirstSeq, 1); seq <= state.LastSeq; seq++ {
		msg, err := s.GetMsg(context.Background(), seq)
		if errors.Is(err, jetstream.ErrMsgNotFound) {
			continue
		}
		if err != nil {
			r.t.Fatal(err)
		}
		if strings.HasPrefix(msg.Subject, subject) {
			all = append(all, msg)
		}
	}
	return all
}

func event(name string) Target { return Target{Event: &EventTarget{Name: name}} }

func TestTicksAreEvents(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.start(r.Service)
	began := time.Now().Truncate(time.Second)
	made := r.make("u 1", Plan{
		Name: "beat", Every: "1s", End: began.Add(3500 * time.Millisecond),
		Target: Target{Event: &EventTarget{Name: "beat.one", Data: json.RawMessage(`{"a":1}`)}},
	})
	r.eventually("the end", func() bool { return r.now(made).State == Done })
	done := r.now(made)
	all := r.stored(events.StreamEvents, "plugfn.event.u=201.schedule.beat.one")
	if len(all) != int(done.Counts.Fired) || len(all) < 2 || len(all) > 3 || done.Counts.Missed != 0 {
		t.Fatalf("%d events, counted %+v", len(all), done.Counts)
	}
	for _, msg := range all {
		e, err := events.ParseEvent(msg.Header, msg.Data)
		if err != nil {
			t.Fatal(err)
		}
		var body struct {
			Schedule struct{ ID, Name string }
			Tick     Tick
			Data     json.RawMessage
		}
		if err := json.Unmarshal(e.Data, &body); err != nil {
			t.Fatal(err)
		}
		if e.UserID != "u 1" || e.EventName != "beat.one" || e.ID != made.tickID(e.Time) || body.Tick.ID != e.ID || body.Schedule.Name != "beat" || string(body.Data) != `{"a":1}` {
			t.Errorf("event %+v with %s", e, e.Data)
		}
		if msg.Time.Before(e.Time) {
			t.Errorf("the tick %s came %s early", e.ID, e.Time.Sub(msg.Time))
		}
	}
}

func TestTicksAreRequests(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.start(r.Service)
	made := r.make("u1", Plan{At: time.Now().Add(300 * time.Millisecond), Target: Target{
		Action: &ActionTarget{Provider: "slack", Action: "chat.postMessage", ConnectionID: "con_1", Params: json.RawMessage(`{"channel":"#a","text":"hi"}`)},
	}})
	r.eventually("the end", func() bool { return r.now(made).State == Done })
	all := r.stored(events.StreamActions, "plugfn.action.")
	if len(all) != 1 {
		t.Fatalf("%d requests", len(all))
	}
	got, err := events.ParseActionRequest(all[0].Subject, all[0].Header, all[0].Data)
	if err != nil || got.ID != made.tickID(made.At) || got.ConnectionID != "con_1" || got.Provider != "slack" || string(got.Params) != `{"channel":"#a","text":"hi"}` {
		t.Errorf("got %+v, %v", got, err)
	}
	if got := r.now(made); got.Last.ID != made.tickID(made.At) || got.view().NextAt.IsZero() == false {
		t.Errorf("got %+v", got)
	}
}

// TestQueue has a tick wait for the result of the one before.
func TestQueue(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.start(r.Service)
	made := r.make("u1", Plan{At: time.Now().Add(200 * time.Millisecond), Overlap: QueueBusy, Target: Target{
		Action: &ActionTarget{Provider: "slack", Action: "chat.postMessage", Params: json.RawMessage(`{"channel":"#a","text":"hi"}`)},
	}})
	if _, err := r.run(t.Context(), "u1", made.ID); err != nil {
		t.Fatal(err)
	}
	r.eventually("one to wait", func() bool { return len(r.now(made).Waiting) == 1 })
	first := r.now(made).Last
	if all := r.stored(events.StreamActions, "plugfn.action."); !first.ByHand || len(all) != 1 {
		t.Fatalf("the first is %+v, of %d", first, len(all))
	}
	result := events.Result{ID: first.ID, UserID: "u1", Provider: "slack", Action: "chat.postMessage", Outcome: events.Succeeded}
	msg, err := result.Msg()
	if err == nil {
		_, err = r.bus.JetStream().PublishMsg(t.Context(), msg)
	}
	if err != nil {
		t.Fatal(err)
	}
	r.eventually("the end", func() bool { return r.now(made).State == Done })
	if got := r.now(made); got.Last.ID != made.tickID(made.At) || got.Counts.Fired != 2 {
		t.Errorf("got %+v", got)
	}
}

func TestPausedAmendedAndDeletedSchedulesDoNotFire(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	soon := time.Now().Add(700 * time.Millisecond)
	paused := r.make("u1", Plan{At: soon, Target: event("paused")})
	deleted := r.make("u1", Plan{At: soon, Target: event("deleted")})
	amended := r.make("u1", Plan{At: soon, Target: event("amended")})
	if _, err := r.pause(t.Context(), "", paused.ID); err != nil {
		t.Fatal(err)
	}
	if err := r.remove(t.Context(), "u1", deleted.ID); err != nil {
		t.Fatal(err)
	}
	if _, err := r.get(t.Context(), "", deleted.ID); !errors.Is(err, errNone) {
		t.Errorf("the deleted one is there: %v", err)
	}
	hours := "1h"
	got, err := r.amend(t.Context(), "u1", amended.ID, &Amendment{Every: &hours})
	if err != nil || got.Every != "1h" || !got.At.IsZero() || got.Generation != 2 {
		t.Errorf("amended to %+v, %v", got, err)
	}
	// What was parked by the older generations comes all the same: as when the
	// process ended before it could cancel it.
	for _, old := range []record{paused, deleted, amended} {
		if err := r.park(t.Context(), &old); err != nil {
			t.Fatal(err)
		}
	}
	marker := r.make("u1", Plan{At: soon.Add(time.Millisecond), Target: event("marker")})
	r.start(r.Service)
	r.eventually("the marker", func() bool { return r.now(marker).State == Done })
	r.eventually("all firings to be dealt with", func() bool { return len(r.stored(events.StreamLater, events.PrefixDue)) == 0 })
	if all := r.stored(events.StreamEvents, "plugfn.event."); len(all) != 1 {
		t.Errorf("%d events, want the marker alone", len(all))
	}
	if _, err := r.resume(t.Context(), "u1", paused.ID); err == nil || !strings.Contains(err.Error(), "at: ") {
		t.Errorf("what has gone by was resumed: %v", err)
	}
	r.eventually("the amended one to be parked as it is now", func() bool {
		all := r.stored(events.StreamLater, events.LaterSubject(bus.KindSchedule, "u1", amended.ID))
		return len(all) == 1 && strings.Contains(string(all[0].Data), `"generation":2`)
	})
}

func TestLostChainIsFound(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	made := r.make("u1", Plan{At: time.Now().Add(800 * time.Millisecond), Target: event("found")})
	if err := r.bus.Unpark(t.Context(), bus.KindSchedule, "u1", made.ID); err != nil { // as if it had never been parked
		t.Fatal(err)
	}
	overdue := r.make("u1", Plan{At: time.Now().Add(time.Hour), Target: event("overdue")})
	store, err := r.opened(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	kept, revision, err := store.get(t.Context(), overdue.key())
	if err != nil {
		t.Fatal(err)
	}
	late := time.Now().Add(-2 * time.Minute).UTC()
	kept.At, kept.Next, kept.Wake, kept.Settled = late, late, late, late.Add(-time.Hour)
	if err := errors.Join(store.put(t.Context(), &kept, revision), r.bus.Unpark(t.Context(), bus.KindSchedule, "u1", overdue.ID)); err != nil {
		t.Fatal(err)
	}
	r.start(r.Service)
	r.eventually("both to fire", func() bool { return r.now(made).State == Done && r.now(overdue).State == Done })
	if all := r.stored(events.StreamEvents, "plugfn.event."); len(all) != 2 {
		t.Errorf("%d events", len(all))
	}
}

func TestOldOnesAreDeletedAndDoNotCount(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.quota.most = 1
	made := r.make("u1", Plan{At: time.Now().Add(time.Hour), Target: event("a")})
	_, err := r.create(t.Context(), "u1", Plan{Every: "1h", Target: event("a")})
	if err == nil || !strings.Contains(err.Error(), "has 1 schedules") {
		t.Errorf("more than may be: %v", err)
	}
	r.make("u2", Plan{Every: "1h", Target: event("a")})
	if _, err := r.edit(t.Context(), "u1", made.ID, "ended", func(r *record, now time.Time) error {
		r.State, r.EndedAt = Done, now.Add(-doneAge-time.Hour)
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	r.make("u1", Plan{Every: "1h", Target: event("a")})
	if err := r.look(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := r.get(t.Context(), "u1", made.ID); !errors.Is(err, errNone) {
		t.Errorf("still there: %v", err)
	}
}

var errCrash = errors.New("the process ended here")

// TestEachTickOnce has two schedulers break off at any step, and stopped and
// started, with many schedules of a second.
func TestEachTickOnce(t *testing.T) {
	t.Parallel()
	storm(t, 25, 2*time.Second)
}

// storm runs n schedules of a second for a time, and looks at each tick.
func storm(t *testing.T, n int, span time.Duration) {
	r := newRig(t)
	registry := r.Providers
	var crashing atomic.Bool
	crashing.Store(true)
	replica := func() *Service {
		s := newService(t, r.bus, registry)
		s.reached = func(step, string) error {
			if crashing.Load() && rand.IntN(12) == 0 {
				return errCrash
			}
			return nil
		}
		return s
	}
	made := make([]record, n)
	for i := range made {
		made[i] = r.make("u1", Plan{Every: "1s", Misfire: FireAll, Target: event(fmt.Sprint("e", i))})
	}
	stop := [2]func(){r.start(replica()), r.start(replica())}
	for ends := time.Now().Add(span); time.Now().Before(ends); {
		time.Sleep(time.Duration(rand.IntN(int(span) / 5)))
		i := rand.IntN(2)
		stop[i]()
		stop[i] = r.start(replica())
	}
	crashing.Store(false)
	until := time.Now()
	for i := range made {
		r.eventually("all ticks of "+made[i].ID, func() bool { return r.now(made[i]).Settled.After(until) })
	}
	stop[0]()
	stop[1]()
	ticks := map[string]map[string]int{}
	for _, msg := range r.stored(events.StreamEvents, "plugfn.event.u1.schedule.") {
		if ticks[msg.Subject] == nil {
			ticks[msg.Subject] = map[string]int{}
		}
		ticks[msg.Subject][msg.Header.Get(headerEventID)]++
	}
	for i := range made {
		now, seen := r.now(made[i]), ticks[fmt.Sprint("plugfn.event.u1.schedule.e", i)]
		want := 0
		for at := made[i].Next; !at.After(now.Settled); at = at.Add(time.Second) {
			want++
			if n := seen[made[i].tickID(at)]; n != 1 {
				t.Errorf("the tick %s fired %d times", made[i].tickID(at), n)
			}
		}
		for id, n := range seen { // also of those that were not noted any more when the schedulers were stopped
			if n != 1 {
				t.Errorf("the tick %s fired %d times", id, n)
			}
		}
		if len(seen) < want || now.Counts.Missed != 0 {
			t.Errorf("%s: %d ticks, want %d; counted %+v", made[i].ID, len(seen), want, now.Counts)
		}
	}
}
