package house

import (
	"bytes"
	"io"
	"net/http"
)

// Local is a client of the HTTP side of the house that needs no port: a request
// is answered in the goroutine of whoever makes it. The host in its URL does not
// matter.
func (h *House) Local() *http.Client { return &http.Client{Transport: local{h.mux}} }

// LocalURL begins the addresses for [House.Local].
const LocalURL = "http://plugfn.internal"

// local is a transport to a handler.
type local struct{ handler http.Handler }

// RoundTrip implements [http.RoundTripper].
func (l local) RoundTrip(r *http.Request) (*http.Response, error) {
	in := r.Clone(r.Context())
	in.RequestURI, in.RemoteAddr, in.Host = r.URL.RequestURI(), "127.0.0.1:0", r.URL.Host
	if in.Body == nil {
		in.Body = http.NoBody
	}
	defer in.Body.Close()
	w := &answerWriter{header: http.Header{}}
	l.handler.ServeHTTP(w, in)
	w.WriteHeader(http.StatusOK) // unless it has one
	return &http.Response{
		Status: http.StatusText(w.status), StatusCode: w.status, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Header: w.sent, Body: io.NopCloser(&w.body), ContentLength: int64(w.body.Len()), Request: r,
	}, r.Context().Err()
}

// answerWriter keeps an answer.
type answerWriter struct {
	header, sent http.Header
	status       int // 0: not written yet
	body         bytes.Buffer
}

func (w *answerWriter) Header() http.Header { return w.header }

func (w *answerWriter) WriteHeader(status int) {
	if w.status == 0 {
		w.status, w.sent = status, w.header.Clone()
	}
}

func (w *answerWriter) Write(p []byte) (int, error) {
	w.WriteHeader(http.StatusOK)
	return w.body.Write(p)
}
