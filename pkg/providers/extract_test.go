package providers

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// compilePointers makes a set of pointers as a pack would.
func compilePointers(t testing.TB, pointers ...string) *pointerSet {
	t.Helper()
	s := &pointerSet{}
	for _, p := range pointers {
		tokens, err := parsePointer(p)
		if err != nil {
			t.Fatal(err)
		}
		s.add(p, tokens)
	}
	return s
}

// extract returns the values that doc has, by pointer.
func (s *pointerSet) extract(doc []byte) (map[string]string, error) {
	spans, err := s.scan(doc)
	if err != nil {
		return nil, err
	}
	found := map[string]string{}
	for p, slot := range s.slots {
		if text, ok := spans[slot].text(doc); ok {
			found[p] = text
		}
	}
	return found, nil
}

func TestExtract(t *testing.T) {
	long := strings.Repeat("x", maxValue)
	tests := map[string]struct {
		doc      string
		pointers []string
		want     map[string]string
	}{
		"members at all levels": {
			`{"a":{"b":"deep"},"n":-1.50e+2,"t":true,"f":false}`,
			[]string{"/a/b", "/n", "/t", "/f"},
			map[string]string{"/a/b": "deep", "/n": "-1.50e+2", "/t": "true", "/f": "false"},
		},
		"what is no scalar is absent": {
			`{"null":null,"object":{},"list":[]}`,
			[]string{"/null", "/object", "/list", "/none"},
			map[string]string{},
		},
		"empty is a value": {`{"a":""}`, []string{"/a"}, map[string]string{"/a": ""}},
		"list indexes": {
			`[["x","y"],{"0":"z"}]`,
			[]string{"/0/1", "/1/0", "/0/01", "/0/-", "/0/2"},
			map[string]string{"/0/1": "y", "/1/0": "z"},
		},
		"escaped reference tokens": {
			`{"a/b":"slash","m~n":"tilde","":"nothing","~1":"both"}`,
			[]string{"/a~1b", "/m~0n", "/", "/~01"},
			map[string]string{"/a~1b": "slash", "/m~0n": "tilde", "/": "nothing", "/~01": "both"},
		},
		"escapes in keys and values": {
			`{"\u0061":"\"\\\/\b\f\n\r\t\u00e9","é":"ü"}`,
			[]string{"/a", "/é"},
			map[string]string{"/a": "\"\\/\b\f\n\r\té", "/é": "ü"},
		},
		"surrogates": {
			`["\ud83d\ude00","\ud83d","\ude00\ud83d","\ud83d\ud83d\ude00","\ud83dx"]`,
			[]string{"/0", "/1", "/2", "/3", "/4"},
			map[string]string{"/0": "😀", "/1": "\ufffd", "/2": "\ufffd\ufffd", "/3": "\ufffd😀", "/4": "\ufffdx"},
		},
		"bytes that are not UTF-8": {"{\"a\":\"\xff\"}", []string{"/a"}, map[string]string{"/a": "\ufffd"}},
		"the last of equal keys wins": {
			`{"a":{"b":"first"},"a":{"c":"last"},"d":"x","d":null}`,
			[]string{"/a/b", "/a/c", "/d"},
			map[string]string{"/a/c": "last"},
		},
		"the whole document": {` "x" `, []string{""}, map[string]string{"": "x"}},
		"a pointer inside another": {
			`{"a":{"b":1}}`,
			[]string{"/a", "/a/b"},
			map[string]string{"/a/b": "1"},
		},
		"values are bounded": {
			`{"a":"` + long + `","b":"` + long + `x","c":"\n` + long + `","d":` + strings.Repeat("1", maxValue+1) + `}`,
			[]string{"/a", "/b", "/c", "/d"},
			map[string]string{"/a": long},
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			got, err := compilePointers(t, tt.pointers...).extract([]byte(tt.doc))
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("values (-want +got):\n%s", diff)
			}
		})
	}
}

func TestExtractBoundsDepth(t *testing.T) {
	set := compilePointers(t, "/a")
	nested := func(n int) []byte { return []byte(strings.Repeat("[", n) + strings.Repeat("]", n)) }
	if _, err := set.scan(nested(maxDepth)); err != nil {
		t.Errorf("%d levels: %v", maxDepth, err)
	}
	if _, err := set.scan(nested(maxDepth + 1)); !errors.Is(err, errTooDeep) {
		t.Errorf("%d levels: got error %v, want %v", maxDepth+1, err, errTooDeep)
	}
	if _, err := set.scan([]byte(strings.Repeat(`{"a":`, 5_000_000))); !errors.Is(err, errTooDeep) {
		t.Errorf("endless nesting: got error %v, want %v", err, errTooDeep)
	}
}

