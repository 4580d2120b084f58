package outbound

import (
	"context"
	"maps"
	"net/http"
	"strings"
	"time"
)

// transport sends each request through the pool of its class.
type transport struct {
	trusted, guarded *http.Transport
	origins          map[string]bool // that are trusted
	any              bool            // every origin is
	maxBody          int64
	timeout          time.Duration
}

// RoundTrip implements [http.RoundTripper].
func (t *transport) RoundTrip(req *http.Request) (*http.Response, error) {
	pool := t.trusted
	if !t.isTrusted(req) {
		if err := checkTarget(req.URL); err != nil {
			if req.Body != nil {
				_ = req.Body.Close() // it was not read
			}
			return nil, err
		}
		pool = t.guarded
	}
	ctx, cancel := t.timed(req.Context())
	resp, err := pool.RoundTrip(prepared(ctx, req))
	if err != nil {
		cancel()
		return nil, explain(err, req.URL.Hostname())
	}
	resp.Request = req
	t.bound(resp, req.Header.Get("Accept-Encoding") == "", cancel)
	return resp, nil
}

// timed is ctx with an end, which is that of the answer as well.
func (t *transport) timed(ctx context.Context) (context.Context, context.CancelFunc) {
	if end, ok := ctx.Deadline(); ok && time.Until(end) <= t.timeout {
		return ctx, func() {}
	}
	return context.WithTimeout(ctx, t.timeout)
}

func (t *transport) isTrusted(req *http.Request) bool {
	return t.any || len(t.origins) > 0 && t.origins[originOf(req.URL)]
}

// CloseIdleConnections is what [http.Client.CloseIdleConnections] calls.
func (t *transport) CloseIdleConnections() {
	t.trusted.CloseIdleConnections()
	t.guarded.CloseIdleConnections()
}

// prepared is the request as it is sent: it asks for gzip, and net/http cannot
// tell that it bears an idempotency key. It would repeat a write for that, in
// the belief that every server honours the header. Header names are the same in
// any case, but not to net/http.
func prepared(ctx context.Context, req *http.Request) *http.Request {
	compress := req.Header.Get("Accept-Encoding") == "" && req.Header.Get("Range") == "" && req.Method != http.MethodHead
	asked := req.WithContext(ctx) // a shallow copy
	asked.Header = make(http.Header, len(req.Header)+1)
	maps.Copy(asked.Header, req.Header)
	if compress {
		asked.Header["Accept-Encoding"] = []string{"gzip"}
	}
	for _, name := range []string{"Idempotency-Key", "X-Idempotency-Key"} {
		if values := asked.Header[name]; values != nil {
			delete(asked.Header, name)
			asked.Header[strings.ToLower(name)] = values
		}
	}
	return asked
}

const maxRedirects = 3

// checkRedirect follows a read to another path of the same origin. The headers
// go along, the credential among them; net/http sends no body with a GET.
func (t *transport) checkRedirect(next *http.Request, via []*http.Request) error {
	first := via[0]
	read := first.Method == http.MethodGet || first.Method == http.MethodHead
	if !read || len(via) > maxRedirects || next.URL.User != nil || originOf(next.URL) != originOf(first.URL) ||
		next.URL.Scheme != "https" && !t.isTrusted(next) {
		return http.ErrUseLastResponse
	}
	next.Header.Del("Referer") // may hold a credential of the query
	return nil
}
