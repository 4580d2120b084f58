package expression

import (
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"

	"github.com/expr-lang/expr"
	"github.com/expr-lang/expr/ast"
	"github.com/expr-lang/expr/checker/nature"
	"github.com/expr-lang/expr/file"
	"github.com/expr-lang/expr/types"
	"github.com/expr-lang/expr/vm"
)

// maxMemory is how many elements lists and objects have that one run makes.
const maxMemory = 100_000

// Language is what expressions may use.
type Language struct {
	Env      any      // of the values: a struct with expr tags, or a types.Map, whose unknown names are errors
	Builtins []string // functions of expr that may be called
	Boolean  bool     // the result is true or false
	Texts    bool     // texts may be made: + joins them, and the functions of this package can be called. Env is a types.Map
	MaxText  int      // bytes of an expression
	MaxNodes int      // of its syntax tree
}

// Error is what is wrong with an expression.
type Error struct {
	Line    int // from 1
	Column  int // from 1, in characters
	Message string
}

// Error returns the message with the position in the expression.
func (e *Error) Error() string { return fmt.Sprintf("%s (%d:%d)", e.Message, e.Line, e.Column) }

// Program is a compiled expression. It is immutable and safe for concurrent
// use.
type Program struct {
	text  string
	code  *vm.Program
	root  ast.Node // with the types that the values are said to have
	paths [][]string
	texts bool
}

// Compile compiles an expression. Its errors are an *[Error] where they have a
// place in the text.
func (l Language) Compile(text string) (*Program, error) {
	if len(text) > l.MaxText {
		return nil, fmt.Errorf("is longer than %d bytes", l.MaxText)
	}
	guard := newGuard(l)
	code, err := l.compile(text, l.env(l.Env), guard)
	switch {
	case guard.unknown != nil:
		return nil, guard.unknown.in(text)
	case err != nil:
		return nil, l.explain(text, err)
	case guard.refused != nil:
		return nil, guard.refused.in(text)
	}
	p := &Program{text: text, code: code, root: code.Node(), paths: guard.paths(), texts: l.Texts}
	if fields, ok := l.Env.(types.Map); ok {
		// It runs without the types: expr would trust them, and a field that may be
		// absent is no text then.
		if p.code, err = l.compile(text, l.env(untyped(fields)), newGuard(l)); err != nil {
			return nil, l.explain(text, err)
		}
	}
	return p, nil
}

func (l Language) compile(text string, env any, guard *guard) (*vm.Program, error) {
	options := []expr.Option{
		expr.Env(env), expr.MaxNodes(uint(max(l.MaxNodes, 1))),
		expr.DisableAllBuiltins(), expr.Patch(guard),
	}
	if l.Boolean {
		options = append(options, expr.AsBool())
	}
	for _, name := range l.Builtins {
		options = append(options, expr.EnableBuiltin(name))
	}
	return expr.Compile(text, options...)
}

func untyped(fields types.Map) types.Map {
	all := make(types.Map, len(fields))
	for name, kind := range fields {
		all[name] = types.Any
		if kind.Nature().Kind == reflect.Func {
			all[name] = kind
		}
	}
	return all
}

// env is an environment with the functions of this package.
func (l Language) env(env any) any {
	fields, ok := env.(types.Map)
	if !ok || !l.Texts {
		return env
	}
	all := make(types.Map, len(fields)+16)
	for name, kind := range fields {
		all[name] = kind
	}
	for name, function := range (&meter{}).functions() {
		all[name] = types.TypeOf(function)
	}
	return all
}

// explain makes an error of the library one of ours.
func (l Language) explain(text string, err error) error {
	found := (*file.Error)(nil)
	if !errors.As(err, &found) {
		line, _, _ := strings.Cut(err.Error(), "\n")
		return errors.New(line)
	}
	message := found.Message
	if name, ok := strings.CutPrefix(message, "unknown name "); ok {
		message += l.nearestName(name)
	}
	return (&fault{at: found.From, message: message}).in(text)
}

// String returns the expression as it was written.
func (p *Program) String() string { return p.text }

// Paths returns what the expression reads, each a variable with the members
// that follow it, such as [event data issue]. Of a member that is only known when
// it runs the path ends before it.
func (p *Program) Paths() [][]string { return p.paths }

// Reads reports whether the expression reads a variable.
func (p *Program) Reads(name string) bool {
	return slices.ContainsFunc(p.paths, func(path []string) bool { return path[0] == name || path[0] == "$env" })
}

// Result is the type of the result.
func (p *Program) Result() *nature.Nature { return p.root.Nature() }

// Run evaluates the expression on values: what Env is, or a map for a types.Map,
// which Run may add to. The error is one line without the text of the expression.
func (p *Program) Run(values any) (any, error) {
	machine := vm.VM{MemoryBudget: maxMemory}
	if fields, ok := values.(map[string]any); ok && p.texts {
		for name, function := range (&meter{left: MaxTexts}).functions() {
			fields[name] = function
		}
	}
	result, err := machine.Run(p.code, values)
	if found := (*file.Error)(nil); errors.As(err, &found) {
		line, _, _ := strings.Cut(found.Message, "\n")
		return nil, errors.New(line)
	}
	return result, err
}
