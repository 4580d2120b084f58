package runs

import (
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/plugfn/plugfn/pkg/events"
	"github.com/plugfn/plugfn/services/scheduler/runs/machine"
)

const stormy = `
name: stormy
trigger: {event: {provider: github, event: push}}
steps:
  - {id: first, action: {use: slack.chat.postMessage, params: {channel: c, text: '${{ event.raw.n }}-first'}}}
  - id: both
    parallel:
      branches:
        a: [{id: nap, delay: {for: 200ms}}, {id: pa, action: {use: slack.chat.postMessage, params: {channel: c, text: '${{ event.raw.n }}-pa'}}}]
        b: [{id: pb, call_workflow: {workflow: inner, input: {n: '${{ event.raw.n }}'}}}]
  - id: each
    foreach: {in: '[1, 2, 3, 4]', limit: 2, steps: [{id: one, action: {use: slack.chat.postMessage, params: {channel: c, text: '${{ event.raw.n }}-each${{ item }}'}}}]}
  - {id: out, respond: {data: '${{ len(steps.each.result) }}'}}`

const stormyInner = "name: inner\n" + manual + `
  - {id: say, action: {use: slack.chat.postMessage, params: {channel: c, text: '${{ input.n }}-inner'}}}
  - {id: out, respond: {data: '${{ input.n }}'}}`

// storm has the work of services break off at every step, so that another one or
// the same has to go on.
type storm struct {
	mu     sync.Mutex
	luck   *rand.Rand
	broken map[string]int // :: run → how often the work on it broke off
}

var errBroken = errors.New("the process has ended")

const mostBreaks = 4

func (s *storm) reached(_ step, run string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.broken[run] >= mostBreaks || s.luck.IntN(5) > 0 {
		return nil
	}
	s.broken[run]++
	return errBroken
}

// run has n runs go through a storm.
func (s *storm) run(t *testing.T, r *rig, n int) {
	t.Helper()
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	s.luck, s.broken = rand.New(rand.NewPCG(seed, 1)), map[string]int{}
	r.shelf.apply(t, "u1", stormy)
	r.shelf.apply(t, "u1", stormyInner)
	other := r.service()
	r.reached, other.reached = s.reached, s.reached
	r.start(r.Service, other)
	for i := range n {
		r.event("u1", "push", fmt.Sprint(i), fmt.Sprintf(`{"n":"%d"}`, i))
	}
}

// The work on each run breaks off several times: it ends all the same, each of its
// actions is asked for under one id, and its history has no gap.
func TestStorm(t *testing.T) {
	const runs = 40
	r := newRig(t)
	posted := map[string]map[string]bool{} // :: text → ids that it was asked for under
	r.reply = func(request *events.ActionRequest) *events.Result {
		var p struct{ Text string }
		_ = json.Unmarshal(request.Params, &p)
		r.mu.Lock()
		defer r.mu.Unlock()
		if posted[p.Text] == nil {
			posted[p.Text] = map[string]bool{}
		}
		posted[p.Text][request.ID] = true
		return &events.Result{Outcome: events.Succeeded, Data: request.Params}
	}
	s := &storm{}
	s.run(t, r, runs)
	all := r.endedRuns("u1", 2*runs)
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(posted) != runs*7 {
		t.Errorf("%d texts were posted, want %d", len(posted), runs*7)
	}
	for text, ids := range posted {
		if len(ids) != 1 {
			t.Errorf("%s was posted under %d ids", text, len(ids))
		}
	}
	for _, one := range all {
		if one.State.Status != machine.Completed {
			t.Errorf("%s is %s", one.State.Run, one.State.Status)
		}
		r.complete(one)
	}
	breaks := 0
	for _, n := range s.broken {
		breaks += n
	}
	t.Logf("the work broke off %d times", breaks)
}

// complete asserts that the history of a run has no gap.
func (r *rig) complete(one *record) {
	r.t.Helper()
	changes, err := r.history(r.t.Context(), one)
	if err != nil {
		r.t.Fatal(err)
	}
	for i, c := range changes {
		if c.Number != i+1 {
			r.t.Errorf("of %s transition %d follows %d", one.State.Run, c.Number, i)
			return
		}
	}
	if last := changes[len(changes)-1]; last.Number != one.State.N || last.State != string(one.State.Status) {
		r.t.Errorf("the history of %s ends with %+v", one.State.Run, last)
	}
}

// The control: who takes every record for one whose effects are done leaves runs
// behind that wait for what nobody asked for.
func TestStormWithoutDoingEffectsAgain(t *testing.T) {
	const runs = 20
	r := newRig(t)
	other := r.service()
	s := &storm{luck: rand.New(rand.NewPCG(1, 1)), broken: map[string]int{}}
	r.shelf.apply(t, "u1", stormy)
	r.shelf.apply(t, "u1", stormyInner)
	for _, one := range []*Service{r.Service, other} {
		one.reached = func(at step, run string) error {
			key, _ := keyOf("u1", run)
			if h, ok := one.store.recent.get(key); ok && !h.settled && at == stepRead {
				one.store.settled(key, h)
				return errTaken // so that it is read again
			}
			return s.reached(at, run)
		}
	}
	stop := r.start(r.Service, other)
	for i := range runs {
		r.event("u1", "push", fmt.Sprint(i), fmt.Sprintf(`{"n":"%d"}`, i))
	}
	stuck := func() int {
		n := 0
		for _, one := range r.runs("u1") {
			if !one.State.Status.Ended() {
				n++
			}
		}
		return n
	}
	r.eventually("all events to be dealt with", func() bool {
		for _, c := range []struct{ stream, name string }{{events.StreamEvents, "runs-events"}, {events.StreamRuns, "runs"}, {events.StreamResults, "runs-results"}} {
			consumer, err := r.JetStream.Consumer(t.Context(), c.stream, c.name)
			if err != nil {
				return false
			}
			if info := consumer.CachedInfo(); info.NumPending > 0 || info.NumAckPending > 0 {
				return false
			}
		}
		return len(r.runs("u1")) > 0
	})
	stop()
	if stuck() == 0 {
		t.Error("every run ended: the storm proves nothing")
	}
}
