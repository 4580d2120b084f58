package providers

import (
	"net/http"
	"strings"
	"testing"
)

func TestSourceString(t *testing.T) {
	for written, want := range map[string]string{
		"header:x-github-event": "header:X-Github-Event",
		"json:/a/b~1c":          "json:/a/b~1c",
		"json:/a?":              "json:/a?",
		"json:":                 "json:",
		"form:trigger_id":       "form:trigger_id",
		"query:a b":             "query:a b",
		"text:a:b":              "text:a:b",
		"hash:body":             "hash:body",
		"received:10s":          "received:10s",
	} {
		s, err := parseSource(written)
		if err != nil || s.String() != want || s.IsZero() {
			t.Errorf("%s is read as %q, %v", written, s, err)
		}
	}
	if s := (Source{}); !s.IsZero() || s.String() != "" {
		t.Errorf("the zero source is %q", s)
	}
}

func TestSourceRefuses(t *testing.T) {
	for _, written := range []string{
		"", ":", "header", "header:", "header:a b", "header:é", "json:a", "json:/~", "json:/~2", "form:", "query:?", "text:", "hash:", "hash:x", "received:", "received:0s", "received:1500ms", "received:2h", "received:soon", "Header:A", " header:A",
	} {
		if s, err := parseSource(written); err == nil || !strings.Contains(err.Error(), `"`) {
			t.Errorf("%q is read as %+v, %v; want an error that quotes it", written, s, err)
		}
	}
}

func TestSourceFromResponse(t *testing.T) {
	header := http.Header{"X-Request-Id": {"r1", "r2"}, "X-Empty": {""}}
	body, err := parseJSON([]byte(`{"a":{"b":["x",1.50,true,null,{}]},"c/d":"slash","e":""}`))
	if err != nil {
		t.Fatal(err)
	}
	for written, want := range map[string]string{
		"header:x-request-id": "r1",
		"header:X-Empty":      "",
		"header:X-None":       "",
		"json:/a/b/0":         "x",
		"json:/a/b/1":         "1.50",
		"json:/a/b/2":         "true",
		"json:/a/b/3":         "",
		"json:/a/b/4":         "",
		"json:/a/b/5":         "",
		"json:/a/b/-1":        "",
		"json:/a/b/00":        "",
		"json:/a/b/x":         "",
		"json:/c~1d":          "slash",
		"json:/e":             "",
		"json:/e/f":           "",
		"text:x":              "",
		"form:a":              "",
	} {
		s, err := parseSource(written)
		if err != nil {
			t.Fatal(err)
		}
		if got, ok := s.fromResponse(header, body); got != want || ok != (want != "") {
			t.Errorf("%s gives %q, %v; want %q", written, got, ok, want)
		}
	}
	if got, ok := (Source{}).fromResponse(header, body); ok {
		t.Errorf("the zero source gives %q", got)
	}
	if got, ok := (Source{kind: sourceJSON, pointer: []string{"a"}}).fromResponse(nil, nil); ok {
		t.Errorf("no body gives %q", got)
	}
}
