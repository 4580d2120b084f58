package workflows

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/plugfn/plugfn/internal/bus"
	"github.com/plugfn/plugfn/pkg/workflow"
	"github.com/plugfn/plugfn/services/scheduler/runs"
	"github.com/plugfn/plugfn/services/scheduler/runs/machine"
)

func TestVersions(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	first := r.apply("u1", told("a", onOpened, "one"))
	if first.Version != 1 || !first.Changed || first.Status != Enabled || first.Trigger.Provider != "github" || first.Steps != 1 {
		t.Fatalf("%+v", first)
	}
	again := r.apply("u1", told("a", onOpened, "one"))
	if again.Version != 1 || again.Changed {
		t.Fatalf("the same once more: %+v", again)
	}
	second := r.apply("u1", told("a", onOpened, "two"))
	if second.Version != 2 || len(second.Changes) != 1 || second.Changes[0].Path != "steps.post.action.params.text" {
		t.Fatalf("%+v", second)
	}
	for version, text := range map[int]string{1: "one", 2: "two", 0: "two"} {
		w, err := r.Program(t.Context(), "u1", "a", version)
		if err != nil || !w.Enabled {
			t.Fatal(version, err)
		}
		if got := string(w.Program.Definition.Steps[0].Action.Params["text"]); got != `"`+text+`"` {
			t.Errorf("version %d says %s", version, got)
		}
	}
	source, err := r.export(t.Context(), "u1", "a", 1, Source)
	if err != nil || !strings.Contains(source.Text, "# what this is about") {
		t.Errorf("the text has changed: %+v, %v", source, err)
	}
	if _, err := r.Program(t.Context(), "u1", "a", 3); !errors.Is(err, runs.ErrNoWorkflow) {
		t.Error(err)
	}
	if _, err := r.Program(t.Context(), "u2", "a", 0); !errors.Is(err, runs.ErrNoWorkflow) {
		t.Error(err)
	}
	if c, err := r.between(t.Context(), "u1", "a", 1, 0); err != nil || len(c.Changes) != 1 || c.To != 2 {
		t.Errorf("%+v, %v", c, err)
	}
}

func TestNothingIsAppliedByHalves(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.apply("u1", told("a", onOpened, "one"))
	for text, says := range map[string]string{
		told("a", onOpened, `"${{ event.data.isue.title }}"`):           "5:87: steps[0].action.params.text: unknown field isue, did you mean issue?",
		strings.Replace(told("a", onOpened, "x"), "slack.", "slak.", 1): "no provider is called slak, did you mean slack?",
		told("a", "{schedule: {cron: '0 9 * *'}}", "x"):                 "trigger.schedule.cron",
		told("b", "{run: {workflow: b, state: failed}}", "x"):           "is a cycle",
		"name: a\nsteps: []\nvar: {}\n":                                 "3:1: var: unknown key, did you mean vars?",
		`{"name": `:                                                     "line",
	} {
		_, err := r.Apply(t.Context(), "u1", Application{Definition: definition(text)})
		problems := workflow.Problems(nil)
		if !errors.As(err, &problems) || !strings.Contains(err.Error(), says) && says != "line" {
			t.Errorf("%s\n%v, want %s", text, err, says)
		}
	}
	if v, err := r.get(t.Context(), "u1", "a"); err != nil || v.Version != 1 {
		t.Errorf("%+v, %v", v, err)
	}
	if _, err := r.get(t.Context(), "u1", "b"); !errors.Is(err, errNone) {
		t.Error(err)
	}
}

