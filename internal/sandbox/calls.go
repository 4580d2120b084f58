package sandbox

import (
	"encoding/json"
	"net/http"
	"sync"
	"time"
)

const (
	maxCalls = 100 // remembered
	maxPath  = 512 // bytes of a remembered path
)

// Call is one request to the sandbox. It holds no credential, no query and no
// body.
type Call struct {
	Provider string        `json:"provider"`
	Action   string        `json:"action,omitempty"` // "": the request names none
	Method   string        `json:"method"`
	Path     string        `json:"path"` // escaped, without the provider; at most 512 bytes
	Status   int           `json:"status"`
	At       time.Time     `json:"at"` // when the request came
	Duration time.Duration `json:"duration_ns"`
}

// ring keeps the last calls. The zero value is empty.
type ring struct {
	mu   sync.Mutex
	kept [maxCalls]Call
	n    int // calls so far
}

func (r *ring) add(c Call) {
	c.Path = c.Path[:min(len(c.Path), maxPath)]
	c.Method = c.Method[:min(len(c.Method), maxPath)]
	r.mu.Lock()
	defer r.mu.Unlock()
	r.kept[r.n%maxCalls] = c
	r.n++
}

// last returns the calls that are kept, oldest first.
func (r *ring) last() []Call {
	r.mu.Lock()
	defer r.mu.Unlock()
	calls := []Call{}
	for i := max(0, r.n-maxCalls); i < r.n; i++ {
		calls = append(calls, r.kept[i%maxCalls])
	}
	return calls
}

// Calls returns the last 100 calls, oldest first.
func (s *Sandbox) Calls() []Call { return s.calls.last() }

func (s *Sandbox) listCalls(w http.ResponseWriter) {
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(s.Calls()) // fails only when nobody listens
}
