package outbound

import (
	"net/http"
	"strings"
)

// transport sends each request through the pool of its class.
type transport struct {
	trusted, guarded *http.Transport
	origins          map[string]bool // that are trusted
	any              bool            // every origin is
	maxBody          int64
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
	asked := prepared(req)
	resp, err := pool.RoundTrip(asked)
	if err != nil {
		return nil, explain(err, req.URL.Hostname())
	}
	resp.Request = req
	t.bound(resp, req.Header.Get("Accept-Encoding") == "")
	return resp, nil
}

func (t *transport) isTrusted(req *http.Request) bool {
	return t.any || t.origins[originOf(req.URL)]
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
func prepared(req *http.Request) *http.Request {
	compress := req.Header.Get("Accept-Encoding") == "" && req.Header.Get("Range") == "" && req.Method != http.MethodHead
	keyed := req.Header["Idempotency-Key"] != nil || req.Header["X-Idempotency-Key"] != nil
	if !compress && !keyed {
		return req
	}
	asked := req.WithContext(req.Context()) // a shallow copy
	asked.Header = req.Header.Clone()
	if asked.Header == nil {
		asked.Header = http.Header{}
	}
	if compress {
		asked.Header.Set("Accept-Encoding", "gzip")
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
