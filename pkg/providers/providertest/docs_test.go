package providertest_test

import (
	"os"
	"regexp"
	"testing"
	"testing/fstest"

	"github.com/plugfn/plugfn/pkg/providers"
	"github.com/plugfn/plugfn/pkg/providers/providertest"
)

// The pack that docs/creating-providers.md shows is one that passes.
func TestPackOfTheDocs(t *testing.T) {
	text, err := os.ReadFile("../../../docs/creating-providers.md")
	if err != nil {
		t.Fatal(err)
	}
	files := fstest.MapFS{}
	for _, block := range regexp.MustCompile("(?s)```yaml\n(.*?)```").FindAllSubmatch(text, -1) {
		name := "provider.yaml"
		if path := regexp.MustCompile(`^# (fixtures/\S+)`).FindSubmatch(block[1]); path != nil {
			name = string(path[1])
		} else if files["acme/provider.yaml"] != nil {
			continue // an excerpt
		}
		files["acme/"+name] = &fstest.MapFile{Data: block[1]}
	}
	pack, err := providers.Load(files, "acme")
	if err != nil {
		t.Fatal(err)
	}
	providertest.Run(t, pack)
}
