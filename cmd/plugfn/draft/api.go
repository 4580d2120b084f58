package draft

import (
	"net/http"
	"strings"
)

// api is what the formats of descriptions have in common.
type api struct {
	source     *source
	kind       string
	title      string
	docs       string
	servers    []server
	schemes    map[string]scheme
	order      []string      // of schemes, as far as it is known
	security   []requirement // of operations that say nothing themselves
	operations []*operation
	notes      []Note
}

// server is where an API is. Its variables are filled in but for the one of the
// first label of the host.
type server struct {
	url       string
	variables map[string]string // :: name → default
}

// requirement is what authorises an operation: schemes and their scopes. Empty:
// nothing is needed.
type requirement map[string][]string

// operation is what the API can do.
type operation struct {
	at       []string // where in the description
	method   string
	path     string
	name     string // as an action
	id       string
	tags     []string
	summary  string
	docs     string
	params   []*param
	body     *body // nil: none
	security []requirement
	answer   *answer
	failures []any // schemas of what failures say
}

// place names the operation for a person.
func (op *operation) place() string { return op.method + " " + op.path }

// param is a parameter outside of the body.
type param struct {
	name, in    string // in: path, query, header, cookie
	required    bool
	description string
	schema      any
	joined      string // of a list: what stands between its items; "": the parameter is repeated
	deep        bool   // an object, with a form of its own
}

// body is what a request carries.
type body struct {
	required bool
	media    string
	schema   any
}

// answer is what a success carries.
type answer struct {
	schema any  // of JSON
	file   bool // it is no JSON, and no text either
	links  bool // it has a Link header
	other  bool // it is text that is not JSON
}

func (a *api) note(at, text string) {
	if len(a.notes) < 1000 {
		a.notes = append(a.notes, Note{at, text})
	}
}

// methods that can be an action, as they are written in descriptions.
func methods() []string {
	return []string{http.MethodGet, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete}
}

// mediaOf chooses the body that a pack can write; "": none of them.
func mediaOf(known []string) string {
	best, rank := "", 0
	for _, m := range known {
		if r := rankOf(m); r > rank {
			best, rank = m, r
		}
	}
	return best
}

func rankOf(media string) int {
	m, _, _ := strings.Cut(strings.ToLower(media), ";")
	m = strings.TrimSpace(m)
	switch {
	case m == "application/json":
		return 6
	case strings.HasSuffix(m, "/json") || strings.HasSuffix(m, "+json"):
		return 5
	case m == "*/*" || m == "application/*":
		return 4
	case m == "application/x-www-form-urlencoded":
		return 3
	case m == "multipart/form-data":
		return 2
	case m == "application/octet-stream" || strings.HasPrefix(m, "image/") || strings.HasPrefix(m, "audio/") || strings.HasPrefix(m, "video/") || m == "application/pdf" || m == "application/zip":
		return 1
	}
	return 0
}

// setAnswer reads what a success carries by its media types.
func (op *operation) setAnswer(schemas map[string]any) {
	if op.answer == nil {
		op.answer = &answer{}
	}
	best, rank := "", 0
	for media := range schemas {
		if r := rankOf(media); r > rank || r == rank && media < best {
			best, rank = media, r
		}
	}
	switch {
	case rank >= 4:
		op.answer.schema = schemas[best]
	case rank == 1:
		op.answer.file = true
	case len(schemas) > 0:
		op.answer.other = true
	}
}
