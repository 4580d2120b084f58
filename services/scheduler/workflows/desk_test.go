package workflows

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/plugfn/plugfn/internal/bus"
	"github.com/plugfn/plugfn/internal/bus/bustest"
	"github.com/plugfn/plugfn/pkg/events"
	"github.com/plugfn/plugfn/pkg/workflow"
)

// web asks the HTTP routes of a rig.
func (r *rig) web(method, path, body string) (int, string) {
	r.t.Helper()
	mux := http.NewServeMux()
	r.Mount(mux)
	request := httptest.NewRequest(method, path, strings.NewReader(body))
	request.Header.Set("Authorization", "Bearer key")
	if body != "" {
		request.Header.Set("Content-Type", "application/json")
	}
	w := httptest.NewRecorder()
	mux.ServeHTTP(w, request)
	return w.Code, w.Body.String()
}

// sent is the body that applies a text.
func sent(text, more string) string {
	return `{"user_id":"u1","definition":` + string(definition(text)) + more + `}`
}

func TestRoutes(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	one := pathWorkflows + "/a"
	for _, step := range []struct {
		method, path, body string
		status             int
		says               string
	}{
		{"POST", pathWorkflows + "/validate", sent(told("a", onOpened, "x"), ""), 200, `"steps":1`},
		{"POST", pathWorkflows + "/validate", sent("name: A", ""), 422, `"line":1,"column":1`},
		{"POST", pathWorkflows + "/diff", sent(told("a", onOpened, "x"), ""), 200, `"from":0`},
		{"GET", one + "?user_id=u1", "", 404, "no such workflow"},
		{"POST", pathWorkflows, sent(told("a", onOpened, "x"), `,"if_version":0`), 200, `"changed":true`},
		{"POST", pathWorkflows, sent(told("a", onOpened, "y"), `,"if_version":0`), 409, "the latest version is 1"},
		{"POST", pathWorkflows, sent(told("a", onOpened, "y"), ""), 200, `"path":"steps.post.action.params.text"`},
		{"POST", pathWorkflows, `{"user_id":"u1","definition":{"name":"obj","trigger":{"manual":{}},"steps":[{"id":"a","filter":"true"}]}}`, 200, `"kind":"manual"`},
		{"POST", pathWorkflows, `{"user_id":"u1","definition":{"name":"obj"}}`, 422, "has no steps"},
		{"POST", pathWorkflows, `{"user_id":"u1"}`, 422, "definition"},
		{"POST", pathWorkflows, `{"user_id":"u1","definition":"` + strings.Repeat("x", workflow.MaxDefinition+1) + `"}`, 422, "is longer than"},
		{"POST", pathWorkflows, `{"user_id":"u1","definition":"` + strings.Repeat("x", maxSent+1) + `"}`, 413, "longer"},
		{"POST", pathWorkflows + "/diff", sent(told("a", onOpened, "z"), ""), 200, `"from":2`},
		{"GET", one + "?user_id=u1", "", 200, `"shown_version":2`},
		{"GET", one + "?user_id=u1&version=1", "", 200, `"text":"x"`},
		{"GET", one + "?user_id=u1&version=9", "", 404, "no such version"},
		{"GET", one + "?user_id=u2", "", 404, "no such workflow"},
		{"GET", one, "", 422, "user_id"},
		{"GET", one + "/versions?user_id=u1", "", 200, `{"version":2,`},
		{"GET", one + "/export?user_id=u1", "", 200, `# what this is about`},
		{"GET", one + "/export?user_id=u1&form=yaml&version=1", "", 200, `text: x`},
		{"GET", one + "/export?user_id=u1&form=toml", "", 422, "form"},
		{"GET", one + "/diff?user_id=u1&from=1", "", 200, `"to":2`},
		{"GET", one + "/stats?user_id=u1", "", 200, `"total":0`},
		{"GET", one + "/stats?user_id=u1&since=8d", "", 422, "since"},
		{"GET", pathWorkflows + "?user_id=u1&limit=1", "", 200, `"next_cursor":"a/u1"`},
		{"GET", pathWorkflows + "?user_id=u1&limit=1&cursor=a/u1", "", 200, `"name":"obj"`},
		{"GET", pathWorkflows + "?user_id=u2", "", 200, `"workflows":[]`},
		{"GET", pathWorkflows + "?status=odd", "", 422, "status"},
		{"POST", one + "/disable?user_id=u1", "", 200, `"status":"disabled"`},
		{"POST", one + "/disable?user_id=u1", "", 200, `"status":"disabled"`},
		{"GET", pathWorkflows + "?status=disabled", "", 200, `"name":"a"`},
		{"POST", one + "/enable?user_id=u1", "", 200, `"status":"enabled"`},
		{"GET", pathDocument, "", 200, "apply-workflow"},
		{"GET", pathSchema, "", 200, "PlugFn workflow"},
		{"DELETE", one + "?user_id=u2", "", 404, ""},
		{"DELETE", one + "?user_id=u1", "", 204, ""},
		{"DELETE", one + "?user_id=u1", "", 404, "no such workflow"},
		{"POST", one + "/enable?user_id=u1", "", 404, "no such workflow"},
	} {
		status, body := r.web(step.method, step.path, step.body)
		if status != step.status || !strings.Contains(body, step.says) {
			t.Errorf("%s %s %.80s: %d %s", step.method, step.path, step.body, status, body)
		}
	}
}

