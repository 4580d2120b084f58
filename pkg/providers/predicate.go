package providers

import (
	"net/http"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/plugfn/plugfn/pkg/providers/expression"
)

// Predicate is a condition on a response, in expr (github.com/expr-lang/expr):
//
//	status == 403 && header["x-ratelimit-remaining"] == "0"
//	body.ok == true
//	body.error in ["invalid_auth", "token_revoked"]
//	any(body.errors, .code == "THROTTLED")
//
// Its fields are status (int), header (text by lower-case name, "" when
// absent) and body (the decoded JSON; nil when there is none).
//
// A condition that cannot be evaluated, such as one on a field of an absent
// body, is false: state what must be there (body.ok == true), and where a
// negation is needed use ?. on the way (!(body?.error == "x")), so that absent
// parts are nil instead of an end.
//
// It is bounded: 100 nodes, one level of any, all, none, one; no ranges, no
// sums (of texts), no variables, no pattern from the response; functions are
// len, lower, upper, trim, int and float.
type Predicate struct {
	text      string
	program   *expression.Program
	readsBody bool
}

// verdict is the environment of a predicate.
type verdict struct {
	Status int               `expr:"status"`
	Header map[string]string `expr:"header"`
	Body   any               `expr:"body"`
}

const (
	maxPredicateText  = 1000 // bytes
	maxPredicateNodes = 100  // of its syntax tree
)

// UnmarshalYAML compiles the predicate.
func (p *Predicate) UnmarshalYAML(node *yaml.Node) error {
	text, err := scalarText(node)
	if err != nil {
		return err
	}
	if *p, err = parsePredicate(text); err != nil {
		return atLine(node, "%w", err)
	}
	return nil
}

// String returns the predicate as it was written.
func (p Predicate) String() string { return p.text }

// IsZero reports whether there is no condition.
func (p Predicate) IsZero() bool { return p.program == nil }

func parsePredicate(text string) (Predicate, error) {
	program, err := compilePredicate(text, verdict{})
	if err != nil {
		return Predicate{}, err
	}
	return Predicate{text: text, program: program, readsBody: program.Reads("body")}, nil
}

// compilePredicate compiles a condition on the fields of an environment.
func compilePredicate(text string, env any) (*expression.Program, error) {
	return expression.Language{
		Env: env, Boolean: true, Builtins: predicateFunctions(),
		MaxText: maxPredicateText, MaxNodes: maxPredicateNodes,
	}.Compile(text)
}

func predicateFunctions() []string {
	return []string{"len", "lower", "upper", "trim", "int", "float", "any", "all", "none", "one"}
}

// Holds evaluates the condition on a response whose body, if it is JSON, was
// decoded in whichever way. The zero value holds for a status below 300.
func (p Predicate) Holds(status int, header http.Header, body any) bool {
	if p.IsZero() {
		return status < http.StatusMultipleChoices
	}
	on := verdict{Status: status, Header: make(map[string]string, len(header)), Body: body}
	for name := range header {
		on.Header[strings.ToLower(name)] = header.Get(name)
	}
	if raw, err := encodeJSON(body); err == nil {
		on.Body = expression.Numbers(decodeBody(raw)) // on a copy: it changes what it is given
	}
	return p.holds(on)
}

// holds evaluates the condition; an error in it is false.
func (p Predicate) holds(on verdict) bool { return isTrue(p.program, on) }

// isTrue evaluates a condition; an error in it is false.
func isTrue(program *expression.Program, on any) bool {
	result, err := program.Run(on)
	yes, ok := result.(bool)
	return err == nil && ok && yes
}

func firstLine(s string) string {
	line, _, _ := strings.Cut(s, "\n")
	return line
}
