package providers

import (
	"unicode/utf16"
	"unicode/utf8"
)

// unquote returns the text of a valid JSON string, given what stands between
// its quotes; false when it is longer than limit bytes. Like encoding/json it
// puts U+FFFD for bytes that are not UTF-8 and for half of a surrogate pair.
func unquote(raw []byte, limit int) (string, bool) {
	text := make([]byte, 0, min(len(raw), limit))
	for i := 0; i < len(raw); {
		switch c := raw[i]; {
		case c == '\\':
			r, n := unescapeRune(raw[i:])
			text = utf8.AppendRune(text, r)
			i += n
		case c < utf8.RuneSelf:
			text = append(text, c)
			i++
		default:
			r, n := utf8.DecodeRune(raw[i:])
			text = utf8.AppendRune(text, r)
			i += n
		}
		if len(text) > limit {
			return "", false
		}
	}
	return string(text), true
}

// unescapeRune reads the escape sequence that raw begins with and tells its
// length. Two sequences that make a surrogate pair are read as one.
func unescapeRune(raw []byte) (r rune, size int) {
	switch raw[1] {
	case 'b':
		return '\b', 2
	case 'f':
		return '\f', 2
	case 'n':
		return '\n', 2
	case 'r':
		return '\r', 2
	case 't':
		return '\t', 2
	case 'u':
		r, _ = hex4(raw[2:])
	default:
		return rune(raw[1]), 2
	}
	if !utf16.IsSurrogate(r) {
		return r, 6
	}
	if len(raw) >= 12 && raw[6] == '\\' && raw[7] == 'u' {
		low, _ := hex4(raw[8:])
		if pair := utf16.DecodeRune(r, low); pair != utf8.RuneError {
			return pair, 12
		}
	}
	return utf8.RuneError, 6
}

// hex4 reads the four hexadecimal digits that raw begins with.
func hex4(raw []byte) (rune, bool) {
	if len(raw) < 4 {
		return 0, false
	}
	var r rune
	for _, c := range raw[:4] {
		switch {
		case c >= '0' && c <= '9':
			c -= '0'
		case c >= 'a' && c <= 'f':
			c -= 'a' - 10
		case c >= 'A' && c <= 'F':
			c -= 'A' - 10
		default:
			return 0, false
		}
		r = r<<4 | rune(c)
	}
	return r, true
}
