package providers

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"
)

// parseJSON reads one JSON value from outside, more strictly than
// encoding/json: what two readers could read differently is refused (repeated
// keys, invalid UTF-8, text after the value), and so is what only costs time
// (deep nesting, numbers of thousands of digits). Numbers stay json.Number.
//
// It is no use of encoding/json's tokens, because it is on the way of every
// action: those cost five times as much.
func parseJSON(data []byte) (any, error) {
	if !utf8.Valid(data) {
		return nil, errors.New("is not valid UTF-8")
	}
	p := jsonParser{text: string(data)}
	v, err := p.value(0)
	if err != nil {
		return nil, err
	}
	if _, ok := p.next(); ok {
		return nil, errors.New("has text after the JSON value")
	}
	return v, nil
}

// jsonParser reads text from at on. Texts without an escape are parts of it.
type jsonParser struct {
	text   string
	at     int
	values int
}

// next is the next byte that is no space, false at the end.
func (p *jsonParser) next() (byte, bool) {
	for p.at < len(p.text) {
		switch c := p.text[p.at]; c {
		case ' ', '\t', '\r', '\n':
			p.at++
		default:
			return c, true
		}
	}
	return 0, false
}

// wrong is why the text is no JSON at its place.
func (p *jsonParser) wrong() error {
	if p.at >= len(p.text) {
		return errors.New("is not JSON: it ends too early")
	}
	return fmt.Errorf("is not JSON: it has no place for what stands at byte %d", p.at+1)
}

func (p *jsonParser) value(depth int) (any, error) {
	c, ok := p.next()
	if !ok {
		return nil, p.wrong()
	}
	if p.values++; p.values > maxValues {
		return nil, fmt.Errorf("has more than %d values", maxValues)
	}
	switch c {
	case '{', '[':
		if depth >= maxDepth {
			return nil, fmt.Errorf("is nested deeper than %d levels", maxDepth)
		}
		p.at++
		if c == '{' {
			return p.object(depth + 1)
		}
		return p.list(depth + 1)
	case '"':
		return p.string()
	case 't':
		return true, p.literal("true")
	case 'f':
		return false, p.literal("false")
	case 'n':
		return nil, p.literal("null")
	default:
		return p.number()
	}
}

func (p *jsonParser) object(depth int) (any, error) {
	object := map[string]any{}
	for more := !p.ends('}'); more; {
		if c, ok := p.next(); !ok || c != '"' {
			return nil, p.wrong()
		}
		key, err := p.string()
		if err != nil {
			return nil, err
		}
		if _, twice := object[key]; twice {
			return nil, fmt.Errorf("has the key %q twice", clip(key, 80))
		}
		if !p.ends(':') {
			return nil, p.wrong()
		}
		if object[key], err = p.value(depth); err != nil {
			return nil, err
		}
		if more = p.ends(','); !more && !p.ends('}') {
			return nil, p.wrong()
		}
	}
	return object, nil
}

func (p *jsonParser) list(depth int) (any, error) {
	list := []any{}
	for more := !p.ends(']'); more; {
		v, err := p.value(depth)
		if err != nil {
			return nil, err
		}
		list = append(list, v)
		if more = p.ends(','); !more && !p.ends(']') {
			return nil, p.wrong()
		}
	}
	return list, nil
}

// ends takes a byte that ends something, if it is the next one.
func (p *jsonParser) ends(with byte) bool {
	c, ok := p.next()
	if ok = ok && c == with; ok {
		p.at++
	}
	return ok
}

func (p *jsonParser) literal(word string) error {
	for i := range len(word) {
		if p.at >= len(p.text) || p.text[p.at] != word[i] {
			return p.wrong()
		}
		p.at++
	}
	return nil
}

// string reads a text, whose quote is the next byte.
func (p *jsonParser) string() (string, error) {
	begin, escaped := p.at, false
	for p.at++; p.at < len(p.text); p.at++ {
		switch c := p.text[p.at]; {
		case c == '"':
			p.at++
			if escaped {
				return p.unescaped(begin)
			}
			return p.text[begin+1 : p.at-1], nil
		case c == '\\':
			escaped = true
			p.at++
		case c < ' ':
			return "", p.wrong()
		}
	}
	p.at = len(p.text)
	return "", p.wrong()
}

// unescaped is the text with escapes that ends here.
func (p *jsonParser) unescaped(begin int) (string, error) {
	var text string
	if err := json.Unmarshal([]byte(p.text[begin:p.at]), &text); err != nil {
		p.at = begin
		return "", p.wrong()
	}
	return text, nil
}

func (p *jsonParser) number() (any, error) {
	begin := p.at
	p.one("-")
	if !p.one("0") && !p.digits() {
		return nil, p.wrong()
	}
	if p.one(".") && !p.digits() {
		return nil, p.wrong()
	}
	if p.one("eE") {
		p.one("+-")
		if !p.digits() {
			return nil, p.wrong()
		}
	}
	n := json.Number(p.text[begin:p.at])
	return n, checkNumber(n)
}

// one takes one of some bytes, if it is the next one.
func (p *jsonParser) one(of string) bool {
	ok := p.at < len(p.text) && strings.IndexByte(of, p.text[p.at]) >= 0
	if ok {
		p.at++
	}
	return ok
}

// digits takes as many as there are, and reports whether there is one.
func (p *jsonParser) digits() bool {
	begin := p.at
	for p.at < len(p.text) && p.text[p.at] >= '0' && p.text[p.at] <= '9' {
		p.at++
	}
	return p.at > begin
}
