package machine_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/plugfn/plugfn/services/scheduler/runs/machine"
)

// story drives a run by hand.
type story struct {
	*testing.T
	w *world
}

func tell(t *testing.T, text string) *story {
	s := &story{t, newWorld(t, text, 1)}
	s.w.waiting = nil
	return s
}

// give applies a signal and returns its effects but those that only tell.
func (s *story) give(sig machine.Signal) []string {
	s.Helper()
	if s.w.now = s.w.now.Add(time.Second); sig.Kind == machine.Begin {
		s.w.now = s.w.now.Add(time.Hour)
	}
	next, effects := s.w.advance(sig)
	s.w.keep(effects)
	s.w.write(next)
	var all []string
	for _, e := range effects {
		switch e := e.(type) {
		case machine.Act:
			all = append(all, "act "+e.ID+" "+string(e.Params))
		case machine.SetTimer:
			all = append(all, fmt.Sprintf("timer %s %s", e.ID, e.At.Sub(s.w.now)))
		case machine.Register:
			all = append(all, "register "+e.ID)
		case machine.StartRun:
			all = append(all, "start "+e.ID+" "+string(e.Input))
		case machine.Release:
			all = append(all, "release "+e.ID)
		}
	}
	return all
}

func (s *story) want(got []string, want ...string) {
	s.Helper()
	if !slices.Equal(got, want) {
		s.Fatalf("effects are\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

func (s *story) status(want machine.Status, reason string) {
	s.Helper()
	if got := s.w.state(); got.Status != want || got.Reason != reason {
		s.Fatalf("the run is %s %s %+v, want %s %s", got.Status, got.Reason, got.Error, want, reason)
	}
}

const manual = "name: x\ntrigger: {manual: {}}\nvars: {n: 0, t: ''}\nsteps:\n"

func TestJoinAny(t *testing.T) {
	s := tell(t, manual+`
  - id: first
    parallel:
      join: any
      branches:
        event: [{id: w, wait_for: {provider: slack, event: message, timeout: 1h}}]
        later: [{id: d, delay: {for: 2h}}]
        other: [{id: c, call_workflow: {workflow: other}}]
  - {id: out, respond: {data: '${{ steps.first.result[0] + " " + steps.w.status }}'}}`)
	s.want(s.give(machine.Signal{Kind: machine.Begin}), "timer ~run~0 720h0m0s", "register w~0", "timer w~0~timeout 1h0m0s", "timer d~0 2h0m0s", "start c~0 {}")
	s.status(machine.Waiting, "")
	s.want(s.give(machine.Signal{Kind: machine.Timer, ID: "d~0"}), "release w~0", "release w~0~timeout", "release c~0", "release ~run~0")
	s.status(machine.Completed, "")
	if out := string(s.w.state().Output.JSON); out != `"later canceled"` {
		t.Errorf("output is %s", out)
	}
	s.want(s.give(machine.Signal{Kind: machine.Child, ID: "c~0"}))
}

func TestCancel(t *testing.T) {
	s := tell(t, manual+`
  - {id: d, delay: {for: 2h}}
on_error: [{id: never, set: {n: 1}}]`)
	s.give(machine.Signal{Kind: machine.Begin})
	s.want(s.give(machine.Signal{Kind: machine.Cancel, Reason: "not needed"}), "release d~0", "release ~run~0")
	s.status(machine.Canceled, "not needed")
	s.want(s.give(machine.Signal{Kind: machine.Cancel}))
	s.want(s.give(machine.Signal{Kind: machine.Timer, ID: "d~0"}))
	if s.w.state().Steps["never"] != nil {
		t.Error("on_error has run")
	}
	pending := tell(t, manual+"  - {id: d, delay: {for: 2h}}")
	pending.want(pending.give(machine.Signal{Kind: machine.Cancel}))
	pending.status(machine.Canceled, "")
}

func TestTimeoutOfRun(t *testing.T) {
	s := tell(t, manual+`
  - {id: d, delay: {for: 2d}}
on_error:
  - {id: report, action: {use: slack.chat.postMessage, params: {channel: c, text: '${{ error.code }} ${{ error.message }}'}}}
timeout: 1d`)
	s.give(machine.Signal{Kind: machine.Begin})
	s.want(s.give(machine.Signal{Kind: machine.Timer, ID: "~run~0"}),
		"release d~0", "release ~run~0", "timer ~on_error~0 24h0m0s", `act report~0 {"channel":"c","text":"timeout the run took longer than 1d"}`)
	s.want(s.give(machine.Signal{Kind: machine.Timer, ID: "~run~0"}))
	s.want(s.give(machine.Signal{Kind: machine.Result, ID: "report~0"}), "release ~on_error~0")
	s.status(machine.Failed, "")
}

// TestRetry has one of two branches and one of three items fail.
func TestRetry(t *testing.T) {
	s := tell(t, manual+`
  - {id: a, action: {use: slack.chat.postMessage, params: {channel: c, text: a}}}
  - id: both
    parallel:
      branches:
        x: [{id: x, action: {use: slack.chat.postMessage, params: {channel: c, text: x}}}]
        y:
          - id: each
            foreach:
              in: '["p", "q", "r"]'
              limit: 2
              steps: [{id: z, action: {use: slack.chat.postMessage, params: {channel: c, text: '${{ item }}'}}}]
on_error: [{id: note, set: {n: 1}}]`)
	act := func(id, text string) string { return "act " + id + ` {"channel":"c","text":"` + text + `"}` }
	ok := func(id string) machine.Signal {
		return machine.Signal{Kind: machine.Result, ID: id, Data: json.RawMessage(`"` + id + `"`)}
	}
	no := func(id string) machine.Signal {
		return machine.Signal{Kind: machine.Result, ID: id, Error: &machine.Failure{Code: "provider_rejected", Message: "no"}}
	}
	s.give(machine.Signal{Kind: machine.Begin})
	s.want(s.give(ok("a~0")), act("x~0", "x"), act("each[0].z~0", "p"), act("each[1].z~0", "q"))
	s.want(s.give(no("each[1].z~0")))
	s.want(s.give(ok("each[0].z~0")))
	s.status(machine.Running, "")
	s.want(s.give(ok("x~0")), "release ~run~0", "timer ~on_error~0 24h0m0s", "release ~on_error~0")
	s.status(machine.Failed, "")
	s.want(s.give(machine.Signal{Kind: machine.Retry, Try: 2}))
	s.want(s.give(machine.Signal{Kind: machine.Retry, Try: 1}), "timer ~run~1 720h0m0s", act("each[1].z~1", "q"), act("each[2].z~1", "r"))
	s.want(s.give(machine.Signal{Kind: machine.Retry, Try: 1}))
	s.want(s.give(ok("each[1].z~0")))
	s.want(s.give(ok("each[1].z~1")))
	s.want(s.give(ok("each[2].z~1")), "release ~run~1")
	s.status(machine.Completed, "")
	if tail, _ := json.Marshal(s.w.state().Steps["each"].Loop.Tail); string(tail) != `[{"v":"each[0].z~0"},{"v":"each[1].z~1"},{"v":"each[2].z~1"}]` {
		t.Errorf("results are %s", tail)
	}
}

func TestExpressionFails(t *testing.T) {
	s := tell(t, manual+`
  - {id: a, set: {t: '${{ input.absent.deeper }}'}, on_error: [{id: b, respond: {data: '${{ error }}'}}]}`)
	s.give(machine.Signal{Kind: machine.Begin})
	s.status(machine.Completed, "")
	out := string(s.w.state().Output.JSON)
	for _, part := range []string{`"code":"expression"`, `"step":"a"`, "input.absent.deeper: cannot fetch absent from", "input is null"} {
		if !strings.Contains(out, part) {
			t.Errorf("%s has no %s", out, part)
		}
	}
}

func TestInputIsChecked(t *testing.T) {
	s := tell(t, "name: x\ntrigger: {manual: {}}\ninput: {type: object, required: [a]}\nsteps: [{id: a, filter: 'true'}]")
	s.give(machine.Signal{Kind: machine.Begin})
	s.status(machine.Failed, "")
	if f := s.w.state().Error; f.Code != machine.CodeInput {
		t.Errorf("fails as %+v", f)
	}
}

// TestManyItems has the state stay small over the most items that may be, and
// the results whole.
func TestManyItems(t *testing.T) {
	const items = 10_000
	s := tell(t, manual+`
  - {id: list, action: {use: slack.conversations.list, params: {}}}
  - id: each
    foreach: {in: steps.list.result, limit: 50, steps: [{id: keep, set: {t: '${{ "a text that is somewhat long, number " + string(item) }}'}}]}
  - {id: out, respond: {data: '${{ [len(steps.each.result), steps.each.result[9999].t] }}'}}`)
	list := make([]int, items+1)
	for i := range list {
		list[i] = i
	}
	s.give(machine.Signal{Kind: machine.Begin})
	data, _ := json.Marshal(list[:items])
	s.give(machine.Signal{Kind: machine.Result, ID: "list~0", Data: data})
	for s.w.state().More != "" {
		if len(s.w.record) > 4*machine.MaxInline {
			t.Fatalf("the state has %d bytes", len(s.w.record))
		}
		s.give(machine.Signal{Kind: machine.Timer, ID: s.w.state().More})
	}
	s.status(machine.Completed, "")
	if out := string(s.w.state().Output.JSON); out != `[10000,"a text that is somewhat long, number 9999"]` {
		t.Errorf("output is %s", out)
	}
	if len(s.w.record) > 2*machine.MaxInline {
		t.Errorf("the state has %d bytes", len(s.w.record))
	}
	over := tell(t, manual+`
  - {id: list, action: {use: slack.conversations.list, params: {}}}
  - {id: each, foreach: {in: steps.list.result, steps: [{id: keep, set: {n: 1}}]}}`)
	over.give(machine.Signal{Kind: machine.Begin})
	data, _ = json.Marshal(list)
	over.give(machine.Signal{Kind: machine.Result, ID: "list~0", Data: data})
	over.status(machine.Failed, "")
	if f := over.w.state().Error; f.Code != machine.CodeTooLarge || f.Step != "each" {
		t.Errorf("fails as %+v", f)
	}
}

func TestPayloadsAreAskedFor(t *testing.T) {
	p := compile(t, "name: x\ntrigger: {event: {provider: github, event: issues.closed}}\nsteps: [{id: a, respond: {data: '${{ len(event.data.long) }}'}}]")
	event := json.RawMessage(`{"data":{"long":"` + strings.Repeat("x", machine.MaxInline) + `"}}`)
	s, effects, err := machine.New(p, machine.Start{Run: "r", Workflow: "x", Event: event})
	if err != nil || len(effects) != 1 {
		t.Fatalf("%d effects, %v", len(effects), err)
	}
	kept := effects[0].(machine.Keep)
	_, _, err = machine.Advance(p, s, machine.Signal{Kind: machine.Begin}, time.Now(), nil)
	missing := (*machine.MissingPayloads)(nil)
	if !errors.As(err, &missing) || !slices.Equal(missing.Refs, []string{kept.Ref}) {
		t.Fatalf("got %v", err)
	}
	next, _, err := machine.Advance(p, s, machine.Signal{Kind: machine.Begin}, time.Now(), machine.Payloads{kept.Ref: kept.Data})
	if err != nil || string(next.Output.JSON) != "65536" {
		t.Fatalf("%v, %v", next, err)
	}
}
