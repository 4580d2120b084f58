package providers

import (
	"strings"
	"testing"
)

func TestTemplate(t *testing.T) {
	fields := map[string]string{"params.a": "Ä b", "params.empty": "", "credential.token": "s3cret:"}
	tests := []struct {
		text, want string
		absent     bool
	}{
		{text: "plain", want: "plain"},
		{text: "{{params.a}}", want: "Ä b"},
		{text: "{{ params.a }}", want: "Ä b"},
		{text: "x{{params.a}}y{{params.empty}}z", want: "xÄ byz"},
		{text: "{{params.a | lower}}", want: "ä b"},
		{text: "Basic {{credential.token | base64}}", want: "Basic czNjcmV0Og=="},
		{text: `{{params.none | default "Open" | lower}}`, want: "open"},
		{text: `{{params.none | lower | default "Open"}}`, want: "Open"},
		{text: `{{params.a | default "x"}}`, want: "Ä b"},
		{text: `{{params.empty | default "x"}}`, want: ""},
		{text: "{{params.none}}", absent: true},
		{text: "a{{params.none | base64}}", absent: true},
		{text: "{single}", want: "{single}"},
	}
	for _, tt := range tests {
		parsed, err := parseTemplate(tt.text)
		if err != nil {
			t.Errorf("%s: %v", tt.text, err)
			continue
		}
		got, ok := parsed.expand(func(field string) (string, bool) {
			v, ok := fields[field]
			return v, ok
		})
		if got != tt.want || ok == tt.absent {
			t.Errorf("%s gives %q, %t", tt.text, got, ok)
		}
		if parsed.String() != tt.text {
			t.Errorf("%s prints as %s", tt.text, parsed)
		}
	}
}

func TestTemplateRefuses(t *testing.T) {
	for _, text := range []string{
		"{{", "}}", "{{}}", "{{params.a", "a}}", "{{params.a}}}}", "{{params}}", "{{params.}}", "{{params.a.b}}", "{{params.a b}}",
		"{{credential}}", "{{credential.}}", "{{env.HOME}}", "{{params.a | upper}}", "{{params.a | lower x}}", "{{params.a |}}",
		"{{params.a | default}}", "{{params.a | default x}}", `{{params.a | default "x" "y"}}`, "{{.a}}", "{{params.1}}",
		"{{params." + strings.Repeat("a", 65) + "}}", "{{{{params.a}}}}",
	} {
		if parsed, err := parseTemplate(text); err == nil {
			t.Errorf("%s is accepted as %+v", text, parsed)
		}
	}
}
