package runs

import (
	"encoding/json"
	"slices"
	"testing"

	"github.com/plugfn/plugfn/pkg/workflow"
	"github.com/plugfn/plugfn/services/scheduler/runs/machine"
)

// Who waits for a name, for what is below one, or for several hears of an event
// once, and of no other.
func TestWhoWaitsForAnEvent(t *testing.T) {
	r := newRig(t)
	for name, names := range map[string]workflow.Names{
		"exact": {"issues.closed"}, "below": {"issues.*"}, "both": {"issues.closed", "issues.*"}, "any": {"*"}, "other": {"issues.opened", "push"},
	} {
		list, err := json.Marshal([]string(names))
		if err != nil {
			t.Fatal(err)
		}
		r.shelf.apply(t, "u1", "name: "+name+"\n"+manual+"  - {id: w, wait_for: {provider: github, event: "+string(list)+"}}")
	}
	r.start()
	for _, name := range []string{"exact", "below", "both", "any", "other"} {
		r.until(r.begin("u1", name, `{}`), machine.Waiting)
	}
	for event, want := range map[string][]string{
		"issues.closed": {"any", "below", "both", "exact"}, "issues.opened": {"any", "below", "both", "other"}, "push": {"any", "other"}, "ping": {"any"},
	} {
		waiting, err := r.waits.forEvent(t.Context(), "u1", "github", event, 1<<60)
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, w := range waiting {
			got = append(got, w.Workflow)
		}
		slices.Sort(got)
		if !slices.Equal(got, want) {
			t.Errorf("%s reaches %v, want %v", event, got, want)
		}
	}
	r.event("u1", "issues.closed", "closed", `{"issue":{"number":1}}`)
	r.eventually("those that are served to be forgotten", func() bool {
		waiting, err := r.waits.forEvent(t.Context(), "u1", "github", "issues.closed", 1<<60)
		return err == nil && len(waiting) == 0
	})
}
