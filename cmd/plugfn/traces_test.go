package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/plugfn/plugfn/pkg/events"
)

// spanLine is a line of a file of traces.
type spanLine struct {
	Name        string
	SpanContext struct{ TraceID, SpanID string }
	Parent      struct{ TraceID, SpanID string }
	Links       []struct {
		SpanContext struct{ TraceID, SpanID string }
	}
	Attributes []struct {
		Key   string
		Value struct{ Value any }
	}
	Resource []struct {
		Key   string
		Value struct{ Value any }
	}
}

func spansOf(t *testing.T, file string) []spanLine {
	t.Helper()
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var all []spanLine
	lines := bufio.NewScanner(bytes.NewReader(data))
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		var s spanLine
		if err := json.Unmarshal(lines.Bytes(), &s); err != nil {
			t.Fatalf("%v: %s", err, lines.Bytes())
		}
		all = append(all, s)
	}
	return all
}

const tracedWorkflow = `{"name": "tell", "trigger": {"event": {"provider": "github", "event": "issues.opened"}},
 "steps": [{"id": "say", "action": {"use": "slack.chat.postMessage", "params": {"channel": "C1", "text": "hi"}}}]}`

// One trace shows what a delivery has led to, from the webhook to the call of
// another provider and on to the next step of the run.
func TestOneTraceShowsTheWholeChain(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "traces")
	dev, c := startDev(t, "PLUGFN_TRACE_FILE="+file, "PLUGFN_LOG_LEVEL=info", "PLUGFN_LOG_FORMAT=json")
	dir := filepath.Dir(filepath.Dir(c.APIKeyFile))
	if err := os.WriteFile(filepath.Join(dir, "tell.json"), []byte(tracedWorkflow), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, args := range [][]string{{"workflow", "apply", "tell.json", "--user", "demo"}, {"trigger", "github", "issues.opened"}} {
		p := start(t, dir, nil, args...)
		if code := p.wait(); code != exitOK {
			t.Fatalf("%v exits with %d: %s", args, code, &p.stderr)
		}
	}
	js, err := jetstream.New(connect(t, c.NATSURL))
	if err != nil {
		t.Fatal(err)
	}
	told, err := js.Stream(t.Context(), events.StreamRuns)
	if err != nil {
		t.Fatal(err)
	}
	if err := eventually("the end of the run", func() bool {
		_, err := told.GetLastMsgForSubject(t.Context(), "plugfn.run.demo.tell.completed.*")
		return err == nil
	}); err != nil {
		t.Fatalf("%v: %s", err, &dev.stderr)
	}
	if code := dev.interrupt(); code != exitOK {
		t.Fatalf("dev exits with %d: %s", code, &dev.stderr)
	}

	spans := spansOf(t, file)
	below := func(name string, parent *spanLine) *spanLine {
		t.Helper()
		for i := range spans {
			s := &spans[i]
			if s.Name != name {
				continue
			}
			if parent == nil && strings.Trim(s.Parent.SpanID, "0") == "" ||
				parent != nil && s.Parent.SpanID == parent.SpanContext.SpanID && s.SpanContext.TraceID == parent.SpanContext.TraceID {
				return s
			}
		}
		t.Fatalf("no span %q below %+v among %+v", name, parent, spans)
		return nil
	}
	webhook := below("webhook github", nil)
	run := below("run", webhook)
	action := below("action slack", run)
	below("call slack", action)
	step := below("step", run) // what the result led to
	if len(step.Links) != 1 || step.Links[0].SpanContext.SpanID != action.SpanContext.SpanID {
		t.Errorf("the step has the links %+v, want one to the action %+v", step.Links, action.SpanContext)
	}
	for _, a := range run.Resource {
		if a.Key == "service.name" && a.Value.Value != "plugfn" {
			t.Errorf("the traces are of %v", a.Value.Value)
		}
	}
	for line := range strings.Lines(dev.stderr.String()) {
		if strings.Contains(line, "action attempted") && strings.Contains(line, `"trace_id":"`+webhook.SpanContext.TraceID+`"`) {
			return
		}
	}
	t.Errorf("no line of the log about the attempt bears its trace: %s", &dev.stderr)
}
