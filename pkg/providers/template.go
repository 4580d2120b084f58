package providers

import (
	"encoding/base64"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"
)

// Template is a text with fields: "Bearer {{credential.token}}",
// "{{params.state | default "open" | lower}}". A field is params.NAME,
// credential.NAME, app.NAME or, in auth blocks, one of scopes, assertion and
// nonce, and in idempotency blocks one of key, since, item and item.NAME; the
// filters are base64, lower, unix (the seconds of an RFC 3339 time) and
// default "x". Which fields may be used where is checked when the pack is loaded. There is no other syntax, and
// nothing to execute.
type Template struct {
	text  string
	parts []templatePart
}

// templatePart is a literal, or a field with its filters.
type templatePart struct {
	literal string
	field   string // such as params.NAME; "" for a literal
	filters []templateFilter
}

type templateFilter struct{ name, arg string }

// authField is what most auth blocks apply.
const authField = "credential.token"

// UnmarshalYAML compiles the template.
func (t *Template) UnmarshalYAML(node *yaml.Node) error {
	text, err := scalarText(node)
	if err != nil {
		return err
	}
	parsed, err := parseTemplate(text)
	if err != nil {
		return atLine(node, "%w", err)
	}
	*t = parsed
	return nil
}

// String returns the template as it was written.
func (t Template) String() string { return t.text }

// IsZero reports whether the template is empty.
func (t Template) IsZero() bool { return t.text == "" }

func parseTemplate(text string) (Template, error) {
	t := Template{text: text}
	for rest := text; rest != ""; {
		literal, after, found := strings.Cut(rest, "{{")
		if strings.Contains(literal, "}}") {
			return t, errors.New("has }} without {{")
		}
		if literal != "" {
			t.parts = append(t.parts, templatePart{literal: literal})
		}
		if !found {
			break
		}
		inner, after, closed := strings.Cut(after, "}}")
		if !closed {
			return t, errors.New("has {{ without }}")
		}
		part, err := parseField(inner)
		if err != nil {
			return t, fmt.Errorf("{{%s}}: %w", clip(inner, 80), err)
		}
		t.parts = append(t.parts, part)
		rest = after
	}
	return t, nil
}

func parseField(inner string) (templatePart, error) {
	words := strings.Split(inner, "|")
	p := templatePart{field: strings.TrimSpace(words[0])}
	if !isField(p.field) {
		return p, errors.New("a field is params.NAME, credential.NAME or app.NAME")
	}
	for _, word := range words[1:] {
		name, arg, hasArg := strings.Cut(strings.TrimSpace(word), " ")
		f := templateFilter{name: name}
		switch {
		case (name == "base64" || name == "lower" || name == "unix") && !hasArg:
		case name == "default" && hasArg:
			var err error
			if f.arg, err = strconv.Unquote(strings.TrimSpace(arg)); err != nil {
				return p, errors.New(`default wants a text in quotes: default "x"`)
			}
		default:
			return p, fmt.Errorf(`unknown filter %q: there are base64, lower, unix and default "x"`, clip(name, 40))
		}
		p.filters = append(p.filters, f)
	}
	return p, nil
}

func isField(s string) bool {
	group, name, dotted := cutField(s)
	if !dotted {
		return slices.Contains([]string{"scopes", "assertion", "nonce", keyField, markField, sinceField, itemField}, s)
	}
	return slices.Contains([]string{"params", "credential", "app", itemField}, group) && isName(name)
}

func cutField(s string) (group, name string, dotted bool) { return strings.Cut(s, ".") }

// isName reports whether s can name a parameter in a template.
func isName(s string) bool {
	for i := range len(s) {
		c := s[i]
		letter := c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c == '_'
		if !letter && (i == 0 || (c < '0' || c > '9') && c != '-') {
			return false
		}
	}
	return s != "" && len(s) <= 64
}

// fields lists the fields that the template uses.
func (t Template) fields() []string {
	var fields []string
	for _, p := range t.parts {
		if p.field != "" {
			fields = append(fields, p.field)
		}
	}
	return fields
}

func (t Template) hasFilters() bool {
	return slices.ContainsFunc(t.parts, func(p templatePart) bool { return len(p.filters) > 0 })
}

// where names the parameters of the template as JSON pointers, for messages.
func (t Template) where() string {
	var names []string
	for _, field := range t.fields() {
		names = append(names, "/"+strings.TrimPrefix(field, "params."))
	}
	return strings.Join(names, ", ")
}

// Expand fills the template of an auth block, as the other ones are filled: it
// reports false when a field has no value and no default.
func (t Template) Expand(value func(field string) (string, bool)) (string, bool) {
	return t.expand(value)
}

// expand fills the template. It reports false when a field has no value and no
// default.
func (t Template) expand(value func(field string) (string, bool)) (string, bool) {
	var b strings.Builder
	for _, p := range t.parts {
		text, ok := p.expand(value)
		if !ok {
			return "", false
		}
		b.WriteString(text)
	}
	return b.String(), true
}

func (p templatePart) expand(value func(field string) (string, bool)) (string, bool) {
	if p.field == "" {
		return p.literal, true
	}
	text, ok := value(p.field)
	for _, f := range p.filters {
		switch {
		case f.name == "default" && !ok:
			text, ok = f.arg, true
		case f.name == "base64":
			text = base64.StdEncoding.EncodeToString([]byte(text))
		case f.name == "lower":
			text = strings.ToLower(text)
		case f.name == "unix":
			at, err := time.Parse(time.RFC3339Nano, text)
			text, ok = strconv.FormatInt(at.Unix(), 10), ok && err == nil
		}
	}
	return text, ok
}
