package auth

import (
	"fmt"
	"net/http"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/plugfn/plugfn/pkg/events"
	"github.com/plugfn/plugfn/services/auth/oauthtest"
)

func TestAuditSaysWhoDidWhat(t *testing.T) {
	r := newRig(t)
	r.serve(t)
	w := newWeb(t, r)
	made := parse[connection](t, w.do(t, "POST", pathConnections, newGithub).body)
	one := pathConnections + "/" + made.ID
	if got := w.do(t, "GET", one, ""); !parse[connection](t, got.body).LastUsedAt.IsZero() {
		t.Errorf("used before it was: %s", got.body)
	}
	client := newClient(t, r)
	for range 3 {
		if _, err := client.Credential(t.Context(), "u1", "github", ""); err != nil {
			t.Fatal(err)
		}
	}
	for _, call := range [][3]string{
		{"PATCH", one, `{"name":"work"}`},
		{"PATCH", one, `{"default":true}`},
		{"POST", one + "/test", ""},
		{"POST", one + "/reconnect", `{"token":"ghp_newer"}`},
	} {
		if got := w.do(t, call[0], call[1], call[2]); got.status != http.StatusOK {
			t.Fatalf("%s %s: %d %s", call[0], call[1], got.status, got.body)
		}
	}
	eventually(t, "the use", func() bool {
		return !parse[connection](t, w.do(t, "GET", one, "").body).LastUsedAt.IsZero()
	})
	got := w.do(t, "GET", one+"/audit?user_id=u1", "")
	var what []string
	for _, e := range parse[struct{ Entries []entry }](t, got.body).Entries {
		if e.At.IsZero() {
			t.Errorf("no time: %+v", e)
		}
		if e.What == auditUsed { // at any place: it is written in its own time
			if e.Actor != r.bus.Conn().Opts.Name || e.Detail != "version 1" {
				t.Errorf("used by %q: %s", e.Actor, e.Detail)
			}
			continue
		}
		what = append(what, e.Actor+" "+e.What)
	}
	want := []string{"api recovered", "api tested", "api updated", "api updated", "api created"}
	if diff := cmp.Diff(want, what); diff != "" {
		t.Error(diff)
	}
	for _, path := range []string{one + "/audit?user_id=u2", one + "x/audit"} {
		if got := w.do(t, "GET", path, ""); got.status != http.StatusNotFound {
			t.Errorf("%s: %d", path, got.status)
		}
	}
}

func TestUsesAreNotedOnceAMinute(t *testing.T) {
	clock := &clock{}
	a := &audit{now: clock.now, queue: make(chan entry, 10), last: map[string]time.Time{}}
	k := &kept{key: "u1.github.con_1"}
	for _, asker := range []string{"one", "two", "one", ""} {
		a.used(k, asker)
	}
	if len(a.queue) != 3 {
		t.Errorf("%d notes, want one for each asker", len(a.queue))
	}
	clock.add(2 * time.Minute)
	a.used(k, "one")
	if len(a.queue) != 4 {
		t.Error("not noted after two minutes")
	}
	for i := range 20 { // more than wait: nobody is held up
		a.used(k, fmt.Sprint("asker ", i))
	}
	if len(a.queue) != cap(a.queue) {
		t.Errorf("%d notes", len(a.queue))
	}
}

// Each thing that is done has its own last times, so that many uses push out no
// change.
func TestManyUsesPushOutNoChange(t *testing.T) {
	s := newScene(t, oauthtest.Config{})
	for range 30 {
		s.audit.note(t.Context(), newEntry(t.Context(), auditUsed, s.clock.now(), s.c.Connection))
	}
	all, err := s.store.history(t.Context(), "u1", s.c.ID)
	if err != nil || len(all) != 21 || all[20].What != string(events.Created) {
		t.Errorf("%d entries, %v", len(all), err)
	}
}
