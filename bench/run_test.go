package bench

import (
	"context"
	"fmt"
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

const longWait = `
name: one
trigger: {event: {provider: github, event: push}}
steps:
  - {id: closed, wait_for: {provider: github, event: issues.closed, timeout: 30d}}`

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
// another one. By hand: a consumer that writes a record for each event, once, and
// says so.
func BenchmarkRunsStarted(b *testing.B) {
	on, byHand := driveRuns(b, oneWait), bustest.New(b)
	recordEvents(b, byHand)
	compare(b, starter(b, byHand), starter(b, on))
}

// starter publishes events, and returns when as many runs wait.
func starter(b *testing.B, on *bus.Bus) func(n int) {
	b.Helper()
	started := make(chan struct{}, 1000)
	heard, err := on.Conn().Subscribe("plugfn.run.*.*.waiting.*", func(*nats.Msg) { started <- struct{}{} })
	if err != nil {
		b.Fatal(err)
	}
	if err := heard.SetPendingLimits(-1, -1); err != nil {
		b.Fatal(err)
	}
	number := 0
	return func(n int) {
		for range n {
			number++
			if _, err := on.JetStream().PublishMsgAsync(push(number), jetstream.WithStallWait(10*time.Second)); err != nil {
				b.Fatal(err)
			}
		}
		for range n {
			<-started
		}
	}
}

// recordEvents is what somebody would write by hand who wants to remember, once
// for each event, that he waits for another one.
func recordEvents(b *testing.B, on *bus.Bus) {
	b.Helper()
	ctx := context.Background()
	consumer, err := on.JetStream().CreateOrUpdateConsumer(ctx, events.StreamEvents, jetstream.ConsumerConfig{Durable: "by-hand", AckPolicy: jetstream.AckExplicitPolicy})
	if err != nil {
		b.Fatal(err)
	}
	places := make(chan struct{}, 64)
	consuming, err := consumer.Consume(func(msg jetstream.Msg) {
		places <- struct{}{}
		go func() {
			defer func() { <-places }()
			id := msg.Headers().Get("ce-id")
			_, err := on.JetStream().Publish(ctx, "$KV."+bus.BucketRuns+".u.w."+id, msg.Data(), jetstream.WithExpectLastSequencePerSubject(0))
			if err == nil {
				_, err = on.JetStream().Publish(ctx, "plugfn.run.u.w.waiting."+id, []byte(`{"waiting":true}`))
			}
			if err == nil {
				err = msg.Ack()
			}
			if err != nil {
				b.Error(err)
			}
		}()
	})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(consuming.Stop)
}

// BenchmarkWorkflowTwoSteps runs one workflow after the other whose two actions
// are answered at once, and beside each asks for two actions by hand, the second
// after the first.
func BenchmarkWorkflowTwoSteps(b *testing.B) {
	on := driveRuns(b, twoActions)
	answerAtOnce(b, on)
	ended, resulted := make(chan struct{}, 1), make(chan struct{}, 1)
	for subject, to := range map[string]chan struct{}{"plugfn.run.*.*.completed.*": ended, events.PrefixResult + "byhand.>": resulted} {
		if _, err := on.Conn().Subscribe(subject, func(*nats.Msg) { to <- struct{}{} }); err != nil {
			b.Fatal(err)
		}
	}
	var bare, whole []time.Duration
	took := func(msg *nats.Msg, until chan struct{}) time.Duration {
		began := time.Now()
		if _, err := on.JetStream().PublishMsg(b.Context(), msg); err != nil {
			b.Fatal(err)
		}
		<-until
		return time.Since(began)
	}
	for n := range b.N {
		two := time.Duration(0)
		for i := range 2 {
			r := events.ActionRequest{
				ID: fmt.Sprintf("%d-%d", n, i), UserID: "byhand", Provider: "slack", Action: "chat.postMessage", Params: []byte(`{"channel":"c","text":"x"}`),
			}
			two += took(r.Msg(r.Subject()), resulted)
		}
		bare = append(bare, two)
		whole = append(whole, took(push(n), ended))
	}
	b.StopTimer()
	inMS := func(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }
	b.ReportMetric(inMS(percentile(bare, 50)), "baseline-p50-ms")
	b.ReportMetric(inMS(percentile(whole, 50)), "plugfn-p50-ms")
	b.ReportMetric(inMS(percentile(whole, 50)-percentile(bare, 50)), "added-p50-ms")
	b.ReportMetric(inMS(percentile(whole, 99)), "plugfn-p99-ms")
	b.ReportMetric(float64(percentile(bare, 50))/float64(percentile(whole, 50)), "ratio")
	b.ReportMetric(0, "ns/op")
}

// answerAtOnce answers each action with its parameters.
func answerAtOnce(b *testing.B, on *bus.Bus) {
	b.Helper()
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
}
