//go:build integration

package executor

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/plugfn/plugfn/internal/limiter"
)

// ledger is a provider that knows how many calls of the noisy user had come
// before each of the others.
type ledger struct {
	mu     sync.Mutex
	noisy  int
	before map[string]int // :: id of a quiet request → noisy calls before it
}

func (l *ledger) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	var body struct{ Title string }
	_ = json.NewDecoder(r.Body).Decode(&body)
	l.mu.Lock()
	if strings.HasPrefix(body.Title, "noisy") {
		l.noisy++
	} else {
		l.before[body.Title] = l.noisy
	}
	l.mu.Unlock()
	_, _ = w.Write([]byte(`{}`))
}

func (l *ledger) seen() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.noisy
}

// One user has a backlog of 5,000 and 40 more in a second, ten others ask once a
// second, and the app may ask 50 times a second. How long a quiet request waits
// is told by how many noisy calls go before it: 50 are a second.
func TestNoisyUser(t *testing.T) {
	const (
		backlog, seconds = 5000, 15
		rate, burst      = 50, 5
	)
	book, asked := &ledger{before: map[string]int{}}, &granted{}
	s := tellPack(t, limitedPack(fmt.Sprintf("  - {id: all, key: [app], rate: %d/1s, burst: %d}\n", rate, burst)), book.ServeHTTP, func(cfg *Config) {
		asked.Limiter = limiter.New(limiter.Config{})
		cfg.Limiter = asked
	})
	s.start()
	published := map[string]int{} // :: id of a quiet request → noisy calls before it was asked for
	ask := func(user string, n int) {
		r := create(n)
		r.Provider, r.UserID, r.ConnectionID = "fake", user, "con_"+user
		r.ID = fmt.Sprintf("%s-%d", user, n)
		r.Params = json.RawMessage(`{"title":"` + r.ID + `"}`)
		if user != "noisy" {
			published[r.ID] = book.seen()
		}
		if err := s.app.PublishMsg(r.Msg(r.Subject())); err != nil {
			t.Error(err)
		}
	}
	for i := range backlog {
		ask("noisy", i)
	}
	ticks := time.NewTicker(100 * time.Millisecond)
	defer ticks.Stop()
	for tick := range seconds * 10 {
		<-ticks.C
		ask(fmt.Sprintf("quiet%d", tick%10), tick/10)
		for i := range 4 {
			ask("noisy", backlog+4*tick+i)
		}
	}
	s.eventually("all of the quiet ones", func() bool {
		book.mu.Lock()
		defer book.mu.Unlock()
		return len(book.before) == len(published)
	})
	asked.mu.Lock()
	done := len(asked.times)
	asked.mu.Unlock()
	calls := asked.calls.Load()

	var waits []int
	for id, before := range published {
		waits = append(waits, book.before[id]-before)
	}
	slices.Sort(waits)
	p99 := waits[len(waits)*99/100]
	t.Logf("%d quiet and %d noisy requests; before a quiet one went, p50 %d and p99 %d noisy calls; the limiter was asked %d times for %d calls",
		len(waits), backlog+40*seconds, waits[len(waits)/2], p99, calls, done)
	if p99 > rate {
		t.Errorf("p99: %d noisy calls before a quiet one that came later, which is more than a second", p99)
	}
	// Each call has its turn, its slot and its release; what waits has its turn.
	if most := 3*done + backlog + 40*seconds + len(waits) - done; int(calls) > most+most/50 {
		t.Errorf("the limiter was asked %d times, want %d at most", calls, most)
	}
	if most := (&door{times: asked.sorted()}).most(time.Second); most > burst+rate {
		t.Errorf("%d calls were let go within a second", most)
	}
}
