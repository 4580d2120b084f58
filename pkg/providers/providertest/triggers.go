package providertest

import (
	"maps"
	"slices"

	"github.com/plugfn/plugfn/pkg/providers"
)

// triggers checks what is said of each, and that those that are looked for are
// found in the fixtures of the action that lists them.
func triggers(t T, pack *providers.Pack) {
	for _, name := range slices.Sorted(maps.Keys(pack.Triggers)) {
		trigger := pack.Triggers[name]
		if trigger.Summary == "" || trigger.Docs == "" || trigger.Schema == nil {
			t.Errorf("trigger %s needs a summary, docs and a schema", name)
			continue
		}
		if trigger.Poll != nil {
			t.Run(name, func(t T) { polled(t, pack, trigger) })
		}
	}
}

func polled(t T, pack *providers.Pack, trigger *providers.Trigger) {
	fixtures, err := pack.ActionFixtures()
	if err != nil {
		t.Fatal(err)
	}
	found := 0
	for _, f := range fixtures {
		if f.Action != trigger.Poll.Action || !f.IsSuccess() {
			continue
		}
		items, err := trigger.Poll.Read(f.Data())
		if err != nil {
			t.Errorf("%s: %v", f.Name, err)
		}
		found += len(items)
		for _, item := range items {
			if trigger.Poll.Time != nil && item.Time.IsZero() || !trigger.Poll.Version.IsZero() && item.Version == "" {
				t.Errorf("%s: item %s has no time, or no version", f.Name, item.ID)
			}
			if err := trigger.Schema.Check(item.Data); err != nil {
				t.Errorf("%s: item %s: %v", f.Name, item.ID, err)
			}
		}
	}
	if found == 0 {
		t.Errorf("no fixture of a success of %s has an item that is such an event", trigger.Poll.Action)
	}
}