// TestDeskOfOneUser asks on a bus that lets a user speak for himself only.
func TestDeskOfOneUser(t *testing.T) {
	t.Parallel()
	b := bustest.New(t, bustest.Listen, bustest.Secure)
	as, err := b.As(t.Context(), bus.RoleScheduler)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { bustest.Close(t, as) })
	r := &rig{t: t, b: as}
	r.Service = r.another()
	conn := bustest.Application(t, b, "u1")
	ask := func(subject, body string) string {
		answer, err := conn.Request("plugfn.svc.scheduler.workflows."+subject, []byte(body), 10*time.Second)
		if err != nil {
			t.Fatal(subject, err)
		}
		return string(answer.Data)
	}
	text := string(definition(told("a", onOpened, "x")))
	for _, step := range []struct{ subject, body, says string }{
		{"u1.apply", `{"definition":` + text + `}`, `"version":1`},
		{"u1.apply", `{"definition":` + text + `,"if_version":4}`, `"status":409`},
		{"u1.apply", `{"definition":"name: A"}`, `"errors":[{"message":"has no steps","line":1,"column":1}`},
		{"u1.apply", `{"definition":"` + strings.Repeat("x", maxSent) + `"}`, "is longer than"},
		{"u1.validate", `{"definition":` + text + `}`, `"steps":1`},
		{"u1.diff", `{"definition":` + text + `}`, `"changes":[]`},
		{"u1.list", `{"limit":1}`, `"workflows":[{"name":"a"`},
		{"u1.list", `{"limits":1}`, "has no field"},
		{"u1.get.a", "", `"definition":{"name":"a"`},
		{"u1.get.b", "", "no such workflow"},
		{"u1.versions.a", "", `"versions":[{"version":1`},
		{"u1.compare.a", `{"from":1}`, `"changes":[]`},
		{"u1.export.a", `{"form":"json"}`, `"form":"json"`},
		{"u1.disable.a", "", `"status":"disabled"`},
		{"u1.enable.a", "", `"status":"enabled"`},
		{"u1.stats.a", `{"since":"1h"}`, `"total":0`},
		{"u1.delete.a", "", "{}"},
		{"u1.delete.a", "", "no such workflow"},
	} {
		if got := ask(step.subject, step.body); !strings.Contains(got, step.says) {
			t.Errorf("%s %.80s: %s, want %s", step.subject, step.body, got, step.says)
		}
	}
	if _, err := conn.Request(subject+"u2.list", nil, 300*time.Millisecond); err == nil {
		t.Error("u1 lists the workflows of u2")
	}
}

