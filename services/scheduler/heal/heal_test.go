package heal

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/rs/zerolog"
	"go.uber.org/goleak"

	"github.com/plugfn/plugfn/internal/bus"
	"github.com/plugfn/plugfn/internal/bus/bustest"
	"github.com/plugfn/plugfn/pkg/events"
	"github.com/plugfn/plugfn/pkg/providers"
	"github.com/plugfn/plugfn/pkg/providers/providertest"
	"github.com/plugfn/plugfn/services/scheduler"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// github is the executor and the provider behind it.
type github struct {
	*testing.T
	bus *bus.Bus

	pack      *providers.Pack
	answering sync.Mutex // held while a request is answered

	mu       sync.Mutex
	attempts []attempt // the newest first
	arrives  bool      // what is sent again
	refuses  string    // guid that is not sent again
	broken   bool
	again    map[string]int // :: guid → how often it was asked for
	requests int
	read     int // pages asked for at once, the most
}

const pageSize = 100

type attempt struct {
	ID          int64     `json:"id"`
	GUID        string    `json:"guid"`
	DeliveredAt time.Time `json:"delivered_at"`
	StatusCode  int       `json:"status_code"`
}

func newGitHub(t *testing.T) *github {
	t.Helper()
	g := &github{T: t, bus: bustest.New(t), arrives: true, again: map[string]int{}}
	sub, err := g.bus.Conn().Subscribe(events.PrefixAction+">", g.answer)
	if err != nil {
		t.Fatal(err)
	}
	g.pack, _ = packs(t).Pack("github")
	t.Cleanup(func() {
		_ = sub.Unsubscribe()
		g.answering.Lock() // the last answer is stored before the bus goes
	})
	return g
}

// connect stores a connection as the auth service does.
func (g *github) connect(id, auth string) {
	g.Helper()
	kv, err := g.bus.JetStream().KeyValue(g.Context(), events.BucketConnections)
	if err != nil {
		g.Fatal(err)
	}
	c := events.Connection{ID: id, UserID: "operator", Provider: "github", Auth: auth, Status: events.ConnectionActive}
	body, err := json.Marshal(c)
	if err != nil {
		g.Fatal(err)
	}
	if _, err := kv.Put(g.Context(), events.Key(c.UserID, c.Provider, c.ID), body); err != nil {
		g.Fatal(err)
	}
}

func (g *github) sent(guid string, ago time.Duration, status int) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.attempts = slices.Insert(g.attempts, 0, attempt{int64(len(g.attempts)) + 1<<53, guid, time.Now().Add(-ago).UTC(), status})
	slices.SortStableFunc(g.attempts, func(a, b attempt) int { return b.DeliveredAt.Compare(a.DeliveredAt) })
}

func (g *github) answer(msg *nats.Msg) {
	g.answering.Lock()
	defer g.answering.Unlock()
	r, err := events.ParseActionRequest(msg.Subject, msg.Header, msg.Data)
	if err != nil {
		g.Error(err)
		return
	}
	result := events.Result{ID: r.ID, UserID: r.UserID, Provider: r.Provider, Action: r.Action, ConnectionID: r.ConnectionID, Outcome: events.Succeeded}
	result.Data, result.Error = g.execute(&r)
	if r.Action == "app.listHookDeliveries" && result.Error == nil {
		result.Pages, result.More = g.pages(&r)
	}
	if result.Error != nil {
		result.Outcome = events.Failed
	}
	out, err := result.Msg()
	if err == nil {
		_, err = g.bus.JetStream().PublishMsg(context.Background(), out)
	}
	if err != nil {
		g.Error(err)
	}
}

