package machine_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/plugfn/plugfn/pkg/providers"
	"github.com/plugfn/plugfn/pkg/providers/catalog"
	"github.com/plugfn/plugfn/pkg/workflow"
	"github.com/plugfn/plugfn/services/scheduler/runs/machine"
)

var registry = sync.OnceValue(func() *providers.Registry {
	packs := map[string]*providers.Pack{}
	for _, name := range []string{"slack", "github"} {
		pack, err := providers.Load(catalog.FS, name)
		if err != nil {
			panic(err)
		}
		packs[name] = pack
	}
	r, err := providers.NewRegistry(packs, nil)
	if err != nil {
		panic(err)
	}
	return r
})

type failer interface {
	Helper()
	Fatalf(format string, args ...any)
}

func compile(t failer, text string) *workflow.Program {
	t.Helper()
	d, err := workflow.Parse([]byte(text))
	if err != nil {
		t.Fatalf("%s\n%v", text, err)
	}
	p, err := workflow.Compile(d, workflow.Options{Providers: registry()})
	if err != nil {
		t.Fatalf("%s\n%v", text, err)
	}
	return p
}

// world drives a run as badly as may be: it loses effects, repeats and mixes
// signals, and writes the state as JSON each time.
type world struct {
	t       failer
	random  *rand.Rand
	program *workflow.Program
	answers map[string]answer // :: id of a step
	now     time.Time

	record   []byte // the state
	payloads machine.Payloads
	waiting  []machine.Signal // not yet applied
	old      []machine.Signal // applied
	seen     map[string]bool  // effects whose signal is there
	asked    map[string]string
	told     map[string]machine.Note
}

func newWorld(t failer, text string, seed uint64) *world {
	w := &world{
		t: t, random: rand.New(rand.NewPCG(seed, 1)), program: compile(t, text),
		answers: map[string]answer{}, now: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC),
		payloads: machine.Payloads{}, seen: map[string]bool{}, asked: map[string]string{}, told: map[string]machine.Note{},
	}
	s, effects, err := machine.New(w.program, machine.Start{Run: "r", Workflow: "random", User: "u"})
	if err != nil {
		t.Fatalf("%v", err)
	}
	w.write(s)
	w.perform(effects)
	w.waiting = append(w.waiting, machine.Signal{Kind: machine.Begin})
	return w
}

func (w *world) write(s *machine.State) {
	var err error
	if w.record, err = json.Marshal(s); err != nil {
		w.t.Fatalf("%v", err)
	}
}

func (w *world) state() *machine.State {
	s := &machine.State{}
	if err := json.Unmarshal(w.record, s); err != nil {
		w.t.Fatalf("%v", err)
	}
	return s
}

// run gives signals until the run has ended.
func (w *world) run() *machine.State {
	for range 100_000 {
		if len(w.waiting) == 0 {
			s := w.state()
			if !s.Status.Ended() {
				w.t.Fatalf("the run waits for nothing: %s", w.record)
			}
			return s
		}
		w.now = w.now.Add(time.Second)
		if len(w.old) > 0 && w.random.IntN(3) == 0 {
			w.again(w.old[w.random.IntN(len(w.old))])
		}
		i := w.random.IntN(len(w.waiting))
		sig := w.waiting[i]
		next, effects := w.advance(sig)
		switch w.random.IntN(6) {
		case 0: // a crash before the state is written: the signal comes again
			continue
		case 1: // a crash before the effects are done: the signal comes again, too
			w.keep(effects)
			w.write(next)
			w.again(sig)
		default:
			w.keep(effects)
			w.write(next)
			w.perform(effects)
		}
		w.old = append(w.old, sig)
		w.waiting = append(w.waiting[:i], w.waiting[i+1:]...)
	}
	w.t.Fatalf("the run does not end: %s", w.record)
	return nil
}

