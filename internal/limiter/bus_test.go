package limiter

import (
	"context"
	"encoding/json"
	"net/http"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/rs/zerolog"

	"github.com/plugfn/plugfn/internal/bus"
	"github.com/plugfn/plugfn/internal/bus/bustest"
	"github.com/plugfn/plugfn/pkg/providers"
	"github.com/plugfn/plugfn/pkg/providers/catalog"
)

// run runs something until the test ends.
func run(t *testing.T, do func(context.Context) error) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- do(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
}

// eventually waits until something holds.
func eventually(t *testing.T, holds func() bool) {
	t.Helper()
	for end := time.Now().Add(10 * time.Second); !holds(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("it does not come about")
		}
	}
}

// asExecutor connects with an executor's permissions.
func asExecutor(t *testing.T, b *bus.Bus) *bus.Bus {
	t.Helper()
	as, err := b.As(t.Context(), bus.RoleExecutor)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = as.Close(context.Background()) })
	return as
}

func TestPresenceCounts(t *testing.T) {
	b := asExecutor(t, bustest.New(t, bustest.Secure))
	all := []*Presence{NewPresence(b.Conn()), NewPresence(b.Conn()), NewPresence(b.Conn())}
	for _, p := range all {
		run(t, p.Run)
	}
	eventually(t, func() bool {
		return !slices.ContainsFunc(all, func(p *Presence) bool { return p.Replicas() != 3 })
	})
	now := time.Now().Add(absent)
	all[0].hear(all[1].id, now)
	if n := all[0].Replicas(); n != 3 {
		t.Errorf("%d replicas where one does not hear himself, want those from before", n)
	}
	all[0].hear(all[0].id, now.Add(time.Second))
	if n := all[0].Replicas(); n != 2 {
		t.Errorf("%d replicas after one was silent, want 2", n)
	}
	all[0].hear("garbage", now)
	if n := all[0].Replicas(); n != 2 {
		t.Errorf("%d replicas after garbage, want 2", n)
	}
}

func TestOverridesAreFollowed(t *testing.T) {
	admin := bustest.New(t, bustest.Secure)
	kv, err := admin.JetStream().KeyValue(t.Context(), bus.BucketLimits)
	if err != nil {
		t.Fatal(err)
	}
	theirs, err := asExecutor(t, admin).JetStream().KeyValue(t.Context(), bus.BucketLimits)
	if err != nil {
		t.Fatal(err)
	}
	operator, executor := NewOverrides(kv, zerolog.Nop()), NewOverrides(theirs, zerolog.Nop())
	run(t, executor.Run)

	over := Override{Provider: "github", Limit: "primary", Rate: providers.Rate{Count: 100, Per: time.Minute}}
	if err := operator.Set(t.Context(), over); err != nil {
		t.Fatal(err)
	}
	if _, err := kv.Put(t.Context(), "github.other", []byte(`{"provider":"slack"}`)); err != nil { // says something else than its key
		t.Fatal(err)
	}
	eventually(t, func() bool { got, ok := executor.Of("github", "primary"); return ok && got == over })

	own, shared := boundsOf(t, "github", "issues.create", executor)
	if diff := cmp.Diff(Rate{100, time.Minute}, shared.Limits[0].Rate); diff != "" {
		t.Error(diff)
	}
	for i, q := range own.Limits {
		if l := shared.Limits[i]; !q.Queue || q.ID != l.ID || q.Key == l.Key || q.Cost != l.Cost || q.Burst != l.Burst || q.Rate.interval() < l.Rate.interval() {
			t.Errorf("the queue for %+v is %+v", l, q)
		}
	}
	if len(own.Limits) != 4 || len(shared.Limits) != 4 || shared.Limits[1].Cost != 5 || len(shared.Concurrency) != 1 || len(shared.Gates) != 1 {
		t.Errorf("the second stage is %+v", shared)
	}

	if n, err := operator.Unset(t.Context(), "github", "points"); n != 0 || err != nil {
		t.Errorf("%d removed of none, %v", n, err)
	}
	if n, err := operator.Unset(t.Context(), "github", ""); n != 1 || err != nil {
		t.Errorf("%d removed, %v", n, err)
	}
	eventually(t, func() bool { return len(executor.All()) == 0 })
	for _, bad := range []Override{{Provider: "github", Limit: "x"}, {Rate: over.Rate, Most: 1}, {Rate: providers.Rate{Count: -1, Per: 1}}} {
		if err := operator.Set(t.Context(), bad); err == nil {
			t.Errorf("%+v was taken", bad)
		}
	}
}

