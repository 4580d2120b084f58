package events

import (
	"strings"
	"testing"
)

func TestCheckInbox(t *testing.T) {
	for subject, ok := range map[string]bool{
		"_INBOX.abc.1":         true,
		"_INBOX_acme.abc":      true,
		"_R_.GgqzeT.MtGfKp":    true, // of a client in another account
		"_R_":                  false,
		"_RX.a":                false,
		"_PLUGFN_INBOX.auth.a": false,
		"plugfn.action.u.p.a":  false,
		"$JS.API.STREAM.PURGE": false,
		"":                     false,
		"_INBOX.":              false,
		"_INBOX.*":             false,
		"_INBOX.a b":           false,
		"_INBOX..a":            false,
		"_R_.>":                false,
		"_INBOX." + strings.Repeat("a", MaxSubject): false,
	} {
		if err := CheckInbox(subject); (err == nil) != ok {
			t.Errorf("%q: %v", subject, err)
		}
	}
}

func TestApplicationNames(t *testing.T) {
	for user, want := range map[string]string{
		"u1":     "app-u1",
		"u 1":    "app-u=201",
		Everyone: "app",
		"":       "app-_",
		"app":    "app-app",
	} {
		if got := ApplicationName(user); got != want {
			t.Errorf("%q: name %q, want %q", user, got, want)
		}
		inbox := ApplicationInbox(user)
		if err := CheckInbox(inbox + ".a"); err != nil || inbox != "_INBOX."+want {
			t.Errorf("%q: inbox %q, %v", user, inbox, err)
		}
	}
}
