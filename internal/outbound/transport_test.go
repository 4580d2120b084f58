package outbound_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/plugfn/plugfn/internal/outbound"
	"github.com/plugfn/plugfn/pkg/events"
)

func tlsOf(server *httptest.Server) *tls.Config {
	return server.Client().Transport.(*http.Transport).TLSClientConfig
}

// near is a client that may call this computer.
func near(t *testing.T, cfg outbound.Config) *http.Client {
	t.Helper()
	cfg.AnyAddress = true
	client := outbound.New(cfg)
	t.Cleanup(client.CloseIdleConnections)
	return client
}

func serve(t *testing.T, handle http.HandlerFunc) *httptest.Server {
	t.Helper()
	server := httptest.NewServer(handle)
	t.Cleanup(server.Close)
	return server
}

func packed(t *testing.T, plain []byte) []byte {
	t.Helper()
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	if _, err := w.Write(plain); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// read asks for a URL and reads its answer.
func read(t *testing.T, client *http.Client, target string, header ...string) ([]byte, *http.Response, error) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, target, nil)
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i+1 < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	resp, err := client.Do(req)
	if err != nil {
		return nil, nil, err
	}
	defer resp.Body.Close()
	raw, err := io.ReadAll(resp.Body)
	return raw, resp, err
}

func TestCompression(t *testing.T) {
	server := serve(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/plain")
		if r.Header.Get("Accept-Encoding") != "gzip" && r.URL.Path != "/always" {
			_, _ = io.WriteString(w, "plain")
			return
		}
		w.Header().Set("Content-Encoding", "gzip")
		switch r.URL.Path {
		case "/empty":
		case "/garbage":
			_, _ = io.WriteString(w, "this is no gzip")
		case "/cut":
			_, _ = w.Write(packed(t, []byte("hello"))[:18])
		default:
			_, _ = w.Write(packed(t, []byte("hello")))
		}
	})
	client := near(t, outbound.Config{})
	raw, resp, err := read(t, client, server.URL)
	if err != nil || string(raw) != "hello" || resp.Header.Get("Content-Encoding") != "" || resp.ContentLength != -1 || !resp.Uncompressed {
		t.Errorf("got %q (%v), %v", raw, resp, err)
	}
	if raw, _, err := read(t, client, server.URL+"/empty"); err != nil || len(raw) != 0 {
		t.Errorf("an empty body gives %q, %v", raw, err)
	}
	for _, path := range []string{"/garbage", "/cut"} {
		if raw, _, err := read(t, client, server.URL+path); err == nil {
			t.Errorf("%s gives %q and no error", path, raw)
		}
	}
	// Who asks himself decompresses himself.
	if raw, resp, err := read(t, client, server.URL+"/always", "Accept-Encoding", "gzip"); err != nil || resp.Header.Get("Content-Encoding") != "gzip" || !bytes.HasPrefix(raw, []byte("\x1f\x8b")) {
		t.Errorf("got %q, %v", raw, err)
	}
}

// A bomb of 64 KiB that would be 64 MiB ends at the limit.
func TestBodyIsBounded(t *testing.T) {
	const limit = 1 << 20
	bomb := packed(t, make([]byte, 64<<20))
	server := serve(t, func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/bomb":
			w.Header().Set("Content-Encoding", "gzip")
			_, _ = w.Write(bomb)
		case "/exact":
			_, _ = w.Write(make([]byte, limit))
		default:
			_, _ = w.Write(make([]byte, limit+1))
		}
	})
	client := near(t, outbound.Config{MaxBody: limit})
	if raw, _, err := read(t, client, server.URL+"/exact"); err != nil || len(raw) != limit {
		t.Errorf("a body of the limit: %d bytes, %v", len(raw), err)
	}
	for _, path := range []string{"/bomb", "/over"} {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		raw, _, err := read(t, client, server.URL+path)
		runtime.ReadMemStats(&after)
		var long *events.Error
		if !errors.As(err, &long) || long.Code != events.CodeProviderRejected || !strings.Contains(long.Message, "1048576") || len(raw) != limit {
			t.Errorf("%s: %d bytes, %v", path, len(raw), err)
		}
		if grown := after.TotalAlloc - before.TotalAlloc; grown > 16*limit {
			t.Errorf("%s: %d bytes were allocated", path, grown)
		}
	}
}

// The header comes and then one byte now and then: the deadline ends it.
func TestDrippingBodyEnds(t *testing.T) {
	server := serve(t, func(w http.ResponseWriter, r *http.Request) {
		for r.Context().Err() == nil {
			_, _ = io.WriteString(w, " ")
			_ = http.NewResponseController(w).Flush()
			time.Sleep(5 * time.Millisecond)
		}
	})
	for name, client := range map[string]*http.Client{
		"of the context": near(t, outbound.Config{}), "of the client": near(t, outbound.Config{Timeout: 100 * time.Millisecond}),
	} {
		ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		if name == "of the client" {
			ctx, cancel = context.WithCancel(t.Context())
		}
		req, _ := http.NewRequestWithContext(ctx, http.MethodGet, server.URL, nil)
		began := time.Now()
		resp, err := client.Do(req)
		if err == nil {
			_, err = io.Copy(io.Discard, resp.Body)
			_ = resp.Body.Close()
		}
		if took := time.Since(began); !errors.Is(err, context.DeadlineExceeded) || took > 5*time.Second {
			t.Errorf("deadline %s: %v after %s", name, err, took)
		}
		cancel()
	}
}

