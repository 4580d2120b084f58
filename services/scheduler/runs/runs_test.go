package runs

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/plugfn/plugfn/pkg/events"
	"github.com/plugfn/plugfn/services/scheduler/runs/machine"
)

const twoSteps = `
name: two-steps
trigger: {event: {provider: github, event: issues.opened, filter: 'event.data.issue.title != "no"'}}
steps:
  - {id: first, action: {use: slack.chat.postMessage, params: {channel: c, text: '${{ event.data.issue.title }}'}}}
  - {id: second, action: {use: slack.chat.postMessage, params: {channel: c, text: '${{ steps.first.result.text + "!" }}'}}}
  - {id: out, respond: {data: '${{ steps.second.result.text }}'}}
`

func TestAnEventStartsARunOnce(t *testing.T) {
	r := newRig(t)
	r.shelf.apply(t, "u1", twoSteps)
	r.start()
	r.event("u1", "issues.opened", "d1", `{"issue":{"title":"a"}}`)
	r.event("u1", "issues.opened", "d2", `{"issue":{"title":"no"}}`)
	r.event("u1", "issues.opened", "d1", `{"issue":{"title":"a"}}`)
	r.event("u2", "issues.opened", "d3", `{"issue":{"title":"a"}}`)
	r.event("u1", "issues.opened", "d4", `{"issue":{"title":"b"}}`)
	for _, run := range r.endedRuns("u1", 2) {
		if run.State.Status != machine.Completed || len(run.State.Output.JSON) != len(`"a!"`) {
			t.Errorf("%+v", run.State)
		}
	}
	if n := len(r.runs("u2")); n != 0 {
		t.Errorf("%d runs of a user without workflows", n)
	}
	r.once()
}

const manual = "trigger: {manual: {}}\nsteps:\n"

// once asserts that no request has been asked for under two ids, and each result
// was used: what was asked for twice had the same id.
func (r *rig) once() {
	r.t.Helper()
	r.mu.Lock()
	defer r.mu.Unlock()
	for id, n := range r.asked {
		if _, ok := runOf(id); !ok || n == 0 {
			r.t.Errorf("%s was asked for %d times", id, n)
		}
	}
}

func TestEachKindOfStep(t *testing.T) {
	r := newRig(t)
	r.shelf.apply(t, "u1", "name: inner\n"+manual+`
  - {id: out, respond: {data: '${{ input.n * 2 }}'}}`)
	r.shelf.apply(t, "u1", `
name: after
trigger: {run: {workflow: all, state: completed}}
steps:
  - {id: out, respond: {data: '${{ event.data.output }}'}}`)
	r.shelf.apply(t, "u1", "name: all\n"+manual+`
  - {id: nap, delay: {for: 300ms}}
  - id: both
    parallel:
      branches:
        a: [{id: pa, action: {use: slack.chat.postMessage, params: {channel: c, text: a}}}]
        b: [{id: pb, call_workflow: {workflow: inner, input: {n: 21}}}]
  - id: each
    foreach: {in: '[1, 2, 3]', limit: 2, steps: [{id: one, action: {use: slack.chat.postMessage, params: {channel: c, text: 'n${{ item }}'}}}]}
  - {id: note, call_workflow: {workflow: inner, wait: false, input: {n: 1}}}
  - {id: heard, wait_for: {provider: github, event: issues.closed, match: 'candidate.data.n == 7', timeout: 1h}}
  - {id: out, respond: {data: {sub: '${{ steps.pb.result }}', third: '${{ steps.each.result[2].text }}', heard: '${{ steps.heard.result.raw.n }}'}}}`)
	r.start()
	run := r.begin("u1", "all", `{}`)
	r.until(run, machine.Waiting)
	r.eventually("the wait", func() bool { return r.now(run).State.Steps["heard"] != nil })
	r.event("u1", "issues.closed", "c1", `{"n":6}`)
	r.event("u1", "issues.closed", "c2", `{"n":7}`)
	over := r.until(run, machine.Completed)
	if got := string(over.State.Output.JSON); got != `{"heard":7,"sub":42,"third":"n3"}` {
		t.Errorf("responds %s", got)
	}
	all := r.endedRuns("u1", 4) // with two of inner, and after
	for _, one := range all {
		if one.State.Workflow == "after" && string(one.State.Output.JSON) != string(over.State.Output.JSON) {
			t.Errorf("what follows has seen %s", one.State.Output.JSON)
		}
	}
	r.eventually("no wait is left", func() bool {
		r.waits.mu.Lock()
		defer r.waits.mu.Unlock()
		return len(r.waits.byKey) == 0
	})
}

