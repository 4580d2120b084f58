package providers

import (
	"strings"
	"testing"
)

func TestPredicate(t *testing.T) {
	object := map[string]any{
		"ok": true, "error": "denied", "code": 7, "ratio": 0.5, "none": nil,
		"errors": []any{map[string]any{"code": "THROTTLED"}, map[string]any{"code": "OTHER"}},
	}
	header := map[string]string{"retry-after": "5"}
	tests := []struct {
		text string
		body any
		want bool
	}{
		{"status == 200", nil, true},
		{"status in [200, 201]", nil, true},
		{"status >= 400 || status == 200", nil, true},
		{`header["retry-after"] == "5"`, nil, true},
		{`header["x-none"] == ""`, nil, true},
		{`header["x-none"] != ""`, nil, false},
		{"body.ok == true", object, true},
		{"body.ok", object, true},
		{`body.error in ["denied", "gone"]`, object, true},
		{`body.error contains "en"`, object, true},
		{`body.error matches "^den"`, object, true},
		{"body.code == 7 && body.code > 6 && body.ratio < 1", object, true},
		{"len(body.errors) == 2", object, true},
		{`any(body.errors, .code == "THROTTLED")`, object, true},
		{`all(body.errors, .code == "THROTTLED")`, object, false},
		{`body.none == nil`, object, true},
		{`body.absent == nil`, object, true},

		// Nothing there, or something else: false, and no panic.
		{"body.ok == true", nil, false},
		{"body.ok == true", "text", false},
		{"body.ok == true", []any{1}, false},
		{"body.ok == true", 5, false},
		{"body.absent.deeper == nil", object, false},
		{`body.error in ["denied"]`, map[string]any{"error": []any{}}, false},
		{`any(body.errors, .code == "x")`, nil, false},
		{`body.error matches "x"`, map[string]any{"error": 5}, false},
		{`body.code > 6`, map[string]any{"code": "seven"}, false},
		{"body.ok", map[string]any{"ok": "yes"}, false},

		// A negation needs ?. to hold for what is absent.
		{`!(body.error == "x")`, nil, false},
		{`!(body?.error == "x")`, nil, true},
		{`(body?.error ?? "") == ""`, nil, true},
	}
	for _, tt := range tests {
		p, err := parsePredicate(tt.text)
		if err != nil {
			t.Errorf("%s: %v", tt.text, err)
			continue
		}
		if got := p.holds(verdict{Status: 200, Header: header, Body: tt.body}); got != tt.want {
			t.Errorf("%s on %v is %t", tt.text, tt.body, got)
		}
		if want := strings.Contains(tt.text, "body"); p.readsBody != want {
			t.Errorf("%s: readsBody is %t", tt.text, p.readsBody)
		}
	}
}

func TestPredicateIsBounded(t *testing.T) {
	for _, text := range []string{
		"", "status", "status = 200", "nosuch == 1", "body.ok == true &&", "200",
		"any(1..10, # == 1)", "any(body.a, any(body.b, true))", "all(body, none(.x, one(.y, true)))",
		"map(body.a, #) == []", "filter(body.a, true) == []", "count(body.a) == 1", "reduce(body.a, #acc, 0) == 1", "sortBy(body, #) == []",
		"let x = body; x == 1", `body.a + body.a == ""`, `"a" matches body.pattern`, "repeat(\"a\", 9) == \"\"",
		"now() == now()", `toJSON(body) == ""`, "body.f()", "len(split(body.a, \",\")) == 1", "string(body) == \"\"",
		"status == 1 " + strings.Repeat("|| status == 1 ", 100),
		strings.Repeat("(", 2000) + "true" + strings.Repeat(")", 2000),
	} {
		if _, err := parsePredicate(text); err == nil {
			t.Errorf("%.60s is accepted", text)
		} else if strings.Contains(err.Error(), "\n") {
			t.Errorf("%.60s: the message has several lines: %v", text, err)
		}
	}
}
