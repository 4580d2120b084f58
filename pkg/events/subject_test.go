package events

import (
	"strings"
	"testing"

	"pgregory.net/rapid"
)

func TestToken(t *testing.T) {
	tests := []struct{ in, want string }{
		{"u1", "u1"},
		{"", "_"},
		{"_", "=5F"},
		{"a.b", "a=2Eb"},
		{"a b", "a=20b"},
		{"*", "=2A"},
		{">", "=3E"},
		{"=", "=3D"},
		{"h-0011223344556677", "=68-0011223344556677"},
		{"ü", "=C3=BC"},
		{"\x00", "=00"},
		{strings.Repeat("a", 64), strings.Repeat("a", 64)},
		{strings.Repeat("a", 65), "h-635361c48bb9eab1"},
		{strings.Repeat(".", 22), "h-e21612cbaf18a415"},
	}
	for _, tt := range tests {
		if got := Token(tt.in); got != tt.want {
			t.Errorf("Token(%q) = %q, want %q", tt.in, got, tt.want)
		}
	}
}

func TestUntokenRefusesWhatTokenNeverMakes(t *testing.T) {
	for _, token := range []string{"", "a.b", "=", "=5", "=zz", "=61", "h-00", "a b", "=2e"} {
		if s, ok := Untoken(token); ok {
			t.Errorf("Untoken(%q) = %q, want a refusal", token, s)
		}
	}
}

func TestName(t *testing.T) {
	tests := []struct{ in, want string }{
		{"issues.opened", "issues.opened"},
		{"push", "push"},
		{"", "_"},
		{"a..b", "a._.b"},
		{"a.b*", "a.b=2A"},
		{"issues." + strings.Repeat("x.", 60), "issues.h-a5be3b408731a6bf"},
	}
	for _, tt := range tests {
		if got := Name(tt.in); got != tt.want {
			t.Errorf("Name(%q) = %q, want %q", tt.in, got, tt.want)
		}
	}
}

func TestTokenIsInjective(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		// Few letters, so that collisions would be found.
		gen := rapid.StringOfN(rapid.RuneFrom([]rune("ah-_=.25F0")), 0, 6, -1)
		a, b := gen.Draw(t, "a"), gen.Draw(t, "b")
		if (a == b) != (Token(a) == Token(b)) {
			t.Fatalf("Token(%q) = %q, Token(%q) = %q", a, Token(a), b, Token(b))
		}
	})
}

// legal is what NATS needs of a subject, written apart from the code it checks.
func legal(s string) bool {
	if s == "" || len(s) > 255 {
		return false
	}
	for token := range strings.SplitSeq(s, ".") {
		if token == "" || strings.Trim(token, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-=") != "" {
			return false
		}
	}
	return true
}

func FuzzSubjects(f *testing.F) {
	for _, s := range []string{"u1", "", "_", "*", ">", "a.b", "..", "\x00", "h-0123456789abcdef", strings.Repeat("é", 3000), "$SYS", "a\r\nb"} {
		f.Add(s, "github", "issues.opened")
		f.Add("u1", s, "issues.opened")
		f.Add("u1", "github", s)
	}
	f.Fuzz(func(t *testing.T, user, provider, name string) {
		for _, subject := range []string{
			ActionSubject(user, provider, name), CallSubject(user, provider, name),
			EventSubject(user, provider, name), ResultSubject(user, provider, Succeeded, name),
			ConnectionSubject(user, provider, NeedsReauth), DeadSubject("action", user, provider, name),
			LaterSubject("action", user, name), DueSubject("action", user),
		} {
			if !legal(subject) {
				t.Fatalf("illegal subject %q (%d bytes)", subject, len(subject))
			}
		}
		if s, ok := Untoken(Token(user)); ok && s != user {
			t.Fatalf("Untoken(Token(%q)) = %q", user, s)
		}
		requestRoundTrip(t, user, name)
		eventRoundTrip(t, user, name)
	})
}

func requestRoundTrip(t *testing.T, user, action string) {
	t.Helper()
	in := ActionRequest{UserID: user, Provider: "github", Action: action, Params: []byte(`{}`)}
	msg := in.Msg(in.Subject())
	out, err := ParseActionRequest(msg.Subject, viaWire(t, msg).Header, msg.Data)
	if err != nil {
		t.Fatalf("user %q action %q: %v", user, action, err)
	}
	wantAction := action
	if out.UserID != user || out.Action != wantAction {
		t.Fatalf("got user %q action %q, want %q %q", out.UserID, out.Action, user, wantAction)
	}
}

func eventRoundTrip(t *testing.T, user, name string) {
	t.Helper()
	in := Event{ID: "1" + user, Source: "/plugfn/github/_/_", Type: "com.github." + name, UserID: user, EventName: name, Data: []byte(name)}
	msg := in.Msg(EventSubject(user, "github", name))
	out, err := ParseEvent(viaWire(t, msg).Header, msg.Data)
	if err != nil {
		t.Fatal(err)
	}
	if out.UserID != user || out.EventName != name || out.ID != in.ID || out.Type != in.Type || string(out.Data) != name {
		t.Fatalf("got %+v, want %+v", out, in)
	}
}
