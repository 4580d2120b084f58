package schedules

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/plugfn/plugfn/internal/bus"
	"github.com/plugfn/plugfn/internal/bus/bustest"
	"github.com/plugfn/plugfn/pkg/events"
	"github.com/plugfn/plugfn/services/scheduler/desk"
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

func TestRoutes(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	status, body := r.web("POST", pathSchedules, `{"user_id":"u1","name":"n","every":"1h","jitter":"5m","target":{"event":{"name":"a.b","data":[1]}}}`)
	var made View
	if err := json.Unmarshal([]byte(body), &made); err != nil || status != http.StatusCreated || made.UserID != "u1" || made.NextAt.IsZero() || made.Misfire != FireOnce {
		t.Fatalf("%d %s", status, body)
	}
	one := pathSchedules + "/" + made.ID
	for _, step := range []struct {
		method, path, body string
		status             int
		says               string
	}{
		{"GET", one, "", 200, `"every":"1h"`},
		{"GET", one + "?user_id=u1", "", 200, `"data":[1]`},
		{"GET", one + "?user_id=u2", "", 404, "no such schedule"},
		{"GET", pathSchedules + "?user_id=u1", "", 200, made.ID},
		{"GET", pathSchedules + "?user_id=u2", "", 200, `"schedules":[]`},
		{"GET", pathSchedules + "?state=odd", "", 422, "state"},
		{"GET", one + "/next?n=2", "", 200, `"fires_at"`},
		{"GET", one + "/next?n=1000", "", 422, "n"},
		{"PATCH", one, `{"cron":"0 9 * * *","zone":"Asia/Tokyo"}`, 200, `"zone":"Asia/Tokyo"`},
		{"PATCH", one, `{"cron":"0 9 * *"}`, 422, "cron: "},
		{"PATCH", one, `{}`, 422, "say what to change"},
		{"PATCH", one, `{"crom":"0 9 * * *"}`, 422, "crom"},
		{"POST", one + "/pause", "", 200, `"state":"paused"`},
		{"POST", one + "/pause", "", 200, `"state":"paused"`},
		{"PATCH", one, `{"name":"m"}`, 200, `"state":"paused"`},
		{"POST", one + "/run", "", 200, `"by_hand":true`},
		{"POST", one + "/resume", "", 200, `"state":"active"`},
		{"PUT", one, "", 405, ""},
		{"GET", pathDocument, "", 200, "run-schedule"},
		{"DELETE", one + "?user_id=u2", "", 404, ""},
		{"DELETE", one, "", 204, ""},
		{"DELETE", one, "", 404, "no such schedule"},
		{"POST", one + "/resume", "", 404, "no such schedule"},
	} {
		status, body := r.web(step.method, step.path, step.body)
		if status != step.status || !strings.Contains(body, step.says) {
			t.Errorf("%s %s %s: %d %s", step.method, step.path, step.body, status, body)
		}
	}
}

func TestPages(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	seen := map[string]bool{}
	for i := range 7 {
		r.make(fmt.Sprint("u", i%2), Plan{Every: "1h", Target: event("a")})
	}
	cursor := ""
	for pages := 0; ; pages++ {
		all, next, err := r.list(t.Context(), query{Limit: 3, Cursor: cursor})
		if err != nil || pages > 3 {
			t.Fatal(err, pages)
		}
		for _, one := range all {
			if one.ID <= cursor || seen[one.ID] {
				t.Errorf("%s comes after %s", one.ID, cursor)
			}
			seen[one.ID] = true
		}
		if cursor = next; next == "" {
			break
		}
	}
	if len(seen) != 7 {
		t.Errorf("%d seen", len(seen))
	}
}