// An event may come after a run began and before it waits for it.
func TestAnEventThatCameBeforeTheWait(t *testing.T) {
	r := newRig(t)
	r.shelf.apply(t, "u1", "name: late\n"+manual+`
  - {id: ask, action: {use: slack.chat.postMessage, params: {channel: c, text: a}}}
  - {id: heard, wait_for: {provider: github, event: 'issues.*', match: 'candidate.raw.n == 7'}}
  - {id: out, respond: {data: '${{ steps.heard.result.id }}'}}`)
	asked := make(chan struct{})
	answer := make(chan struct{})
	r.reply = func(*events.ActionRequest) *events.Result {
		close(asked)
		<-answer
		return &events.Result{Outcome: events.Succeeded, Data: json.RawMessage(`{}`)}
	}
	r.start()
	r.event("u1", "issues.closed", "before", `{"n":7}`)
	run := r.begin("u1", "late", `{}`)
	<-asked
	r.event("u1", "issues.closed", "other", `{"n":8}`)
	r.event("u1", "issues.closed", "meanwhile", `{"n":7}`)
	close(answer)
	if got := string(r.until(run, machine.Completed).State.Output.JSON); got != `"meanwhile"` {
		t.Errorf("heard %s", got)
	}
}

func TestFailureCancelAndRetry(t *testing.T) {
	r := newRig(t)
	r.shelf.apply(t, "u1", "name: fails\n"+manual+`
  - {id: fine, action: {use: slack.chat.postMessage, params: {channel: c, text: fine}}}
  - {id: bad, action: {use: slack.chat.postMessage, params: {channel: c, text: bad}}}`)
	r.shelf.apply(t, "u1", "name: sleeps\n"+manual+`
  - {id: sub, call_workflow: {workflow: sleeper}}`)
	r.shelf.apply(t, "u1", "name: sleeper\n"+manual+`
  - {id: nap, delay: {for: 1h}}`)
	broken := true
	r.reply = func(request *events.ActionRequest) *events.Result {
		if broken && strings.Contains(string(request.Params), "bad") {
			return &events.Result{Outcome: events.Failed, Error: events.Errorf(events.CodeProviderRejected, "no")}
		}
		return &events.Result{Outcome: events.Succeeded}
	}
	r.start()
	run := r.begin("u1", "fails", `{}`)
	failed := r.until(run, machine.Failed)
	if f := failed.State.Error; f.Step != "bad" || f.Code != "provider_rejected" {
		t.Errorf("failed with %+v", f)
	}
	broken = false
	if _, err := r.retry(t.Context(), "u1", run.State.Run); err != nil {
		t.Fatal(err)
	}
	r.until(run, machine.Completed)
	r.mu.Lock()
	if len(r.asked) != 3 {
		t.Errorf("%d requests, want 3", len(r.asked))
	}
	r.mu.Unlock()
	if _, err := r.retry(t.Context(), "u1", run.State.Run); !errors.Is(err, errNotFailed) {
		t.Errorf("retry of what has completed: %v", err)
	}

	sleeps := r.begin("u1", "sleeps", `{}`)
	r.eventually("the inner run", func() bool { return len(r.runs("u1")) == 3 })
	if _, err := r.cancel(t.Context(), "u1", sleeps.State.Run, "enough"); err != nil {
		t.Fatal(err)
	}
	if got := r.until(sleeps, machine.Canceled); got.State.Reason != "enough" {
		t.Errorf("canceled for %q", got.State.Reason)
	}
	r.endedRuns("u1", 3) // the inner one, too
}

