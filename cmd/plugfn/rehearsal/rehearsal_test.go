package rehearsal

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/rs/zerolog"

	"github.com/plugfn/plugfn/internal/sandbox"
	"github.com/plugfn/plugfn/pkg/providers"
	"github.com/plugfn/plugfn/pkg/providers/catalog"
	"github.com/plugfn/plugfn/pkg/workflow"
	"github.com/plugfn/plugfn/services/scheduler/runs/machine"
)

// theatre is the packs and who plays them.
type theatre struct {
	packs    map[string]*providers.Pack
	registry *providers.Registry
	box      *sandbox.Sandbox
}

func newTheatre(t *testing.T) *theatre {
	t.Helper()
	h := &theatre{packs: map[string]*providers.Pack{}}
	for _, name := range []string{"github", "slack"} {
		pack, err := providers.Load(catalog.FS, name)
		if err != nil {
			t.Fatal(err)
		}
		h.packs[name] = pack
	}
	var err error
	if h.registry, err = providers.NewRegistry(h.packs, nil); err != nil {
		t.Fatal(err)
	}
	if h.box, err = sandbox.New(sandbox.Config{Packs: h.packs, Log: zerolog.Nop()}); err != nil {
		t.Fatal(err)
	}
	return h
}

func (h *theatre) compile(t *testing.T, text string) *workflow.Program {
	t.Helper()
	d, err := workflow.Parse([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	p, err := workflow.Compile(d, workflow.Options{Providers: h.registry, Schedule: func(workflow.Schedule) (string, string) { return "", "" }})
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func (h *theatre) run(t *testing.T, cfg Config) *Report {
	t.Helper()
	cfg.Packs, cfg.Provider, cfg.User, cfg.Now = h.packs, h.box.Handler(), "u1", time.Date(2026, 11, 28, 12, 0, 0, 0, time.UTC)
	r, err := Run(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// TestExamples has the workflows that we show go on to their end.
func TestExamples(t *testing.T) {
	h := newTheatre(t)
	ended := map[string]string{}
	files, err := filepath.Glob("../../../examples/workflows/*.yaml")
	if err != nil || len(files) < 5 {
		t.Fatalf("%d examples, %v", len(files), err)
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		cfg := Config{Program: h.compile(t, string(text))}
		switch trigger := cfg.Program.Definition.Trigger; {
		case trigger.Event != nil:
			e, ok, err := Example(h.packs[trigger.Event.Provider], trigger.Event.Event)
			if err != nil || !ok {
				t.Fatalf("%s: no example of its trigger, %v", file, err)
			}
			cfg.Event = e.Seen
		case trigger.Manual != nil:
			cfg.Input = json.RawMessage(`{"owner":"octo","repo":"hello","title":"t","channel":"C1"}`)
		}
		r := h.run(t, cfg)
		ended[r.Workflow] = strings.TrimSpace(string(r.Status) + " " + r.Reason)
		acts := 0
		for _, s := range r.Steps {
			if s.Kind == workflow.KindAction && s.Status == machine.Completed && len(s.Output) > 0 {
				acts++
			}
		}
		if acts == 0 && ended[r.Workflow] != "completed filtered" {
			t.Errorf("%s does nothing: %+v", file, r)
		}
		if r.Error != nil {
			t.Errorf("%s: %+v", file, r.Error)
		}
	}
	want := map[string]string{
		"approval": "completed filtered", "failure-to-issue": "completed", "issue-to-slack": "completed", "nightly-digest": "completed",
		"label-and-assign": "completed",
	}
	if diff := cmp.Diff(want, ended); diff != "" {
		t.Error(diff)
	}
}

// TestApproval gives the event that the run waits for.
func TestApproval(t *testing.T) {
	h := newTheatre(t)
	text, err := os.ReadFile("../../../examples/workflows/approval.yaml")
	if err != nil {
		t.Fatal(err)
	}
	cfg := Config{Program: h.compile(t, string(text)), Input: json.RawMessage(`{"owner":"octo","repo":"hello","title":"t","channel":"C1"}`)}
	first := h.run(t, cfg)
	i := slices.IndexFunc(first.Steps, func(s Step) bool { return s.Step == "ask" && s.Status == machine.Completed })
	var posted struct{ TS string }
	if err := json.Unmarshal(first.Steps[i].Output, &posted); err != nil || posted.TS == "" {
		t.Fatalf("%s, %v", first.Steps[i].Output, err)
	}
	for reaction, want := range map[string]string{"white_check_mark": "completed", "x": "completed filtered"} {
		other, err := Make("slack", "reaction_added", json.RawMessage(`{"event":{"item":{"ts":"0"},"reaction":"x"}}`))
		if err != nil {
			t.Fatal(err)
		}
		e, err := Make("slack", "reaction_added", json.RawMessage(`{"event":{"item":{"ts":"`+posted.TS+`"},"reaction":"`+reaction+`"}}`))
		if err != nil {
			t.Fatal(err)
		}
		cfg.Events = []Event{other, e}
		r := h.run(t, cfg)
		if got := strings.TrimSpace(string(r.Status) + " " + r.Reason); got != want || r.Took != "0s" {
			t.Errorf("%s: %s after %s", reaction, got, r.Took)
		}
		if reaction == "white_check_mark" && !strings.Contains(string(r.Output), "https://") {
			t.Errorf("responds %s", r.Output)
		}
	}
}

func TestTimeIsSkipped(t *testing.T) {
	h := newTheatre(t)
	r := h.run(t, Config{Program: h.compile(t, `name: a
trigger: {manual: {}}
steps:
  - id: rest
    delay: {for: 30d}
  - id: never
    wait_for: {provider: github, event: push, timeout: 2h, on_timeout: continue}
  - id: done
    respond: {data: "${{ now() }}"}
timeout: 60d
`)})
	if r.Status != machine.Completed || r.Took != "722h0m0s" || len(r.Steps) == 0 {
		t.Errorf("%+v", r)
	}
}

func TestCalls(t *testing.T) {
	h := newTheatre(t)
	caller := h.compile(t, "name: a\ntrigger: {manual: {}}\nsteps:\n  - {id: b, call_workflow: {workflow: b, input: {n: 2}}}\n  - {id: r, respond: {data: '${{ steps.b.result }}'}}\n")
	if r := h.run(t, Config{Program: caller}); r.Status != machine.Failed || r.Error.Code != "no_workflow" {
		t.Errorf("%+v", r)
	}
	called := h.compile(t, "name: b\ntrigger: {manual: {}}\nsteps: [{id: r, respond: {data: '${{ input.n * 2 }}'}}]\n")
	r := h.run(t, Config{Program: caller, Others: map[string]*workflow.Program{"b": called}})
	if r.Status != machine.Completed || string(r.Output) != "4" {
		t.Errorf("%+v", r)
	}
}

func TestFailures(t *testing.T) {
	h := newTheatre(t)
	r := h.run(t, Config{Program: h.compile(t, "name: a\ntrigger: {manual: {}}\nsteps: [{id: s, set: {v: '${{ input.a.b }}'}}]\nvars: {v: ''}\n")})
	if r.Status != machine.Failed || r.Error == nil || r.Error.Step != "s" || !strings.Contains(r.Error.Message, "input.a") {
		t.Errorf("%+v", r.Error)
	}
}
