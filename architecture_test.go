// Package plugfn_test asserts the shape of the house by parsing its files:
// who may import whom, who may read the environment, how packages are named
// and that each says its job.
package plugfn_test

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"maps"
	"os"
	"path"
	"slices"
	"strconv"
	"strings"
	"testing"
)

const module = "github.com/plugfn/plugfn"

// assembly is where the services are put together, for the programs that run
// them: a room of its own, of which the rest of internal knows nothing.
const assembly = "internal/house"

// mayImport is the import rule: the rooms of this module that a room may
// import besides itself. A room that is not listed is not part of the house.
func mayImport(room string) (rooms []string, known bool) {
	top, _, _ := strings.Cut(room, "/")
	switch {
	case room == "pkg/events":
		return nil, true
	case room == "pkg/providers":
		return []string{"pkg/events"}, true
	case room == "pkg/workflow":
		return []string{"pkg/events", "pkg/providers"}, true
	case room == "pkg/plugfn":
		return []string{"pkg"}, true
	case room == "pkg/embedded":
		return []string{"pkg", "internal", assembly}, true
	case room == assembly:
		return []string{"pkg", "internal", "services"}, true
	case top == "internal":
		return []string{"pkg"}, true
	case top == "services":
		return []string{"pkg", "internal"}, true
	case top == "cmd":
		return []string{"pkg", "internal", "services", assembly}, true
	case top == "examples":
		return []string{"pkg"}, true
	case top == "bench":
		return []string{"pkg", "internal", "services", "examples"}, true
	case top == ".": // this file
		return nil, true
	default:
		return nil, false
	}
}

// roomOf returns the room that a package stands in. Each folder of pkg, of
// services and of examples is a room of its own.
func roomOf(dir string) string {
	if within(dir, assembly) {
		return assembly
	}
	parts := strings.Split(dir, "/")
	switch parts[0] {
	case "pkg", "services", "examples":
		return path.Join(parts[:min(2, len(parts))]...)
	default:
		return parts[0]
	}
}

// isTestRoom tells the packages that exist for tests: bustest, providertest.
// Tests anywhere may import them, the product may not.
func isTestRoom(dir string) bool {
	return strings.HasSuffix(path.Base(dir), "test") || roomOf(dir) == "bench"
}

// isTestLibrary tells the libraries that the product must not be linked with.
func isTestLibrary(imported string) bool {
	libraries := []string{
		"testing",
		"github.com/alicebob/miniredis",
		"github.com/google/go-cmp",
		"github.com/rogpeppe/go-internal",
		"github.com/stretchr/testify",
		"go.uber.org/goleak",
		"pgregory.net/rapid",
	}
	return slices.ContainsFunc(libraries, func(library string) bool { return within(imported, library) })
}

// within reports whether a package is a folder or stands below it.
func within(dir, folder string) bool {
	return dir == folder || strings.HasPrefix(dir, folder+"/")
}

// refusal says why a file in package dir may not import a path; "" if it may.
func refusal(dir, imported string, test bool) string {
	room := roomOf(dir)
	may, known := mayImport(room)
	own := within(imported, module)
	target := strings.TrimPrefix(strings.TrimPrefix(imported, module), "/")
	switch {
	case !known:
		return room + " is no room of the house"
	case !own && isTestLibrary(imported) && !test:
		return "it is for tests"
	case !own || roomOf(target) == room:
		return ""
	case isTestRoom(target) && (test || room == "cmd"):
		return ""
	case isTestRoom(target):
		return "it is for tests"
	case slices.ContainsFunc(may, func(folder string) bool {
		return within(target, folder) && (folder == assembly || !within(target, assembly))
	}):
		return ""
	case len(may) == 0:
		return room + " may import nothing of this module"
	default:
		return room + " may import only " + strings.Join(may, ", ")
	}
}

// source is one parsed Go file.
type source struct {
	name string // relative to the root of the module, with slashes
	dir  string // its package
	test bool   // a _test.go file, or part of a test room
	*ast.File
}

// parseTree parses every Go file of the module but the generated ones. It
// reads through fsys only, so that the go command notices each added, changed
// and removed file and does not answer from its test cache.
func parseTree(fsys fs.FS) ([]source, error) {
	var files []source
	err := fs.WalkDir(fsys, ".", func(name string, entry fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case entry.IsDir() && name != "." && isOutside(fsys, name):
			return fs.SkipDir
		case entry.IsDir() || path.Ext(name) != ".go":
			return nil
		}
		text, err := fs.ReadFile(fsys, name)
		if err != nil {
			return err
		}
		syntax, err := parser.ParseFile(token.NewFileSet(), name, text, parser.ParseComments)
		if err != nil {
			return err
		}
		if !ast.IsGenerated(syntax) {
			dir := path.Dir(name)
			test := strings.HasSuffix(name, "_test.go") || isTestRoom(dir)
			files = append(files, source{name, dir, test, syntax})
		}
		return nil
	})
	return files, err
}

