package main

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httputil"
	"net/textproto"
	"net/url"
	"strconv"
	"strings"
)

// maxHead is the longest request line and header in bytes that are read.
const maxHead = 256 << 10

// rawRequest is an HTTP request as a tool has written it to a file.
type rawRequest struct {
	method string
	url    *url.URL
	header http.Header
	body   []byte
	// loose says that nothing in the request tells where its body ends, so that
	// a line break at the end may be the file's.
	loose bool
}

// parseRawRequest reads a request line, header, an empty line and a body, with
// line ends of either kind in the head. The body is taken byte for byte; that of
// a chunked request is put together. It shares data.
func parseRawRequest(data []byte) (*rawRequest, error) {
	head, body := splitHead(data)
	if len(head) > maxHead {
		return nil, fmt.Errorf("the head is longer than %d KiB: an empty line must stand between it and the body", maxHead>>10)
	}
	lines := textproto.NewReader(bufio.NewReader(bytes.NewReader(append(bytes.Clone(head), "\n\n"...))))
	first, err := lines.ReadLine()
	if err != nil || first == "" {
		return nil, errors.New("is empty: want a request line such as POST /webhooks/github HTTP/1.1, the header, an empty line and the body")
	}
	r := &rawRequest{body: body}
	if err := r.requestLine(first); err != nil {
		return nil, err
	}
	header, err := lines.ReadMIMEHeader()
	if err != nil {
		return nil, fmt.Errorf("the header cannot be read: %w", err)
	}
	r.header = http.Header(header)
	return r, r.cutBody()
}

// splitHead splits data at its first empty line.
func splitHead(data []byte) (head, body []byte) {
	at, size := len(data), 0
	for _, gap := range []string{"\r\n\r\n", "\n\n", "\n\r\n"} {
		if i := bytes.Index(data[:min(len(data), at+len(gap))], []byte(gap)); i >= 0 && i < at {
			at, size = i, len(gap)
		}
	}
	return data[:at], data[at+size:]
}

func (r *rawRequest) requestLine(line string) error {
	words := strings.Fields(line)
	if len(words) < 2 || len(words) > 3 || len(words) == 3 && !strings.HasPrefix(words[2], "HTTP/") {
		return fmt.Errorf("line 1: %q is no request line, want such as POST /webhooks/github HTTP/1.1", clip(line, 80))
	}
	u, err := url.ParseRequestURI(words[1])
	if err != nil {
		return fmt.Errorf("line 1: %q is no path or URL", clip(words[1], 80))
	}
	r.method, r.url = words[0], u
	return nil
}

// cutBody leaves what the header says the body to be.
func (r *rawRequest) cutBody() error {
	if strings.EqualFold(r.header.Get("Transfer-Encoding"), "chunked") {
		whole, err := io.ReadAll(httputil.NewChunkedReader(bytes.NewReader(r.body)))
		if err == nil {
			r.body = whole
		}
		r.loose = err != nil // a tool has put it together already
		return nil
	}
	announced := r.header.Get("Content-Length")
	if announced == "" {
		r.loose = true
		return nil
	}
	n, err := strconv.Atoi(announced)
	switch {
	case err != nil || n < 0:
		return fmt.Errorf("header Content-Length: %q is no number of bytes", clip(announced, 40))
	case n > len(r.body):
		return fmt.Errorf("the body has %d bytes and Content-Length says %d: the end is missing, or line ends were changed", len(r.body), n)
	case len(bytes.TrimRight(r.body[n:], "\r\n")) > 0:
		return fmt.Errorf("the body has %d bytes and Content-Length says %d: something stands behind it, or it was changed", len(r.body), n)
	}
	r.body = r.body[:n]
	return nil
}

// trimmed is the body without one line break at its end.
func (r *rawRequest) trimmed() ([]byte, bool) {
	body, ok := bytes.CutSuffix(r.body, []byte("\n"))
	if !ok || !r.loose {
		return nil, false
	}
	return bytes.TrimSuffix(body, []byte("\r")), true
}
