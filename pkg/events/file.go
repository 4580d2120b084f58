package events

import (
	"encoding/json"
	"strings"
)

// File is a file that is stored as a payload: the data of an action that gives
// one back, and the parameter of one that takes one.
type File struct {
	PayloadRef

	Name        string `json:"name,omitempty"`         // without a folder
	ContentType string `json:"content_type,omitempty"` // empty: application/octet-stream
}

// maxFileText is how many bytes the name or the type of a file may have.
const maxFileText = 255

// ParseFile reads a file from JSON. It reports false for what is none, such as
// one whose name could be taken for a path, or for a line of a header.
func ParseFile(raw json.RawMessage) (File, bool) {
	var f File
	if json.Unmarshal(raw, &f) != nil || f.check(f.Size) != nil {
		return File{}, false
	}
	for _, text := range []string{f.Name, f.ContentType, f.SHA256} {
		if len(text) > maxFileText || strings.ContainsFunc(text, func(r rune) bool { return r < ' ' || r == 0x7f }) {
			return File{}, false
		}
	}
	if strings.ContainsAny(f.Name, `/\`) || f.Name == "." || f.Name == ".." {
		return File{}, false
	}
	return f, true
}

// BelongsTo reports whether the payload is stored for a user.
func (r PayloadRef) BelongsTo(user string) bool {
	return strings.HasPrefix(r.Subject, PrefixPayload+Token(user)+".")
}