// isOutside tells the folders that hold no package of this module.
func isOutside(fsys fs.FS, dir string) bool {
	base := path.Base(dir)
	if strings.HasPrefix(base, ".") || strings.HasPrefix(base, "_") {
		return true
	}
	if slices.Contains([]string{"bin", "dist", "node_modules", "testdata"}, base) {
		return true
	}
	_, err := fs.Stat(fsys, path.Join(dir, "go.mod"))
	return err == nil
}

// rules returns each rule of the house; a rule returns its violations.
func rules() map[string]func([]source) []string {
	return map[string]func([]source) []string{
		"imports":      eachFile(imports),
		"environment":  eachFile(environment),
		"init":         eachFile(initFunctions),
		"folder names": eachFile(folderNames),
		"doc comments": docComments,
	}
}

func eachFile(rule func(source) []string) func([]source) []string {
	return func(files []source) (found []string) {
		for _, file := range files {
			found = append(found, rule(file)...)
		}
		return found
	}
}

func imports(file source) (found []string) {
	for _, spec := range file.Imports {
		imported, _ := strconv.Unquote(spec.Path.Value) // the parser has checked it
		if reason := refusal(file.dir, imported, file.test); reason != "" {
			found = append(found, fmt.Sprintf("%s imports %s: %s", file.name, imported, reason))
		}
	}
	return found
}

// environment keeps the environment to the programs: whatever else wants a
// setting has a Config. Tests may read it, to find outside servers.
func environment(file source) (found []string) {
	room := roomOf(file.dir)
	if file.test || within(room, "cmd") || within(room, "examples") {
		return nil
	}
	name := importName(file, "os")
	ast.Inspect(file.File, func(node ast.Node) bool {
		selector, ok := node.(*ast.SelectorExpr)
		if !ok {
			return true
		}
		base, ok := selector.X.(*ast.Ident)
		reads := slices.Contains([]string{"Getenv", "LookupEnv", "Environ", "ExpandEnv"}, selector.Sel.Name)
		if ok && reads && base.Name == name {
			found = append(found, fmt.Sprintf("%s uses os.%s: only cmd and examples read the environment", file.name, selector.Sel.Name))
		}
		return true
	})
	return found
}

// importName returns the name by which a file calls a package of the standard
// library; "" if it does not import it.
func importName(file source, imported string) string {
	for _, spec := range file.Imports {
		if spec.Path.Value != strconv.Quote(imported) {
			continue
		}
		if spec.Name != nil {
			return spec.Name.Name
		}
		return path.Base(imported)
	}
	return ""
}

func initFunctions(file source) (found []string) {
	for _, declaration := range file.Decls {
		function, ok := declaration.(*ast.FuncDecl)
		if ok && function.Recv == nil && function.Name.Name == "init" {
			found = append(found, file.name+" has an init function: construct it where it is used")
		}
	}
	return found
}

func folderNames(file source) (found []string) {
	banned := []string{"util", "common", "base", "core", "models", "types", "data", "info", "manager", "helper"}
	for _, name := range strings.Split(file.dir, "/") {
		if slices.Contains(banned, name) {
			found = append(found, fmt.Sprintf("%s stands in %q: name a folder after its job", file.name, name))
		}
	}
	return found
}

func docComments(files []source) (found []string) {
	documented := map[string]bool{} // package → one of its files says its job
	for _, file := range files {
		top, _, _ := strings.Cut(file.dir, "/")
		if strings.HasSuffix(file.name, "_test.go") || !slices.Contains([]string{"pkg", "internal", "services", "cmd"}, top) {
			continue
		}
		documented[file.dir] = documented[file.dir] || file.Doc != nil
	}
	for _, dir := range slices.Sorted(maps.Keys(documented)) {
		if !documented[dir] {
			found = append(found, dir+" has no package comment: say its job in doc.go")
		}
	}
	return found
}

func TestArchitecture(t *testing.T) {
	files, err := parseTree(os.DirFS("."))
	if err != nil {
		t.Fatal(err)
	}
	if len(files) < 2 {
		t.Fatalf("found %d Go files: the test does not see the tree", len(files))
	}
	for _, name := range slices.Sorted(maps.Keys(rules())) {
		t.Run(name, func(t *testing.T) {
			for _, violation := range rules()[name](files) {
				t.Error(violation)
			}
		})
	}
}
