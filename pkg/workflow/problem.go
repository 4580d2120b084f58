package workflow

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// maxProblems bounds the problems that one definition is refused with.
const maxProblems = 20

// Problem is one thing that is wrong with a definition.
type Problem struct {
	Line    int    `json:"line"`   // from 1; 0: not known
	Column  int    `json:"column"` // from 1, in characters; 0: not known
	Path    string `json:"path"`   // such as steps[0].action.params.text; "": all of it
	Message string `json:"message"`
}

// String returns "line:column: path: message".
func (p Problem) String() string {
	text := p.Message
	if p.Path != "" {
		text = p.Path + ": " + text
	}
	if p.Line > 0 {
		text = fmt.Sprintf("%d:%d: %s", p.Line, p.Column, text)
	}
	return text
}

// Problems is all that is wrong with a definition, by line, at most 20. It is
// the error of [Parse] and [Compile].
type Problems []Problem

// Error has one line for each problem.
func (p Problems) Error() string {
	lines := make([]string, len(p))
	for i, one := range p {
		lines[i] = one.String()
	}
	return strings.Join(lines, "\n")
}

// err is nil without problems, otherwise the first of them by line.
func (p Problems) err() error {
	if len(p) == 0 {
		return nil
	}
	all := slices.Clone(p)
	slices.SortStableFunc(all, func(a, b Problem) int {
		return cmp.Or(cmp.Compare(a.Line, b.Line), cmp.Compare(a.Column, b.Column))
	})
	if more := len(all) - maxProblems; more > 0 {
		all = append(all[:maxProblems-1], Problem{Message: fmt.Sprintf("and %d more", more+1)})
	}
	return all
}
