package house

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/rs/zerolog"
	"go.uber.org/goleak"
)

const patience = 20 * time.Second

func eventually(what string, ok func() bool) error {
	for end := time.Now().Add(patience); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
		if ok() {
			return nil
		}
	}
	return fmt.Errorf("%s: not within %s", what, patience)
}

// runner is a service made of a function.
type runner func(context.Context) error

func (r runner) Run(ctx context.Context) error { return r(ctx) }

func newHouse(t *testing.T, services ...service) *House {
	t.Helper()
	l, err := listen(t.Context(), "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	h := &House{
		Process: &Process{cfg: Config{DrainTimeout: patience}, log: zerolog.Nop(), listener: l},
		mux:     http.NewServeMux(), health: newHealth(), services: services,
	}
	h.health.mount(h.mux)
	return h
}

// TestHouseStopsInOrder stops it with a request in hand: readiness goes off
// first, and the services go on until the request is answered.
func TestHouseStopsInOrder(t *testing.T) {
	defer goleak.VerifyNone(t, goleak.IgnoreCurrent())
	var serviceEnded atomic.Bool
	h := newHouse(t, runner(func(ctx context.Context) error {
		<-ctx.Done()
		serviceEnded.Store(true)
		return nil
	}))
	inHand, finish := make(chan struct{}), make(chan struct{})
	h.mux.HandleFunc("/slow", func(w http.ResponseWriter, _ *http.Request) {
		close(inHand)
		<-finish
		if serviceEnded.Load() {
			w.WriteHeader(http.StatusInternalServerError)
		}
	})
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- h.Run(ctx) }()
	client := &http.Client{Transport: &http.Transport{}}
	defer client.CloseIdleConnections()
	status := make(chan int, 1)
	go func() {
		answer, err := client.Get(h.URL() + "/slow")
		if err != nil {
			status <- 0
			return
		}
		answer.Body.Close()
		status <- answer.StatusCode
	}()
	<-inHand
	stop()
	if err := eventually("readiness is off", func() bool { return h.health.draining.Load() }); err != nil {
		t.Fatal(err)
	}
	close(finish)
	if got := <-status; got != http.StatusOK {
		t.Errorf("the request in hand got status %d", got)
	}
	if err := <-ended; err != nil || !serviceEnded.Load() {
		t.Errorf("ended with %v, services ended: %v", err, serviceEnded.Load())
	}
}

func TestHouseStopsWithItsFirstService(t *testing.T) {
	defer goleak.VerifyNone(t, goleak.IgnoreCurrent())
	broken := errors.New("broken")
	h := newHouse(t,
		runner(func(context.Context) error { return broken }),
		runner(func(ctx context.Context) error { <-ctx.Done(); return nil }))
	if err := h.Run(t.Context()); !errors.Is(err, broken) {
		t.Errorf("got %v", err)
	}
}

func TestReadyz(t *testing.T) {
	var trouble error
	h := newHealth(check{"bus", func(context.Context) error { return trouble }})
	mux := http.NewServeMux()
	h.mount(mux)
	get := func(path string) (int, string) {
		w := httptest.NewRecorder()
		mux.ServeHTTP(w, httptest.NewRequest(http.MethodGet, path, nil))
		text, _ := io.ReadAll(w.Body)
		return w.Code, string(text)
	}
	for _, tt := range []struct {
		name    string
		trouble error
		drain   bool
		status  int
		text    string
	}{
		{"ready", nil, false, 200, "[+] bus ok\n[+] serving ok\nok\n"},
		{"not ready", errors.New("away"), false, 503, "[-] bus: away\n[+] serving ok\nnot ready\n"},
		{"stopping", nil, true, 503, "[+] bus ok\n[-] serving: stopping\nnot ready\n"},
	} {
		trouble = tt.trouble
		h.draining.Store(tt.drain)
		if status, text := get("/readyz?verbose"); status != tt.status || text != tt.text {
			t.Errorf("%s: %d %q", tt.name, status, text)
		}
		if status, text := get("/readyz"); status != tt.status || strings.Contains(text, "bus") {
			t.Errorf("%s: %d %q", tt.name, status, text)
		}
		if status, _ := get("/livez"); status != 200 {
			t.Errorf("%s: /livez answers %d", tt.name, status)
		}
	}
}

// TestStartupz is off until the process was ready once, whatever comes later.
func TestStartupz(t *testing.T) {
	trouble := errors.New("away")
	h := newHealth(check{"bus", func(context.Context) error { return trouble }})
	mux := http.NewServeMux()
	h.mount(mux)
	get := func(path string) int {
		w := httptest.NewRecorder()
		mux.ServeHTTP(w, httptest.NewRequest(http.MethodGet, path, nil))
		return w.Code
	}
	if got := get("/startupz"); got != 503 {
		t.Errorf("before it was ready: %d", got)
	}
	trouble = nil
	if got := get("/startupz"); got != 200 {
		t.Errorf("ready: %d", got)
	}
	trouble = errors.New("away again")
	if got := get("/startupz"); got != 200 || get("/readyz") != 503 {
		t.Errorf("not ready any more: %d", got)
	}
}

func TestListenNamesTheFix(t *testing.T) {
	l, err := listen(t.Context(), "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	_, err = listen(t.Context(), l.Addr().String())
	var trouble *Trouble
	if !errors.As(err, &trouble) || !strings.Contains(trouble.What, "another program listens") || trouble.Fix == "" {
		t.Errorf("got %v", err)
	}
	if _, err = listen(t.Context(), "256.0.0.1:0"); err == nil {
		t.Error("listens nowhere")
	}
}
