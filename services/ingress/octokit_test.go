//go:build integration

package ingress

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/plugfn/plugfn/pkg/events"
)

// octokit is a version of the examples that this test has been seen to pass with,
// and octokitPayloads how many it has.
const (
	octokit         = "@octokit/webhooks-examples@7.6.1"
	octokitPayloads = 329
)

// payload is one example of what GitHub sends.
type payload struct {
	event string
	body  string
}

// id is the delivery id that the test gives to the nth payload.
func (p payload) id(n int) string { return fmt.Sprintf("octokit-%03d", n) }

// name is what the event is to be called: that of GitHub, with the action where
// the payload has one.
func (p payload) name(t *testing.T) string {
	t.Helper()
	var body struct {
		Action string `json:"action"`
	}
	if err := json.Unmarshal([]byte(p.body), &body); err != nil {
		t.Fatal(err)
	}
	if body.Action == "" {
		return p.event
	}
	return p.event + "." + body.Action
}

// TestWhatGitHubSends has the payloads that Octokit has gathered go through an
// ingress and a bus.
func TestWhatGitHubSends(t *testing.T) {
	payloads := octokitExamples(t)
	if len(payloads) != octokitPayloads {
		t.Errorf("%s has %d payloads, want %d", octokit, len(payloads), octokitPayloads)
	}
	g := open(t)
	for n, p := range payloads {
		if status, body := g.send("github", g.signed(p.id(n), p.event, p.body)); status != http.StatusOK {
			t.Errorf("%s: %d %s", p.event, status, body)
		}
	}
	if dead := g.stored(events.StreamDead); len(dead) != 0 {
		t.Errorf("could not be read: %v", dead)
	}
	byID := g.allEvents()
	if len(byID) != len(payloads) {
		t.Errorf("%d ids of events, want %d", len(byID), len(payloads))
	}
	for n, p := range payloads {
		got, ok := byID[p.id(n)]
		if !ok {
			t.Errorf("%s: no event", p.event)
			continue
		}
		name := p.name(t)
		if got.Type != "com.github."+name || string(got.Data) != p.body || got.Time.IsZero() {
			t.Errorf("%s: type %s at %s, %d of %d bytes", name, got.Type, got.Time, len(got.Data), len(p.body))
		}
		if want := events.EventSubject("", "github", name); got.subject != want || len(want) > 255 {
			t.Errorf("%s: subject %s, want %s", name, got.subject, want)
		}
	}
}

// storedEvent is an event with the subject that it is stored under.
type storedEvent struct {
	events.Event
	subject string
}

// allEvents returns the events of the stream by id. Two with one id are an error.
func (g *gate) allEvents() map[string]storedEvent {
	g.Helper()
	stream, err := g.bus.JetStream().Stream(g.Context(), events.StreamEvents)
	if err != nil {
		g.Fatal(err)
	}
	info, err := stream.Info(g.Context())
	if err != nil {
		g.Fatal(err)
	}
	byID := map[string]storedEvent{}
	for seq := info.State.FirstSeq; seq <= info.State.LastSeq; seq++ {
		msg, err := stream.GetMsg(g.Context(), seq)
		if err != nil {
			g.Fatal(err)
		}
		e, err := events.ParseEvent(msg.Header, msg.Data)
		if err != nil {
			g.Fatalf("%s: %v", msg.Subject, err)
		}
		if _, twice := byID[e.ID]; twice {
			g.Errorf("two events have the id %s", e.ID)
		}
		byID[e.ID] = storedEvent{e, msg.Subject}
	}
	return byID
}

// octokitExamples installs the examples with npm and reads them.
func octokitExamples(t *testing.T) []payload {
	t.Helper()
	npm, err := exec.LookPath("npm")
	if err != nil {
		t.Fatal("npm is needed for this test: apt-get install nodejs npm")
	}
	dir := t.TempDir()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	install := exec.CommandContext(ctx, npm, "install", "--prefix", dir, "--no-save", "--ignore-scripts", "--no-audit", "--no-fund", octokit)
	install.Dir = dir
	if out, err := install.CombinedOutput(); err != nil {
		t.Fatalf("npm install %s: %v\n%s", octokit, err, out)
	}
	data, err := os.ReadFile(filepath.Join(dir, "node_modules", "@octokit", "webhooks-examples", "api.github.com", "index.json"))
	if err != nil {
		t.Fatal(err)
	}
	var index []struct {
		Name     string            `json:"name"`
		Examples []json.RawMessage `json:"examples"`
	}
	if err := json.Unmarshal(data, &index); err != nil {
		t.Fatal(err)
	}
	var all []payload
	for _, event := range index {
		for _, example := range event.Examples {
			all = append(all, payload{event.Name, strings.TrimSpace(string(example))})
		}
	}
	return all
}
