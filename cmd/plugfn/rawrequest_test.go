package main

import (
	"bytes"
	"net/http"
	"net/http/httputil"
	"strings"
	"testing"
)

func TestParseRawRequest(t *testing.T) {
	tests := []struct {
		name, text, body, problem string
		loose                     bool
	}{
		{name: "CRLF", text: "POST /w?a=b HTTP/1.1\r\nX-A: 1\r\nContent-Length: 4\r\n\r\n{\n}\n", body: "{\n}\n"},
		{name: "LF", text: "POST /w?a=b HTTP/1.1\nX-A: 1\nContent-Length: 3\n\n{\n}\n", body: "{\n}"},
		{name: "mixed", text: "POST /w?a=b HTTP/1.1\nX-A: 1\r\n\r\n{}\r\n\r\n", body: "{}\r\n\r\n", loose: true},
		{name: "no version", text: "POST https://h/w?a=b\nx-a: 1\n\n{}", body: "{}", loose: true},
		{name: "no body", text: "POST /w?a=b HTTP/1.1\nX-A: 1\n", body: "", loose: true},
		{name: "chunked", text: "POST /w?a=b HTTP/1.1\nX-A: 1\nTransfer-Encoding: chunked\n\n2\r\n{}\r\n0\r\n\r\n", body: "{}"},
		{name: "chunked, put together", text: "POST /w?a=b HTTP/1.1\nX-A: 1\nTransfer-Encoding: chunked\n\n{}", body: "{}", loose: true},
		{name: "empty", problem: "is empty"},
		{name: "only a body", text: `{"a":1}`, problem: "no request line"},
		{name: "no path", text: "POST :// HTTP/1.1\n\n", problem: "no path"},
		{name: "bad header", text: "POST / HTTP/1.1\nnothing\n\n{}", problem: "header"},
		{name: "bad length", text: "POST / HTTP/1.1\nContent-Length: -1\n\n{}", problem: "Content-Length"},
		{name: "cut", text: "POST / HTTP/1.1\nContent-Length: 3\n\n{}", problem: "2 bytes"},
		{name: "more", text: "POST / HTTP/1.1\nContent-Length: 2\n\n{}POST", problem: "6 bytes"},
		{name: "no empty line", text: "POST / HTTP/1.1\nX-A: " + strings.Repeat("a", maxHead), problem: "an empty line"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			r, err := parseRawRequest([]byte(test.text))
			if test.problem != "" {
				if err == nil || !strings.Contains(err.Error(), test.problem) {
					t.Fatalf("got %v, want %q", err, test.problem)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if string(r.body) != test.body || r.loose != test.loose || r.header.Get("X-A") != "1" || r.method != http.MethodPost || r.url.Query().Get("a") != "b" {
				t.Errorf("got %+v, body %q", r, r.body)
			}
		})
	}
}

// TestParseRawRequestOfDump: what Go itself writes is read again.
func TestParseRawRequestOfDump(t *testing.T) {
	sent, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://h/w", bytes.NewReader([]byte("a\r\n\r\nb")))
	if err != nil {
		t.Fatal(err)
	}
	dump, err := httputil.DumpRequestOut(sent, true)
	if err != nil {
		t.Fatal(err)
	}
	r, err := parseRawRequest(dump)
	if err != nil || string(r.body) != "a\r\n\r\nb" || r.header.Get("Host") != "h" {
		t.Errorf("got %+v, %v", r, err)
	}
}

func FuzzParseRawRequest(f *testing.F) {
	f.Add([]byte("POST / HTTP/1.1\r\nContent-Length: 2\r\n\r\n{}\n"))
	f.Add([]byte("POST / HTTP/1.1\nTransfer-Encoding: chunked\n\n2\r\n{}\r\n0\r\n\r\n"))
	f.Add([]byte("\n\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		r, err := parseRawRequest(data)
		if err != nil {
			return
		}
		if r.url == nil || r.method == "" || r.header == nil || len(r.body) > len(data) {
			t.Errorf("got %+v of %q", r, data)
		}
	})
}
