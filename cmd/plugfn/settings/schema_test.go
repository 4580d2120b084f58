package settings

import (
	"bytes"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/santhosh-tekuri/jsonschema/v6"
	"go.yaml.in/yaml/v3"

	"github.com/plugfn/plugfn/pkg/providers/catalog"
)

func compiled(t *testing.T) *jsonschema.Schema {
	t.Helper()
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(Schema()))
	if err != nil {
		t.Fatal(err)
	}
	c := jsonschema.NewCompiler()
	if err := c.AddResource("schema.json", doc); err != nil {
		t.Fatal(err)
	}
	schema, err := c.Compile("schema.json")
	if err != nil {
		t.Fatal(err)
	}
	return schema
}

// TestSchemaAgreesWithTheLoader gives both the same files.
func TestSchemaAgreesWithTheLoader(t *testing.T) {
	_, example, _ := strings.Cut(markdownFile, "```yaml\n")
	example, _, _ = strings.Cut(example, "```")
	secret := write(t, "secret", "0123456789abcdef")
	example = regexp.MustCompile(`/run/secrets/(plugfn_api_key|github_webhook_secret)`).ReplaceAllString(example, secret)
	schema := compiled(t)
	for _, tt := range []struct {
		name, file string
		valid      bool
	}{
		{"of the documentation", example, true},
		{"numbers", "stream: {max_bytes: 2097152}\nexecutor: {max_in_flight: 3}\nnats: {secure: true}", true},
		{"unknown key", "htpt: {addr: ':1'}", false},
		{"unknown key below", "http: {adr: ':1'}", false},
		{"unknown key of a provider", "providers: {github: {webhok_secret: x}}", false},
		{"list", "data_dir: [a, b]", false},
		{"word that is none of them", "durability: HA", false},
		{"no whole number", "executor: {max_in_flight: 1.5}", false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var doc any
			if err := yaml.Unmarshal([]byte(tt.file), &doc); err != nil {
				t.Fatal(err)
			}
			_, loadErr := Load(Source{Flags: map[string]string{"config": write(t, "c.yaml", tt.file)}})
			if err := schema.Validate(doc); (err == nil) != tt.valid || (loadErr == nil) != tt.valid {
				t.Errorf("schema: %v\nloader: %v\nwant valid: %v", err, loadErr, tt.valid)
			}
		})
	}
}

func TestEffectiveHidesSecrets(t *testing.T) {
	s, err := Load(Source{
		Flags: map[string]string{"data-dir": "d"},
		Environ: []string{
			"PLUGFN_API_KEY=hunter2-hunter2-hunter2", "PLUGFN_NATS_URL=nats://me:hunter2@a:4222,nats://hunter2@b:4222,nats://c:4222",
			"PLUGFN_GITHUB_CLIENT_SECRET=hunter2", "PLUGFN_GITHUB_CLIENT_ID=id", "PLUGFN_REDIS_URL=redis://:hunter2@r:6379/0",
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	got := map[string][2]string{}
	for _, v := range s.Effective() {
		if strings.Contains(v.Value+v.Origin, "hunter2") {
			t.Errorf("%s shows %q", v.Variable, v.Value)
		}
		if v.Origin != "" {
			got[v.Variable] = [2]string{v.Value, v.Origin}
		}
	}
	for variable, want := range map[string][2]string{
		"PLUGFN_API_KEY":              {"[redacted]", "PLUGFN_API_KEY"},
		"PLUGFN_NATS_URL":             {"nats://[redacted]@a:4222,nats://[redacted]@b:4222,nats://c:4222", "PLUGFN_NATS_URL"},
		"PLUGFN_GITHUB_CLIENT_SECRET": {"[redacted]", "PLUGFN_GITHUB_CLIENT_SECRET"},
		"PLUGFN_GITHUB_CLIENT_ID":     {"id", "PLUGFN_GITHUB_CLIENT_ID"},
		"PLUGFN_DATA_DIR":             {"d", "--data-dir"},
		"PLUGFN_DURABILITY":           {"single", "default"},
		"PLUGFN_REDIS_URL":            {"[redacted]", "PLUGFN_REDIS_URL"},
	} {
		if diff := cmp.Diff(want, got[variable]); diff != "" {
			t.Errorf("%s: %s", variable, diff)
		}
	}
	if _, ok := got["PLUGFN_KEK"]; ok {
		t.Error("what is not set has an origin")
	}
}

// TestFilesNameKnownVariables reads what operators copy from.
func TestFilesNameKnownVariables(t *testing.T) {
	entries, err := catalog.FS.ReadDir(".")
	if err != nil {
		t.Fatal(err)
	}
	packs := []string{"acme"} // of those who follow the documentation
	for _, e := range entries {
		packs = append(packs, e.Name())
	}
	known := append(variableNames(packs), "PLUGFN_IMAGE", "PLUGFN_VERSION", "PLUGFN_VULNCHECK") // of compose, and of .ci/run
	root := filepath.FromSlash("../../../")
	files := []string{"README.md", "docker-compose.yml", ".env.example", "Dockerfile", "SECURITY.md"}
	for _, pattern := range []string{"docs/*.md", "examples/*/README.md", ".github/workflows/*"} {
		found, err := filepath.Glob(root + pattern)
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range found {
			files = append(files, strings.TrimPrefix(f, root))
		}
	}
	err = filepath.WalkDir(root+"deploy", func(name string, e os.DirEntry, err error) error {
		if slices.Contains([]string{".yaml", ".yml", ".conf", ".env", ".md", ""}, filepath.Ext(name)) && !e.IsDir() {
			files = append(files, strings.TrimPrefix(name, root))
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	kept := storedNames(t)
	variable := regexp.MustCompile(`\bPLUGFN_[A-Z0-9_]+[A-Z0-9]`)
	for _, name := range files {
		text, err := os.ReadFile(root + name)
		if err != nil {
			t.Error(err)
		}
		for _, found := range variable.FindAllString(string(text), -1) {
			if !slices.Contains(known, found) && !kept[found] {
				t.Errorf("%s: %s is not known%s", name, found, didYouMean(found, known))
			}
		}
	}
}

// storedNames are the names of streams and buckets, which look like variables.
func storedNames(t *testing.T) map[string]bool {
	t.Helper()
	kept := map[string]bool{}
	for _, name := range []string{"internal/bus/streams.go", "pkg/events/subject.go", "pkg/events/connection.go"} {
		text, err := os.ReadFile(filepath.FromSlash("../../../" + name))
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range regexp.MustCompile(`"(PLUGFN_[A-Z_]+)"`).FindAllStringSubmatch(string(text), -1) {
			kept[m[1]] = true
		}
	}
	return kept
}
