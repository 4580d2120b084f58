package workflows

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/rs/zerolog"

	"github.com/plugfn/plugfn/internal/bus"
	"github.com/plugfn/plugfn/internal/bus/bustest"
	"github.com/plugfn/plugfn/pkg/events"
	"github.com/plugfn/plugfn/pkg/workflow"
	"github.com/plugfn/plugfn/services/scheduler"
	"github.com/plugfn/plugfn/services/scheduler/schedules"
)

// scheduled is a rig with the schedules of its triggers, and who fires them.
func scheduled(t *testing.T) (*rig, *schedules.Service) {
	t.Helper()
	b := bustest.New(t)
	registry, err := packs()
	if err != nil {
		t.Fatal(err)
	}
	kept, err := schedules.New(schedules.Config{Conn: b.Conn(), JetStream: b.JetStream(), Parking: b, Providers: registry, Log: zerolog.Nop()})
	if err != nil {
		t.Fatal(err)
	}
	mover, err := scheduler.New(scheduler.Config{JetStream: b.JetStream(), Firings: b, Schedules: kept, Log: zerolog.Nop()})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 2)
	go func() { ended <- kept.Run(ctx) }()
	go func() { ended <- mover.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		for range 2 {
			if err := <-ended; err != nil {
				t.Error(err)
			}
		}
	})
	r := &rig{t: t, b: b}
	r.Service = r.another(func(cfg *Config) { cfg.Schedules = kept })
	return r, kept
}

// timed are the workflows that have a schedule.
func timed(t *testing.T, kept *schedules.Service) []string {
	t.Helper()
	names := []string{}
	if err := kept.Kept(t.Context(), func(user, name string) { names = append(names, user+"/"+name) }); err != nil {
		t.Fatal(err)
	}
	slices.Sort(names)
	return names
}

func TestScheduleFollowsItsWorkflow(t *testing.T) {
	t.Parallel()
	r, kept := scheduled(t)
	step := func(what string, want ...string) {
		t.Helper()
		if got := timed(t, kept); !slices.Equal(got, want) {
			t.Fatalf("%s: schedules of %v, want %v", what, got, want)
		}
	}
	r.apply("u1", told("a", "{schedule: {cron: '0 9 * * *', zone: Europe/Berlin}}", "x"))
	step("applied", "u1/a")
	r.apply("u1", told("a", "{schedule: {every: 1h}}", "x"))
	step("changed", "u1/a")
	if _, err := r.disable(t.Context(), "u1", "a"); err != nil {
		t.Fatal(err)
	}
	step("disabled")
	if _, err := r.enable(t.Context(), "u1", "a"); err != nil {
		t.Fatal(err)
	}
	step("enabled", "u1/a")
	r.apply("u1", told("a", onOpened, "x"))
	step("another trigger")
	r.apply("u1", told("a", "{schedule: {every: 2h}}", "x"))
	step("a schedule again", "u1/a")
	if err := r.remove(t.Context(), "u1", "a"); err != nil {
		t.Fatal(err)
	}
	step("deleted")

	// What broke off before is found by a look.
	r.apply("u1", told("b", "{schedule: {every: 2h}}", "x"))
	if err := kept.Drop(t.Context(), "u1", "b"); err != nil {
		t.Fatal(err)
	}
	if err := kept.Keep(t.Context(), "u1", "gone", workflow.Schedule{Every: workflow.Duration(time.Hour)}); err != nil {
		t.Fatal(err)
	}
	if err := r.look(t.Context()); err != nil {
		t.Fatal(err)
	}
	step("looked after", "u1/b")
}

// TestTicksStartRuns reads what the driver of runs gets.
func TestTicksStartRuns(t *testing.T) {
	t.Parallel()
	r, _ := scheduled(t)
	consumer, err := r.b.JetStream().OrderedConsumer(t.Context(), events.StreamRuns, jetstream.OrderedConsumerConfig{
		FilterSubjects: []string{events.RunSignalSubject("u1", "a")},
	})
	if err != nil {
		t.Fatal(err)
	}
	r.apply("u1", told("a", "{schedule: {every: 1s}}", "x"))
	seen := map[string]bool{}
	for range 2 {
		msg, err := consumer.Next(jetstream.FetchMaxWait(20 * time.Second))
		if err != nil {
			t.Fatal(err)
		}
		body := string(msg.Data())
		if !strings.Contains(body, `"kind":"schedule"`) || !strings.Contains(body, `"time":"20`) || seen[body] {
			t.Fatalf("the driver gets %s", body)
		}
		seen[body] = true
	}
	if _, err := r.disable(t.Context(), "u1", "a"); err != nil {
		t.Fatal(err)
	}
}

func TestOwnedSchedulesAreChangedByTheirWorkflowOnly(t *testing.T) {
	t.Parallel()
	r, _ := scheduled(t)
	r.apply("u1", told("a", "{schedule: {every: 1h}}", "x"))
	kv, err := r.b.JetStream().KeyValue(t.Context(), bus.BucketSchedules)
	if err != nil {
		t.Fatal(err)
	}
	id := ""
	err = bus.Scan(t.Context(), kv, "u1.*", func(entry jetstream.KeyValueEntry) bool {
		id = strings.TrimPrefix(entry.Key(), "u1.")
		return false
	})
	if err != nil || id == "" {
		t.Fatal(id, err)
	}
	for _, verb := range []string{"amend", "pause", "delete"} {
		answer, err := r.b.Conn().Request(fmt.Sprintf("plugfn.svc.scheduler.schedules.u1.%s.%s", verb, id), []byte(`{"name":"n"}`[:map[string]int{"amend": 12}[verb]]), 10*time.Second)
		if err != nil || !strings.Contains(string(answer.Data), "is the trigger of the workflow a") {
			t.Errorf("%s: %s, %v", verb, answer.Data, err)
		}
	}
}
