package workflow_test

import (
	"bytes"
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/plugfn/plugfn/pkg/workflow"
)

var update = flag.Bool("update", false, "write the golden files")

func examples(t testing.TB) map[string][]byte {
	t.Helper()
	files, err := filepath.Glob("../../examples/workflows/*.yaml")
	if err != nil {
		t.Fatal(err)
	}
	all := map[string][]byte{}
	for _, file := range files {
		if all[filepath.Base(file)], err = os.ReadFile(file); err != nil {
			t.Fatal(err)
		}
	}
	return all
}

// roundTrip has YAML → JSON → YAML → JSON keep the meaning.
func roundTrip(t *testing.T, d *workflow.Definition) {
	t.Helper()
	first, err := d.JSON()
	if err != nil {
		t.Fatal(err)
	}
	fromJSON, err := workflow.Parse(first)
	if err != nil {
		t.Fatalf("%s: %v", first, err)
	}
	text, err := fromJSON.YAML()
	if err != nil {
		t.Fatal(err)
	}
	fromYAML, err := workflow.Parse(text)
	if err != nil {
		t.Fatalf("%s\n%v\n%s", first, err, text)
	}
	second, err := fromYAML.JSON()
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(first, second) {
		t.Errorf("%s\nbecomes\n%s\nby\n%s", first, second, text)
	}
	if changes := workflow.Diff(d, fromYAML); len(changes) > 0 {
		t.Errorf("changes: %v", changes)
	}
}

func FuzzRoundTrip(f *testing.F) {
	for _, text := range examples(f) {
		f.Add(text)
	}
	f.Add([]byte(`{"name":"x","trigger":{"manual":{}},"vars":{"a":1.50,"b":"\ud83d\ude00 \u2028 'x' \" : # \n y","c":null,"d":[true,{"e":"1"}]},"steps":[{"id":"a","delay":{"for":"1w2d3h4m5.5s"}}]}`))
	f.Add([]byte("name: x\ntrigger: {run: {workflow: y, state: [failed, completed]}}\nvars: {a: '  x', b: \"\\t\", c: 'yes', d: '~', e: '0x1', f: \"a\\n b\\n\"}\nsteps: []"))
	f.Fuzz(func(t *testing.T, data []byte) {
		d, err := workflow.Parse(data)
		if err != nil {
			return
		}
		_, _ = workflow.Compile(d, options())
		_ = d.Mermaid()
		roundTrip(t, d)
	})
}

func TestSchema(t *testing.T) {
	const golden = "testdata/workflow.schema.json"
	got := workflow.Schema()
	if *update {
		if err := os.WriteFile(golden, got, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil || !bytes.Equal(got, want) {
		t.Errorf("%s is old: go test ./pkg/workflow -run TestSchema -update (%v)", golden, err)
	}
	c := jsonschema.NewCompiler()
	document, err := jsonschema.UnmarshalJSON(bytes.NewReader(got))
	if err != nil {
		t.Fatal(err)
	}
	if err := c.AddResource("workflow", document); err != nil {
		t.Fatal(err)
	}
	compiled := c.MustCompile("workflow")
	for name, text := range examples(t) {
		d, err := workflow.Parse(text)
		if err != nil {
			t.Fatal(err)
		}
		data, err := d.JSON()
		if err != nil {
			t.Fatal(err)
		}
		var v any
		if err := json.Unmarshal(data, &v); err != nil {
			t.Fatal(err)
		}
		if err := compiled.Validate(v); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		steps := v.(map[string]any)["steps"].([]any)
		steps[0].(map[string]any)["unknown"] = true
		if compiled.Validate(v) == nil {
			t.Errorf("%s: an unknown key is valid", name)
		}
	}
}

func parse(t testing.TB, text string) *workflow.Definition {
	t.Helper()
	d, err := workflow.Parse([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func TestDiff(t *testing.T) {
	from := parse(t, head+"  - {id: a, filter: 'true'}\n  - {id: b, set: {count: 1}}\n  - {id: c, delay: {for: 1h}}")
	to := parse(t, head+"  - {id: a, filter: 'false'}\n  - {id: n, respond: {data: 1}}\n  - {id: b, set: {count: 1}}\ntimeout: 2d")
	var got []string
	for _, c := range workflow.Diff(from, to) {
		got = append(got, c.String())
	}
	want := []string{
		`~ steps.a.filter: "true" → "false"`,
		`- steps.c: {"delay":{"for":"1h"},"id":"c"}`,
		`+ steps.n: {"id":"n","respond":{"data":1}}`,
		`+ timeout: "2d"`,
	}
	if strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	moved := workflow.Diff(from, parse(t, head+"  - {id: b, set: {count: 1}}\n  - {id: a, filter: 'true'}\n  - {id: c, delay: {for: 1h}}"))
	if len(moved) != 1 || moved[0].Path != "steps.order" {
		t.Errorf("a moved step is %v", moved)
	}
}

func TestMermaid(t *testing.T) {
	var all strings.Builder
	for _, name := range []string{"label-and-assign.yaml", "nightly-digest.yaml", "approval.yaml", "failure-to-issue.yaml"} {
		all.WriteString(parse(t, string(examples(t)[name])).Mermaid())
	}
	const golden = "testdata/examples.mmd"
	if *update {
		if err := os.WriteFile(golden, []byte(all.String()), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil || all.String() != string(want) {
		t.Errorf("%s is old (%v), got\n%s", golden, err, all.String())
	}
}

func TestDuration(t *testing.T) {
	for text, want := range map[string]string{
		"90s": "1m30s", "2h": "2h", "24h": "1d", "36h": "1d12h", "1w": "7d", "1d30m": "1d30m", "1500ms": "1.5s", "365d": "365d", "1h0m5s": "1h0m5s",
	} {
		d, err := workflow.ParseDuration(text)
		if err != nil || d.String() != want {
			t.Errorf("%s is %s, %v, want %s", text, d, err, want)
		}
		if again, err := workflow.ParseDuration(d.String()); again != d {
			t.Errorf("%s is read as %s, %v", d, again, err)
		}
	}
	for _, text := range []string{"", "5", "-5s", "0s", "366d", "1x", "1h1d", "99999w", "1us"} {
		if d, err := workflow.ParseDuration(text); err == nil {
			t.Errorf("%q is %s", text, d)
		}
	}
}
