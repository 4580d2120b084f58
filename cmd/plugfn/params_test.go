package main

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"pgregory.net/rapid"

	"github.com/plugfn/plugfn/pkg/providers"
)

// typed is an action with a parameter of each type.
func typed(t testing.TB) *providers.Action {
	t.Helper()
	pack, err := providers.Load(fstest.MapFS{"p/provider.yaml": {Data: []byte(`
apiVersion: plugfn.dev/v1
kind: Provider
name: p
version: 1.0.0
display: {name: P, docs: "https://p.example"}
event_prefix: example.p
auth: [{id: none, type: none}]
http: {base_url: "https://p.example"}
actions:
  do:
    summary: Do
    docs: https://p.example/do
    effect: none
    params:
      type: object
      additionalProperties: false
      properties:
        text: {type: string}
        maybe: {type: [string, "null"]}
        count: {type: integer}
        share: {type: number}
        flag: {type: boolean}
        tags: {type: array, items: {type: string}}
        extra: {type: object}
        mode: {enum: [a, b]}
    request: {method: POST, path: /do, body: {encoding: json}}
`)}}, "p")
	if err != nil {
		t.Fatal(err)
	}
	return pack.Actions["do"]
}

func TestReadParams(t *testing.T) {
	action := typed(t)
	file := filepath.Join(t.TempDir(), "p.json")
	if err := os.WriteFile(file, []byte(`{"text":"file"}`), 0o600); err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		name, whole string
		pairs       []string
		want        string
	}{
		{"nothing", "", nil, `{}`},
		{"text stays text", "", []string{"text=42", "maybe=true"}, `{"maybe":"true","text":"42"}`},
		{"typed", "", []string{"count=42", "share=0.5", "flag=true"}, `{"count":42,"flag":true,"share":0.5}`},
		{"JSON", "", []string{`tags=["a","b"]`, `extra={"a":1}`}, `{"extra":{"a":1},"tags":["a","b"]}`},
		{"not what the schema says is left to the server", "", []string{"count=many"}, `{"count":"many"}`},
		{"unknown and untyped are texts", "", []string{"mode=a", "typo=1"}, `{"mode":"a","typo":"1"}`},
		{"raw", "", []string{"maybe:=null", `text:="x"`}, `{"maybe":null,"text":"x"}`},
		{"equals and markup in the value", "", []string{"text=a=b<&>"}, `{"text":"a=b<&>"}`},
		{"empty", "", []string{"text="}, `{"text":""}`},
		{"whole", `{"text":"t"}`, nil, `{"text":"t"}`},
		{"whole, wrong, is left to the server", `[1]`, nil, `[1]`},
		{"from a file", "@" + file, nil, `{"text":"file"}`},
		{"from standard input", "-", nil, `{"text":"stdin"}`},
		{"pairs over whole", "@" + file, []string{"text=pair", "count=1"}, `{"count":1,"text":"pair"}`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := readParams(action, tt.whole, tt.pairs, strings.NewReader(`{"text":"stdin"}`))
			if err != nil {
				t.Fatal(err)
			}
			if string(got) != tt.want {
				t.Errorf("got %s, want %s", got, tt.want)
			}
		})
	}
}

func TestReadParamsRefuses(t *testing.T) {
	for want, args := range map[string][]string{
		"has no name and value":     {"", "text"},
		"--param =x: has no name":   {"", "=x"},
		"--param :=1: has no name":  {"", ":=1"},
		"what follows := is no":     {"", "text:=nope"},
		"given twice":               {"", "text=1", "text=2"},
		"must be a JSON object":     {"[1]", "text=1"},
		"open /nowhere/file":        {"@/nowhere/file"},
		"--params: must be a JSON ": {"null", "text=1"},
	} {
		_, err := readParams(typed(t), args[0], args[1:], strings.NewReader(""))
		var f *failure
		if !errors.As(err, &f) || f.exit != exitUsage || !strings.Contains(f.Error(), want) {
			t.Errorf("%q: got %v, want %q", args, err, want)
		}
	}
}

func TestPairsKeepTheirValue(t *testing.T) {
	action := typed(t)
	rapid.Check(t, func(t *rapid.T) {
		text := rapid.String().Draw(t, "text")
		raw, err := readParams(action, "", []string{"text=" + text}, nil)
		if err != nil {
			t.Fatal(err)
		}
		var got struct{ Text string }
		if err := json.Unmarshal(raw, &got); err != nil || got.Text != strings.ToValidUTF8(text, "\ufffd") {
			t.Fatalf("%q became %q (%v)", text, got.Text, err)
		}
	})
}

func FuzzReadParams(f *testing.F) {
	for _, s := range []string{"a=b", "count=1e999", "tags=[", "a:=", "=", "extra={}", "\x00=\xff"} {
		f.Add(`{"text":"x"}`, s)
	}
	action := typed(f)
	f.Fuzz(func(t *testing.T, whole, pair string) {
		if strings.HasPrefix(whole, "@") {
			return // reads files
		}
		params, err := readParams(action, whole, []string{pair}, strings.NewReader(""))
		if err == nil && !json.Valid(params) {
			t.Errorf("%q and %q gave %q", whole, pair, params)
		}
	})
}

func TestParseNotBefore(t *testing.T) {
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	for in, want := range map[string]time.Time{
		"":                     {},
		"10m":                  now.Add(10 * time.Minute),
		"2026-02-01T00:00:00Z": time.Date(2026, 2, 1, 0, 0, 0, 0, time.UTC),
	} {
		if got, err := aheadFlag("--not-before", in, now); err != nil || !got.Equal(want) {
			t.Errorf("%q: got %s, %v", in, got, err)
		}
	}
	for _, in := range []string{"soon", "-1m", "9000h", "2026-01-02", "2028-01-01T00:00:00Z"} {
		if got, err := aheadFlag("--not-before", in, now); err == nil {
			t.Errorf("%q accepted as %s", in, got)
		}
	}
}
