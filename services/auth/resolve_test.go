package auth

import (
	"strings"
	"testing"

	"github.com/plugfn/plugfn/pkg/events"
)

func TestACredentialOfAnotherRecordDoesNotOpen(t *testing.T) {
	r := newRig(t)
	mine, theirs := r.connect(t, "u1", "github", "ghp_mine"), r.connect(t, "u2", "github", "ghp_theirs")
	var a, b []byte
	r.change(t, mine, func(r *record) { a = r.Credential })
	r.change(t, theirs, func(r *record) { b, r.Credential = r.Credential, a })
	r.change(t, mine, func(r *record) { r.Credential = b })
	for _, c := range []events.Connection{mine, theirs} {
		_, err := r.credential(t.Context(), c.UserID, "github", c.ID)
		wantCode(t, err, events.CodeNeedsReauth)
	}
}

func TestResolve(t *testing.T) {
	r := newRig(t)
	only := r.connect(t, "one", "github", "t")
	var several []string
	for range 7 {
		several = append(several, r.connect(t, "many", "github", "t").ID)
	}
	asleep := r.connect(t, "asleep", "github", "t")
	r.change(t, asleep, func(r *record) { r.Status = events.ConnectionNeedsReauth })
	later := r.connect(t, "later", "github", "t")
	r.change(t, later, func(r *record) { r.Status = "of a later version" })

	tests := []struct {
		name, user, provider, id string
		want                     string // id
		code                     events.Code
	}{
		{"the only one", "one", "github", "", only.ID, ""},
		{"by id", "one", "github", only.ID, only.ID, ""},
		{"by id among several", "many", "github", several[3], several[3], ""},
		{"of another user", "many", "github", only.ID, "", events.CodeConnectionNotFound},
		{"of another provider", "one", "slack", only.ID, "", events.CodeConnectionNotFound},
		{"none", "one", "slack", "", "", events.CodeConnectionNotFound},
		{"no user", "", "github", only.ID, "", events.CodeConnectionNotFound},
		{"user that is a wildcard", "*", "github", "", "", events.CodeConnectionNotFound},
		{"id that is a wildcard", "one", "github", "*", "", events.CodeConnectionNotFound},
		{"several", "many", "github", "", "", events.CodeConnectionAmbiguous},
		{"needs reauth", "asleep", "github", "", "", events.CodeNeedsReauth},
		{"needs reauth by id", "asleep", "github", asleep.ID, "", events.CodeNeedsReauth},
		{"unknown status", "later", "github", "", "", events.CodeNeedsReauth},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c, err := r.credential(t.Context(), tt.user, tt.provider, tt.id)
			if tt.code != "" {
				wantCode(t, err, tt.code)
				return
			}
			if err != nil || c.ConnectionID != tt.want {
				t.Errorf("got %s, %v", c.ConnectionID, err)
			}
		})
	}
	_, err := r.store.resolve(t.Context(), "many", "github", "")
	want := strings.Join(several[:5], ", ") + " and more"
	if e := wantCode(t, err, events.CodeConnectionAmbiguous); !strings.Contains(e.Message, want) {
		t.Errorf("message %q does not list %s", e.Message, want)
	}
}

func TestConnectionsThatNeedReauthCount(t *testing.T) {
	r := newRig(t)
	r.connect(t, "u1", "github", "t")
	asleep := r.connect(t, "u1", "github", "t")
	r.change(t, asleep, func(r *record) { r.Status = events.ConnectionNeedsReauth })
	_, err := r.store.resolve(t.Context(), "u1", "github", "")
	wantCode(t, err, events.CodeConnectionAmbiguous)
}
