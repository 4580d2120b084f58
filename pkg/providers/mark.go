package providers

import (
	"bytes"
	"strings"
)

// Mark is what makes a write recognisable.
type Mark struct {
	// Key tells it from every other one: a UUID, the same for all attempts.
	Key string
	// Cause is the id of what led to it, such as a run: letters, digits, _ and -,
	// at most 64. An event that the provider sends of what was written has it
	// again, see [Webhooks].CausedBy. A cause of another form is left out, and so
	// is "".
	Cause string
}

const (
	markPrefix = "plugfn:"
	maxCause   = 64
	keySize    = len(exampleKey)
)

// exampleMark is as long as every mark.
func exampleMark() Mark { return Mark{Key: exampleKey, Cause: strings.Repeat("c", maxCause)} }

// text is the mark as a stamp has it.
func (m Mark) text() string {
	if n := causeSize([]byte(m.Cause)); n == 0 || n != len(m.Cause) {
		return markPrefix + m.Key
	}
	return markPrefix + m.Key + " " + m.Cause
}

// field is the value of a field of a stamp.
func (m Mark) field(name string) (any, bool) {
	if name == markField {
		return m.text(), true
	}
	return m.Key, true
}

// causeSize is how many bytes text begins with that a cause may be made of; 0
// where these are too many.
func causeSize(text []byte) int {
	n := bytes.IndexFunc(text, func(c rune) bool {
		return (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (c < '0' || c > '9') && c != '_' && c != '-'
	})
	if n < 0 {
		n = len(text)
	}
	n = len(bytes.TrimRight(text[:n], "-")) // a comment may end right behind it
	if n > maxCause {
		return 0
	}
	return n
}

// causeIn is the cause of the last mark in a text; "" where there is none.
func causeIn(text []byte) string {
	at := bytes.LastIndex(text, []byte(markPrefix))
	if at < 0 {
		return ""
	}
	text = text[at+len(markPrefix):]
	if len(text) <= keySize || text[keySize] != ' ' {
		return ""
	}
	text = text[keySize+1:]
	return string(text[:causeSize(text)])
}

// maxCausedBy is how many places of an event may bear a mark.
const maxCausedBy = 8

// checkCausedBy reports what is no pointer to a member, and compiles the others.
func (w *Webhooks) checkCausedBy(r report) {
	if len(w.CausedBy) > maxCausedBy {
		r("webhooks.caused_by", "must have at most %d entries", maxCausedBy)
	}
	for i, p := range w.CausedBy {
		tokens, err := parsePointer(p)
		if err != nil || len(tokens) == 0 {
			r(item("webhooks.caused_by", i), "%q must be a JSON pointer to a member, such as /issue/body", clip(p, 60))
			continue
		}
		w.marks.add(p, tokens)
	}
}

// causeOf is what led to the write that an event is about, by the first of its
// places that bears a mark.
func (w *Webhooks) causeOf(data []byte) string {
	if len(w.CausedBy) == 0 || !bytes.Contains(data, []byte(markPrefix)) {
		return ""
	}
	spans, err := w.marks.scan(data)
	if err != nil {
		return ""
	}
	for _, p := range w.CausedBy {
		// What a mark is made of is written in JSON as it is.
		if s := spans[w.marks.slots[p]]; s.quoted {
			if cause := causeIn(data[s.start:s.end]); cause != "" {
				return cause
			}
		}
	}
	return ""
}
