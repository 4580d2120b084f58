package providers

import (
	"errors"
	"net/url"
	"strings"
	"unicode"
)

// segment is one segment of a path template: a literal, or a parameter
// between literals.
type segment struct {
	prefix, suffix string
	part           *templatePart // nil: prefix is all of it
}

// compilePath splits the path into its segments, without a slash at its end.
func (r *Request) compilePath() error {
	text, slash := strings.CutSuffix(r.Path.text, "/")
	if r.slash = slash; slash && text == "" {
		r.segments = []segment{}
		return nil
	}
	path, err := parseTemplate(text)
	if err != nil {
		return err
	}
	r.segments, err = compilePath(path)
	return err
}

// compilePath splits a path template into its segments.
func compilePath(t Template) ([]segment, error) {
	if !strings.HasPrefix(t.text, "/") || t.parts[0].field != "" {
		return nil, errors.New("must begin with /")
	}
	segments := []segment{}
	for i, p := range t.parts {
		if p.field != "" {
			if err := segments[len(segments)-1].put(&t.parts[i]); err != nil {
				return nil, err
			}
			continue
		}
		for j, text := range strings.Split(p.literal, "/") {
			if j > 0 {
				segments = append(segments, segment{})
			} else if i == 0 {
				continue // in front of the first slash
			}
			segments[len(segments)-1].append(text)
		}
	}
	for _, s := range segments {
		if err := s.check(); err != nil {
			return nil, err
		}
	}
	return segments, nil
}

func (s *segment) put(p *templatePart) error {
	if s.part != nil {
		return errors.New("has two parameters in one segment")
	}
	for _, f := range p.filters {
		if f.name == "default" {
			return errors.New("needs no default: what a path names is required")
		}
	}
	s.part = p
	return nil
}

func (s *segment) append(text string) {
	if s.part == nil {
		s.prefix += text
	} else {
		s.suffix += text
	}
}

func (s *segment) check() error {
	text := s.prefix + s.suffix
	for i := range len(text) {
		if c := text[i]; !isAlphanumeric(c) && !strings.ContainsRune("-._~:@!$&'()*+,;=", rune(c)) {
			return errors.New("may hold letters, digits and -._~:@!$&'()*+,;= besides / and parameters")
		}
	}
	if s.part == nil {
		return checkSegments("/" + text)
	}
	return nil
}

// escapedPath fills the path.
func (r *Request) escapedPath(params map[string]any) (string, error) {
	var b strings.Builder
	for _, s := range r.segments {
		text, err := s.fill(scalarsOf(params))
		if err != nil {
			return "", err
		}
		b.WriteString("/" + text)
	}
	if r.slash {
		b.WriteByte('/')
	}
	return b.String(), nil
}

// fill makes the escaped text of a segment. A value never adds, removes or ends
// a segment, and no server can take it for more than one: url.PathEscape alone
// lets ".." be, and many servers unescape %2F before they route.
func (s segment) fill(fields func(field string) (string, bool)) (string, error) {
	if s.part == nil {
		return s.prefix, nil
	}
	_, name, _ := strings.Cut(s.part.field, ".")
	value, ok := s.part.expand(fields)
	if !ok {
		return "", invalid("/" + name + ": required, is missing")
	}
	whole := s.prefix + value + s.suffix
	switch {
	case value == "" || whole == "." || whole == ".." || value == "." || value == "..":
		return "", invalid("/" + name + `: stands in a path and cannot be empty, "." or ".."`)
	case strings.ContainsAny(value, `/\%?#`) || strings.ContainsFunc(value, unicode.IsControl):
		return "", invalid("/" + name + `: stands in a path and cannot hold / \ % ? # or a control character`)
	}
	return s.prefix + url.PathEscape(value) + s.suffix, nil
}

// matchPath tells whether an escaped path has the template's shape, and how
// many of its segments are literal.
func (r *Request) matchPath(path string) (literals int, ok bool) {
	path, slash := strings.CutSuffix(path, "/")
	texts := strings.Split(strings.TrimPrefix(path, "/"), "/")
	if path == "" {
		texts = nil
	}
	if slash != r.slash || len(texts) != len(r.segments) {
		return 0, false
	}
	for i, s := range r.segments {
		rest, ok := strings.CutPrefix(texts[i], s.prefix)
		if !ok {
			return 0, false
		}
		if s.part == nil {
			if rest != "" {
				return 0, false
			}
			literals++
			continue
		}
		if len(rest) <= len(s.suffix) || !strings.HasSuffix(rest, s.suffix) {
			return 0, false
		}
	}
	return literals, true
}
