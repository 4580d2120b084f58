package ingress

import (
	"bytes"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

// counted is a body that knows how much of it was read.
type counted struct {
	io.Reader
	read int64
}

func (c *counted) Read(p []byte) (int, error) {
	n, err := c.Reader.Read(p)
	c.read += int64(n)
	return n, err
}

// What is refused before or while it is read costs no more than it has to: no
// byte of what its head gives away, and no more than the pack allows of what only
// its length does.
func TestRefusedBodiesAreNotRead(t *testing.T) {
	const ten = 10 << 20
	g := open(t)
	service, err := New(Config{JetStream: g.bus.JetStream(), Providers: g.registry})
	if err != nil {
		t.Fatal(err)
	}
	service.index.loaded.Store(true)
	mux := http.NewServeMux()
	service.Mount(mux)
	small, _ := g.registry.Pack("generic")
	limit := bodyLimit(small)
	for name, c := range map[string]struct {
		path, encoding string
		announced      int64
		status         int
		most           int64 // bytes read
	}{
		"no such provider":        {"nosuch", "", ten, http.StatusNotFound, 0},
		"announced too large":     {"generic", "", ten, http.StatusRequestEntityTooLarge, 0},
		"compressed":              {"github", "gzip", ten, http.StatusUnsupportedMediaType, 0},
		"too large, without word": {"generic", "", -1, http.StatusRequestEntityTooLarge, limit + 1},
		"a wrong signature":       {"github", "", ten, http.StatusUnauthorized, ten},
	} {
		body := &counted{Reader: io.LimitReader(zeroes{}, ten)}
		r := httptest.NewRequestWithContext(t.Context(), http.MethodPost, "/webhooks/"+c.path, body)
		r.ContentLength = c.announced
		r.Header.Set("Content-Encoding", c.encoding)
		r.Header.Set("X-Hub-Signature-256", "sha256="+strings.Repeat("0", 64))
		w := httptest.NewRecorder()
		mux.ServeHTTP(w, r)
		if w.Code != c.status || body.read > c.most {
			t.Errorf("%s: %d after %d bytes, want %d after %d at most", name, w.Code, body.read, c.status, c.most)
		}
	}
}

type zeroes struct{}

func (zeroes) Read(p []byte) (int, error) {
	clear(p)
	return len(p), nil
}

// A body that nobody has signed is hashed and not looked at: however much there
// is to parse in it, refusing it takes as many allocations as refusing a short
// one.
func TestUnverifiedBodiesAreNotParsed(t *testing.T) {
	g := open(t)
	service, err := New(Config{JetStream: g.bus.JetStream(), Providers: g.registry})
	if err != nil {
		t.Fatal(err)
	}
	service.index.loaded.Store(true)
	mux := http.NewServeMux()
	service.Mount(mux)
	refuse := func(body []byte) float64 {
		return testing.AllocsPerRun(5, func() {
			r := httptest.NewRequestWithContext(t.Context(), http.MethodPost, "/webhooks/github", bytes.NewReader(body))
			r.Header.Set("Content-Type", "application/json")
			r.Header.Set("X-Github-Event", "push")
			r.Header.Set("X-Hub-Signature-256", "sha256="+strings.Repeat("0", 64))
			w := httptest.NewRecorder()
			if mux.ServeHTTP(w, r); w.Code != http.StatusUnauthorized {
				t.Errorf("status %d", w.Code)
			}
		})
	}
	const grown = 64 // of the body's memory, and of the log
	short := refuse([]byte(`{"a":1}`))
	for name, body := range map[string]string{
		"objects": `[{"a":1}` + strings.Repeat(`,{"a":1}`, 10<<20/8) + `]`,
		"depth":   strings.Repeat("[", 10<<20),
		"garbage": strings.Repeat("\x00\xff", 5<<20),
	} {
		if long := refuse([]byte(body)); long > short+grown {
			t.Errorf("%s: %.0f allocations, and %.0f for a short body", name, long, short)
		}
	}
}
