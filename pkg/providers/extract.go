package providers

import (
	"encoding/binary"
	"fmt"
)

// maxValue is the longest value in bytes that is taken from a delivery. A
// longer one is as good as absent.
const maxValue = 4 << 10

var errTooDeep = fmt.Errorf("JSON nested deeper than %d levels", maxDepth)

// span is where a document writes the value of a pointer. The zero value says
// that it has none: no such member, or null.
type span struct {
	start, end int
	nested     bool // it is an object or an array
	quoted     bool // it is a string
	coded      bool // whose text is not just its bytes
}

// text returns the value: a string without quotes and escapes, a number, true
// or false as written. An object or an array has none, and one longer than
// maxValue is absent.
func (s span) text(doc []byte) (string, bool) { return s.textUpTo(doc, maxValue) }

// whole is text without a limit but that of the document.
func (s span) whole(doc []byte) (string, bool) { return s.textUpTo(doc, len(doc)) }

func (s span) textUpTo(doc []byte, limit int) (string, bool) {
	raw := doc[s.start:s.end]
	if s.quoted {
		raw = raw[1 : len(raw)-1]
	}
	switch {
	case s.coded:
		return unquote(raw, limit)
	case s.nested || s.end == 0 || len(raw) > limit:
		return "", false
	}
	return string(raw), true
}

// scan reads doc once and returns the spans of the pointers, by slot. It
// accepts the documents that json.Valid accepts, but for the depth, and like
// encoding/json it lets the last of several equal keys win.
func (s *pointerSet) scan(doc []byte) ([]span, error) {
	sc := scanner{doc: doc, spans: make([]span, len(s.slots))}
	if err := sc.value(&s.root); err != nil {
		return nil, err
	}
	sc.space()
	if sc.pos < len(doc) {
		return nil, sc.broken()
	}
	return sc.spans, nil
}

// elements returns where the elements of an array are, false when doc is none or
// has more than limit. It reads only what a scan has found to be JSON.
func elements(doc []byte, limit int) ([]span, bool) {
	s := scanner{doc: doc}
	if !s.next('[') {
		return nil, false
	}
	var all []span
	if s.next(']') {
		return all, true
	}
	for len(all) < limit {
		s.space()
		start := s.pos
		if s.value(nil) != nil {
			return nil, false
		}
		all = append(all, span{start: start, end: s.pos})
		if s.next(']') {
			return all, true
		}
		if !s.next(',') {
			return nil, false
		}
	}
	return nil, false
}

// scanner reads one document, front to back, without copying from it. A nil
// node means that nothing is looked for at that place.
type scanner struct {
	doc   []byte
	pos   int
	depth int
	spans []span
}

// broken names the place, never the content: that is the user's.
func (s *scanner) broken() error { return fmt.Errorf("not JSON at byte %d", s.pos) }

func (s *scanner) space() {
	for s.pos < len(s.doc) {
		switch s.doc[s.pos] {
		case ' ', '\t', '\r', '\n':
			s.pos++
		default:
			return
		}
	}
}

// next consumes c after white space, if it is there.
func (s *scanner) next(c byte) bool {
	s.space()
	if s.pos < len(s.doc) && s.doc[s.pos] == c {
		s.pos++
		return true
	}
	return false
}

func (s *scanner) value(n *pointerNode) error {
	if n != nil {
		for _, slot := range n.below {
			s.spans[slot] = span{}
		}
	}
	s.space()
	if s.pos == len(s.doc) {
		return s.broken()
	}
	start, c, plain := s.pos, s.doc[s.pos], true
	var err error
	switch c {
	case '{':
		err = s.nested(n, s.object)
	case '[':
		err = s.nested(n, s.array)
	case 'n':
		return s.literal("null")
	case 't':
		err = s.literal("true")
	case 'f':
		err = s.literal("false")
	case '"':
		plain, err = s.str()
	default:
		err = s.number()
	}
	if err == nil && n != nil && n.slot > 0 {
		s.spans[n.slot-1] = span{start: start, end: s.pos, nested: c == '{' || c == '[', quoted: c == '"', coded: !plain}
	}
	return err
}