// Of runs with the same key one is under way at a time, in the order of their
// events.
func TestTurns(t *testing.T) {
	r := newRig(t)
	const runs = 12
	r.shelf.apply(t, "u1", `
name: turns
trigger: {event: {provider: github, event: push}}
concurrency: {limit: 1, key: '${{ event.raw.key }}', order: true}
steps:
  - {id: say, action: {use: slack.chat.postMessage, params: {channel: '${{ event.raw.key }}', text: '${{ event.raw.n }}'}}}`)
	said := map[string][]string{}
	under := map[string]int{}
	r.reply = func(request *events.ActionRequest) *events.Result {
		var p struct{ Channel, Text string }
		_ = json.Unmarshal(request.Params, &p)
		r.mu.Lock()
		defer r.mu.Unlock()
		said[p.Channel] = append(said[p.Channel], p.Text)
		under[p.Channel]++
		return &events.Result{Outcome: events.Succeeded}
	}
	other := r.service()
	r.start(r.Service, other)
	for n := range runs {
		r.event("u1", "push", fmt.Sprint(n), fmt.Sprintf(`{"key":"k%d","n":"%02d"}`, n%2, n))
	}
	r.endedRuns("u1", runs)
	r.mu.Lock()
	defer r.mu.Unlock()
	if got := strings.Join(said["k0"], " ") + ", " + strings.Join(said["k1"], " "); got != "00 02 04 06 08 10, 01 03 05 07 09 11" {
		t.Errorf("said %s", got)
	}
}

func TestGuards(t *testing.T) {
	r := newRig(t)
	r.Service = r.service(func(c *Config) { c.MaxPerUser = 2 })
	r.shelf.apply(t, "u1", "name: sleeper\n"+manual+`
  - {id: nap, delay: {for: 1h}}`)
	r.shelf.apply(t, "u2", `
name: echo
trigger: {run: {workflow: ohce, state: completed}}
vars: {n: 0}
steps: [{id: x, set: {n: 1}}]`)
	r.shelf.apply(t, "u2", `
name: ohce
trigger: {run: {workflow: echo, state: completed}}
vars: {n: 0}
steps: [{id: x, set: {n: 1}}]`)
	r.start()
	r.begin("u1", "sleeper", `{}`)
	r.begin("u1", "sleeper", `{}`)
	_, err := r.startByHand(t.Context(), "u1", "sleeper", "", json.RawMessage(`{}`))
	refused := (*refusal)(nil)
	if !errors.As(err, &refused) || refused.why != whyQuota {
		t.Errorf("the third run: %v", err)
	}
	if _, err := r.startByHand(t.Context(), "u2", "echo", "", nil); err != nil {
		t.Fatal(err)
	}
	r.eventually("a dead letter of the loop", func() bool {
		_, err := r.store.ask(t.Context(), events.StreamDead, messageRequest{NextFor: "plugfn.dead.run.u2.*.loop", Sequence: 1})
		return err == nil
	})
	r.endedRuns("u2", maxDepth+1)
}

// Who has begun as many steps as he may starts no more, and others do.
func TestQuotaOfSteps(t *testing.T) {
	r := newRig(t)
	var ahead atomic.Int64
	r.Service = r.service(func(c *Config) {
		c.MaxSteps = 4
		c.Now = func() time.Time { return time.Now().Add(time.Duration(ahead.Load())) }
	})
	const steps = "vars: {n: 0}\n" + manual + "  - {id: a, set: {n: 1}}\n  - {id: b, set: {n: 2}}"
	for _, user := range []string{"u1", "u2"} {
		r.shelf.apply(t, user, "name: two\n"+steps)
	}
	r.start()
	for range 2 {
		r.until(r.begin("u1", "two", `{}`), machine.Completed)
	}
	_, err := r.startByHand(t.Context(), "u1", "two", "", json.RawMessage(`{}`))
	refused := (*refusal)(nil)
	if !errors.As(err, &refused) || refused.why != whyQuota || !strings.Contains(refused.message, "PLUGFN_STEPS_PER_USER") {
		t.Errorf("the third run: %v", err)
	}
	r.until(r.begin("u2", "two", `{}`), machine.Completed)
	ahead.Store(int64(time.Hour))
	r.until(r.begin("u1", "two", `{}`), machine.Completed)
}

// A workflow whose action leads to the event that starts it does not go on for
// ever, where the event says what caused it.
func TestALoopByEvents(t *testing.T) {
	r := newRig(t)
	r.shelf.apply(t, "u1", `
name: echo
trigger: {event: {provider: github, event: push}}
steps: [{id: x, action: {use: slack.chat.postMessage, params: {channel: c, text: x}}}]`)
	r.reply = func(request *events.ActionRequest) *events.Result {
		r.caused("u1", "push", request.ID, "{}", request.CausationID)
		return &events.Result{Outcome: events.Succeeded, Data: request.Params}
	}
	r.start()
	r.event("u1", "push", "first", "{}")
	r.eventually("a dead letter of the loop", func() bool {
		_, err := r.store.ask(t.Context(), events.StreamDead, messageRequest{NextFor: "plugfn.dead.run.u1.echo.loop", Sequence: 1})
		return err == nil
	})
	r.endedRuns("u1", maxDepth+1)
}

