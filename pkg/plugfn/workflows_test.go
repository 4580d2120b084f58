package plugfn_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/plugfn/plugfn/pkg/plugfn"
)

const greeting = `name: greet
trigger: {manual: {}}
input:
  type: object
  properties: {to: {type: string}}
  required: [to]
steps:
  - id: say
    action:
      use: slack.chat.postMessage
      params: {channel: "#demo", text: "hello ${{ input.to }}"}
  - id: answer
    respond: {data: {ts: "${{ steps.say.result.ts }}"}}
`

func tellsWorkflows(t *testing.T, s *story) {
	client := s.Client()
	workflows, runs := client.Workflows("demo"), client.Runs("demo")

	wrong := strings.Replace(greeting, "input.to", "input.too", 1)
	var problem *plugfn.Error
	if err := workflows.Validate(s.ctx, []byte(wrong)); !errors.As(err, &problem) || !errors.Is(err, plugfn.ErrInvalidParams) || !strings.Contains(err.Error(), "did you mean to?") {
		t.Errorf("a definition that is wrong: %v", err)
	}
	if _, err := workflows.Get(s.ctx, "greet"); !errors.Is(err, plugfn.ErrNotFound) {
		t.Errorf("a workflow that is not there: %v", err)
	}
	none := 0
	made, err := workflows.Apply(s.ctx, []byte(greeting), plugfn.ApplyOptions{IfVersion: &none})
	if err != nil || !made.Changed || made.Version != 1 || made.Status != "enabled" || made.Trigger.Kind != "manual" || made.User != "demo" {
		t.Fatalf("%+v, %v", made, err)
	}
	if again, err := workflows.Apply(s.ctx, []byte(greeting), plugfn.ApplyOptions{}); err != nil || again.Changed {
		t.Errorf("the same again: %+v, %v", again, err)
	}
	if text, err := workflows.Definition(s.ctx, "greet"); err != nil || string(text) != greeting {
		t.Errorf("%q, %v", text, err)
	}
	for w, err := range workflows.List(s.ctx) {
		if err != nil || w.Name != "greet" {
			t.Errorf("%+v, %v", w, err)
		}
	}

	run, err := workflows.Start(s.ctx, "greet", "one", map[string]string{"to": "ada"})
	if err != nil || run.Cause.Kind != "manual" {
		t.Fatalf("%+v, %v", run, err)
	}
	if again, err := workflows.Start(s.ctx, "greet", "one", map[string]string{"to": "ada"}); err != nil || again.ID != run.ID {
		t.Errorf("the same key: %+v, %v", again, err)
	}
	ended, err := runs.Wait(s.ctx, run.ID)
	if err != nil || ended.Status != "completed" || !ended.Ended() || len(ended.Steps) != 2 || !strings.Contains(string(ended.Output), `"ts"`) {
		t.Fatalf("%+v, %v", ended, err)
	}
	if logs, err := runs.Logs(s.ctx, run.ID); err != nil || len(logs) == 0 || logs[len(logs)-1].State != "completed" {
		t.Errorf("%+v, %v", logs, err)
	}
	other, err := runs.Replay(s.ctx, run.ID, "again")
	if err != nil || other.ID == run.ID || other.Cause.ID != run.ID {
		t.Errorf("%+v, %v", other, err)
	}
	if _, err := runs.Retry(s.ctx, run.ID); err == nil {
		t.Error("a run that has not failed was tried again")
	}
	n := 0
	for r, err := range runs.List(s.ctx, plugfn.RunFilter{Workflow: "greet"}) {
		if err != nil || r.Workflow != "greet" {
			t.Errorf("%+v, %v", r, err)
		}
		n++
	}
	if n != 2 {
		t.Errorf("%d runs", n)
	}

	if w, err := workflows.Disable(s.ctx, "greet"); err != nil || w.Status != "disabled" {
		t.Errorf("%+v, %v", w, err)
	}
	if w, err := workflows.Enable(s.ctx, "greet"); err != nil || w.Status != "enabled" {
		t.Errorf("%+v, %v", w, err)
	}
	if err := workflows.Delete(s.ctx, "greet"); err != nil {
		t.Error(err)
	}
	tellsFailedRun(t, s)
}

// tellsFailedRun has a run whose error is told, and not taken for a refusal; and
// one that is canceled.
func tellsFailedRun(t *testing.T, s *story) {
	workflows, runs := s.Client().Workflows("nobody"), s.Client().Runs("nobody")
	start := func(name, step string) plugfn.Run {
		if _, err := workflows.Apply(s.ctx, []byte("name: "+name+"\ntrigger: {manual: {}}\nsteps:\n  - "+step), plugfn.ApplyOptions{}); err != nil {
			t.Fatal(err)
		}
		run, err := workflows.Start(s.ctx, name, "", nil)
		if err != nil {
			t.Fatal(err)
		}
		return run
	}
	failed, err := runs.Wait(s.ctx, start("fails", `{id: look, action: {use: github.repos.get, params: {owner: o, repo: r}}}`).ID)
	if err != nil || failed.Status != "failed" || failed.Error == nil || failed.Error.Code != "connection_not_found" || failed.Error.Step != "look" {
		t.Errorf("%+v, %v", failed, err)
	}
	if retried, err := runs.Retry(s.ctx, failed.ID); err != nil || retried.Retries != 1 {
		t.Errorf("%+v, %v", retried, err)
	}
	canceled, err := runs.Cancel(s.ctx, start("naps", `{id: nap, delay: {for: 1h}}`).ID, "enough")
	if err != nil {
		t.Fatal(err)
	}
	if canceled, err = runs.Wait(s.ctx, canceled.ID); err != nil || canceled.Status != "canceled" || canceled.Reason != "enough" {
		t.Errorf("%+v, %v", canceled, err)
	}
}
