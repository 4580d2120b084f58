package mcpserver_test

import (
	"context"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/plugfn/plugfn/cmd/plugfn/mcpserver"
	"github.com/plugfn/plugfn/pkg/embedded"
	"github.com/plugfn/plugfn/pkg/plugfn"
)

const patience = 30 * time.Second

// rig is a PlugFn with fakes of all providers, and the tools of demo.
type rig struct {
	*testing.T
	ctx    context.Context
	client *plugfn.Client
	server *mcpserver.Server
}

func newRig(t *testing.T) *rig {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), patience)
	p, err := embedded.Open(t.Context(), embedded.Config{
		Dir: t.TempDir(), Sandbox: true, SandboxUser: "demo", LazySync: true, PublicURL: "http://127.0.0.1:1/plugfn",
	})
	if err != nil {
		t.Fatal(err)
	}
	s, err := mcpserver.New(ctx, mcpserver.Config{Client: p.Client(), User: "demo", Version: "test", MaxResult: 600})
	if err != nil {
		t.Fatal(err)
	}
	var watching sync.WaitGroup
	watching.Go(func() {
		if err := s.Watch(ctx); err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(func() {
		cancel()
		watching.Wait()
		if err := p.Close(); err != nil {
			t.Error(err)
		}
	})
	return &rig{t, ctx, p.Client(), s}
}

// connected is a client of the protocol; changed hears when the tools change.
func (r *rig) connected(over mcp.Transport) (session *mcp.ClientSession, changed chan bool) {
	r.Helper()
	changed = make(chan bool, 100)
	client := mcp.NewClient(&mcp.Implementation{Name: "test", Version: "1"}, &mcp.ClientOptions{
		ToolListChangedHandler: func(context.Context, *mcp.ToolListChangedRequest) {
			select {
			case changed <- true:
			default:
			}
		},
	})
	session, err := client.Connect(r.ctx, over, nil)
	if err != nil {
		r.Fatal(err)
	}
	r.Cleanup(func() { _ = session.Close() })
	return session, changed
}

func (r *rig) tools(s *mcp.ClientSession) map[string]*mcp.Tool {
	r.Helper()
	all := map[string]*mcp.Tool{}
	for tool, err := range s.Tools(r.ctx, nil) {
		if err != nil {
			r.Fatal(err)
		}
		all[tool.Name] = tool
	}
	return all
}

func (r *rig) call(s *mcp.ClientSession, tool string, arguments map[string]any) (text string, failed bool) {
	r.Helper()
	result, err := s.CallTool(r.ctx, &mcp.CallToolParams{Name: tool, Arguments: arguments})
	if err != nil {
		r.Fatal(err)
	}
	content, ok := result.Content[0].(*mcp.TextContent)
	if !ok {
		r.Fatalf("%T", result.Content[0])
	}
	return content.Text, result.IsError
}

func TestTools(t *testing.T) {
	r := newRig(t)
	theirs, ours := mcp.NewInMemoryTransports()
	go func() { _ = r.server.Run(r.ctx, ours) }() // it ends with the client
	site := httptest.NewServer(r.server.Handler())
	t.Cleanup(site.Close) // after the sessions
	overPipe, changed := r.connected(theirs)
	overHTTP, _ := r.connected(&mcp.StreamableClientTransport{Endpoint: site.URL})

	for name, s := range map[string]*mcp.ClientSession{"pipe": overPipe, "http": overHTTP} {
		tools := r.tools(s)
		post, read := tools["slack_chat_postMessage"], tools["github_issues_get"]
		if post == nil || read == nil {
			t.Fatalf("%s: %d tools", name, len(tools))
		}
		if a := read.Annotations; !a.ReadOnlyHint || *a.DestructiveHint {
			t.Errorf("%s: a read is %+v", name, a)
		}
		if a := post.Annotations; a.ReadOnlyHint || a.IdempotentHint || *a.DestructiveHint {
			t.Errorf("%s: a message is %+v", name, a)
		}
		if a := tools["github_issues_update"].Annotations; a.ReadOnlyHint || !a.IdempotentHint || !*a.DestructiveHint {
			t.Errorf("%s: a change is %+v", name, a)
		}
		text, failed := r.call(s, "slack_chat_postMessage", map[string]any{"channel": "#demo", "text": "hi"})
		if failed || !strings.Contains(text, `"text":"hi"`) {
			t.Errorf("%s: %s", name, text)
		}
		text, failed = r.call(s, "github_issues_get", map[string]any{"owner": "octo"})
		if !failed || !strings.Contains(text, "invalid_params") || !strings.Contains(text, "/repo") {
			t.Errorf("%s: %s", name, text)
		}
		text, _ = r.call(s, "github_pulls_list", map[string]any{"owner": "octo", "repo": "hello"})
		if len(text) > 1000 || !strings.Contains(text, "further pages") {
			t.Errorf("%s: %s", name, text)
		}
	}

	// A connection goes, and with it its tools.
	for c, err := range r.client.Connections().List(r.ctx, plugfn.ConnectionFilter{User: "demo", Provider: "slack"}) {
		if err != nil {
			t.Fatal(err)
		}
		if _, err := r.client.Connections().Delete(r.ctx, "demo", c.ID); err != nil {
			t.Fatal(err)
		}
	}
	for r.tools(overPipe)["slack_chat_postMessage"] != nil {
		select {
		case <-changed:
		case <-r.ctx.Done():
			t.Fatal("the tools of a connection that was deleted are still there")
		}
	}

	// A second connection to one provider is a choice.
	if _, err := r.client.Connections().Create(r.ctx, plugfn.NewConnection{User: "demo", Provider: "github", Token: "ghp_another", Name: "work"}); err != nil {
		t.Fatal(err)
	}
	for {
		schema, _ := r.tools(overPipe)["github_issues_get"].InputSchema.(map[string]any)
		properties, _ := schema["properties"].(map[string]any)
		if choice, ok := properties["plugfn_connection"].(map[string]any); ok {
			ids, _ := choice["enum"].([]any)
			text, failed := r.call(overPipe, "github_issues_get", map[string]any{"owner": "octo", "repo": "hello", "issue_number": 42, "plugfn_connection": ids[0]})
			if len(ids) != 2 || failed {
				t.Errorf("%v: %s", ids, text)
			}
			break
		}
		select {
		case <-changed:
		case <-r.ctx.Done():
			t.Fatal("the second connection is no choice")
		}
	}
}