// TestWhatBrokeOff has the text of a version stored and then its process end.
func TestWhatBrokeOff(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.apply("u1", told("a", onOpened, "one"))
	store, err := r.opened(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if err := store.add(t.Context(), &text{Name: "a", UserID: "u1", Version: 2, Text: "left behind"}); err != nil {
		t.Fatal(err)
	}
	next := r.apply("u1", told("a", onOpened, "two"))
	if next.Version != 3 {
		t.Fatalf("%+v", next)
	}
	w, err := r.Program(t.Context(), "u1", "a", 0)
	if err != nil || w.Version != 3 {
		t.Fatal(w.Version, err)
	}
}

func TestIfVersion(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	try := func(text string, version int) error {
		_, err := r.Apply(t.Context(), "u1", Application{Definition: definition(told("a", onOpened, text)), IfVersion: &version})
		return err
	}
	for _, step := range []struct {
		text    string
		version int
		fails   bool
	}{{"one", 1, true}, {"one", 0, false}, {"two", 0, true}, {"two", 2, true}, {"two", 1, false}} {
		if err := try(step.text, step.version); (err != nil) != step.fails {
			t.Fatalf("%+v: %v", step, err)
		}
	}
}

// TestManyApplyAtOnce has each of many that apply find a version of his own, and
// each version be what somebody applied.
func TestManyApplyAtOnce(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	other := r.another()
	const many = 8
	var all sync.WaitGroup
	var applied [many]int
	for n := range many {
		service := []*Service{r.Service, other}[n%2]
		all.Go(func() {
			done, err := service.Apply(t.Context(), "u1", Application{Definition: definition(told("a", onOpened, fmt.Sprint("text", n)))})
			if err != nil {
				t.Error(err)
			}
			applied[n] = done.Version
		})
	}
	all.Wait()
	for n, version := range applied {
		d, err := r.detail(t.Context(), "u1", "a", version)
		if err != nil || !strings.Contains(string(d.Definition), fmt.Sprintf("text%d\"", n)) {
			t.Errorf("version %d: %s, %v", version, d.Definition, err)
		}
	}
	slices.Sort(applied[:])
	if len(slices.Compact(slices.Clone(applied[:]))) != many {
		t.Errorf("versions %v", applied)
	}
}

// TestAnEventAfterAnApplyIsNotMissed asks one service what another has applied.
func TestAnEventAfterAnApplyIsNotMissed(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	other := r.another()
	for n := 1; n <= 30; n++ {
		r.apply("u1", told("a", onOpened, fmt.Sprint(n, "times")))
		if got := r.starts(other, "u1", "github", "issues.opened"); !slices.Equal(got, []string{fmt.Sprintf("a@%d", n)}) {
			t.Fatalf("after version %d an event starts %v", n, got)
		}
		if _, err := r.disable(t.Context(), "u1", "a"); err != nil {
			t.Fatal(err)
		}
		if got := r.starts(other, "u1", "github", "issues.opened"); len(got) > 0 {
			t.Fatalf("a workflow that is disabled is started: %v", got)
		}
		if _, err := r.enable(t.Context(), "u1", "a"); err != nil {
			t.Fatal(err)
		}
	}
}

func TestTriggers(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.apply("u1", told("opened", onOpened, "x"))
	r.apply("u1", told("all", "{event: {provider: github, event: [issues.*, push]}}", "x"))
	r.apply("u1", told("by-hand", "{manual: {}}", "x"))
	r.apply("u1", told("after", "{run: {workflow: opened, state: [failed, canceled]}}", "x"))
	r.apply("u2", told("other", onOpened, "x"))
	for _, row := range []struct {
		user, provider, event string
		want                  []string
	}{
		{"u1", "github", "issues.opened", []string{"all@1", "opened@1"}},
		{"u1", "github", "issues.closed", []string{"all@1"}},
		{"u1", "github", "issues", nil},
		{"u1", "github", "push", []string{"all@1"}},
		{"u1", "slack", "push", nil},
		{"u2", "github", "issues.opened", []string{"other@1"}},
		{"u3", "github", "issues.opened", nil},
	} {
		got := r.starts(r.Service, row.user, row.provider, row.event)
		slices.Sort(got)
		if !slices.Equal(got, row.want) {
			t.Errorf("%s %s %s starts %v, want %v", row.user, row.provider, row.event, got, row.want)
		}
	}
	for status, want := range map[machine.Status]int{machine.Failed: 1, machine.Canceled: 1, machine.Completed: 0} {
		got, err := r.OnRun(t.Context(), "u1", "opened", status)
		if err != nil || len(got) != want {
			t.Errorf("%s starts %d, %v", status, len(got), err)
		}
	}
}

func TestDeletedWorkflowsLeaveTheirVersions(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.apply("u1", told("a", onOpened, "one"))
	r.apply("u1", told("a", onOpened, "two"))
	if err := r.remove(t.Context(), "u1", "a"); err != nil {
		t.Fatal(err)
	}
	is(t, r.remove(t.Context(), "u1", "a"), errNone)
	if got := r.starts(r.Service, "u1", "github", "issues.opened"); len(got) > 0 {
		t.Fatal(got)
	}
	_, err := r.Program(t.Context(), "u1", "a", 0)
	is(t, err, runs.ErrNoWorkflow)
	fresh := r.another() // which has nothing compiled
	w, err := fresh.Program(t.Context(), "u1", "a", 1)
	if err != nil || w.Enabled || string(w.Program.Definition.Steps[0].Action.Params["text"]) != `"one"` {
		t.Fatalf("a run of the deleted workflow cannot go on: %v", err)
	}
	made := r.apply("u1", told("a", onOpened, "anew"))
	if made.Version != 3 || !made.Changed {
		t.Fatalf("the version of another workflow was given again: %+v", made)
	}
	if h, err := r.versions(t.Context(), "u1", "a"); err != nil || len(h.Versions) != 1 {
		t.Fatalf("%+v, %v", h, err)
	}
}

func TestOldVersionsAreLetGo(t *testing.T) {
	t.Parallel()
	r := newRig(t, func(cfg *Config) { cfg.MaxVersions = 2 })
	for n := range 4 {
		r.apply("u1", told("a", onOpened, fmt.Sprint("text", n)))
	}
	h, err := r.versions(t.Context(), "u1", "a")
	if err != nil || len(h.Versions) != 2 || h.Versions[0].Version != 4 || h.Versions[1].Version != 3 {
		t.Fatalf("%+v, %v", h, err)
	}
	_, err = r.detail(t.Context(), "u1", "a", 1)
	is(t, err, errOld)
	if _, err := r.Program(t.Context(), "u1", "a", 1); err != nil {
		t.Fatalf("a run of an old version cannot go on: %v", err)
	}
	stream, err := r.b.JetStream().Stream(t.Context(), "KV_"+bus.BucketDefinitions)
	if err != nil {
		t.Fatal(err)
	}
	for version, ttl := range map[int]string{1: "9600h0m0s", 3: ""} {
		msg, err := stream.GetLastMsgForSubject(t.Context(), "$KV."+bus.BucketDefinitions+"."+textKey("u1", "a", version))
		if err != nil || msg.Header.Get("Nats-TTL") != ttl {
			t.Errorf("version %d goes after %q, %v", version, msg.Header.Get("Nats-TTL"), err)
		}
	}
}

func TestBounds(t *testing.T) {
	t.Parallel()
	r := newRig(t, func(cfg *Config) { cfg.MaxPerUser = 2; cfg.MaxCompiled = 1 })
	r.apply("u1", told("a", onOpened, "x"))
	r.apply("u1", told("b", onOpened, "x"))
	r.apply("u1", told("b", onOpened, "y"))
	_, err := r.Apply(t.Context(), "u1", Application{Definition: definition(told("c", onOpened, "x"))})
	if err == nil || !strings.Contains(err.Error(), "has 2 workflows") {
		t.Fatal(err)
	}
	r.apply("u2", told("c", onOpened, "x"))
	if got := r.starts(r.Service, "u1", "github", "issues.opened"); len(got) != 2 {
		t.Fatal(got)
	}
	if n := r.cache.order.Len(); n != 1 {
		t.Errorf("%d versions are kept compiled", n)
	}
}

func TestDrafts(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	made, err := r.Apply(t.Context(), "u1", Application{Definition: definition(told("a", onOpened, "x")), Draft: true})
	if err != nil || made.Status != Draft {
		t.Fatalf("%+v, %v", made, err)
	}
	if got := r.starts(r.Service, "u1", "github", "issues.opened"); len(got) > 0 {
		t.Fatal(got)
	}
	if again := r.apply("u1", told("a", onOpened, "y")); again.Status != Draft {
		t.Fatalf("an application enables a draft: %+v", again)
	}
	if v, err := r.enable(t.Context(), "u1", "a"); err != nil || v.Status != Enabled {
		t.Fatal(err)
	}
}

// TestCallsAreCheckedAgainstOthers has another workflow's input in view.
func TestCallsAreCheckedAgainstOthers(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	called := "name: called\ntrigger: {manual: {}}\ninput: {type: object, required: [n], additionalProperties: false, properties: {n: {type: integer}}}\nsteps: [{id: a, filter: input.n > 1}]\n"
	caller := func(input string) Application {
		return Application{Definition: definition("name: caller\ntrigger: {manual: {}}\nsteps: [{id: a, call_workflow: {workflow: called, input: " + input + "}}]\n")}
	}
	for _, step := range []struct{ input, says string }{
		{"{n: 1}", "no workflow is called called"}, {"{m: 1}", "has no"}, {"{n: x}", "n: "}, {"{n: 1}", ""},
	} {
		if step.says == "has no" {
			r.apply("u1", called)
		}
		_, err := r.Apply(t.Context(), "u1", caller(step.input))
		if (err == nil) != (step.says == "") || err != nil && !strings.Contains(err.Error(), "steps[0].call_workflow") {
			t.Errorf("%+v: %v", step, err)
		}
	}
}

func TestCacheIsBounded(t *testing.T) {
	c := newCache(2)
	var got []string
	for _, key := range []string{"a", "b", "a", "c", "a", "b"} {
		if _, ok := c.get(key); ok {
			got = append(got, key)
		}
		c.put(&compiled{key: key})
	}
	if diff := cmp.Diff([]string{"a", "a"}, got); diff != "" || c.order.Len() != 2 || len(c.known) != 2 {
		t.Error(diff)
	}
}

// TestIndexIsUsedAtOnce is for the race detector.
func TestIndexIsUsedAtOnce(t *testing.T) {
	x := newIndex(newRig(t).Log)
	var stop atomic.Bool
	var all sync.WaitGroup
	all.Go(func() {
		for !stop.Load() {
			x.onEvent("u1", "github", "issues.opened")
		}
	})
	for n := range 200 {
		rec := record{Name: fmt.Sprint("w", n%5), UserID: "u1", Status: Enabled, Version: n + 1, Versions: []Version{{Version: n + 1}}, Trigger: Trigger{Kind: "event", Provider: "github", Events: []string{"issues.opened"}}}
		value, err := encode(&rec)
		if err != nil {
			t.Fatal(err)
		}
		x.see(rec.key(), value)
		if n%7 == 0 {
			x.see(rec.key(), nil)
		}
	}
	stop.Store(true)
	all.Wait()
	for n := range 5 {
		x.see(keyOf("u1", fmt.Sprint("w", n)), nil)
	}
	if len(x.filed)+len(x.byEvent)+len(x.counts) > 0 {
		t.Errorf("left: %v %v %v", x.filed, x.byEvent, x.counts)
	}
}
