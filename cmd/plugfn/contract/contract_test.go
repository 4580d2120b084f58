package contract_test

import (
	"bytes"
	"encoding/json"
	"flag"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"go.yaml.in/yaml/v3"

	"github.com/plugfn/plugfn/cmd/plugfn/contract"
	"github.com/plugfn/plugfn/pkg/providers/catalog"
)

var update = flag.Bool("update", false, "write the documents under api/")

const folder = "../../../api"

// TestDocuments compares the committed documents with the code, and follows each
// reference in them.
func TestDocuments(t *testing.T) {
	files, err := contract.Files()
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range files {
		if *update {
			if err := os.WriteFile(filepath.Join(folder, name), want, 0o644); err != nil {
				t.Fatal(err)
			}
		}
		got, err := os.ReadFile(filepath.Join(folder, name))
		if err != nil || !bytes.Equal(got, want) {
			t.Errorf("api/%s is not what the code says (%v); run go test ./cmd/plugfn/contract -update", name, err)
		}
		var doc any
		if err := json.Unmarshal(want, &doc); err != nil {
			t.Fatal(err)
		}
		references(t, name, doc, doc)
	}
	committed, err := os.ReadDir(folder)
	if err != nil || len(committed) != len(files) {
		t.Errorf("api/ holds %d files, the code makes %d (%v)", len(committed), len(files), err)
	}
}

// references fails where a reference inside of a document leads nowhere.
func references(t *testing.T, name string, root, v any) {
	t.Helper()
	switch at := v.(type) {
	case map[string]any:
		if ref, ok := at["$ref"].(string); ok && strings.HasPrefix(ref, "#/") {
			to := root
			for part := range strings.SplitSeq(ref[2:], "/") {
				m, _ := to.(map[string]any)
				to = m[part]
			}
			if to == nil {
				t.Errorf("%s: %s leads nowhere", name, ref)
			}
		}
		for _, inner := range at {
			references(t, name, root, inner)
		}
	case []any:
		for _, inner := range at {
			references(t, name, root, inner)
		}
	}
}

// TestPacksFitTheirSchema holds every built-in pack to the schema of packs.
func TestPacksFitTheirSchema(t *testing.T) {
	text, err := contract.Schema("pack")
	if err != nil {
		t.Fatal(err)
	}
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	c := jsonschema.NewCompiler()
	if err := c.AddResource("pack.json", doc); err != nil {
		t.Fatal(err)
	}
	schema, err := c.Compile("pack.json")
	if err != nil {
		t.Fatal(err)
	}
	packs, err := fs.Glob(catalog.FS, "*/provider.yaml")
	if err != nil || len(packs) < 20 {
		t.Fatalf("%d packs, %v", len(packs), err)
	}
	for _, name := range packs {
		raw, err := fs.ReadFile(catalog.FS, name)
		if err != nil {
			t.Fatal(err)
		}
		var pack any
		if err := yaml.Unmarshal(raw, &pack); err != nil {
			t.Fatal(err)
		}
		if raw, err = json.Marshal(pack); err != nil {
			t.Fatal(err)
		}
		value, err := jsonschema.UnmarshalJSON(bytes.NewReader(raw))
		if err != nil {
			t.Fatal(err)
		}
		if err := schema.Validate(value); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		object := value.(map[string]any)
		object["no_such_key"] = "1"
		if schema.Validate(object) == nil {
			t.Errorf("%s: the schema takes an unknown key", name)
		}
	}
}

// TestNothingIsTakenBack compares with the last tag: what was promised there is
// promised still.
func TestNothingIsTakenBack(t *testing.T) {
	tag, err := exec.CommandContext(t.Context(), "git", "describe", "--tags", "--abbrev=0").Output()
	if err != nil {
		t.Skip("there is no tag to compare with")
	}
	files, err := contract.Files()
	if err != nil {
		t.Fatal(err)
	}
	for name, now := range files {
		was, err := exec.CommandContext(t.Context(), "git", "show", strings.TrimSpace(string(tag))+":api/"+name).Output()
		if err != nil {
			continue // it is new
		}
		for _, lost := range takenBack(t, was, now) {
			t.Errorf("api/%s: %s was promised in %s", name, lost, tag)
		}
	}
}

// TestTakenBack shows what counts as taken back.
func TestTakenBack(t *testing.T) {
	was := `{"properties": {"a": {"type": "string"}, "b": {"type": "integer"}}, "required": ["a"]}`
	for now, lost := range map[string]int{
		was: 0,
		`{"properties": {"a": {"type": "string"}, "b": {"type": "integer"}, "c": {"type": "string"}}, "required": ["a"]}`: 0,
		`{"properties": {"a": {"type": "string"}}, "required": ["a"]}`:                                                    1,
		`{"properties": {"a": {"type": "number"}, "b": {"type": "integer"}}, "required": ["a"]}`:                          1,
		`{"properties": {"a": {"type": "string"}, "b": {"type": "integer"}}, "required": ["a", "b"]}`:                     1,
	} {
		if got := takenBack(t, []byte(was), []byte(now)); len(got) != lost {
			t.Errorf("%s: %v, want %d", now, got, lost)
		}
	}
}

func takenBack(t *testing.T, was, now []byte) (lost []string) {
	t.Helper()
	var old, fresh any
	if err := json.Unmarshal(was, &old); err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(now, &fresh); err != nil {
		t.Fatal(err)
	}
	var walk func(at string, a, b any)
	walk = func(at string, a, b any) {
		switch before := a.(type) {
		case map[string]any:
			after, _ := b.(map[string]any)
			for key, v := range before {
				if _, ok := after[key]; !ok && key != "description" && key != "summary" {
					lost = append(lost, at+"/"+key)
					continue
				}
				walk(at+"/"+key, v, after[key])
			}
			if _, newly := after["required"]; newly && before["required"] == nil && before["properties"] != nil {
				lost = append(lost, at+"/required is new")
			}
		case []any:
			after, _ := b.([]any)
			if strings.HasSuffix(at, "/required") && len(after) > len(before) {
				lost = append(lost, at+" has more")
			}
		case string:
			if strings.HasSuffix(at, "/type") && a != b {
				lost = append(lost, at)
			}
		}
	}
	walk("", old, fresh)
	return lost
}