func (s *scanner) nested(n *pointerNode, read func(*pointerNode) error) error {
	if s.depth++; s.depth > maxDepth {
		return errTooDeep
	}
	s.pos++
	err := read(n)
	s.depth--
	return err
}

func (s *scanner) object(n *pointerNode) error {
	if s.next('}') {
		return nil
	}
	for {
		s.space()
		start := s.pos
		plain, err := s.str()
		if err != nil {
			return err
		}
		member := n.member(s.doc[start+1:s.pos-1], plain)
		if !s.next(':') {
			return s.broken()
		}
		if err := s.value(member); err != nil {
			return err
		}
		if s.next('}') {
			return nil
		}
		if !s.next(',') {
			return s.broken()
		}
	}
}

func (s *scanner) array(n *pointerNode) error {
	if s.next(']') {
		return nil
	}
	for i := 0; ; i++ {
		var item *pointerNode
		if n != nil {
			item = n.items[i]
		}
		if err := s.value(item); err != nil {
			return err
		}
		if s.next(']') {
			return nil
		}
		if !s.next(',') {
			return s.broken()
		}
	}
}

// str consumes a string. It is plain when its bytes are its text: ASCII
// without escapes.
func (s *scanner) str() (plain bool, err error) {
	if s.pos == len(s.doc) || s.doc[s.pos] != '"' {
		return false, s.broken()
	}
	plain = true
	for s.pos++; s.pos < len(s.doc); s.pos++ {
		n, ascii := unremarkable(s.doc[s.pos:])
		s.pos += n
		plain = plain && ascii
		if s.pos == len(s.doc) {
			break
		}
		switch c := s.doc[s.pos]; {
		case c == '"':
			s.pos++
			return plain, nil
		case c == '\\':
			plain = false
			if !s.escape() {
				return false, s.broken()
			}
		case c < ' ':
			return false, s.broken()
		case c >= 0x80:
			plain = false
		}
	}
	return false, s.broken()
}

// unremarkable counts the bytes at the start of text, by eights, that neither end
// a string, nor escape in it, nor are forbidden in it; and tells whether they are
// ASCII. It looks at eight at once: most of a document is text.
func unremarkable(text []byte) (n int, ascii bool) {
	const ones, highs uint64 = 0x0101010101010101, 0x8080808080808080
	var all uint64
	for ; len(text) >= 8; text = text[8:] {
		word := binary.LittleEndian.Uint64(text)
		quote, slash := word^ones*'"', word^ones*'\\'
		if ((word-ones*' ')&^word|(quote-ones)&^quote|(slash-ones)&^slash)&highs != 0 {
			break
		}
		all |= word
		n += 8
	}
	return n, all&highs == 0
}

// escape consumes an escape sequence but for its last byte.
func (s *scanner) escape() bool {
	s.pos++
	if s.pos == len(s.doc) {
		return false
	}
	switch s.doc[s.pos] {
	case '"', '\\', '/', 'b', 'f', 'n', 'r', 't':
		return true
	case 'u':
		if _, ok := hex4(s.doc[s.pos+1:]); !ok {
			return false
		}
		s.pos += 4
		return true
	}
	return false
}

func (s *scanner) literal(word string) error {
	for i := range len(word) {
		if s.pos == len(s.doc) || s.doc[s.pos] != word[i] {
			return s.broken()
		}
		s.pos++
	}
	return nil
}

func (s *scanner) number() error {
	s.accept("-")
	if !s.accept("0") && !s.digits() {
		return s.broken()
	}
	if s.accept(".") && !s.digits() {
		return s.broken()
	}
	if s.accept("eE") {
		s.accept("+-")
		if !s.digits() {
			return s.broken()
		}
	}
	return nil
}

// accept consumes the next byte if it is one of set.
func (s *scanner) accept(set string) bool {
	if s.pos == len(s.doc) {
		return false
	}
	for i := range len(set) {
		if s.doc[s.pos] == set[i] {
			s.pos++
			return true
		}
	}
	return false
}

func (s *scanner) digits() bool {
	start := s.pos
	for s.pos < len(s.doc) && s.doc[s.pos] >= '0' && s.doc[s.pos] <= '9' {
		s.pos++
	}
	return s.pos > start
}
