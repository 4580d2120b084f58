package providers

import (
	"errors"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"
)

// Source names one piece of text in a delivery or in a response. In YAML:
//
//	header:NAME         the first value of a header
//	json:/a/b           what a JSON pointer (RFC 6901) leads to: a string, a number, true or false
//	host:/a/b           the host name of the URL that json:/a/b is
//	form:NAME           a field of a form
//	query:NAME          a parameter of the URL
//	text:LITERAL        the literal itself
//	hash:body           sha256- and the hex digest of the body
//	present:/a,/b       of several pointers the last name of the first that leads to anything but null
//	item:/a/b           like json:, inside an item of a batch
//	outer:/a/b          like json:, inside what holds the list of the item
//	claim:/a/b          like json:, in the claims of a JWT
//	received:10s        when the delivery came, in steps of that length since 1970
//
// A source whose text is missing or empty is absent. A ? at the end says that a
// part of a [Compose] may be absent; YAML wants quotes for it inside [ ]. The
// zero value names nothing.
type Source struct {
	kind     sourceKind
	name     string   // what follows the colon
	pointer  []string // of json, host, item, outer, claim: the unescaped reference tokens
	optional bool
}

type sourceKind string

const (
	sourceHeader sourceKind = "header"
	sourceJSON   sourceKind = "json"
	sourceHost   sourceKind = "host"
	sourceForm   sourceKind = "form"
	sourceQuery  sourceKind = "query"
	sourceText   sourceKind = "text"
	sourceHash   sourceKind = "hash"

	sourcePresent sourceKind = "present"
	sourceItem    sourceKind = "item"
	sourceOuter   sourceKind = "outer"
	sourceClaim   sourceKind = "claim"

	sourceReceived sourceKind = "received"
)

// IsZero tells whether s names nothing.
func (s Source) IsZero() bool { return s.kind == "" }

// String returns s as it is written in a pack.
func (s Source) String() string {
	if s.IsZero() {
		return ""
	}
	text := string(s.kind) + ":" + s.name
	if s.optional {
		text += "?"
	}
	return text
}

// UnmarshalYAML reads the written form.
func (s *Source) UnmarshalYAML(node *yaml.Node) error {
	text, err := scalarText(node)
	if err != nil {
		return err
	}
	*s, err = parseSource(text)
	if err != nil {
		return atLine(node, "%w", err)
	}
	return nil
}

func parseSource(text string) (Source, error) {
	kind, name, _ := strings.Cut(text, ":")
	name, optional := strings.CutSuffix(name, "?")
	s := Source{kind: sourceKind(kind), name: name, optional: optional}
	var err error
	switch s.kind {
	case sourceHeader:
		if !isFieldName(name) {
			err = errors.New("is not a header name, want such as header:X-Request-Id")
		}
		s.name = http.CanonicalHeaderKey(name)
	case sourceJSON, sourceHost, sourceItem, sourceOuter, sourceClaim:
		s.pointer, err = parsePointer(name)
	case sourcePresent:
		err = checkPresent(name)
	case sourceForm, sourceQuery, sourceText:
		if name == "" {
			err = errors.New("needs something after the colon")
		}
	case sourceReceived:
		if step, bad := time.ParseDuration(name); bad != nil || step < time.Second || step > time.Hour || step%time.Second != 0 {
			err = errors.New("needs whole seconds up to an hour, such as received:10s")
		}
	case sourceHash:
		if name != "body" {
			err = errors.New("is unknown, the only hash is hash:body")
		}
	default:
		err = errors.New("is not a source, want one of header:NAME, json:/pointer, host:/pointer, form:NAME, query:NAME, text:LITERAL, hash:body, present:/pointer,/pointer, item:/pointer, outer:/pointer, claim:/pointer, received:10s")
	}
	if err != nil {
		return Source{}, sourceError(text, err)
	}
	return s, nil
}

func sourceError(text string, err error) error {
	return errors.New(strconv.Quote(clip(text, 60)) + " " + err.Error())
}

// checkPresent judges the pointers of a present source.
func checkPresent(list string) error {
	for _, pointer := range strings.Split(list, ",") {
		if tokens, err := parsePointer(pointer); err != nil {
			return err
		} else if len(tokens) == 0 {
			return errors.New("needs JSON pointers, such as present:/message,/edited_message")
		}
	}
	return nil
}

// Places are the sources of one thing, of which each may be there: another
// header for another key. In YAML it is a source or a list of them.
type Places []Source

