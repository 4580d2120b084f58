package draft

import (
	"fmt"
	"net/http"
	"regexp"
	"strings"
	"unicode"
)

// selection compiles patterns: an operation fits one of them by its id, its
// name as an action, its path, "METHOD path" or one of its tags.
func selection(patterns []string) (func(*operation) bool, error) {
	if len(patterns) == 0 {
		return func(*operation) bool { return true }, nil
	}
	var parts []string
	for _, p := range patterns {
		if p == "" || len(p) > 200 {
			return nil, fmt.Errorf("pattern %q: must have 1 to 200 bytes", clip(p, 40))
		}
		parts = append(parts, strings.ReplaceAll(regexp.QuoteMeta(p), `\*`, ".*"))
	}
	expr, err := regexp.Compile("(?i)^(?:" + strings.Join(parts, "|") + ")$")
	if err != nil {
		return nil, err
	}
	return func(op *operation) bool {
		for _, text := range append([]string{op.id, op.name, op.path, op.method + " " + op.path}, op.tags...) {
			if expr.MatchString(text) {
				return true
			}
		}
		return false
	}, nil
}

// nameOf is the name of an operation as an action: its id, or what its method
// does to its path.
func nameOf(id, method, path string) string {
	var parts []string
	for _, part := range strings.FieldsFunc(id, func(r rune) bool { return r == '/' || r == '.' || r == ':' || r == '#' }) {
		if word := wordOf(part); word != "" {
			parts = append(parts, word)
		}
	}
	name := strings.Join(parts, ".")
	if name == "" || len(name) > 80 {
		name = nameOfPath(method, path)
	}
	return name
}

func nameOfPath(method, path string) string {
	var parts []string
	last := ""
	for segment := range strings.SplitSeq(path, "/") {
		if last = segment; strings.Contains(segment, "{") || segment == "" {
			continue
		}
		if word := wordOf(segment); word != "" {
			parts = append(parts, word)
		}
	}
	one := strings.Contains(last, "{")
	verb := map[string]string{http.MethodPost: "create", http.MethodPut: "replace", http.MethodPatch: "update", http.MethodDelete: "delete"}[method]
	if method == http.MethodGet {
		if verb = "list"; one {
			verb = "get"
		}
	}
	name := strings.Join(append(parts, verb), ".")
	for len(name) > 80 && len(parts) > 1 {
		parts = parts[1:]
		name = strings.Join(append(parts, verb), ".")
	}
	return name[max(0, len(name)-80):]
}

// wordOf makes a part of an action's name: letters, digits and _.
func wordOf(s string) string {
	word := strings.Trim(strings.Map(func(r rune) rune {
		if r < unicode.MaxASCII && (unicode.IsLetter(r) || unicode.IsDigit(r)) {
			return r
		}
		return '_'
	}, s), "_")
	for strings.Contains(word, "__") {
		word = strings.ReplaceAll(word, "__", "_")
	}
	if word != "" && !unicode.IsLetter(rune(word[0])) {
		word = "n" + word
	}
	return word[:min(len(word), 60)]
}

// paramName makes the name of a parameter: what a template can name.
func paramName(s string) string {
	if isName(s) {
		return s
	}
	name := strings.Trim(strings.Map(func(r rune) rune {
		if r < unicode.MaxASCII && (unicode.IsLetter(r) || unicode.IsDigit(r) || r == '-' || r == '_') {
			return r
		}
		return '_'
	}, s), "_-")
	if name == "" || !unicode.IsLetter(rune(name[0])) {
		name = "p_" + name
	}
	return name[:min(len(name), 60)]
}

// isName reports whether a pack can name a parameter so.
func isName(s string) bool {
	for i, r := range s {
		letter := r < unicode.MaxASCII && unicode.IsLetter(r) || r == '_'
		if !letter && (i == 0 || r != '-' && (r < '0' || r > '9')) {
			return false
		}
	}
	return s != "" && len(s) <= 64
}

// oneLine is the first sentence or line of a text, printable and at most n bytes
// long.
func oneLine(s string, n int) string {
	s = strings.TrimSpace(markup.ReplaceAllString(s, ""))
	if line, _, found := strings.Cut(s, "\n\n"); found {
		s = line
	}
	return clip(strings.Join(strings.Fields(s), " "), n)
}

// markup is what descriptions hold of HTML.
var markup = regexp.MustCompile(`</?[A-Za-z][^<>]*>`)

// clip makes a foreign text printable and at most n bytes long.
func clip(s string, n int) string {
	var b strings.Builder
	for _, r := range strings.ToValidUTF8(s, "") {
		if b.Len()+4 > n {
			b.WriteString("…")
			break
		}
		if unicode.IsPrint(r) && r != unicode.ReplacementChar {
			b.WriteRune(r)
		}
	}
	return strings.TrimSpace(b.String())
}