// TestStats counts a history as the driver of runs writes it.
func TestStats(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.apply("u1", told("a", onOpened, "x"))
	now := time.Now().UTC().Truncate(time.Millisecond)
	tell := func(c events.RunChange) {
		c.Workflow, c.UserID, c.Version = "a", "u1", 1
		msg, err := c.Msg()
		if err != nil {
			t.Fatal(err)
		}
		if _, err := r.b.JetStream().PublishMsg(t.Context(), msg); err != nil {
			t.Fatal(err)
		}
	}
	for n, end := range []string{"completed", "completed", "failed", "canceled", "running"} {
		run := fmt.Sprint("run_", n)
		tell(events.RunChange{Run: run, Number: 1, State: "running", At: now, Steps: []events.StepChange{{Step: "post", State: "waiting"}}})
		change := events.RunChange{Run: run, Number: 2, State: end, At: now.Add(time.Duration(n+1) * time.Second), DurationMS: int64(n+1) * 1000}
		if end == "completed" || end == "failed" {
			change.Steps = []events.StepChange{{Step: "post", State: end}}
		}
		if n == 1 {
			change.Reason = "filtered"
		}
		tell(change)
		tell(change) // the same once more
	}
	got, err := r.stats(t.Context(), "u1", "a", statsQuery{})
	if err != nil {
		t.Fatal(err)
	}
	rate, average := 2.0/3, int64(1500)
	want := Stats{
		Name: "a", Since: got.Since, Total: 5, Live: 1, Completed: 2, Filtered: 1, Failed: 1, Canceled: 1, SuccessRate: &rate, AverageMS: &average,
		LastRun: &LastRun{ID: "run_4", State: "running", Version: 1, At: now.Add(5 * time.Second)},
		Steps:   []StepStats{{ID: "post", Completed: 2, Failed: 1, AverageMS: 2000, LongestMS: 3000}},
	}
	if diff := cmp.Diff(want, got, cmp.AllowUnexported(StepStats{}), cmp.FilterPath(func(p cmp.Path) bool { return p.String() == "Steps.spent" }, cmp.Ignore())); diff != "" {
		t.Error(diff)
	}
}

// roundTrip has a text go through the API and back.
func roundTrip(t *testing.T, source []byte) {
	t.Helper()
	before, err := workflow.Parse(source)
	if err != nil {
		return
	}
	want, err := before.JSON()
	if err != nil {
		t.Fatal(err)
	}
	yaml, err := before.YAML()
	if err != nil {
		t.Fatal(err)
	}
	for _, form := range [][]byte{source, want, yaml} {
		for _, sent := range []json.RawMessage{definition(string(form)), form} {
			if !json.Valid(sent) {
				continue // a text can only be sent as one
			}
			var a Application
			body, err := json.Marshal(Application{Definition: sent})
			if err != nil {
				t.Fatal(err)
			}
			if err := json.Unmarshal(body, &a); err != nil {
				t.Fatal(err)
			}
			received, err := textOf(a.Definition)
			if err != nil {
				t.Fatal(err)
			}
			kept, err := encode(&text{Text: string(received)})
			if err != nil {
				t.Fatal(err)
			}
			var read text
			if err := json.Unmarshal(kept, &read); err != nil {
				t.Fatal(err)
			}
			after, err := workflow.Parse([]byte(read.Text))
			if err != nil {
				t.Fatalf("%s\ncannot be read any more: %v", read.Text, err)
			}
			got, err := after.JSON()
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(string(want), string(got)); diff != "" {
				t.Fatalf("%s\n%s", read.Text, diff)
			}
		}
	}
}

func FuzzRoundTrip(f *testing.F) {
	files, err := filepath.Glob("../../../examples/workflows/*.yaml")
	if err != nil || len(files) < 5 {
		f.Fatalf("%d examples, %v", len(files), err)
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(text)
	}
	f.Add([]byte("name: a\ntrigger: {manual: {}}\nvars: {a: \"<>&\\u2028\\x7f\", b: 1e400, c: 0x10}\nsteps: [{id: a, set: {a: \"${{ 1 }}\"}}]\n"))
	f.Fuzz(roundTrip)
}

// FuzzRecord reads what a bucket may hold.
func FuzzRecord(f *testing.F) {
	f.Add([]byte(`{"name":"a","user_id":"u1","status":"enabled","version":1,"versions":[{"version":1}]}`))
	f.Add([]byte(`{"name":"a","user_id":"u1","status":"enabled","version":1}`))
	f.Add([]byte(`{"name":"a","user_id":"u1","status":"deleted"}`))
	f.Fuzz(func(t *testing.T, value []byte) {
		r, err := decode(keyOf("u1", "a"), value)
		if err == nil && (r.Name != "a" || r.UserID != "u1" || r.Status != deleted && r.latest().Version < 0 && r.Version < 0) {
			t.Fatalf("%+v", r)
		}
	})
}