func TestHeaderBomb(t *testing.T) {
	server := serve(t, func(w http.ResponseWriter, _ *http.Request) {
		for i := range 200 {
			w.Header().Set(fmt.Sprintf("X-Bomb-%d", i), strings.Repeat("x", 1000))
		}
	})
	if _, err := get(t, near(t, outbound.Config{}), server.URL); err == nil || !strings.Contains(err.Error(), "headers exceeded") {
		t.Errorf("got %v", err)
	}
}

func TestRedirects(t *testing.T) {
	other := serve(t, func(http.ResponseWriter, *http.Request) { t.Error("the other host was called") })
	var bodies atomic.Int32
	server := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if raw, _ := io.ReadAll(r.Body); len(raw) > 0 {
			bodies.Add(1)
		}
		w.Header().Set("X-Got", r.Header.Get("X-Api-Key")+r.Header.Get("Referer"))
		code := http.StatusFound
		if r.URL.Path == "/same307" {
			code = http.StatusTemporaryRedirect
		}
		switch r.URL.Path {
		case "/same", "/same307":
			http.Redirect(w, r, "/end", code)
		case "/loop":
			http.Redirect(w, r, "/loop", code)
		case "/other":
			http.Redirect(w, r, other.URL, code)
		case "/port":
			http.Redirect(w, r, "https://127.0.0.1:1/", code)
		case "/plain":
			http.Redirect(w, r, "http://"+r.Host+"/end", code)
		case "/user":
			http.Redirect(w, r, "https://u:p@"+r.Host+"/end", code)
		}
	}))
	defer server.Close()
	client := near(t, outbound.Config{TLS: tlsOf(server)})
	for path, want := range map[string]int{"/same": 200, "/same307": 200, "/loop": 302, "/other": 302, "/port": 302, "/plain": 302, "/user": 302} {
		_, resp, err := read(t, client, server.URL+path+"?key=s3cret", "X-Api-Key", "k")
		if err != nil || resp.StatusCode != want || resp.Header.Get("X-Got") != "k" {
			t.Errorf("%s: %v, %v, want status %d and the credential once more", path, resp, err, want)
		}
	}
	if n := bodies.Load(); n != 0 {
		t.Errorf("%d bodies came with reads", n)
	}
	for _, path := range []string{"/same", "/same307"} {
		req, _ := http.NewRequestWithContext(t.Context(), http.MethodPost, server.URL+path, strings.NewReader("x"))
		resp, err := client.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		_ = resp.Body.Close()
		if resp.StatusCode/100 != 3 {
			t.Errorf("a write was redirected by %s", path)
		}
	}
	if n := bodies.Load(); n != 2 {
		t.Errorf("the bodies of 2 writes came %d times", n)
	}
}

// The server takes a write, and cuts the connection. With an idempotency key,
// net/http would send it again of its own accord.
func TestWriteIsSentOnce(t *testing.T) {
	for _, name := range []string{"Idempotency-Key", "X-Idempotency-Key", "X-Other"} {
		for _, method := range []string{http.MethodPost, http.MethodDelete} {
			var writes atomic.Int32
			server := serve(t, func(w http.ResponseWriter, r *http.Request) {
				if r.Method == http.MethodGet {
					return
				}
				if writes.Add(1); r.Header.Get(name) != "k1" {
					t.Errorf("%s came as %v", name, r.Header)
				}
				conn, _, err := http.NewResponseController(w).Hijack()
				if err != nil {
					t.Error(err)
					return
				}
				_ = conn.Close()
			})
			client := near(t, outbound.Config{})
			if _, err := get(t, client, server.URL); err != nil { // so that there is a connection to use again
				t.Fatal(err)
			}
			var body io.Reader
			if method == http.MethodPost {
				body = strings.NewReader(`{}`)
			}
			req, _ := http.NewRequestWithContext(t.Context(), method, server.URL, body)
			req.Header.Set(name, "k1")
			if resp, err := client.Do(req); err == nil {
				_ = resp.Body.Close()
				t.Errorf("%s with %s: no error", method, name)
			}
			if n := writes.Load(); n != 1 {
				t.Errorf("%s with %s was sent %d times", method, name, n)
			}
			if req.Header.Get(name) != "k1" {
				t.Errorf("the caller's header was changed: %v", req.Header)
			}
		}
	}
}

// A dead proxy in the environment is not asked.
func TestNoProxy(t *testing.T) {
	t.Setenv("HTTPS_PROXY", "http://127.0.0.1:1")
	t.Setenv("HTTP_PROXY", "http://127.0.0.1:1")
	server := serve(t, func(http.ResponseWriter, *http.Request) {})
	if status, err := get(t, near(t, outbound.Config{}), server.URL); err != nil || status != http.StatusOK {
		t.Errorf("%d, %v", status, err)
	}
}

func TestHTTP2(t *testing.T) {
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { _, _ = io.WriteString(w, r.Proto) }))
	server.EnableHTTP2 = true
	server.StartTLS()
	defer server.Close()
	if raw, _, err := read(t, near(t, outbound.Config{TLS: tlsOf(server)}), server.URL); err != nil || string(raw) != "HTTP/2.0" {
		t.Errorf("got %q, %v", raw, err)
	}
}

// A host that answers nothing at all ends with the context, and what asked it is
// gone afterwards: goleak says so.
func TestSilentHost(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	req, _ := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+l.Addr().String(), nil)
	if resp, err := near(t, outbound.Config{}).Do(req); err == nil {
		_ = resp.Body.Close()
		t.Error("an answer came")
	}
}
