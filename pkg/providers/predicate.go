package providers

import (
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"

	"github.com/expr-lang/expr"
	"github.com/expr-lang/expr/ast"
	"github.com/expr-lang/expr/vm"
	"go.yaml.in/yaml/v3"
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
	program   *vm.Program
	readsBody bool
}

// verdict is the environment of a predicate.
type verdict struct {
	Status int               `expr:"status"`
	Header map[string]string `expr:"header"`
	Body   any               `expr:"body"`
}

const (
	maxPredicateText   = 1000    // bytes
	maxPredicateNodes  = 100     // of its syntax tree
	maxPredicateMemory = 100_000 // elements
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
	program, readsBody, err := compilePredicate(text, expr.Env(verdict{}))
	if err != nil {
		return Predicate{}, err
	}
	return Predicate{text: text, program: program, readsBody: readsBody}, nil
}

// compilePredicate compiles a condition on the fields of an environment.
func compilePredicate(text string, env expr.Option) (program *vm.Program, readsBody bool, err error) {
	if len(text) > maxPredicateText {
		return nil, false, fmt.Errorf("is longer than %d bytes", maxPredicateText)
	}
	guard := &predicateGuard{}
	options := []expr.Option{
		env, expr.AsBool(), expr.MaxNodes(maxPredicateNodes),
		expr.DisableAllBuiltins(), expr.Patch(guard),
	}
	for _, name := range predicateFunctions() {
		options = append(options, expr.EnableBuiltin(name))
	}
	program, err = expr.Compile(text, options...)
	if err != nil {
		return nil, false, errors.New(firstLine(err.Error()))
	}
	if guard.err != nil {
		return nil, false, guard.err
	}
	return program, guard.readsBody, nil
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
		on.Body = arithmetic(decodeBody(raw)) // on a copy: it changes what it is given
	}
	return p.holds(on)
}

// holds evaluates the condition; an error in it is false.
func (p Predicate) holds(on verdict) bool {
	machine := vm.VM{MemoryBudget: maxPredicateMemory}
	result, err := machine.Run(p.program, on)
	yes, ok := result.(bool)
	return err == nil && ok && yes
}

// predicateGuard refuses what could take long or much memory, and notes
// whether the body is read.
type predicateGuard struct {
	readsBody bool
	err       error
}

// Visit is called for each node of the syntax tree.
func (g *predicateGuard) Visit(node *ast.Node) {
	switch n := (*node).(type) {
	case *ast.IdentifierNode:
		g.readsBody = g.readsBody || n.Value == "body" || n.Value == "$env"
	case *ast.BinaryNode:
		_, constant := n.Right.(*ast.StringNode)
		if n.Operator == ".." || n.Operator == "+" || n.Operator == "matches" && !constant {
			g.refuse("operator " + n.Operator)
		}
	case *ast.VariableDeclaratorNode:
		g.refuse("let")
	case *ast.CallNode:
		g.refuse("a call")
	case *ast.BuiltinNode:
		if !slices.Contains(predicateFunctions(), n.Name) {
			g.refuse("function " + n.Name)
		}
	case *ast.PredicateNode:
		inner := &loopFinder{}
		ast.Walk(&n.Node, inner)
		if inner.found {
			g.refuse("a loop in a loop")
		}
	}
}

func (g *predicateGuard) refuse(what string) {
	if g.err == nil {
		g.err = errors.New(what + " cannot be used in a predicate; functions are " + strings.Join(predicateFunctions(), ", "))
	}
}

// loopFinder tells whether a tree holds the body of any, all, none or one.
type loopFinder struct{ found bool }

// Visit is called for each node of the syntax tree.
func (f *loopFinder) Visit(node *ast.Node) {
	_, ok := (*node).(*ast.PredicateNode)
	f.found = f.found || ok
}

func firstLine(s string) string {
	line, _, _ := strings.Cut(s, "\n")
	return line
}
