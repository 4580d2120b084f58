package workflow

import (
	"errors"
	"strings"

	"github.com/plugfn/plugfn/pkg/providers/expression"
)

// Template is a value that may hold ${{ }} in its texts. It is immutable and safe
// for concurrent use.
type Template struct {
	value  any         // without an expression in it
	whole  *Expression // the text is one ${{ }}: the value is its result, of whichever type
	parts  []part      // a text with ${{ }} in it
	list   []*Template
	object map[string]*Template
}

// part is a piece of a text: as it is, or the result of an expression.
type part struct {
	text       string
	expression *Expression
}

// Constant reports whether there is no expression in it.
func (t *Template) Constant() bool {
	return t.whole == nil && t.parts == nil && t.list == nil && t.object == nil
}

// Eval makes the value: what [expression.Decode] would return. Its errors are an
// *[EvalError].
func (t *Template) Eval(values Values) (any, error) {
	switch {
	case t.whole != nil:
		return t.whole.Eval(values)
	case t.parts != nil:
		return t.text(values)
	case t.list != nil:
		list := make([]any, len(t.list))
		for i, item := range t.list {
			v, err := item.Eval(values)
			if err != nil {
				return nil, err
			}
			list[i] = v
		}
		return list, nil
	case t.object != nil:
		object := make(map[string]any, len(t.object))
		for name, member := range t.object {
			v, err := member.Eval(values)
			if err != nil {
				return nil, err
			}
			object[name] = v
		}
		return object, nil
	default:
		return t.value, nil
	}
}

func (t *Template) text(values Values) (string, error) {
	var b strings.Builder
	for _, p := range t.parts {
		b.WriteString(p.text)
		if p.expression == nil {
			continue
		}
		v, err := p.expression.Eval(values)
		if err != nil {
			return "", err
		}
		text, err := expression.Text(v)
		if err != nil {
			return "", err
		}
		b.WriteString(text)
	}
	return b.String(), nil
}

// Expressions lists the expressions of the template.
func (t *Template) Expressions() []*Expression {
	if t == nil {
		return nil
	}
	var all []*Expression
	if t.whole != nil {
		all = append(all, t.whole)
	}
	for _, p := range t.parts {
		if p.expression != nil {
			all = append(all, p.expression)
		}
	}
	for _, item := range t.list {
		all = append(all, item.Expressions()...)
	}
	for _, name := range sortedKeys(t.object) {
		all = append(all, t.object[name].Expressions()...)
	}
	return all
}

// piece is a piece of a text while it is read.
type piece struct {
	text   string
	isCode bool
	at     int // characters before it
}

var errOpen = errors.New("has a ${{ without its }}")

// split takes a text apart at ${{ and }}.
func split(text string) ([]piece, error) {
	var all []piece
	at := 0
	for {
		start := strings.Index(text, "${{")
		if start < 0 {
			return append(all, piece{text: text, at: at}), nil
		}
		if start > 0 {
			all = append(all, piece{text: text[:start], at: at})
			at += len([]rune(text[:start]))
		}
		length := codeLength(text[start+3:])
		if length < 0 {
			return nil, errOpen
		}
		code := text[start+3 : start+3+length]
		all = append(all, piece{text: code, isCode: true, at: at + 3})
		at += 5 + len([]rune(code))
		text = text[start+3+length+2:]
		if text == "" {
			return all, nil
		}
	}
}

// codeLength is where the }} of an expression is; -1: nowhere. Braces inside it,
// and what is in quotes, do not count.
func codeLength(code string) int {
	depth, quote := 0, byte(0)
	for i := 0; i < len(code); i++ {
		c := code[i]
		switch {
		case quote != 0 && c == '\\' && quote != '`':
			i++
		case quote != 0:
			if c == quote {
				quote = 0
			}
		case c == '"' || c == '\'' || c == '`':
			quote = c
		case c == '{':
			depth++
		case c == '}' && depth > 0:
			depth--
		case c == '}' && i+1 < len(code) && code[i+1] == '}':
			return i
		}
	}
	return -1
}
