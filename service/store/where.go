package store

import (
	"fmt"

	"github.com/expr-lang/expr"
	"github.com/expr-lang/expr/vm"

	"github.com/runnel-io/runnel/pb"
)

// maxWhereBytes bounds a selector.
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
	if len(text) > maxWhereBytes {
		return nil, fmt.Errorf("cannot read selector: it has %d bytes, %d at most", len(text), maxWhereBytes)
	}
	program, err := expr.Compile(text, expr.Env(facts{}), expr.AsBool())
	if err != nil {
		return nil, fmt.Errorf("cannot read selector: %w", err)
	}
	return &Where{program}, nil
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
