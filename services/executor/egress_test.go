package executor

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/plugfn/plugfn/internal/outbound"
	"github.com/plugfn/plugfn/pkg/events"
)

// A provider whose host is at an address that is not public is not called, and
// the result says what the operator can do.
func TestPrivateProviderIsNotCalled(t *testing.T) {
	s := tell(t, nil, func(c *Config) { c.HTTP = outbound.New(outbound.Config{}) })
	s.start()
	s.request(events.ActionRequest{Action: "things.create", Params: json.RawMessage(`{"title":"a"}`)})
	r := s.results(1)[0]
	if r.Outcome != events.Failed || r.Error.Code != events.CodeProviderRejected || r.Error.Retryable || r.Attempts != 0 || s.provider.count() != 0 {
		t.Errorf("got %+v, %v", r, r.Error)
	}
}

func bomb(t *testing.T) []byte {
	t.Helper()
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	if _, err := w.Write(make([]byte, 32<<20)); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// Whatever a provider answers, there is one result, in time, and nothing of the
// garbage in it.
func TestHostileAnswers(t *testing.T) {
	packed := bomb(t)
	drip := func(w http.ResponseWriter, r *http.Request) {
		for r.Context().Err() == nil {
			_, _ = io.WriteString(w, " ")
			_ = http.NewResponseController(w).Flush()
			time.Sleep(5 * time.Millisecond)
		}
	}
	answers := map[string]http.HandlerFunc{
		"bomb": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Encoding", "gzip")
			_, _ = w.Write(packed)
		},
		"long": func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(bytes.Repeat([]byte("x"), 3<<20)) },
		"garbage": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Encoding", "gzip")
			_, _ = io.WriteString(w, "\x00\x01 no gzip")
		},
		"headers": func(w http.ResponseWriter, _ *http.Request) { w.Header().Set("X-Bomb", strings.Repeat("x", 100<<10)) },
		"drip":    drip,
		"utf8": func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(http.StatusBadRequest)
			_, _ = io.WriteString(w, "{\"message\":\"\xff\xfe\"}")
		},
		"redirect": func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "http://169.254.169.254/latest", http.StatusFound)
		},
	}
	want := map[string]events.Code{
		"bomb": events.CodeProviderRejected, "long": events.CodeProviderRejected, "garbage": events.CodeProviderUnavailable,
		"headers": events.CodeProviderUnavailable, "drip": events.CodeTimeout, "utf8": events.CodeProviderRejected, "redirect": events.CodeProviderRejected,
	}
	s := tell(t, func(w http.ResponseWriter, r *http.Request) {
		answers[strings.TrimPrefix(r.URL.Path, "/things/")](w, r)
	})
	s.start()
	for name := range answers {
		r := events.ActionRequest{ID: name, Action: "things.get", Params: json.RawMessage(`{"id":"` + name + `"}`), MaxAttempts: 1}
		if name == "drip" {
			r.Timeout = 200 * time.Millisecond
		}
		s.request(r)
	}
	for _, r := range s.results(len(answers)) {
		if r.Outcome != events.Failed || r.Error == nil || r.Error.Code != want[r.ID] || len(r.Data) != 0 || r.DurationMS > 5000 {
			t.Errorf("%s gives %+v, %v, want %s", r.ID, r, r.Error, want[r.ID])
		}
	}
}
