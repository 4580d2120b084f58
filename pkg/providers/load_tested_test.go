package providers_test

import (
	"encoding/json"
	"maps"
	"slices"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/plugfn/plugfn/pkg/providers"
	"github.com/plugfn/plugfn/pkg/providers/catalog"
)

// TestLoadTested: what is read in less time is the same.
func TestLoadTested(t *testing.T) {
	want, err := providers.LoadAll(catalog.FS)
	if err != nil {
		t.Fatal(err)
	}
	got, err := providers.LoadTested(catalog.FS)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(slices.Sorted(maps.Keys(want)), slices.Sorted(maps.Keys(got))); diff != "" {
		t.Fatalf("packs (-want +got):\n%s", diff)
	}
	wrong := json.RawMessage(`{"owner":5}`)
	for name, pack := range want {
		for action := range pack.Actions {
			w, g := pack.Actions[action].Params, got[name].Actions[action].Params
			if string(w.JSON()) != string(g.JSON()) {
				t.Errorf("%s %s: the schemas are not the same", name, action)
			}
			var users sync.WaitGroup
			for range 4 { // the first users of a schema may come together
				users.Go(func() {
					if a, b := w.Check(wrong), g.Check(wrong); (a == nil) != (b == nil) || a != nil && a.Error() != b.Error() {
						t.Errorf("%s %s: says %v, want %v", name, action, b, a)
					}
				})
			}
			users.Wait()
		}
	}
}
