package catalog_test

import (
	"testing"

	"github.com/plugfn/plugfn/pkg/providers"
	"github.com/plugfn/plugfn/pkg/providers/catalog"
	"github.com/plugfn/plugfn/pkg/providers/providertest"
)

func TestPacks(t *testing.T) {
	packs, err := providers.LoadAll(catalog.FS)
	if err != nil {
		t.Fatal(err)
	}
	for name, pack := range packs {
		t.Run(name, func(t *testing.T) { providertest.Run(t, pack) })
	}
	for _, name := range []string{"github", "slack"} {
		if _, ok := packs[name]; !ok {
			t.Errorf("pack %s is missing", name)
		}
	}
}