func (g *github) execute(r *events.ActionRequest) (json.RawMessage, *events.Error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.requests++
	if g.broken {
		return nil, events.Errorf(events.CodeProviderUnavailable, "away")
	}
	if r.Action == "app.listHookDeliveries" {
		data, err := json.Marshal(g.attempts[:min(pageSize*max(r.MaxPages, 1), len(g.attempts))])
		if err != nil {
			g.Error(err)
		}
		return data, nil
	}
	var params struct {
		DeliveryID int64 `json:"delivery_id"`
	}
	if err := json.Unmarshal(r.Params, &params); err != nil {
		g.Error(err)
	}
	i := slices.IndexFunc(g.attempts, func(a attempt) bool { return a.ID == params.DeliveryID })
	if i < 0 || g.attempts[i].GUID == g.refuses {
		return nil, events.Errorf(events.CodeProviderRejected, "not found")
	}
	guid, status := g.attempts[i].GUID, 500
	if g.arrives {
		status = 200
	}
	g.again[guid]++
	g.attempts = slices.Insert(g.attempts, 0, attempt{int64(len(g.attempts)) + 1<<53, guid, time.Now().UTC(), status})
	return json.RawMessage(`{}`), nil
}

// pages tells how many pages a request for the list gets, and whether there are
// more.
func (g *github) pages(r *events.ActionRequest) (int, bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	all := (len(g.attempts) + pageSize - 1) / pageSize
	g.read = max(g.read, r.MaxPages)
	return min(all, max(r.MaxPages, 1)), all > max(r.MaxPages, 1)
}

func (g *github) asked() map[string]int {
	g.mu.Lock()
	defer g.mu.Unlock()
	return maps.Clone(g.again)
}

func packs(t *testing.T) *providers.Registry {
	t.Helper()
	all, err := providertest.Catalog()
	if err != nil {
		t.Fatal(err)
	}
	registry, err := providers.NewRegistry(all, nil)
	if err != nil {
		t.Fatal(err)
	}
	return registry
}

func (g *github) heal(dry bool, ahead time.Duration) Record {
	g.Helper()
	all, err := Once(g.Context(), g.bus.JetStream(), g.pack, dry, func() time.Time { return time.Now().Add(ahead) })
	if err != nil || len(all) != 1 {
		g.Fatalf("got %+v, %v", all, err)
	}
	return all[0]
}

func TestFailedDeliveriesAreAskedForOnce(t *testing.T) {
	g := newGitHub(t)
	g.connect("con_user", "oauth") // may not
	g.connect("con_app", "app_itself")
	g.sent("old", 80*time.Hour, 500) // GitHub cannot send it any more
	g.sent("lost", 3*time.Hour, 0)
	g.sent("late", 2*time.Hour, 502)
	g.sent("late", time.Hour, 200) // somebody has clicked
	g.sent("fine", time.Minute, 204)
	g.sent("new", time.Second, 503)

	if r := g.heal(true, 0); r.Asked != 2 || r.Failed != 3 || r.Listed != 6 || len(g.asked()) != 0 {
		t.Errorf("dry: %+v, asked %v", r, g.asked())
	}
	if r := g.heal(false, 0); r.Asked != 2 || r.Lost != 1 || r.Error != "" || r.Gap {
		t.Errorf("first: %+v", r)
	}
	for range 2 {
		if r := g.heal(false, 0); r.Asked != 0 || r.Recovered != 2 || r.Lost != 1 {
			t.Errorf("again: %+v", r)
		}
	}
	if got := g.asked(); !maps.Equal(got, map[string]int{"lost": 1, "new": 1}) {
		t.Errorf("asked for %v", got)
	}
	all, err := Records(t.Context(), g.bus.JetStream(), "github")
	if err != nil || len(all) != 1 || all[0].ConnectionID != "con_app" || all[0].Recovered != 2 || all[0].RanAt.IsZero() {
		t.Errorf("stored %+v, %v", all, err)
	}
}

func TestWhatFailsAgainIsGivenUp(t *testing.T) {
	g := newGitHub(t)
	g.connect("con_app", "app_itself")
	g.arrives, g.refuses = false, "gone"
	g.sent("gone", 2*time.Minute, 500)
	g.sent("bad", time.Minute, 500)
	for range 8 {
		g.heal(false, 0)
	}
	r := g.heal(false, 0)
	if got := g.asked(); got["bad"] != 4 || got["gone"] != 0 || r.Lost != 2 || r.Recovered != 0 || r.Asked != 0 {
		t.Errorf("asked for %v, %+v", got, r)
	}
	// Nothing is kept of what GitHub cannot send any more.
	if r = g.heal(false, 80*time.Hour); len(r.Open) != 0 || r.Lost != 2 {
		t.Errorf("later: %+v", r)
	}
}

