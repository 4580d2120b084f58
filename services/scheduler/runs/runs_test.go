package runs

import (
	"testing"

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
}
