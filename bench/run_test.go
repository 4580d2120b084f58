package bench

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/rs/zerolog"

	"github.com/plugfn/plugfn/internal/bus"
	"github.com/plugfn/plugfn/internal/bus/bustest"
	"github.com/plugfn/plugfn/pkg/events"
	"github.com/plugfn/plugfn/pkg/providers"
	"github.com/plugfn/plugfn/pkg/providers/catalog"
	"github.com/plugfn/plugfn/pkg/workflow"
	"github.com/plugfn/plugfn/services/scheduler/runs"
	"github.com/plugfn/plugfn/services/scheduler/runs/machine"
)

const twoActions = `
name: two
trigger: {event: {provider: github, event: push}}
steps:
  - {id: first, action: {use: slack.chat.postMessage, params: {channel: c, text: '${{ event.raw.n }}'}}}
  - {id: second, action: {use: slack.chat.postMessage, params: {channel: c, text: '${{ steps.first.result.text }}'}}}`

const oneWait = `
name: one
trigger: {event: {provider: github, event: push}}
steps:
  - {id: closed, wait_for: {provider: github, event: issues.closed}}`

// one is a workflow that everybody has.
type one struct{ runs.Workflow }

func defined(b *testing.B, text string) one {
	b.Helper()
	packs := map[string]*providers.Pack{}
	for _, name := range []string{"github", "slack"} {
		pack, err := providers.Load(catalog.FS, name)
		if err != nil {
			b.Fatal(err)
		}
		packs[name] = pack
	}
	registry, err := providers.NewRegistry(packs, nil)
	if err != nil {
		b.Fatal(err)
	}
	d, err := workflow.Parse([]byte(text))
	if err != nil {
		b.Fatal(err)
	}
	p, err := workflow.Compile(d, workflow.Options{Providers: registry})
	if err != nil {
		b.Fatal(err)
	}
	return one{runs.Workflow{Name: d.Name, Version: 1, Enabled: true, Program: p}}
}

func (o one) Program(context.Context, string, string, int) (runs.Workflow, error) {
	return o.Workflow, nil
}

func (o one) OnEvent(_ context.Context, _, _, event string) ([]runs.Workflow, error) {
	if event != "push" {
		return nil, nil
	}
	return []runs.Workflow{o.Workflow}, nil
}

func (o one) OnRun(context.Context, string, string, machine.Status) ([]runs.Workflow, error) {
	return nil, nil
}

// driveRuns has runs of a workflow driven until the benchmark ends.
func driveRuns(b *testing.B, text string) *bus.Bus {
	b.Helper()
	on := bustest.New(b)
	s, err := runs.New(runs.Config{
		Conn: on.Conn(), JetStream: on.JetStream(), Parking: on, Definitions: defined(b, text), Log: zerolog.Nop(), MaxPerUser: 1_000_000,
	})
	if err != nil {
		b.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var all sync.WaitGroup
	all.Go(func() {
		if err := s.Run(ctx); err != nil {
			b.Error(err)
		}
	})
	b.Cleanup(func() { cancel(); all.Wait() })
	for s.Ready(ctx) != nil {
		time.Sleep(time.Millisecond)
	}
	return on
}

func push(n int) *nats.Msg {
	e := events.Event{
		ID: fmt.Sprint(n), Source: "/plugfn/github/_/_", Type: "com.github.push", UserID: fmt.Sprintf("u%d", n%10), Provider: "github", EventName: "push",
		DataContentType: "application/json", Data: fmt.Appendf(nil, `{"n":"%d"}`, n),
	}
	return e.Msg(events.EventSubject(e.UserID, "github", "push"))
}

// BenchmarkRunsStarted starts runs by events, from which each of them waits for
// another one.
func BenchmarkRunsStarted(b *testing.B) {
	on := driveRuns(b, oneWait)
	started := make(chan struct{}, b.N)
	heard, err := on.Conn().Subscribe("plugfn.run.*.*.waiting.*", func(*nats.Msg) { started <- struct{}{} })
	if err != nil {
		b.Fatal(err)
	}
	if err := heard.SetPendingLimits(-1, -1); err != nil {
		b.Fatal(err)
	}
	b.ResetTimer()
	for n := range b.N {
		if _, err := on.JetStream().PublishMsgAsync(push(n), jetstream.WithStallWait(10*time.Second)); err != nil {
			b.Fatal(err)
		}
	}
	for range b.N {
		<-started
	}
	b.StopTimer()
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "runs/s")
	b.ReportMetric(0, "ns/op")
}

// BenchmarkWorkflowTwoSteps runs one workflow after the other whose two actions
// are answered at once, and asks the same of the bus by hand.
func BenchmarkWorkflowTwoSteps(b *testing.B) {
	on := driveRuns(b, twoActions)
	answering, err := on.Conn().Subscribe(events.PrefixAction+">", func(msg *nats.Msg) {
		request, err := events.ParseActionRequest(msg.Subject, msg.Header, msg.Data)
		if err != nil {
			b.Error(err)
			return
		}
		result := events.Result{
			ID: request.ID, UserID: request.UserID, Provider: request.Provider, Action: request.Action, Outcome: events.Succeeded,
			Data: request.Params,
		}
		out, err := result.Msg()
		if err == nil {
			_, err = on.JetStream().PublishMsg(context.Background(), out)
		}
		if err != nil {
			b.Error(err)
		}
	})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = answering.Drain() })
	ended := make(chan struct{}, 1)
	if _, err := on.Conn().Subscribe("plugfn.run.*.*.completed.*", func(*nats.Msg) { ended <- struct{}{} }); err != nil {
		b.Fatal(err)
	}
	took := make([]time.Duration, 0, b.N)
	for n := range b.N {
		began := time.Now()
		if _, err := on.JetStream().PublishMsg(b.Context(), push(n)); err != nil {
			b.Fatal(err)
		}
		<-ended
		took = append(took, time.Since(began))
	}
	b.StopTimer()
	slices.Sort(took)
	b.ReportMetric(float64(took[len(took)/2].Microseconds())/1000, "p50-ms")
	b.ReportMetric(float64(took[len(took)*99/100].Microseconds())/1000, "p99-ms")
	b.ReportMetric(0, "ns/op")
}
