package workflow_test

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/plugfn/plugfn/pkg/providers"
	"github.com/plugfn/plugfn/pkg/providers/catalog"
	"github.com/plugfn/plugfn/pkg/workflow"
)

var registry = sync.OnceValue(func() *providers.Registry {
	packs := map[string]*providers.Pack{}
	for _, name := range []string{"github", "slack"} {
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

func options() workflow.Options {
	return workflow.Options{Providers: registry(), Schedule: func(s workflow.Schedule) (field, problem string) {
		if s.Cron == "bad" {
			return "cron", "want five fields"
		}
		return "", ""
	}}
}

func compile(text string) (*workflow.Program, error) {
	d, err := workflow.Parse([]byte(text))
	if err != nil {
		return nil, err
	}
	return workflow.Compile(d, options())
}

func TestExamplesCompile(t *testing.T) {
	files, err := filepath.Glob("../../examples/workflows/*.yaml")
	if err != nil || len(files) < 5 {
		t.Fatalf("%d examples, %v", len(files), err)
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		p, err := compile(string(text))
		if err != nil {
			t.Errorf("%s:\n%v", file, err)
			continue
		}
		if want := strings.TrimSuffix(filepath.Base(file), ".yaml"); p.Definition.Name != want {
			t.Errorf("%s is called %s", file, p.Definition.Name)
		}
	}
}

// TestDocs has the workflow that docs/workflows.md shows, and the mistakes in it
// that the page shows.
func TestDocs(t *testing.T) {
	page, err := os.ReadFile("../../docs/workflows.md")
	if err != nil {
		t.Fatal(err)
	}
	blocks := strings.Split(string(page), "```")
	text := strings.TrimPrefix(blocks[1], "yaml\n")
	if _, err := compile(text); err != nil {
		t.Fatal(err)
	}
	text = strings.ReplaceAll(text, "data.issue.state", "data.isue.state")
	text = strings.ReplaceAll(text, "slack.chat.postMessage", "slack.chat.postMesage")
	if _, err := compile(text); err == nil || err.Error() != strings.TrimSpace(blocks[3]) {
		t.Errorf("got\n%v\nwant\n%s", err, blocks[3])
	}
}

const head = `name: test
trigger:
  event: {provider: github, event: issues.opened}
vars: {channel: '#dev', count: 0}
steps:
`

// TestProblems has a mistake at the end of each text, and where and how it is
// reported.
func TestProblems(t *testing.T) {
	for text, want := range map[string]string{
		head + `  - id: a
    filter: event.data.isue.number > 5`: `7:24: steps[0].filter: unknown field isue, did you mean issue?`,
		head + `  - id: a
    filter: 'event.data.issue.title == ''x'' && event.data.issue.titel == "y"'`: `7:66: steps[0].filter: unknown field titel, did you mean title?`,
		head + `  - id: a
    filter: |
      event.data.issue.number > 5
        && event.data.isue.number < 7`: `9:23: steps[0].filter: unknown field isue`,
		head + `  - id: a
    action:
      use: slack.chat.postMessage
      params: {channel: '${{ vars.channel }}', text: "New: ${{ event.data.issue.titel }}"}`: `9:81: steps[0].action.params.text: unknown field titel`,
		head + `  - {id: a, action: {use: slack.chat.postMesage, params: {}}}`:                                                    `6:27: steps[0].action.use: slack has no action chat.postMesage, did you mean slack.chat.postMessage?`,
		head + `  - {id: a, action: {use: slak.chat.postMessage}}`:                                                                `steps[0].action.use: no provider is called slak, did you mean slack?`,
		head + `  - {id: a, action: {use: slack.chat.postMessage, params: {chanel: x, text: y}}}`:                                 `steps[0].action.params.chanel: is unknown, did you mean channel?`,
		head + `  - {id: a, action: {use: slack.chat.postMessage, params: {text: y}}}`:                                            `steps[0].action.params: channel is missing`,
		head + `  - {id: a, action: {use: slack.chat.postMessage, params: {channel: 5, text: y}}}`:                                `steps[0].action.params.channel: must be of type string, it is of type integer`,
		head + `  - {id: a, action: {use: slack.chat.postMessage, params: {channel: c, text: "${{ event.data.issue.number }}"}}}`: `steps[0].action.params.text: must be of type string, its expression gives of type integer: ${{ string(…) }}`,
		head + `  - {id: a, action: {use: slack.chat.postMessage, params: {channel: c}}}`:                                         `steps[0].action.params: /`,
		head + `  - {id: a, action: {use: slack.chat.postMessage, params: {channel: "${{ vars.chanel }}", text: y}}}`:             `unknown variable chanel, did you mean channel?`,
		head + `  - {id: a, set: {cuont: 1}}`:                                                                                     `steps[0].set.cuont: unknown variable, did you mean count?`,
		head + `  - {id: a, set: {count: text}}`:                                                                                  `steps[0].set.count: must be of type number, it is of type string`,
		head + `  - {id: a, set: {channel: "${{ 5 + 5 }}"}}`:                                                                      `steps[0].set.channel: must be of type string, its expression gives of type integer`,
		head + `  - {id: a, filter: 'steps.b.result == 1'}` + "\n  - {id: b, set: {count: 1}}":                                    `step b has not ended where this stands`,
		head + `  - {id: a-b, set: {count: 1}}` + "\n  - {id: c, filter: 'steps.a-b.result == 1'}":                                `unknown step a: an id with - in it is written steps["a-b"]`,
		head + `  - {id: post, set: {count: 1}}` + "\n  - {id: c, filter: 'steps.pots.result == 1'}":                              `unknown step pots, did you mean post?`,
		head + `  - {id: a, filter: 'event.data.issue.number'}`:                                                                   `steps[0].filter: must be true or false, is of type integer`,
		head + `  - {id: a, filter: 'event.data.issue.number == "1"'}`:                                                            `mismatched types int and string`,
		head + `  - {id: a, filer: x}`:                                                                                            `6:13: steps[0].filer: unknown key, did you mean filter?`,
		head + `  - {id: a}`:                                                                                                      `steps[0]: does nothing: give it one of action, filter`,
		head + `  - {id: a, filter: 'true', set: {count: 1}}`:                                                                     `steps[0]: has 2 kinds, filter and set`,
		head + `  - {id: a, filter: 'true'}` + "\n  - {id: a, filter: 'true'}":                                                    `7:10: steps[1].id: a is the id of steps[0] already`,
		head + `  - {id: a, filter: 'true'}` + "\n  - {id: b, filter: 'true', on_error: a}":                                       `steps[1].on_error: is a cycle: a does not come after this step`,
		head + `  - {id: a, filter: 'true', on_error: nosuch}`:                                                                    `steps[0].on_error: no step is called nosuch`,
		head + `  - {id: a, call_workflow: {workflow: test}}`:                                                                     `steps[0].call_workflow.workflow: is a cycle: test starts test`,
		head + `  - {id: a, foreach: {in: event.data.issue.title, steps: [{id: b, filter: 'true'}]}}`:                             `steps[0].foreach.in: must be a list, is of type string`,
		head + `  - {id: a, foreach: {in: event.data.issue.labels, as: label, steps: [{id: b, filter: label.nmme == "x"}]}}`:      `unknown field nmme, did you mean name?`,
		head + `  - {id: a, delay: {for: 5x}}`:                                                                                    `steps[0].delay.for: must be a duration such as 90s`,
		head + `  - {id: a, delay: {for: 400d}}`:                                                                                  `steps[0].delay.for: must be at most 365d`,
		head + `  - {id: a, delay: {}}`:                                                                                           `steps[0].delay: must have one of for and until`,
		head + `  - {id: a, wait_for: {provider: github, event: issues.opened, match: candidate.data.isue == 1}}`:                 `unknown field isue, did you mean issue?`,
		head + `  - {id: a, parallel: {branches: {x: [{id: b, filter: 'true'}]}}}`:                                                `must have from 2 to 20 entries`,
		head + `  - {id: a, respond: {data: "${{ 1 + }}"}}`:                                                                       `6:36: steps[0].respond.data: unexpected`,
		head + `  - {id: a, foreach: {in: "[1]", steps: [{id: b, respond: {data: 1}}]}}`:                                          `respond: has no place in parallel and foreach`,
		head + `  - {id: a, respond: {data: "${{ 1 "}}`:                                                                           `steps[0].respond.data: has a ${{ without its }}`,
		head + `  - {id: a, filter: &x 'true'}`:                                                                                   `has an alias or an anchor`,
		head + `  - {id: a, if: 5, filter: 'true'}`:                                                                               `6:17: steps[0].if: must be a text: write "5"`,
		head + `  - {id: a, id: b, filter: 'true'}`:                                                                               `steps[0].id: is given twice`,
		`name: test
trigger: {schedule: {cron: bad}}
steps: [{id: a, filter: 'true'}]`: `2:28: trigger.schedule.cron: want five fields`,
		`name: test
trigger: {manual: {}, run: {workflow: test, state: completed}}
steps: [{id: a, filter: 'true'}]`: `trigger: must have exactly one of event, schedule, manual and run`,
		`name: test
trigger: {run: {workflow: test, state: complete}}
steps: [{id: a, filter: 'true'}]`: `trigger.run.state: complete is no state that a run ends in, did you mean completed?`,
		`name: test
trigger: {run: {workflow: test, state: failed}}
steps: [{id: a, filter: 'true'}]`: `trigger.run.workflow: is a cycle`,
		`name: test
trigger: {manual: {}}
input: {type: object, properties: {a: {type: string}}}
steps: [{id: a, filter: input.b == "x"}]`: `4:31: steps[0].filter: unknown field b`,
		`name: test
trigger: {manual: {}}
input: {type: objekt}
steps: [{id: a, filter: 'true'}]`: `3:1: input: `,
		`name: Bad Name
trigger: {manual: {}}
steps: []`: `1:7: name: must be a-z, 0-9 and -`,
		"name: [a":    `1:1: did not find`,
		"":            `1:1: is empty`,
		`{"name": 5}`: `1:10: name: must be a text`,
		"{\n \"name\": \"x\",\n \"steps\": [{\"idd\": \"\\ud83d\\ude00\"}]}": `3:13: steps[0].idd: unknown key, did you mean id?`,
	} {
		_, err := compile(text)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s\ngot  %v\nwant %s", text, err, want)
		}
	}
}

// TestCyclesOfWorkflows has workflows that call each other.
func TestCyclesOfWorkflows(t *testing.T) {
	text := func(name, calls string) string {
		return "name: " + name + "\ntrigger: {manual: {}}\nsteps: [{id: a, call_workflow: {workflow: " + calls + "}}]"
	}
	others := map[string]string{"b": text("b", "c"), "c": text("c", "a"), "d": text("d", "d")}
	o := options()
	o.Workflow = func(name string) (*workflow.Definition, bool) {
		d, err := workflow.Parse([]byte(others[name]))
		return d, err == nil
	}
	for name, want := range map[string]string{
		"b": "is a cycle: a starts b starts c starts a", "d": "", "e": "no workflow is called e",
	} {
		d, err := workflow.Parse([]byte(text("a", name)))
		if err != nil {
			t.Fatal(err)
		}
		if _, err = workflow.Compile(d, o); (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("a starts %s: got %v, want %s", name, err, want)
		}
	}
}

func TestAllProblemsAtOnce(t *testing.T) {
	_, err := compile(head + "  - {id: a, set: {x: 1}}\n  - {id: a, filter: evnt == 1}\n  - {id: c, filter: 'true', on_error: d}")
	problems, ok := err.(workflow.Problems) //nolint:errorlint // it is the error itself
	if !ok || len(problems) != 4 {
		t.Fatalf("got %v", err)
	}
	if !slices.IsSortedFunc(problems, func(a, b workflow.Problem) int { return a.Line - b.Line }) {
		t.Errorf("not by line: %v", problems)
	}
}

// TestNow has the time be called as the page says.
func TestNow(t *testing.T) {
	p, err := compile(`name: a
trigger: {event: {provider: github, event: issues.opened, filter: 'now() > date("2020-01-01T00:00:00Z")'}}
steps:
  - {id: w, delay: {until: 'now() + duration("1h")'}}
  - {id: r, respond: {data: "${{ now() }}"}}
`)
	if err != nil {
		t.Fatal(err)
	}
	now := time.Date(2026, 11, 28, 12, 0, 0, 0, time.UTC)
	got, err := p.Task("r").Data.Eval(workflow.Values{"now": now})
	if err != nil || got != "2026-11-28T12:00:00Z" {
		t.Errorf("%v, %v", got, err)
	}
	until, err := p.Task("w").Until.Eval(workflow.Values{"now": now})
	if err != nil || until != "2026-11-28T13:00:00Z" {
		t.Errorf("%v, %v", until, err)
	}
	if yes, err := p.Filter.Holds(workflow.Values{"now": now}); err != nil || !yes {
		t.Error(err)
	}
}
