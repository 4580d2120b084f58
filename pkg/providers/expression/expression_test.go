package expression

import (
	"errors"
	"reflect"
	"strings"
	"testing"

	"github.com/expr-lang/expr/types"
)

func language() Language {
	issue := types.Map{"title": types.String, "number": types.Int, "labels": types.Array(types.Map{"name": types.String})}
	return Language{
		Env:      types.Map{"event": types.Map{"data": types.Map{"issue": issue}}, "input": types.Any},
		Builtins: []string{"len", "map", "filter", "any", "date", "duration"},
		Texts:    true, MaxText: 1000, MaxNodes: 100,
	}
}

func TestRefused(t *testing.T) {
	for _, c := range []struct{ text, want string }{
		{`event.data.isue`, "unknown field isue, did you mean issue? (1:12)"},
		{"event.data\n  .issue.titel", "unknown field titel, did you mean title? (2:10)"},
		{`any(event.data.issue.labels, .nmme == "x")`, "unknown field nmme, did you mean name? (1:31)"},
		{`evnt.data`, "unknown name evnt, did you mean event? (1:1)"},
		{`event.data.issue.title == 5`, `invalid operation: == (mismatched types string and int) (1:24)`},
		{`"#" + event.data.issue.number`, "invalid operation: + (mismatched types string and int): string(…) makes a text of a value (1:5)"},
		{`let x = 1; x`, "let cannot be used here"},
		{`1..5`, "operator .. cannot"},
		{`repeat("a", 5)`, "unknown name repeat"},
		{`map(input, map(#, #))`, "a loop in a loop"},
		{`"a" matches input.pattern`, "operator matches"},
		{`input.call()`, "a call cannot"},
		{`event.data.issue.`, "unexpected end of expression (1:17)"},
		{strings.Repeat("input == 1 || ", 60) + "1", "exceeds"},
		{strings.Repeat("x", 1001), "is longer than 1000 bytes"},
		{`event?.data?.isue`, "unknown field isue"},
	} {
		if _, err := language().Compile(c.text); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%.60q: got %v, want %s", c.text, err, c.want)
		}
	}
}

func TestRun(t *testing.T) {
	values := func() map[string]any {
		v, err := Decode([]byte(`{"event":{"data":{"issue":{"title":"Broken","number":7,"labels":[{"name":"bug"},{"name":"ui"}]}}},
			"input":{"a":1,"f":1.5,"t":"x","list":["p","q"]}}`))
		if err != nil {
			t.Fatal(err)
		}
		return v.(map[string]any)
	}
	for text, want := range map[string]any{
		`event.data.issue.number + 1`:                             8,
		`event.data.issue.title + "!"`:                            "Broken!",
		`input.t + input.t`:                                       "xx",
		`input.a + input.f`:                                       2.5,
		`input.a + 1`:                                             2,
		`join(map(event.data.issue.labels, .name), ", ")`:         "bug, ui",
		`join(map(event.data.issue.labels, "- " + .name), "")`:    "- bug- ui",
		`upper(input.t) + string(input.a) + string(input.absent)`: "X1",
		`toJSON(input.list)`:                                      `["p","q"]`,
		`event.data.issue.absent == nil`:                          nil,
		`fromJSON("[1]")[0]`:                                      1,
		`len(split("a,b", ","))`:                                  2,
		`replace("a.b", ".", "-")`:                                "a-b",
		`(date("2026-01-02T00:00:00Z") + duration("1h")).Hour()`:  nil, // a call
	} {
		p, err := language().Compile(text)
		if want == nil {
			if err == nil {
				t.Errorf("%s is accepted", text)
			}
			continue
		}
		if err != nil {
			t.Errorf("%s: %v", text, err)
			continue
		}
		if got, err := p.Run(values()); err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%s is %v, %v, want %v", text, got, err, want)
		}
	}
	for text, want := range map[string]string{
		`input.list + 1`:          "+ cannot add a list and a number",
		`upper(input.a)`:          "upper wants a text, got a number",
		`input.absent.deeper`:     "cannot fetch deeper from <nil>",
		`fromJSON("{")`:           "is not JSON",
		`join(input.absent, ",")`: "join wants a list, got null",
	} {
		p, err := language().Compile(text)
		if err != nil {
			t.Errorf("%s: %v", text, err)
			continue
		}
		if _, err := p.Run(values()); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want %s", text, err, want)
		}
	}
}

// TestTextsAreBounded has each function make more than a run may.
func TestTextsAreBounded(t *testing.T) {
	list := make([]any, 1000)
	for i := range list {
		list[i] = "x"
	}
	for _, text := range []string{
		`map(input.list, input.long + #)`, `map(input.list, upper(input.long))`, `map(input.list, toJSON(input.long))`,
		`map(input.list, string(input.list))`, `replace(input.long, "x", input.long)`, `join(map(input.list, input.long), "")`,
		`map(input.list, split(input.long, "x"))`, `map(input.list, fromJSON(input.number))`, `join(input.list, input.long)`,
	} {
		p, err := language().Compile(text)
		if err != nil {
			t.Errorf("%s: %v", text, err)
			continue
		}
		values := map[string]any{"input": map[string]any{"list": list, "long": strings.Repeat("x", 5000), "number": strings.Repeat("1", 300)}}
		if _, err := p.Run(values); err == nil || !strings.Contains(err.Error(), "makes texts of more than") {
			t.Errorf("%s: %v", text, err)
		}
	}
}

// TestAbsent has a field that the type promises and the value lacks: it equals
// nothing, and is no end of the run.
func TestAbsent(t *testing.T) {
	for _, text := range []string{`event.data.issue.title == "x"`, `event.data.issue.number == 5`, `(event.data.issue.labels ?? []) == [1]`} {
		p, err := language().Compile(text)
		if err != nil {
			t.Fatal(err)
		}
		values := map[string]any{"event": map[string]any{"data": map[string]any{"issue": map[string]any{}}}}
		if got, err := p.Run(values); err != nil || got != false {
			t.Errorf("%s is %v, %v", text, got, err)
		}
	}
}

func TestPaths(t *testing.T) {
	p, err := language().Compile(`event.data.issue.title == "a" && any(event.data.issue.labels, .name == input.a[0].b) && input.c?.d == upper("x")`)
	if err != nil {
		t.Fatal(err)
	}
	want := [][]string{{"event", "data", "issue", "labels"}, {"event", "data", "issue", "title"}, {"input", "a"}, {"input", "c", "d"}}
	if got := p.Paths(); !reflect.DeepEqual(got, want) {
		t.Errorf("reads %v, want %v", got, want)
	}
	if !p.Reads("event") || p.Reads("data") {
		t.Error("the variables are not event and input")
	}
}

func FuzzCompile(f *testing.F) {
	f.Add(`event.data.issue.title + "x"`)
	f.Add("event\n.data.isue")
	f.Add(`map(input, {"a": #})`)
	f.Fuzz(func(t *testing.T, text string) {
		p, err := language().Compile(text)
		if err != nil {
			if found := (*Error)(nil); errors.As(err, &found) && (found.Line < 1 || found.Column < 1) {
				t.Errorf("%q: at %d:%d", text, found.Line, found.Column)
			}
			return
		}
		_, _ = p.Run(map[string]any{"event": map[string]any{}, "input": []any{1, "a"}})
	})
}