func TestCreateRefuses(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	action := func(text string) string {
		return `{"user_id":"u1","every":"1h","target":{"action":` + text + `}}`
	}
	for _, tt := range []struct {
		body string
		code events.Code
		says string
	}{
		{`{"every":"1h","target":{"event":{"name":"a"}}}`, events.CodeInvalidParams, "user_id"},
		{`{"user_id":"u1","every":"1h"}`, events.CodeInvalidParams, "target"},
		{`{"user_id":"u1","every":"1h","target":{}}`, events.CodeInvalidParams, "set one of action, event, workflow, poll and subject"},
		{`{"user_id":"u1","every":"1h","target":{"event":{"name":"a"},"subject":{"subject":"plugfn.action.u1.slack.a"}}}`, events.CodeInvalidParams, "set one of"},
		{`{"user_id":"u1","every":"1h","target":{"event":{"name":"a.*"}}}`, events.CodeInvalidParams, "target.event.name"},
		{`{"user_id":"u1","every":"soon","target":{"event":{"name":"a"}}}`, events.CodeInvalidParams, "every: must be a duration"},
		{`{"user_id":"u1","every":"1h","name":"a\u0007","target":{"event":{"name":"a"}}}`, events.CodeInvalidParams, "name: "},
		{`{"user_id":"u\u0007","every":"1h","target":{"event":{"name":"a"}}}`, events.CodeInvalidParams, "user_id: "},
		{`{"user_id":"u1","at":"tomorrow","target":{"event":{"name":"a"}}}`, events.CodeInvalidParams, "at"},
		{`{"user_id":"u1","every":"1h","overlap":"queue","target":{"event":{"name":"a"}}}`, events.CodeInvalidParams, "an event does not go on"},
		{action(`{"provider":"slak","action":"chat.postMessage"}`), events.CodeUnknownProvider, `did you mean "slack"?`},
		{action(`{"provider":"slack","action":"chat.postMesage"}`), events.CodeUnknownAction, `did you mean "chat.postMessage"?`},
		{action(`{"provider":"slack","action":"chat.postMessage"}`), events.CodeInvalidParams, "target.action.params: "},
		{action(`{"provider":"slack","action":"chat.postMessage","params":[1]}`), events.CodeInvalidParams, "object"},
		{`{"user_id":"u1","every":"1h","target":{"poll":{"provider":"github","trigger":"push"}}}`, events.CodeInvalidParams, "target.poll.trigger: "},
		{`{"user_id":"u1","every":"59s","target":{"poll":{"provider":"github","trigger":"notification"}}}`, events.CodeInvalidParams, "every: is too often"},
		{`{"user_id":"u1","cron":"0,20 * * * * *","target":{"poll":{"provider":"github","trigger":"notification"}}}`, events.CodeInvalidParams, "every: is too often"},
		{`{"user_id":"u1","every":"1h","target":{"poll":{"provider":"github","trigger":"notification","connection_id":"a\u0007"}}}`, events.CodeInvalidParams, "target.poll.connection_id"},
		{`{"user_id":"u1","every":"1h","target":{"subject":{"subject":"plugfn.action.u2.slack.chat.postMessage"}}}`, events.CodeInvalidParams, "may publish himself"},
		{`{"user_id":"u1","every":"1h","target":{"subject":{"subject":"plugfn.svc.auth.token"}}}`, events.CodeInvalidParams, "may publish himself"},
		{`{"user_id":"u1","every":"1h","target":{"subject":{"subject":"plugfn.action.u1.slack"}}}`, events.CodeInvalidParams, "subject"},
		{`{"user_id":"u1","every":"1h","target":{"subject":{"subject":"plugfn.action.u1.slack.>"}}}`, events.CodeInvalidParams, "may publish himself"},
	} {
		status, body := r.web("POST", pathSchedules, tt.body)
		if status < 400 || status >= 500 || !strings.Contains(body, string(tt.code)) || !strings.Contains(strings.ReplaceAll(body, `\"`, `"`), tt.says) {
			t.Errorf("%s: %d %s", tt.body, status, body)
		}
	}
	if all, _, err := r.list(t.Context(), query{}); err != nil || len(all) != 0 {
		t.Errorf("%d were made all the same: %v", len(all), err)
	}
	if all := r.stored(events.StreamLater, "plugfn."); len(all) != 0 {
		t.Errorf("%d are parked", len(all))
	}
}

// TestSubjectTargets are stored as what they mean.
func TestSubjectTargets(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	made := r.make("u 1", Plan{Every: "1h", Target: Target{Subject: &SubjectTarget{
		Subject: events.ActionSubject("u 1", "slack", "chat.postMessage"), Data: json.RawMessage(`{"channel":"#a","text":"b"}`),
	}}})
	if a := made.Target.Action; made.Target.Subject != nil || a == nil || a.Provider != "slack" || a.Action != "chat.postMessage" {
		t.Errorf("got %+v", made.Target)
	}
}

