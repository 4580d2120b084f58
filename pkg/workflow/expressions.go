package workflow

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"regexp"
	"strings"

	"github.com/plugfn/plugfn/pkg/providers/expression"
)

func hint(name string) string {
	if name == "" {
		return ""
	}
	return ", did you mean " + name + "?"
}

// builtins are the functions of expr that workflows have, beside those of the
// package expression and now.
func builtins() []string {
	return []string{
		"all", "any", "none", "one", "filter", "map", "find", "count", "sortBy", "groupBy", "len", "int", "float", "abs", "ceil",
		"floor", "round", "min", "max", "first", "last", "take", "keys", "values", "reverse", "sort", "date", "duration",
	}
}

// expression compiles an expression; nil when it is wrong. It may be written as
// ${{ … }} as well.
func (c *compiler) expression(text, path string, s scope, condition bool) *Expression {
	pieces, err := split(text)
	code, at := text, 0
	if err == nil && len(pieces) == 1 && pieces[0].isCode {
		code, at = pieces[0].text, pieces[0].at
	}
	e := c.code(code, path, at, s)
	if e == nil || !condition {
		return e
	}
	if name := resultName(e.program.Result().Kind); name != "" && name != "boolean" {
		c.reportAt(path, at, "must be true or false, is of type %s", name)
	}
	return e
}

func (c *compiler) code(code, path string, at int, s scope) *Expression {
	fields := maps.Clone(s.fields)
	if s.steps != nil {
		fields["steps"] = s.steps
	}
	trimmed := strings.TrimLeft(code, " \t\n")
	at += len([]rune(code)) - len([]rune(trimmed))
	p, err := expression.Language{
		Env: fields, Builtins: builtins(), Texts: true, MaxText: MaxExpression, MaxNodes: maxExpressionNodes,
	}.Compile(strings.TrimRight(trimmed, " \t\n"))
	if err == nil {
		return &Expression{path: path, program: p}
	}
	found := (*expression.Error)(nil)
	if !errors.As(err, &found) {
		c.reportAt(path, at, "%v", err)
		return nil
	}
	c.reportAt(path, at+offset(trimmed, found.Line, found.Column), "%s", c.better(found.Message, trimmed))
	return nil
}

// offset counts the characters of a text before a line and column of it.
func offset(text string, line, column int) int {
	at := 0
	for ; line > 1; line-- {
		before, after, ok := strings.Cut(text, "\n")
		if !ok {
			break
		}
		at += len([]rune(before)) + 1
		text = after
	}
	return at + column - 1
}

func (c *compiler) reportAt(path string, at int, format string, args ...any) {
	line, column := c.definition.source.locateIn(path, at)
	c.problems = append(c.problems, Problem{line, column, path, fmt.Sprintf(format, args...)})
}

// better says of a field that is unknown what it would have been.
func (c *compiler) better(message, code string) string {
	name, ok := strings.CutPrefix(message, "unknown field ")
	if !ok {
		return message
	}
	name, rest := cutName(name)
	is := func(of string) bool {
		return regexp.MustCompile(`\b` + of + `\s*\??(?:\.\s*` + regexp.QuoteMeta(name) + `\b|\[\s*["']` + regexp.QuoteMeta(name) + `["'])`).MatchString(code)
	}
	switch {
	case is("vars"):
		return "unknown variable " + name + rest
	case !is("steps"):
		return message
	case c.ids[name] != "":
		return "step " + name + " has not ended where this stands, or is not seen from here"
	}
	for id := range c.ids {
		if strings.HasPrefix(id, name+"-") {
			return fmt.Sprintf(`unknown step %s: an id with - in it is written steps["%s"]`, name, id)
		}
	}
	return "unknown step " + name + rest
}

func cutName(text string) (name, rest string) {
	i := strings.IndexAny(text, ",; ")
	if i < 0 {
		return text, ""
	}
	return text[:i], text[i:]
}

// template compiles a value that may hold ${{ }}; nil when it is wrong.
func (c *compiler) template(value json.RawMessage, path string, s scope) *Template {
	v, err := expression.Decode(value)
	if err != nil {
		c.report(path, "%v", err)
		return nil
	}
	return c.templateOf(v, path, s)
}

func (c *compiler) templateOf(v any, path string, s scope) *Template {
	t := &Template{value: v}
	constant := true
	add := func(member any, path string) *Template {
		inner := c.templateOf(member, path, s)
		constant = constant && inner.Constant()
		return inner
	}
	switch v := v.(type) {
	case string:
		return c.text(v, path, s)
	case []any:
		list := make([]*Template, len(v))
		for i, item := range v {
			list[i] = add(item, fmt.Sprintf("%s[%d]", path, i))
		}
		if !constant {
			t.list = list
		}
	case map[string]any:
		object := map[string]*Template{}
		for _, name := range sortedKeys(v) {
			object[name] = add(v[name], join(path, name))
		}
		if !constant {
			t.object = object
		}
	}
	return t
}

func (c *compiler) text(text, path string, s scope) *Template {
	t := &Template{value: text}
	pieces, err := split(text)
	if err != nil {
		c.report(path, "%v", err)
		return t
	}
	for _, p := range pieces {
		if !p.isCode {
			t.parts = append(t.parts, part{text: p.text})
			continue
		}
		e := c.code(p.text, path, p.at, s)
		if e == nil {
			return &Template{whole: &Expression{path: path}} // wrong, and no constant
		}
		t.parts = append(t.parts, part{expression: e})
	}
	switch {
	case len(t.parts) == 1 && t.parts[0].expression != nil:
		return &Template{whole: t.parts[0].expression}
	case len(t.parts) == 1:
		t.parts = nil
	}
	return t
}
