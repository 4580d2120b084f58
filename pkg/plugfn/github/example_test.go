package github_test

import (
	"context"
	"fmt"
	"log"
	"os"
	"time"

	"github.com/plugfn/plugfn/pkg/embedded"
	"github.com/plugfn/plugfn/pkg/plugfn"
	"github.com/plugfn/plugfn/pkg/plugfn/github"
)

// sandboxed runs what an application would do against a PlugFn whose providers
// are fakes. Yours begins with plugfn.Connect.
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
	sandboxed(func(ctx context.Context, p *embedded.PlugFn, client *plugfn.Client) {
		gh := github.New(client)
		created, err := gh.Issues.Create(ctx, "demo", github.IssuesCreateParams{
			Owner: "octo", Repo: "hello", Title: "It broke",
			Body: plugfn.Value("Since **Monday**"), Labels: []string{"bug"},
		}, func(r *plugfn.Request) { r.ID = "ticket-17" })
		if err != nil {
			log.Fatal(err)
		}
		fmt.Println(created.ID, created.Data.Title, created.Data.State)

		for pull, err := range gh.Pulls.ListAll(ctx, "demo", github.PullsListParams{Owner: "octo", Repo: "hello", State: github.PullsListStateOpen}) {
			if err != nil {
				log.Fatal(err)
			}
			fmt.Println("listed:", pull.Number, pull.Title)
		}

		if err := p.Trigger(ctx, "github", "issues.opened", "delivery-1"); err != nil {
			log.Fatal(err)
		}
		ctx, stop := context.WithCancel(ctx)
		err = github.OnIssuesOpened(ctx, client, plugfn.Filter{Name: "triage", From: plugfn.Beginning()},
			func(_ context.Context, e *plugfn.Received[github.IssuesOpened]) error {
				fmt.Println("opened:", e.Payload.Repository.FullName, e.Payload.Issue.Number)
				stop()
				return nil
			})
		fmt.Println(err)
	})
	// Output:
	// ticket-17 It broke open
	// listed: 44 Light the lamp
	// listed: 44 Light the lamp
	// opened: octo/hello 42
	// <nil>
}
