package nearest

import (
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

func TestName(t *testing.T) {
	names := slices.Values([]string{"issues.create", "issues.get", "issues.list", "pulls.create", "chat.postMessage"})
	for name, want := range map[string]string{
		"issue.create":                    "issues.create",
		"issues.craete":                   "issues.create",
		"issues.gte":                      "issues.get",
		"chat.postmessage":                "chat.postMessage",
		"chat.post_message":               "chat.postMessage",
		"x":                               "",
		"":                                "",
		"users.delete.all":                "",
		strings.Repeat("issues.get", 100): "",
	} {
		if got := Name(name, names); got != want {
			t.Errorf("Name(%q) is %q, want %q", name, got, want)
		}
	}
}

func TestEditDistance(t *testing.T) {
	word := rapid.StringMatching(`[ab]{0,8}`)
	rapid.Check(t, func(t *rapid.T) {
		a, b := word.Draw(t, "a"), word.Draw(t, "b")
		d := editDistance(a, b)
		if d != editDistance(b, a) {
			t.Fatalf("not symmetric on %q, %q", a, b)
		}
		if (d == 0) != (a == b) {
			t.Fatalf("%d between %q and %q", d, a, b)
		}
		if d > max(len(a), len(b)) || d < max(len(a)-len(b), len(b)-len(a)) {
			t.Fatalf("%d between %q and %q is out of bounds", d, a, b)
		}
	})
	if d := editDistance("efect", "effect"); d != 1 {
		t.Errorf("one insertion is %d", d)
	}
	if d := editDistance("craete", "create"); d != 1 {
		t.Errorf("one swap is %d", d)
	}
}