// boundsOf are both stages of an action of the catalog.
func boundsOf(t *testing.T, provider, action string, o *Overrides) (own, shared Call) {
	t.Helper()
	limits, _ := limitsOf(t, provider, action)
	b := Bounds{Provider: provider, Limits: limits, Hold: time.Minute, Overrides: o}
	return b.Own(), b.Shared()
}

func limitsOf(t *testing.T, provider, action string) ([]providers.BoundLimit, *providers.Action) {
	t.Helper()
	pack, err := providers.Load(catalog.FS, provider)
	if err != nil {
		t.Fatal(err)
	}
	a := pack.Actions[action]
	limits, err := a.Limits(json.RawMessage(`{"channel":"C1"}`), providers.LimitsOn{Connection: "c1", Account: "acme"})
	if err != nil {
		t.Fatal(err)
	}
	return limits, a
}

// TestStages walks one request of Slack through both stages, a refusal and what
// the next one gets.
func TestStages(t *testing.T) {
	l := New(Config{})
	limits, action := limitsOf(t, "slack", "chat.postMessage")
	b := Bounds{Provider: "slack", Limits: limits, Hold: time.Minute}
	own, err := l.Reserve(t.Context(), b.Own(), time.Now().Add(time.Minute))
	if err != nil {
		t.Fatal(err)
	}
	shared := acquire(t, l, b.Shared())
	if own.Outcome != Granted || shared.Outcome != Granted {
		t.Fatalf("stages %+v, %+v", own, shared)
	}
	permit, err := Join(own.Permit, shared.Permit)
	if err != nil {
		t.Fatal(err)
	}
	found := action.Observe(limits, providers.Response{
		Status: http.StatusTooManyRequests, Header: http.Header{}, Refused: true, RetryAfter: 7 * time.Second, At: time.Now(),
	})
	release(t, l, permit, ReportOf(found))
	d := acquire(t, l, b.Shared())
	if d.Outcome != Wait || d.By != "method" || d.Delay < 6*time.Second || d.Delay > 7*time.Second {
		t.Errorf("after the refusal %+v", d)
	}
}

func TestLimitersAnswer(t *testing.T) {
	admin := bustest.New(t, bustest.Secure)
	b := asExecutor(t, admin)
	l := New(Config{})
	run(t, func(ctx context.Context) error { return l.Serve(ctx, b.Conn(), zerolog.Nop()) })
	limits, _ := limitsOf(t, "slack", "chat.postMessage")
	bounds := Bounds{Provider: "slack", Limits: limits, Hold: time.Minute}
	acquire(t, l, bounds.Shared())

	var answers []Answer
	eventually(t, func() bool {
		var err error
		answers, err = Ask(t.Context(), admin.Conn(), Question{Provider: "slack"}, 200*time.Millisecond)
		if err != nil {
			t.Fatal(err)
		}
		return len(answers) == 1
	})
	var keys []string
	for _, s := range answers[0].Standings {
		keys = append(keys, s.Kind+" "+s.Key)
	}
	if diff := cmp.Diff([]string{"rate post:acme:C1", "rate posts:acme"}, keys); diff != "" || answers[0].Status.Store != "memory" {
		t.Errorf("%+v\n%s", answers[0], diff)
	}
	answers, err := Ask(t.Context(), admin.Conn(), Question{Provider: "slack", Forget: true}, 200*time.Millisecond)
	if err != nil || len(answers) != 1 || len(answers[0].Standings) != 0 {
		t.Errorf("after forgetting %+v, %v", answers, err)
	}
}