// TestOverTheBus has an application that may only do what its user may.
func TestOverTheBus(t *testing.T) {
	t.Parallel()
	b := bustest.New(t, bustest.Listen, bustest.Secure)
	as, err := b.As(t.Context(), bus.RoleScheduler)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { bustest.Close(t, as) })
	r := &rig{Service: newService(t, as, packs(t)), t: t, bus: as}
	r.start(r.Service)
	conn := bustest.Application(t, b, "u1")
	ask := func(tail, body string) string {
		t.Helper()
		answer, err := conn.Request(subject+tail, []byte(body), 5*time.Second)
		if err != nil {
			t.Fatalf("%s: %v", tail, err)
		}
		return string(answer.Data)
	}
	var made View
	text := ask("u1.create", `{"at":"`+time.Now().Add(time.Hour).UTC().Format(time.RFC3339)+`","target":{"event":{"name":"a"}}}`)
	if err := json.Unmarshal([]byte(text), &made); err != nil || made.ID == "" || made.UserID != "u1" {
		t.Fatal(text)
	}
	for _, step := range []struct{ tail, body, says string }{
		{"u1.list", "", made.ID},
		{"u1.list", `{"state":"paused"}`, `"schedules":[]`},
		{"u1.get." + made.ID, "", `"name":"a"`},
		{"u1.get.sch_0", "", `"status":404`},
		{"u1.next." + made.ID, `{"n":3}`, `"fires_at"`},
		{"u1.pause." + made.ID, "", `"paused"`},
		{"u1.resume." + made.ID, "", `"active"`},
		{"u1.amend." + made.ID, `{"every":"2s","end":"2100-01-01T00:00:00Z"}`, `"every":"2s"`},
		{"u1.amend." + made.ID, `{"user_id":"u2"}`, "has no field"},
		{"u1.amend." + made.ID, `{"every":2}`, "every: must be a JSON string"},
		{"u1.create", `{"every":"1h","target":{"event":{"name":"a"}}} trailing`, "must be a JSON object"},
		{"u1.run." + made.ID, "", `"by_hand":true`},
		{"u1.delete." + made.ID, "", `{}`},
		{"u1.get." + made.ID, "", "no such schedule"},
	} {
		if got := ask(step.tail, step.body); !strings.Contains(got, step.says) {
			t.Errorf("%s %s: %s", step.tail, step.body, got)
		}
	}
	if _, err := conn.Request(subject+"u2.list", nil, 300*time.Millisecond); err == nil {
		t.Error("u1 lists the schedules of u2")
	}
}

// FuzzPlan reads what a caller may send, and what a bucket may hold.
func FuzzPlan(f *testing.F) {
	for _, seed := range []string{
		`{"every":"1h","target":{"event":{"name":"a"}}}`, `{"cron":"0 9 * * *","zone":"Europe/Berlin","jitter":"1h","target":{"event":{"name":"a.b","data":{}}}}`,
		`{"at":"2030-01-01T00:00:00Z","overlap":"skip","target":{"action":{"provider":"slack","action":"chat.postMessage","params":{"channel":"a","text":"b"}}}}`,
		`{"every":"1s","start":"1970-01-01T00:00:00Z","end":"2199-01-01T00:00:00Z","target":{"subject":{"subject":"plugfn.event.u1.schedule.a"}}}`,
		`{"target":null}`, `[]`, `{"every":"9999999h"}`, `{"id":"sch_1","user_id":"u1","generation":1}`,
	} {
		f.Add([]byte(seed))
	}
	registry := packs(f)
	now := time.Date(2026, 11, 28, 12, 0, 0, 0, time.UTC)
	f.Fuzz(func(t *testing.T, body []byte) {
		if r, err := decode(events.Key("u1", "sch_1"), body); err == nil && r.key() != events.Key("u1", "sch_1") {
			t.Fatal("the record of another key")
		}
		var p Plan
		if err := (desk.Request{Body: body}).Read(&p); err != nil {
			return
		}
		r := record{ID: "sch_1", UserID: "u1", Anchor: now}
		if _, err := p.check("u1", registry, now); err != nil {
			return
		}
		r.Plan = p
		if err := r.renew(now); err != nil {
			return
		}
		if !r.Next.After(now) || r.Wake.Before(r.Next) {
			t.Fatalf("next %s, wakes %s", r.Next, r.Wake)
		}
		value, err := json.Marshal(&r)
		if err != nil {
			t.Fatal(err)
		}
		again, err := decode(r.key(), value)
		if err != nil || !again.Wake.Equal(r.Wake) || again.Target.Action == nil && again.Target.Event == nil {
			t.Fatalf("%s is read back as %+v, %v", value, again, err)
		}
		if _, _, err := r.message(&Tick{ID: r.tickID(r.Next), At: r.Next}); err != nil {
			t.Fatal(err)
		}
	})
}
