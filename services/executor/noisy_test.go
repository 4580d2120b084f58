//go:build integration

package executor

import (
	"encoding/json"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/plugfn/plugfn/pkg/events"
)

// One user has a backlog of 5,000 and 40 more in a second, ten others ask once a
// second, and the app may ask 50 times a second.
func TestNoisyUser(t *testing.T) {
	d, asked := &door{}, &counter{}
	s := tellPack(t, limitedPack("  - {id: all, key: [app], rate: 50/1s, burst: 5}\n"), d.ServeHTTP, counting(t, asked, inMemory))
	s.start()
	at := map[string]time.Time{}
	ask := func(user string, n int) {
		r := create(n)
		r.Provider = "fake"
		r.UserID, r.ConnectionID, r.ID = user, "con_"+user, fmt.Sprintf("%s-%d", user, n)
		r.Params = json.RawMessage(`{"title":"` + r.ID + `"}`)
		at[r.ID] = time.Now()
		if err := s.app.PublishMsg(r.Msg(r.Subject())); err != nil {
			t.Error(err)
		}
	}
	sub, err := s.app.SubscribeSync(events.PrefixResult + ">")
	if err != nil {
		t.Fatal(err)
	}
	_ = sub.SetPendingLimits(-1, -1)
	for u := range 10 {
		ask(fmt.Sprintf("quiet%d", u), 0)
	}
	for i := range 5000 {
		ask("noisy", i)
	}
	const seconds = 20
	sent := 5010
	for tick := range seconds * 10 {
		time.Sleep(100 * time.Millisecond)
		ask(fmt.Sprintf("quiet%d", tick%10), 1+tick/10)
		for i := range 4 {
			ask("noisy", 5000+4*tick+i)
		}
		sent += 5
	}
	time.Sleep(3 * time.Second)
	var waits []time.Duration
	done := 0
	for {
		m, err := sub.NextMsg(200 * time.Millisecond)
		if err != nil {
			break
		}
		r, err := events.ParseResult(m.Data)
		if err != nil || r.Outcome != events.Succeeded {
			t.Fatalf("%+v, %v", r, err)
		}
		done++
		if r.UserID != "noisy" {
			waits = append(waits, r.FinishedAt.Sub(at[r.ID]))
		}
	}
	slices.Sort(waits)
	t.Logf("%d sent, %d done, %d of the quiet; p50 %s p99 %s; limiter asked %d times; most in a second %d", sent, done, len(waits),
		waits[len(waits)/2], waits[len(waits)*99/100], asked.calls.Load(), d.most(time.Second))
}