// UnmarshalYAML reads the written form.
func (p *Places) UnmarshalYAML(node *yaml.Node) error {
	items := []*yaml.Node{node}
	if node.Kind == yaml.SequenceNode {
		items = node.Content
	}
	all := make(Places, len(items))
	for i, item := range items {
		if err := all[i].UnmarshalYAML(item); err != nil {
			return err
		}
	}
	if len(all) == 0 || len(all) > maxCandidates {
		return atLine(node, "must be from 1 to %d places", maxCandidates)
	}
	*p = all
	return nil
}

// parsePointer splits a JSON pointer into its unescaped reference tokens.
func parsePointer(text string) ([]string, error) {
	if text == "" {
		return []string{}, nil
	}
	if text[0] != '/' {
		return nil, errors.New("needs a JSON pointer that begins with /, such as json:/repository/id")
	}
	tokens := strings.Split(text[1:], "/")
	for i, t := range tokens {
		plain := strings.NewReplacer("~0", "", "~1", "").Replace(t)
		if strings.Contains(plain, "~") {
			return nil, errors.New("has a ~ that is not ~0 (for ~) or ~1 (for /)")
		}
		tokens[i] = strings.NewReplacer("~1", "/", "~0", "~").Replace(t)
	}
	return tokens, nil
}

// isFieldName tells whether s is a header name: a token of RFC 9110.
func isFieldName(s string) bool {
	for i := range len(s) {
		c := s[i]
		if !isAlphanumeric(c) && !strings.ContainsRune("!#$%&'*+-.^_`|~", rune(c)) {
			return false
		}
	}
	return s != ""
}

func isAlphanumeric(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9'
}

// fromResponse finds the text in a response whose body was decoded with
// UseNumber. Only header and json sources are present in a response.
func (s Source) fromResponse(header http.Header, body any) (string, bool) {
	switch s.kind {
	case sourceHeader:
		v := header.Get(s.name)
		return v, v != ""
	case sourceJSON:
		v, ok := follow(body, s.pointer)
		if !ok {
			return "", false
		}
		text, ok := scalar(v)
		return text, ok && text != ""
	default:
		return "", false
	}
}

// In finds what s names in a response whose body was decoded with UseNumber: a
// header's text, any JSON value, or the host of a URL. It reports false for what
// is absent or null.
func (s Source) In(header http.Header, body any) (any, bool) {
	switch s.kind {
	case sourceHeader:
		v := header.Get(s.name)
		return v, v != ""
	case sourceJSON:
		v, ok := follow(body, s.pointer)
		return v, ok && v != nil
	case sourceHost:
		v, _ := follow(body, s.pointer)
		text, _ := v.(string)
		return hostIn(text)
	default:
		return nil, false
	}
}

// follow walks a decoded JSON value along the tokens of a pointer.
func follow(v any, pointer []string) (any, bool) {
	for _, token := range pointer {
		switch at := v.(type) {
		case map[string]any:
			next, ok := at[token]
			if !ok {
				return nil, false
			}
			v = next
		case []any:
			i, ok := arrayIndex(token)
			if !ok || i >= len(at) {
				return nil, false
			}
			v = at[i]
		default:
			return nil, false
		}
	}
	return v, true
}

// arrayIndex reads a reference token as the index of an array: digits without
// a leading zero.
func arrayIndex(token string) (int, bool) {
	i, err := strconv.Atoi(token)
	if err != nil || strconv.Itoa(i) != token || i < 0 {
		return 0, false
	}
	return i, true
}

// Compose makes one text out of several parts. In YAML it is one source, or a
// list of sources that all have to be present but for those marked with ?.
type Compose []Source

// UnmarshalYAML reads the written form.
func (c *Compose) UnmarshalYAML(node *yaml.Node) error {
	items := []*yaml.Node{node}
	if node.Kind == yaml.SequenceNode {
		items = node.Content
	}
	parts := make(Compose, len(items))
	for i, item := range items {
		if err := parts[i].UnmarshalYAML(item); err != nil {
			return err
		}
	}
	if !slices.ContainsFunc(parts, func(s Source) bool { return !s.optional }) {
		return atLine(node, "needs at least one part that is not optional")
	}
	*c = parts
	return nil
}

// has tells whether a part is of the kind.
func (c Compose) has(kind sourceKind) bool {
	return slices.ContainsFunc(c, func(s Source) bool { return s.kind == kind })
}

// text joins the parts by separator; false when a part that is needed is absent.
func (c Compose) text(get func(Source) (string, bool), separator string) (string, bool) {
	if len(c) == 1 {
		return get(c[0])
	}
	all := make([]byte, 0, 128)
	for _, s := range c {
		v, ok := get(s) // never empty
		if !ok && !s.optional {
			return "", false
		}
		if ok && len(all) > 0 {
			all = append(all, separator...)
		}
		all = append(all, v...)
	}
	return string(all), true
}