// fuzzPointers lead to places that the seeds have.
var fuzzPointers = []string{"", "/", "/a", "/a/b", "/a/0", "/a/0/b", "/0", "/1/a", "/a~1b", "/~0", "/é", "/\ufffd", "/a/a/a"}

func FuzzExtract(f *testing.F) {
	for _, seed := range []string{
		`{"a":{"b":"c"}}`, `{"a":[{"b":1e5}],"a/b":true,"~":false,"é":null}`, `[1,{"a":"\ud83d\ude00"}]`, `"x"`, `-0.0E-1`,
		`{"a":1,"a":{"b":2},"a":[3]}`, `{"\u0061":"\u0000"}`, "\"\xff\xc3\"", "{\"\xff\":1}", `{"":"","a":{"a":{"a":"x"}}}`,
		``, ` `, `{`, `[1,]`, `{"a"}`, `{"a":}`, `{,}`, `01`, `1.`, `1e`, `-`, `+1`, `.5`, `tru`, `nul`, `truex`, `"\u12"`, `"\x"`, "\"\n\"", "\"\x1f\"", "\"\x7f\"", `1 2`,
		"[" + strings.Repeat("{},[],", 50) + "0]",
		strings.Repeat("[", 64) + strings.Repeat("]", 64), strings.Repeat("[", 65) + strings.Repeat("]", 65),
	} {
		f.Add([]byte(seed))
	}
	set := compilePointers(f, fuzzPointers...)
	f.Fuzz(func(t *testing.T, doc []byte) {
		got, err := set.extract(doc)
		if valid := json.Valid(doc) && depthOf(t, doc) <= maxDepth; valid != (err == nil) {
			t.Fatalf("valid is %v, scan says %v", valid, err)
		}
		if err != nil {
			return
		}
		if diff := cmp.Diff(extractSlowly(t, doc), got); diff != "" {
			t.Errorf("encoding/json disagrees (-json +scan):\n%s", diff)
		}
	})
}

// extractSlowly does what extract does by means of encoding/json.
func extractSlowly(t *testing.T, doc []byte) map[string]string {
	t.Helper()
	dec := json.NewDecoder(bytes.NewReader(doc))
	dec.UseNumber()
	var v any
	if err := dec.Decode(&v); err != nil {
		t.Fatal(err)
	}
	found := map[string]string{}
	for _, p := range fuzzPointers {
		tokens, err := parsePointer(p)
		if err != nil {
			t.Fatal(err)
		}
		at, ok := follow(v, tokens)
		if !ok {
			continue
		}
		if text, ok := scalar(at); ok && len(text) <= maxValue {
			found[p] = text
		}
	}
	return found
}

func depthOf(t *testing.T, doc []byte) (deepest int) {
	t.Helper()
	dec := json.NewDecoder(bytes.NewReader(doc))
	dec.UseNumber()
	for depth := 0; ; {
		token, err := dec.Token()
		if errors.Is(err, io.EOF) {
			return deepest
		}
		if err != nil {
			t.Fatal(err)
		}
		switch token {
		case json.Delim('{'), json.Delim('['):
			depth++
		case json.Delim('}'), json.Delim(']'):
			depth--
		}
		deepest = max(deepest, depth)
	}
}

// benchmarkDoc is about 8 KiB, as webhooks are.
func benchmarkDoc() []byte {
	var b strings.Builder
	b.WriteString(`{"action":"opened","issue":{"number":42,"labels":[`)
	for i := range 40 {
		fmt.Fprintf(&b, `{"id":%d,"node_id":"MDU6TGFiZWwyMDgwNDU5NDY=","url":"https://api.github.com/repos/octo/hello/labels/bug","name":"bug %d","color":"d73a4a","default":true},`, i, i)
	}
	b.WriteString(`{}]},"repository":{"id":1296269,"full_name":"octo/hello","owner":{"id":1,"login":"octo"}},"installation":{"id":4242}}`)
	return []byte(b.String())
}

func BenchmarkExtract(b *testing.B) {
	doc := benchmarkDoc()
	set := compilePointers(b, "/action", "/issue/number", "/repository/id", "/repository/full_name", "/installation/id")
	b.Run("scan", func(b *testing.B) {
		b.SetBytes(int64(len(doc)))
		b.ReportAllocs()
		for b.Loop() {
			spans, err := set.scan(doc)
			if err != nil {
				b.Fatal(err)
			}
			for _, s := range spans {
				if _, ok := s.text(doc); !ok {
					b.Fatal("a value is absent")
				}
			}
		}
	})
	b.Run("map", func(b *testing.B) {
		b.SetBytes(int64(len(doc)))
		b.ReportAllocs()
		for b.Loop() {
			var v map[string]any
			if err := json.Unmarshal(doc, &v); err != nil {
				b.Fatal(err)
			}
		}
	})
}
