package plugfn_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log"
	"os"
	"time"

	"github.com/plugfn/plugfn/pkg/embedded"
	"github.com/plugfn/plugfn/pkg/plugfn"
)

// sandboxed runs what an application would do against a PlugFn whose providers
// are fakes, and gives it a client. Yours begins with plugfn.Connect.
func sandboxed(do func(ctx context.Context, p *embedded.PlugFn, client *plugfn.Client)) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	dir, err := os.MkdirTemp("", "plugfn")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	p, err := embedded.Open(ctx, embedded.Config{Dir: dir, Sandbox: true, SandboxUser: "demo", LazySync: true})
	if err != nil {
		log.Fatal(err)
	}
	defer p.Close()
	do(ctx, p, p.Client())
}

func Example() {
	sandboxed(func(ctx context.Context, _ *embedded.PlugFn, client *plugfn.Client) {
		result, err := client.Do(ctx, plugfn.Request{
			User: "demo", Action: "slack.chat.postMessage",
			Params: map[string]string{"channel": "#demo", "text": "hi"},
		})
		if err != nil {
			log.Fatal(err)
		}
		data, err := plugfn.Decode[struct{ Message struct{ Text string } }](result)
		fmt.Println(result.Outcome, data.Message.Text, err)

		// What goes wrong has a code.
		_, err = client.Do(ctx, plugfn.Request{User: "stranger", Action: "slack.chat.postMessage", Params: json.RawMessage(`{"channel":"#demo","text":"hi"}`)})
		var e *plugfn.Error
		if errors.As(err, &e) {
			fmt.Println(e.Code, errors.Is(err, plugfn.ErrConnectionNotFound), e.Retryable)
		}
	})
	// Output:
	// succeeded hi <nil>
	// connection_not_found true false
}

func ExampleClient_Submit() {
	sandboxed(func(ctx context.Context, _ *embedded.PlugFn, client *plugfn.Client) {
		id, err := client.Submit(ctx, plugfn.Request{
			User: "demo", Action: "github.repos.get", ID: "nightly-2026-02-03",
			Params: map[string]string{"owner": "octo", "repo": "hello"},
		})
		if err != nil {
			log.Fatal(err)
		}
		// It is carried out whatever becomes of this program; any other may ask.
		result, err := client.Await(ctx, "demo", id)
		fmt.Println(result.ID, result.Outcome, err)
	})
	// Output: nightly-2026-02-03 succeeded <nil>
}

func ExampleClient_Batch() {
	sandboxed(func(ctx context.Context, _ *embedded.PlugFn, client *plugfn.Client) {
		var requests []plugfn.Request
		for _, repo := range []string{"hello", "", "world"} {
			requests = append(requests, plugfn.Request{
				User: "demo", Action: "github.repos.get", Params: map[string]string{"owner": "octo", "repo": repo},
			})
		}
		for result, err := range client.Batch(ctx, requests, 2) {
			fmt.Println(result.Outcome, errors.Is(err, plugfn.ErrInvalidParams))
		}
	})
	// Output:
	// succeeded false
	// failed true
	// succeeded false
}

func ExampleClient_Events() {
	sandboxed(func(ctx context.Context, p *embedded.PlugFn, client *plugfn.Client) {
		if err := p.Trigger(ctx, "github", "issues.opened", "delivery-1"); err != nil {
			log.Fatal(err)
		}
		ctx, stop := context.WithCancel(ctx)
		err := client.Events(ctx, plugfn.Filter{
			Provider: "github", Event: "issues.*",
			Name: "triage", // the bus remembers how far triage is
			From: plugfn.Beginning(),
		}, func(_ context.Context, e *plugfn.Event) error {
			var payload struct{ Issue struct{ Number int } }
			if err := json.Unmarshal(e.Data, &payload); err != nil {
				return plugfn.Drop(err) // coming again would not help
			}
			fmt.Println(e.UserID, e.EventName, payload.Issue.Number, e.ID)
			stop()
			return nil // done; an error would bring it again
		})
		fmt.Println(err)
	})
	// Output:
	// demo issues.opened 42 delivery-1
	// <nil>
}
