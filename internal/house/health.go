package house

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync/atomic"
	"time"
)

// readyTimeout bounds one answer about readiness.
const readyTimeout = 2 * time.Second

// health answers whether the process lives and whether it can work.
//
//	GET /livez      200 as long as the process answers; asks nobody
//	GET /readyz     200, or 503 while something is missing or the process stops;
//	                ?verbose lists the checks, and what else is worth knowing
//	GET /startupz   503 until the process was ready for the first time, then 200
//	                for ever: what is missing later is no reason to start again
type health struct {
	checks   []check
	notes    []note
	started  atomic.Bool
	draining atomic.Bool
}

// check is one thing that must be right for work to be taken.
type check struct {
	name  string
	ready func(context.Context) error
}

// note is something to know that cannot be wrong.
type note struct {
	name string
	tell func(context.Context) string
}

func (h *health) mount(mux *http.ServeMux) {
	mux.HandleFunc("GET /livez", func(w http.ResponseWriter, _ *http.Request) { answer(w, http.StatusOK, "ok\n") })
	mux.HandleFunc("GET /readyz", h.serve)
	mux.HandleFunc("GET /startupz", func(w http.ResponseWriter, r *http.Request) {
		if h.started.Load() {
			answer(w, http.StatusOK, "ok\n")
			return
		}
		h.serve(w, r)
	})
}

func (h *health) serve(w http.ResponseWriter, r *http.Request) {
	ctx, cancel := context.WithTimeout(r.Context(), readyTimeout)
	defer cancel()
	lines, err := h.look(ctx)
	status, text := http.StatusOK, "ok\n"
	if err != nil {
		status, text = http.StatusServiceUnavailable, "not ready\n"
	}
	if r.URL.Query().Has("verbose") {
		for _, n := range h.notes {
			lines = append(lines, "[i] "+n.name+": "+n.tell(ctx))
		}
		text = strings.Join(lines, "\n") + "\n" + text
	}
	answer(w, status, text)
}

func newHealth(checks ...check) *health {
	h := &health{}
	h.checks = append(checks, check{"serving", h.serving})
	return h
}

// look makes all checks; the error joins what is wrong.
func (h *health) look(ctx context.Context) (lines []string, err error) {
	var problems []error
	for _, c := range h.checks {
		line := "[+] " + c.name + " ok"
		if err := c.ready(ctx); err != nil {
			line = "[-] " + c.name + ": " + err.Error()
			problems = append(problems, fmt.Errorf("%s: %w", c.name, err))
		}
		lines = append(lines, line)
	}
	if len(problems) == 0 {
		h.started.Store(true)
	}
	return lines, errors.Join(problems...)
}

func (h *health) serving(context.Context) error {
	if h.draining.Load() {
		return errors.New("stopping")
	}
	return nil
}

// wait returns when all is ready, or with an error when ctx ends.
func (h *health) wait(ctx context.Context) error {
	const pause = 2 * time.Millisecond
	for {
		_, err := h.look(ctx)
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return errors.Join(ctx.Err(), err)
		case <-time.After(pause):
		}
	}
}

func answer(w http.ResponseWriter, status int, text string) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	_, _ = w.Write([]byte(text)) // the client went away
}