// again gives a signal that was applied before: it must change nothing.
func (w *world) again(sig machine.Signal) {
	before := w.state()
	next, effects := w.advance(sig)
	if next.N != before.N || len(effects) > 0 {
		w.t.Fatalf("%+v is applied twice to %s", sig, w.record)
	}
	effects, err := machine.Again(w.program, before, w.payloads)
	if err != nil {
		w.t.Fatalf("%v", err)
	}
	w.perform(effects)
}

func (w *world) advance(sig machine.Signal) (*machine.State, []machine.Effect) {
	given := machine.Payloads{}
	for {
		before := string(w.record)
		s := w.state()
		next, effects, err := machine.Advance(w.program, s, sig, w.now, given)
		if left, _ := json.Marshal(s); string(left) != before {
			w.t.Fatalf("Advance has changed its state\n%s\n%s", before, left)
		}
		missing := (*machine.MissingPayloads)(nil)
		if !errors.As(err, &missing) {
			if err != nil {
				w.t.Fatalf("%v", err)
			}
			return next, effects
		}
		for _, ref := range missing.Refs {
			if w.payloads[ref] == nil || given[ref] != nil {
				w.t.Fatalf("%s is not kept, or missing though it was given", ref)
			}
			given[ref] = w.payloads[ref]
		}
	}
}

func (w *world) keep(effects []machine.Effect) {
	for _, e := range effects {
		if k, ok := e.(machine.Keep); ok {
			w.payloads[k.Ref] = k.Data
		}
	}
}

// perform does effects. The same one again does nothing, as in life.
func (w *world) perform(effects []machine.Effect) {
	w.keep(effects)
	for _, e := range effects {
		switch e := e.(type) {
		case machine.Act:
			var params struct{ Text string }
			_ = json.Unmarshal(e.Params, &params)
			w.answer(e.ID, machine.Result, params.Text)
		case machine.StartRun:
			var input struct{ Text int }
			_ = json.Unmarshal(e.Input, &input)
			w.answer(e.ID, machine.Child, fmt.Sprint(input.Text))
		case machine.Register:
			w.register(e.ID)
		case machine.SetTimer:
			w.timer(e.ID)
		case machine.Tell:
			if old, ok := w.told[e.ID]; ok && (old.Step != e.Step || old.Status != e.Status) {
				w.t.Fatalf("%s is told as %v and as %v", e.ID, old, e.Note)
			}
			w.told[e.ID] = e.Note
		}
	}
}

func stepOf(id string) string {
	key, _, _ := strings.Cut(id, "~")
	return key
}

func (w *world) answer(id string, kind machine.Kind, asks string) {
	key := stepOf(id)
	if before, ok := w.asked[id]; ok && before != asks {
		w.t.Fatalf("%s asks for %s and then for %s", id, before, asks)
	}
	w.asked[id] = asks
	if w.seen[id] {
		return
	}
	w.seen[id] = true
	sig := machine.Signal{Kind: kind, ID: id}
	if a := w.answers[key[strings.LastIndexByte(key, '.')+1:]]; a.fails {
		sig.Error = &machine.Failure{Code: "provider_rejected", Message: "no"}
	} else {
		sig.Data = json.RawMessage(fmt.Sprint(a.value))
	}
	w.waiting = append(w.waiting, sig)
}

// register sends events that do not match, and then one that does, unless the
// wait has to fail.
func (w *world) register(id string) {
	key := stepOf(id)
	if w.seen[id] {
		return
	}
	w.seen[id] = true
	for _, data := range []string{`{"source":"s","data":{}}`, `{"source":"s"}`, `5`, `{"source":"s","data":{"text":1,"fits":false}}`} {
		w.old = append(w.old, machine.Signal{Kind: machine.Event, ID: id, Data: json.RawMessage(data)})
	}
	a := w.answers[key[strings.LastIndexByte(key, '.')+1:]]
	for n := range 2 {
		if !a.fails {
			data := fmt.Sprintf(`{"source":"s","data":{"text":%d,"fits":true,"value":%d}}`, n, a.value)
			w.waiting = append(w.waiting, machine.Signal{Kind: machine.Event, ID: id, Data: json.RawMessage(data)})
		}
	}
}

