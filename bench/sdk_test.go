package bench

import (
	"context"
	"testing"
	"time"

	"github.com/plugfn/plugfn/pkg/embedded"
	"github.com/plugfn/plugfn/pkg/events"
	"github.com/plugfn/plugfn/pkg/plugfn"
)

// BenchmarkSDK has the same read carried out by the SDK and by a bare NATS
// request to plugfn.call, one after the other and in turns. added-p50-ms is what
// the SDK adds.
func BenchmarkSDK(b *testing.B) {
	p, err := embedded.Open(b.Context(), embedded.Config{Dir: b.TempDir(), Sandbox: true, SandboxUser: "demo", LazySync: true, NATSAddr: "127.0.0.1:0"})
	if err != nil {
		b.Fatal(err)
	}
	defer p.Close()
	client, err := plugfn.Connect(p.NATSURL())
	if err != nil {
		b.Fatal(err)
	}
	defer client.Close()
	ctx, cancel := context.WithTimeout(b.Context(), 10*time.Minute)
	defer cancel()
	params := []byte(`{"owner":"octo","repo":"hello"}`)
	bySDK := func() error {
		_, err := client.Do(ctx, plugfn.Request{User: "demo", Action: "github.repos.get", Params: params, Cache: plugfn.NoCache})
		return err
	}
	bare := func() error {
		w := events.ActionRequest{UserID: "demo", Provider: "github", Action: "repos.get", Params: params, Cache: plugfn.NoCache}
		msg, err := client.NATS().RequestMsgWithContext(ctx, w.Msg(events.CallSubject("demo", "github", "repos.get")))
		if err != nil {
			return err
		}
		_, err = events.ParseResult(msg.Data)
		return err
	}
	var with, without []time.Duration
	took := func(do func() error) time.Duration {
		began := time.Now()
		if err := do(); err != nil {
			b.Fatal(err)
		}
		return time.Since(began)
	}
	for b.Loop() {
		with, without = append(with, took(bySDK)), append(without, took(bare))
	}
	sdk, raw := percentile(with, 0.5), percentile(without, 0.5)
	b.ReportMetric(float64(sdk.Microseconds())/1000, "p50-ms")
	b.ReportMetric(float64((sdk-raw).Microseconds())/1000, "added-p50-ms")
	b.ReportMetric(float64(sdk)/float64(raw), "p50-ratio")
}
