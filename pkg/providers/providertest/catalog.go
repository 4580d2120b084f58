package providertest

import (
	"maps"
	"sync"

	"github.com/plugfn/plugfn/pkg/providers"
	"github.com/plugfn/plugfn/pkg/providers/catalog"
)

// builtIn reads the built-in packs once for all tests of a process: that takes
// longer than most of them.
var builtIn = sync.OnceValues(func() (map[string]*providers.Pack, error) { //nolint:gochecknoglobals // nobody changes what it returns
	return providers.LoadTested(catalog.FS)
})

// Catalog returns the built-in packs, by provider name. The map is the caller's,
// the packs are everybody's and not to be changed.
func Catalog() (map[string]*providers.Pack, error) {
	packs, err := builtIn()
	return maps.Clone(packs), err
}
