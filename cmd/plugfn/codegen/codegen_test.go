package codegen_test

import (
	"maps"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/plugfn/plugfn/cmd/plugfn/codegen"
	"github.com/plugfn/plugfn/pkg/providers"
	"github.com/plugfn/plugfn/pkg/providers/catalog"
)

const generatedDir = "../../../pkg/plugfn"

// TestGeneratedPackages fails where a package that comes with the SDK is not what
// its pack makes. `make generate` writes them.
func TestGeneratedPackages(t *testing.T) {
	for _, name := range []string{"github", "slack"} {
		files := generate(t, load(t, name), name)
		dir := filepath.Join(generatedDir, name)
		for _, file := range slices.Sorted(maps.Keys(files)) {
			have, err := os.ReadFile(filepath.Join(dir, file))
			if err != nil || string(have) != string(files[file]) {
				t.Errorf("%s is not what the pack %s makes (%v): make generate", filepath.Join(dir, file), name, err)
			}
		}
		there, err := filepath.Glob(filepath.Join(dir, "*.go"))
		if err != nil {
			t.Fatal(err)
		}
		for _, path := range there {
			if _, ok := files[filepath.Base(path)]; !ok && !isTest(path) {
				t.Errorf("%s is not made from the pack: remove it", path)
			}
		}
	}
}

func isTest(path string) bool {
	ok, _ := filepath.Match("*_test.go", filepath.Base(path)) // the pattern is right
	return ok
}

func load(t *testing.T, name string) *providers.Pack {
	t.Helper()
	pack, err := providers.Load(catalog.FS, name)
	if err != nil {
		t.Fatal(err)
	}
	return pack
}

func generate(t *testing.T, pack *providers.Pack, pkg string) map[string][]byte {
	t.Helper()
	api, err := codegen.Read(pack)
	if err != nil {
		t.Fatal(err)
	}
	files, err := codegen.Go(api, pkg)
	if err != nil {
		t.Fatal(err)
	}
	return files
}
