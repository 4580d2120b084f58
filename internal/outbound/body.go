package outbound

import (
	"bufio"
	"compress/gzip"
	"context"
	"errors"
	"io"
	"net/http"
	"strings"

	"github.com/plugfn/plugfn/pkg/events"
)

// bound has the body of resp end at MaxBody and, where we asked for it,
// decompresses it. done is called when nothing more is read of it.
func (t *transport) bound(resp *http.Response, compressed bool, done context.CancelFunc) {
	if resp.Body == nil || resp.Body == http.NoBody {
		done()
		return
	}
	b := &body{raw: resp.Body, left: t.maxBody, limit: t.maxBody, done: done}
	if compressed && strings.EqualFold(resp.Header.Get("Content-Encoding"), "gzip") {
		b.packed = true
		resp.Header.Del("Content-Encoding")
		resp.Header.Del("Content-Length")
		resp.ContentLength, resp.Uncompressed = -1, true
	}
	resp.Body = b
}

// body reads an answer. It decompresses as much as it is asked for, and no more.
type body struct {
	raw    io.ReadCloser
	packed bool
	plain  *gzip.Reader // of a packed one, from the first Read on
	left   int64
	limit  int64
	err    error // that the body ended with
	done   context.CancelFunc
}

// Read implements [io.Reader].
func (b *body) Read(p []byte) (int, error) {
	if b.err != nil {
		return 0, b.err
	}
	n, err := b.read(p)
	if b.left -= int64(n); b.left < 0 {
		err = events.Errorf(events.CodeProviderRejected, "the response is longer than %d bytes", b.limit)
		n = max(0, n+int(b.left))
	}
	if b.err = err; err != nil {
		b.done()
	}
	return n, err
}

func (b *body) read(p []byte) (int, error) {
	if !b.packed {
		return b.raw.Read(p)
	}
	if b.plain == nil {
		in := bufio.NewReader(b.raw)
		// An answer without a body may be said to be compressed.
		if _, err := in.Peek(1); errors.Is(err, io.EOF) {
			return 0, io.EOF
		}
		var err error
		if b.plain, err = gzip.NewReader(in); err != nil {
			return 0, err
		}
	}
	return b.plain.Read(p)
}

// Close implements [io.Closer].
func (b *body) Close() error {
	defer b.done()
	return b.raw.Close()
}
