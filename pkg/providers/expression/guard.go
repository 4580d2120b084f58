package expression

import (
	"fmt"
	"iter"
	"maps"
	"reflect"
	"slices"
	"strings"

	"github.com/expr-lang/expr/ast"
	"github.com/expr-lang/expr/checker/nature"
	"github.com/expr-lang/expr/types"

	"github.com/plugfn/plugfn/pkg/providers/nearest"
)

// fault is a problem at a character of an expression.
type fault struct {
	at      int
	message string
}

// in makes an error of a fault in text.
func (f *fault) in(text string) error {
	e := &Error{Line: 1, Column: 1, Message: f.message}
	for i, r := range []rune(text) {
		switch {
		case i == f.at:
			return e
		case r == '\n':
			e.Line, e.Column = e.Line+1, 1
		default:
			e.Column++
		}
	}
	return e
}

// guard refuses what could take long or much memory, notes what is read, and
// counts the texts that are joined.
type guard struct {
	language Language
	reads    []ast.Node
	unknown  *fault // says better what the library refuses as well
	refused  *fault
}

func newGuard(l Language) *guard { return &guard{language: l} }

// Visit is called for each node of the syntax tree, the inner ones first.
func (g *guard) Visit(node *ast.Node) {
	switch n := (*node).(type) {
	case *ast.IdentifierNode:
		g.reads = append(g.reads, n)
	case *ast.MemberNode:
		g.reads = append(g.reads, n)
		g.checkField(n)
	case *ast.BinaryNode:
		g.binary(node, n)
	case *ast.VariableDeclaratorNode:
		g.refuse(n, "let")
	case *ast.CallNode:
		if name, ok := n.Callee.(*ast.IdentifierNode); !ok || !g.isFunction(name.Value) {
			g.refuse(n, "a call")
		}
	case *ast.BuiltinNode:
		if !slices.Contains(g.language.Builtins, n.Name) {
			g.refuse(n, "function "+n.Name)
		}
	case *ast.PredicateNode:
		inner := &loopFinder{}
		ast.Walk(&n.Node, inner)
		if inner.found {
			g.refuse(n, "a loop in a loop")
		}
	}
}

// isFunction tells what may be called: functions of this package, and of Env.
func (g *guard) isFunction(name string) bool {
	if g.language.Texts && slices.Contains(functionNames(), name) {
		return true
	}
	fields, ok := g.language.Env.(types.Map)
	if !ok || fields[name] == nil {
		return false
	}
	kind := fields[name].Nature()
	return kind.Kind == reflect.Func
}

func (g *guard) binary(node *ast.Node, n *ast.BinaryNode) {
	_, constant := n.Right.(*ast.StringNode)
	switch {
	case n.Operator == "..", n.Operator == "matches" && !constant:
		g.refuse(n, "operator "+n.Operator)
	case n.Operator == "+" && !g.language.Texts:
		g.refuse(n, "operator "+n.Operator)
	case n.Operator == "+":
		g.plus(node, n)
	}
}

// plus has the joining of texts counted.
func (g *guard) plus(node *ast.Node, n *ast.BinaryNode) {
	left, right := n.Left.Nature(), n.Right.Nature()
	text := isText(left) || isText(right)
	switch {
	case text && isKnown(left) && isKnown(right) && !(isText(left) && isText(right)):
		g.explain(n, fmt.Sprintf("invalid operation: + (mismatched types %s and %s): string(…) makes a text of a value", left, right))
		return
	case !text && isKnown(left) && isKnown(right):
		return // numbers, or an error that the library reports
	}
	name := addName
	if text {
		name = joinName
	}
	call := &ast.CallNode{Callee: &ast.IdentifierNode{Value: name}, Arguments: []ast.Node{n.Left, n.Right}}
	call.SetLocation(n.Location())
	ast.Patch(node, call)
}

func isKnown(n *nature.Nature) bool {
	return n != nil && (n.Type != nil && n.Kind != reflect.Interface || n.Nil)
}

func isText(n *nature.Nature) bool { return isKnown(n) && n.Kind == reflect.String }

// checkField refuses a field that its object does not have, and says which one
// may have been meant.
func (g *guard) checkField(n *ast.MemberNode) {
	name, ok := n.Property.(*ast.StringNode)
	base := n.Node.Nature()
	if !ok || base == nil || base.TypeData == nil || !base.Strict || base.Kind != reflect.Map {
		return
	}
	if _, ok := base.Fields[name.Value]; ok {
		return
	}
	fields := nearest.Hint(name.Value, maps.Keys(base.Fields))
	if fields == "" {
		fields = hasOnly(maps.Keys(base.Fields))
	}
	g.explain(n.Property, "unknown field "+name.Value+fields)
}

// hasOnly lists names, at most ten.
func hasOnly(names iter.Seq[string]) string {
	const most = 10
	all := slices.Sorted(names)
	if len(all) == 0 || len(all) > most {
		return ""
	}
	return "; there are " + strings.Join(all, ", ")
}

func (g *guard) refuse(n ast.Node, what string) {
	functions := slices.Clone(g.language.Builtins)
	if g.language.Texts {
		functions = append(functions, functionNames()...)
		functions = slices.DeleteFunc(functions, func(f string) bool { return f == joinName || f == addName })
	}
	slices.Sort(functions)
	if g.refused == nil {
		message := what + " cannot be used here; functions are " + strings.Join(functions, ", ")
		g.refused = &fault{at: n.Location().From, message: message}
	}
}

func (g *guard) explain(n ast.Node, message string) {
	if g.unknown == nil {
		g.unknown = &fault{at: n.Location().From, message: message}
	}
}

// paths are the longest chains of members that are read.
func (g *guard) paths() [][]string {
	var all [][]string
	for _, node := range g.reads {
		if path, _ := pathOf(node); path != nil && !slices.ContainsFunc(functionNames(), func(f string) bool { return path[0] == f }) {
			all = append(all, path)
		}
	}
	slices.SortFunc(all, slices.Compare)
	all = slices.CompactFunc(all, slices.Equal)
	return slices.DeleteFunc(all, func(path []string) bool {
		return slices.ContainsFunc(all, func(o []string) bool { return len(o) > len(path) && slices.Equal(o[:len(path)], path) })
	})
}

// pathOf is the chain of members that ends in a node, and whether a member of
// it would be one of the chain; nil when it does not begin with a variable.
func pathOf(node ast.Node) (path []string, whole bool) {
	switch n := node.(type) {
	case *ast.IdentifierNode:
		return []string{n.Value}, true
	case *ast.ChainNode:
		return pathOf(n.Node)
	case *ast.MemberNode:
		base, whole := pathOf(n.Node)
		if name, ok := n.Property.(*ast.StringNode); ok && base != nil && whole {
			return append(slices.Clone(base), name.Value), true
		}
		return base, false
	default:
		return nil, false
	}
}

func (l Language) nearestName(name string) string {
	fields, ok := l.Env.(types.Map)
	if !ok {
		return ""
	}
	if hint := nearest.Hint(name, maps.Keys(fields)); hint != "" {
		return hint
	}
	return hasOnly(maps.Keys(fields))
}

// loopFinder tells whether a tree holds the body of any, all, none or one.
type loopFinder struct{ found bool }

// Visit is called for each node of the syntax tree.
func (f *loopFinder) Visit(node *ast.Node) {
	_, ok := (*node).(*ast.PredicateNode)
	f.found = f.found || ok
}
