package ingress

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"net/http"
	"slices"
	"sync"
	"time"
)

// Refusal is a delivery that was refused: what an operator needs to find out
// why, and nothing that a sender could plant or that could be secret.
type Refusal struct {
	Time     time.Time `json:"time"`
	Provider string    `json:"provider"`           // as in the URL, at most 64 bytes
	Endpoint string    `json:"endpoint,omitempty"` // h- and 16 hex digits of its hash; "": the app's
	Reason   string    `json:"reason"`
	Status   int       `json:"status"`
	Bytes    int64     `json:"bytes"`             // as announced, -1: not
	Headers  []string  `json:"headers,omitempty"` // names only, sorted; at most 40
	// Skipped is how many of the same provider and reason came since the one
	// before and are not kept, because there were too many.
	Skipped uint64 `json:"skipped,omitempty"`
	Replica string `json:"replica,omitempty"` // which ingress refused it
}

const (
	ringSize       = 20 // refusals kept of one provider and reason
	refusalsPerSec = 5  // of them, kept in one second
	maxRings       = 512
	maxHeaderNames = 40
	maxHeaderName  = 64 // bytes
	maxNamed       = 64 // bytes of a provider that there is not
	noSuchProvider = "no such provider"
)

// refusals are the last refused deliveries, by provider and reason, so that
// many of one kind do not push out the few of another. They are in memory: who is
// refused is nobody we know, and must not make us write.
type refusals struct {
	mu    sync.Mutex
	rings map[ringKey]*ring
}

type ringKey struct{ provider, reason string }

type ring struct {
	kept    []Refusal
	next    int
	skipped uint64
	second  int64 // the one that inSecond counts
	count   int
}

// add notes that r was refused.
func (l *refusals) add(r *http.Request, status int, reason string, now time.Time) {
	key := ringKey{r.PathValue("provider"), reason}
	if reason == noSuchProvider {
		key.provider = "" // a sender must not choose how many rings there are
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	at := l.rings[key]
	if at == nil {
		if len(l.rings) >= maxRings {
			return
		}
		if l.rings == nil {
			l.rings = map[ringKey]*ring{}
		}
		at = &ring{}
		l.rings[key] = at
	}
	if !at.admits(now) {
		return
	}
	at.put(Refusal{
		Time: now.UTC(), Provider: cut(r.PathValue("provider"), maxNamed), Endpoint: endpointMark(r.PathValue("endpoint")),
		Reason: reason, Status: status, Bytes: r.ContentLength, Headers: headerNames(r.Header),
	})
}

// admits counts a refusal and tells whether it is to be kept.
func (g *ring) admits(now time.Time) bool {
	if s := now.Unix(); s != g.second {
		g.second, g.count = s, 0
	}
	g.count++
	if g.count > refusalsPerSec {
		g.skipped++
		return false
	}
	return true
}

func (g *ring) put(r Refusal) {
	r.Skipped, g.skipped = g.skipped, 0
	if len(g.kept) < ringSize {
		g.kept = append(g.kept, r)
		return
	}
	g.kept[g.next] = r
	g.next = (g.next + 1) % ringSize
}

// last returns up to limit refusals of a provider, or of all, the newest first.
func (l *refusals) last(provider string, limit int) []Refusal {
	l.mu.Lock()
	defer l.mu.Unlock()
	var all []Refusal
	for _, at := range l.rings {
		for _, r := range at.kept {
			if provider == "" || r.Provider == provider {
				all = append(all, r)
			}
		}
	}
	newestFirst(all)
	return all[:min(limit, len(all))]
}

func newestFirst(all []Refusal) {
	slices.SortStableFunc(all, func(a, b Refusal) int {
		return cmp.Or(b.Time.Compare(a.Time), cmp.Compare(a.Provider, b.Provider), cmp.Compare(a.Reason, b.Reason))
	})
}

// endpointMark tells endpoints apart without giving them away: whoever knows
// one may send to it.
func endpointMark(endpoint string) string {
	if endpoint == "" {
		return ""
	}
	sum := sha256.Sum256([]byte(endpoint))
	return "h-" + hex.EncodeToString(sum[:8])
}

// headerNames are the names alone: values hold signatures and tokens.
func headerNames(h http.Header) []string {
	names := make([]string, 0, min(len(h), maxHeaderNames))
	for name := range h {
		if len(names) == maxHeaderNames {
			break
		}
		names = append(names, cut(name, maxHeaderName))
	}
	slices.Sort(names)
	return names
}

func cut(s string, n int) string { return s[:min(len(s), n)] }
