package store

import (
	"fmt"
	"slices"
	"strings"

	"github.com/expr-lang/expr"
	"github.com/expr-lang/expr/ast"
	"github.com/expr-lang/expr/vm"

	"github.com/runnel-io/runnel/pb"
)

// maxWhereBytes bounds a selector, or any expression like it.
const maxWhereBytes = 4096

// Where is a compiled selector. The runner that is asked and the client that
// counts on its answer use the same one.
type Where struct{ program *vm.Program }

// facts is what a selector can name: what a card says of a runner, but not its
// load, which would be another one at the runner than in the card.
type facts struct {
	Name    string            `expr:"name"`
	Host    string            `expr:"host"`
	Pools   []string          `expr:"pools"`
	Labels  map[string]string `expr:"labels"`
	CPUs    int               `expr:"cpus"`
	Memory  int               `expr:"memory"`
	OS      string            `expr:"os"`
	OSName  string            `expr:"osName"`
	Arch    string            `expr:"arch"`
	Version string            `expr:"version"`
	Slots   int               `expr:"slots"`

	Isolation []string `expr:"isolation"`
	Languages []string `expr:"languages"`
}

// CompileWhere reads a selector such as
//
//	labels.env == "prod" && cpus > 8
//
// in the language of expr-lang. It must give true or false; a label that a
// runner has not is "".
func CompileWhere(text string) (*Where, error) {
	program, err := CompileBounded("selector", text, facts{})
	if err != nil {
		return nil, err
	}
	return &Where{program}, nil
}

// CompileBounded reads an expression that gives true or false, of a kind such as
// "selector", and refuses what a few bytes of it could make run for years.
func CompileBounded(kind, text string, env any) (*vm.Program, error) {
	if len(text) > maxWhereBytes {
		return nil, fmt.Errorf("cannot read %s: it has %d bytes, %d at most", kind, len(text), maxWhereBytes)
	}
	var bounds bounds
	program, err := expr.Compile(text, expr.Env(env), expr.AsBool(), expr.Patch(&bounds))
	if err == nil {
		err = bounds.err
	}
	if err != nil {
		reason, _, _ := strings.Cut(err.Error(), "\n") // below it is a picture of the place
		return nil, fmt.Errorf("cannot read %s: %s", kind, reason)
	}
	return program, nil
}

// selectorFunctions are those whose result is no larger than what they are
// given, and whose work is in proportion to it.
var selectorFunctions = []string{
	"all", "any", "none", "one", "count", "len", "lower", "upper", "trim", "trimPrefix", "trimSuffix",
	"hasPrefix", "hasSuffix", "indexOf", "keys", "values", "int", "float", "string",
}

// bounds refuses what could make a selector of a few bytes run for years or
// fill the memory: nothing stops a program of expr once it runs, and a string
// that doubles forty times takes the whole process with it.
type bounds struct{ err error }

// Visit is called for every node of a selector, inner ones first.
func (b *bounds) Visit(node *ast.Node) {
	switch n := (*node).(type) {
	case *ast.BuiltinNode:
		if !slices.Contains(selectorFunctions, n.Name) {
			b.refuse("the function " + n.Name)
		}
	case *ast.CallNode:
		b.refuse("calling " + n.Callee.String())
	case *ast.VariableDeclaratorNode:
		b.refuse("let")
	case *ast.BinaryNode:
		if n.Operator == ".." {
			b.refuse("a range")
		}
	case *ast.PredicateNode:
		isPredicate := func(n ast.Node) bool { _, ok := n.(*ast.PredicateNode); return ok }
		if ast.Find(n.Node, isPredicate) != nil {
			b.refuse("a loop in a loop")
		}
	}
}

func (b *bounds) refuse(what string) {
	if b.err == nil {
		b.err = fmt.Errorf("%s can't be used in it", what)
	}
}

// Match says whether a runner is selected.
func (w *Where) Match(c *pb.Card) (bool, error) {
	out, err := expr.Run(w.program, facts{
		Name: c.GetName(), Host: c.GetHost(), Pools: c.GetPools(), Labels: c.GetLabels(),
		CPUs: int(c.GetCpus()), Memory: int(c.GetMemory()), OS: c.GetOs(), OSName: c.GetOsName(), Arch: c.GetArch(),
		Version: c.GetVersion(), Slots: int(c.GetSlots()), Isolation: c.GetIsolation(), Languages: c.GetLanguages(),
	})
	if err != nil {
		return false, fmt.Errorf("cannot apply selector to %s: %w", c.GetName(), err)
	}
	matches, _ := out.(bool)
	return matches, nil
}
