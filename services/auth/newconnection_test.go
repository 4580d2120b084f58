package auth

import (
	"strings"
	"testing"

	"github.com/plugfn/plugfn/pkg/events"
)

func TestCreateRefuses(t *testing.T) {
	r := newRig(t)
	tests := []struct {
		name string
		edit func(*newConnection)
		code events.Code
		want string
	}{
		{"unknown provider", func(n *newConnection) { n.Provider = "gihub" }, events.CodeUnknownProvider, `"gihub", did you mean github?`},
		{"strange provider", func(n *newConnection) { n.Provider = "zzzzzzzzzzzz" }, events.CodeUnknownProvider, "plugfn provider list"},
		{"unknown auth", func(n *newConnection) { n.Auth = "pta" }, events.CodeInvalidParams, `auth: provider github has no "pta"; it has: pat, app`},
		{"auth that is not a token", func(n *newConnection) { n.Auth = "app" }, events.CodeInvalidParams, "auth: app of provider github is not made from a token"},
		{"auth none", func(n *newConnection) { n.Provider = "weather" }, events.CodeInvalidParams, "auth: provider weather takes no credential"},
		{"no auth block", func(n *newConnection) { n.Provider = "clock" }, events.CodeInvalidParams, "auth: provider clock takes no credential"},
		{"no user", func(n *newConnection) { n.UserID = "" }, events.CodeInvalidParams, "user_id: must not be empty"},
		{"long user", func(n *newConnection) { n.UserID = strings.Repeat("ü", 129) }, events.CodeInvalidParams, "user_id: longer than 256 bytes"},
		{"user with control characters", func(n *newConnection) { n.UserID = "u\n1" }, events.CodeInvalidParams, "user_id: must be valid UTF-8 without control"},
		{"user that is not UTF-8", func(n *newConnection) { n.UserID = "u\xff" }, events.CodeInvalidParams, "user_id: must be valid UTF-8"},
		{"long name", func(n *newConnection) { n.Name = strings.Repeat("ü", 101) }, events.CodeInvalidParams, "name: longer than 100 characters"},
		{"name with control characters", func(n *newConnection) { n.Name = "\x1b[31m" }, events.CodeInvalidParams, "name: must be"},
		{"long account", func(n *newConnection) { n.Account = strings.Repeat("a", 257) }, events.CodeInvalidParams, "account: longer than 256 bytes"},
		{"account with control characters", func(n *newConnection) { n.Account = "\u0085" }, events.CodeInvalidParams, "account: must be"},
		{"no token", func(n *newConnection) { n.Token = secret("") }, events.CodeInvalidParams, "token: must not be empty"},
		{"long token", func(n *newConnection) { n.Token = secret(strings.Repeat("t", 8<<10+1)) }, events.CodeInvalidParams, "token: longer than 8192 bytes"},
		{"token with line break", func(n *newConnection) { n.Token = secret("ghp_canary\n") }, events.CodeInvalidParams, "token: must be valid UTF-8 without line breaks"},
		{"token that is not UTF-8", func(n *newConnection) { n.Token = secret("ghp_canary\xff") }, events.CodeInvalidParams, "token: must be valid UTF-8"},
		{"token with a space", func(n *newConnection) { n.Token = secret(" ghp_canary") }, events.CodeInvalidParams, "token: must not begin or end with a space"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			in := newConnection{UserID: "u1", Provider: "github", Token: secret("ghp_canary")}
			tt.edit(&in)
			_, err := r.create(t.Context(), in)
			e := wantCode(t, err, tt.code)
			if !strings.Contains(e.Message, tt.want) {
				t.Errorf("message %q does not say %q", e.Message, tt.want)
			}
			if strings.Contains(e.Message, "ghp_canary") {
				t.Errorf("message %q shows the token", e.Message)
			}
		})
	}
	if left, _, err := r.store.list(t.Context(), query{}); err != nil || len(left) > 0 {
		t.Errorf("refused and kept: %v, %v", left, err)
	}
}

func TestCreateTakesTheLongest(t *testing.T) {
	r := newRig(t)
	want := newConnection{
		UserID: strings.Repeat("ü", 128), Provider: "github", Auth: "pat",
		Name: strings.Repeat("ü", 100), Account: strings.Repeat("a", 256), Token: secret(strings.Repeat("t", 8<<10)),
	}
	made, err := r.create(t.Context(), want)
	if err != nil {
		t.Fatal(err)
	}
	got, err := r.credential(t.Context(), want.UserID, "github", made.ID)
	if err != nil || !got.Token.Equal(want.Token) || got.Auth != "pat" || got.Version != 1 || got.ConnectionID != made.ID {
		t.Errorf("got %+v, %v", got, err)
	}
}
