package draft_test

import (
	"errors"
	"flag"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/plugfn/plugfn/cmd/plugfn/draft"
	"github.com/plugfn/plugfn/pkg/providers"
)

var update = flag.Bool("update", false, "write the golden files")

// written drafts a pack and returns its files.
func written(t testing.TB, data []byte, o draft.Options) (d *draft.Draft, files map[string]string) {
	t.Helper()
	d, err := draft.Read(data, o)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	folder, err := d.Write(dir, false)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := providers.Load(os.DirFS(dir), o.Name); err != nil {
		t.Fatal(err)
	}
	files = map[string]string{}
	err = fs.WalkDir(os.DirFS(folder), ".", func(name string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		text, err := os.ReadFile(filepath.Join(folder, name))
		files[name] = string(text)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return d, files
}

// TestKinds compares what becomes of each kind of description, its notes among
// it, with what a person has looked at.
func TestKinds(t *testing.T) {
	for _, name := range []string{"desk.yaml", "shop.json", "drive.json"} {
		t.Run(name, func(t *testing.T) {
			data, err := os.ReadFile("testdata/" + name)
			if err != nil {
				t.Fatal(err)
			}
			provider, _, _ := strings.Cut(name, ".")
			d, files := written(t, data, draft.Options{Name: provider})
			var b strings.Builder
			for _, file := range slices.Sorted(keys(files)) {
				b.WriteString("-- " + file + " --\n" + files[file])
			}
			b.WriteString("-- notes --\n" + strings.Join(d.Report(), "\n") + "\n")
			golden := "testdata/" + provider + ".golden.txtar"
			if *update {
				if err := os.WriteFile(golden, []byte(b.String()), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(golden)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(string(want), b.String()); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func keys(m map[string]string) func(func(string) bool) {
	return func(yield func(string) bool) {
		for k := range m {
			if !yield(k) {
				return
			}
		}
	}
}

// TestSelect chooses operations by id, path, method and tag, and counts what is
// left out.
func TestSelect(t *testing.T) {
	desk, err := os.ReadFile("testdata/desk.yaml")
	if err != nil {
		t.Fatal(err)
	}
	for pattern, want := range map[string][]string{
		"tickets/*":  {"tickets.create", "tickets.delete", "tickets.list", "tickets.replace"},
		"*/files/*":  {"files.download"},
		"DELETE *":   {"tickets.delete"},
		"files.u*":   {"files.upload"},
		"/tickets/*": {"files.download", "files.upload", "tickets.delete", "tickets.replace"},
	} {
		d, err := draft.Read(desk, draft.Options{Name: "desk", Select: []string{pattern}})
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, act := range d.Actions {
			got = append(got, act.Name)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", pattern, diff)
		}
	}
	d, err := draft.Read(desk, draft.Options{Name: "desk", Select: []string{"tickets/*"}, MaxActions: 2})
	if err != nil || len(d.Actions) != 2 || d.LeftOut == 0 {
		t.Errorf("with at most 2: %d actions, %d left out, %v", len(d.Actions), d.LeftOut, err)
	}
	var chosen *draft.SelectError
	if _, err := draft.Read(desk, draft.Options{Name: "desk", Select: []string{"nothing/*"}}); !errors.As(err, &chosen) || !strings.Contains(err.Error(), "tickets.") {
		t.Errorf("a pattern that fits nothing gives %v", err)
	}
}

// TestRefused gives the place of what is wrong.
func TestRefused(t *testing.T) {
	for text, want := range map[string]string{
		"":                                  "is empty",
		"{\"openapi\": \"3.0.0\",\n  oops}": "line 2, column 3",
		"openapi: 3.0.0\npaths: [\n":        "line 2",
		"just text":                         "must be a mapping",
		"a: 1":                              "says neither openapi",
		"openapi: 4.0.0":                    "version 4.0.0",
		"openapi: 3.0.0\nservers: [{url: 'https://a.example'}]":                                  "no operation",
		"openapi: 3.0.0\npaths: {/a: {get: {}}}":                                                 "servers is missing",
		"openapi: 3.0.0\nservers: [{url: '/v1'}]\npaths: {/a: {get: {}}}":                        "none of its servers",
		"openapi: 3.0.0\nservers: [{url: 'https://a.example'}]\npaths: {'/a/{b}{c}': {get: {}}}": "GET /a/{b}{c}: left out: two parameters",
		"a: &a [x,x,x,x,x,x,x,x,x,x]\nb: &b [*a,*a,*a,*a,*a,*a,*a,*a,*a,*a]\nc: &c [*b,*b,*b,*b,*b,*b,*b,*b,*b,*b]\nd: &d [*c,*c,*c,*c,*c,*c,*c,*c,*c,*c]\n" +
			"e: &e [*d,*d,*d,*d,*d,*d,*d,*d,*d,*d]\nf: &f [*e,*e,*e,*e,*e,*e,*e,*e,*e,*e]\ng: [*f,*f,*f,*f,*f,*f,*f,*f,*f,*f]": "excessive aliasing|more than",
	} {
		_, err := draft.Read([]byte(text), draft.Options{Name: "x"})
		if err == nil || !slices.ContainsFunc(strings.Split(want, "|"), func(w string) bool { return strings.Contains(err.Error(), w) }) {
			t.Errorf("%.40q gives %v, want %s", text, err, want)
		}
	}
}

// TestWholeOrNothing leaves what is there alone, and no half of a pack behind.
func TestWholeOrNothing(t *testing.T) {
	desk, err := os.ReadFile("testdata/desk.yaml")
	if err != nil {
		t.Fatal(err)
	}
	d, err := draft.Read(desk, draft.Options{Name: "desk"})
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	for i, force := range []bool{false, true} {
		if _, err := d.Write(dir, force); err != nil {
			t.Fatalf("write %d: %v", i, err)
		}
	}
	if _, err := d.Write(dir, false); !errors.Is(err, draft.ErrExists) {
		t.Errorf("writing over a pack gives %v", err)
	}
	wide := `{"openapi": "3.0.0", "servers": [{"url": "https://a.example"}], "paths": {`
	for i := range 700 {
		wide += `"/` + strings.Repeat("a", 200+i) + strings.Repeat("/b", 300) + `": {"get": {}},`
	}
	d, err = draft.Read([]byte(wide+`"/z": {"get": {}}}}`), draft.Options{Name: "wide", MaxActions: 1000})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := d.Write(dir, true); err == nil || !strings.Contains(err.Error(), "--max-actions") {
		t.Errorf("a pack that is too large gives %v", err)
	}
	left, err := os.ReadDir(dir)
	if err != nil || len(left) != 1 || left[0].Name() != "desk" {
		t.Errorf("left behind: %v, %v", left, err)
	}
}

// FuzzRead makes packs of anything: they are right, or there is none.
func FuzzRead(f *testing.F) {
	for _, name := range []string{"desk.yaml", "shop.json", "drive.json"} {
		data, err := os.ReadFile("testdata/" + name)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		d, err := draft.Read(data, draft.Options{Name: "fuzz"})
		if err != nil {
			if strings.Contains(err.Error(), "goroutine") {
				t.Fatalf("panicked: %v", err)
			}
			return
		}
		dir := t.TempDir()
		if _, err := d.Write(dir, false); err != nil {
			if strings.Contains(err.Error(), "that was made cannot be read") {
				t.Fatal(err)
			}
			return
		}
		if _, err := providers.Load(os.DirFS(dir), "fuzz"); err != nil {
			t.Fatal(err)
		}
	})
}
