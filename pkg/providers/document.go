package providers

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
)

// Conventions of reading YAML, for every type of a pack and of a fixture:
//
//   - Structs are plain, with yaml tags; [readYAML] fills them and is strict: an
//     unknown or repeated key, an empty value, an alias, a wrong type is an error.
//   - A type with a form of its own ("header:NAME", "{{params.owner}}", "1MiB")
//     implements UnmarshalYAML(*yaml.Node) error, compiles itself there and
//     reports with [atLine]. It starts with [scalarText] where it is a text.
//   - What takes two fields to judge is a method check(report), called once
//     after everything was decoded. It names the field by its path, such as
//     "webhooks.verify[0].hash"; the line is found from the path.
//   - Nothing stops at the first problem: all problems of a file are one error.

// report records a problem of the document at a field path.
type report func(path, format string, args ...any)

// maxProblems bounds the problems that one file is refused with.
const maxProblems = 20

// spot is where something stands in a file; both count from 1.
type spot struct{ line, column int }

func spotOf(node *yaml.Node) spot { return spot{node.Line, node.Column} }

// lineError is a problem of one YAML node.
type lineError struct {
	spot

	err error
}

func (e *lineError) Error() string { return fmt.Sprintf("line %d: %v", e.line, e.err) }

func (e *lineError) Unwrap() error { return e.err }

// atLine makes the error that an UnmarshalYAML returns. Several of them may be
// joined with errors.Join.
func atLine(node *yaml.Node, format string, args ...any) error {
	return &lineError{spot: spotOf(node), err: fmt.Errorf(format, args...)}
}

// scalarText returns the text of a node, or an error at its line: a number, a
// truth value or a date needs quotes where a text is wanted.
func scalarText(node *yaml.Node) (string, error) {
	switch {
	case node.Kind != yaml.ScalarNode:
		return "", atLine(node, "must be a text, is %s", kindName(node))
	case node.ShortTag() != "!!str":
		return "", atLine(node, "must be a text: write %s", strconv.Quote(clip(node.Value, 60)))
	}
	return node.Value, nil
}

// document is one YAML file while it is read.
type document struct {
	file     string
	tested   bool            // mistakes that a test finds need not be looked for
	lines    map[string]spot // :: field path → where it stands
	problems []Problem
}

// Problem is one thing that is wrong with a file of a pack. The errors of
// [Load] and of reading fixtures are joined of them.
type Problem struct {
	File         string // below the folder of packs
	Line, Column int    // from 1
	Path         string // of the field, such as actions.issues.create.effect; "": the file itself
	Text         string
}

// Error returns file:line: path: text.
func (p *Problem) Error() string {
	at := p.File + ":" + strconv.Itoa(p.Line) + ": "
	if p.Path != "" {
		at += p.Path + ": "
	}
	return at + p.Text
}

// Problems returns the problems that an error is joined of; none where it is
// about something else.
func Problems(err error) []*Problem {
	if joined, ok := err.(interface{ Unwrap() []error }); ok {
		var all []*Problem
		for _, one := range joined.Unwrap() {
			all = append(all, Problems(one)...)
		}
		return all
	}
	var p *Problem
	if errors.As(err, &p) {
		return []*Problem{p}
	}
	return nil
}

// readYAML decodes data into a struct. The problems are in the document: the
// caller adds those of its checks with report and then asks for err.
func readYAML(file string, data []byte, into any) *document {
	d := &document{file: file}
	d.read(data, into)
	return d
}

func (d *document) read(data []byte, into any) {
	d.lines = map[string]spot{}
	var root yaml.Node
	dec := yaml.NewDecoder(strings.NewReader(string(data)))
	if err := dec.Decode(&root); err != nil {
		d.syntax(err)
		return
	}
	if err := dec.Decode(new(yaml.Node)); err == nil {
		d.fail(spot{1, 1}, "", "holds more than one document")
	}
	d.value(root.Content[0], reflect.ValueOf(into).Elem(), "")
}

// decodePart decodes a node into a struct, for a type that reads itself.
func decodePart(node *yaml.Node, into any) error {
	d := &document{lines: map[string]spot{}}
	d.value(node, reflect.ValueOf(into).Elem(), "")
	var all []error
	for _, p := range d.problems {
		text := p.Text
		if p.Path != "" {
			text = p.Path + ": " + text
		}
		all = append(all, &lineError{spot: spot{p.Line, p.Column}, err: errors.New(text)})
	}
	return errors.Join(all...)
}

// syntax records that the file is no YAML.
func (d *document) syntax(err error) {
	if errors.Is(err, io.EOF) {
		d.fail(spot{1, 1}, "", "is empty")
		return
	}
	line, text := 1, strings.TrimPrefix(err.Error(), "yaml: ")
	if _, err := fmt.Sscanf(text, "line %d:", &line); err == nil {
		_, text, _ = strings.Cut(text, ": ")
	}
	d.fail(spot{line, 1}, "", text)
}

// report records a problem at path. It is left out where the same field, one
// above or one below is already known to be wrong: it would only be a
// consequence.
func (d *document) report(path, format string, args ...any) {
	for _, p := range d.problems {
		if p.Path == path || isBelow(p.Path, path) || isBelow(path, p.Path) {
			return
		}
	}
	d.fail(d.spot(path), path, fmt.Sprintf(format, args...))
}

func (d *document) fail(at spot, path, text string) {
	if len(d.problems) >= 50*maxProblems {
		return
	}
	d.problems = append(d.problems, Problem{d.file, at.line, at.column, path, text})
}

// spot is where path stands, or what is nearest above it.
func (d *document) spot(path string) spot {
	for path != "" {
		if n, ok := d.lines[path]; ok {
			return n
		}
		path = path[:max(0, strings.LastIndexAny(path, ".["))]
	}
	return spot{1, 1}
}

// err returns all problems, by line, each as "file:line: path: text".
func (d *document) err() error {
	slices.SortStableFunc(d.problems, func(a, b Problem) int { return cmp.Compare(a.Line, b.Line) })
	var all []error
	for i := range d.problems {
		if i == maxProblems {
			all = append(all, fmt.Errorf("%s: and %d more", d.file, len(d.problems)-i))
			break
		}
		all = append(all, &d.problems[i])
	}
	return errors.Join(all...)
}

func kindName(node *yaml.Node) string {
	switch node.Kind {
	case yaml.MappingNode:
		return "a mapping"
	case yaml.SequenceNode:
		return "a list"
	case yaml.AliasNode:
		return "an alias"
	default:
		return "a single value"
	}
}

func joinPath(path, key string) string {
	if path == "" {
		return clip(key, 80)
	}
	return path + "." + clip(key, 80)
}

func isBelow(path, above string) bool {
	rest, ok := strings.CutPrefix(path, above)
	return ok && (above == "" || strings.HasPrefix(rest, ".") || strings.HasPrefix(rest, "["))
}

// clip makes a foreign text fit for a message: printable and at most n bytes.
func clip(s string, n int) string {
	var b strings.Builder
	for _, r := range s {
		if b.Len()+4 > n {
			b.WriteString("…")
			break
		}
		if strconv.IsPrint(r) {
			b.WriteRune(r)
		}
	}
	return b.String()
}
