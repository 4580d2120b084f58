package validate

import (
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// repository is the root of the repository.
const repository = "../.."

func read(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(repository, filepath.FromSlash(name)))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// variables are what PlugFn can be told by the environment.
type variables struct {
	names    []string
	provider []*regexp.Regexp // those of each provider
	values   map[string][]any // :: name → all that it may be
}

func readVariables(t *testing.T) *variables {
	t.Helper()
	var root map[string]any
	if err := json.Unmarshal([]byte(read(t, "docs/configuration.schema.json")), &root); err != nil {
		t.Fatal(err)
	}
	v := &variables{values: map[string][]any{}}
	v.walk(root)
	if !slices.Contains(v.names, "PLUGFN_NATS_URL") || len(v.provider) == 0 {
		t.Fatalf("the schema has lost its variables: %q", v.names)
	}
	return v
}

func (v *variables) walk(node map[string]any) {
	if name, ok := node["x-env"].(string); ok {
		v.add(name, node["enum"])
	}
	for _, member := range node {
		if child, ok := member.(map[string]any); ok {
			v.walk(child)
		}
	}
	only, _ := node["x-env-only"].([]any)
	for _, name := range only {
		v.names = append(v.names, name.(string))
	}
}

func (v *variables) add(name string, values any) {
	if strings.Contains(name, "<PROVIDER>") {
		v.provider = append(v.provider, regexp.MustCompile("^"+strings.Replace(name, "<PROVIDER>", "[A-Z0-9_]+", 1)+"$"))
		return
	}
	v.names = append(v.names, name)
	if all, ok := values.([]any); ok {
		v.values[name] = all
	}
}

// knows reports whether a name that begins with PLUGFN_ sets something.
func (v *variables) knows(name string) bool {
	return slices.Contains(v.names, name) || slices.ContainsFunc(v.provider, func(p *regexp.Regexp) bool { return p.MatchString(name) })
}

// check tells what is wrong with a variable of PlugFn.
func (v *variables) check(t *testing.T, where, name, value string) {
	t.Helper()
	if !strings.HasPrefix(name, "PLUGFN_") {
		return
	}
	if !v.knows(name) {
		t.Errorf("%s: %s is not known", where, name)
	}
	if all := v.values[name]; all != nil && !slices.Contains(all, any(value)) {
		t.Errorf("%s: %s is %q, must be one of %v", where, name, value, all)
	}
}

func TestVariablesTellUnknownOnes(t *testing.T) {
	v := readVariables(t)
	for name, want := range map[string]bool{
		"PLUGFN_NATS_URL": true, "PLUGFN_CONFIG": true, "PLUGFN_API_KEY_FILE": true, "PLUGFN_GITHUB_WEBHOOK_SECRET": true,
		"PLUGFN_GITHUB_CLIENT_SECRET_FILE": true, "PLUGFN_NATS_URI": false, "PLUGFN_DURABILTY": false, "PLUGFN_NATS_URL_FILE": false,
	} {
		if v.knows(name) != want {
			t.Errorf("%s: known is %v, want %v", name, !want, want)
		}
	}
}
