package runs

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/plugfn/plugfn/services/scheduler/runs/machine"
)

// ask sends a request on the bus.
func (r *rig) askBus(tail, body string, into any) string {
	r.t.Helper()
	answer, err := r.bus.Conn().Request(subject+tail, []byte(body), 10*time.Second)
	if err != nil {
		r.t.Fatal(err)
	}
	if into != nil {
		if err := json.Unmarshal(answer.Data, into); err != nil {
			r.t.Fatal(err)
		}
	}
	return string(answer.Data)
}

const greet = "name: greet\ninput: {type: object, required: [name], properties: {name: {type: string}}}\n" + manual + `
  - {id: nap, delay: {for: 100ms}}
  - {id: out, respond: {data: 'hello ${{ input.name }}'}}`

func TestOnTheBus(t *testing.T) {
	r := newRig(t)
	r.shelf.apply(t, "u1", greet)
	r.start()
	var run, again View
	r.askBus("u1.start", `{"workflow":"greet","input":{"name":"Ada"},"key":"k"}`, &run)
	r.askBus("u1.start", `{"workflow":"greet","input":{"name":"Ada"},"key":"k"}`, &again)
	if run.ID == "" || run.ID != again.ID || run.Cause.Kind != ByHand {
		t.Fatalf("%+v, and again %+v", run, again)
	}
	var over Detail
	r.askBus("u1.wait."+run.ID, "", &over)
	if over.Status != machine.Completed || string(over.Output) != `"hello Ada"` || len(over.Steps) != 2 || over.DurationMS < 100 {
		t.Errorf("%+v", over)
	}
	var all page
	r.askBus("u1.list", `{"status":"completed","workflow":"greet"}`, &all)
	if len(all.Runs) != 1 || all.Runs[0].ID != run.ID {
		t.Errorf("listed %+v", all)
	}
	var said log
	r.askBus("u1.logs."+run.ID, "", &said)
	if n := len(said.Transitions); n != 2 || said.Transitions[1].State != "completed" {
		t.Errorf("told %+v", said)
	}
	var replayed View
	r.askBus("u1.replay."+run.ID, `{}`, &replayed)
	r.askBus("u1.wait."+replayed.ID, "", &over)
	if replayed.ID == run.ID || string(over.Output) != `"hello Ada"` {
		t.Errorf("replayed %+v", over)
	}
	for tail, says := range map[string]string{
		"u2.get." + run.ID:    "no such run",
		"u1.get.other":        "no such run",
		"u1.retry." + run.ID:  "only a run that has failed",
		"u1.start":            "no workflow",
		"u2.cancel." + run.ID: "no such run",
	} {
		if got := r.askBus(tail, `{}`, nil); !strings.Contains(got, says) {
			t.Errorf("%s: %s, want %s", tail, got, says)
		}
	}
	if got := r.askBus("u1.list", `{"status":"done"}`, nil); !strings.Contains(got, "status: must be one of") {
		t.Errorf("a status that there is not: %s", got)
	}
}

func TestOverHTTP(t *testing.T) {
	r := newRig(t)
	r.shelf.apply(t, "u1", greet)
	r.shelf.apply(t, "u1", "name: sleeper\n"+manual+"\n  - {id: nap, delay: {for: 1h}}")
	r.start()
	mux := http.NewServeMux()
	r.Mount(mux)
	call := func(method, path, body string, into any) int {
		request := httptest.NewRequest(method, path, strings.NewReader(body))
		request.Header.Set("Authorization", "Bearer key")
		request.Header.Set("Content-Type", "application/json")
		w := httptest.NewRecorder()
		mux.ServeHTTP(w, request)
		if into != nil {
			if err := json.Unmarshal(w.Body.Bytes(), into); err != nil {
				t.Fatalf("%s %s: %s", method, path, w.Body)
			}
		}
		return w.Code
	}
	var run View
	if status := call("POST", "/v1/runs", `{"user_id":"u1","workflow":"greet","input":{"name":5}}`, &run); status != http.StatusCreated {
		t.Fatalf("status %d", status)
	}
	var over Detail
	call("GET", "/v1/runs/"+run.ID+"?wait=10", "", &over)
	if over.Status != machine.Failed || over.Error == nil || over.Error.Code != "invalid_params" {
		t.Errorf("with a wrong input %+v", over.View)
	}
	var asleep View
	call("POST", "/v1/runs", `{"user_id":"u1","workflow":"sleeper"}`, &asleep)
	if status := call("POST", "/v1/runs/"+asleep.ID+"/cancel", `{"reason":"late"}`, &asleep); status != http.StatusOK || asleep.Status != machine.Canceled || asleep.Reason != "late" {
		t.Errorf("canceled: %d %+v", status, asleep)
	}
	if status := call("POST", "/v1/runs/"+asleep.ID+"/retry", "", nil); status != http.StatusConflict {
		t.Errorf("retry of a canceled run: %d", status)
	}
	var all page
	call("GET", "/v1/runs?limit=1", "", &all)
	if len(all.Runs) != 1 || all.NextCursor == "" || all.Runs[0].ID != asleep.ID {
		t.Errorf("the first page %+v", all)
	}
	var second page
	call("GET", "/v1/runs?limit=1&cursor="+all.NextCursor, "", &second)
	if len(second.Runs) != 1 || second.NextCursor != "" || second.Runs[0].ID != run.ID {
		t.Errorf("the second page %+v", second)
	}
	if status := call("GET", "/v1/runs/run_none", "", nil); status != http.StatusNotFound {
		t.Errorf("of a run that there is not: %d", status)
	}
	if status := call("GET", "/v1/runs/openapi.json", "", nil); status != http.StatusOK {
		t.Errorf("the document: %d", status)
	}
}