func TestAnOutageOfTheProviderLosesNothing(t *testing.T) {
	g := newGitHub(t)
	g.connect("con_app", "app_itself")
	g.heal(false, 0)
	g.sent("one", time.Second, 500)
	g.broken = true
	if r := g.heal(false, 0); !strings.Contains(r.Error, "away") {
		t.Errorf("broken: %+v", r)
	}
	g.broken = false
	if r := g.heal(false, 0); r.Asked != 1 || r.Error != "" {
		t.Errorf("whole again: %+v", r)
	}
}

func TestManyFailures(t *testing.T) {
	g := newGitHub(t)
	g.connect("con_app", "app_itself")
	g.sent("fine", 3*time.Hour, 200)
	if g.heal(false, 0); g.read != 0 {
		t.Errorf("read %d pages where one has all", g.read)
	}
	for i := range 120 {
		g.sent(fmt.Sprint("d", i), time.Hour-time.Duration(i)*time.Second, 500)
	}
	r := g.heal(false, 0)
	if r.Gap || r.Listed != 121 || r.Asked != maxAsked {
		t.Errorf("got %+v: there are two pages, and one run asks for %d", r, maxAsked)
	}
	g.heal(false, 0)
	g.heal(false, 0)
	if got := g.asked(); len(got) != 120 || slices.Max(slices.Collect(maps.Values(got))) != 1 {
		t.Errorf("asked for %d", len(got))
	}
}

func TestAListThatIsTooLongIsAGap(t *testing.T) {
	g := newGitHub(t)
	g.connect("con_app", "app_itself")
	g.sent("fine", 3*time.Hour, 200)
	g.heal(false, 0)
	for i := range maxPages*pageSize + 1 {
		g.sent(fmt.Sprint("d", i), time.Hour-time.Duration(i)*time.Second, 200)
	}
	if r := g.heal(false, 0); !r.Gap || r.Listed != maxPages*pageSize {
		t.Errorf("gap %t, listed %d", r.Gap, r.Listed)
	}
	if r := g.heal(false, 0); r.Gap {
		t.Error("a gap is told once")
	}
}

// TestScheduledOnce has two schedulers and the firings of the bus.
func TestScheduledOnce(t *testing.T) {
	g := newGitHub(t)
	g.connect("con_app", "app_itself")
	g.sent("one", time.Second, 500)
	for range 2 {
		mover, err := scheduler.New(scheduler.Config{JetStream: g.bus.JetStream(), Firings: g.bus, Log: zerolog.Nop()})
		if err != nil {
			t.Fatal(err)
		}
		s, err := New(Config{JetStream: g.bus.JetStream(), Parking: g.bus, Providers: packs(t), Log: zerolog.Nop(), Every: 2 * time.Second})
		if err != nil {
			t.Fatal(err)
		}
		for _, run := range []func(context.Context) error{mover.Run, s.Run} {
			ctx, cancel := context.WithCancel(t.Context())
			ended := make(chan error, 1)
			go func() { ended <- run(ctx) }()
			t.Cleanup(func() {
				cancel()
				if err := <-ended; err != nil {
					t.Error(err)
				}
			})
		}
	}
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		all, err := Records(t.Context(), g.bus.JetStream(), "")
		if err == nil && len(all) == 1 && all[0].Recovered == 1 {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("not recovered: %+v, %v", all, err)
		}
	}
	if got := g.asked(); got["one"] != 1 {
		t.Errorf("asked for %v", got)
	}
}

func TestNewRefuses(t *testing.T) {
	if _, err := New(Config{}); err == nil {
		t.Error("made without a bus")
	}
	b := bustest.New(t)
	cfg := Config{JetStream: b.JetStream(), Parking: b, Providers: packs(t), Every: time.Millisecond}
	if _, err := New(cfg); err == nil {
		t.Error("made with an Every of a millisecond")
	}
	pack, _ := cfg.Providers.Pack("slack")
	if _, err := Once(t.Context(), b.JetStream(), pack, false, time.Now); err == nil {
		t.Error("slack was healed")
	}
}