func (w *world) timer(id string) {
	key := stepOf(id)
	if strings.HasPrefix(id, "~more~") && !w.seen[id] {
		w.seen[id] = true
		w.waiting = append(w.waiting, machine.Signal{Kind: machine.Timer, ID: id})
	}
	fails := w.answers[key[strings.LastIndexByte(key, '.')+1:]].fails
	isTimeout := strings.HasSuffix(id, "~timeout")
	if key == "" || w.seen[id] || isTimeout && !fails {
		return
	}
	w.seen[id] = true
	w.waiting = append(w.waiting, machine.Signal{Kind: machine.Timer, ID: id})
}

// TestAgainstReference compares random workflows, driven through crashes and
// through repeated and mixed signals, with a simple interpreter.
func TestAgainstReference(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		a := &author{t: t}
		steps := a.list(3, false, false)
		var handlers []*node
		if rapid.Bool().Draw(t, "handlers") {
			handlers = a.list(1, false, false)
		}
		text := definition(steps, handlers)
		w := newWorld(t, text, rapid.Uint64().Draw(t, "seed"))
		for _, n := range append(all(steps), all(handlers)...) {
			w.answers[n.id] = n.answer
		}
		compare(t, text, w, w.run(), steps, handlers)
	})
}

func compare(t *rapid.T, text string, w *world, got *machine.State, steps, handlers []*node) {
	r := &reference{asked: map[string]string{}, status: map[string]string{}, result: map[string]any{}}
	vars := &variables{own: map[string]int{"x": 0, "y": 1}}
	end := r.list(steps, "", vars)
	status, reason, step := machine.Completed, "", ""
	switch end.is {
	case "failed":
		status, step = machine.Failed, end.step
		r.list(handlers, "", vars)
	case "stopped":
		reason = "filtered"
	}
	asked := map[string]string{}
	for id, what := range w.asked {
		asked[stepOf(id)] = what
	}
	for _, n := range append(all(steps), all(handlers)...) {
		if n.kind == "wait_for" { // it asks for nothing
			for key := range r.asked {
				if strings.HasSuffix("."+key, "."+n.id) {
					delete(r.asked, key)
				}
			}
		}
	}
	if got.Status != status || got.Reason != reason || (got.Error != nil) != (step != "") || got.Error != nil && got.Error.Step != step {
		t.Fatalf("%s\nis %s %s %+v, want %s %s %s", text, got.Status, got.Reason, got.Error, status, reason, step)
	}
	if canonical(asked) != canonical(r.asked) {
		t.Fatalf("%s\nasked for %v, want %v", text, canonical(asked), canonical(r.asked))
	}
	for name, n := range vars.own {
		if have := string(got.Vars[name].JSON); have != fmt.Sprint(n) {
			t.Fatalf("%s\n%s is %s, want %d", text, name, have, n)
		}
	}
	var output any
	if got.Output != nil {
		_ = json.Unmarshal(got.Output.JSON, &output)
	}
	if canonical(output) != canonical(r.output) {
		t.Fatalf("%s\nresponds %v, want %v", text, output, r.output)
	}
	statuses := map[string]string{}
	for key, e := range got.Steps {
		statuses[key] = string(e.Status)
		compareLoop(t, text, r, key, e)
	}
	if canonical(statuses) != canonical(r.status) {
		t.Fatalf("%s\nsteps are %s, want %s", text, canonical(statuses), canonical(r.status))
	}
}

func compareLoop(t *rapid.T, text string, r *reference, key string, e *machine.Entry) {
	if e.Loop == nil || e.Status != machine.Completed {
		return
	}
	results := []any{}
	for _, v := range e.Loop.Tail {
		var one any
		_ = json.Unmarshal(v.JSON, &one)
		if event, ok := one.(map[string]any); ok && event["source"] != nil {
			one = event["data"].(map[string]any)["value"]
		}
		results = append(results, one)
	}
	if canonical(results) != canonical(r.result[key]) {
		t.Fatalf("%s\n%s is %s, want %s", text, key, canonical(results), canonical(r.result[key]))
	}
}
