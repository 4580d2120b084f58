package auth

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/plugfn/plugfn/pkg/events"
)

type keyList struct {
	Generation int
	Wrapped    bool
	Unknown    int
	Unreadable int
	Keys       []struct {
		ID     uint32
		Status string
		Values int
	}
}

func (l keyList) String() string {
	var all []string
	for _, k := range l.Keys {
		all = append(all, fmt.Sprintf("%s:%d", k.Status, k.Values))
	}
	return strings.Join(all, " ")
}

func TestHTTPKeys(t *testing.T) {
	now := time.Now()
	r, _ := newKeyRig(t, func(c *KeysConfig) { c.Wrapper, c.Now = newKEK(t), func() time.Time { return now } })
	for i := range 3 {
		r.keep(t, fmt.Sprintf("con_%d", i), "t")
	}
	r.overwrite(t, events.Connection{UserID: "u1", Provider: "github", ID: "con_damaged"}, []byte("}"))
	w := newWeb(t, r)
	ask := func(status int, method, path, body string) string {
		t.Helper()
		got := w.do(t, method, pathKeys+path, body, "Content-Type", "application/json")
		if got.status != status {
			t.Fatalf("%s %s: %d %s", method, path, got.status, got.body)
		}
		return got.body
	}
	want := func(text string) keyList {
		t.Helper()
		list := parse[keyList](t, ask(http.StatusOK, "GET", "", ""))
		if list.String() != text || !list.Wrapped || list.Unreadable != 1 || list.Unknown != 0 {
			t.Fatalf("got %s, want %s: %+v", list, text, list)
		}
		return list
	}
	first := want("primary:3").Keys[0].ID
	rotated := parse[keyList](t, ask(http.StatusOK, "POST", "/rotate", ""))
	if rotated.String() != "enabled:3 primary:0" {
		t.Fatal(rotated)
	}
	old := fmt.Sprintf("/%d", first)
	if text := ask(http.StatusConflict, "POST", old+"/disable", ""); !strings.Contains(text, "3 values are encrypted under key") || strings.Contains(text, `"code"`) {
		t.Error(text)
	}
	type done struct {
		Total, Examined, Rewritten int
		Failures                   []sweepFailure
		NextCursor                 string `json:"next_cursor"`
	}
	dry := parse[done](t, ask(http.StatusOK, "POST", "/reencrypt", `{"dry_run":true}`))
	if dry.Total != 4 || dry.Examined != 4 || dry.Rewritten != 3 || len(dry.Failures) != 1 {
		t.Errorf("%+v", dry)
	}
	want("enabled:3 primary:0")
	for cursor, begun := "", false; !begun || cursor != ""; begun = true {
		body, err := json.Marshal(map[string]string{"cursor": cursor})
		must(t, err)
		cursor = parse[done](t, ask(http.StatusOK, "POST", "/reencrypt", string(body))).NextCursor
	}
	want("enabled:0 primary:3")
	ask(http.StatusNoContent, "POST", old+"/disable", "")
	want("disabled:0 primary:3")
	ask(http.StatusConflict, "DELETE", old, "")
	now = now.Add(restBeforeDestroy)
	ask(http.StatusNoContent, "POST", old+"/enable", "")
	ask(http.StatusNoContent, "POST", old+"/disable", "")
	now = now.Add(restBeforeDestroy)
	ask(http.StatusNoContent, "DELETE", old, "")
	want("primary:3")

	ask(http.StatusNotFound, "DELETE", old, "")
	ask(http.StatusNotFound, "POST", old+"/disable", "")
	ask(http.StatusUnprocessableEntity, "DELETE", "/4294967296", "")
	ask(http.StatusUnprocessableEntity, "DELETE", "/x", "")
	ask(http.StatusUnprocessableEntity, "POST", "/reencrypt", `{"cursor":"x"}`)
	ask(http.StatusUnprocessableEntity, "POST", "/reencrypt", `{"dryrun":true}`)
	ask(http.StatusMethodNotAllowed, "DELETE", "", "")

	w.key = "Bearer of another key"
	for _, route := range [][2]string{{"GET", ""}, {"POST", "/rotate"}, {"POST", "/reencrypt"}, {"POST", "/1/disable"}, {"POST", "/1/enable"}, {"DELETE", "/1"}} {
		ask(http.StatusUnauthorized, route[0], route[1], "{}")
	}
}