func TestADefinitionThatIsGone(t *testing.T) {
	r := newRig(t)
	r.shelf.apply(t, "u1", "name: sleeper\n"+manual+`
  - {id: nap, delay: {for: 1s}}`)
	r.start()
	run := r.begin("u1", "sleeper", `{}`)
	r.shelf.forget("u1", "sleeper")
	failed := r.until(run, machine.Failed)
	if failed.State.Steps["nap"].Status != machine.Canceled {
		t.Errorf("the step is %s", failed.State.Steps["nap"].Status)
	}
	if _, err := r.store.ask(t.Context(), events.StreamDead, messageRequest{NextFor: "plugfn.dead.run.u1.sleeper.>", Sequence: 1}); err != nil {
		t.Error(err)
	}
}

// What is long does not stand in the record, and is there all the same.
func TestLongValues(t *testing.T) {
	r := newRig(t)
	text := strings.Repeat("x", 2000)
	var steps, vars strings.Builder
	for n := range 40 {
		fmt.Fprintf(&vars, ", v%d: []", n)
		fmt.Fprintf(&steps, "  - {id: s%d, set: {v%d: '${{ [vars.big, vars.big, vars.big, vars.big, vars.big, vars.big, vars.big, vars.big, vars.big, vars.big] }}'}}\n", n, n)
	}
	r.shelf.apply(t, "u1", "name: long\nvars: {big: "+text+vars.String()+"}\n"+manual+steps.String()+"  - {id: end, delay: {for: 1ms}}\n  - {id: out, respond: {data: '${{ len(steps.s39.result.v39) + len(vars.v0) }}'}}\n")
	r.start()
	run := r.begin("u1", "long", `{"pad":"`+strings.Repeat("y", 80_000)+`"}`)
	over := r.until(run, machine.Completed)
	if string(over.State.Output.JSON) != "20" || len(over.Kept) == 0 {
		t.Errorf("responds %s with %d values kept apart", over.State.Output.JSON, len(over.Kept))
	}
}

// Long values are stored again and again while their run goes on, and not
// afterwards.
func TestLongValuesOutlastTheirStream(t *testing.T) {
	r := newRig(t)
	r.keepAgain = time.Second
	r.shelf.apply(t, "u1", "name: long\n"+manual+"  - {id: nap, delay: {for: 1h}}\n  - {id: out, respond: {data: '${{ len(input.pad) }}'}}")
	r.start()
	run := r.begin("u1", "long", `{"pad":"`+strings.Repeat("y", 80_000)+`"}`)
	stored := func() uint64 {
		stream, err := r.JetStream.Stream(t.Context(), events.StreamPayloads)
		if err != nil {
			t.Fatal(err)
		}
		return stream.CachedInfo().State.LastSeq
	}
	first := stored()
	r.eventually("the value to be stored twice more", func() bool { return stored() >= first+2 })
	if _, err := r.tell(t.Context(), r.now(run), machine.Signal{Kind: machine.Cancel}); err != nil {
		t.Fatal(err)
	}
	r.until(run, machine.Canceled)
	r.eventually("nothing to be parked any more", func() bool {
		later, err := r.JetStream.Stream(t.Context(), events.StreamLater)
		return err == nil && later.CachedInfo().State.Msgs == 0
	})
}

func TestHistory(t *testing.T) {
	r := newRig(t)
	r.shelf.apply(t, "u1", twoSteps)
	r.start()
	r.event("u1", "issues.opened", "d1", `{"issue":{"title":"a"}}`)
	run := r.endedRuns("u1", 1)[0]
	var said []string
	changes, err := r.history(t.Context(), run)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range changes {
		line := c.State
		for _, s := range c.Steps {
			line += " " + s.Step + ":" + s.State
		}
		said = append(said, line)
	}
	want := "running first:waiting | running first:completed second:waiting | completed second:completed out:completed"
	if got := strings.Join(said, " | "); got != want {
		t.Errorf("told %s\nwant %s", got, want)
	}
	if last := changes[len(changes)-1]; string(last.Output) != `"a!"` || last.DurationMS < 0 || time.Since(last.EndedAt) > time.Minute {
		t.Errorf("%+v", last)
	}
}
