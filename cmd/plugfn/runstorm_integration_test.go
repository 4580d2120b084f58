//go:build integration && unix

package main

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/plugfn/plugfn/internal/bus/bustest"
	"github.com/plugfn/plugfn/pkg/events"
)

const stormWorkflow = `
name: storm
trigger: {event: {provider: github, event: push}}
steps:
  - {id: nap, delay: {until: 'now() + duration(event.raw.nap)'}}
  - id: both
    parallel:
      branches:
        a: [{id: pa, action: {use: shop.orders.key, max_attempts: 20, params: {title: '${{ event.raw.n }}-a'}}}]
        b: [{id: pause, delay: {for: 1s}}, {id: pb, action: {use: shop.orders.key, max_attempts: 20, params: {title: '${{ event.raw.n }}-b'}}}]
  - id: each
    foreach: {in: '[1, 2, 3]', limit: 2, steps: [{id: one, action: {use: shop.orders.key, max_attempts: 20, params: {title: '${{ event.raw.n }}-${{ item }}'}}}]}`

// Real schedulers and executors are killed again and again while runs are under
// way, one more of which comes out of its nap every moment: each run ends, each of
// its effects is there once, and its history has no gap.
func TestRunsKilledAgainAndAgain(t *testing.T) {
	t.Parallel()
	const runs, kills, effects = 500, 20, 5
	const patient = 45 * time.Second // without any run that ends
	dir := t.TempDir()
	program := filepath.Join(dir, "plugfn")
	if out, err := exec.Command("go", "build", "-o", program, ".").CombinedOutput(); err != nil {
		t.Fatalf("building plugfn: %v\n%s", err, out)
	}
	packs := filepath.Join(dir, "packs")
	if err := os.MkdirAll(filepath.Join(packs, "shop"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(packs, "shop", "provider.yaml"), []byte(shopPack), 0o600); err != nil {
		t.Fatal(err)
	}
	ledger := &shop{keys: map[string]bool{}}
	server := httptest.NewServer(ledger)
	t.Cleanup(server.Close)
	b := bustest.New(t, bustest.Listen)
	var victims []*victim
	for i, role := range []string{"scheduler", "scheduler", "executor", "auth"} {
		home := filepath.Join(dir, fmt.Sprint(i))
		if err := os.MkdirAll(home, 0o700); err != nil {
			t.Fatal(err)
		}
		v := &victim{T: t, program: program, dir: home, http: freeAddr(t), nats: freeAddr(t), args: []string{"serve", role}, env: []string{
			"PLUGFN_NATS_URL=" + b.ClientURL(), "PLUGFN_PROVIDERS_DIR=" + packs, "PLUGFN_SHOP_BASE_URL=" + server.URL, "PLUGFN_DURABILITY=dev",
		}}
		v.start()
		victims = append(victims, v)
	}
	definition, _ := json.Marshal(map[string]string{"definition": stormWorkflow})
	answer, err := b.Conn().Request("plugfn.svc.scheduler.workflows.u1.apply", definition, 20*time.Second)
	if err != nil || strings.Contains(string(answer.Data), `"error"`) {
		t.Fatalf("%v %s", err, answer.Data)
	}
	js := b.JetStream()
	for i := range runs {
		e := events.Event{
			ID: fmt.Sprint(i), Source: "/plugfn/github/_/_", Type: "com.github.push", UserID: "u1", Provider: "github", EventName: "push",
			DataContentType: "application/json", Data: fmt.Appendf(nil, `{"n":"%d","nap":"%dms"}`, i, 30*i),
		}
		if _, err := js.PublishMsg(t.Context(), e.Msg(events.EventSubject("u1", "github", "push"))); err != nil {
			t.Fatal(err)
		}
	}
	began := time.Now()
	luck := rand.New(rand.NewPCG(uint64(time.Now().UnixNano()), 1))
	for range kills {
		time.Sleep(time.Duration(luck.IntN(300)) * time.Millisecond)
		v := victims[luck.IntN(3)]
		v.kill()
		v.start()
	}
	ends := endsOf(t, js)
	t.Logf("%d kills within %s, after which %d runs had ended", kills, time.Since(began).Round(time.Millisecond), len(ends))
	for patience := time.Now().Add(patient); len(ends) < runs; time.Sleep(200 * time.Millisecond) {
		before := len(ends)
		if ends = endsOf(t, js); len(ends) > before {
			patience = time.Now().Add(patient)
		}
		if time.Now().After(patience) {
			left, _ := b.Conn().Request("plugfn.svc.scheduler.runs.u1.list", []byte(`{"status":"running","limit":2}`), 10*time.Second)
			t.Fatalf("%d of %d runs have ended, %d effects are there; %s", len(ends), runs, len(ledger.keys), left.Data)
		}
	}
	t.Logf("all had ended after %s", time.Since(began).Round(time.Millisecond))
	for run, state := range ends {
		if state != "completed" {
			t.Errorf("%s is %s", run, state)
		}
	}
	ledger.mu.Lock()
	defer ledger.mu.Unlock()
	made := map[string]int{}
	for _, title := range ledger.made {
		made[title]++
	}
	for title, n := range made {
		if n != 1 {
			t.Errorf("%s was made %d times", title, n)
		}
	}
	if len(ends) != runs || len(made) != runs*effects {
		t.Errorf("%d runs and %d effects, want %d and %d", len(ends), len(made), runs, runs*effects)
	}
	t.Logf("%d kills, %d writes for %d effects", kills, ledger.writes, len(made))
}

// endsOf is how the runs ended whose history is complete; one with a gap is a
// failure.
func endsOf(t *testing.T, js jetstream.JetStream) map[string]string {
	t.Helper()
	consumer, err := js.OrderedConsumer(t.Context(), events.StreamRuns, jetstream.OrderedConsumerConfig{FilterSubjects: []string{"plugfn.run.u1.storm.*.*"}})
	if err != nil {
		t.Fatal(err)
	}
	numbers, ends := map[string]map[int]bool{}, map[string]events.RunChange{}
	if left := consumer.CachedInfo().NumPending; left > 0 {
		batch, err := consumer.Fetch(int(left), jetstream.FetchMaxWait(20*time.Second))
		if err != nil {
			t.Fatal(err)
		}
		for msg := range batch.Messages() {
			c, err := events.ParseRunChange(msg.Data())
			if err != nil {
				t.Fatal(err)
			}
			if numbers[c.Run] == nil {
				numbers[c.Run] = map[int]bool{}
			}
			numbers[c.Run][c.Number] = true
			if !c.EndedAt.IsZero() {
				ends[c.Run] = c
			}
		}
	}
	states := map[string]string{}
	for run, end := range ends {
		states[run] = end.State
		for n := 1; n <= end.Number; n++ {
			if !numbers[run][n] {
				t.Errorf("%s has no transition %d of %d", run, n, end.Number)
			}
		}
	}
	return states
}
