package draft

import (
	"regexp/syntax"
	"strings"
)

// patternExample is a short text that a regular expression takes.
func patternExample(pattern string) string {
	expr, err := syntax.Parse(pattern, syntax.Perl)
	if err != nil {
		return "example"
	}
	var b strings.Builder
	spell(&b, expr.Simplify())
	if b.Len() == 0 {
		return "example"
	}
	return b.String()
}

func spell(b *strings.Builder, e *syntax.Regexp) {
	if b.Len() > 500 {
		return
	}
	switch e.Op {
	case syntax.OpLiteral:
		b.WriteString(string(e.Rune))
	case syntax.OpCharClass:
		if len(e.Rune) > 0 {
			b.WriteRune(runeOf(e.Rune))
		}
	case syntax.OpAnyChar, syntax.OpAnyCharNotNL:
		b.WriteByte('a')
	case syntax.OpCapture, syntax.OpPlus:
		spell(b, e.Sub[0])
	case syntax.OpRepeat:
		for range min(e.Min, 100) {
			spell(b, e.Sub[0])
		}
	case syntax.OpConcat:
		for _, sub := range e.Sub {
			spell(b, sub)
		}
	case syntax.OpAlternate:
		spell(b, e.Sub[0])
	}
}

// runeOf chooses a letter or a digit of a class where it has one.
func runeOf(ranges []rune) rune {
	for _, want := range "a1A_-" {
		for i := 0; i+1 < len(ranges); i += 2 {
			if want >= ranges[i] && want <= ranges[i+1] {
				return want
			}
		}
	}
	return ranges[0]
}
